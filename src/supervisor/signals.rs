//! Signals as values: blocked in every thread, read from a descriptor by one.
//!
//! SIGPIPE needs no care here: the Rust runtime ignores it before `main`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What an operator may want of a running program; nginx's signals and their meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wish {
    /// SIGTERM, SIGINT: stop now.
    Stop,
    /// SIGQUIT: finish what is in flight, then stop.
    Quit,
    /// SIGUSR1: reopen the log files.
    Reopen,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR2: start the next binary.
    Upgrade,
}

const WISHES: [(Signal, Wish); 6] = [
    (Signal::SIGTERM, Wish::Stop),
    (Signal::SIGINT, Wish::Stop),
    (Signal::SIGQUIT, Wish::Quit),
    (Signal::SIGUSR1, Wish::Reopen),
    (Signal::SIGHUP, Wish::Reload),
    (Signal::SIGUSR2, Wish::Upgrade),
];

/// The descriptor from which the main thread reads signals.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks the signals in this thread and in all that it starts from now on. Call it before any
    /// thread exists, else a signal may find one that does not block it.
    ///
    /// # Errors
    /// If the system gives no descriptor.
    pub fn block() -> io::Result<Self> {
        let mask: SigSet = WISHES.iter().map(|(signal, _)| *signal).collect();
        mask.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self { fd: SignalFd::with_flags(&mask, flags)? })
    }

    /// The next pending signal and what it wishes; `None` when there is no more.
    #[must_use]
    pub fn next(&self) -> Option<(Signal, Wish)> {
        let info = self.fd.read_signal().ok()??;
        let number = i32::try_from(info.ssi_signo).ok()?;
        WISHES.into_iter().find(|(signal, _)| *signal as i32 == number)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
