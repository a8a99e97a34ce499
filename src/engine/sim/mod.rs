//! The simulated engine: a seeded, faulty, virtual kernel.
//!
//! It keeps the engine contract with sockets that are two byte queues in memory and a clock that
//! only moves when nothing else can happen. Every choice comes from one generator, so a seed is a
//! whole history: the same program with the same seed does the same things at the same virtual
//! milliseconds. Clients and servers are driven by the harness, by hand ([`Sim::with_peer`]) or by
//! [`Actor`]s that run while virtual time passes.
//!
//! Deliberately absent: threads, real time, descriptors, the real kernel's costs.

mod carry;
mod faults;
mod net;
mod ops;
mod peer;
mod pipes;
mod schedule;
#[cfg(test)]
mod tests;
mod trace;
mod world;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::clock::{Instant, Now};
use crate::conn::{Addr, Completion, ConnId, Ends, Handle, Op};
use crate::engine::Engine;
use crate::worker::chunks::Chunks;

pub use faults::{Faults, Ratio};
pub use peer::{Actor, Heard, Peer, PeerId};
pub use world::{Census, Tally};

use schedule::Happening;
use world::{Server, World};

/// The wall clock's distance to the virtual one: some afternoon in 2025.
const UNIX_OFFSET_MS: u64 = 1_750_000_000_000;

/// A handle on one simulated world; clones name the same world.
///
/// One clone goes to the worker as its engine, another stays with the harness.
#[derive(Clone)]
pub struct Sim(Rc<RefCell<World>>);

impl Sim {
    /// A world with these faults, in which `seed` decides everything else.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self(Rc::new(RefCell::new(World::new(seed, faults))))
    }

    /// A listening socket, to be adopted. Several may have one address; clients are spread.
    pub fn listen(&self, addr: Addr) -> Handle {
        self.0.borrow_mut().listen(addr)
    }

    /// Connects a client; `None` if nobody listens at the address.
    #[must_use]
    pub fn client_connect(&self, addr: &Addr) -> Option<PeerId> {
        self.0.borrow_mut().connect(addr)
    }

    /// Starts a server whose connections the harness takes with [`Self::upstream_accept`].
    pub fn serve(&self, addr: Addr) {
        self.0.borrow_mut().serve(addr, Server::ByHand(VecDeque::new()));
    }

    /// Starts a server; `script` makes the program for each connection.
    pub fn serve_scripted(&self, addr: Addr, script: impl FnMut() -> Box<dyn Actor> + 'static) {
        self.0.borrow_mut().serve(addr, Server::Scripted(Box::new(script)));
    }

    /// Makes an address swallow connection attempts without an answer.
    pub fn silence(&self, addr: Addr) {
        self.0.borrow_mut().serve(addr, Server::Silent);
    }

    /// Makes an address unreachable.
    pub fn isolate(&self, addr: Addr) {
        self.0.borrow_mut().serve(addr, Server::Unreachable);
    }

    /// Stops the server at an address; what it has accepted lives on. Connects are then refused.
    pub fn stop_serving(&self, addr: Addr) {
        self.0.borrow_mut().serve(addr, Server::Stopped);
    }

    /// The next connection that the engine made to a server driven by hand.
    #[must_use]
    pub fn upstream_accept(&self, addr: &Addr) -> Option<PeerId> {
        let mut world = self.0.borrow_mut();
        let (_, server) = world.servers.iter_mut().find(|(known, _)| known == addr)?;
        match server {
            Server::ByHand(waiting) => waiting.pop_front(),
            _ => None,
        }
    }

    /// Acts at the peer's socket now.
    pub fn with_peer<T>(&self, peer: PeerId, act: impl FnOnce(&mut Peer<'_>) -> T) -> T {
        self.0.borrow_mut().with_peer(peer, act)
    }

    /// Whether a fault of the network or the kernel ended the peer's connection, rather than one of
    /// the two programs.
    #[must_use]
    pub fn was_broken(&self, peer: PeerId) -> bool {
        self.0.borrow().net.end(peer.0).is_broken()
    }

    /// The address from which a client came, as the engine's side sees it.
    #[must_use]
    pub fn address(&self, peer: PeerId) -> Addr {
        self.0.borrow().net.end(peer.0).local.clone()
    }

    /// Gives a peer a program and starts it at the next wait.
    pub fn attach(&self, peer: PeerId, actor: Box<dyn Actor>) {
        self.0.borrow_mut().attach(peer, actor);
    }

    /// Wakes the worker's wait, as another thread does through the mailbox.
    pub fn wake(&self) {
        self.0.borrow_mut().net.plan(0, Happening::Wake);
    }

    /// Wakes the worker's wait at a point of virtual time.
    pub fn wake_at(&self, at: Instant) {
        self.0.borrow_mut().net.plan_at(at, Happening::Wake);
    }

    /// The faults from here on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().net.faults = faults;
    }

    /// The faults in force.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.0.borrow().net.faults.clone()
    }

    /// The virtual time now, which is later than [`Engine::now`] only inside a wait.
    #[must_use]
    pub fn clock(&self) -> Instant {
        self.0.borrow().net.now
    }

    /// Whether the last wait found nothing at all to come: a real kernel would have slept for ever.
    #[must_use]
    pub fn stalled(&self) -> bool {
        self.0.borrow().stalled
    }

    /// What is not at home.
    #[must_use]
    pub fn census(&self) -> Census {
        self.0.borrow().census()
    }

    /// What the run has come to so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.0.borrow().tally
    }

    /// Sends a line per operation, event, reset and jump to `sink`.
    pub fn trace_to(&self, sink: impl FnMut(&str) + 'static) {
        self.0.borrow_mut().net.trace_to(Box::new(sink));
    }

    /// Writes a line into the trace.
    pub fn note(&self, line: impl FnOnce() -> String) {
        self.0.borrow_mut().net.note(line);
    }
}

impl Engine for Sim {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn now(&self) -> Now {
        let mono = self.0.borrow().net.now;
        Now { mono, unix_ms: UNIX_OFFSET_MS + mono.ms() }
    }

    fn adopt(&mut self, conn: ConnId, handle: Handle) -> Result<Ends, i32> {
        self.0.borrow_mut().adopt(conn, &handle)
    }

    fn discard(&mut self, handle: Handle) {
        self.0.borrow_mut().discard(&handle);
    }

    fn clear_nodelay(&mut self, _conn: ConnId) {}

    fn push(&mut self, conn: ConnId, op: Op, chunks: &mut Chunks) {
        self.0.borrow_mut().push(conn, op, chunks);
    }

    fn wait(&mut self, until: Option<Instant>, chunks: &mut Chunks, events: &mut Vec<Completion>) {
        self.0.borrow_mut().wait(until, chunks, events);
    }

    fn pipes_lent(&self) -> usize {
        self.0.borrow().pipes.lent()
    }
}
