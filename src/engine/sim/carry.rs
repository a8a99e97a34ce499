//! The carriers of the simulated kernel: receives that bring pipes, and pairs that send them on.

use crate::conn::{ConnId, Event, Lane, Load, Op, Pipe, Want};
use crate::limits::PIPES_MAX;

use super::net::EndId;
use super::ops::Outcome;
use super::schedule::Happening;
use super::world::{LaneState, Pending, Socket, World};

impl World {
    /// Fills a pipe with what has arrived, unless the dice say that there is none. A linked receive
    /// goes on to its second half a little later.
    pub(super) fn run_fill(
        &mut self,
        conn: ConnId,
        end: EndId,
        pending: Pending,
    ) -> Result<Outcome, Pending> {
        let Op::Recv(want @ (Want::Pipe | Want::Linked(_))) = pending.op else {
            return Err(pending);
        };
        let full = self.pipes.lent() >= PIPES_MAX;
        if full || self.net.faults.no_pipe.hits(&mut self.net.prng) {
            return Err(pending);
        }
        let arrived = self.net.end(end).readable_bytes();
        let mut wanted = arrived.min(self.net.faults.pipe_bytes);
        if wanted > 1 && self.net.faults.short_reads.hits(&mut self.net.prng) {
            wanted = 1 + self.net.below(wanted - 1);
        }
        let mut bytes = vec![0; wanted];
        match self.net.read(end, &mut bytes) {
            Ok(Some(count)) if count == wanted => {}
            other => panic!("sim: {wanted} bytes were there and a splice came to {other:?}"),
        }
        let pipe = self.pipes.fill(bytes);
        self.tally.piped += 1;
        match want {
            Want::Linked(sink) if self.stream(sink).is_some() && !pending.hurried => {
                let late = self.net.faults.late_completions.hits(&mut self.net.prng);
                let max_ms = if late { self.net.faults.completion_delay_ms_max } else { 0 };
                let delay_ms = self.net.delay(max_ms);
                let again = Happening::Complete(conn, Lane::Recv, pending.serial);
                self.net.plan(delay_ms, again);
                Ok(Outcome::Wait(Pending { planned: true, relay: Some(pipe), ..pending }))
            }
            _ => Ok(Outcome::Report(Event::Received(Load::Pipe(pipe)))),
        }
    }

    /// The second half of a linked receive: the sink takes what it has room for.
    pub(super) fn run_relay(&mut self, sink: ConnId, pipe: Pipe) -> Outcome {
        let mut bytes = self.pipes.bytes(&pipe);
        if bytes.len() > 1 && self.net.faults.short_writes.hits(&mut self.net.prng) {
            let count = 1 + self.net.below(bytes.len() - 1);
            bytes.truncate(count);
        }
        // What the sink's trouble is, the send of the rest will tell.
        let written = self.stream(sink).map(|end| self.net.write(end, &bytes));
        let moved = written.and_then(Result::ok).unwrap_or(0);
        self.pipes.consume(&pipe, moved);
        let mut rest = Load::Pipe(pipe);
        rest.advance(moved);
        self.tally.relayed += u64::from(moved > 0);
        self.tally.relayed_in_part += u64::from(moved > 0 && !rest.is_empty());
        Outcome::Report(Event::Relayed { moved, rest })
    }

    /// Whether a linked receive is between its halves and has this sink.
    pub(super) fn is_relayed_to(&self, sink: ConnId) -> bool {
        self.links(sink).any(|pending| pending.relay.is_some())
    }

    /// Hands the pipe of an event to the worker, or keeps it if it is empty.
    pub(super) fn settle_pipe(&mut self, event: &mut Event) {
        let (Event::Received(load)
        | Event::Sent(load)
        | Event::Relayed { rest: load, .. }
        | Event::Failed { load: Some(load), .. }) = event
        else {
            return;
        };
        let Load::Pipe(pipe) = &*load else { return };
        if pipe.is_empty() {
            self.pipes.empty(pipe);
            *load = Load::EMPTY;
        } else {
            self.pipes.give(pipe);
        }
    }

    /// The caller's side of the contract, as far as carriers go.
    pub(super) fn check_carrier(&mut self, conn: ConnId, op: &Op) {
        match op {
            Op::Send(Load::Pipe(pipe)) => self.pipes.take(pipe),
            Op::Recv(want) => {
                self.count_switch(conn, *want);
                let Want::Linked(sink) = want else { return };
                let slot = self.slots.get(&sink.index()).filter(|slot| slot.id == *sink);
                let free = |lane: &LaneState| matches!(lane, LaneState::Free);
                assert!(
                    slot.is_some_and(|slot| free(&slot.lanes[Lane::Send as usize])),
                    "sim: {conn:?} is linked to {sink:?}, which is not there to be sent to"
                );
            }
            _ => {}
        }
        if op.lane() == Lane::Send {
            let linked = self.links(conn).next().is_some();
            assert!(!linked, "sim: {op:?} is pushed for {conn:?}, to which a receive is linked");
        }
    }

    /// Takes note of a carrier that changes.
    fn count_switch(&mut self, conn: ConnId, want: Want) {
        let before = self.slot_mut(conn).wanted.replace(want);
        let copies = |want| matches!(want, Want::Copy | Want::Chain);
        match (before.map(copies), copies(want)) {
            (Some(true), false) => self.tally.promoted += 1,
            (Some(false), true) => self.tally.demoted += 1,
            _ => {}
        }
    }

    /// Receives in flight that are linked to this sink.
    fn links(&self, sink: ConnId) -> impl Iterator<Item = &Pending> {
        self.slots.values().filter_map(move |slot| match &slot.lanes[Lane::Recv as usize] {
            LaneState::Busy(pending) => match pending.op {
                Op::Recv(Want::Linked(to)) if to == sink => Some(pending),
                _ => None,
            },
            _ => None,
        })
    }

    /// The end that a connection has, if it is open.
    fn stream(&self, conn: ConnId) -> Option<EndId> {
        let slot = self.slots.get(&conn.index()).filter(|slot| slot.id == conn && !slot.closing)?;
        match slot.socket {
            Socket::Stream(end) => Some(end),
            _ => None,
        }
    }
}
