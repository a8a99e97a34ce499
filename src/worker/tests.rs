//! A worker on the simulated kernel, step by step: what each part does when nothing goes wrong.

use core::net::SocketAddr;
use std::sync::Arc;

use crate::config::{self, Outside};
use crate::conn::Addr;
use crate::engine::sim::{Faults, Heard, PeerId, Sim};
use crate::http::facts::Host;
use crate::http::time::LocalTime;
use crate::observe::log::{Logs, Memory};

use super::chunks::Chunks;
use super::mailbox::{Letter, Mailbox, Sender};
use super::{Setup, Worker};

struct NoFiles;

impl Outside for NoFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(format!("{path}: no such file"))
    }

    fn glob(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    fn resolve(&self, host: &str, _: u16) -> Result<Vec<SocketAddr>, String> {
        Err(format!("{host}: unknown"))
    }
}

struct Bench {
    sim: Sim,
    worker: Worker<Sim>,
    memory: Memory,
    sender: Sender,
    listen: Addr,
    upstream: Addr,
}

impl Bench {
    /// A worker whose one location proxies to 127.0.0.1:9000; `extra` goes into the location.
    fn new(extra: &str) -> Self {
        Self::with(extra, Faults::NONE)
    }

    /// The same on a kernel whose socket buffers are small, so that a peer that does not read is
    /// soon felt.
    fn narrow(extra: &str) -> Self {
        Self::with(extra, Faults { socket_buffer_bytes: NARROW_BYTES, ..Faults::NONE })
    }

    fn with(extra: &str, faults: Faults) -> Self {
        let text = format!(
            "worker_processes 1; events {{ worker_connections 64; }}
             http {{
               log_format t '$status $upsplice_reason $bytes_sent $upsplice_bytes_up \
                             $upsplice_bytes_down $request';
               access_log t.log t;
               server {{ listen 127.0.0.1:80; location / {{
                 proxy_pass http://127.0.0.1:9000; {extra} }} }} }}"
        );
        let request = config::Request { path: "t.conf", ..config::Request::default() };
        let loaded = config::load_text(request, text.into_bytes(), &NoFiles);
        let config = loaded.expect("the configuration is good").config;
        let sim = Sim::new(1, faults);
        let listen = config.listens[0].addr.clone();
        let upstream = Addr::Inet(([127, 0, 0, 1], 9000).into());
        sim.serve(upstream.clone());
        let (logs, memory) = Logs::memory();
        let (mailbox, sender) = Mailbox::new().expect("an eventfd");
        let setup = Setup {
            config,
            host: Host {
                name: "host".into(),
                pid: 1,
                engine: "sim",
                request_seed: 1,
                time: LocalTime::utc(),
            },
            listeners: vec![(0, sim.listen(listen.clone()))],
            mailbox,
            logs,
            stats: Arc::default(),
            seed: 1,
            chunks: Chunks::for_connections(64),
        };
        let worker = Worker::new(sim.clone(), setup);
        Self { sim, worker, memory, sender, listen, upstream }
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.worker.turn();
        }
    }

    fn client(&self, bytes: &[u8]) -> PeerId {
        let peer = self.sim.client_connect(&self.listen).expect("somebody listens");
        self.write(peer, bytes);
        peer
    }

    fn write(&self, peer: PeerId, bytes: &[u8]) {
        assert_eq!(self.sim.with_peer(peer, |peer| peer.write(bytes)), Ok(bytes.len()));
    }

    fn accept(&mut self) -> PeerId {
        for _ in 0..20 {
            if let Some(peer) = self.sim.upstream_accept(&self.upstream) {
                return peer;
            }
            self.worker.turn();
        }
        panic!("nothing reached the upstream; {:?}", self.memory.recorded());
    }

    /// Lets so much time pass.
    fn pass(&mut self, ms: u64) {
        let until = self.sim.clock().plus_ms(ms);
        self.sim.wake_at(until);
        while self.sim.clock() < until {
            self.worker.turn();
        }
    }

    /// Reads until the text has come, or the end.
    fn read_until(&mut self, peer: PeerId, end: &str) -> String {
        let mut text = Vec::new();
        for _ in 0..60 {
            match self.sim.with_peer(peer, |peer| peer.read(1 << 20)) {
                Heard::Bytes(bytes) => text.extend(bytes),
                Heard::End => break,
                Heard::Failed(errno) => panic!("errno {errno} after {}", text.escape_ascii()),
                Heard::Nothing => {
                    self.worker.turn();
                }
            }
            if text.ends_with(end.as_bytes()) && !end.is_empty() {
                break;
            }
        }
        let text = String::from_utf8(text).expect("the tests speak ASCII");
        assert!(text.ends_with(end), "{text:?} does not end with {end:?}");
        text
    }

    /// Ends the worker and returns its access log.
    fn finish(mut self) -> Vec<String> {
        self.sender.send(Letter::Stop);
        self.sim.wake();
        for _ in 0..50 {
            if !self.worker.turn() {
                break;
            }
        }
        assert_eq!(self.worker.conns_live(), 0);
        assert_eq!(self.worker.sessions_live(), 0);
        assert_eq!(self.worker.timers_live(), 0);
        assert_eq!(self.worker.chunks().out(), 0);
        self.memory.take().access.into_iter().map(|(_, line)| line).collect()
    }
}

/// A socket buffer of [`Bench::narrow`].
const NARROW_BYTES: usize = 200;

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                      Upgrade: websocket\r\n\r\n";

#[test]
fn early_bytes_wait_for_the_101_on_both_sides() {
    // Idle turns jump to the next deadline; none is near.
    let mut bench = Bench::new("proxy_read_timeout 1d;");
    let client = bench.client(format!("{UPGRADE}early").as_bytes());
    let upstream = bench.accept();
    let head = bench.read_until(upstream, "\r\n\r\n");
    assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Connection: upgrade\r\n"), "{head}");
    bench.turns(5);
    assert_eq!(bench.sim.with_peer(upstream, |peer| peer.readable_bytes()), 0);
    bench.write(upstream, format!("{SWITCH}behind").as_bytes());
    assert_eq!(bench.read_until(upstream, "early"), "early");
    assert!(bench.read_until(client, "behind").starts_with("HTTP/1.1 101 "));
    bench.sim.with_peer(client, |peer| peer.shutdown());
    assert_eq!(bench.read_until(upstream, ""), "");
    bench.write(upstream, b"last");
    bench.sim.with_peer(upstream, |peer| peer.shutdown());
    assert_eq!(bench.read_until(client, ""), "last");
    bench.turns(5);
    let log = bench.finish();
    assert_eq!(log.len(), 1);
    assert!(log[0].starts_with("101 client_closed "), "{log:?}");
    assert!(log[0].ends_with(" 5 10 GET /chat HTTP/1.1"), "{log:?}");
}

#[test]
fn an_ordinary_request_is_answered_and_the_client_stays() {
    let mut bench = Bench::new("");
    let client = bench.client(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    for round in 0..2 {
        let upstream = bench.accept();
        let request = bench.read_until(upstream, "body");
        assert!(request.contains("Content-Length: 4\r\n"), "{request}");
        bench.write(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let answer = bench.read_until(client, "ok");
        assert!(answer.contains("Connection: keep-alive\r\n"), "{answer}");
        if round == 0 {
            bench.write(client, b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        }
    }
    let log = bench.finish();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log[1].starts_with("200 done ") && log[1].ends_with(" 4 2 POST /b HTTP/1.1"));
}

#[test]
fn a_silent_tunnel_ends_by_its_read_timeout() {
    let mut bench = Bench::new("proxy_read_timeout 3s;");
    let client = bench.client(UPGRADE.as_bytes());
    let upstream = bench.accept();
    bench.read_until(upstream, "\r\n\r\n");
    bench.write(upstream, SWITCH.as_bytes());
    bench.read_until(client, "\r\n\r\n");
    let start = bench.sim.clock();
    assert_eq!(bench.read_until(client, ""), "");
    let took = bench.sim.clock().since_ms(start);
    assert!((2_990..=3_030).contains(&took), "{took} ms");
    assert!(bench.finish()[0].starts_with("101 timeout:proxy_read_timeout "));
}

#[test]
fn a_refused_upgrade_is_relayed_as_an_answer() {
    let mut bench = Bench::new("");
    let client = bench.client(UPGRADE.as_bytes());
    let upstream = bench.accept();
    bench.read_until(upstream, "\r\n\r\n");
    bench.write(upstream, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    assert!(bench.read_until(client, "no").starts_with("HTTP/1.1 403 Forbidden\r\n"));
    assert!(bench.finish()[0].starts_with("403 done "));
}

#[test]
fn garbage_gets_400_and_an_end() {
    let mut bench = Bench::new("");
    let client = bench.client(b"\x16\x03\x01\x02\x00\x01");
    let answer = bench.read_until(client, "");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("Connection: close"));
    let log = bench.finish();
    assert!(log[0].starts_with("400 client_fault:bad_request_line "), "{log:?}");
}

/// A client that waits for its 100 and has no room for it, as its last answer fills its buffer.
fn client_without_room(bench: &mut Bench) -> (PeerId, PeerId) {
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 150\r\n\r\n";
    let body = "x".repeat(150);
    let client = bench.client(GET);
    let answer = [ANSWER, body.as_bytes()].concat();
    let upstream = bench.accept();
    bench.write(upstream, &answer);
    let answer_bytes = bench.read_until(client, &body).len();
    bench.write(client, GET);
    let upstream = bench.accept();
    bench.write(upstream, &answer);
    let mut unread = answer_bytes;
    while unread > NARROW_BYTES {
        bench.worker.turn();
        if let Heard::Bytes(bytes) =
            bench.sim.with_peer(client, |peer| peer.read(unread - NARROW_BYTES))
        {
            unread -= bytes.len();
        }
    }
    bench.pass(1);
    let post = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    bench.write(client, post.as_bytes());
    let upstream = bench.accept();
    bench.read_until(upstream, "\r\n\r\n");
    (client, upstream)
}

#[test]
fn an_answer_that_waits_behind_a_blocked_100_does_not_wait_for_ever() {
    let mut bench = Bench::narrow("send_timeout 2s; proxy_read_timeout 1d;");
    let (client, _) = client_without_room(&mut bench);
    bench.write(client, b"no size\r\n");
    bench.pass(5_000);
    assert_eq!(bench.worker.sessions_live(), 0);
    let log = bench.finish();
    assert!(log[2].starts_with("400 timeout:send_timeout "), "{log:?}");
}

#[test]
fn an_interim_answer_waits_behind_a_blocked_100_and_gives_way_to_ours() {
    let mut bench = Bench::narrow("send_timeout 1d; proxy_read_timeout 1d;");
    let (client, upstream) = client_without_room(&mut bench);
    bench.write(upstream, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    bench.pass(1);
    bench.write(client, b"no size\r\n");
    bench.pass(1);
    let text = bench.read_until(client, "");
    let answers: Vec<_> =
        text.match_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..][..3]).collect();
    assert_eq!(answers, ["100", "400"], "{text}");
    bench.finish();
}

#[test]
fn a_100_does_not_start_the_read_timeout() {
    let mut bench = Bench::new("proxy_read_timeout 3s;");
    let client = bench
        .client(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    let upstream = bench.accept();
    bench.read_until(client, "HTTP/1.1 100 Continue\r\n\r\n");
    // Upstreams say it too, and it means as little.
    bench.write(upstream, b"HTTP/1.1 100 Continue\r\n\r\n");
    for byte in ["b", "o", "d", "y"] {
        bench.pass(2_000);
        bench.write(client, byte.as_bytes());
    }
    bench.read_until(upstream, "body");
    bench.write(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    bench.read_until(client, "ok");
    assert!(bench.finish()[0].starts_with("200 done "));
}

#[test]
fn an_early_answer_to_an_upgrade_is_relayed_though_its_request_never_arrived() {
    let mut bench = Bench::narrow("");
    let long = format!("X-Long: {}\r\n\r\n", "x".repeat(100));
    let client = bench.client(UPGRADE.trim_end().as_bytes());
    bench.pass(1);
    bench.write(client, format!("\r\n{long}").as_bytes());
    let upstream = bench.accept();
    bench.write(upstream, b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
    bench.pass(1);
    bench.sim.with_peer(upstream, |peer| peer.reset());
    bench.pass(1);
    let start = bench.sim.clock();
    assert!(bench.read_until(client, "busy").starts_with("HTTP/1.1 503 Busy\r\n"));
    assert_eq!(bench.sim.clock(), start);
    assert!(bench.finish()[0].starts_with("503 done "));
}

#[test]
fn a_slow_client_gets_the_answer_of_an_upstream_that_stopped_listening() {
    let mut bench = Bench::narrow("proxy_read_timeout 3s;");
    let client = bench.client(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n");
    let upstream = bench.accept();
    bench.pass(1);
    bench.write(client, &[b'u'; 190]);
    bench.pass(1);
    bench.write(client, &[b'u'; 190]);
    bench.pass(1);
    let half = "d".repeat(150);
    bench.write(
        upstream,
        format!("HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n{half}").as_bytes(),
    );
    bench.pass(1);
    bench.write(upstream, half.as_bytes());
    bench.sim.with_peer(upstream, |peer| peer.reset());
    bench.pass(5_000);
    let text = bench.read_until(client, "");
    assert!(text.ends_with(&format!("\r\n\r\n{half}{half}")), "{text}");
    assert!(bench.finish()[0].starts_with("200 done "));
}

#[test]
fn a_read_timeout_of_nothing_keeps_no_worker_busy() {
    let mut bench = Bench::narrow("proxy_read_timeout 0; send_timeout 1s;");
    let client = bench.client(UPGRADE.as_bytes());
    let upstream = bench.accept();
    bench.write(upstream, SWITCH.as_bytes());
    bench.pass(1);
    bench.write(upstream, &[b'x'; 150]);
    bench.pass(3_000);
    assert!(!bench.sim.with_peer(client, |peer| peer.is_dead()));
    assert!(bench.finish()[0].starts_with("101 timeout:send_timeout "));
}

#[test]
fn bytes_meant_for_a_declined_tunnel_are_no_request_however_late_they_come() {
    for own in [false, true] {
        let mut bench = Bench::narrow("");
        let client = bench.client(UPGRADE.as_bytes());
        let upstream = bench.accept();
        bench.read_until(upstream, "\r\n\r\n");
        // Longer than the client's buffer, so that it does not have it all yet.
        let length = if own { "no length" } else { "100" };
        let answer = format!("HTTP/1.1 403 No\r\nContent-Length: {length}\r\n\r\n{:0100}", 0);
        bench.write(upstream, answer.as_bytes());
        bench.pass(1);
        bench.write(client, b"GET /inside HTTP/1.1\r\nHost: a\r\n\r\n");
        bench.pass(1);
        bench.read_until(client, "");
        assert!(bench.sim.upstream_accept(&bench.upstream).is_none());
        let log = bench.finish();
        assert!(log.len() == 1 && log[0].ends_with("GET /chat HTTP/1.1"), "{log:?}");
    }
}

#[test]
fn a_body_that_is_wrong_from_its_first_byte_is_a_502() {
    let mut bench = Bench::new("");
    let client = bench.client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let upstream = bench.accept();
    bench.read_until(upstream, "\r\n\r\n");
    bench.write(upstream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n");
    assert!(bench.read_until(client, "</html>\n").starts_with("HTTP/1.1 502 "));
    assert!(bench.finish()[0].starts_with("502 upstream_fault:bad_chunk "));
}
