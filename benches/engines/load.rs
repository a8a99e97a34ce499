//! The load: both ends of every tunnel in one thread that never sleeps.
//!
//! A thread that slept would have to be woken by the relay, at the relay's expense. Every byte that
//! arrives is compared with what was sent.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes read at once.
const READ: usize = 256 * 1024;

/// Where messages go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flow {
    /// From the client; the upstream answers with the same, and then the client sends the next.
    PingPong,
    /// From the client, without a pause.
    Up,
    /// From the upstream, without a pause.
    Down,
}

/// A socket with what is under way.
struct End {
    stream: TcpStream,
    /// Messages to send, the one that has begun included, and how much of it has left.
    unsent: u64,
    at: usize,
    /// How much of the message that comes has come.
    come: usize,
}

/// Tunnels and their traffic. The ends of tunnel `n` are `2n`, the client's, and `2n + 1`.
pub(crate) struct Load {
    epoll: Epoll,
    ends: Vec<End>,
    message: Vec<u8>,
    buffer: Vec<u8>,
    /// Messages that may still start, in a ping-pong, and those that have arrived at their end.
    to_start: u64,
    arrived: u64,
}

impl Load {
    /// A load of messages of `size` bytes on these tunnels, nothing under way.
    ///
    /// # Panics
    /// If the system refuses an epoll set.
    pub(crate) fn new(tunnels: Vec<(TcpStream, TcpStream)>, size: usize) -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("an epoll set");
        let streams = tunnels.into_iter().flat_map(<[TcpStream; 2]>::from);
        let ends: Vec<End> =
            streams.map(|stream| End { stream, unsent: 0, at: 0, come: 0 }).collect();
        for (key, end) in (0..).zip(&ends) {
            end.stream.set_nonblocking(true).expect("a socket has this switch");
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
            epoll.add(&end.stream, EpollEvent::new(flags, key)).expect("a socket can be watched");
        }
        // Different everywhere, so that a lost or doubled piece shows.
        let byte = |n: usize| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0];
        let message = (0..size).map(byte).collect();
        Self { epoll, ends, message, buffer: vec![0; READ], to_start: 0, arrived: 0 }
    }

    /// Sends so many messages, in turn over all tunnels, and returns when the last has arrived; a
    /// message of a ping-pong arrives with its echo.
    ///
    /// # Panics
    /// If a connection ends, a byte differs or nothing happens for long.
    pub(crate) fn run(&mut self, flow: Flow, messages: u64) {
        let tunnels = self.ends.len() / 2;
        (self.to_start, self.arrived) = (0, 0);
        for tunnel in 0..tunnels {
            let (number, count) = (tunnel as u64, tunnels as u64);
            let share = messages / count + u64::from(number < messages % count);
            match flow {
                Flow::PingPong => {
                    self.ends[2 * tunnel].unsent = share.min(1);
                    self.to_start += share.saturating_sub(1);
                }
                Flow::Up => self.ends[2 * tunnel].unsent = share,
                Flow::Down => self.ends[2 * tunnel + 1].unsent = share,
            }
        }
        (0..self.ends.len()).for_each(|end| self.send(end));
        let mut events = [EpollEvent::empty(); 256];
        let mut last = Instant::now();
        while self.arrived < messages {
            let count =
                self.epoll.wait(&mut events, EpollTimeout::ZERO).expect("a look never waits");
            for event in &events[..count] {
                let end = usize::try_from(event.data()).expect("the number of an end");
                self.send(end);
                self.receive(flow, end);
            }
            if count > 0 {
                last = Instant::now();
            }
            assert!(last.elapsed() < PATIENCE, "{} of {messages} have arrived", self.arrived);
        }
    }

    /// Sends what the socket takes.
    fn send(&mut self, end: usize) {
        let End { stream, unsent, at, .. } = &mut self.ends[end];
        while *unsent > 0 {
            match stream.write(&self.message[*at..]) {
                Ok(count) => *at += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("sending failed: {error}"),
            }
            if *at == self.message.len() {
                (*at, *unsent) = (0, *unsent - 1);
            }
        }
    }

    /// Reads what is there, and answers it.
    fn receive(&mut self, flow: Flow, end: usize) {
        loop {
            let count = match self.ends[end].stream.read(&mut self.buffer) {
                Ok(0) => panic!("a connection ended in the middle"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("receiving failed: {error}"),
            };
            let mut come = 0;
            while come < count {
                let at = self.ends[end].come;
                let piece = (self.message.len() - at).min(count - come);
                let (found, sent) =
                    (&self.buffer[come..come + piece], &self.message[at..at + piece]);
                assert!(found == sent, "a byte that was not sent");
                come += piece;
                self.ends[end].come = at + piece;
                if at + piece == self.message.len() {
                    self.ends[end].come = 0;
                    self.complete(flow, end);
                }
            }
            if count < self.buffer.len() {
                return;
            }
        }
    }

    /// A message has come as a whole.
    fn complete(&mut self, flow: Flow, end: usize) {
        let is_client = end.is_multiple_of(2);
        if flow != Flow::PingPong || is_client {
            self.arrived += 1;
        }
        let goes_on = match flow {
            Flow::PingPong if is_client => self.to_start > 0,
            Flow::PingPong => true,
            Flow::Up | Flow::Down => false,
        };
        if goes_on {
            self.to_start -= u64::from(is_client);
            self.ends[end].unsent += 1;
            self.send(end);
        }
    }
}
