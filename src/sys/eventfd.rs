//! A bell: any thread rings it, one engine hears it.
//!
//! Owns an eventfd. Rings that come before the engine listens melt into one; none is lost.
//! Deliberately absent: what the ringing means (the worker's mailbox holds that).

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Rings an engine's mailbox; clones ring the same one.
#[derive(Clone, Debug)]
pub struct Waker {
    bell: Arc<EventFd>,
}

impl Waker {
    /// A bell of its own.
    ///
    /// # Errors
    /// The errno of `eventfd(2)`: EMFILE, ENFILE or ENOMEM.
    pub fn new() -> Result<Self, i32> {
        EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map(|bell| Self { bell: Arc::new(bell) })
            .map_err(|errno| errno as i32)
    }

    /// Wakes the engine that watches; from any thread, at any time.
    pub fn wake(&self) {
        // The only other failure is a full counter, and a full counter wakes just as well.
        while self.bell.write(1) == Err(Errno::EINTR) {}
    }

    /// Forgets the rings so far; whether there were any.
    #[must_use]
    pub fn drain(&self) -> bool {
        loop {
            match self.bell.read() {
                Err(Errno::EINTR) => {}
                outcome => return outcome.is_ok(),
            }
        }
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_melt_into_one() {
        let waker = Waker::new().unwrap();
        assert!(!waker.drain());
        waker.wake();
        waker.clone().wake();
        assert!(waker.drain());
        assert!(!waker.drain());
    }
}
