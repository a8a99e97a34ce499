//! Closed loop: each connection has one message in flight.
//!
//! A single connection is about latency: neither its load nor the backend sleeps, so that only the
//! proxy's waking is measured.

use std::io;

use crate::frame::{Party, Pattern};
use crate::load::{Client, Phase, READ, Sample, Site, ended, histogram};
use crate::poller::{self, Got, Poller};

/// How often a load that spins looks at the time.
const LOOK_NS: u64 = 100_000_000;

/// A connection and its message.
struct Player {
    client: Client,
    /// Who and which: what the echo must carry.
    stamp: u64,
    /// The byte to go on with, if the socket did not take the whole message.
    unsent: Option<usize>,
    sent_ns: u64,
}

impl Player {
    fn serve(&mut self, pattern: &mut Pattern, now_ns: u64) -> io::Result<()> {
        self.stamp += 1;
        self.sent_ns = now_ns;
        self.unsent = Some(0);
        self.go_on(pattern)
    }

    fn go_on(&mut self, pattern: &mut Pattern) -> io::Result<()> {
        if let Some(from) = self.unsent {
            self.unsent = pattern.send(&self.client.stream, Party::Client, self.stamp, from)?;
        }
        Ok(())
    }

    /// Reads what is there. True if the echo is complete.
    fn listen(&mut self, pattern: &Pattern, buffer: &mut [u8]) -> io::Result<bool> {
        let mut is_complete = false;
        loop {
            let count = match poller::read(&self.client.stream, buffer)? {
                Got::Bytes(count) => count,
                Got::Later => return Ok(is_complete),
                Got::End => return Err(ended()),
            };
            let mut rest = &buffer[..count];
            while let Some(piece) = self.client.decoder.next(&mut rest)? {
                pattern.check(&piece, self.stamp)?;
                if is_complete {
                    return Err(io::Error::other("an echo that came twice"));
                }
                is_complete = piece.last;
            }
            // Less than asked for: the socket is empty, and what comes makes a new edge.
            if count < buffer.len() {
                return Ok(is_complete);
            }
        }
    }
}

pub(super) fn run(site: &Site<'_>, connections: usize, size: usize) -> io::Result<Sample> {
    let mut pattern = Pattern::new(size);
    let mut poller = Poller::new()?;
    let mut players = Vec::with_capacity(connections);
    let path = if connections == 1 { "/echo/awake" } else { "/echo" };
    for (index, stream) in site.open(path, connections)?.into_iter().enumerate() {
        poller.add(&stream, index)?;
        let stamp = (index as u64) << 32;
        players.push(Player { client: Client::new(stream), stamp, unsent: None, sent_ns: 0 });
    }
    let mut window = site.window()?;
    let (mut keys, mut buffer) = (Vec::new(), vec![0; READ]);
    let (mut count, mut latency) = (0, histogram()?);
    let mut in_flight = players.len();
    for player in &mut players {
        player.serve(&mut pattern, poller::now_ns()?)?;
    }
    while in_flight > 0 {
        if connections == 1 {
            let waited_ns = poller.spin(&mut keys, poller::now_ns()? + LOOK_NS)?;
            window.waited(waited_ns);
        } else {
            poller.wait(&mut keys, 100)?;
        }
        let phase = window.phase(poller::now_ns()?)?;
        for &key in &keys {
            let player = &mut players[key];
            player.go_on(&mut pattern)?;
            if !player.listen(&pattern, &mut buffer)? {
                continue;
            }
            let now_ns = poller::now_ns()?;
            if phase == Phase::Open {
                count += 1;
                latency.saturating_record(now_ns - player.sent_ns);
            }
            if phase == Phase::Drain {
                in_flight -= 1;
            } else {
                player.serve(&mut pattern, now_ns)?;
            }
        }
    }
    window.sample(count, Some(latency))
}
