//! Every timer, to the millisecond: on a kernel without faults none fires early, and none later
//! than one tick of the wheel.

use upsplice::clock::Instant;
use upsplice::config::model::{Bulk, Splice};
use upsplice::conn::Addr;
use upsplice::engine::sim::{Faults, Heard, PeerId, Sim};
use upsplice::limits::WHEEL_TICK_MS;
use upsplice::observe::log::Memory;
use upsplice::worker::Worker;

use crate::house;
use crate::oracle::Line;
use crate::planted::Planted;

/// Turns of one scene.
const TURNS_MAX: usize = 50_000;

/// What one direction of a connection holds.
const BUFFER_BYTES: usize = 4_000;

/// A worker, and peers that are moved by hand.
struct Scene {
    sim: Sim,
    worker: Worker<Planted>,
    memory: Memory,
}

impl Scene {
    fn new() -> Self {
        let sim = Sim::new(1, Faults { socket_buffer_bytes: BUFFER_BYTES, ..Faults::NONE });
        sim.serve(house::backs()[0].clone());
        let (worker, memory, _) = house::worker(&sim, 512, (Splice::Auto, Bulk::DEFAULT), 1, None);
        Self { sim, worker, memory }
    }

    fn client(&mut self, text: &str) -> PeerId {
        self.turn_for(0);
        let peer = self.sim.client_connect(&house::front()).expect("the proxy listens");
        self.write(peer, text.as_bytes());
        peer
    }

    fn write(&self, peer: PeerId, bytes: &[u8]) -> usize {
        self.sim.with_peer(peer, |peer| peer.write(bytes)).expect("the connection is alive")
    }

    fn read(&self, peer: PeerId) -> Heard {
        self.sim.with_peer(peer, |peer| peer.read(usize::MAX))
    }

    /// Turns until the condition holds; the virtual time then.
    fn until<T>(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&Self) -> Option<T>,
    ) -> (T, Instant) {
        for _ in 0..TURNS_MAX {
            if let Some(result) = condition(self) {
                return (result, self.sim.clock());
            }
            assert!(self.worker.turn(), "the worker stopped");
            assert!(!self.sim.stalled() || condition(self).is_some(), "in vain: {what}");
        }
        panic!("{TURNS_MAX} turns and no {what}");
    }

    fn turn_for(&mut self, ms: u64) -> Instant {
        let until = self.sim.clock().plus_ms(ms);
        self.sim.wake_at(until);
        let mut turned = false;
        self.until("the time", |scene| {
            let done = turned && scene.sim.clock() >= until;
            turned = true;
            done.then_some(())
        })
        .1
    }

    fn upstream(&mut self) -> PeerId {
        let addr: Addr = house::backs()[0].clone();
        self.until("an upstream connection", |scene| scene.sim.upstream_accept(&addr)).0
    }

    fn hears(&mut self, peer: PeerId, text: &str) -> Instant {
        let mut heard = Vec::new();
        self.until(text, |scene| {
            if let Heard::Bytes(bytes) = scene.read(peer) {
                heard.extend(bytes);
            }
            String::from_utf8_lossy(&heard).contains(text).then_some(())
        })
        .1
    }

    /// Fills the wire behind the proxy, and then gives it more; the time of that.
    fn clog(&mut self, writer: PeerId) -> Instant {
        assert_eq!(self.write(writer, &[7; BUFFER_BYTES]), BUFFER_BYTES);
        self.turn_for(1_000);
        assert_eq!(self.write(writer, &[8; 100]), 100);
        self.sim.clock()
    }

    /// The end of a session: what the log says, and when.
    fn logged(&mut self) -> (Line, Instant) {
        let memory = self.memory.clone();
        let ((_, text), at) = self.until("a log line", |_| memory.take().access.pop());
        (Line::parse(&text), at)
    }

    /// A tunnel with nobody saying anything.
    fn tunnel(&mut self, path: &str) -> (PeerId, PeerId) {
        let client = self.client(&format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        ));
        let upstream = self.upstream();
        self.hears(upstream, "\r\n\r\n");
        let switch = "HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        self.write(upstream, switch.as_bytes());
        self.hears(client, "\r\n\r\n");
        (client, upstream)
    }
}

/// Demands that a timer of `ms`, armed at `armed`, has just ended a session.
fn assert_timely(scene: &mut Scene, timer: &str, armed: Instant, ms: u64) -> Line {
    let (line, at) = scene.logged();
    assert_eq!(line.reason, format!("timeout:{timer}"));
    let took = at.since_ms(armed);
    assert!((ms..=ms + WHEEL_TICK_MS).contains(&took), "{timer} of {ms} ms fired after {took}");
    line
}

#[test]
fn client_header_timeout() {
    let mut scene = Scene::new();
    scene.client("GET / HTT");
    let armed = scene.sim.clock();
    assert_timely(&mut scene, "client_header_timeout", armed, 20_000);
}

#[test]
fn client_header_timeout_is_for_the_whole_head() {
    let mut scene = Scene::new();
    let client = scene.client("GET / HTT");
    let armed = scene.sim.clock();
    scene.turn_for(15_000);
    scene.write(client, b"P/1.1\r\nHost:");
    assert_timely(&mut scene, "client_header_timeout", armed, 20_000);
}

#[test]
fn keepalive_timeout() {
    let mut scene = Scene::new();
    let client = scene.client("GET /one/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let upstream = scene.upstream();
    scene.hears(upstream, "\r\n\r\n");
    scene.write(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let armed = scene.hears(client, "ok");
    let (_, at) = scene.until("the end", |scene| (scene.read(client) == Heard::End).then_some(()));
    let took = at.since_ms(armed);
    assert!((35_000..=35_000 + WHEEL_TICK_MS).contains(&took), "{took}");
}

#[test]
fn client_body_timeout() {
    let mut scene = Scene::new();
    let client = scene.client("POST /one/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    scene.turn_for(30_000);
    scene.write(client, b"def");
    let armed = scene.sim.clock();
    assert_timely(&mut scene, "client_body_timeout", armed, 40_000);
}

#[test]
fn proxy_connect_timeout() {
    let mut scene = Scene::new();
    scene.sim.silence(house::backs()[0].clone());
    scene.client("GET /one/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let armed = scene.sim.clock();
    let line = assert_timely(&mut scene, "proxy_connect_timeout", armed, 15_000);
    assert_eq!(line.status, 504);
}

#[test]
fn proxy_read_timeout_before_the_answer() {
    let mut scene = Scene::new();
    scene.client("GET /one/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let upstream = scene.upstream();
    let armed = scene.hears(upstream, "\r\n\r\n");
    let line = assert_timely(&mut scene, "proxy_read_timeout", armed, 60_000);
    assert_eq!(line.status, 504);
}

#[test]
fn proxy_read_timeout_in_a_tunnel_is_put_off_from_either_side() {
    let mut scene = Scene::new();
    let (client, upstream) = scene.tunnel("/one/");
    for turn in 0..4 {
        scene.turn_for(59_000);
        scene.write(if turn % 2 == 0 { client } else { upstream }, b"ping");
    }
    scene.hears(client, "ping");
    let armed = scene.sim.clock();
    let line = assert_timely(&mut scene, "proxy_read_timeout", armed, 60_000);
    assert_eq!(line.status, 101);
}

#[test]
fn tunnel_idle_timeout() {
    let mut scene = Scene::new();
    let (client, _upstream) = scene.tunnel("/idle/");
    scene.turn_for(29_000);
    scene.write(client, b"ping");
    let armed = scene.sim.clock();
    assert_timely(&mut scene, "tunnel_idle_timeout", armed, 30_000);
}

#[test]
fn tunnel_max_lifetime() {
    let mut scene = Scene::new();
    let (client, _upstream) = scene.tunnel("/life/");
    let armed = scene.sim.clock();
    scene.turn_for(50_000);
    scene.write(client, b"busy");
    assert_timely(&mut scene, "tunnel_max_lifetime", armed, 100_000);
}

#[test]
fn send_timeout_is_for_a_client_that_does_not_read() {
    let mut scene = Scene::new();
    let (_client, upstream) = scene.tunnel("/one/");
    let armed = scene.clog(upstream);
    assert_timely(&mut scene, "send_timeout", armed, 45_000);
}

#[test]
fn proxy_send_timeout_is_for_an_upstream_that_does_not_read() {
    let mut scene = Scene::new();
    let (client, _upstream) = scene.tunnel("/one/");
    let armed = scene.clog(client);
    assert_timely(&mut scene, "proxy_send_timeout", armed, 50_000);
}

#[test]
fn a_send_that_makes_progress_is_not_late() {
    let mut scene = Scene::new();
    let (client, upstream) = scene.tunnel("/one/");
    scene.clog(upstream);
    for _ in 0..5 {
        scene.turn_for(40_000);
        // The other way is quiet, and one byte is enough.
        scene.sim.with_peer(client, |peer| peer.read(1));
    }
    let armed = scene.sim.clock();
    assert_timely(&mut scene, "send_timeout", armed, 45_000);
}
