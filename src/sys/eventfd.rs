//! The listening end of a bell: the eventfd behind a worker's mailbox, as an engine holds it.
//!
//! Owns a descriptor of its own for the shared counter, so that neither side must outlive the
//! other. Rings that come before the engine listens melt into one; none is lost. Deliberately
//! absent: ringing, and what it means (`worker::mailbox` has both).

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};

use super::socket::errno;

/// Hears an eventfd that other threads write to.
#[derive(Debug)]
pub struct Bell {
    eventfd: File,
}

impl Bell {
    /// Listens to an eventfd, which must be non-blocking.
    ///
    /// # Errors
    /// EMFILE or ENFILE if there is no descriptor left.
    pub fn of(eventfd: BorrowedFd<'_>) -> Result<Self, i32> {
        let eventfd = eventfd.try_clone_to_owned().map_err(|error| errno(&error))?;
        Ok(Self { eventfd: File::from(eventfd) })
    }

    /// Forgets the rings so far; whether there were any.
    #[must_use]
    pub fn drain(&self) -> bool {
        let mut counter = [0; 8];
        loop {
            match (&self.eventfd).read(&mut counter) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                outcome => return outcome.is_ok(),
            }
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::eventfd::{EfdFlags, EventFd};

    use super::*;

    #[test]
    fn rings_melt_into_one() {
        let eventfd = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let bell = Bell::of(eventfd.as_fd()).unwrap();
        assert!(!bell.drain());
        eventfd.write(1).unwrap();
        eventfd.write(1).unwrap();
        assert!(bell.drain());
        assert!(!bell.drain());
    }
}
