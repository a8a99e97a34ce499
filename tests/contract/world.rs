//! What a scenario needs besides an engine: somebody at the other end of the wire.
//!
//! A world owns one engine and the peers it talks to. [`crate::sockets`] makes them of real sockets
//! on the loopback; a simulated kernel makes them of its own queues. Nothing here waits: a peer's
//! action is asked for, and its effect shows within a bounded number of the engine's turns.

use upsplice::conn::{Addr, Handle};
use upsplice::engine::Engine;

/// Which kind of socket a scenario runs over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Family {
    /// TCP over IPv4.
    Tcp,
    /// A unix-domain stream.
    Unix,
}

/// A peer's socket, as the world knows it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Peer(pub(crate) usize);

/// A listening socket of the peers' side, as the world knows it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct PeerListener(pub(crate) usize);

/// What a peer finds when it reads without waiting.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum PeerRead {
    /// Some bytes, never none.
    Bytes(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// The engine's side ended its half of the stream.
    End,
    /// The engine's side reset the connection.
    Reset,
}

/// One engine and the peers it talks to.
pub(crate) trait World {
    /// The engine under test.
    type Engine: Engine;

    /// A world whose engine has room for `connections` slots.
    fn new(connections: usize) -> Self;

    /// The engine under test.
    fn engine(&mut self) -> &mut Self::Engine;

    /// Rings the engine's mailbox, from another thread where there are threads.
    fn wake(&mut self);

    /// A listening socket for the engine to adopt, and the address at which peers reach it.
    /// Its backlog takes at least 200 connections.
    fn listen(&mut self, family: Family) -> (Handle, Addr);

    /// A listening socket of the peers' side, for the engine to connect to.
    fn peer_listen(&mut self, family: Family) -> (PeerListener, Addr);

    /// An address at which connecting is refused.
    fn refusing(&mut self, family: Family) -> Addr;

    /// A TCP address at which connecting gets no answer, for at least a second.
    fn silent(&mut self) -> Addr;

    /// A peer that connects to an address from [`listen`](Self::listen).
    fn peer_connect(&mut self, to: &Addr) -> Peer;

    /// The next connection the engine made to the listener, if there is one yet.
    fn peer_accept(&mut self, listener: PeerListener) -> Option<Peer>;

    /// Writes what the wire takes now and says how much that was. On a broken connection it says
    /// anything: those bytes go nowhere.
    fn peer_write(&mut self, peer: Peer, bytes: &[u8]) -> usize;

    /// Reads at most `limit` bytes of what is there now.
    fn peer_read(&mut self, peer: Peer, limit: usize) -> PeerRead;

    /// Ends the peer's half of the stream.
    fn peer_shutdown(&mut self, peer: Peer);

    /// Closes the peer's socket: with RST, or with FIN.
    fn peer_close(&mut self, peer: Peer, reset: bool);
}
