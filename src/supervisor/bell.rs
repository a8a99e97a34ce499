//! What the supervising thread waits for beside signals: messages, and a descriptor that says so.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, mpsc};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// The supervising thread's side.
#[derive(Debug)]
pub(super) struct Bell<T> {
    messages: mpsc::Receiver<T>,
    eventfd: Arc<EventFd>,
}

/// Everybody else's side.
#[derive(Debug)]
pub(super) struct Ringer<T> {
    messages: mpsc::Sender<T>,
    eventfd: Arc<EventFd>,
}

impl<T> Clone for Ringer<T> {
    fn clone(&self) -> Self {
        Self { messages: self.messages.clone(), eventfd: Arc::clone(&self.eventfd) }
    }
}

pub(super) fn bell<T>() -> nix::Result<(Bell<T>, Ringer<T>)> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let eventfd = Arc::new(EventFd::from_flags(flags)?);
    let (sender, receiver) = mpsc::channel();
    let bell = Bell { messages: receiver, eventfd: Arc::clone(&eventfd) };
    Ok((bell, Ringer { messages: sender, eventfd }))
}

impl<T> Ringer<T> {
    /// A message to a supervisor that is gone is lost, as it should be.
    pub(super) fn send(&self, message: T) {
        let _ = self.messages.send(message);
        // The only failure is a counter that is full, and then the supervisor is awake anyway.
        let _ = self.eventfd.write(1);
    }
}

impl<T> Bell<T> {
    /// The oldest message. Ask until there is none, or a wake-up is lost.
    pub(super) fn next(&self) -> Option<T> {
        // Forget the ringing first: a message that comes later rings again.
        let _ = self.eventfd.read();
        self.messages.try_recv().ok()
    }
}

impl<T> AsFd for Bell<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}
