//! Pipes between two sockets: bytes that go through one never come to user space.
//!
//! What `splice(2)` does and its manual does not say, seen on 6.18: EAGAIN while filling
//! means "no bytes" *or* "the pipe is full", so a pipe is only filled when it is empty. A pipe has
//! room for a number of segments rather than of bytes; segments of received packets may be larger
//! than a page, so it can hold more than its size says, and be full with less. A short transfer
//! therefore proves neither that the socket is empty nor that the pipe is full. At the end of the
//! stream it returns zero. It does not pass an urgent byte, and says EAGAIN for as long as one is
//! next. Into a socket whose peer is gone it raises SIGPIPE, and there is no flag against that: see
//! [`spare_this_thread`].
//!
//! Deliberately absent: which pipe is whose (the engine knows), and any retry but EINTR's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::pipe2;

use crate::limits::PIPE_BYTES_MIN;

/// Both ends of one pipe, non-blocking and close-on-exec.
#[derive(Debug)]
pub struct Channel {
    read: OwnedFd,
    write: OwnedFd,
    /// What one transfer into it may bring, in bytes.
    bytes: usize,
}

impl Channel {
    /// A pipe of `wish` bytes, or of as many as the system grants this user: `pipe-max-size` bounds
    /// each pipe and `pipe-user-pages-soft` all of them, and beyond either the kernel says EPERM.
    ///
    /// # Errors
    /// The errno of `pipe2(2)`: EMFILE, ENFILE.
    pub fn new(wish: usize) -> Result<Self, i32> {
        let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let (read, write) = pipe2(flags).map_err(|errno| errno as i32)?;
        let mut size = wish;
        while size >= PIPE_BYTES_MIN {
            let asked = i32::try_from(size).unwrap_or(i32::MAX);
            if fcntl(&write, FcntlArg::F_SETPIPE_SZ(asked)).is_ok() {
                break;
            }
            size /= 2;
        }
        // Beyond the soft limit a new pipe has two pages, and keeps them.
        let granted = fcntl(&write, FcntlArg::F_GETPIPE_SZ).unwrap_or_default();
        let bytes = usize::try_from(granted).unwrap_or_default().max(1);
        Ok(Self { read, write, bytes })
    }

    /// Its nominal size.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The end that is read and the end that is written, for a ring that splices by itself.
    #[must_use]
    pub fn ends(&self) -> (BorrowedFd<'_>, BorrowedFd<'_>) {
        (self.read.as_fd(), self.write.as_fd())
    }

    /// Moves what a socket has into the pipe, which must be empty; zero is the end of the stream.
    ///
    /// # Errors
    /// The errno of `splice(2)`; EAGAIN if there is nothing, EINVAL if this kind of socket cannot.
    pub fn fill(&self, from: BorrowedFd<'_>) -> Result<usize, i32> {
        unless_interrupted(|| splice(from, None, &self.write, None, self.bytes, FLAGS))
    }

    /// Moves up to `count` bytes of the pipe into a socket.
    ///
    /// # Errors
    /// The errno of `splice(2)`; EAGAIN if the socket takes none now.
    pub fn drain(&self, into: BorrowedFd<'_>, count: usize) -> Result<usize, i32> {
        unless_interrupted(|| splice(&self.read, None, into, None, count, FLAGS))
    }
}

const FLAGS: SpliceFFlags = SpliceFFlags::SPLICE_F_MOVE.union(SpliceFFlags::SPLICE_F_NONBLOCK);

/// Repeats a system call for as long as a signal interrupts it.
fn unless_interrupted<T>(mut call: impl FnMut() -> nix::Result<T>) -> Result<T, i32> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            outcome => return outcome.map_err(|errno| errno as i32),
        }
    }
}

/// Keeps SIGPIPE away from the calling thread, for good.
///
/// A Rust program ignores the signal, but one that embeds a proxy may be written in something else
/// and die of it. The signal of a failed write goes to the thread that wrote, so blocking it there
/// is enough, and leaves the rest of the process as its author wants it.
pub fn spare_this_thread() {
    let mut set = SigSet::empty();
    set.add(Signal::SIGPIPE);
    // It can fail only for a signal that does not exist.
    let _ = set.thread_block();
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::limits::PIPE_BYTES;

    fn pair() -> (UnixStream, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (near, far)
    }

    #[test]
    fn bytes_pass_and_the_end_is_zero() {
        let ((from, mut writer), (to, mut reader)) = (pair(), pair());
        let channel = Channel::new(PIPE_BYTES).unwrap();
        assert!(channel.bytes() >= 4096, "{} bytes", channel.bytes());
        assert_eq!(channel.fill(from.as_fd()), Err(libc::EAGAIN));
        writer.write_all(b"through").unwrap();
        assert_eq!(channel.fill(from.as_fd()), Ok(7));
        assert_eq!(channel.drain(to.as_fd(), 3), Ok(3));
        assert_eq!(channel.drain(to.as_fd(), 4), Ok(4));
        let mut bytes = [0; 7];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"through");
        drop(writer);
        assert_eq!(channel.fill(from.as_fd()), Ok(0));
    }

    #[test]
    fn a_wish_beyond_the_bound_is_stepped_down() {
        let channel = Channel::new(1 << 30).unwrap();
        assert!((4096..1 << 30).contains(&channel.bytes()), "{} bytes", channel.bytes());
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error_and_no_signal() {
        let ((from, mut writer), (to, reader)) = (pair(), pair());
        let channel = Channel::new(PIPE_BYTES).unwrap();
        writer.write_all(b"lost").unwrap();
        assert_eq!(channel.fill(from.as_fd()), Ok(4));
        drop(reader);
        spare_this_thread();
        assert_eq!(channel.drain(to.as_fd(), 4), Err(libc::EPIPE));
    }
}
