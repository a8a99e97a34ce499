//! Listening sockets, as `listen` in a configuration asks for them.
//!
//! Deliberately absent: who accepts, and which worker gets which socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use super::socket;
use crate::conn::Addr;

/// Whether and how the kernel probes silent clients (`so_keepalive=`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Keepalive {
    /// Silence before the first probe, in seconds (`TCP_KEEPIDLE`); `None`: the system's default.
    pub idle_s: Option<u32>,
    /// Time between probes, in seconds (`TCP_KEEPINTVL`).
    pub interval_s: Option<u32>,
    /// Unanswered probes until the connection is dead (`TCP_KEEPCNT`).
    pub count: Option<u32>,
}

/// The options of a listening socket; the default is nginx's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListenOptions {
    /// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
    pub backlog: i32,
    /// Several sockets share the address and the kernel spreads clients over them (`reuseport`).
    pub reuseport: bool,
    /// An IPv6 wildcard does not take IPv4 clients (`ipv6only`).
    pub ipv6only: bool,
    /// Sets `SO_KEEPALIVE` explicitly; accepted sockets inherit it (`so_keepalive`).
    /// `None`: left to the system; `Some(None)`: off.
    pub keepalive: Option<Option<Keepalive>>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: 511, reuseport: false, ipv6only: true, keepalive: None }
    }
}

/// Binds and listens. A unix socket's file is made writable for everybody, as nginx does, and a
/// file that a dead process left behind is replaced.
///
/// # Errors
/// The system's error; `AddrInUse` if a living process has the address.
pub fn listen(addr: &Addr, options: &ListenOptions) -> io::Result<OwnedFd> {
    match addr {
        Addr::Inet(addr) => listen_inet(*addr, options),
        Addr::Unix(path) => listen_unix(Path::new(&**path), options),
    }
}

/// Removes the file of a unix listener: the duty of whoever made it, when nobody listens any more.
/// Does nothing for other addresses, nor if the file is not a socket.
pub fn remove_file(addr: &Addr) {
    if let Addr::Unix(path) = addr {
        let path = Path::new(&**path);
        if is_socket(path) {
            // Somebody else may have removed it first, which is as good.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The address a listener is bound to: the actual port where port 0 was asked for.
#[must_use]
pub fn bound(fd: &OwnedFd) -> Option<Addr> {
    socket::local(fd.as_fd())
}

fn listen_inet(addr: SocketAddr, options: &ListenOptions) -> io::Result<OwnedFd> {
    let domain = if addr.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new_raw(domain, Type::STREAM.nonblocking().cloexec(), None)?;
    // Without it a restart would have to wait for old connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if options.reuseport {
        socket.set_reuse_port(true)?;
    }
    if domain == Domain::IPV6 {
        socket.set_only_v6(options.ipv6only)?;
    }
    keepalive(&socket, options)?;
    // Clients inherit it, which saves a system call for each; see `socket::clear_nodelay`.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SockAddr::from(addr))?;
    socket.listen(options.backlog)?;
    Ok(socket.into())
}

fn keepalive(socket: &Socket, options: &ListenOptions) -> io::Result<()> {
    match options.keepalive {
        None => Ok(()),
        Some(None) => socket.set_keepalive(false),
        Some(Some(Keepalive { idle_s, interval_s, count })) => {
            let seconds = |s: u32| Duration::from_secs(s.into());
            let mut wanted = TcpKeepalive::new();
            if let Some(s) = idle_s {
                wanted = wanted.with_time(seconds(s));
            }
            if let Some(s) = interval_s {
                wanted = wanted.with_interval(seconds(s));
            }
            if let Some(count) = count {
                wanted = wanted.with_retries(count);
            }
            socket.set_tcp_keepalive(&wanted)
        }
    }
}

fn listen_unix(path: &Path, options: &ListenOptions) -> io::Result<OwnedFd> {
    let socket = Socket::new_raw(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    let addr = SockAddr::unix(path)?;
    match socket.bind(&addr) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path, &addr) => {
            std::fs::remove_file(path)?;
            socket.bind(&addr)?;
        }
        outcome => outcome?,
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    socket.listen(options.backlog)?;
    Ok(socket.into())
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Whether a socket's file is there but nobody listens behind it.
fn is_stale(path: &Path, addr: &SockAddr) -> bool {
    if !is_socket(path) {
        return false;
    }
    let Ok(probe) = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None) else {
        return false;
    };
    SockRef::from(&probe)
        .connect(addr)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::conn::ConnectTo;

    #[test]
    fn a_stale_unix_file_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let addr = Addr::Unix(path.to_str().unwrap().into());
        let first = listen(&addr, &ListenOptions::default()).unwrap();
        assert_eq!(bound(&first), Some(addr.clone()));
        let error = listen(&addr, &ListenOptions::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let second = listen(&addr, &ListenOptions::default()).unwrap();
        drop(second);
        remove_file(&addr);
        assert!(!path.exists());
        std::fs::write(&path, "not a socket").unwrap();
        assert!(listen(&addr, &ListenOptions::default()).is_err());
        remove_file(&addr);
        assert!(path.exists());
    }

    #[test]
    fn a_port_is_shared_only_with_reuseport() {
        let options = ListenOptions { reuseport: true, ..ListenOptions::default() };
        let any = Addr::Inet("127.0.0.1:0".parse().unwrap());
        let first = listen(&any, &options).unwrap();
        let addr = bound(&first).unwrap();
        let _second = listen(&addr, &options).unwrap();
        assert!(listen(&addr, &ListenOptions::default()).is_err());
    }

    #[test]
    fn a_handshake_ends_with_the_first_bytes() {
        let listener =
            listen(&Addr::Inet("127.0.0.1:0".parse().unwrap()), &ListenOptions::default()).unwrap();
        let to = ConnectTo { addr: bound(&listener).unwrap(), keepalive: false, nodelay: true };
        // The ACK leaves by itself after 200 ms: a test that is kept waiting says nothing.
        for _ in 0..5 {
            let start = Instant::now();
            let client = socket::for_connecting(&to).unwrap();
            socket::connect(client.as_fd(), &socket::sockaddr(&to.addr).unwrap()).unwrap();
            let early = socket::accept(listener.as_fd());
            if start.elapsed() > Duration::from_millis(100) {
                continue;
            }
            assert_eq!(early.err(), Some(libc::EAGAIN), "the ACK waits for the bytes");
            assert_eq!(socket::send(client.as_fd(), b"x"), Ok(1));
            assert!(socket::accept(listener.as_fd()).is_ok());
            return;
        }
    }

    #[test]
    fn accepted_sockets_inherit_keepalive_and_nodelay() {
        let keepalive = Keepalive { idle_s: Some(30), interval_s: Some(5), count: Some(3) };
        let options =
            ListenOptions { keepalive: Some(Some(keepalive)), ..ListenOptions::default() };
        let listener = listen(&Addr::Inet("127.0.0.1:0".parse().unwrap()), &options).unwrap();
        let Some(Addr::Inet(addr)) = bound(&listener) else { panic!("an inet listener") };
        let _client = std::net::TcpStream::connect(addr).unwrap();
        let accepted = socket::accept(listener.as_fd()).unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        assert_eq!(accepted.tcp_keepalive_interval().unwrap(), Duration::from_secs(5));
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), 3);
        assert!(accepted.tcp_nodelay().unwrap());
        socket::clear_nodelay(accepted.as_fd());
        assert!(!accepted.tcp_nodelay().unwrap());
    }
}
