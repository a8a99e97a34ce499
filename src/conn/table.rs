//! The worker's connections: a slab with generations, and the one place where a socket dies.
//!
//! Closing is cancel → join what is in flight → close → free the slot, written here and nowhere
//! else. A slot is never reused before its operations have reported, and its generation changes
//! when it is freed. Deliberately absent: descriptors (the engine has them) and any policy.

use super::op::{Event, Op};
use super::token::{ConnId, Lane};

/// Operations asked for in this turn, in order; the worker hands them to the engine at its end.
pub type Ops = Vec<(ConnId, Op)>;

/// Which end of a session a connection is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// The accepted one.
    Client,
    /// The one we made.
    Upstream,
}

impl Side {
    /// The side across.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Upstream,
            Self::Upstream => Self::Client,
        }
    }
}

/// Who is told of a connection's events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    /// A session, by its slot.
    Session(u32, Side),
    /// The worker's own listener, by its number.
    Listener(usize),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Free,
    Open(Owner),
    /// Cancelled, or about to be closed; nobody is told any more.
    Closing {
        reset: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct Conn {
    generation: u32,
    state: State,
    /// A bit for each [`Lane`] with an operation in flight.
    in_flight: u8,
}

/// What a completion meant for the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// The connection is open: tell its owner.
    Owned(Owner),
    /// The connection is dying, or was: only the memory in the event matters.
    Dropped,
    /// The connection is gone and its slot is free again.
    Freed,
}

/// All connections of a worker.
#[derive(Debug)]
pub struct ConnTable {
    slots: Vec<Conn>,
    free: Vec<u32>,
    max: usize,
}

impl ConnTable {
    /// A table of at most `max` connections; memory grows with use.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), max }
    }

    /// How many slots are in use, dying connections included.
    #[must_use]
    pub fn live(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How many more connections fit.
    #[must_use]
    pub fn room(&self) -> usize {
        self.max - self.live()
    }

    /// Takes a slot; `None` when the table is full.
    pub fn open(&mut self, owner: Owner) -> Option<ConnId> {
        if let Some(index) = self.free.pop() {
            let conn = &mut self.slots[index as usize];
            conn.state = State::Open(owner);
            return Some(ConnId::new(index, conn.generation));
        }
        if self.slots.len() == self.max {
            return None;
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Conn { generation: 0, state: State::Open(owner), in_flight: 0 });
        Some(ConnId::new(index, 0))
    }

    /// Whether the connection has nothing in flight on `lane`.
    #[must_use]
    pub fn is_idle(&self, id: ConnId, lane: Lane) -> bool {
        self.get(id).is_some_and(|conn| conn.in_flight & bit(lane) == 0)
    }

    /// Puts an operation of an open connection into flight.
    ///
    /// # Panics
    /// In debug builds, if the connection is not open or its lane is busy: our mistake.
    pub fn push(&mut self, id: ConnId, op: Op, ops: &mut Ops) {
        let conn = &mut self.slots[id.index()];
        debug_assert_eq!(conn.generation, id.generation(), "{op:?} for an earlier tenant");
        debug_assert!(matches!(conn.state, State::Open(_)), "{op:?} on {:?}", conn.state);
        debug_assert_eq!(conn.in_flight & bit(op.lane()), 0, "{op:?}: the lane is busy");
        conn.in_flight |= bit(op.lane());
        ops.push((id, op));
    }

    /// Begins to close an open connection; its owner hears nothing more of it.
    pub fn close(&mut self, id: ConnId, reset: bool, ops: &mut Ops) {
        let conn = &mut self.slots[id.index()];
        debug_assert_eq!(conn.generation, id.generation(), "closing an earlier tenant");
        debug_assert!(matches!(conn.state, State::Open(_)), "closing {:?}", conn.state);
        conn.state = State::Closing { reset };
        let op = if conn.in_flight == 0 { Op::Close { reset } } else { Op::Cancel };
        // An owner may have cancelled by itself; the close then follows when all have joined.
        if conn.in_flight & bit(Lane::Control) == 0 {
            conn.in_flight |= bit(Lane::Control);
            ops.push((id, op));
        }
    }

    /// Takes note of a completion, and says whom to tell.
    pub fn complete(&mut self, id: ConnId, lane: Lane, event: &Event, ops: &mut Ops) -> Fate {
        let Some(conn) = self.get_mut(id) else { return Fate::Dropped };
        debug_assert!(conn.in_flight & bit(lane) != 0, "{event:?} answers nothing");
        conn.in_flight &= !bit(lane);
        match conn.state {
            State::Open(owner) => Fate::Owned(owner),
            State::Closing { .. } if matches!(event, Event::Closed) => {
                debug_assert_eq!(conn.in_flight, 0, "closed with operations in flight");
                conn.generation = (conn.generation + 1) % ConnId::GENERATIONS;
                conn.state = State::Free;
                self.free.push(u32::try_from(id.index()).expect("an index came from 32 bits"));
                Fate::Freed
            }
            State::Closing { reset } => {
                if conn.in_flight == 0 {
                    conn.in_flight |= bit(Lane::Control);
                    ops.push((id, Op::Close { reset }));
                }
                Fate::Dropped
            }
            State::Free => Fate::Dropped,
        }
    }

    fn get(&self, id: ConnId) -> Option<&Conn> {
        self.slots.get(id.index()).filter(|conn| conn.generation == id.generation())
    }

    fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slots.get_mut(id.index()).filter(|conn| conn.generation == id.generation())
    }
}

const fn bit(lane: Lane) -> u8 {
    1 << lane as u8
}

#[cfg(test)]
mod tests {
    use super::super::op::Want;
    use super::*;

    const OWNER: Owner = Owner::Session(7, Side::Client);

    #[test]
    fn closing_cancels_joins_closes_and_frees() {
        let (mut table, mut ops) = (ConnTable::new(1), Ops::new());
        let id = table.open(OWNER).unwrap();
        assert_eq!(table.open(OWNER), None, "the table is full");
        table.push(id, Op::Recv(Want::Copy), &mut ops);
        table.close(id, false, &mut ops);
        assert!(matches!(ops[..], [(_, Op::Recv(_)), (_, Op::Cancel)]));
        let fate = table.complete(id, Lane::Control, &Event::Cancelled, &mut ops);
        assert_eq!((fate, ops.len()), (Fate::Dropped, 2), "the receive has not joined yet");
        let lost = Event::Failed { errno: 125, load: None };
        assert_eq!(table.complete(id, Lane::Recv, &lost, &mut ops), Fate::Dropped);
        assert!(matches!(ops[2], (_, Op::Close { reset: false })));
        assert_eq!(table.complete(id, Lane::Control, &Event::Closed, &mut ops), Fate::Freed);
        let next = table.open(OWNER).unwrap();
        assert_eq!((next.index(), next.generation()), (id.index(), id.generation() + 1));
        assert_eq!(table.complete(id, Lane::Recv, &lost, &mut ops), Fate::Dropped, "stale");
    }

    #[test]
    fn an_idle_connection_closes_at_once() {
        let (mut table, mut ops) = (ConnTable::new(4), Ops::new());
        let id = table.open(OWNER).unwrap();
        table.close(id, true, &mut ops);
        assert!(matches!(ops[..], [(_, Op::Close { reset: true })]));
        assert_eq!(table.complete(id, Lane::Control, &Event::Closed, &mut ops), Fate::Freed);
        assert_eq!(table.live(), 0);
    }
}
