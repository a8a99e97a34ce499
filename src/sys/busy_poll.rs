//! Busy polling of network cards (NAPI) by an epoll instance that is about to sleep.
//!
//! Deliberately absent: the same for an io_uring, which has a registration of its own
//! ([`Ring::poll_cards`](super::ring::Ring::poll_cards)).

use std::os::fd::{AsRawFd, BorrowedFd};

/// Lets waits on an epoll instance poll the queues that its sockets' packets came from, for so many
/// microseconds, before they sleep. Sockets without a card, such as those on the loopback, are not
/// polled and cost nothing.
///
/// # Errors
/// ENOTTY before Linux 6.9, or what a sandbox says.
pub fn poll_cards(epoll: BorrowedFd<'_>, us: u32) -> Result<(), i32> {
    let params = libc::epoll_params {
        busy_poll_usecs: us,
        // The kernel's own choice; more than 64 packets at once would need a privilege.
        busy_poll_budget: 0,
        prefer_busy_poll: 1,
        __pad: 0,
    };
    // SAFETY: the kernel reads one `epoll_params`, which lives on this stack frame.
    let status = unsafe { libc::ioctl(epoll.as_raw_fd(), libc::EPIOCSPARAMS, &raw const params) };
    match status {
        0 => Ok(()),
        _ => Err(super::socket::errno(&std::io::Error::last_os_error())),
    }
}
