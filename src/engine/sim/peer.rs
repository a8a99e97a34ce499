//! The other ends of the engine's sockets: clients and upstream servers, by hand or by script.

use crate::clock::Instant;
use crate::prng::Prng;

use super::net::{EndId, Net};
use super::schedule::Happening;

/// A client or a server's side of one connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PeerId(pub(super) EndId);

/// A program at the far end of a connection.
///
/// It runs inside the engine's `wait`, while virtual time passes; it must therefore use the
/// [`Peer`] it is given and never the simulation's handle.
pub trait Actor {
    /// Called at the start, whenever something may have changed at the socket (bytes, room, an end,
    /// a reset), and at the times asked for with [`Peer::wake_at`]; calls for no reason occur.
    fn act(&mut self, peer: &mut Peer<'_>);
}

/// What a read brought.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Heard {
    /// At least one byte.
    Bytes(Vec<u8>),
    /// The stream has ended; every later read says so again.
    End,
    /// The connection broke: errno.
    Failed(i32),
    /// Nothing yet.
    Nothing,
}

/// A peer's socket, for as long as its program runs.
pub struct Peer<'a> {
    pub(super) net: &'a mut Net,
    pub(super) end: EndId,
}

impl Peer<'_> {
    /// Which connection it is.
    #[must_use]
    pub fn id(&self) -> PeerId {
        PeerId(self.end)
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.net.now
    }

    /// The dice of this run.
    pub fn prng(&mut self) -> &mut Prng {
        &mut self.net.prng
    }

    /// Reads at most `max` bytes.
    pub fn read(&mut self, max: usize) -> Heard {
        let mut bytes = vec![0; max.max(1).min(self.net.end(self.end).readable_bytes())];
        match self.net.read(self.end, &mut bytes) {
            Ok(None) => Heard::Nothing,
            Ok(Some(0)) if bytes.is_empty() => Heard::End,
            Ok(Some(_)) => Heard::Bytes(bytes),
            Err(errno) => Heard::Failed(errno),
        }
    }

    /// How many bytes a read could bring now.
    #[must_use]
    pub fn readable_bytes(&self) -> usize {
        self.net.end(self.end).readable_bytes()
    }

    /// Writes as much as fits and says how much that was; zero means wait.
    ///
    /// # Errors
    /// The errno of a connection that was reset, or that this side has ended.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, i32> {
        self.net.write(self.end, bytes)
    }

    /// Ends this side's half of the stream.
    pub fn shutdown(&mut self) {
        let _ = self.net.shutdown(self.end);
    }

    /// Closes: a FIN, or a RST if bytes were left unread.
    pub fn close(&mut self) {
        self.net.close(self.end);
    }

    /// Closes with a RST.
    pub fn reset(&mut self) {
        self.net.reset(self.end);
    }

    /// Whether a reset came or was sent.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.net.end(self.end).is_dead()
    }

    /// Asks to be called at a point of virtual time.
    pub fn wake_at(&mut self, at: Instant) {
        self.net.plan_at(at, Happening::Act(self.end));
    }

    /// Writes a line into the trace.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        let end = self.end;
        self.net.note(|| format!("peer {end}: {}", line()));
    }
}
