//! How the house speaks to a worker: letters in a queue, and an eventfd that wakes the engine.
//!
//! The worker owns the [`Mailbox`]; any number of threads hold a [`Sender`]. The engine watches and
//! drains the eventfd and reports [`Woken`](crate::conn::Event::Woken); the worker then takes the
//! letters. Deliberately absent: answers. What a worker has to say goes into its counters and logs.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// What the house asks of a worker.
#[derive(Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Letter {
    /// Stop now: close every connection and return.
    Stop,
    /// Stop accepting, finish what is in flight, then return.
    Quit,
    /// Panic, so that the tests of the supervisor have a worker that died.
    #[doc(hidden)]
    Panic,
}

/// The worker's side.
#[derive(Debug)]
pub struct Mailbox {
    shared: Arc<Shared>,
}

/// The house's side.
#[derive(Clone, Debug)]
pub struct Sender {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    letters: Mutex<VecDeque<Letter>>,
    wake: EventFd,
}

impl Mailbox {
    /// A mailbox and a way to write to it.
    ///
    /// # Errors
    /// If the system gives no eventfd (EMFILE, ENFILE, ENOMEM).
    pub fn new() -> io::Result<(Self, Sender)> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_flags(flags)?;
        let shared = Arc::new(Shared { letters: Mutex::default(), wake });
        Ok((Self { shared: Arc::clone(&shared) }, Sender { shared }))
    }

    /// Takes all letters, oldest first. Costs no memory when there are none.
    #[must_use]
    pub fn drain(&self) -> VecDeque<Letter> {
        std::mem::take(&mut *self.shared.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsFd for Mailbox {
    /// The eventfd that becomes readable with a letter, for an engine to listen to.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }
}

impl Sender {
    /// Puts a letter into the mailbox and wakes the worker. A letter to a worker that is gone is
    /// lost, as it should be.
    pub fn send(&self, letter: Letter) {
        self.shared.letters.lock().unwrap_or_else(PoisonError::into_inner).push_back(letter);
        // The only failure is EAGAIN at a counter of 2^64 - 2, and then the worker is awake anyway.
        let _ = self.shared.wake.write(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_arrive_in_order_and_wake() {
        let (mailbox, sender) = Mailbox::new().unwrap();
        assert!(mailbox.drain().is_empty());
        sender.clone().send(Letter::Quit);
        sender.send(Letter::Stop);
        assert_eq!(mailbox.shared.wake.read().unwrap(), 2);
        assert_eq!(mailbox.drain(), [Letter::Quit, Letter::Stop]);
        assert!(mailbox.drain().is_empty());
    }
}
