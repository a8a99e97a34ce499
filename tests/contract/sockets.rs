//! A world of real sockets on the loopback.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;

use socket2::{SockRef, Socket};
use tempfile::TempDir;
use upsplice::conn::{Addr, Handle};
use upsplice::engine::Engine;
use upsplice::sys::{listen, socket};
use upsplice::worker::mailbox::{Letter, Mailbox, Sender};

use crate::world::{Family, Peer, PeerListener, PeerRead, World};

/// A way to make an engine on real sockets, with room for a number of connections.
pub(crate) trait Real {
    /// The engine.
    type Engine: Engine;

    /// Sets the engine up.
    fn set_up(connections: usize, mailbox: BorrowedFd<'_>) -> Self::Engine;
}

/// Real sockets; the peers are non-blocking ones in the same thread.
pub(crate) struct Sockets<R: Real> {
    engine: R::Engine,
    /// Keeps the eventfd alive.
    _mailbox: Mailbox,
    sender: Sender,
    folder: TempDir,
    files: usize,
    peers: Vec<Option<Socket>>,
    listeners: Vec<Socket>,
    /// Sockets that only have to stay open.
    kept: VecDeque<Socket>,
}

impl<R: Real> Sockets<R> {
    fn path(&mut self) -> Box<str> {
        self.files += 1;
        let path = self.folder.path().join(self.files.to_string());
        path.to_str().expect("a temporary path is text").into()
    }

    fn add(&mut self, socket: Socket) -> Peer {
        socket.set_nonblocking(true).unwrap();
        self.peers.push(Some(socket));
        Peer(self.peers.len() - 1)
    }

    fn peer(&self, peer: Peer) -> &Socket {
        self.peers[peer.0].as_ref().expect("the peer is open")
    }
}

/// The kind of stream socket for an address.
fn socket_for(addr: &Addr) -> Socket {
    let domain = match addr {
        Addr::Inet(_) => socket2::Domain::IPV4,
        Addr::Unix(_) => socket2::Domain::UNIX,
    };
    Socket::new(domain, socket2::Type::STREAM, None).unwrap()
}

impl<R: Real> World for Sockets<R> {
    type Engine = R::Engine;

    fn new(connections: usize) -> Self {
        let (mailbox, sender) = Mailbox::new().unwrap();
        Self {
            engine: R::set_up(connections, mailbox.as_fd()),
            _mailbox: mailbox,
            sender,
            folder: tempfile::tempdir().unwrap(),
            files: 0,
            peers: Vec::new(),
            listeners: Vec::new(),
            kept: VecDeque::new(),
        }
    }

    fn engine(&mut self) -> &mut R::Engine {
        &mut self.engine
    }

    fn wake(&mut self) {
        let sender = self.sender.clone();
        std::thread::spawn(move || sender.send(Letter::Quit)).join().unwrap();
    }

    fn listen(&mut self, family: Family) -> (Handle, Addr) {
        let addr = match family {
            Family::Tcp => Addr::Inet("127.0.0.1:0".parse().unwrap()),
            Family::Unix => Addr::Unix(self.path()),
        };
        let fd = listen::listen(&addr, &listen::ListenOptions::default()).unwrap();
        let addr = listen::bound(&fd).unwrap();
        (socket::into_handle(fd), addr)
    }

    fn peer_listen(&mut self, family: Family) -> (PeerListener, Addr) {
        let (listener, addr): (Socket, Addr) = match family {
            Family::Tcp => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let addr = Addr::Inet(listener.local_addr().unwrap());
                (listener.into(), addr)
            }
            Family::Unix => {
                let path = self.path();
                (UnixListener::bind(&*path).unwrap().into(), Addr::Unix(path))
            }
        };
        listener.set_nonblocking(true).unwrap();
        self.listeners.push(listener);
        (PeerListener(self.listeners.len() - 1), addr)
    }

    fn refusing(&mut self, family: Family) -> Addr {
        // Bound, so that nobody else gets the address, but not listening.
        let addr = match family {
            Family::Tcp => Addr::Inet("127.0.0.1:0".parse().unwrap()),
            Family::Unix => Addr::Unix(self.path()),
        };
        let bound = socket_for(&addr);
        bound.bind(&socket::sockaddr(&addr).unwrap()).unwrap();
        let addr = socket::local(bound.as_fd()).unwrap();
        self.kept.push_back(bound);
        addr
    }

    fn silent(&mut self) -> Addr {
        // A listener whose backlog is full drops every further SYN.
        let addr = Addr::Inet("127.0.0.1:0".parse().unwrap());
        let listener = socket_for(&addr);
        listener.bind(&socket::sockaddr(&addr).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let addr = socket::local(listener.as_fd()).unwrap();
        self.kept.push_back(listener);
        for _ in 0..4 {
            let filler = socket_for(&addr);
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&socket::sockaddr(&addr).unwrap());
            self.kept.push_back(filler);
        }
        addr
    }

    fn peer_connect(&mut self, to: &Addr) -> Peer {
        let socket = socket_for(to);
        socket.connect(&socket::sockaddr(to).unwrap()).unwrap();
        if matches!(to, Addr::Inet(_)) {
            socket.set_tcp_nodelay(true).unwrap();
        }
        self.add(socket)
    }

    fn peer_accept(&mut self, listener: PeerListener) -> Option<Peer> {
        match self.listeners[listener.0].accept() {
            Ok((socket, _)) => Some(self.add(socket)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("a peer accepts: {error}"),
        }
    }

    fn peer_write(&mut self, peer: Peer, bytes: &[u8]) -> usize {
        match self.peer(peer).write(bytes) {
            Ok(count) => count,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => 0,
                _ => panic!("a peer writes: {error}"),
            },
        }
    }

    fn peer_read(&mut self, peer: Peer, limit: usize) -> PeerRead {
        let mut bytes = vec![0; limit];
        match self.peer(peer).read(&mut bytes) {
            Ok(0) => PeerRead::End,
            Ok(count) => {
                bytes.truncate(count);
                PeerRead::Bytes(bytes)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => PeerRead::Nothing,
                io::ErrorKind::ConnectionReset => PeerRead::Reset,
                _ => panic!("a peer reads: {error}"),
            },
        }
    }

    fn peer_shutdown(&mut self, peer: Peer) {
        self.peer(peer).shutdown(Shutdown::Write).unwrap();
    }

    fn peer_close(&mut self, peer: Peer, reset: bool) {
        let socket = self.peers[peer.0].take().expect("the peer is open");
        if reset {
            SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        }
    }
}
