//! What a session may ask of an engine, and what an engine may answer.

use core::net::SocketAddr;

use crate::worker::chunks::{Chain, Chunk};

use super::token::{ConnId, Lane};

/// An operation on one connection. Exactly one [`Event`] answers each.
#[derive(Debug)]
pub enum Op {
    /// Wait for a client on a listener. Answer: `Accepted`.
    Accept,
    /// Make a socket and connect it. Answer: `Connected`.
    Connect(Box<ConnectTo>),
    /// Wait for bytes, to be brought in the way wished for. Answer: `Received`, where an empty load
    /// is the end of the stream; or `Relayed`, to [`Want::Linked`] only.
    Recv(Want),
    /// Write a non-empty load. Answer: `Sent` with what is left of it, which may be nothing.
    Send(Load),
    /// End our half of the stream (`shutdown(SHUT_WR)`). Answer: `Shut`.
    Shutdown,
    /// Make the operations in flight on this connection finish soon. Answer: `Cancelled`.
    Cancel,
    /// Close the socket. Only pushed when nothing else is in flight. Answer: `Closed`.
    Close {
        /// Send RST and forget unsent bytes (`SO_LINGER` with zero) instead of FIN.
        reset: bool,
    },
}

impl Op {
    /// The lane the operation occupies until its event.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Accept | Self::Recv(_) => Lane::Recv,
            Self::Connect(_) | Self::Send(_) | Self::Shutdown => Lane::Send,
            Self::Cancel | Self::Close { .. } => Lane::Control,
        }
    }
}

/// How a receive should bring its bytes.
///
/// A wish, and nothing that correctness depends on: an engine that does not know the carrier, has
/// no pipe to spare, or has read ahead already brings copied bytes. One that was asked for
/// `Copy` brings nothing else, one that was asked for `Chain` no pipe.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Want {
    /// In memory, in one piece: a head or a body, to be looked at.
    #[default]
    Copy,
    /// In memory, in as many pieces as come at once ([`Load::Chain`]): to be passed on.
    Chain,
    /// In a pipe ([`Load::Pipe`]), so that they never come to user space.
    Pipe,
    /// On to this connection at once, through a pipe. The sink's send lane must be free, and stay
    /// so until the receive has reported.
    Linked(ConnId),
}

/// The outcome of one operation.
#[derive(Debug)]
pub enum Event {
    /// A client; adopt the handle into a slot or discard it.
    Accepted(Handle),
    /// The connection is established.
    Connected,
    /// Bytes that arrived; empty means that the peer ended its half of the stream.
    Received(Load),
    /// Bytes that arrived and went on to the sink of a [`Want::Linked`]. Never both nothing: the
    /// end of the stream is `Received`.
    Relayed {
        /// How many the sink has taken.
        moved: usize,
        /// What it did not take, in a pipe, to be sent; or nothing.
        rest: Load,
    },
    /// What is left of the load; empty when all of it was written.
    Sent(Load),
    /// Our half of the stream is ended.
    Shut,
    /// The cancellation was carried out; the cancelled operations report for themselves.
    Cancelled,
    /// The socket is closed; nothing follows for this connection.
    Closed,
    /// The operation failed.
    Failed {
        /// The errno, positive, as in `errno(3)`; `ECANCELED` after a `Cancel`.
        errno: i32,
        /// The load that travelled with the operation, untouched or partly written.
        load: Option<Load>,
    },
    /// Another thread put something into the mailbox ([`ConnId::MAILBOX`] only).
    Woken,
}

/// An event and the operation it answers.
#[derive(Debug)]
pub struct Completion {
    /// The connection the operation was pushed for.
    pub conn: ConnId,
    /// The lane that is free again.
    pub lane: Lane,
    /// The outcome.
    pub event: Event,
}

/// Bytes on loan: they travel with an operation and return with its event.
///
/// Move-only. Dropping a `Chunk` load would lose a buffer and a `Pipe` load a pipe, so a load ends
/// in [`Chunks::give_load`](crate::worker::chunks::Chunks::give_load).
#[derive(Debug)]
pub enum Load {
    /// A part of a pooled chunk: what a receive brings and a tunnel passes on.
    Chunk(Chunk),
    /// Several chunks that were filled together.
    Chain(Chain),
    /// Bytes of our own, such as a head or an answer, with the position of the first unsent one.
    Bytes {
        /// The memory.
        bytes: Vec<u8>,
        /// How much of it is already written.
        start: usize,
    },
    /// Bytes in a pipe of the engine that brought them. They are in no memory of this process, so
    /// they can be sent by that engine and nothing else; a send that empties the pipe keeps it.
    Pipe(Pipe),
}

impl Load {
    /// A load of no bytes: the end of a stream.
    pub const EMPTY: Self = Self::Bytes { bytes: Vec::new(), start: 0 };

    /// A load of owned bytes.
    #[must_use]
    pub const fn owned(bytes: Vec<u8>) -> Self {
        Self::Bytes { bytes, start: 0 }
    }

    /// How many bytes are still in it.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.len(),
            Self::Chain(chain) => chain.len(),
            Self::Bytes { bytes, start } => bytes.len() - start,
            Self::Pipe(pipe) => pipe.len(),
        }
    }

    /// In how many pieces of memory it lies.
    #[must_use]
    pub fn pieces(&self) -> usize {
        match self {
            Self::Chain(chain) => chain.pieces(),
            Self::Chunk(_) | Self::Bytes { .. } => usize::from(!self.is_empty()),
            Self::Pipe(_) => 0,
        }
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps only the first `count` bytes of a load that is in one piece.
    ///
    /// # Panics
    /// If the load holds fewer, or is a chain, or a pipe, which only a send empties.
    pub fn truncate(&mut self, count: usize) {
        assert!(count <= self.len(), "a load of {} bytes has no first {count}", self.len());
        match self {
            Self::Chunk(chunk) => chunk.truncate(count),
            Self::Chain(_) => panic!("a chain is not cut: a receive that wants one chunk has none"),
            Self::Bytes { bytes, start } => bytes.truncate(*start + count),
            Self::Pipe(pipe) => panic!("{pipe:?} gives its bytes in order"),
        }
    }

    /// Takes `count` bytes off the front of a load that is in one piece: they are written.
    /// [`Chunks::advance`](crate::worker::chunks::Chunks::advance) does it for every load.
    ///
    /// # Panics
    /// If the load holds fewer, or is a chain.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "a load of {} bytes cannot lose {count}", self.len());
        match self {
            Self::Chunk(chunk) => chunk.advance(count),
            Self::Chain(_) => panic!("the links of a chain are the pool's"),
            Self::Bytes { start, .. } => *start += count,
            Self::Pipe(pipe) => pipe.len -= count,
        }
    }
}

/// A claim on one of an engine's pipes and the bytes in it.
#[derive(Debug, Eq, PartialEq)]
pub struct Pipe {
    number: u32,
    len: usize,
}

impl Pipe {
    /// Names a pipe that holds `len` bytes. Only for an engine, and only once until the claim is
    /// back.
    #[must_use]
    pub const fn new(number: u32, len: usize) -> Self {
        Self { number, len }
    }

    /// The pipe's number in its engine's table.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// How many bytes are in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A socket on its way between an engine and a connection slot: a descriptor, or a simulated one.
///
/// Move-only; dropping one leaks the descriptor, so it ends in `Engine::adopt` or
/// `Engine::discard`.
#[derive(Debug, Eq, PartialEq)]
#[must_use]
pub struct Handle(i32);

impl Handle {
    /// Wraps the number by which the engine knows the socket.
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// The number by which the engine knows the socket.
    #[must_use]
    pub const fn number(&self) -> i32 {
        self.0
    }
}

/// An address of either kind a socket can have here.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Addr {
    /// IPv4 or IPv6.
    Inet(SocketAddr),
    /// A unix-domain path; empty when the peer is unnamed.
    Unix(Box<str>),
}

impl core::fmt::Display for Addr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Inet(addr) => write!(f, "{addr}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// The two ends of an established socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ends {
    /// Who is at the other end.
    pub peer: Addr,
    /// The address on this machine.
    pub local: Addr,
}

/// Where and how to connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectTo {
    /// The server's address.
    pub addr: Addr,
    /// `SO_KEEPALIVE` on the new socket (`proxy_socket_keepalive`).
    pub keepalive: bool,
    /// `TCP_NODELAY` on the new socket (`tcp_nodelay`).
    pub nodelay: bool,
}
