//! One direction of a tunnel: what arrives at one connection is sent to the other.
//!
//! A pump holds at most one load, and reads again only when that is written: backpressure is the
//! absence of a receive. Four states, and nothing else to know. Which carrier moves the bytes is a
//! word in each receive, chosen by [`Carrier`]. Deliberately absent: timers, and counts that
//! outlive a load.

use crate::conn::{ConnId, Load, Op};

use super::carrier::{Carrier, CarrierPolicy};
use super::io::Io;

/// What a pump waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flow {
    /// Bytes from the source; a receive is in flight there.
    Reading,
    /// The sink to take a load; a send is in flight there.
    Writing,
    /// The sink's stream to end; a shutdown is in flight there.
    Finishing,
    /// Nothing: this direction is over.
    Done,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Pump {
    flow: Flow,
    carrier: Carrier,
    /// Bytes of the load that is being written; in four bytes, because no load is near 4 GB.
    in_hand: u32,
}

impl Pump {
    /// Starts by writing what has already arrived, or else by reading.
    pub(super) fn start(
        first: Load,
        (from, to): (ConnId, ConnId),
        policy: CarrierPolicy,
        io: &mut Io<'_>,
    ) -> Self {
        let mut pump = Self { flow: Flow::Reading, carrier: Carrier::default(), in_hand: 0 };
        if first.is_empty() {
            io.give(first);
            pump.read(from, to, policy, io);
        } else {
            pump.write(first, to, io);
        }
        pump
    }

    /// What it waits for.
    #[must_use]
    pub(super) const fn flow(&self) -> Flow {
        self.flow
    }

    /// Whether the direction is over.
    #[must_use]
    pub(super) fn is_done(&self) -> bool {
        self.flow == Flow::Done
    }

    /// A receive brought bytes, or the end of the source's stream (false).
    pub(super) fn received(
        &mut self,
        load: Load,
        to: ConnId,
        policy: CarrierPolicy,
        io: &mut Io<'_>,
    ) -> bool {
        debug_assert_eq!(self.flow, Flow::Reading);
        if load.is_empty() {
            io.give(load);
            self.flow = Flow::Finishing;
            io.push(to, Op::Shutdown);
            return false;
        }
        self.carrier.received(load.len(), policy);
        self.write(load, to, io);
        true
    }

    /// A receive brought bytes of which the sink has taken all but `rest`.
    pub(super) fn relayed(
        &mut self,
        rest: Load,
        (from, to): (ConnId, ConnId),
        policy: CarrierPolicy,
        io: &mut Io<'_>,
    ) {
        debug_assert_eq!(self.flow, Flow::Reading);
        self.go_on(rest, (from, to), policy, io);
    }

    /// A send came back with what is left; returns how many bytes were written.
    pub(super) fn sent(
        &mut self,
        rest: Load,
        (from, to): (ConnId, ConnId),
        policy: CarrierPolicy,
        io: &mut Io<'_>,
    ) -> usize {
        debug_assert_eq!(self.flow, Flow::Writing);
        let written = (self.in_hand as usize).saturating_sub(rest.len());
        self.go_on(rest, (from, to), policy, io);
        written
    }

    /// The shutdown was carried out, or the sink is beyond it: the direction is over.
    pub(super) const fn finished(&mut self) {
        self.flow = Flow::Done;
        self.in_hand = 0;
    }

    /// Writes what is left, or reads again.
    fn go_on(
        &mut self,
        rest: Load,
        (from, to): (ConnId, ConnId),
        policy: CarrierPolicy,
        io: &mut Io<'_>,
    ) {
        if rest.is_empty() {
            io.give(rest);
            self.read(from, to, policy, io);
        } else {
            self.write(rest, to, io);
        }
    }

    fn read(&mut self, from: ConnId, to: ConnId, policy: CarrierPolicy, io: &mut Io<'_>) {
        self.flow = Flow::Reading;
        self.in_hand = 0;
        io.recv_as(from, self.carrier.want(policy, to));
    }

    fn write(&mut self, load: Load, to: ConnId, io: &mut Io<'_>) {
        self.flow = Flow::Writing;
        self.in_hand = u32::try_from(load.len()).unwrap_or(u32::MAX);
        io.send(to, load);
    }
}
