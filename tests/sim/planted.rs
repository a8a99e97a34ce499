//! Bugs put in on purpose, to see whether the simulation finds them.
//!
//! They sit between the worker and the engine and falsify what passes: an event that comes out
//! wrong, or an operation that is not carried out, looks to the rest of the world exactly as if the
//! worker's own code had made the mistake. The product has no switch for any of them.

use upsplice::clock::{Instant, Now};
use upsplice::conn::{Completion, ConnId, Ends, Event, Handle, Lane, Load, Op, Pipe};
use upsplice::engine::Engine;
use upsplice::engine::sim::Sim;
use upsplice::worker::chunks::Chunks;

/// A planted bug.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Bug {
    /// The rest of a short write is taken for written.
    ForgetsShortRest,
    /// Bytes that came in the same receive as a 101 are thrown away.
    DropsBehindSwitch,
    /// The end of one direction is not passed on.
    LosesHalfClose,
    /// The chunk of a write that failed does not come home.
    LeaksChunkOnFailure,
    /// A timer that was due is not waited for.
    SleepsThroughTimers,
    /// A connection is abandoned instead of closed.
    ForgetsToClose,
    /// Bytes of one receive in twenty are swapped.
    MixesBytes,
    /// A pipe that nobody wanted is pooled with what is in it, and comes out in another tunnel.
    PoolsFullPipes,
    /// What is left in a pipe after a short write is forgotten.
    ForgetsPipeRest,
    /// What a sink did not take of a linked receive is forgotten.
    ForgetsLinkedRest,
    /// Bytes that a link has moved are reported as still to be sent.
    RelaysTwice,
    /// The pipe of a write that failed does not come home.
    LeaksPipeOnFailure,
}

impl Bug {
    pub(crate) const ALL: [Self; 12] = [
        Self::ForgetsShortRest,
        Self::DropsBehindSwitch,
        Self::LosesHalfClose,
        Self::LeaksChunkOnFailure,
        Self::SleepsThroughTimers,
        Self::ForgetsToClose,
        Self::MixesBytes,
        Self::PoolsFullPipes,
        Self::ForgetsPipeRest,
        Self::ForgetsLinkedRest,
        Self::RelaysTwice,
        Self::LeaksPipeOnFailure,
    ];
}

/// The simulated engine, with or without a bug.
pub(crate) struct Planted {
    sim: Sim,
    bug: Option<Bug>,
    /// Events of operations that were not carried out.
    made_up: Vec<Completion>,
    receives: usize,
    /// Pipes that should have been closed.
    dirty: Vec<Pipe>,
}

impl Planted {
    pub(crate) fn new(sim: Sim, bug: Option<Bug>) -> Self {
        Self { sim, bug, made_up: Vec::new(), receives: 0, dirty: Vec::new() }
    }

    fn falsify(&mut self, event: &mut Event, chunks: &mut Chunks) {
        match (self.bug, event) {
            (Some(Bug::ForgetsShortRest), Event::Sent(rest)) => {
                chunks.give_load(std::mem::replace(rest, Load::EMPTY));
            }
            (Some(Bug::DropsBehindSwitch), Event::Received(Load::Chunk(chunk))) => {
                let bytes = chunks.bytes(chunk);
                let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
                if let Some(end) = end.filter(|_| bytes.starts_with(b"HTTP/1.1 101")) {
                    chunk.truncate(end + 4);
                }
            }
            (Some(Bug::LeaksChunkOnFailure), Event::Failed { load: Some(load), .. }) => {
                *load = Load::EMPTY;
            }
            (Some(Bug::PoolsFullPipes), Event::Received(Load::Pipe(pipe))) => {
                if let Some(dirty) = self.dirty.pop() {
                    chunks.give_load(Load::Pipe(std::mem::replace(pipe, dirty)));
                }
            }
            (Some(Bug::ForgetsPipeRest), Event::Sent(rest @ Load::Pipe(_)))
            | (Some(Bug::ForgetsLinkedRest), Event::Relayed { rest, .. }) => {
                chunks.give_load(std::mem::replace(rest, Load::EMPTY));
            }
            (Some(Bug::RelaysTwice), Event::Relayed { moved, rest }) if rest.is_empty() => {
                *rest = Load::owned(vec![0; std::mem::take(moved)]);
            }
            (
                Some(Bug::LeaksPipeOnFailure),
                Event::Failed { load: Some(load @ Load::Pipe(_)), .. },
            ) => *load = Load::EMPTY,
            (Some(Bug::MixesBytes), Event::Received(Load::Chunk(chunk))) => {
                self.receives += 1;
                if self.receives.is_multiple_of(20) {
                    chunks.bytes_mut(chunk).reverse();
                }
            }
            _ => {}
        }
    }
}

impl Engine for Planted {
    fn name(&self) -> &'static str {
        self.sim.name()
    }

    fn now(&self) -> Now {
        self.sim.now()
    }

    fn adopt(&mut self, conn: ConnId, handle: Handle) -> Result<Ends, i32> {
        self.sim.adopt(conn, handle)
    }

    fn discard(&mut self, handle: Handle) {
        self.sim.discard(handle);
    }

    fn clear_nodelay(&mut self, conn: ConnId) {
        self.sim.clear_nodelay(conn);
    }

    fn push(&mut self, conn: ConnId, op: Op, chunks: &mut Chunks) {
        let (lane, event) = match (self.bug, &op) {
            (Some(Bug::LosesHalfClose), Op::Shutdown) => (Lane::Send, Event::Shut),
            (Some(Bug::ForgetsToClose), Op::Close { .. }) => (Lane::Control, Event::Closed),
            _ => return self.sim.push(conn, op, chunks),
        };
        self.made_up.push(Completion { conn, lane, event });
    }

    fn wait(&mut self, until: Option<Instant>, chunks: &mut Chunks, events: &mut Vec<Completion>) {
        let until = match self.bug {
            _ if !self.made_up.is_empty() => Some(self.sim.now().mono),
            Some(Bug::SleepsThroughTimers) => None,
            _ => until,
        };
        if self.bug == Some(Bug::PoolsFullPipes) {
            self.dirty.extend(std::iter::from_fn(|| chunks.take_unwanted()));
        }
        let before = events.len();
        self.sim.wait(until, chunks, events);
        for completion in &mut events[before..] {
            self.falsify(&mut completion.event, chunks);
        }
        events.append(&mut self.made_up);
    }

    fn chunks_lent(&self) -> usize {
        self.sim.chunks_lent()
    }

    fn pipes_lent(&self) -> usize {
        self.sim.pipes_lent()
    }
}
