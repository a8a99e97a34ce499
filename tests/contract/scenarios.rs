//! The script: what every engine must do, told without naming one.
//!
//! A scenario is a function of a [`Stage`]; it pushes operations, lets peers act, and notes what it
//! saw. Nothing in here knows sockets, readiness or rings.

use std::collections::HashSet;

use upsplice::conn::{Addr, ConnId, Event, Lane, Load, Op, Want};
use upsplice::engine::Engine;
use upsplice::limits::{ACCEPT_AHEAD_MAX, CHUNK_BYTES};

use crate::stage::Stage;
use crate::storm::storm;
use crate::world::{Family, Peer, PeerRead, World};

/// A named scenario and the pool it plays with.
pub(crate) struct Scenario<W: World> {
    /// What it is called in a failure.
    pub(crate) name: &'static str,
    /// Connection slots of the engine.
    pub(crate) connections: usize,
    /// Base and bound of the chunk pool.
    pub(crate) pool: (usize, usize),
    /// What happens.
    pub(crate) play: fn(&mut Stage<W>),
}

/// The pool of scenarios that are not about memory.
pub(crate) const POOL: (usize, usize) = (16, 64);

/// All scenarios, in the order in which they are easiest to debug.
pub(crate) fn all<W: World>() -> Vec<Scenario<W>> {
    let scenario = |name, play| Scenario { name, connections: 16, pool: POOL, play };
    let stormy = |name, play| Scenario { name, connections: 32, pool: (2, 8), play };
    vec![
        scenario("a deadline passes", deadline::<W>),
        scenario("the mailbox wakes", mailbox::<W>),
        scenario("accept and adopt, tcp", |stage| accept(stage, Family::Tcp)),
        scenario("accept and adopt, unix", |stage| accept(stage, Family::Unix)),
        scenario("cancel an accept", cancel_accept::<W>),
        Scenario {
            connections: 256,
            ..scenario("more clients than are read ahead", accept_many::<W>)
        },
        scenario("connect, tcp", |stage| connect(stage, Family::Tcp)),
        scenario("connect, unix", |stage| connect(stage, Family::Unix)),
        scenario("connect refused, tcp", |stage| connect_refused(stage, Family::Tcp)),
        scenario("connect refused, unix", |stage| connect_refused(stage, Family::Unix)),
        scenario("connect hangs and is cancelled", connect_hangs::<W>),
        scenario("close what never connected", close_unconnected::<W>),
        scenario("receive what is there", recv_there::<W>),
        scenario("receive what is still to come", recv_later::<W>),
        scenario("ping-pong", ping_pong::<W>),
        scenario("the peer ends first", peer_ends::<W>),
        scenario("we end first", we_end::<W>),
        scenario("the peer resets", peer_resets::<W>),
        scenario("write to a peer that is gone", write_after_reset::<W>),
        scenario("cancel an idle receive", cancel_recv::<W>),
        scenario("cancel with nothing in flight", cancel_nothing::<W>),
        scenario("cancel before the first turn", cancel_at_once::<W>),
        scenario("a full peer, then cancel", full_peer::<W>),
        scenario("close with and without reset", closes::<W>),
        scenario("a slot is used again", slot_reuse::<W>),
        scenario("megabytes through a relay", relay_bulk::<W>),
        Scenario {
            connections: 64,
            pool: (2, 2),
            ..scenario("fifty receivers, two chunks", hungry::<W>)
        },
        Scenario {
            connections: 64,
            pool: (2, 2),
            ..scenario("cancel the hungry", cancel_hungry::<W>)
        },
        Scenario {
            connections: 8,
            pool: (2, 8),
            ..scenario("the pool grows while sends block", pool_grows::<W>)
        },
        stormy("a storm", |stage| storm(stage, 1)),
        stormy("another storm", |stage| storm(stage, 2)),
        stormy("a third storm", |stage| storm(stage, 3)),
        stormy("a last storm", |stage| storm(stage, 4)),
    ]
}

fn deadline<W: World>(stage: &mut Stage<W>) {
    let (conn, _peer) = stage.pair("idle");
    stage.push(conn, Op::Recv(Want::Copy));
    stage.quiet(30);
    stage.quiet(1);
    stage.quiet(0);
    stage.close(conn, false);
}

fn mailbox<W: World>(stage: &mut Stage<W>) {
    for round in 1..=3 {
        stage.world.wake();
        stage.until("the mailbox", |stage| stage.woken() >= round);
    }
    // Rings while nobody listens may melt into one; a ring is never lost.
    stage.world.wake();
    stage.world.wake();
    let before = stage.woken();
    stage.until("the mailbox", |stage| stage.woken() > before);
    stage.turn(0);
    stage.quiet(20);
}

fn accept<W: World>(stage: &mut Stage<W>, family: Family) {
    let (listener, addr) = stage.listener("listener", family);
    stage.push(listener, Op::Accept);
    stage.quiet(5);
    let peer = stage.world.peer_connect(&addr);
    let event = stage.take(listener, Lane::Recv);
    let Event::Accepted(handle) = event else { panic!("{event:?}") };
    let (conn, ends) = stage.adopt("client", handle);
    assert_eq!(ends.local, addr);
    match (family, &ends.peer) {
        (Family::Tcp, Addr::Inet(addr)) => assert!(addr.ip().is_loopback() && addr.port() != 0),
        (Family::Unix, Addr::Unix(path)) => assert!(path.is_empty(), "an unnamed peer"),
        (_, other) => panic!("the peer is {other}"),
    }
    stage.world.engine().clear_nodelay(conn);
    stage.push(conn, Op::Recv(Want::Copy));
    stage.peer_writes(peer, b"hello");
    stage.expect(conn, Lane::Recv);
    stage.send(conn, b"world");
    stage.expect(conn, Lane::Send);
    assert_eq!(stage.peer_reads(peer, 5), b"world");
    stage.close(conn, false);
    stage.peer_sees_end("client", peer);
    stage.close(listener, false);
}

fn cancel_accept<W: World>(stage: &mut Stage<W>) {
    let (listener, addr) = stage.listener("listener", Family::Tcp);
    stage.push(listener, Op::Accept);
    stage.quiet(5);
    stage.push(listener, Op::Cancel);
    stage.expect(listener, Lane::Recv);
    stage.expect(listener, Lane::Control);
    // The listener still works.
    let peer = stage.world.peer_connect(&addr);
    let conn = stage.accept(listener, "client");
    stage.push(listener, Op::Accept);
    stage.push(listener, Op::Cancel);
    stage.expect(listener, Lane::Recv);
    stage.expect(listener, Lane::Control);
    stage.close(listener, false);
    stage.close(conn, false);
    stage.peer_sees_end("client", peer);
}

fn accept_many<W: World>(stage: &mut Stage<W>) {
    let total = ACCEPT_AHEAD_MAX * 2 + 10;
    let (listener, addr) = stage.listener("listener", Family::Tcp);
    let first = stage.world.peer_connect(&addr);
    let conn = stage.accept(listener, "first");
    // Nobody asks for the next ones yet; they wait, here or in the kernel.
    let peers: Vec<Peer> = (1..total).map(|_| stage.world.peer_connect(&addr)).collect();
    for _ in 0..10 {
        stage.turn(1);
    }
    let mut conns = vec![conn];
    for n in 1..total {
        let conn = stage.accept(listener, &format!("client {n}"));
        conns.push(conn);
    }
    stage.push(listener, Op::Accept);
    stage.quiet(10);
    let mut peers: Vec<Peer> = peers.into_iter().chain([first]).collect();
    for &peer in &peers {
        stage.peer_writes(peer, b"x");
    }
    for &conn in &conns {
        stage.ask(conn, Op::Recv(Want::Copy));
    }
    // Those who connect while the listener closes see its end, one way or the other.
    let late = stage.world.peer_connect(&addr);
    stage.close(listener, false);
    let mut end = PeerRead::Nothing;
    stage.until("the late peer to be turned away", |stage| {
        end = stage.world.peer_read(late, 1);
        end != PeerRead::Nothing
    });
    assert!(matches!(end, PeerRead::End | PeerRead::Reset), "the late peer read {end:?}");
    for conn in conns {
        stage.close(conn, false);
    }
    for peer in peers.drain(..) {
        stage.peer_sees_end("client", peer);
    }
}

/// A connection that the engine made, and the peer that took it.
fn connected<W: World>(stage: &mut Stage<W>, family: Family) -> (ConnId, Peer) {
    let (listener, addr) = stage.world.peer_listen(family);
    let conn = stage.connect("upstream", addr);
    stage.expect(conn, Lane::Send);
    let mut peer = None;
    stage.until("the peer to accept", |stage| {
        peer = stage.world.peer_accept(listener);
        peer.is_some()
    });
    (conn, peer.expect("until returned"))
}

fn connect<W: World>(stage: &mut Stage<W>, family: Family) {
    let (conn, peer) = connected(stage, family);
    stage.push(conn, Op::Recv(Want::Copy));
    stage.send(conn, b"request");
    stage.expect(conn, Lane::Send);
    assert_eq!(stage.peer_reads(peer, 7), b"request");
    stage.peer_writes(peer, b"response");
    stage.expect(conn, Lane::Recv);
    stage.close(conn, false);
    stage.peer_sees_end("upstream", peer);
}

fn connect_refused<W: World>(stage: &mut Stage<W>, family: Family) {
    let addr = stage.world.refusing(family);
    let conn = stage.connect("upstream", addr);
    stage.expect(conn, Lane::Send);
    stage.close(conn, false);
}

fn connect_hangs<W: World>(stage: &mut Stage<W>) {
    let addr = stage.world.silent();
    let conn = stage.connect("upstream", addr.clone());
    stage.quiet(20);
    stage.push(conn, Op::Cancel);
    stage.expect(conn, Lane::Send);
    stage.expect(conn, Lane::Control);
    stage.close(conn, true);
    // Cancelled before the engine had a turn.
    let conn = stage.connect("upstream", addr);
    stage.push(conn, Op::Cancel);
    stage.expect(conn, Lane::Send);
    stage.expect(conn, Lane::Control);
    stage.close(conn, false);
}

fn close_unconnected<W: World>(stage: &mut Stage<W>) {
    let (listener, _addr) = stage.listener("listener", Family::Tcp);
    stage.close(listener, false);
    let addr = stage.world.refusing(Family::Tcp);
    for reset in [false, true] {
        let conn = stage.connect("upstream", addr.clone());
        stage.expect(conn, Lane::Send);
        stage.close(conn, reset);
    }
}

fn recv_there<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = stage.pair("client");
    stage.peer_writes(peer, b"early");
    stage.turn(1);
    stage.ask(conn, Op::Recv(Want::Copy));
    stage.peer_writes(peer, b"last words");
    stage.world.peer_shutdown(peer);
    stage.turn(1);
    stage.ask(conn, Op::Recv(Want::Copy));
    stage.ask(conn, Op::Recv(Want::Copy));
    stage.close(conn, false);
}

fn recv_later<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = stage.pair("client");
    for word in ["one", "two", "three"] {
        stage.push(conn, Op::Recv(Want::Copy));
        stage.quiet(2);
        stage.peer_writes(peer, word.as_bytes());
        stage.expect(conn, Lane::Recv);
    }
    stage.close(conn, false);
}

fn ping_pong<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = stage.pair("client");
    for round in 0..200 {
        let message = format!("message {round}");
        stage.push(conn, Op::Recv(Want::Copy));
        stage.peer_writes(peer, message.as_bytes());
        let event = stage.take(conn, Lane::Recv);
        let Event::Received(load) = event else { panic!("{event:?}") };
        stage.push(conn, Op::Send(load));
        stage.expect(conn, Lane::Send);
        assert_eq!(stage.peer_reads(peer, message.len()), message.as_bytes());
    }
    stage.close(conn, false);
    stage.peer_sees_end("client", peer);
}

fn peer_ends<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = stage.pair("client");
    stage.push(conn, Op::Recv(Want::Copy));
    stage.world.peer_shutdown(peer);
    stage.expect(conn, Lane::Recv);
    // The end is there to stay, and our half is open.
    stage.ask(conn, Op::Recv(Want::Copy));
    stage.send(conn, b"still here");
    stage.expect(conn, Lane::Send);
    assert_eq!(stage.peer_reads(peer, 10), b"still here");
    stage.ask(conn, Op::Shutdown);
    stage.peer_sees_end("client", peer);
    stage.close(conn, false);
}

fn we_end<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = stage.pair("client");
    stage.push(conn, Op::Recv(Want::Copy));
    stage.send(conn, b"bye");
    stage.expect(conn, Lane::Send);
    stage.ask(conn, Op::Shutdown);
    assert_eq!(stage.peer_reads(peer, 3), b"bye");
    stage.peer_sees_end("client", peer);
    // The receive that was in flight still receives.
    stage.peer_writes(peer, b"answer");
    stage.expect(conn, Lane::Recv);
    stage.push(conn, Op::Recv(Want::Copy));
    stage.world.peer_close(peer, false);
    stage.expect(conn, Lane::Recv);
    stage.close(conn, false);
}

fn peer_resets<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = stage.pair("client");
    stage.push(conn, Op::Recv(Want::Copy));
    stage.quiet(2);
    stage.world.peer_close(peer, true);
    stage.expect(conn, Lane::Recv);
    stage.close(conn, false);
}

fn write_after_reset<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = stage.pair("client");
    stage.push(conn, Op::Recv(Want::Copy));
    stage.world.peer_close(peer, true);
    stage.expect(conn, Lane::Recv);
    stage.send(conn, b"anybody?");
    stage.expect(conn, Lane::Send);
    stage.push(conn, Op::Shutdown);
    let event = stage.take(conn, Lane::Send);
    assert!(matches!(event, Event::Shut | Event::Failed { .. }), "{event:?}");
    stage.close(conn, true);
}

fn cancel_recv<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = stage.pair("client");
    stage.push(conn, Op::Recv(Want::Copy));
    stage.quiet(2);
    stage.push(conn, Op::Cancel);
    stage.expect(conn, Lane::Recv);
    stage.expect(conn, Lane::Control);
    // A cancellation is of operations, not of the connection.
    stage.push(conn, Op::Recv(Want::Copy));
    stage.peer_writes(peer, b"after");
    stage.expect(conn, Lane::Recv);
    stage.close(conn, false);
    stage.peer_sees_end("client", peer);
}

fn cancel_nothing<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = stage.pair("client");
    stage.ask(conn, Op::Cancel);
    stage.push(conn, Op::Recv(Want::Copy));
    stage.peer_writes(peer, b"fine");
    stage.expect(conn, Lane::Recv);
    stage.close(conn, false);
}

fn cancel_at_once<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = stage.pair("client");
    stage.push(conn, Op::Recv(Want::Copy));
    stage.push(conn, Op::Cancel);
    stage.expect(conn, Lane::Recv);
    stage.expect(conn, Lane::Control);
    stage.close(conn, true);
    stage.peer_sees_end("client", peer);
}

fn full_peer<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = stage.pair("client");
    let block: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
    // Write until the wire takes no more: a send stays out for a whole quiet turn.
    let mut load = Load::owned(block.clone());
    let mut sent = 0;
    loop {
        let before = load.len();
        stage.push(conn, Op::Send(load));
        for _ in 0..50 {
            stage.turn(2);
        }
        match stage.arrived(conn, Lane::Send) {
            None => break,
            Some(Event::Sent(rest)) => {
                sent += before - rest.len();
                load = if rest.is_empty() { Load::owned(block.clone()) } else { rest };
            }
            Some(other) => panic!("{other:?}"),
        }
    }
    assert!(sent > 0);
    stage.push(conn, Op::Cancel);
    stage.expect(conn, Lane::Send);
    stage.expect(conn, Lane::Control);
    // What was reported as sent arrives, in order, and no more than that.
    let bytes = stage.peer_reads(peer, sent);
    assert!(bytes.chunks(block.len()).all(|part| part == &block[..part.len()]));
    stage.close(conn, false);
    stage.peer_sees_end("client", peer);
}

fn closes<W: World>(stage: &mut Stage<W>) {
    for reset in [false, true] {
        let (conn, peer) = stage.pair(if reset { "reset" } else { "ended" });
        stage.push(conn, Op::Recv(Want::Copy));
        stage.quiet(1);
        stage.close(conn, reset);
        stage.peer_sees_end(if reset { "reset" } else { "ended" }, peer);
    }
    let (listener, addr) = stage.listener("listener", Family::Tcp);
    let peer = stage.world.peer_connect(&addr);
    let event = {
        stage.push(listener, Op::Accept);
        stage.take(listener, Lane::Recv)
    };
    let Event::Accepted(handle) = event else { panic!("{event:?}") };
    stage.world.engine().discard(handle);
    stage.peer_sees_end("discarded", peer);
    stage.close(listener, false);
}

fn slot_reuse<W: World>(stage: &mut Stage<W>) {
    let mut tenants: HashSet<ConnId> = HashSet::new();
    for _ in 0..20 {
        let (conn, peer) = stage.pair("tenant");
        assert!(tenants.insert(conn), "a generation is used once");
        stage.push(conn, Op::Recv(Want::Copy));
        stage.peer_writes(peer, b"mine");
        stage.expect(conn, Lane::Recv);
        stage.push(conn, Op::Recv(Want::Copy));
        stage.close(conn, true);
        stage.peer_sees_end("tenant", peer);
    }
    let slots: HashSet<usize> = tenants.iter().map(|conn| conn.index()).collect();
    assert!(slots.len() <= 2, "slots are used again");
}

fn relay_bulk<W: World>(stage: &mut Stage<W>) {
    let (from, writer) = stage.pair("from");
    let (to, reader) = stage.pair("to");
    let total = 8 << 20;
    let bytes: Vec<u8> = (0..total).map(|n: usize| (n * 31 + (n >> 12)).to_le_bytes()[0]).collect();
    let (mut written, mut read) = (0, Vec::new());
    stage.push(from, Op::Recv(Want::Copy));
    let mut ended = false;
    stage.until("the last byte", |stage| {
        if written < total {
            written += stage.world.peer_write(writer, &bytes[written..]);
            if written == total {
                stage.world.peer_shutdown(writer);
            }
        }
        match stage.arrived(from, Lane::Recv) {
            Some(Event::Received(load)) if load.is_empty() => stage.push(to, Op::Shutdown),
            Some(Event::Received(load)) => stage.push(to, Op::Send(load)),
            Some(other) => panic!("{other:?}"),
            None => {}
        }
        match stage.arrived(to, Lane::Send) {
            Some(Event::Sent(rest)) if rest.is_empty() => {
                stage.home(Event::Sent(rest));
                stage.push(from, Op::Recv(Want::Copy));
            }
            Some(Event::Sent(rest)) => stage.push(to, Op::Send(rest)),
            Some(Event::Shut) => {}
            Some(other) => panic!("{other:?}"),
            None => {}
        }
        match stage.world.peer_read(reader, 4 * CHUNK_BYTES) {
            PeerRead::Bytes(more) => read.extend(more),
            PeerRead::Nothing => {}
            PeerRead::End => ended = true,
            PeerRead::Reset => panic!("reset after {} bytes", read.len()),
        }
        ended
    });
    assert!(read == bytes, "{} of {total} bytes, or other ones", read.len());
    stage.close(from, false);
    stage.close(to, false);
}

/// Fifty connections, each with a receive in flight.
fn fifty<W: World>(stage: &mut Stage<W>) -> Vec<(ConnId, Peer)> {
    let (listener, addr) = stage.listener("listener", Family::Tcp);
    let all = (0..50)
        .map(|n| {
            let peer = stage.world.peer_connect(&addr);
            (stage.accept(listener, &format!("client {n}")), peer)
        })
        .collect();
    stage.close(listener, false);
    all
}

/// Steps until each has received the message; a load goes home at once, for others need its chunk.
fn receive_all<W: World>(stage: &mut Stage<W>, all: &[(ConnId, Peer)], message: &[u8]) {
    let mut left = all.len();
    stage.until("everybody's message", |stage| {
        for &(conn, _) in all {
            let Some(event) = stage.arrived(conn, Lane::Recv) else { continue };
            let Event::Received(load) = &event else { panic!("{event:?}") };
            assert_eq!(stage.chunks.load_bytes(load), message);
            stage.home(event);
            left -= 1;
        }
        left == 0
    });
}

fn hungry<W: World>(stage: &mut Stage<W>) {
    let all = fifty(stage);
    for round in 0..3 {
        for &(conn, _) in &all {
            stage.push(conn, Op::Recv(Want::Copy));
        }
        // Nobody has sent anything: waiting must be waiting, not turning.
        stage.quiet(10);
        for &(_, peer) in &all {
            stage.peer_writes(peer, format!("round {round}").as_bytes());
        }
        let start = stage.turns();
        receive_all(stage, &all, format!("round {round}").as_bytes());
        let turns = stage.turns() - start;
        assert!(turns <= 200, "{turns} turns for fifty messages");
    }
    for &(_, peer) in &all {
        stage.world.peer_shutdown(peer);
    }
    for &(conn, _) in &all {
        stage.ask(conn, Op::Recv(Want::Copy));
        stage.close(conn, false);
    }
}

/// Keeps both chunks of the pool away: two receives whose loads the scenario holds.
fn starve<W: World>(stage: &mut Stage<W>, all: &[(ConnId, Peer)]) -> Vec<Event> {
    let mut kept = Vec::new();
    for &(conn, peer) in &all[..2] {
        stage.peer_writes(peer, b"keep");
        stage.push(conn, Op::Recv(Want::Copy));
        let event = stage.take(conn, Lane::Recv);
        assert!(matches!(&event, Event::Received(load) if load.len() == 4), "{event:?}");
        kept.push(event);
    }
    kept
}

fn cancel_hungry<W: World>(stage: &mut Stage<W>) {
    let all = fifty(stage);
    let kept = starve(stage, &all);
    for &(conn, peer) in &all[2..] {
        stage.peer_writes(peer, b"waiting");
        stage.push(conn, Op::Recv(Want::Copy));
    }
    // Nothing can be received, and nothing may spin.
    let mut count = 0;
    for _ in 0..5 {
        count += stage.turn(5);
    }
    assert_eq!(count, 0, "a receive without a buffer");
    let (cancelled, fed) = all[2..].split_at(20);
    for &(conn, _) in cancelled {
        stage.push(conn, Op::Cancel);
        stage.expect(conn, Lane::Recv);
        stage.expect(conn, Lane::Control);
    }
    for event in kept {
        stage.home(event);
    }
    receive_all(stage, fed, b"waiting");
    // The cancelled ones lost no byte.
    for &(conn, _) in cancelled {
        stage.ask(conn, Op::Recv(Want::Copy));
    }
    for (conn, _) in all {
        stage.close(conn, true);
    }
}

fn pool_grows<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = stage.pair("client");
    let mut kept = Vec::new();
    for n in 0..8 {
        stage.peer_writes(peer, format!("message {n}").as_bytes());
        stage.push(conn, Op::Recv(Want::Copy));
        kept.push(stage.take(conn, Lane::Recv));
    }
    // The bound is reached: the ninth waits until one is home.
    stage.peer_writes(peer, b"message 8");
    stage.push(conn, Op::Recv(Want::Copy));
    stage.turn(5);
    stage.turn(5);
    assert!(stage.arrived(conn, Lane::Recv).is_none(), "a ninth chunk of eight");
    for (n, event) in kept.into_iter().enumerate() {
        let Event::Received(load) = &event else { panic!("{event:?}") };
        assert_eq!(stage.chunks.load_bytes(load), format!("message {n}").as_bytes());
        stage.home(event);
    }
    stage.expect(conn, Lane::Recv);
    stage.close(conn, false);
}
