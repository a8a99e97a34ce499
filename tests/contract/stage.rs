//! The stage on which a scenario plays: pushes operations, steps the engine, keeps the rules.
//!
//! Every event that comes out of the engine is checked here against the contract: it answers an
//! operation that is outstanding, once, on the right lane, with an outcome that fits. What a
//! scenario expects it notes in a transcript; transcripts of two engines must be equal. They are
//! written in the order of the scenario's expectations, so they say nothing about the order in
//! which *different* connections finish, which no engine promises.

use std::collections::{HashMap, VecDeque};

use upsplice::clock::Instant;
use upsplice::conn::{Addr, Completion, ConnId, ConnectTo, Ends, Event, Handle, Lane, Load, Op};
use upsplice::engine::Engine;
use upsplice::limits::{CHUNK_BYTES, EVENTS_PER_TURN};
use upsplice::reason::Errno;
use upsplice::worker::chunks::Chunks;

use crate::world::{Family, Peer, PeerRead, World};

/// Turns after which a scenario gives up waiting.
const TURNS_MAX: usize = 20_000;

/// How long one turn of a waiting scenario may last.
const TURN_MS: u64 = 5;

/// Which operation occupies a lane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    Accept,
    Connect,
    Recv,
    Send { bytes: usize },
    Shutdown,
    Cancel,
    Close,
}

impl Asked {
    fn of(op: &Op) -> Self {
        match op {
            Op::Accept => Self::Accept,
            Op::Connect(_) => Self::Connect,
            Op::Recv(_) => Self::Recv,
            Op::Send(load) => Self::Send { bytes: load.len() },
            Op::Shutdown => Self::Shutdown,
            Op::Cancel => Self::Cancel,
            Op::Close { .. } => Self::Close,
        }
    }

    /// Whether an event is one of this operation's possible answers.
    fn fits(self, event: &Event) -> bool {
        match (self, event) {
            (Self::Accept, Event::Accepted(_))
            | (Self::Connect, Event::Connected)
            | (Self::Recv, Event::Received(_) | Event::Relayed { .. })
            | (Self::Shutdown, Event::Shut)
            | (Self::Cancel, Event::Cancelled)
            | (Self::Close, Event::Closed) => true,
            (Self::Send { bytes }, Event::Sent(rest)) => rest.len() < bytes,
            (Self::Send { bytes }, Event::Failed { load: Some(load), .. }) => load.len() <= bytes,
            (
                Self::Accept | Self::Connect | Self::Recv | Self::Shutdown,
                Event::Failed { errno, load: None },
            ) => *errno > 0,
            _ => false,
        }
    }
}

/// One scenario's engine, peers, pool and transcript.
pub(crate) struct Stage<W: World> {
    /// The peers and the engine.
    pub(crate) world: W,
    /// The pool that the engine's buffers come from.
    pub(crate) chunks: Chunks,
    asked: HashMap<(ConnId, Lane), Asked>,
    arrived: HashMap<(ConnId, Lane), VecDeque<Event>>,
    woken: usize,
    names: HashMap<ConnId, String>,
    transcript: Vec<String>,
    generations: Vec<u32>,
    free: Vec<u32>,
    turns: usize,
}

impl<W: World> Stage<W> {
    /// A stage with room for `connections` and a pool of `base` to `max` chunks.
    pub(crate) fn new(connections: usize, (base, max): (usize, usize)) -> Self {
        let slots = u32::try_from(connections).expect("a scenario is small");
        Self {
            world: W::new(connections),
            chunks: Chunks::new(base, max),
            asked: HashMap::new(),
            arrived: HashMap::new(),
            woken: 0,
            names: HashMap::new(),
            transcript: Vec::new(),
            generations: vec![0; connections],
            free: (0..slots).rev().collect(),
            turns: 0,
        }
    }

    /// A free slot under a new generation.
    pub(crate) fn slot(&mut self, name: &str) -> ConnId {
        let index = self.free.pop().expect("the scenario has room");
        self.generations[index as usize] += 1;
        let conn = ConnId::new(index, self.generations[index as usize]);
        self.names.insert(conn, name.to_owned());
        conn
    }

    /// How many turns the engine has made.
    pub(crate) fn turns(&self) -> usize {
        self.turns
    }

    /// How often the mailbox was reported.
    pub(crate) fn woken(&self) -> usize {
        self.woken
    }

    /// The engine's time, in milliseconds.
    pub(crate) fn now(&mut self) -> u64 {
        self.world.engine().now().mono.ms()
    }

    /// Hands a socket to the engine under a new slot.
    pub(crate) fn adopt(&mut self, name: &str, handle: Handle) -> (ConnId, Ends) {
        let conn = self.slot(name);
        let ends = self.world.engine().adopt(conn, handle).expect("the socket is alive");
        (conn, ends)
    }

    /// Pushes an operation.
    pub(crate) fn push(&mut self, conn: ConnId, op: Op) {
        let key = (conn, op.lane());
        let before = self.asked.insert(key, Asked::of(&op));
        assert_eq!(before, None, "the scenario used a lane twice: {key:?}");
        if matches!(op, Op::Close { .. }) {
            for lane in [Lane::Recv, Lane::Send] {
                assert!(!self.asked.contains_key(&(conn, lane)), "closed with {lane:?} in flight");
            }
        }
        self.world.engine().push(conn, op, &mut self.chunks);
    }

    /// One turn of the engine that may block for `ms`; how many events it gave.
    pub(crate) fn turn(&mut self, ms: u64) -> usize {
        let until = Instant::from_ms(self.now()).plus_ms(ms);
        let mut events: Vec<Completion> = Vec::new();
        self.world.engine().wait(Some(until), &mut self.chunks, &mut events);
        self.turns += 1;
        assert!(events.len() <= EVENTS_PER_TURN, "{} events in a turn", events.len());
        let count = events.len();
        events.into_iter().for_each(|completion| self.check(completion));
        count
    }

    /// Holds an event against the contract and keeps it.
    fn check(&mut self, Completion { conn, lane, event }: Completion) {
        if conn == ConnId::MAILBOX {
            assert!(matches!(event, Event::Woken), "the mailbox reported {event:?}");
            self.woken += 1;
            return;
        }
        let name = self.names.get(&conn).map_or("nobody", String::as_str);
        let Some(asked) = self.asked.remove(&(conn, lane)) else {
            panic!("{name}: {event:?} on {lane:?} answers nothing");
        };
        assert!(asked.fits(&event), "{name}: {event:?} does not answer {asked:?}");
        if matches!(event, Event::Closed) {
            self.free.push(u32::try_from(conn.index()).expect("a scenario is small"));
        }
        self.arrived.entry((conn, lane)).or_default().push_back(event);
    }

    /// Steps until the condition holds.
    pub(crate) fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        for _ in 0..TURNS_MAX {
            if condition(self) {
                return;
            }
            self.turn(TURN_MS);
        }
        panic!("waited in vain for {what}; outstanding: {:?}", self.asked);
    }

    /// Whether a lane's operation has not reported yet, or its event was not taken.
    pub(crate) fn busy(&self, conn: ConnId, lane: Lane) -> bool {
        let key = (conn, lane);
        self.asked.contains_key(&key) || self.arrived.get(&key).is_some_and(|all| !all.is_empty())
    }

    /// The event of a lane, if it is there already.
    pub(crate) fn arrived(&mut self, conn: ConnId, lane: Lane) -> Option<Event> {
        self.arrived.get_mut(&(conn, lane))?.pop_front()
    }

    /// Steps until the lane's operation has reported; not noted.
    pub(crate) fn take(&mut self, conn: ConnId, lane: Lane) -> Event {
        let mut event = None;
        let what = format!("{} on {lane:?}", self.names[&conn]);
        self.until(&what, |stage| {
            event = stage.arrived(conn, lane);
            event.is_some()
        });
        event.expect("until returned")
    }

    /// Steps until the lane's operation has reported, notes the outcome and takes its memory home.
    pub(crate) fn expect(&mut self, conn: ConnId, lane: Lane) {
        let event = self.take(conn, lane);
        let outcome = match &event {
            Event::Accepted(_) => panic!("take an accepted handle with `accept`"),
            Event::Received(load) if load.is_empty() => "received the end".to_owned(),
            Event::Received(load) => {
                let bytes = self.chunks.load_bytes(load);
                match std::str::from_utf8(bytes) {
                    Ok(text) if text.len() <= 64 => format!("received {text:?}"),
                    _ => format!("received {} bytes", bytes.len()),
                }
            }
            Event::Sent(rest) if rest.is_empty() => "sent all".to_owned(),
            Event::Sent(_) => "sent a part".to_owned(),
            Event::Failed { errno, .. } => format!("failed with {}", Errno(*errno)),
            plain => format!("{plain:?}").to_lowercase(),
        };
        let line = format!("{}: {outcome}", self.names[&conn]);
        self.transcript.push(line);
        self.home(event);
    }

    /// Takes whatever memory an event brought home.
    pub(crate) fn home(&mut self, event: Event) {
        match event {
            Event::Received(load) | Event::Sent(load) | Event::Relayed { rest: load, .. } => {
                self.chunks.give_load(load);
            }
            Event::Failed { load: Some(load), .. } => self.chunks.give_load(load),
            _ => {}
        }
    }

    /// Pushes an operation and expects its outcome.
    pub(crate) fn ask(&mut self, conn: ConnId, op: Op) {
        let lane = op.lane();
        self.push(conn, op);
        self.expect(conn, lane);
    }

    /// A listener of the engine's side, adopted, and its address.
    pub(crate) fn listener(&mut self, name: &str, family: Family) -> (ConnId, Addr) {
        let (handle, addr) = self.world.listen(family);
        let (conn, ends) = self.adopt(name, handle);
        assert_eq!((&ends.local, &ends.peer), (&addr, &addr), "a listener's two ends");
        (conn, addr)
    }

    /// Pushes an accept and adopts what it brings.
    pub(crate) fn accept(&mut self, listener: ConnId, name: &str) -> ConnId {
        self.push(listener, Op::Accept);
        self.accepted(listener, name)
    }

    /// Waits for the outcome of an accept and adopts what it brings.
    pub(crate) fn accepted(&mut self, listener: ConnId, name: &str) -> ConnId {
        match self.take(listener, Lane::Recv) {
            Event::Accepted(handle) => self.adopt(name, handle).0,
            other => panic!("accepting {name}: {other:?}"),
        }
    }

    /// A connection that a peer made to a listener which is closed again.
    pub(crate) fn pair(&mut self, name: &str) -> (ConnId, Peer) {
        let (listener, addr) = self.listener("a listener", Family::Tcp);
        let peer = self.world.peer_connect(&addr);
        let conn = self.accept(listener, name);
        self.push(listener, Op::Close { reset: false });
        let closed = self.take(listener, Lane::Control);
        assert!(matches!(closed, Event::Closed));
        (conn, peer)
    }

    /// Asks for a connection to an address.
    pub(crate) fn connect(&mut self, name: &str, addr: Addr) -> ConnId {
        let conn = self.slot(name);
        self.push(conn, Op::Connect(Box::new(ConnectTo { addr, keepalive: true, nodelay: true })));
        conn
    }

    /// Asks for a write of owned bytes.
    pub(crate) fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        self.push(conn, Op::Send(Load::owned(bytes.to_vec())));
    }

    /// Steps until the peer has written all of it, while nobody expects the engine to move.
    pub(crate) fn peer_writes(&mut self, peer: Peer, bytes: &[u8]) {
        let mut done = 0;
        self.until("the peer to write", |stage| {
            done += stage.world.peer_write(peer, &bytes[done..]);
            done == bytes.len()
        });
    }

    /// Steps until the peer has read exactly `count` bytes.
    pub(crate) fn peer_reads(&mut self, peer: Peer, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.until("the peer to read", |stage| {
            while bytes.len() < count {
                match stage.world.peer_read(peer, (count - bytes.len()).min(CHUNK_BYTES)) {
                    PeerRead::Bytes(more) => bytes.extend(more),
                    PeerRead::Nothing => return false,
                    other => panic!("the peer read {other:?} after {} bytes", bytes.len()),
                }
            }
            true
        });
        bytes
    }

    /// Steps until the peer sees how the engine's side ended, and notes it.
    pub(crate) fn peer_sees_end(&mut self, name: &str, peer: Peer) {
        let mut end = PeerRead::Nothing;
        self.until("the peer to see an end", |stage| {
            end = stage.world.peer_read(peer, CHUNK_BYTES);
            end != PeerRead::Nothing
        });
        let line = match end {
            PeerRead::End => format!("{name}: peer sees the end"),
            PeerRead::Reset => format!("{name}: peer sees a reset"),
            other => panic!("{name}: the peer read {other:?}"),
        };
        self.transcript.push(line);
    }

    /// Makes turns for `ms` and demands that nothing happens; no turn may end early.
    pub(crate) fn quiet(&mut self, ms: u64) {
        let start = self.now();
        let count = self.turn(ms);
        let end = self.now();
        assert_eq!(count, 0, "an event out of nothing");
        assert!(end >= start + ms, "a wait of {ms} ms ended after {}", end - start);
    }

    /// Cancels, joins and closes: how the worker lets a connection die.
    pub(crate) fn close(&mut self, conn: ConnId, reset: bool) {
        let lanes = [Lane::Recv, Lane::Send];
        if lanes.iter().any(|&lane| self.asked.contains_key(&(conn, lane))) {
            self.push(conn, Op::Cancel);
            self.until("the cancelled operations", |stage| {
                ![Lane::Recv, Lane::Send, Lane::Control]
                    .iter()
                    .any(|&lane| stage.asked.contains_key(&(conn, lane)))
            });
        }
        for lane in [Lane::Recv, Lane::Send, Lane::Control] {
            while let Some(event) = self.arrived(conn, lane) {
                match event {
                    Event::Accepted(handle) => self.world.engine().discard(handle),
                    other => self.home(other),
                }
            }
        }
        self.push(conn, Op::Close { reset });
        assert!(matches!(self.take(conn, Lane::Control), Event::Closed));
    }

    /// Ends the scenario: nothing may be outstanding and every chunk must be home.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.turn(0);
        assert!(self.asked.is_empty(), "still outstanding: {:?}", self.asked);
        for ((conn, lane), events) in &self.arrived {
            assert!(events.is_empty(), "{} on {lane:?}: {events:?}", self.names[conn]);
        }
        let lent = self.world.engine().chunks_lent();
        assert_eq!(self.chunks.out(), lent, "chunks that did not come home");
        let lent = self.world.engine().pipes_lent();
        assert_eq!(lent, 0, "pipes that did not come home");
        self.transcript
    }
}
