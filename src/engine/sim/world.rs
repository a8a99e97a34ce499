//! The virtual kernel: connection slots with two lanes each, listeners, the clock's progress.
//!
//! It is also the referee: whoever breaks the caller's side of the engine contract (two operations
//! on one lane, an empty send, a close beside something in flight, an operation for a connection
//! that is closed) is stopped by a panic that says so.

use std::collections::{BTreeMap, VecDeque};

use crate::clock::Instant;
use crate::conn::{Addr, Completion, ConnId, Ends, Event, Handle, Lane, Op, Pipe, Want};
use crate::worker::chunks::Chunks;

use super::faults::Faults;
use super::net::{EndId, Holder, Net};
use super::peer::{Actor, Peer, PeerId};
use super::pipes::PipeTable;
use super::schedule::Happening;
use super::trace;

/// Waits without an event, an operation or a passing millisecond before the caller is called busy.
const FRUITLESS_WAITS_MAX: u32 = 64;

/// Happenings and waits within one virtual millisecond before something is called a busy loop.
const HAPPENINGS_PER_MS_MAX: u32 = 500_000;

/// Makes the program behind one accepted connection.
pub(super) type Script = Box<dyn FnMut() -> Box<dyn Actor>>;

/// What an address does with a connection attempt.
pub(super) enum Server {
    /// Accepts; the harness picks the connections up.
    ByHand(VecDeque<PeerId>),
    /// Accepts; a program serves each connection.
    Scripted(Script),
    /// Never answers.
    Silent,
    /// Cannot be reached.
    Unreachable,
    /// Was there and is not any more; what it accepted lives on.
    Stopped,
}

/// A listening socket of the engine.
pub(super) struct Listener {
    pub(super) addr: Addr,
    pub(super) backlog: VecDeque<EndId>,
    pub(super) conn: Option<ConnId>,
    pub(super) open: bool,
}

/// A socket that travels as a [`Handle`].
pub(super) enum Held {
    Listener(usize),
    Stream(EndId),
}

/// What a connection slot holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Socket {
    /// Nothing yet, or a connect that failed.
    None,
    Listener(usize),
    Stream(EndId),
}

/// An operation in flight.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) op: Op,
    pub(super) serial: u64,
    /// A `Complete` is planned for it.
    pub(super) planned: bool,
    /// It reports `ECANCELED` when it is tried.
    pub(super) cancelled: bool,
    /// It was cancelled in vain and must not wait again.
    pub(super) hurried: bool,
    /// A send's load has lost some of its front.
    pub(super) progressed: bool,
    /// What a connect will come to: an errno, or zero.
    pub(super) verdict: Option<i32>,
    /// A linked receive's bytes, between its halves.
    pub(super) relay: Option<Pipe>,
}

/// One lane of a connection.
#[derive(Debug)]
pub(super) enum LaneState {
    Free,
    Busy(Pending),
    /// Finished; the event is not delivered yet.
    Reported,
}

/// One connection of the engine.
pub(super) struct Slot {
    pub(super) id: ConnId,
    pub(super) socket: Socket,
    pub(super) lanes: [LaneState; 3],
    pub(super) closing: bool,
    /// What the last receive wished for.
    pub(super) wanted: Option<Want>,
}

impl Slot {
    fn new(id: ConnId, socket: Socket) -> Self {
        let lanes = [LaneState::Free, LaneState::Free, LaneState::Free];
        Self { id, socket, lanes, closing: false, wanted: None }
    }

    fn is_quiet(&self) -> bool {
        self.lanes.iter().all(|lane| matches!(lane, LaneState::Free))
    }
}

/// What is not at home, for a test that wants everything back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Census {
    /// Connections that were adopted or connected and are not closed, listeners apart.
    pub connections: usize,
    /// Listening sockets.
    pub listeners: usize,
    /// Clients in backlogs that nobody has accepted yet.
    pub waiting: usize,
    /// Handles given out and neither adopted nor discarded.
    pub handles: usize,
    /// Operations without a delivered event, those of listeners apart.
    pub operations: usize,
}

/// What a run has come to so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// How often `wait` was called.
    pub waits: u64,
    /// Events delivered.
    pub events: u64,
    /// Milliseconds by which waits ended later than they should have, all together.
    pub late_ms: u64,
    /// Receives that filled a pipe.
    pub piped: u64,
    /// Linked receives that went on to their sink, and those of them that left something over.
    pub relayed: u64,
    /// See [`relayed`](Self::relayed).
    pub relayed_in_part: u64,
    /// How often a connection's receives changed from copies to a pipe, or to a link.
    pub promoted: u64,
    /// How often they changed back.
    pub demoted: u64,
    /// A fingerprint of every event delivered so far: equal runs have equal fingerprints.
    pub fingerprint: u64,
}

/// Everything that exists in one run.
pub(super) struct World {
    pub(super) net: Net,
    pub(super) slots: BTreeMap<usize, Slot>,
    pub(super) listeners: Vec<Listener>,
    pub(super) servers: Vec<(Addr, Server)>,
    pub(super) handles: BTreeMap<i32, Held>,
    pub(super) ready: VecDeque<Completion>,
    pub(super) hungry: VecDeque<(ConnId, u64)>,
    pub(super) pipes: PipeTable,
    pub(super) tally: Tally,
    pub(super) stalled: bool,
    actors: BTreeMap<EndId, Box<dyn Actor>>,
    /// The latest generation of each slot: a tenant's name is not used again.
    generations: BTreeMap<usize, u32>,
    handles_made: i32,
    serial: u64,
    pushed: bool,
    fruitless_waits: u32,
    happenings_this_ms: u32,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            net: Net::new(seed, faults),
            slots: BTreeMap::new(),
            listeners: Vec::new(),
            servers: Vec::new(),
            handles: BTreeMap::new(),
            ready: VecDeque::new(),
            hungry: VecDeque::new(),
            pipes: PipeTable::default(),
            tally: Tally::default(),
            stalled: false,
            actors: BTreeMap::new(),
            generations: BTreeMap::new(),
            handles_made: 2,
            serial: 0,
            pushed: false,
            fruitless_waits: 0,
            happenings_this_ms: 0,
        }
    }

    // ---- the engine's side ----

    pub(super) fn adopt(&mut self, conn: ConnId, handle: &Handle) -> Result<Ends, i32> {
        let held = self.handles.remove(&handle.number());
        let held = held.unwrap_or_else(|| panic!("sim: {conn:?} adopts an unknown {handle:?}"));
        let (socket, ends) = match held {
            Held::Listener(index) => {
                let listener = &mut self.listeners[index];
                listener.conn = Some(conn);
                let addr = listener.addr.clone();
                (Socket::Listener(index), Ends { peer: addr.clone(), local: addr })
            }
            Held::Stream(end) => {
                let at = self.net.end_mut(end);
                if at.is_dead() {
                    self.net.reset(end);
                    return Err(libc::ENOTCONN);
                }
                at.holder = Holder::Conn(conn);
                let ends = Ends { peer: at.remote.clone(), local: at.local.clone() };
                (Socket::Stream(end), ends)
            }
        };
        self.open(conn, socket);
        Ok(ends)
    }

    pub(super) fn discard(&mut self, handle: &Handle) {
        match self.handles.remove(&handle.number()) {
            Some(Held::Stream(end)) => self.net.reset(end),
            Some(Held::Listener(index)) => self.close_listener(index),
            None => panic!("sim: an unknown {handle:?} is discarded"),
        }
    }

    pub(super) fn push(&mut self, conn: ConnId, op: Op, chunks: &Chunks) {
        self.pushed = true;
        self.net.note(|| format!("{} <- {}", trace::conn(conn), trace::op(&op, chunks)));
        let is_open = self.slots.get(&conn.index()).is_some_and(|slot| slot.id == conn);
        // A close without a socket is a slot on its way home, after an adoption that failed.
        if matches!(op, Op::Connect(_) | Op::Close { .. }) && !is_open {
            self.open(conn, Socket::None);
        }
        let Some(slot) = self.slots.get(&conn.index()).filter(|slot| slot.id == conn) else {
            panic!("sim: a {} is pushed for {conn:?}, which is not open", trace::kind(&op));
        };
        check(slot, &op);
        self.check_carrier(conn, &op);
        let lane = op.lane();
        let slot = self.slot_mut(conn);
        slot.closing |= matches!(op, Op::Close { .. });
        if matches!(op, Op::Cancel) {
            self.cancel(conn);
        }
        self.serial += 1;
        let pending = Pending {
            op,
            serial: self.serial,
            planned: false,
            cancelled: false,
            hurried: false,
            progressed: false,
            verdict: None,
            relay: None,
        };
        self.slot_mut(conn).lanes[lane as usize] = LaneState::Busy(pending);
        if lane == Lane::Send {
            self.judge_connect(conn);
        }
        self.plan_if_ready(conn, lane);
    }

    pub(super) fn wait(
        &mut self,
        until: Option<Instant>,
        chunks: &mut Chunks,
        events: &mut Vec<Completion>,
    ) {
        self.tally.waits += 1;
        self.stalled = false;
        let started = self.net.now;
        let before = events.len();
        self.pipes.take_home(chunks);
        self.feed_hungry(chunks);
        if self.net.faults.false_mail.hits(&mut self.net.prng) {
            self.net.plan(0, Happening::Wake);
        }
        loop {
            self.run_due(chunks);
            if !self.ready.is_empty() || !self.advance(until) {
                break;
            }
        }
        self.deliver(chunks, events);
        self.judge_turn(started, events.len() > before);
    }

    // ---- the harness's side ----

    pub(super) fn listen(&mut self, addr: Addr) -> Handle {
        let listener = Listener { addr, backlog: VecDeque::new(), conn: None, open: true };
        self.listeners.push(listener);
        self.hand_out(Held::Listener(self.listeners.len() - 1))
    }

    pub(super) fn serve(&mut self, addr: Addr, server: Server) {
        self.servers.retain(|(known, _)| *known != addr);
        self.servers.push((addr, server));
    }

    /// Connects a client; `None` if nobody listens there.
    pub(super) fn connect(&mut self, addr: &Addr) -> Option<PeerId> {
        let open: Vec<usize> = (0..self.listeners.len())
            .filter(|&index| self.listeners[index].open && self.listeners[index].addr == *addr)
            .collect();
        if open.is_empty() {
            return None;
        }
        let chosen = open[self.net.below(open.len())];
        let (near, far) = self.net.pair(addr);
        self.net.end_mut(near).holder = Holder::Peer;
        self.listeners[chosen].backlog.push_back(far);
        if let Some(conn) = self.listeners[chosen].conn {
            self.plan_if_ready(conn, Lane::Recv);
        }
        self.net.note(|| format!("peer {near}: connects to {addr}"));
        Some(PeerId(near))
    }

    /// Gives a peer a program and starts it.
    pub(super) fn attach(&mut self, peer: PeerId, actor: Box<dyn Actor>) {
        self.actors.insert(peer.0, actor);
        self.net.plan(0, Happening::Act(peer.0));
    }

    /// Lets the harness act as the peer's program.
    pub(super) fn with_peer<T>(&mut self, peer: PeerId, act: impl FnOnce(&mut Peer<'_>) -> T) -> T {
        let result = act(&mut Peer { net: &mut self.net, end: peer.0 });
        self.look_at_touched();
        result
    }

    pub(super) fn census(&self) -> Census {
        let waiting = self.listeners.iter().map(|listener| listener.backlog.len()).sum();
        let mut census = Census { handles: self.handles.len(), waiting, ..Census::default() };
        for slot in self.slots.values() {
            if matches!(slot.socket, Socket::Listener(_)) {
                census.listeners += 1;
                continue;
            }
            census.connections += 1;
            let busy = slot.lanes.iter().filter(|lane| !matches!(lane, LaneState::Free));
            census.operations += busy.count();
        }
        census
    }

    // ---- time ----

    /// Lets everything happen that is due, until there are as many events as a turn may report.
    fn run_due(&mut self, chunks: &mut Chunks) {
        self.look_at_touched();
        while self.ready.len() < self.net.faults.events_per_turn {
            let Some(what) = self.net.schedule.pop_due(self.net.now) else { return };
            self.happenings_this_ms += 1;
            assert!(
                self.happenings_this_ms < HAPPENINGS_PER_MS_MAX,
                "sim: busy: {what:?} is one of {HAPPENINGS_PER_MS_MAX} happenings at one time"
            );
            match what {
                Happening::Arrive(end) => self.net.arrive(end),
                Happening::Act(end) => self.act(end),
                Happening::Complete(conn, lane, serial) => {
                    self.complete(conn, lane, serial, chunks);
                }
                Happening::Wake => self.ready.push_back(Completion {
                    conn: ConnId::MAILBOX,
                    lane: Lane::Recv,
                    event: Event::Woken,
                }),
            }
            self.look_at_touched();
        }
    }

    /// Moves the clock to the next happening. False if the wait must end instead.
    fn advance(&mut self, until: Option<Instant>) -> bool {
        let now = self.net.now;
        let next = self.net.schedule.next_at();
        let Some(target) = [next, until].into_iter().flatten().min() else {
            self.stalled = true;
            return false;
        };
        if target <= now {
            return false;
        }
        let (target, interrupted) = if self.net.faults.early_wakes.hits(&mut self.net.prng) {
            let span_ms = target.since_ms(now);
            (now.plus_ms(1 + self.net.prng.below(span_ms)), true)
        } else {
            (target, false)
        };
        self.net.now = target;
        if self.net.faults.late_wakes.hits(&mut self.net.prng) {
            let late_ms = 1 + self.net.prng.below(self.net.faults.late_wake_ms_max);
            self.net.note(|| format!("time jumps by {late_ms} ms"));
            self.net.now = target.plus_ms(late_ms);
            self.tally.late_ms += late_ms;
        }
        self.happenings_this_ms = 0;
        !interrupted
    }

    fn deliver(&mut self, chunks: &Chunks, events: &mut Vec<Completion>) {
        for _ in 0..self.net.faults.events_per_turn {
            let Some(completion) = self.ready.pop_front() else { return };
            self.net.note(|| {
                let event = trace::event(&completion.event, chunks);
                format!("{} -> {event}", trace::conn(completion.conn))
            });
            self.mark(&completion);
            let conn = completion.conn;
            if conn != ConnId::MAILBOX {
                self.slot_mut(conn).lanes[completion.lane as usize] = LaneState::Free;
            }
            if matches!(completion.event, Event::Closed) {
                self.slots.remove(&conn.index());
            }
            events.push(completion);
        }
    }

    /// Mixes an event into the fingerprint of the run.
    fn mark(&mut self, completion: &Completion) {
        let kind = match &completion.event {
            Event::Accepted(handle) => u64::from(handle.number().unsigned_abs()),
            Event::Connected => 1 << 32,
            Event::Received(load) => (2 << 32) + load.len() as u64,
            Event::Sent(load) => (3 << 32) + load.len() as u64,
            Event::Relayed { moved, rest } => (9 << 32) + (moved * 3 + rest.len()) as u64,
            Event::Shut => 4 << 32,
            Event::Cancelled => 5 << 32,
            Event::Closed => 6 << 32,
            Event::Failed { errno, .. } => (7 << 32) + u64::from(errno.unsigned_abs()),
            Event::Woken => 8 << 32,
        };
        self.tally.events += 1;
        for part in [self.net.now.ms(), completion.conn.index() as u64, kind] {
            let mixed = (self.tally.fingerprint ^ part).wrapping_mul(0x0100_0000_01b3);
            self.tally.fingerprint = mixed ^ (mixed >> 29);
        }
    }

    /// Panics at a caller that turns without anything to do.
    fn judge_turn(&mut self, started: Instant, delivered: bool) {
        let fruitful = delivered || self.pushed || self.stalled || self.net.now != started;
        self.fruitless_waits = if fruitful { 0 } else { self.fruitless_waits + 1 };
        self.pushed = false;
        self.happenings_this_ms += 1;
        assert!(
            self.fruitless_waits < FRUITLESS_WAITS_MAX,
            "sim: busy: {FRUITLESS_WAITS_MAX} waits in a row had nothing to wait for"
        );
    }

    // ---- peers ----

    fn act(&mut self, end: EndId) {
        self.net.end_mut(end).act_pending = false;
        if let Some(actor) = self.actors.get_mut(&end) {
            actor.act(&mut Peer { net: &mut self.net, end });
        }
    }

    /// Passes the news of the network on: to lanes that wait, and to programs.
    fn look_at_touched(&mut self) {
        while let Some(end) = self.net.touched.pop() {
            match self.net.end(end).holder {
                Holder::Nobody => {}
                Holder::Conn(conn) => {
                    self.plan_if_ready(conn, Lane::Recv);
                    self.plan_if_ready(conn, Lane::Send);
                }
                Holder::Peer if self.net.end(end).act_pending => {}
                Holder::Peer => {
                    self.net.end_mut(end).act_pending = true;
                    let delay_ms = self.net.delay(self.net.faults.peer_delay_ms_max);
                    self.net.plan(delay_ms, Happening::Act(end));
                }
            }
        }
    }

    // ---- parts that operations share ----

    /// The open slot of a connection that is known to have one.
    pub(super) fn slot_mut(&mut self, conn: ConnId) -> &mut Slot {
        match self.slots.get_mut(&conn.index()) {
            Some(slot) if slot.id == conn => slot,
            _ => panic!("sim: {conn:?} has no slot"),
        }
    }

    /// Voids whatever is planned for a lane's operation.
    pub(super) fn renumber(&mut self, conn: ConnId, lane: Lane) {
        self.serial += 1;
        let serial = self.serial;
        if let LaneState::Busy(pending) = &mut self.slot_mut(conn).lanes[lane as usize] {
            pending.serial = serial;
            pending.planned = false;
        }
    }

    /// Opens a slot for a new tenant.
    fn open(&mut self, conn: ConnId, socket: Socket) {
        let earlier = self.generations.insert(conn.index(), conn.generation());
        assert!(earlier != Some(conn.generation()), "sim: {conn:?} is opened twice");
        let tenant = self.slots.insert(conn.index(), Slot::new(conn, socket));
        if let Some(tenant) = tenant {
            panic!("sim: {conn:?} is opened while {:?} has the slot", tenant.id);
        }
    }

    /// Gives a socket a number under which it can travel.
    pub(super) fn hand_out(&mut self, held: Held) -> Handle {
        self.handles_made += 1;
        self.handles.insert(self.handles_made, held);
        Handle::new(self.handles_made)
    }

    pub(super) fn close_listener(&mut self, index: usize) {
        self.listeners[index].open = false;
        while let Some(end) = self.listeners[index].backlog.pop_front() {
            self.net.reset(end);
        }
    }
}

/// The caller's side of the contract.
fn check(slot: &Slot, op: &Op) {
    let (id, kind) = (slot.id, trace::kind(op));
    assert!(!slot.closing, "sim: a {kind} is pushed for {id:?}, which is being closed");
    if matches!(op, Op::Close { .. }) {
        assert!(slot.is_quiet(), "sim: {id:?} is closed while operations are in flight");
        return;
    }
    let lane = op.lane();
    assert!(
        matches!(slot.lanes[lane as usize], LaneState::Free),
        "sim: a {kind} is pushed for {id:?}, whose {lane:?} lane is busy"
    );
    if let Op::Send(load) = op {
        assert!(!load.is_empty(), "sim: {id:?} sends nothing");
    }
    let fits = match op {
        Op::Cancel | Op::Close { .. } => true,
        Op::Accept => matches!(slot.socket, Socket::Listener(_)),
        Op::Connect(_) => matches!(slot.socket, Socket::None),
        Op::Recv(_) | Op::Send(_) | Op::Shutdown => matches!(slot.socket, Socket::Stream(_)),
    };
    assert!(fits, "sim: a {kind} is pushed for {id:?}, which holds {:?}", slot.socket);
}
