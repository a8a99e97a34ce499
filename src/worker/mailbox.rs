//! How the house speaks to a worker: letters in a queue, and a bell that wakes the engine.
//!
//! The worker owns the [`Mailbox`]; any number of threads hold a [`Sender`]. The engine is made with
//! the mailbox's [`waker`](Mailbox::waker), hears it and reports
//! [`Woken`](crate::conn::Event::Woken); the worker then takes the letters. Deliberately absent: answers. What a worker has to say goes into its counters and logs.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::sys::eventfd::Waker;

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
    letters: Arc<Mutex<VecDeque<Letter>>>,
    waker: Waker,
}

/// The house's side.
#[derive(Clone, Debug)]
pub struct Sender {
    letters: Arc<Mutex<VecDeque<Letter>>>,
    waker: Waker,
}

impl Mailbox {
    /// A mailbox and a way to write to it.
    ///
    /// # Errors
    /// If the system gives no eventfd (EMFILE, ENFILE, ENOMEM).
    pub fn new() -> io::Result<(Self, Sender)> {
        let waker = Waker::new().map_err(io::Error::from_raw_os_error)?;
        let letters = Arc::default();
        let sender = Sender { letters: Arc::clone(&letters), waker: waker.clone() };
        Ok((Self { letters, waker }, sender))
    }

    /// What an engine must watch to hear of letters.
    #[must_use]
    pub const fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Takes all letters, oldest first. Costs no memory when there are none.
    #[must_use]
    pub fn drain(&self) -> VecDeque<Letter> {
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sender {
    /// Puts a letter into the mailbox and wakes the worker. A letter to a worker that is gone is
    /// lost, as it should be.
    pub fn send(&self, letter: Letter) {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).push_back(letter);
        self.waker.wake();
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
        assert!(mailbox.waker().drain());
        assert_eq!(mailbox.drain(), [Letter::Quit, Letter::Stop]);
        assert!(mailbox.drain().is_empty());
    }
}
