//! The backend: echo, sink, source, feed and page behind one port, as a process of its own.
//!
//! A path chooses what a connection is for:
//!
//! * `/echo`: each message comes back, without its mask;
//! * `/sink/SIZE`: messages are checked and counted; the text `end` is answered with how many came;
//! * `/source/SIZE`: the text `go` starts messages without a pause; `end` stops them, and a text
//!   says how many there were;
//! * `/feed/SIZE/MICROSECONDS`: the text `go` subscribes; at each interval every subscriber gets a
//!   message that is stamped with the moment at which it should have left;
//! * `/page/SIZE`: an ordinary answer.
//!
//! It ends when its standard input does, so it cannot outlive whoever started it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::frame::{self, CLOSE, Decoder, Party, Pattern, Piece, TEXT};
use crate::poller::{self, Got, Poller, Ticker};
use crate::wire::{self, Lines};

/// Keys of what is no connection.
const LISTENER: usize = usize::MAX;
const INPUT: usize = usize::MAX - 1;
const TICKS: usize = usize::MAX - 2;

/// How long a queue of clients the kernel may keep: a whole scenario's.
const BACKLOG: i32 = 4096;
/// How long a backend that does not sleep looks at sockets only.
const LOOK_NS: u64 = 100_000_000;
/// Bytes read at once.
const READ: usize = 256 * 1024;
/// What may wait for a subscriber before it counts as lost.
const PENDING_MAX: usize = 1024 * 1024;
/// A head of a proxy is far smaller.
const HEAD_MAX: usize = 16 * 1024;
/// Messages a source sends before others have a turn.
const SOURCE_BURST: usize = 16;

enum Role {
    /// A request head is awaited; what has come of it.
    Head(Vec<u8>),
    Echo,
    Sink {
        count: u64,
    },
    Source {
        state: Flow,
        count: u64,
        at: usize,
    },
    Feed,
}

/// What a source is about to do.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Flow {
    Idle,
    Running,
    /// The message in flight is the last.
    Ending,
}

struct Conn {
    stream: TcpStream,
    decoder: Decoder,
    role: Role,
    pending: Vec<u8>,
    words: Vec<u8>,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Next {
    Stay,
    Close,
}

impl Conn {
    /// Sends, or keeps what the socket does not take now.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while self.pending.is_empty() && !rest.is_empty() {
            match (&self.stream).write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.pending.len() + rest.len() > PENDING_MAX {
            return Err(io::Error::other("a client that reads too slowly"));
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Sends what was kept, as far as the socket takes it.
    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        self.put(&pending)
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.put(&frame::frame(TEXT, text.as_bytes(), Party::Server))
    }
}

struct Feed {
    ticker: Ticker,
    interval: Duration,
    next_ns: u64,
    members: Vec<usize>,
}

struct Backend {
    poller: Poller,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    pattern: Option<Pattern>,
    interval: Option<Duration>,
    feed: Option<Feed>,
    /// Sources that stopped although their sockets take more.
    ready: Vec<usize>,
    out: Vec<u8>,
    /// True once a load asked for it: the backend does not sleep either.
    is_awake: bool,
}

/// Serves on a free loopback port, whose address is printed, until standard input ends.
pub(crate) fn serve() -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    let mut backend = Backend {
        poller: Poller::new()?,
        conns: Vec::new(),
        free: Vec::new(),
        pattern: None,
        interval: None,
        feed: None,
        ready: Vec::new(),
        out: Vec::new(),
        is_awake: false,
    };
    backend.poller.add(&listener, LISTENER)?;
    backend.poller.add(io::stdin(), INPUT)?;
    println!("{}", listener.local_addr()?);
    backend.run(&listener)
}

impl Backend {
    fn run(&mut self, listener: &TcpListener) -> io::Result<()> {
        let mut keys = Vec::new();
        let mut buffer = vec![0; READ];
        loop {
            if self.is_awake && self.ready.is_empty() {
                self.poller.spin(&mut keys, poller::now_ns()? + LOOK_NS)?;
            } else {
                let patience_ms = if self.ready.is_empty() { 100 } else { 0 };
                self.poller.wait(&mut keys, patience_ms)?;
            }
            keys.append(&mut self.ready);
            for &key in &keys {
                match key {
                    LISTENER => self.accept(listener)?,
                    INPUT => {
                        if io::stdin().read(&mut [0])? == 0 {
                            return Ok(());
                        }
                    }
                    TICKS => self.tick()?,
                    index => self.turn(index, &mut buffer),
                }
            }
        }
    }

    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or(self.conns.len());
            if index == self.conns.len() {
                self.conns.push(None);
            }
            self.poller.add(&stream, index)?;
            let (decoder, role) = (Decoder::default(), Role::Head(Vec::new()));
            let (pending, words) = (Vec::new(), Vec::new());
            self.conns[index] = Some(Conn { stream, decoder, role, pending, words });
        }
    }

    /// Something happened to a connection: it is read until it is empty, written until it is full.
    fn turn(&mut self, index: usize, buffer: &mut [u8]) {
        // A connection that ended in this batch may leave an event behind.
        let Some(mut conn) = self.conns.get_mut(index).and_then(Option::take) else { return };
        let outcome = self.advance(&mut conn, index, buffer).unwrap_or_else(|error| {
            eprintln!("backend: {error}");
            Next::Close
        });
        if outcome == Next::Stay {
            self.conns[index] = Some(conn);
            return;
        }
        self.free.push(index);
        if let Some(feed) = &mut self.feed {
            feed.members.retain(|&member| member != index);
        }
    }

    fn advance(&mut self, conn: &mut Conn, index: usize, buffer: &mut [u8]) -> io::Result<Next> {
        conn.flush()?;
        loop {
            let count = match poller::read(&conn.stream, buffer) {
                Ok(Got::Bytes(count)) => count,
                Ok(Got::Later) => break,
                Ok(Got::End) => return Ok(Next::Close),
                // Whoever ends a run resets what is still open.
                Err(error) if is_gone(&error) => return Ok(Next::Close),
                Err(error) => return Err(error),
            };
            if self.take(conn, index, &buffer[..count])? == Next::Close {
                return Ok(Next::Close);
            }
            if count < buffer.len() {
                break;
            }
        }
        match self.pour(conn, index) {
            Err(error) if is_gone(&error) => Ok(Next::Close),
            outcome => outcome.map(|()| Next::Stay),
        }
    }

    fn take(&mut self, conn: &mut Conn, index: usize, bytes: &[u8]) -> io::Result<Next> {
        let mut rest = bytes;
        if let Role::Head(head) = &mut conn.role {
            head.extend_from_slice(bytes);
            let head = std::mem::take(head);
            let Some(length) = wire::head_length(&head) else {
                let is_long = head.len() > HEAD_MAX;
                conn.role = Role::Head(head);
                return Ok(if is_long { Next::Close } else { Next::Stay });
            };
            let next = self.answer(conn, &head[..length])?;
            rest = &bytes[bytes.len() - (head.len() - length)..];
            if next == Next::Close || (matches!(conn.role, Role::Head(_)) && rest.is_empty()) {
                return Ok(next);
            }
        }
        self.out.clear();
        let mut next = Next::Stay;
        while let Some(piece) = conn.decoder.next(&mut rest)? {
            next = self.piece(conn, index, &piece)?;
            if next == Next::Close {
                break;
            }
        }
        if !self.out.is_empty() {
            conn.put(&self.out)?;
        }
        Ok(next)
    }

    /// Answers a request, and gives the connection its role.
    fn answer(&mut self, conn: &mut Conn, head: &[u8]) -> io::Result<Next> {
        let lines = Lines::new(head)?;
        let path = lines.first().split(' ').nth(1).unwrap_or_default();
        let mut words = path.split('/').skip(1);
        let name = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse::<usize>().ok()).unwrap_or(0);
        if name != "echo" {
            let size = number();
            if self.pattern.as_ref().is_none_or(|pattern| pattern.size() != size) {
                self.pattern = Some(Pattern::new(size));
            }
        }
        conn.role = match name {
            "echo" => {
                self.is_awake |= words.next() == Some("awake");
                Role::Echo
            }
            "sink" => Role::Sink { count: 0 },
            "source" => Role::Source { state: Flow::Idle, count: 0, at: 0 },
            "feed" => {
                self.interval = Some(Duration::from_micros(number().max(100) as u64));
                Role::Feed
            }
            "page" => return self.page(conn, &lines),
            _ => return Err(io::Error::other(format!("asked for {path}"))),
        };
        conn.put(wire::SWITCHING)?;
        Ok(Next::Stay)
    }

    fn page(&self, conn: &mut Conn, lines: &Lines<'_>) -> io::Result<Next> {
        let body = self.pattern.as_ref().map_or(&[][..], Pattern::payload);
        let asked = lines.field("connection").unwrap_or_default();
        let is_last = asked.eq_ignore_ascii_case("close")
            || lines.first().ends_with("HTTP/1.0") && !asked.eq_ignore_ascii_case("keep-alive");
        let last = if is_last { "Connection: close\r\n" } else { "" };
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {}\r\n{last}\r\n",
            body.len()
        )
        .into_bytes();
        answer.extend_from_slice(body);
        conn.put(&answer)?;
        conn.role = Role::Head(Vec::new());
        Ok(if is_last { Next::Close } else { Next::Stay })
    }

    fn piece(&mut self, conn: &mut Conn, index: usize, piece: &Piece<'_>) -> io::Result<Next> {
        match piece.head.opcode {
            CLOSE if piece.last => {
                self.out.extend_from_slice(&frame::frame(CLOSE, &[0x03, 0xe8], Party::Server));
                conn.put(&std::mem::take(&mut self.out))?;
                return Ok(Next::Close);
            }
            CLOSE => {}
            TEXT => {
                let start = conn.words.len();
                conn.words.extend_from_slice(piece.bytes);
                if let Some(key) = piece.head.key {
                    frame::unmask(&mut conn.words[start..], key, piece.at);
                }
                if piece.last {
                    let word = std::mem::take(&mut conn.words);
                    self.word(conn, index, &word)?;
                }
            }
            _ => match &mut conn.role {
                Role::Echo => self.echo(piece)?,
                Role::Sink { count } => {
                    let pattern = self.pattern.as_ref().ok_or_else(no_pattern)?;
                    pattern.check(piece, *count)?;
                    *count += u64::from(piece.last);
                }
                _ => return Err(io::Error::other("a message that nobody asked for")),
            },
        }
        Ok(Next::Stay)
    }

    fn echo(&mut self, piece: &Piece<'_>) -> io::Result<()> {
        if piece.at == 0 {
            let length = usize::try_from(piece.head.length).map_err(io::Error::other)?;
            frame::put_head(&mut self.out, piece.head.opcode, length, Party::Server);
        }
        let start = self.out.len();
        self.out.extend_from_slice(piece.bytes);
        let key = piece.head.key.ok_or_else(|| io::Error::other("a client without a mask"))?;
        frame::unmask(&mut self.out[start..], key, piece.at);
        Ok(())
    }

    /// A text of the load generator.
    fn word(&mut self, conn: &mut Conn, index: usize, word: &[u8]) -> io::Result<()> {
        match (&mut conn.role, word) {
            (Role::Sink { count }, b"end") => {
                let count = count.to_string();
                conn.text(&count)
            }
            (Role::Source { state, .. }, b"go") => {
                *state = Flow::Running;
                Ok(())
            }
            (Role::Source { state, .. }, b"end") => {
                *state = Flow::Ending;
                Ok(())
            }
            (Role::Feed, b"go") => self.subscribe(index),
            _ => Err(io::Error::other("a text that means nothing here")),
        }
    }

    /// Lets a source send until the socket is full.
    fn pour(&mut self, conn: &mut Conn, index: usize) -> io::Result<()> {
        let Role::Source { state, count, at } = &mut conn.role else { return Ok(()) };
        if *state == Flow::Idle || !conn.pending.is_empty() {
            return Ok(());
        }
        let pattern = self.pattern.as_mut().ok_or_else(no_pattern)?;
        for _ in 0..SOURCE_BURST {
            if *state == Flow::Ending && *at == 0 {
                *state = Flow::Idle;
                let count = count.to_string();
                return conn.text(&count);
            }
            match pattern.send(&conn.stream, Party::Server, *count, *at)? {
                Some(byte) => {
                    *at = byte;
                    return Ok(());
                }
                None => (*at, *count) = (0, *count + 1),
            }
        }
        // The socket is not full, so no edge will come: the connection is remembered.
        self.ready.push(index);
        Ok(())
    }

    fn subscribe(&mut self, index: usize) -> io::Result<()> {
        if let Some(feed) = &mut self.feed {
            feed.members.push(index);
            return Ok(());
        }
        let interval = self.interval.ok_or_else(|| io::Error::other("a feed without interval"))?;
        let next_ns = poller::now_ns()? + poller::nanoseconds(interval);
        let ticker = Ticker::new(next_ns, interval)?;
        self.poller.add(&ticker, TICKS)?;
        self.feed = Some(Feed { ticker, interval, next_ns, members: vec![index] });
        Ok(())
    }

    /// Sends the bursts that are due.
    fn tick(&mut self) -> io::Result<()> {
        let Some(feed) = &mut self.feed else { return Ok(()) };
        let pattern = self.pattern.as_mut().ok_or_else(no_pattern)?;
        feed.ticker.note()?;
        let interval_ns = poller::nanoseconds(feed.interval);
        while feed.next_ns <= poller::now_ns()? {
            for &member in &feed.members {
                let Some(conn) = self.conns[member].as_mut() else { continue };
                let kept = conn.pending.len();
                let outcome = match kept {
                    0 => pattern.send(&conn.stream, Party::Server, feed.next_ns, 0),
                    _ => Ok(Some(0)),
                };
                match outcome {
                    Ok(None) => {}
                    Ok(Some(from)) => conn.put(pattern.rest(feed.next_ns, from))?,
                    Err(error) if is_gone(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            feed.next_ns += interval_ns;
        }
        Ok(())
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}

fn no_pattern() -> io::Error {
    io::Error::other("messages before any was asked for")
}
