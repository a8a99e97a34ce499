//! The engine contract: operations in, completions out.
//!
//! Three engines keep it: `uring`, `epoll` and `sim`; one script (`contract`) runs on all of them.
//!
//! 1. Every op pushed gets exactly one event, later, never from inside `push`.
//! 2. Between push and event the load belongs to the engine; afterwards to the receiver of the
//!    event, also on error, also when the event is stale.
//! 3. `Cancel` makes every outstanding op of that connection finish soon; each still reports, and
//!    may report success. `Cancel` itself reports `Cancelled`, before or after them.
//! 4. After the event of `Close` nothing arrives for that connection and generation.
//! 5. Partial results are reported, not hidden. An empty load from a `Recv` is the end of stream.
//! 6. No policy: no timeouts, no retries (EINTR apart). An engine may read ahead by the bounds in
//!    [`limits`](crate::limits); beyond them it stops reading.
//! 7. `wait(until)` returns by `until`, and at once if an event is ready. Whether it sleeps or
//!    spins until then shows in nothing but time.
//!
//! Readiness never leaves an engine. Deliberately absent: HTTP, sessions, configuration.

pub mod epoll;
mod pipes;
pub mod probe;
pub mod sim;
pub mod spin;
pub mod uring;

use crate::clock::{Instant, Now};
use crate::conn::{Completion, ConnId, Ends, Handle, Op};
use crate::worker::chunks::Chunks;
use spin::Spins;

/// Executes operations on sockets; see the module's contract.
pub trait Engine {
    /// Which interface it is: `io_uring`, `epoll` or `sim`.
    fn name(&self) -> &'static str;

    /// The time of the last `wait`.
    fn now(&self) -> Now;

    /// Puts a socket into a slot. For a client: its two ends; for a listener: its address twice.
    ///
    /// # Errors
    /// The errno if the socket is already useless (the client is gone); the handle is then closed.
    fn adopt(&mut self, conn: ConnId, handle: Handle) -> Result<Ends, i32>;

    /// Closes a socket that found no slot, with RST.
    fn discard(&mut self, handle: Handle);

    /// Takes away the `TCP_NODELAY` that a client has from its listener; does nothing on a unix
    /// socket.
    fn clear_nodelay(&mut self, conn: ConnId);

    /// Takes an operation for a connection whose lane is free.
    fn push(&mut self, conn: ConnId, op: Op, chunks: &mut Chunks);

    /// Submits what was pushed, waits for at least one event or until `until` (`None`: for ever),
    /// and appends at most [`EVENTS_PER_TURN`](crate::limits::EVENTS_PER_TURN) events.
    fn wait(&mut self, until: Option<Instant>, chunks: &mut Chunks, events: &mut Vec<Completion>);

    /// How many chunks the engine holds that travel with no operation: a ring of buffers that it
    /// keeps filled. The pool is complete when [`Chunks::out`] is no more than this.
    fn chunks_lent(&self) -> usize {
        0
    }

    /// How often it spun since this was last asked; never where spinning is off, and in a simulated
    /// kernel, whose time stands still meanwhile.
    fn take_spins(&mut self) -> Spins {
        Spins::default()
    }

    /// How many pipes are out with bytes in them, in operations and with sessions. One that went
    /// to [`Chunks::give_load`] counts until the next `wait`.
    fn pipes_lent(&self) -> usize {
        0
    }
}
