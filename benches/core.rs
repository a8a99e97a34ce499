//! What the core costs without any kernel: timers, heads, routing, balancing, configurations.
//!
//! `cargo bench --bench core` measures, `-- --quick` in seconds; `-- --test` runs everything once.
//! The figures tell whether a change made a part slower. They are no claim about a proxy under
//! load.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{BatchSize, Criterion, Throughput};

use upsplice::clock::{Instant, Now};
use upsplice::config::{self, Config, Outside, Request};
use upsplice::conn::{Addr, Ends};
use upsplice::http::facts::{Captures, Context, Facts, Host};
use upsplice::http::framing::Body;
use upsplice::http::head::RequestHead;
use upsplice::http::rewrite;
use upsplice::http::scanner::HeadScanner;
use upsplice::http::time::LocalTime;
use upsplice::http::upgrade;
use upsplice::prng::Prng;
use upsplice::route::Router;
use upsplice::upstream::balance::{Balancer, Tried};
use upsplice::worker::wheel::Wheel;

/// What a browser sends to open a WebSocket.
const UPGRADE: &[u8] = b"GET /chat/room?name=42 HTTP/1.1\r\n\
    Host: name500.example.org\r\n\
    Connection: keep-alive, Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Upgrade: websocket\r\n\
    Origin: https://name500.example.org\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

/// A world without files and names: the configurations here need none.
struct Nowhere;

impl Outside for Nowhere {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(format!("{path}: no such file"))
    }

    fn glob(&self, _pattern: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    fn resolve(&self, host: &str, _port: u16) -> Result<Vec<SocketAddr>, String> {
        Err(format!("{host}: unknown"))
    }
}

fn load(text: &str) -> Config {
    let request = Request { path: "bench.conf", ..Request::default() };
    match config::load_text(request, text.as_bytes().to_vec(), &Nowhere) {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("the configuration is wrong: {problems:?}"),
    }
}

fn timers(criterion: &mut Criterion) {
    for entries in [1_000_u32, 1_000_000] {
        let mut group = criterion.benchmark_group(format!("wheel/{entries}"));
        group.sample_size(10);
        let deadlines = deadlines(entries);
        let full = || full_wheel(&deadlines);

        let mut wheel = full();
        let mut key = 0;
        group.bench_function("move", |bench| {
            bench.iter(|| {
                key = (key + 7919) % entries;
                let at = deadlines[key as usize].plus_ms(u64::from(key % 5000));
                wheel.schedule(key, black_box(at));
            });
        });

        group.throughput(Throughput::Elements(u64::from(entries)));
        group.bench_function("expire all", |bench| {
            bench.iter_batched(
                || (full(), Vec::with_capacity(entries as usize)),
                |(mut wheel, mut due)| {
                    wheel.expire(Instant::from_ms(HORIZON_MS + 1000), &mut due);
                    assert_eq!(due.len(), entries as usize);
                    due
                },
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
    lazy(criterion);
}

/// Deadlines lie within a minute, as those of `proxy_read_timeout` do.
const HORIZON_MS: u64 = 60_000;

fn deadlines(entries: u32) -> Vec<Instant> {
    let mut prng = Prng::new(1);
    (0..entries).map(|_| Instant::from_ms(1 + prng.below(HORIZON_MS))).collect()
}

fn full_wheel(deadlines: &[Instant]) -> Wheel {
    let mut wheel = Wheel::new(Instant::from_ms(0));
    for (key, at) in (0..).zip(deadlines) {
        wheel.schedule(key, *at);
    }
    wheel
}

/// A minute of 1,000 tunnels that each carry a message every 100 ms and whose timeout is 60 s, once
/// with the wheel touched for each message and once with the deadline only stored.
fn lazy(criterion: &mut Criterion) {
    const TUNNELS: u32 = 1_000;
    const PERIOD_MS: u64 = 100;
    let mut group = criterion.benchmark_group("wheel/a minute of traffic");
    group.sample_size(10);
    let messages = u64::from(TUNNELS) * (HORIZON_MS / PERIOD_MS);
    group.throughput(Throughput::Elements(messages));
    group.bench_function("eager", |bench| {
        bench.iter(|| {
            let mut wheel = full_wheel(&vec![Instant::from_ms(HORIZON_MS); TUNNELS as usize]);
            let mut due = Vec::new();
            for now in (0..HORIZON_MS).step_by(100) {
                for key in 0..TUNNELS {
                    wheel.schedule(key, Instant::from_ms(now + HORIZON_MS));
                }
                wheel.expire(Instant::from_ms(now), &mut due);
            }
            (wheel.live(), due)
        });
    });
    group.bench_function("lazy", |bench| {
        bench.iter(|| {
            let mut stored = vec![Instant::from_ms(HORIZON_MS); TUNNELS as usize];
            let mut wheel = full_wheel(&stored);
            let mut due = Vec::new();
            for now in (0..HORIZON_MS).step_by(100) {
                for key in 0..TUNNELS {
                    stored[black_box(key as usize)] = Instant::from_ms(now + HORIZON_MS);
                }
                wheel.expire(Instant::from_ms(now), &mut due);
                for key in due.drain(..) {
                    wheel.schedule(key, stored[key as usize]);
                }
            }
            (wheel.live(), due)
        });
    });
    group.finish();
}

fn scanned(pieces: usize) -> RequestHead {
    let mut scanner = HeadScanner::request(1024, 4, 16 * 1024);
    for piece in UPGRADE.chunks(UPGRADE.len().div_ceil(pieces)) {
        scanner.push(black_box(piece)).expect("the head is good");
    }
    scanner.parse_request().expect("the head is good")
}

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    group.throughput(Throughput::Bytes(UPGRADE.len() as u64));
    group.bench_function("scan and parse", |bench| bench.iter(|| scanned(1)));
    group.bench_function("scan and parse, 20 pieces", |bench| bench.iter(|| scanned(20)));

    let config = load(
        "events { } http { server { listen 127.0.0.1:8080; location / {
           proxy_pass http://127.0.0.1:9000;
           proxy_set_header Host $host;
           proxy_set_header X-Real-IP $remote_addr;
           proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; } } }",
    );
    let router = Router::new(&config);
    let head = scanned(1);
    let host = Host {
        name: "bench".into(),
        pid: 1,
        engine: "sim",
        request_seed: 1,
        time: LocalTime::utc(),
    };
    let address = |port| Addr::Inet(([127, 0, 0, 1], port).into());
    let ends = Ends { peer: address(50_000), local: address(8080) };
    let facts = Facts::new(ends, 1, Instant::default());
    let mut captures = Captures::NONE;
    let server = router.server(&config, 0, b"name500.example.org", &mut captures);
    let location = router.location(&config, server, head.path(), &mut captures).location();
    let cx = Context {
        host: &host,
        now: Now::default(),
        facts: &facts,
        request: Some(&head),
        refused: None,
        response: None,
        sent: None,
        config: &config,
        server,
        location,
        captures: &captures,
    };
    let settings = &config.locations[location].settings;
    let proxy = config.locations[location].proxy.as_ref().expect("the location proxies");
    group.bench_function("decide and rewrite an upgrade", |bench| {
        bench.iter(|| {
            let asked = upgrade::asked(black_box(&head), Body::None, &settings.upgrade_allow);
            let protocol = asked.expect("no body").expect("a websocket");
            assert!(!upgrade::blocked_by_config(&cx, settings, &protocol));
            rewrite::request_head(&cx, &head, proxy, Body::None, Some(&protocol))
        });
    });
    group.finish();
}

/// So many servers by name, each tenth with a wildcard, and so many locations in the first.
fn many_names(count: usize) -> String {
    let mut text = "events { } http {\n".to_owned();
    for server in 0..count {
        let wildcard = if server % 10 == 0 { format!("*.wild{server}.net") } else { String::new() };
        text += "server { listen 127.0.0.1:8080;\n";
        text += &format!("server_name name{server}.example.org {wildcard};\n");
        let locations = if server == 0 { count } else { 1 };
        for location in 0..locations {
            text += &format!("location /path{location}/ {{ proxy_pass http://127.0.0.1:9000; }}\n");
        }
        text += "}\n";
    }
    text + "}\n"
}

fn routing(criterion: &mut Criterion) {
    for count in [10, 1_000] {
        let mut group = criterion.benchmark_group(format!("route/{count}"));
        let config = load(&many_names(count));
        let router = Router::new(&config);
        let last = count - 1;
        let hosts = [
            ("exact name", format!("name{last}.example.org")),
            ("wildcard name", "deep.below.wild0.net".to_owned()),
            ("unknown name", "nobody.example.com".to_owned()),
        ];
        let mut captures = Captures::NONE;
        for (case, host) in &hosts {
            group.bench_function(*case, |bench| {
                bench.iter(|| router.server(&config, 0, black_box(host.as_bytes()), &mut captures));
            });
        }
        let first = router.server(&config, 0, b"name0.example.org", &mut captures);
        let path = format!("/path{last}/and/more");
        group.bench_function("longest prefix", |bench| {
            bench.iter(|| {
                router.location(&config, first, black_box(path.as_bytes()), &mut captures)
            });
        });
        group.finish();
    }
}

fn balancing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("balance");
    for (method, line) in [("round robin", ""), ("ip_hash", "ip_hash;")] {
        for peers in [3, 100] {
            let servers: String = (0..peers)
                .map(|peer| format!("server 127.0.0.1:{} weight={};\n", 9000 + peer, 1 + peer % 3))
                .collect();
            let config = load(&format!(
                "events {{ }} http {{ upstream u {{ {line} {servers} }} server {{
                   listen 127.0.0.1:8080; location / {{ proxy_pass http://u; }} }} }}"
            ));
            let upstream = &config.upstreams[0];
            let mut balancer = Balancer::new(upstream);
            let client = Addr::Inet(([10, 20, 30, 40], 5000).into());
            group.bench_function(format!("{method}, {peers} servers"), |bench| {
                bench.iter(|| balancer.choose(upstream, black_box(&client), &mut Tried::default()));
            });
        }
    }
    group.finish();
}

/// From a text to a checked configuration: what a start costs, and `-t`.
fn configurations(criterion: &mut Criterion) {
    let single = "worker_processes auto;
        events { worker_connections 4096; }
        http {
            map $http_upgrade $connection_upgrade { default upgrade; '' close; }
            access_log off;
            upstream app { server 127.0.0.1:9000; server 127.0.0.1:9001; }
            server {
                listen 127.0.0.1:8080;
                server_name example.org www.example.org;
                location / {
                    proxy_pass http://app;
                    proxy_http_version 1.1;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection $connection_upgrade;
                    proxy_set_header Host $host;
                    proxy_read_timeout 1h;
                }
            }
        }";
    let texts = [
        ("one server", single.to_owned()),
        ("10 servers and locations", many_names(10)),
        ("1,000 servers and locations", many_names(1_000)),
    ];
    let mut group = criterion.benchmark_group("configuration");
    group.sample_size(20);
    for (name, text) in texts {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bench| bench.iter(|| load(black_box(&text))));
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    timers(&mut criterion);
    heads(&mut criterion);
    routing(&mut criterion);
    balancing(&mut criterion);
    configurations(&mut criterion);
    criterion.final_summary();
}
