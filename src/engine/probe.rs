//! The choice of an engine, by trying: does io_uring do here what the engine needs?
//!
//! A kernel's version says little about a container, so the io_uring engine itself is made and has
//! to receive and to accept once. Where a kernel or a sandbox *denies* io_uring, epoll takes its
//! place and the reason goes into the log. Where resources are merely *short* (memory, descriptors)
//! nothing takes its place: an operator can raise the limit, and would not want to learn months
//! later that the other engine was running.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::eventfd::{EfdFlags, EventFd};
use socket2::{Domain, SockAddr, Socket, Type};

use super::Engine;
use super::uring::Uring;
use crate::config::model::EngineChoice;
use crate::conn::{Completion, ConnId, Event, Op, Want};
use crate::limits::PROBE_MS_MAX;
use crate::reason::Errno;
use crate::sys::{clock, socket};
use crate::worker::chunks::Chunks;

/// A step of setting up an engine that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SetupError {
    step: &'static str,
    errno: i32,
}

impl SetupError {
    /// A step, named as its system call or in a few words, and its errno.
    #[must_use]
    pub const fn new(step: &'static str, errno: i32) -> Self {
        Self { step, errno }
    }

    /// The errno, positive.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        self.errno
    }

    /// Whether the system does not allow or does not know what was asked, so that asking again
    /// with more resources would not help.
    #[must_use]
    pub const fn denied(&self) -> bool {
        matches!(
            self.errno,
            libc::EPERM
                | libc::EACCES
                | libc::ENOSYS
                | libc::EINVAL
                | libc::EOPNOTSUPP
                | libc::ETIMEDOUT
        )
    }

    /// What it means or what to do about it.
    const fn hint(&self) -> Option<&'static str> {
        Some(match self.errno {
            libc::EPERM | libc::EACCES => "denied by a sandbox or by kernel.io_uring_disabled",
            libc::ENOSYS => "the kernel has no io_uring, or a sandbox hides it",
            libc::EINVAL | libc::EOPNOTSUPP => "the kernel is older than 6.1",
            libc::ETIMEDOUT => "the kernel took the operation and did not finish it",
            libc::ENOMEM => {
                "raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=) or the container's memory limit, \
                 or choose `use epoll;`"
            }
            libc::EMFILE => "raise RLIMIT_NOFILE (worker_rlimit_nofile, LimitNOFILE=)",
            libc::ENFILE => "raise fs.file-max",
            _ => return None,
        })
    }
}

impl core::fmt::Display for SetupError {
    /// `io_uring_setup: EPERM: denied by a sandbox or by kernel.io_uring_disabled`
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: {}", self.step, Errno(self.errno))?;
        self.hint().map_or(Ok(()), |hint| write!(f, ": {hint}"))
    }
}

impl core::error::Error for SetupError {}

/// The engine that the workers run on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Chosen {
    /// io_uring, which was tried.
    Uring,
    /// epoll, because the configuration says so or because io_uring is denied.
    Epoll {
        /// How io_uring is denied; `None` if nobody asked for it.
        instead: Option<SetupError>,
    },
}

impl core::fmt::Display for Chosen {
    /// The engine, and why it is not the other one.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Uring => f.write_str("io_uring"),
            Self::Epoll { instead: None } => f.write_str("epoll (as configured)"),
            Self::Epoll { instead: Some(error) } => write!(f, "epoll (no io_uring: {error})"),
        }
    }
}

/// Chooses the engine for a configuration's `use`.
///
/// # Errors
/// io_uring is short of memory or descriptors, or it is denied and `use io_uring;` demands it.
pub fn choose(wish: EngineChoice) -> Result<Chosen, SetupError> {
    if wish == EngineChoice::Epoll {
        return Ok(Chosen::Epoll { instead: None });
    }
    // In a thread of its own: after the end of a ring the kernel interrupts a system call of the
    // thread that made it (EINTR from a receive with a timeout, seen on 6.18), and this thread may
    // be an embedder's.
    let probe = std::thread::Builder::new().name("io_uring probe".to_owned()).spawn(probe_uring);
    let probed = probe.map_err(|error| failed("clone", &error))?.join();
    match probed.unwrap_or_else(|payload| std::panic::resume_unwind(payload)) {
        Ok(()) => Ok(Chosen::Uring),
        Err(error) if wish == EngineChoice::Auto && error.denied() => {
            Ok(Chosen::Epoll { instead: Some(error) })
        }
        Err(error) => Err(error),
    }
}

/// Makes the engine receive and accept once.
fn probe_uring() -> Result<(), SetupError> {
    let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
        .map_err(|errno| SetupError::new("eventfd", errno as i32))?;
    // Declared before the engine, dropped after it: the kernel may write into it until then.
    let mut chunks = Chunks::new(1, 1);
    let mut engine = Uring::new(2, bell.as_fd())?;

    let (near, far) = UnixStream::pair().map_err(|error| failed("socketpair", &error))?;
    socket::send(far.as_fd(), b"?").map_err(|errno| SetupError::new("send", errno))?;
    let conn = ConnId::new(0, 0);
    match ask(&mut engine, conn, near.into(), Op::Recv(Want::Copy), &mut chunks)? {
        Event::Received(load) if load.len() == 1 => chunks.give_load(load),
        event => return Err(unexpected("io_uring receive into a provided buffer", &event)),
    }

    let (listener, _client) = listener_with_client()?;
    let conn = ConnId::new(1, 0);
    match ask(&mut engine, conn, listener, Op::Accept, &mut chunks)? {
        Event::Accepted(handle) => engine.discard(handle),
        event => return Err(unexpected("io_uring multishot accept", &event)),
    }
    Ok(())
}

/// Gives the engine a socket and an operation on it, and waits for the outcome.
fn ask(
    engine: &mut Uring,
    conn: ConnId,
    fd: OwnedFd,
    op: Op,
    chunks: &mut Chunks,
) -> Result<Event, SetupError> {
    engine
        .adopt(conn, socket::into_handle(fd))
        .map_err(|errno| SetupError::new("getsockname", errno))?;
    engine.push(conn, op, chunks);
    let until = clock::now().mono.plus_ms(PROBE_MS_MAX);
    let mut events: Vec<Completion> = Vec::new();
    engine.wait(Some(until), chunks, &mut events);
    let event = events.pop().map(|completion| completion.event);
    event.ok_or(SetupError::new("io_uring_enter", libc::ETIMEDOUT))
}

/// A unix listener under a name that the kernel chose and no file system sees, and a client in its
/// queue.
fn listener_with_client() -> Result<(OwnedFd, Socket), SetupError> {
    let stream =
        || Socket::new(Domain::UNIX, Type::STREAM, None).map_err(|error| failed("socket", &error));
    let (listener, client) = (stream()?, stream()?);
    SockAddr::unix("")
        .and_then(|unnamed| listener.bind(&unnamed))
        .and_then(|()| listener.listen(1))
        .map_err(|error| failed("listen", &error))?;
    listener
        .local_addr()
        .and_then(|addr| client.connect(&addr))
        .map_err(|error| failed("connect", &error))?;
    Ok((listener.into(), client))
}

fn failed(step: &'static str, error: &std::io::Error) -> SetupError {
    SetupError::new(step, socket::errno(error))
}

fn unexpected(step: &'static str, event: &Event) -> SetupError {
    match event {
        Event::Failed { errno, .. } => SetupError::new(step, *errno),
        _ => SetupError::new(step, libc::EINVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_to_do() {
        let denied = SetupError::new("io_uring_setup", libc::EPERM);
        assert!(denied.denied());
        assert_eq!(
            Chosen::Epoll { instead: Some(denied) }.to_string(),
            "epoll (no io_uring: io_uring_setup: EPERM: denied by a sandbox or by \
             kernel.io_uring_disabled)"
        );
        for errno in [libc::ENOMEM, libc::EMFILE, libc::ENFILE] {
            let short = SetupError::new("io_uring_setup", errno);
            assert!(!short.denied());
            assert!(short.to_string().contains("raise "), "{short}");
        }
    }

    #[test]
    fn epoll_is_not_argued_with() {
        let chosen = choose(EngineChoice::Epoll).unwrap();
        assert_eq!(chosen, Chosen::Epoll { instead: None });
    }
}
