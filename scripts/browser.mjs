// What scripts/browser runs: starts upsplice, shows its page to Chromium, plays curl against it.
//
// Arguments: the binary, the browser, the folder of playwright-core, a folder for temporary files,
// and a folder for pictures or nothing. Every wait is for something that happens, within a bound.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [binary, browserPath, tools, work, shots] = process.argv.slice(2);
const { chromium } = createRequire(join(tools, "index.js"))("playwright-core");

/** The longest that anything here is waited for, in milliseconds; all of it takes far less. */
const BOUND_MS = 20_000;

/** A page that cannot connect must say so; this is for a page that hangs. */
const PAGE_BOUND_MS = 10_000;

/** The exit status with which curl tells that a connection was refused. */
const CURL_CANNOT_CONNECT = 7;

/** Processes that were started and have not ended; none outlives this program. */
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** A child process whose output is kept, and can be waited for. */
class Program {
  constructor(path, args) {
    this.name = `${path} ${args.join(" ")}`;
    this.text = "";
    this.watchers = new Set();
    this.child = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"] });
    running.add(this.child);
    const more = (bytes) => {
      this.text += bytes;
      this.watchers.forEach((watcher) => watcher());
    };
    this.child.stdout.setEncoding("utf8").on("data", more);
    this.child.stderr.setEncoding("utf8").on("data", more);
    this.ended = new Promise((resolve) => {
      this.child.on("error", (error) => resolve(`cannot start: ${error.message}`));
      this.child.on("close", (code, signal) => resolve(signal ?? code));
    }).then((status) => {
      running.delete(this.child);
      this.status = status;
      this.watchers.forEach((watcher) => watcher());
      return status;
    });
  }

  /** The match of a pattern in the output, once it is there. */
  says(pattern) {
    const said = new Promise((resolve, reject) => {
      const watcher = () => {
        const match = this.text.match(pattern);
        if (match) resolve(match);
        else if (this.status !== undefined) reject(new Error(`ended with ${this.status}`));
        else return;
        this.watchers.delete(watcher);
      };
      this.watchers.add(watcher);
      watcher();
    });
    return within(`${pattern} from ${this.name}`, () => this.text, said);
  }

  /** The exit status, or the name of the signal that ended it. */
  end(signal) {
    if (signal) this.child.kill(signal);
    return within(`the end of ${this.name}`, () => this.text, this.ended);
  }
}

/** A promise within the bound; an error names what was waited for and shows what was said. */
async function within(what, said, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("it did not happen in time")), BOUND_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } catch (error) {
    throw new Error(`waiting for ${what}: ${error.message}\n${said()}`);
  } finally {
    clearTimeout(timer);
  }
}

function passed(what) {
  console.log(`  ok  ${what}`);
}

/** The embedded example, and where its page and its upstream are. */
async function startExample() {
  const program = new Program(binary, ["--demo", "127.0.0.1:0"]);
  await program.says(/each line below/);
  const engine = program.text.match(/engine +(\S+)/)[1];
  const address = program.text.match(/http:\/\/(\S+?)\//)[1];
  const upstream = program.text.match(/upstream +([^\s,]+)/)[1];
  return { program, engine, address, upstream };
}

/** The tutorials' configuration, on one engine, in front of the example's upstream. */
async function startEngine(engine, upstream, listen = "127.0.0.1:0") {
  const file = join(work, `${engine}.conf`);
  writeFileSync(file, `daemon off;
error_log stderr notice;
events { use ${engine}; }
http {
    log_format ends '"$request" $status $upsplice_engine $upsplice_reason';
    access_log /dev/stdout ends;
    map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    server {
        listen ${listen};
        location / {
            proxy_pass http://${upstream};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 1h;
        }
    }
}
`);
  const program = new Program(binary, ["-c", file]);
  const [, address] = await program.says(/listening on (127\.0\.0\.1:\d+)/);
  return { program, engine, address };
}

/** A page of its own in the browser; what it reports as an error is kept. */
async function open(browser, address, options = {}) {
  const context = await browser.newContext({ viewport: { width: 800, height: 780 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PAGE_BOUND_MS);
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  const foreign = [];
  page.on("request", (request) => {
    if (!request.url().startsWith(`http://${address}/`)) foreign.push(request.url());
  });
  const response = await page.goto(`http://${address}/`);
  assert.equal(response.status(), 200);
  assert.match(response.headers()["server"], /^upsplice/, "the page came through the proxy");
  return { page, errors, foreign, close: () => context.close() };
}

const state = (page, words) => page.locator("#state", { hasText: words }).waitFor();
const logged = (page, words) => page.locator("#log li", { hasText: words }).first().waitFor();

async function picture(page, name) {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
}

/** Text, a message of a mebibyte, a hundred round trips. */
async function echoes({ page }) {
  await state(page, "open");
  await logged(page, "the first message");
  await page.getByLabel("Message").fill("grüße, 你好, 👋");
  await page.getByLabel("Message").press("Enter");
  await logged(page, "“grüße, 你好, 👋”");
  await page.getByRole("button", { name: "Send 1 MiB" }).click();
  await logged(page, "1,048,576 bytes");
  await page.getByRole("button", { name: "100 round trips" }).click();
  await logged(page, "100 round trips, one after another");
  assert.equal(await page.locator("#echoes").textContent(), "103");
  assert.equal(await page.locator("#log .bad").count(), 0);
}

/** 16 MiB of bytes that differ, while a second socket keeps a conversation; both are compared. */
function large(page) {
  return page.evaluate(async () => {
    const url = `ws://${location.host}/large`;
    const opened = (socket) => new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = reject;
    });
    const next = (socket) => new Promise((resolve, reject) => {
      socket.onmessage = (event) => resolve(event.data);
      socket.onclose = (event) => reject(new Error(`closed with ${event.code}`));
    });
    const [bulk, talk] = [new WebSocket(url), new WebSocket(url)];
    bulk.binaryType = "arraybuffer";
    await Promise.all([opened(bulk), opened(talk)]);
    const sent = Uint32Array.from({ length: 4 << 20 }, (_, n) => Math.imul(n, 2654435761));
    bulk.send(sent);
    let received;
    next(bulk).then((data) => { received = new Uint32Array(data); });
    let talks = 0;
    while (!received) {
      talk.send(`word ${++talks}`);
      if (await next(talk) !== `word ${talks}`) throw new Error("the conversation was mixed up");
    }
    const differs = received.length !== sent.length || received.some((word, n) => word !== sent[n]);
    const ends = [bulk, talk].map((socket) => new Promise((resolve) => {
      socket.onclose = ({ code, wasClean }) => resolve(`${code} ${wasClean}`);
      socket.close(3000 + talks % 1000, "enough");
    }));
    return { differs, talks, ends: await Promise.all(ends) };
  });
}

/** What a visitor does, until the program is told to stop by a signal. */
async function visit(browser, proxy, label) {
  const visitor = await open(browser, proxy.address);
  const { page } = visitor;
  await echoes(visitor);
  passed("the page: text, 1 MiB and 100 round trips come back as they were sent");
  await picture(page, `${label}-open`);

  const { differs, talks, ends } = await large(page);
  assert.equal(differs, false, "16 MiB came back as they were sent");
  assert.deepEqual(ends, Array(2).fill(`${3000 + talks % 1000} true`));
  passed(`16 MiB come back while another WebSocket has ${talks} round trips; codes are kept`);

  await page.getByRole("button", { name: "Close" }).click();
  await state(page, "closed (code 1000, normal)");
  assert.ok(await page.getByRole("button", { name: "Send", exact: true }).isDisabled());
  await picture(page, `${label}-closed`);
  await page.getByRole("button", { name: "Reconnect" }).click();
  await state(page, /^open$/);
  passed("a clean close has its code; the page connects again");
  assert.deepEqual(visitor.foreign, [], "the page needs nothing from elsewhere");
  assert.deepEqual(visitor.errors, [], "the browser has nothing to complain of");
  return visitor;
}

/** The page when its proxy stops, and when it comes back. */
async function outlive(visitor, proxy, label) {
  const { page } = visitor;
  assert.equal(await proxy.program.end("SIGTERM"), 0);
  await state(page, "lost: the connection ended without a closing handshake (code 1006)");
  await page.getByRole("button", { name: "Reconnect" }).click();
  await state(page, "no connection: the WebSocket did not open");
  await picture(page, `${label}-lost`);
  passed("SIGTERM: the program ends with 0, the page says what it lost and that nobody answers");
}

/** SIGQUIT: no new connections, but the open WebSocket goes on until it is closed. */
async function drain(visitor, proxy) {
  const { page } = visitor;
  proxy.program.child.kill("SIGQUIT");
  await refused(proxy.address);
  await page.getByLabel("Message").fill("still here");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await logged(page, "“still here”");
  assert.equal(proxy.program.status, undefined);
  await page.getByRole("button", { name: "Close" }).click();
  await state(page, "closed (code 1000, normal)");
  assert.equal(await proxy.program.end(), 0);
  passed("SIGQUIT: the port is closed, the open WebSocket goes on, its end is the program's");
}

/** Repeats a connection until it is refused; nothing else tells that a port has been closed. */
async function refused(address) {
  const started = Date.now();
  while (Date.now() - started < BOUND_MS) {
    const look = new Program("curl", ["--silent", "-o", join(work, "body"), `http://${address}/`]);
    if (await look.end() === CURL_CANNOT_CONNECT) return;
  }
  throw new Error(`${address} still answers`);
}

/** The command lines of the tutorials. */
async function curl(address) {
  const run = async (...args) => {
    const program = new Program("curl", ["--silent", "--show-error", ...args]);
    assert.equal(await program.end(), 0, program.text);
    return program.text;
  };
  const url = `http://${address}/`;
  const files = ["-o", join(work, "1"), "-o", join(work, "2")];
  const format = "%{http_version} %{http_code} %{num_connects}\n";
  const twice = await run(url, url, ...files, "-w", format);
  assert.equal(twice, "1.1 200 1\n1.1 200 0\n");
  const head = await run("--head", url);
  assert.match(head, /^HTTP\/1\.1 200 OK\r\n[^]*content-length: [1-9]\d*\r\n[^]*\r\n\r\n$/i);
  assert.match(await run("--include", `${url}nothing`), /^HTTP\/1\.1 404 /);
  passed("curl: keep-alive, HEAD, 404");

  // Verbose, because curl keeps what it prints while its output is no terminal.
  const upgrade = new Program("curl", ["--verbose", "--include", "--no-buffer",
    "-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Host: example.com",
    "-H", "Origin: https://example.com", "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "-H", "Sec-WebSocket-Version: 13", url]);
  await upgrade.says(/< HTTP\/1\.1 101 Switching Protocols\r\n(< [^\r]+\r\n)*< \r\n/);
  for (const field of [/< connection: upgrade\r/i, /< upgrade: websocket\r/i,
    // The answer to the sample key of RFC 6455, section 1.3.
    /< sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r/i]) assert.match(upgrade.text, field);
  assert.equal(await upgrade.end("SIGTERM"), "SIGTERM");
  passed("curl: the upgrade is answered with 101 and the right key");
}

/** The page where it is looked at: dark, narrow, and by a reader of its structure. */
async function look(browser, address) {
  for (const [name, options] of [
    ["dark", { colorScheme: "dark" }],
    ["narrow", { viewport: { width: 320, height: 640 }, colorScheme: "light" }],
  ]) {
    const { page, close } = await open(browser, address, options);
    await echoes({ page });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${name}: the page is ${overflow} pixels too wide`);
    await picture(page, `look-${name}`);
    await close();
  }
  const { page, close } = await open(browser, address);
  await state(page, "open");
  for (const [role, name] of [["status"], ["log", "Log, newest first"], ["textbox", "Message"],
    ["button", "Close"], ["heading", "upsplice"]]) {
    await page.getByRole(role, { name, exact: true }).waitFor();
  }
  await close();
  passed("the page fits 320 pixels, has a dark side, and names its parts");
}

async function everything(browser) {
  const example = await startExample();
  console.log(`the embedded example (${example.engine})`);
  await curl(example.address);
  await look(browser, example.address);
  const guest = await visit(browser, example, "example");

  for (const engine of ["epoll", "io_uring"]) {
    console.log(`use ${engine}`);
    if (engine === "io_uring" && example.engine !== engine) {
      console.log("  --  NOT CHECKED: this kernel does not grant io_uring");
      continue;
    }
    const proxy = await startEngine(engine, example.upstream);
    await curl(proxy.address);
    const visitor = await visit(browser, proxy, engine);
    await outlive(visitor, proxy, engine);
    const again = await startEngine(engine, example.upstream, proxy.address);
    await visitor.page.getByRole("button", { name: "Reconnect" }).click();
    await state(visitor.page, /^open$/);
    passed("the program is back on its port, the page connects again");
    await drain(visitor, again);
    await visitor.close();
    for (const { program } of [proxy, again]) {
      assert.doesNotMatch(program.text, /\[(warn|error|crit|alert|emerg)\]|panicked/);
    }
    assert.match(proxy.program.text, new RegExp(`" 101 ${engine} `));
  }

  console.log("the embedded example stops");
  await outlive(guest, example, "example");
  assert.match(example.program.text, /\nran [^]*ended by: /);
}

const started = Date.now();
const browser = await chromium.launch({
  executablePath: browserPath,
  headless: true,
  timeout: BOUND_MS,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
console.log(`Chromium ${browser.version()}`);
try {
  await everything(browser);
  console.log(`all of it in ${((Date.now() - started) / 1000).toFixed(1)} s`);
} catch (error) {
  console.error(`scripts/browser: FAILED: ${error.stack}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
process.exit();
