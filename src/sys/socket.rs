//! Stream sockets: what the engines and the supervisor do to one, with errnos for errors.
//!
//! Every socket made here is non-blocking and close-on-exec. Owns nothing itself; descriptors are
//! `OwnedFd`s of the callers. Deliberately absent: waiting, and any retry but EINTR's.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::conn::{Addr, ConnectTo, Ends, Handle};
use crate::limits::CHAIN_CHUNKS_MAX;

/// How far `connect(2)` got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Established.
    Done,
    /// The handshake is under way.
    Pending,
}

/// The errno in an error of the standard library.
pub(crate) fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// Repeats a system call for as long as a signal interrupts it.
fn unless_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> Result<T, i32> {
    loop {
        match call() {
            Ok(value) => return Ok(value),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(errno(&error)),
        }
    }
}

/// Takes the descriptor out of a handle, and with it the duty to close it.
#[must_use]
pub fn from_handle(handle: Handle) -> OwnedFd {
    // SAFETY: a handle is move-only and made by `into_handle`, which gave up an `OwnedFd`; so this
    // is its only owner.
    unsafe { OwnedFd::from_raw_fd(handle.number()) }
}

/// Puts a descriptor on its way to an engine.
pub fn into_handle(fd: OwnedFd) -> Handle {
    use std::os::fd::IntoRawFd;
    Handle::new(fd.into_raw_fd())
}

/// An address as the kernel wants it.
///
/// # Errors
/// ENAMETOOLONG or EINVAL for a unix path that does not fit a socket address.
pub fn sockaddr(addr: &Addr) -> Result<SockAddr, i32> {
    match addr {
        Addr::Inet(addr) => Ok(SockAddr::from(*addr)),
        Addr::Unix(path) => SockAddr::unix(&**path).map_err(|error| match error.raw_os_error() {
            Some(errno) => errno,
            None => libc::ENAMETOOLONG,
        }),
    }
}

/// The kernel's address as ours; unnamed and abstract unix sockets have an empty path.
fn addr(from: &SockAddr) -> Addr {
    match from.as_socket() {
        Some(addr) => Addr::Inet(addr),
        None => Addr::Unix(
            from.as_pathname().map_or_else(Box::default, |path| path.to_string_lossy().into()),
        ),
    }
}

/// A new socket of the right family for a connection to be made.
///
/// # Errors
/// The errno of `socket(2)`: EMFILE, ENFILE, ENOBUFS, EAFNOSUPPORT…
pub fn for_connecting(to: &ConnectTo) -> Result<OwnedFd, i32> {
    let domain = match &to.addr {
        Addr::Inet(addr) if addr.is_ipv4() => Domain::IPV4,
        Addr::Inet(_) => Domain::IPV6,
        Addr::Unix(_) => Domain::UNIX,
    };
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new_raw(domain, kind, None).map_err(|error| errno(&error))?;
    if domain != Domain::UNIX {
        // We speak first and at once, so the handshake's ACK can travel with the request: Linux
        // then holds it back, for 200 ms at most, and acknowledges what comes later as it always
        // does (seen on 6.18). A hint: without it nothing is lost but a packet.
        let _ = socket.set_tcp_quickack(false);
        if to.nodelay {
            socket.set_tcp_nodelay(true).map_err(|error| errno(&error))?;
        }
        if to.keepalive {
            socket.set_keepalive(true).map_err(|error| errno(&error))?;
        }
    }
    Ok(socket.into())
}

/// Starts connecting.
///
/// # Errors
/// The errno of `connect(2)`; for a unix socket EAGAIN means that the server's backlog is full.
pub fn connect(fd: BorrowedFd<'_>, to: &SockAddr) -> Result<Progress, i32> {
    match SockRef::from(&fd).connect(to) {
        Ok(()) => Ok(Progress::Done),
        // An interrupted connect goes on in the background, like one that would block.
        Err(error) => match errno(&error) {
            libc::EINPROGRESS | libc::EINTR => Ok(Progress::Pending),
            errno => Err(errno),
        },
    }
}

/// The pending error of a socket (`SO_ERROR`), which this takes away.
///
/// # Errors
/// The pending errno, or that of `getsockopt(2)`.
pub fn take_error(fd: BorrowedFd<'_>) -> Result<(), i32> {
    match SockRef::from(&fd).take_error() {
        Ok(None) => Ok(()),
        Ok(Some(error)) | Err(error) => Err(errno(&error)),
    }
}

/// Takes a client from a listener's queue.
///
/// # Errors
/// The errno of `accept4(2)`; EAGAIN if nobody waits.
pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, i32> {
    let fd = unless_interrupted(|| {
        // SAFETY: null is a valid address buffer: the kernel then writes no address.
        let fd = unsafe {
            libc::accept4(
                listener.as_raw_fd(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            )
        };
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
    })?;
    Ok(own(fd))
}

/// Takes a descriptor that the kernel has just made for us, by a call or by a completion.
pub(crate) fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the callers pass the number of a fresh descriptor that nothing else has seen yet.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Reads what is there; zero is the end of the stream.
///
/// # Errors
/// The errno of `recv(2)`; EAGAIN if there is nothing.
pub fn recv(fd: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize, i32> {
    let socket = SockRef::from(&fd);
    unless_interrupted(|| (&*socket).read(into))
}

/// Reads what is there into several pieces of memory, in order; zero is the end of the stream.
///
/// # Errors
/// The errno of `recvmsg(2)`; EAGAIN if there is nothing.
pub fn recv_pieces(fd: BorrowedFd<'_>, into: &mut [IoSliceMut<'_>]) -> Result<usize, i32> {
    let socket = SockRef::from(&fd);
    unless_interrupted(|| (&*socket).read_vectored(into))
}

/// Writes as much as fits of several pieces of memory, in order and without SIGPIPE; looks at no
/// more pieces than a load may have.
///
/// # Errors
/// The errno of `sendmsg(2)`; EAGAIN if nothing fits.
pub fn send_pieces<'a>(
    fd: BorrowedFd<'_>,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<usize, i32> {
    let mut slices = [IoSlice::new(&[]); CHAIN_CHUNKS_MAX];
    let mut count = 0;
    for (slice, piece) in slices.iter_mut().zip(pieces) {
        *slice = IoSlice::new(piece);
        count += 1;
    }
    let socket = SockRef::from(&fd);
    let slices = &slices[..count];
    unless_interrupted(|| socket.send_vectored_with_flags(slices, libc::MSG_NOSIGNAL))
}

/// Writes as much as fits, without SIGPIPE.
///
/// # Errors
/// The errno of `send(2)`; EAGAIN if nothing fits.
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, i32> {
    let socket = SockRef::from(&fd);
    unless_interrupted(|| socket.send_with_flags(bytes, libc::MSG_NOSIGNAL))
}

/// Ends our half of the stream.
///
/// # Errors
/// The errno of `shutdown(2)`; ENOTCONN if the connection is gone.
pub fn shutdown_write(fd: BorrowedFd<'_>) -> Result<(), i32> {
    SockRef::from(&fd).shutdown(Shutdown::Write).map_err(|error| errno(&error))
}

/// Both ends of a socket; a listener's own address twice.
///
/// # Errors
/// ENOTCONN if the peer is gone already.
pub fn ends(fd: BorrowedFd<'_>) -> Result<Ends, i32> {
    let socket = SockRef::from(&fd);
    let local = addr(&socket.local_addr().map_err(|error| errno(&error))?);
    match socket.peer_addr() {
        Ok(peer) => Ok(Ends { peer: addr(&peer), local }),
        // A listener has no peer; neither has a client that reset, which is not a listener.
        Err(error) => match socket.is_listener() {
            Ok(true) => Ok(Ends { peer: local.clone(), local }),
            _ => Err(errno(&error)),
        },
    }
}

/// The local address of a socket.
#[must_use]
pub fn local(fd: BorrowedFd<'_>) -> Option<Addr> {
    SockRef::from(&fd).local_addr().ok().map(|from| addr(&from))
}

/// Takes away the `TCP_NODELAY` that a client inherited from its listener. A unix socket has no
/// such option and a dead one does not need it, so failing is fine.
pub fn clear_nodelay(fd: BorrowedFd<'_>) {
    let _ = SockRef::from(&fd).set_tcp_nodelay(false);
}

/// Makes the coming close send RST and forget what is unsent.
pub fn reset_on_close(fd: BorrowedFd<'_>) {
    // It can fail only on a socket whose peer is gone, where there is nothing to reset.
    let _ = SockRef::from(&fd).set_linger(Some(Duration::ZERO));
}

/// Closes a socket, with RST or with FIN.
pub fn close(fd: OwnedFd, reset: bool) {
    if reset {
        reset_on_close(fd.as_fd());
    }
    drop(fd);
}
