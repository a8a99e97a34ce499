//! What a session may reach: everything it asks for, it asks for here.
//!
//! An `Io` is lent for the length of one event. It collects operations; none is carried out before
//! the session has returned. Deliberately absent: descriptors, clocks, waiting.

use std::rc::Rc;

use crate::clock::{Instant, Now};
use crate::config::model::Config;
use crate::conn::{ConnId, ConnTable, Lane, Load, Op, Ops, Owner, Side, Want};
use crate::http::facts::Host;
use crate::observe::log::Logs;
use crate::observe::stats::Stats;
use crate::prng::Prng;
use crate::route::Router;
use crate::upstream::balance::Balancer;
use crate::worker::chunks::Chunks;

use super::terms::Terms;

/// A session's view of its worker.
#[derive(Debug)]
pub struct Io<'a> {
    /// The time of this turn.
    pub now: Now,
    /// Operations asked for, in order.
    pub ops: &'a mut Ops,
    /// The receive buffers.
    pub chunks: &'a mut Chunks,
    /// The connections.
    pub conns: &'a mut ConnTable,
    /// The configuration of new requests.
    pub config: &'a Rc<Config>,
    /// What tunnels of its locations obey, in their order.
    pub terms: &'a [Rc<Terms>],
    /// The configuration's servers and locations, indexed.
    pub router: &'a Rc<Router>,
    /// The state of each upstream group.
    pub balancers: &'a mut [Balancer],
    /// The worker, as variables know it.
    pub host: &'a Host,
    /// Log lines.
    pub logs: &'a mut Logs,
    /// Counters.
    pub stats: &'a mut Stats,
    /// Randomness for jitter.
    pub prng: &'a mut Prng,
    /// Client connections that are to lose their `TCP_NODELAY`.
    pub delayed: &'a mut Vec<ConnId>,
    /// True exactly while the worker finishes what is in flight: nothing is kept alive.
    pub draining: bool,
}

impl Io<'_> {
    /// The time on the clock of timers.
    #[must_use]
    pub const fn mono(&self) -> Instant {
        self.now.mono
    }

    /// A deadline `ms` from now. The clock is read in whole milliseconds, rounded down: one more is
    /// added, or a timer could fire a fraction of a millisecond early.
    #[must_use]
    pub const fn after_ms(&self, ms: u64) -> Instant {
        self.now.mono.plus_ms(ms).plus_ms(1)
    }

    /// Asks for an operation.
    pub fn push(&mut self, conn: ConnId, op: Op) {
        self.conns.push(conn, op, self.ops);
    }

    /// Asks for bytes in one piece, unless a receive is already in flight.
    pub fn recv(&mut self, conn: ConnId) {
        self.recv_as(conn, Want::Copy);
    }

    /// Asks for bytes in the way wished for, unless a receive is already in flight.
    pub fn recv_as(&mut self, conn: ConnId, want: Want) {
        if self.conns.is_idle(conn, Lane::Recv) {
            self.push(conn, Op::Recv(want));
        }
    }

    /// Asks to write a load, which must not be empty.
    pub fn send(&mut self, conn: ConnId, load: Load) {
        debug_assert!(!load.is_empty(), "sending nothing");
        self.push(conn, Op::Send(load));
    }

    /// Takes a slot for an upstream connection of a session.
    pub fn open_upstream(&mut self, session: u32) -> Option<ConnId> {
        self.conns.open(Owner::Session(session, Side::Upstream))
    }

    /// Begins to close a connection.
    pub fn close(&mut self, conn: ConnId) {
        self.conns.close(conn, false, self.ops);
    }

    /// Takes a load's memory home.
    pub fn give(&mut self, load: Load) {
        self.chunks.give_load(load);
    }
}
