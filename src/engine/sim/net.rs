//! The simulated network: connected pairs of ends, bytes on their way, FIN and RST.
//!
//! An end behaves as a Linux TCP socket does where a proxy can notice it: writes go as far as the
//! buffer has room; a FIN comes after the bytes before it; closing with unread bytes resets;
//! bytes for a closed end are answered by a reset; after a reset the bytes that had arrived can
//! still be read, then one operation gets the error and later ones see the end or `EPIPE`.
//! Deliberately absent: operations and connection slots (the world has them), congestion, loss.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::VecDeque;

use crate::clock::Instant;
use crate::conn::{Addr, ConnId};
use crate::prng::Prng;

use super::faults::Faults;
use super::schedule::{Happening, Schedule};

/// One end of a connection: an index, never used again.
pub(super) type EndId = usize;

/// Where the lines of the trace go.
pub(super) type Sink = Box<dyn FnMut(&str)>;

/// Who has an end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Holder {
    /// A client or a server of the simulated world.
    Peer,
    /// A backlog, or a handle on its way to a slot.
    Nobody,
    /// A connection of the engine.
    Conn(ConnId),
}

/// What travels.
enum Segment {
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

/// One end.
pub(super) struct End {
    pub(super) holder: Holder,
    pub(super) local: Addr,
    pub(super) remote: Addr,
    /// Whether the peer's program is to look here soon already.
    pub(super) act_pending: bool,
    other: EndId,
    travelling: VecDeque<Segment>,
    travelling_bytes: usize,
    last_arrival: Instant,
    arrived: VecDeque<u8>,
    /// The other end's FIN is here.
    ended: bool,
    /// What the next operation is told.
    error: Option<i32>,
    /// Reset from either side: nothing flows any more.
    dead: bool,
    /// Our FIN is on its way.
    shut: bool,
    /// The program behind this end let go of it.
    closed: bool,
    /// The network or the kernel gave the connection up; neither program did.
    broken: bool,
}

impl End {
    /// Whether a receive would report something.
    pub(super) fn is_readable(&self) -> bool {
        !self.arrived.is_empty() || self.ended || self.dead || self.error.is_some()
    }

    /// How many bytes a receive could take now.
    pub(super) fn readable_bytes(&self) -> usize {
        self.arrived.len()
    }

    /// Whether a reset came or was sent.
    pub(super) fn is_dead(&self) -> bool {
        self.dead
    }

    /// Whether the network or the kernel gave the connection up.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    fn held_bytes(&self) -> usize {
        self.arrived.len() + self.travelling_bytes
    }
}

/// The network, with the clock and the dice that everything shares.
pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) prng: Prng,
    pub(super) faults: Faults,
    pub(super) schedule: Schedule,
    /// Ends at which something changed since the world last looked.
    pub(super) touched: Vec<EndId>,
    ends: Vec<End>,
    sink: Option<Sink>,
}

impl Net {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        let mut prng = Prng::new(seed);
        // An arbitrary start: nobody may rely on a clock that begins at zero.
        let now = Instant::from_ms(prng.below(1 << 40));
        Self {
            now,
            prng,
            faults,
            schedule: Schedule::default(),
            touched: Vec::new(),
            ends: Vec::new(),
            sink: None,
        }
    }

    pub(super) fn trace_to(&mut self, sink: Sink) {
        self.sink = Some(sink);
    }

    /// Writes a line of the trace, if somebody reads it.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(sink) = &mut self.sink {
            sink(&format!("{:>13} {}", self.now.ms(), line()));
        }
    }

    /// Schedules a happening; in a shuffling run its place within the millisecond is drawn.
    pub(super) fn plan(&mut self, delay_ms: u64, what: Happening) {
        self.plan_at(self.now.plus_ms(delay_ms), what);
    }

    pub(super) fn plan_at(&mut self, at: Instant, what: Happening) {
        let tie = if self.faults.shuffle { self.prng.next_u64() } else { 0 };
        self.schedule.add(at, tie, what);
    }

    pub(super) fn end(&self, end: EndId) -> &End {
        &self.ends[end]
    }

    pub(super) fn end_mut(&mut self, end: EndId) -> &mut End {
        &mut self.ends[end]
    }

    /// Makes a connected pair: the end that connected, and the end at `server`.
    pub(super) fn pair(&mut self, server: &Addr) -> (EndId, EndId) {
        let (near, far) = (self.ends.len(), self.ends.len() + 1);
        let client = client_address(server, near);
        for (local, remote, other) in [(&client, server, far), (server, &client, near)] {
            self.ends.push(End {
                holder: Holder::Nobody,
                local: local.clone(),
                remote: remote.clone(),
                act_pending: false,
                other,
                travelling: VecDeque::new(),
                travelling_bytes: 0,
                last_arrival: self.now,
                arrived: VecDeque::new(),
                ended: false,
                error: None,
                dead: false,
                shut: false,
                closed: false,
                broken: false,
            });
        }
        (near, far)
    }

    /// How many bytes a write from this end could take now.
    pub(super) fn room(&self, end: EndId) -> usize {
        let held = self.ends[self.ends[end].other].held_bytes();
        self.faults.socket_buffer_bytes.saturating_sub(held)
    }

    /// Whether a write from this end would report something.
    pub(super) fn is_writable(&self, end: EndId) -> bool {
        let from = &self.ends[end];
        from.dead || from.shut || from.error.is_some() || self.room(end) > 0
    }

    /// Writes as much as there is room for, which may be nothing.
    pub(super) fn write(&mut self, end: EndId, bytes: &[u8]) -> Result<usize, i32> {
        let from = &mut self.ends[end];
        if let Some(errno) = from.error.take() {
            return Err(errno);
        }
        if from.dead || from.shut {
            return Err(libc::EPIPE);
        }
        let to = from.other;
        let count = bytes.len().min(self.room(end));
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            let mut size = rest.len();
            if size > 1 && self.faults.split_segments.hits(&mut self.prng) {
                size = 1 + self.below(size - 1);
            }
            let (piece, tail) = rest.split_at(size);
            self.transmit(to, Segment::Bytes(piece.to_vec()));
            rest = tail;
        }
        Ok(count)
    }

    /// Reads into `buffer`: `None` if nothing is there yet, zero at the end of the stream.
    pub(super) fn read(&mut self, end: EndId, buffer: &mut [u8]) -> Result<Option<usize>, i32> {
        let at = &mut self.ends[end];
        if at.arrived.is_empty() {
            if let Some(errno) = at.error.take() {
                return Err(errno);
            }
            return Ok((at.ended || at.dead).then_some(0));
        }
        let count = at.arrived.len().min(buffer.len());
        let (front, back) = at.arrived.as_slices();
        let first = front.len().min(count);
        buffer[..first].copy_from_slice(&front[..first]);
        buffer[first..count].copy_from_slice(&back[..count - first]);
        at.arrived.drain(..count);
        let writer = at.other;
        self.touched.push(writer);
        Ok(Some(count))
    }

    /// Sends the FIN.
    pub(super) fn shutdown(&mut self, end: EndId) -> Result<(), i32> {
        let from = &mut self.ends[end];
        if from.dead {
            return Err(libc::ENOTCONN);
        }
        if !from.shut {
            from.shut = true;
            let to = from.other;
            self.transmit(to, Segment::Fin);
        }
        Ok(())
    }

    /// Lets go of the end as `close(2)` does: a FIN, or a RST if bytes were left unread.
    pub(super) fn close(&mut self, end: EndId) {
        if !self.ends[end].arrived.is_empty() {
            return self.reset(end);
        }
        let _ = self.shutdown(end);
        self.ends[end].closed = true;
    }

    /// Lets go of the end with a RST. What it had written may be lost on the way.
    pub(super) fn reset(&mut self, end: EndId) {
        let from = &mut self.ends[end];
        from.closed = true;
        from.arrived.clear();
        if from.dead {
            return;
        }
        from.dead = true;
        let to = from.other;
        if self.prng.chance(1, 2) {
            let victim = &mut self.ends[to];
            victim.travelling.clear();
            victim.travelling_bytes = 0;
        }
        self.transmit(to, Segment::Reset);
    }

    /// The network gives the connection up: both ends get an error.
    pub(super) fn sever(&mut self, end: EndId) {
        let errno = match self.prng.below(4) {
            0 => libc::ETIMEDOUT,
            1 => libc::EHOSTUNREACH,
            _ => libc::ECONNRESET,
        };
        self.note(|| format!("end {end}: the network breaks the connection"));
        for end in [end, self.ends[end].other] {
            self.ends[end].broken = true;
            self.kill(end, errno);
        }
    }

    /// The kernel gives up a connection that nobody has accepted.
    pub(super) fn abort(&mut self, end: EndId) {
        let other = self.ends[end].other;
        self.ends[other].broken = true;
        self.reset(end);
    }

    /// Delivers the oldest segment that travels to an end.
    pub(super) fn arrive(&mut self, end: EndId) {
        let breaks = self.faults.broken_connections.hits(&mut self.prng);
        let at = &mut self.ends[end];
        // A reset or a break may have thrown away what this happening was planned for.
        let Some(segment) = at.travelling.pop_front() else { return };
        if let Segment::Bytes(bytes) = &segment {
            at.travelling_bytes -= bytes.len();
        }
        let writer = at.other;
        let breaks = breaks && !at.closed && !self.ends[writer].closed;
        let at = &mut self.ends[end];
        match segment {
            Segment::Reset => return self.kill(end, libc::ECONNRESET),
            _ if breaks => return self.sever(end),
            Segment::Bytes(_) if at.closed => {
                if !at.dead {
                    at.dead = true;
                    self.transmit(writer, Segment::Reset);
                }
            }
            Segment::Bytes(bytes) if !at.dead => at.arrived.extend(bytes),
            Segment::Fin => at.ended = true,
            Segment::Bytes(_) => {}
        }
        self.touched.push(end);
    }

    /// Draws a number in `0..bound` for sizes.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.prng.below(bound as u64)).unwrap_or(0)
    }

    /// Draws a delay in `0..=max` milliseconds.
    pub(super) fn delay(&mut self, max_ms: u64) -> u64 {
        if max_ms == 0 { 0 } else { self.prng.below(max_ms + 1) }
    }

    fn transmit(&mut self, to: EndId, segment: Segment) {
        let latency_ms = self.delay(self.faults.latency_ms_max);
        let earliest = self.now.plus_ms(latency_ms);
        let end = &mut self.ends[to];
        if let Segment::Bytes(bytes) = &segment {
            end.travelling_bytes += bytes.len();
        }
        end.travelling.push_back(segment);
        // A stream keeps its order whatever each segment's own latency is.
        end.last_arrival = end.last_arrival.max(earliest);
        let at = end.last_arrival;
        self.plan_at(at, Happening::Arrive(to));
    }

    fn kill(&mut self, end: EndId, errno: i32) {
        let at = &mut self.ends[end];
        if !at.dead {
            at.dead = true;
            at.error = Some(errno);
        }
        at.travelling.clear();
        at.travelling_bytes = 0;
        let writer = at.other;
        self.touched.extend([end, writer]);
    }
}

/// A made-up address for whoever connects to `server`; the end's number makes it unique.
fn client_address(server: &Addr, end: EndId) -> Addr {
    match server {
        Addr::Inet(_) => {
            let [.., high, low] = end.to_be_bytes();
            let ip = IpAddr::V4(Ipv4Addr::new(127, 1, high, low));
            let port = 10_000 + u16::try_from(end % 50_000).unwrap_or(0);
            Addr::Inet(SocketAddr::new(ip, port))
        }
        Addr::Unix(_) => Addr::Unix("".into()),
    }
}
