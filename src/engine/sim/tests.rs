//! The simulated kernel alone: sockets, time, faults, and a referee that does blow its whistle.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::conn::{ConnectTo, Event, Lane, Load, Want};
use crate::prng::Prng;

const LISTENER: ConnId = ConnId::new(0, 1);
const CLIENT: ConnId = ConnId::new(1, 1);

fn addr(port: u16) -> Addr {
    Addr::Inet(core::net::SocketAddr::from(([127, 0, 0, 1], port)))
}

/// An engine with its pool, and nothing above.
struct Bench {
    sim: Sim,
    chunks: Chunks,
}

impl Bench {
    fn new(seed: u64, faults: Faults) -> Self {
        Self { sim: Sim::new(seed, faults), chunks: Chunks::new(2, 64) }
    }

    /// A bench with an accepted connection and the client at its other end.
    fn accepted(faults: Faults) -> (Self, PeerId) {
        let mut bench = Self::new(1, faults);
        let handle = bench.sim.listen(addr(80));
        bench.sim.adopt(LISTENER, handle).unwrap();
        let peer = bench.sim.client_connect(&addr(80)).unwrap();
        bench.push(LISTENER, Op::Accept);
        let Event::Accepted(handle) = bench.next() else { panic!("no client") };
        let ends = bench.sim.adopt(CLIENT, handle).unwrap();
        assert_eq!(ends.local, addr(80));
        (bench, peer)
    }

    fn push(&mut self, conn: ConnId, op: Op) {
        self.sim.push(conn, op, &mut self.chunks);
    }

    fn send(&mut self, bytes: &[u8]) {
        self.push(CLIENT, Op::Send(Load::owned(bytes.to_vec())));
    }

    fn wait(&mut self, until: Option<Instant>) -> Vec<Completion> {
        let mut events = Vec::new();
        self.sim.wait(until, &mut self.chunks, &mut events);
        events
    }

    /// The single event of a wait without end.
    fn next(&mut self) -> Event {
        let mut events = self.wait(None);
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0).event
    }

    fn received(&mut self) -> Vec<u8> {
        match self.next() {
            Event::Received(load) => {
                let bytes = self.chunks.load_bytes(&load).to_vec();
                self.chunks.give_load(load);
                bytes
            }
            other => panic!("{other:?} instead of bytes"),
        }
    }

    fn write(&self, peer: PeerId, bytes: &[u8]) -> usize {
        self.sim.with_peer(peer, |peer| peer.write(bytes)).unwrap()
    }

    fn read(&self, peer: PeerId) -> Heard {
        self.sim.with_peer(peer, |peer| peer.read(usize::MAX))
    }
}

#[test]
fn bytes_and_ends_go_both_ways() {
    let (mut bench, peer) = Bench::accepted(Faults::NONE);
    bench.write(peer, b"ping");
    bench.push(CLIENT, Op::Recv(Want::Copy));
    assert_eq!(bench.received(), b"ping");
    bench.sim.with_peer(peer, |peer| peer.shutdown());
    bench.push(CLIENT, Op::Recv(Want::Copy));
    assert_eq!(bench.received(), b"");
    bench.send(b"pong");
    assert!(matches!(bench.next(), Event::Sent(rest) if rest.is_empty()));
    bench.push(CLIENT, Op::Shutdown);
    assert!(matches!(bench.next(), Event::Shut));
    assert!(bench.wait(None).is_empty() && bench.sim.stalled());
    assert_eq!(bench.read(peer), Heard::Bytes(b"pong".to_vec()));
    assert_eq!(bench.read(peer), Heard::End);
    bench.push(CLIENT, Op::Close { reset: false });
    assert!(matches!(bench.next(), Event::Closed));
    assert_eq!(bench.sim.census(), Census { listeners: 1, ..Census::default() });
    assert_eq!(bench.chunks.out(), 0);
}

#[test]
fn a_full_buffer_makes_sends_short_and_then_wait() {
    let faults = Faults { socket_buffer_bytes: 10, ..Faults::NONE };
    let (mut bench, peer) = Bench::accepted(faults);
    assert_eq!(bench.write(peer, &[7; 12]), 10);
    assert_eq!(bench.write(peer, &[7; 12]), 0);
    bench.send(&[1; 15]);
    let Event::Sent(rest) = bench.next() else { panic!("no short write") };
    assert_eq!(rest.len(), 5);
    bench.push(CLIENT, Op::Send(rest));
    assert!(bench.wait(None).is_empty() && bench.sim.stalled());
    assert_eq!(bench.sim.with_peer(peer, |peer| peer.read(3)), Heard::Bytes(vec![1; 3]));
    assert!(matches!(bench.next(), Event::Sent(rest) if rest.len() == 2));
}

#[test]
fn unread_bytes_turn_a_close_into_a_reset() {
    let (mut bench, peer) = Bench::accepted(Faults::NONE);
    bench.write(peer, b"unread");
    assert!(bench.wait(Some(bench.sim.clock())).is_empty());
    bench.push(CLIENT, Op::Close { reset: false });
    assert!(matches!(bench.next(), Event::Closed));
    bench.wait(None);
    assert_eq!(bench.read(peer), Heard::Failed(libc::ECONNRESET));
}

#[test]
fn a_write_to_a_closed_peer_is_answered_by_a_reset() {
    let (mut bench, peer) = Bench::accepted(Faults::NONE);
    bench.sim.with_peer(peer, |peer| peer.close());
    bench.send(b"too late");
    assert!(matches!(bench.next(), Event::Sent(rest) if rest.is_empty()));
    assert!(bench.wait(None).is_empty());
    bench.send(b"again");
    let event = bench.next();
    let Event::Failed { errno: libc::ECONNRESET, load: Some(load) } = event else {
        panic!("{event:?}")
    };
    assert_eq!(load.len(), 5);
    bench.push(CLIENT, Op::Send(load));
    assert!(matches!(bench.next(), Event::Failed { errno: libc::EPIPE, .. }));
    bench.push(CLIENT, Op::Recv(Want::Copy));
    assert_eq!(bench.received(), b"");
}

#[test]
fn what_arrived_before_a_reset_can_still_be_read() {
    let (mut bench, peer) = Bench::accepted(Faults::NONE);
    bench.write(peer, b"last words");
    assert!(bench.wait(None).is_empty());
    bench.sim.with_peer(peer, |peer| peer.reset());
    bench.wait(None);
    bench.push(CLIENT, Op::Recv(Want::Copy));
    assert_eq!(bench.received(), b"last words");
    bench.push(CLIENT, Op::Recv(Want::Copy));
    assert!(matches!(bench.next(), Event::Failed { errno: libc::ECONNRESET, .. }));
    // A client that is gone before its adoption is refused there.
    let peer = bench.sim.client_connect(&addr(80)).unwrap();
    bench.push(LISTENER, Op::Accept);
    bench.sim.with_peer(peer, |peer| peer.reset());
    let Event::Accepted(handle) = bench.next() else { panic!("no client") };
    bench.wait(None);
    let refused = ConnId::new(2, 1);
    assert_eq!(bench.sim.adopt(refused, handle), Err(libc::ENOTCONN));
    bench.push(refused, Op::Close { reset: true });
    assert!(matches!(bench.next(), Event::Closed));
}

#[test]
fn a_cancel_ends_what_waits_and_may_lose_to_what_is_ready() {
    for lost in [Ratio::NEVER, Ratio::ALWAYS] {
        for ready in [false, true] {
            let faults = Faults { cancels_lost: lost, ..Faults::NONE };
            let (mut bench, peer) = Bench::accepted(faults);
            bench.push(CLIENT, Op::Recv(Want::Copy));
            if ready {
                bench.write(peer, b"x");
                let now = bench.sim.clock();
                bench.sim.set_faults(Faults {
                    late_completions: Ratio::ALWAYS,
                    completion_delay_ms_max: 1_000_000,
                    ..bench.sim.faults()
                });
                assert!(bench.wait(Some(now)).is_empty());
                bench.sim.set_faults(Faults { completion_delay_ms_max: 0, ..bench.sim.faults() });
            }
            bench.push(CLIENT, Op::Cancel);
            let events = bench.wait(None);
            let [first, second] = &events[..] else { panic!("{events:?}") };
            let (cancel, recv) =
                if first.lane == Lane::Control { (first, second) } else { (second, first) };
            assert!(matches!(cancel.event, Event::Cancelled));
            let succeeded = matches!(&recv.event, Event::Received(load) if load.len() == 1);
            let failed = matches!(recv.event, Event::Failed { errno: libc::ECANCELED, .. });
            assert_eq!(
                (succeeded, failed),
                if ready && lost == Ratio::ALWAYS { (true, false) } else { (false, true) }
            );
        }
    }
}

#[test]
fn a_receive_without_memory_waits_for_a_chunk_to_come_home() {
    let faults = Faults { chunks_out_max: 1, ..Faults::NONE };
    let (mut bench, peer) = Bench::accepted(faults);
    bench.write(peer, b"bytes");
    let lent = bench.chunks.take().unwrap();
    bench.push(CLIENT, Op::Recv(Want::Copy));
    assert!(bench.wait(None).is_empty() && bench.sim.stalled());
    bench.chunks.give(lent);
    assert_eq!(bench.received(), b"bytes");
    // The end of a stream needs no memory.
    let lent = bench.chunks.take().unwrap();
    bench.sim.with_peer(peer, |peer| peer.shutdown());
    bench.push(CLIENT, Op::Recv(Want::Copy));
    assert_eq!(bench.received(), b"");
    bench.chunks.give(lent);
}

#[test]
fn connects_come_to_every_end() {
    let mut bench = Bench::new(1, Faults::NONE);
    bench.sim.serve(addr(1));
    bench.sim.silence(addr(2));
    bench.sim.isolate(addr(3));
    let mut connect = |index: u32, to: Addr| {
        let id = ConnId::new(index, 1);
        let to = ConnectTo { addr: to, keepalive: false, nodelay: true };
        bench.push(id, Op::Connect(Box::new(to)));
        let mut events = bench.wait(None);
        if events.is_empty() {
            assert!(bench.sim.stalled());
            bench.push(id, Op::Cancel);
            events = bench.wait(None);
            events.retain(|completion| completion.lane == Lane::Send);
        }
        match &events[0].event {
            Event::Connected => 0,
            Event::Failed { errno, .. } => *errno,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(connect(1, addr(1)), 0);
    assert_eq!(connect(2, addr(2)), libc::ECANCELED);
    assert!([libc::EHOSTUNREACH, libc::ENETUNREACH].contains(&connect(3, addr(3))));
    assert_eq!(connect(4, addr(4)), libc::ECONNREFUSED);
    assert_eq!(connect(5, Addr::Unix("/no/such".into())), libc::ENOENT);
    assert!(bench.sim.upstream_accept(&addr(1)).is_some());
    assert!(bench.sim.upstream_accept(&addr(1)).is_none());
}

#[test]
fn a_wait_ends_by_its_time_and_time_only_passes_in_it() {
    let mut bench = Bench::new(1, Faults::NONE);
    let start = bench.sim.clock();
    assert!(bench.wait(Some(start.plus_ms(250))).is_empty());
    assert_eq!(bench.sim.clock().since_ms(start), 250);
    assert!(bench.wait(Some(start)).is_empty());
    assert_eq!(bench.sim.clock().since_ms(start), 250);
    bench.sim.wake();
    assert!(matches!(bench.next(), Event::Woken));
}

#[test]
fn the_referee_stops_whoever_breaks_the_contract() {
    type Foul = fn(&mut Bench);
    let fouls: [(&str, Foul); 7] = [
        ("lane is busy", |bench| {
            bench.push(CLIENT, Op::Recv(Want::Copy));
            bench.push(CLIENT, Op::Recv(Want::Copy));
        }),
        ("sends nothing", |bench| bench.push(CLIENT, Op::Send(Load::EMPTY))),
        ("in flight", |bench| {
            bench.push(CLIENT, Op::Recv(Want::Copy));
            bench.push(CLIENT, Op::Close { reset: true });
        }),
        ("being closed", |bench| {
            bench.push(CLIENT, Op::Close { reset: true });
            bench.push(CLIENT, Op::Recv(Want::Copy));
        }),
        ("not open", |bench| bench.push(ConnId::new(1, 2), Op::Recv(Want::Copy))),
        ("holds", |bench| bench.push(LISTENER, Op::Recv(Want::Copy))),
        ("busy", |bench| {
            let now = bench.sim.clock();
            (0..1000).for_each(|_| drop(bench.wait(Some(now))));
        }),
    ];
    for (word, foul) in fouls {
        let (mut bench, _) = Bench::accepted(Faults::NONE);
        let result = catch_unwind(AssertUnwindSafe(|| foul(&mut bench)));
        let message = *result.expect_err(word).downcast::<String>().expect("a formatted message");
        assert!(message.contains(word), "{message}");
    }
}

/// A client that writes a numbered stream, ends it, and compares what comes back.
struct Pitcher {
    left: Vec<u8>,
    sent: Vec<u8>,
    caught: Rc<RefCell<Caught>>,
}

#[derive(Default)]
struct Caught {
    bytes: usize,
    ended: bool,
    failed: bool,
}

impl Actor for Pitcher {
    fn act(&mut self, peer: &mut Peer<'_>) {
        let mut caught = self.caught.borrow_mut();
        while !self.left.is_empty() {
            match peer.write(&self.left) {
                Ok(0) => break,
                Ok(count) => drop(self.left.drain(..count)),
                Err(_) => return caught.failed = true,
            }
        }
        if self.left.is_empty() {
            peer.shutdown();
        }
        loop {
            match peer.read(1000) {
                Heard::Bytes(bytes) => {
                    assert!(self.sent[caught.bytes..].starts_with(&bytes), "bytes changed");
                    caught.bytes += bytes.len();
                }
                Heard::End => break caught.ended = true,
                Heard::Failed(_) => break caught.failed = true,
                Heard::Nothing => break,
            }
        }
    }
}

/// An echo server in the shape of a worker: what is above an engine, as small as it can be.
#[derive(Default)]
struct Echo {
    generation: u32,
    live: BTreeSet<usize>,
}

impl Echo {
    fn on(&mut self, bench: &mut Bench, completion: Completion) {
        let conn = completion.conn;
        let next = match completion.event {
            Event::Woken => return,
            Event::Accepted(handle) => {
                bench.push(LISTENER, Op::Accept);
                self.generation += 1;
                let free = (1..).find(|index| !self.live.contains(index)).unwrap();
                let id = ConnId::new(u32::try_from(free).unwrap(), self.generation);
                if bench.sim.adopt(id, handle).is_err() {
                    return;
                }
                self.live.insert(free);
                return bench.push(id, Op::Recv(Want::Copy));
            }
            Event::Failed { .. } if conn == LISTENER => Op::Accept,
            Event::Received(load) if load.is_empty() => Op::Shutdown,
            Event::Received(load) => Op::Send(load),
            Event::Sent(rest) if !rest.is_empty() => Op::Send(rest),
            Event::Sent(done) => {
                bench.chunks.give_load(done);
                Op::Recv(Want::Copy)
            }
            Event::Shut => Op::Close { reset: false },
            Event::Failed { load, .. } => {
                load.into_iter().for_each(|load| bench.chunks.give_load(load));
                Op::Close { reset: true }
            }
            Event::Closed => {
                self.live.remove(&conn.index());
                return;
            }
            other => panic!("{other:?}"),
        };
        bench.push(conn, next);
    }
}

/// Runs eight clients against the echo server and gives the history's fingerprint.
fn play(seed: u64) -> Tally {
    let faults = Faults::draw(&mut Prng::new(seed));
    let mut bench = Bench::new(seed, faults.clone());
    let handle = bench.sim.listen(addr(80));
    bench.sim.adopt(LISTENER, handle).unwrap();
    bench.push(LISTENER, Op::Accept);
    let mut results = Vec::new();
    for n in 0..8_usize {
        let peer = bench.sim.client_connect(&addr(80)).unwrap();
        let sent: Vec<u8> = (0..=250).cycle().take(n * 700).collect();
        let caught = Rc::new(RefCell::new(Caught::default()));
        let pitcher = Pitcher { left: sent.clone(), sent, caught: Rc::clone(&caught) };
        bench.sim.attach(peer, Box::new(pitcher));
        results.push((n * 700, caught));
    }
    let mut echo = Echo::default();
    for turn in 0.. {
        assert!(turn < 100_000, "seed {seed} does not end");
        let events = bench.wait(None);
        if events.is_empty() && bench.sim.stalled() {
            break;
        }
        events.into_iter().for_each(|completion| echo.on(&mut bench, completion));
    }
    assert_eq!(bench.chunks.out(), 0, "seed {seed} loses chunks");
    let excused =
        faults.broken_connections != Ratio::NEVER || faults.accept_aborted != Ratio::NEVER;
    for (sent, caught) in results {
        let Caught { bytes, ended, failed } = *caught.borrow();
        let whole = (bytes, ended, failed) == (sent, true, false);
        assert!(excused || whole, "seed {seed}: {bytes} of {sent} bytes, failed: {failed}");
    }
    let census = Census { listeners: 1, ..Census::default() };
    assert_eq!(bench.sim.census(), census, "seed {seed}");
    bench.sim.tally()
}

#[test]
fn an_echo_server_works_in_every_seed_and_a_seed_is_a_history() {
    let mut histories = BTreeSet::new();
    for seed in 0..200 {
        let tally = play(seed);
        assert_eq!(tally, play(seed), "seed {seed} differs from itself");
        histories.insert(tally.fingerprint);
    }
    assert!(histories.len() > 190, "seeds are too much alike: {}", histories.len());
}
