//! The part of the script that is about carriers: bytes in pipes, and bytes sent on at once.
//!
//! A wish may be denied, so hardly a scenario demands a pipe: what they demand is that the bytes
//! arrive, in order and once, and that whatever carried them comes home. Only of bulk some must
//! have gone the way wished for.

use upsplice::conn::{ConnId, Event, Lane, Load, Op, Want};
use upsplice::engine::Engine;
use upsplice::limits::{CHUNK_BYTES, PIPES_MAX};

use crate::scenarios::{POOL, Scenario};
use crate::stage::Stage;
use crate::world::{Peer, PeerRead, World};

/// Bytes of a bulk transfer: many times what all pipes hold.
const BULK: usize = 3 << 20;

/// How a receive should bring its bytes to a sink.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wish {
    Chain,
    Pipe,
    Linked,
}

impl Wish {
    const fn to(self, sink: ConnId) -> Want {
        match self {
            Self::Chain => Want::Chain,
            Self::Pipe => Want::Pipe,
            Self::Linked => Want::Linked(sink),
        }
    }
}

const CHAIN: Wish = Wish::Chain;
const PIPE: Wish = Wish::Pipe;
const LINKED: Wish = Wish::Linked;

/// The scenarios of this file.
pub(crate) fn all<W: World>() -> Vec<Scenario<W>> {
    let scenario = |name, play| Scenario { name, connections: 16, pool: POOL, play };
    vec![
        scenario("a chain: what is there", |stage| there(stage, CHAIN)),
        scenario("a pipe: what is there", |stage| there(stage, PIPE)),
        scenario("linked: what is there", |stage| there(stage, LINKED)),
        scenario("a chain: what is still to come", |stage| later(stage, CHAIN)),
        scenario("a pipe: what is still to come", |stage| later(stage, PIPE)),
        scenario("linked: what is still to come", |stage| later(stage, LINKED)),
        scenario("a chain: the peer ends", |stage| ends(stage, CHAIN)),
        scenario("a pipe: the peer ends", |stage| ends(stage, PIPE)),
        scenario("linked: the peer ends", |stage| ends(stage, LINKED)),
        scenario("a chain: cancel an idle receive", |stage| cancel_idle(stage, CHAIN)),
        scenario("a pipe: cancel an idle receive", |stage| cancel_idle(stage, PIPE)),
        scenario("linked: cancel an idle receive", |stage| cancel_idle(stage, LINKED)),
        scenario("a chain: cancel and close at once", |stage| cancel_at_once(stage, CHAIN)),
        scenario("a pipe: cancel and close at once", |stage| cancel_at_once(stage, PIPE)),
        scenario("linked: cancel and close at once", |stage| cancel_at_once(stage, LINKED)),
        scenario("a chain: the peer resets", |stage| resets(stage, CHAIN)),
        scenario("a pipe: the peer resets", |stage| resets(stage, PIPE)),
        scenario("linked: the peer resets", |stage| resets(stage, LINKED)),
        scenario("a chain: bytes and a reset were there before", |s| reset_before(s, CHAIN)),
        scenario("a pipe: bytes and a reset were there before", |s| reset_before(s, PIPE)),
        scenario("linked: bytes and a reset were there before", |s| reset_before(s, LINKED)),
        scenario("megabytes in chains", |stage| bulk(stage, CHAIN)),
        scenario("megabytes through pipes", |stage| bulk(stage, PIPE)),
        scenario("megabytes through links", |stage| bulk(stage, LINKED)),
        scenario("megabytes by changing carriers", mixed::<W>),
        scenario("a pipe into a full sink, then cancel", full_sink::<W>),
        scenario("a pipe to a peer that is gone", gone_sink::<W>),
        scenario("linked to a peer that is gone", linked_to_nobody::<W>),
        scenario("the sink closes under a linked receive", sink_closes::<W>),
        scenario("bytes in a pipe that nobody wants", unwanted::<W>),
        Scenario {
            connections: 2 * PIPES_MAX + 16,
            pool: (16, 2 * PIPES_MAX + 16),
            ..scenario("more receivers than pipes", many::<W>)
        },
    ]
}

/// A source with its peer, and a sink with its peer.
struct Way {
    from: ConnId,
    writer: Peer,
    to: ConnId,
    reader: Peer,
}

fn way<W: World>(stage: &mut Stage<W>) -> Way {
    let (from, writer) = stage.pair("from");
    let (to, reader) = stage.pair("to");
    Way { from, writer, to, reader }
}

impl Way {
    /// Takes what a receive brought to the sink, as a pump does; how many bytes that was.
    fn pass<W: World>(&self, stage: &mut Stage<W>, event: Event) -> usize {
        let (moved, mut load) = match event {
            Event::Received(load) => (0, load),
            Event::Relayed { moved, rest } => (moved, rest),
            other => panic!("{other:?}"),
        };
        let count = moved + load.len();
        while !load.is_empty() {
            stage.push(self.to, Op::Send(load));
            load = match stage.take(self.to, Lane::Send) {
                Event::Sent(rest) => rest,
                other => panic!("{other:?}"),
            };
        }
        stage.chunks.give_load(load);
        count
    }

    fn close<W: World>(self, stage: &mut Stage<W>) {
        stage.close(self.from, false);
        stage.close(self.to, false);
        stage.peer_sees_end("to", self.reader);
    }
}

fn there<W: World>(stage: &mut Stage<W>, wish: Wish) {
    let way = way(stage);
    for text in [&b"one"[..], b"two", b"three"] {
        stage.peer_writes(way.writer, text);
        stage.turn(1);
        stage.push(way.from, Op::Recv(wish.to(way.to)));
        let event = stage.take(way.from, Lane::Recv);
        assert_eq!(way.pass(stage, event), text.len());
        assert_eq!(stage.peer_reads(way.reader, text.len()), text);
    }
    way.close(stage);
}

fn later<W: World>(stage: &mut Stage<W>, wish: Wish) {
    let way = way(stage);
    for text in [&b"one"[..], b"two"] {
        stage.push(way.from, Op::Recv(wish.to(way.to)));
        stage.quiet(5);
        assert_eq!(stage.world.engine().pipes_lent(), 0, "an idle receive holds no pipe");
        stage.peer_writes(way.writer, text);
        let event = stage.take(way.from, Lane::Recv);
        assert_eq!(way.pass(stage, event), text.len());
        assert_eq!(stage.peer_reads(way.reader, text.len()), text);
    }
    way.close(stage);
}

fn ends<W: World>(stage: &mut Stage<W>, wish: Wish) {
    let way = way(stage);
    stage.peer_writes(way.writer, b"last words");
    stage.world.peer_shutdown(way.writer);
    stage.push(way.from, Op::Recv(wish.to(way.to)));
    let event = stage.take(way.from, Lane::Recv);
    assert_eq!(way.pass(stage, event), 10);
    stage.ask(way.from, Op::Recv(wish.to(way.to)));
    stage.ask(way.from, Op::Recv(wish.to(way.to)));
    // Armed before the end comes, too.
    let (from, writer) = stage.pair("another");
    stage.push(from, Op::Recv(wish.to(way.to)));
    stage.quiet(5);
    stage.world.peer_shutdown(writer);
    stage.expect(from, Lane::Recv);
    stage.close(from, false);
    assert_eq!(stage.peer_reads(way.reader, 10), b"last words");
    way.close(stage);
}

fn cancel_idle<W: World>(stage: &mut Stage<W>, wish: Wish) {
    let way = way(stage);
    stage.push(way.from, Op::Recv(wish.to(way.to)));
    stage.quiet(5);
    stage.push(way.from, Op::Cancel);
    stage.expect(way.from, Lane::Recv);
    stage.expect(way.from, Lane::Control);
    // The cancelled one took no byte, and the next may be of another kind.
    stage.peer_writes(way.writer, b"still there");
    stage.ask(way.from, Op::Recv(Want::Copy));
    stage.push(way.from, Op::Recv(wish.to(way.to)));
    stage.quiet(5);
    way.close(stage);
}

fn cancel_at_once<W: World>(stage: &mut Stage<W>, wish: Wish) {
    for round in 0..40 {
        let way = way(stage);
        if round % 2 == 0 {
            stage.world.peer_write(way.writer, &vec![7; 1 + round * 4_000]);
        }
        stage.push(way.from, Op::Recv(wish.to(way.to)));
        for _ in 0..round % 5 {
            stage.turn(0);
        }
        let reset = round % 3 == 0;
        // The sink first: what is linked to it may still be on its way.
        stage.close(way.to, reset);
        stage.close(way.from, reset);
    }
}

fn resets<W: World>(stage: &mut Stage<W>, wish: Wish) {
    let way = way(stage);
    stage.push(way.from, Op::Recv(wish.to(way.to)));
    stage.quiet(5);
    stage.world.peer_close(way.writer, true);
    stage.expect(way.from, Lane::Recv);
    way.close(stage);
}

/// The end must show, whatever waits for it: no news comes any more. A first receive has emptied
/// the socket before, so that the next one has no reason to expect anything at once.
fn reset_before<W: World>(stage: &mut Stage<W>, wish: Wish) {
    let way = way(stage);
    stage.peer_writes(way.writer, b"first");
    stage.push(way.from, Op::Recv(Want::Copy));
    let event = stage.take(way.from, Lane::Recv);
    assert_eq!(way.pass(stage, event), 5);
    stage.peer_writes(way.writer, b"second");
    stage.world.peer_close(way.writer, true);
    stage.turn(2);
    // Some bytes of the second may be lost to the reset, but not the end.
    let mut over = false;
    while !over {
        stage.push(way.from, Op::Recv(wish.to(way.to)));
        match stage.take(way.from, Lane::Recv) {
            Event::Failed { .. } => over = true,
            Event::Received(load) if load.is_empty() => over = true,
            event => over = way.pass(stage, event) == 0,
        }
    }
    stage.close(way.from, false);
    stage.close(way.to, false);
}

/// Bytes that tell their places apart.
fn pattern() -> Vec<u8> {
    (0..BULK).map(|n: usize| (n * 31 + (n >> 12)).to_le_bytes()[0]).collect()
}

fn bulk<W: World>(stage: &mut Stage<W>, wish: Wish) {
    let carried = relay(stage, |_, to| wish.to(to));
    let count = match wish {
        Wish::Chain => carried.copies,
        Wish::Linked if stage.world.engine().name() != "epoll" => carried.links,
        Wish::Pipe | Wish::Linked => carried.pipes,
    };
    assert!(count > 0, "{carried:?}");
}

/// The carrier changes with every receive, and loads of all kinds follow each other.
fn mixed<W: World>(stage: &mut Stage<W>) {
    let carried = relay(stage, |receives, to| match receives * 7 % 5 {
        0 => Want::Copy,
        1 => Want::Linked(to),
        2 => Want::Chain,
        _ => Want::Pipe,
    });
    assert!(carried.pipes > 0 && carried.copies > 0, "{carried:?}");
}

/// How many receives came in which way.
#[derive(Clone, Copy, Debug, Default)]
struct Carried {
    copies: usize,
    pipes: usize,
    links: usize,
}

impl Carried {
    fn count(&mut self, event: &Event) {
        match event {
            Event::Received(Load::Pipe(_)) => self.pipes += 1,
            Event::Received(load) if !load.is_empty() => self.copies += 1,
            Event::Relayed { .. } => self.links += 1,
            _ => {}
        }
    }
}

/// Carries the pattern from one peer to another; the wish depends on how many receives there were.
fn relay<W: World>(stage: &mut Stage<W>, wish: impl Fn(usize, ConnId) -> Want) -> Carried {
    let Way { from, writer, to, reader } = way(stage);
    let bytes = pattern();
    let (mut written, mut read, mut receives) = (0, Vec::new(), 0);
    stage.push(from, Op::Recv(wish(receives, to)));
    let (mut ended, mut carried) = (false, Carried::default());
    stage.until("the last byte", |stage| {
        if written < BULK {
            written += stage.world.peer_write(writer, &bytes[written..]);
            if written == BULK {
                stage.world.peer_shutdown(writer);
            }
        }
        let received = stage.arrived(from, Lane::Recv);
        received.iter().for_each(|event| carried.count(event));
        let rest = match (received, stage.arrived(to, Lane::Send)) {
            (Some(Event::Received(load)), None) if load.is_empty() => {
                stage.push(to, Op::Shutdown);
                None
            }
            (Some(Event::Received(load) | Event::Relayed { rest: load, .. }), None)
            | (None, Some(Event::Sent(load))) => Some(load),
            (None, None | Some(Event::Shut)) => None,
            (one, other) => panic!("{one:?} and {other:?}"),
        };
        match rest {
            Some(rest) if rest.is_empty() => {
                stage.chunks.give_load(rest);
                receives += 1;
                stage.push(from, Op::Recv(wish(receives, to)));
            }
            Some(rest) => stage.push(to, Op::Send(rest)),
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
    assert!(read == bytes, "{} of {BULK} bytes, or other ones", read.len());
    assert_eq!(stage.world.engine().pipes_lent(), 0);
    stage.close(from, false);
    stage.close(to, false);
    carried
}

/// Fills the sink until a send of a received load stays out; how many bytes it has taken.
fn fill_sink<W: World>(stage: &mut Stage<W>, way: &Way) -> usize {
    let bytes = pattern();
    let (mut written, mut taken) = (0, 0);
    loop {
        written += stage.world.peer_write(way.writer, &bytes[written % BULK..]);
        stage.push(way.from, Op::Recv(Want::Pipe));
        let Event::Received(mut load) = stage.take(way.from, Lane::Recv) else { panic!() };
        while !load.is_empty() {
            let before = load.len();
            stage.push(way.to, Op::Send(load));
            for _ in 0..20 {
                stage.turn(2);
            }
            load = match stage.arrived(way.to, Lane::Send) {
                None => return taken,
                Some(Event::Sent(rest)) => rest,
                Some(other) => panic!("{other:?}"),
            };
            taken += before - load.len();
        }
        stage.chunks.give_load(load);
    }
}

fn full_sink<W: World>(stage: &mut Stage<W>) {
    let way = way(stage);
    let taken = fill_sink(stage, &way);
    stage.push(way.to, Op::Cancel);
    match stage.take(way.to, Lane::Send) {
        Event::Failed { errno: libc::ECANCELED, load: Some(load) } if !load.is_empty() => {
            stage.chunks.give_load(load);
        }
        other => panic!("{other:?}"),
    }
    stage.expect(way.to, Lane::Control);
    // What was reported as sent arrives, in order, and no more than that.
    let read = stage.peer_reads(way.reader, taken);
    assert!(read.chunks(BULK).all(|part| part == &pattern()[..part.len()]));
    stage.close(way.from, true);
    stage.close(way.to, false);
    stage.peer_sees_end("to", way.reader);
}

fn gone_sink<W: World>(stage: &mut Stage<W>) {
    let way = way(stage);
    stage.peer_writes(way.writer, b"for nobody");
    stage.push(way.from, Op::Recv(Want::Pipe));
    let Event::Received(load) = stage.take(way.from, Lane::Recv) else { panic!() };
    stage.push(way.to, Op::Recv(Want::Pipe));
    stage.world.peer_close(way.reader, true);
    stage.expect(way.to, Lane::Recv);
    stage.push(way.to, Op::Send(load));
    match stage.take(way.to, Lane::Send) {
        Event::Failed { load: Some(load), .. } if load.len() == 10 => stage.chunks.give_load(load),
        other => panic!("{other:?}"),
    }
    stage.close(way.from, false);
    stage.close(way.to, false);
}

fn linked_to_nobody<W: World>(stage: &mut Stage<W>) {
    let way = way(stage);
    stage.push(way.to, Op::Recv(Want::Copy));
    stage.world.peer_close(way.reader, true);
    stage.expect(way.to, Lane::Recv);
    stage.peer_writes(way.writer, b"for nobody");
    stage.push(way.from, Op::Recv(Want::Linked(way.to)));
    let load = match stage.take(way.from, Lane::Recv) {
        Event::Received(load) | Event::Relayed { moved: 0, rest: load } => load,
        other => panic!("{other:?}"),
    };
    assert_eq!(load.len(), 10, "nothing of it is lost");
    stage.push(way.to, Op::Send(load));
    match stage.take(way.to, Lane::Send) {
        Event::Failed { load: Some(load), .. } if load.len() == 10 => stage.chunks.give_load(load),
        other => panic!("{other:?}"),
    }
    stage.close(way.from, false);
    stage.close(way.to, false);
}

fn sink_closes<W: World>(stage: &mut Stage<W>) {
    for count in [0, 1, 100_000] {
        let way = way(stage);
        stage.push(way.from, Op::Recv(Want::Linked(way.to)));
        stage.quiet(2);
        let sent = stage.world.peer_write(way.writer, &vec![9; count]);
        stage.close(way.to, false);
        // A new tenant has the slot, perhaps the descriptor, and no byte of the other tunnel.
        let (tenant, stranger) = stage.pair("stranger");
        if sent > 0 {
            match stage.take(way.from, Lane::Recv) {
                event @ (Event::Received(_) | Event::Relayed { .. }) => stage.home(event),
                other => panic!("{other:?}"),
            }
        }
        stage.close(way.from, true);
        for _ in 0..5 {
            stage.turn(1);
        }
        assert_eq!(stage.world.peer_read(stranger, CHUNK_BYTES), PeerRead::Nothing);
        stage.close(tenant, false);
    }
}

fn unwanted<W: World>(stage: &mut Stage<W>) {
    let way = way(stage);
    for _ in 0..2 * PIPES_MAX {
        stage.peer_writes(way.writer, b"secret");
        stage.push(way.from, Op::Recv(Want::Pipe));
        let event = stage.take(way.from, Lane::Recv);
        stage.home(event);
        stage.turn(0);
        assert_eq!(stage.world.engine().pipes_lent(), 0);
        // What follows finds nothing of it.
        stage.peer_writes(way.writer, b"public");
        stage.push(way.from, Op::Recv(Want::Pipe));
        let event = stage.take(way.from, Lane::Recv);
        assert_eq!(way.pass(stage, event), 6);
        assert_eq!(stage.peer_reads(way.reader, 6), b"public");
    }
    way.close(stage);
}

fn many<W: World>(stage: &mut Stage<W>) {
    let (listener, addr) = stage.listener("listener", crate::world::Family::Tcp);
    let (to, reader) = stage.pair("to");
    let all: Vec<(ConnId, Peer)> = (0..PIPES_MAX + 8)
        .map(|_| {
            let peer = stage.world.peer_connect(&addr);
            (stage.accept(listener, "client"), peer)
        })
        .collect();
    let mut kept: Vec<Load> = Vec::new();
    for (number, &(conn, peer)) in all.iter().enumerate() {
        stage.peer_writes(peer, format!("{number:04}").as_bytes());
        stage.push(conn, Op::Recv(Want::Pipe));
        match stage.take(conn, Lane::Recv) {
            Event::Received(load) if load.len() == 4 => kept.push(load),
            other => panic!("{other:?}"),
        }
    }
    assert!(stage.world.engine().pipes_lent() <= PIPES_MAX);
    for (number, load) in kept.into_iter().enumerate() {
        stage.push(to, Op::Send(load));
        stage.expect(to, Lane::Send);
        assert_eq!(stage.peer_reads(reader, 4), format!("{number:04}").as_bytes());
    }
    for (conn, _) in all {
        stage.close(conn, false);
    }
    stage.close(to, false);
    stage.close(listener, false);
}
