//! One end of a connection, and the place where upstream ends come from.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::{Answer, Head};

/// The longest that anything may take which is not a timer's business.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A client or an upstream of the proxy.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    /// Bytes that were read and not asked for yet.
    ahead: Vec<u8>,
}

impl Peer {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE);
        Self::new(stream.unwrap_or_else(|error| panic!("connecting to {address}: {error}")))
    }

    /// A client with so small a buffer that it takes hardly anything it does not read.
    pub(crate) fn connect_deaf(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        // The window follows from the buffer at the time of the handshake.
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Self::new(socket.into())
    }

    /// Has a small buffer for what the other end does not take.
    pub(crate) fn keep_little(&self) {
        SockRef::from(&self.stream).set_send_buffer_size(4096).unwrap();
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, ahead: Vec::new() }
    }

    /// The socket, for a library to use or for bytes that a thread moves.
    pub(crate) fn into_stream(self) -> TcpStream {
        assert!(self.ahead.is_empty(), "bytes have been read already");
        self.stream
    }

    /// The same end again, for another thread to write with.
    pub(crate) fn another(&self) -> Self {
        Self { stream: self.stream(), ahead: Vec::new() }
    }

    /// A second handle on the same socket.
    pub(crate) fn stream(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends to somebody who may already be gone.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends as much as the other end takes, until it takes nothing for so long; returns how much.
    #[track_caller]
    pub(crate) fn send_until_stuck(&mut self, bytes: &[u8], quiet: Duration) -> usize {
        self.stream.set_write_timeout(Some(quiet)).unwrap();
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) if is_timeout(&error) => break,
                Err(error) => panic!("{error} behind {sent} bytes"),
            }
        }
        self.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    /// Sends as much of it as the system takes at once; returns how much.
    #[track_caller]
    pub(crate) fn send_without_waiting(&mut self, bytes: &[u8]) -> usize {
        self.stream.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) if is_timeout(&error) => break,
                Err(error) => panic!("{error} behind {sent} bytes"),
            }
        }
        self.stream.set_nonblocking(false).unwrap();
        sent
    }

    /// Ends the stream in this direction.
    pub(crate) fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the stream in this direction, if it has not ended already.
    pub(crate) fn try_finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends both directions, also for a thread that is writing.
    pub(crate) fn hang_up(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads once; zero at the end of the stream.
    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer)?;
        self.ahead.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    /// Reads until there are so many bytes.
    #[track_caller]
    fn need(&mut self, count: usize) {
        while self.ahead.len() < count {
            match self.fill() {
                Ok(0) => panic!("{count} bytes expected, the stream ended behind {}", self.seen()),
                Ok(_) => {}
                Err(error) => panic!("{count} bytes expected, {error} behind {}", self.seen()),
            }
        }
    }

    fn seen(&self) -> String {
        let shown = &self.ahead[..self.ahead.len().min(400)];
        format!("{} bytes: {}", self.ahead.len(), shown.escape_ascii())
    }

    #[track_caller]
    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        self.need(count);
        self.ahead.drain(..count).collect()
    }

    /// Reads exactly these bytes.
    #[track_caller]
    pub(crate) fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let expected = bytes.as_ref();
        let found = self.read(expected.len());
        assert_eq!(found.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    /// Reads through the next `\r\n\r\n`.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Head {
        Head::new(self.through(b"\r\n\r\n"))
    }

    #[track_caller]
    fn through(&mut self, end: &[u8]) -> Vec<u8> {
        let find = |ahead: &[u8]| ahead.windows(end.len()).position(|found| found == end);
        loop {
            if let Some(position) = find(&self.ahead) {
                return self.ahead.drain(..position + end.len()).collect();
            }
            let count = self.ahead.len();
            self.need(count + 1);
        }
    }

    /// Reads a response to a request that was no HEAD.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let head = self.head();
        let body = match head.status() {
            100..=199 | 204 | 304 => Vec::new(),
            _ if head.field("transfer-encoding").is_some() => self.chunks(),
            _ => match head.field("content-length") {
                Some(length) => self.read(length.parse().unwrap()),
                None => self.rest(),
            },
        };
        Answer { head, body }
    }

    /// Reads chunks through the last one.
    #[track_caller]
    pub(crate) fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.through(b"\r\n");
            let digits = str::from_utf8(&line).unwrap().trim_end().split(';').next().unwrap();
            let size = usize::from_str_radix(digits, 16).unwrap();
            if size == 0 {
                while self.through(b"\r\n") != b"\r\n" {}
                return body;
            }
            body.extend(self.read(size));
            self.expect("\r\n");
        }
    }

    /// Reads until the other end finishes its stream.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(0) => return std::mem::take(&mut self.ahead),
                Ok(_) => {}
                Err(error) => {
                    panic!("the end of the stream expected, {error} behind {}", self.seen())
                }
            }
        }
    }

    /// The other end finished its stream, and sent nothing before.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let rest = self.rest();
        assert_eq!(rest.escape_ascii().to_string(), "", "nothing but the end expected");
    }

    /// The other end is gone, in whatever way; what it sent before is returned.
    #[track_caller]
    pub(crate) fn expect_gone(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(0) => return std::mem::take(&mut self.ahead),
                Ok(_) => {}
                Err(error) if is_gone(&error) => return std::mem::take(&mut self.ahead),
                Err(error) => panic!("the other end should be gone: {error}, {}", self.seen()),
            }
        }
    }

    /// Whether the other end goes away within that time; what arrives is thrown away.
    pub(crate) fn gone_within(&mut self, limit: Duration) -> bool {
        self.stream.set_read_timeout(Some(limit)).unwrap();
        let result = self.fill();
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.ahead.clear();
        match result {
            Ok(count) => count == 0,
            Err(error) => !is_timeout(&error),
        }
    }

    /// Nothing arrives for so long.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self, quiet: Duration) {
        assert!(self.ahead.is_empty(), "silence expected, but there are {}", self.seen());
        self.stream.set_read_timeout(Some(quiet)).unwrap();
        let result = self.fill();
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match result {
            Err(error) if is_timeout(&error) => {}
            Ok(0) => panic!("silence expected, but the stream ended"),
            Ok(_) => panic!("silence expected, but there came {}", self.seen()),
            Err(error) => panic!("silence expected: {error}"),
        }
    }
}

/// Whether a read or write says that the other end is gone.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Where the proxy finds its upstream.
#[derive(Debug)]
pub(crate) struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { listener }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection from the proxy.
    #[track_caller]
    pub(crate) fn accept(&self) -> Peer {
        match self.accept_within(PATIENCE) {
            Ok(peer) => peer,
            Err(error) => panic!("nobody connected to the upstream: {error}"),
        }
    }

    /// The proxy has not connected, and does not for so long.
    #[track_caller]
    pub(crate) fn expect_nobody(&self, quiet: Duration) {
        if let Ok(mut peer) = self.accept_within(quiet) {
            panic!("the upstream got a connection and {:?}", peer.head());
        }
    }

    // Linux applies a receive timeout to accept(2) as well.
    fn accept_within(&self, limit: Duration) -> io::Result<Peer> {
        SockRef::from(&self.listener).set_read_timeout(Some(limit))?;
        self.listener.accept().map(|(stream, _)| Peer::new(stream))
    }
}

/// Looks until it is so, for facts that no socket tells, such as a process's descriptors; an error
/// says what is not so yet.
#[track_caller]
pub(crate) fn eventually(mut look: impl FnMut() -> Result<(), String>) {
    let limit = Instant::now() + PATIENCE;
    while let Err(what) = look() {
        assert!(Instant::now() < limit, "still {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
