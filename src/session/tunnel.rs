//! Two pumps after a 101, their timers, and the end of both.
//!
//! nginx's timers keep nginx's meaning: `proxy_read_timeout` is re-armed by traffic in either
//! direction, `proxy_send_timeout` covers a blocked write to the upstream, `send_timeout` one to
//! the client. `tunnel_idle_timeout` and `tunnel_max_lifetime` are our own. Unlike nginx, one
//! party's end of stream leaves the other direction open, unless `tunnel_half_close off`. The
//! request head is gone by now: a tunnel keeps its running counts and its half-rendered log lines,
//! nothing else.

use std::rc::Rc;

use crate::config::model::Level;
use crate::conn::{ConnId, Event, Lane, Load, Side};
use crate::http::facts::TunnelTally;
use crate::http::variables::Frozen;
use crate::observe::stats::Counter;
use crate::reason::{Party, Reason, Timer};

use super::deadlines::Deadlines;
use super::finish::level;
use super::io::Io;
use super::parties::Parties;
use super::pump::{Flow, Pump};
use super::terms::Terms;

/// A log line to write when the tunnel ends: an access log file and the half-rendered line.
pub(super) type PendingLine = (usize, Frozen);

/// An open tunnel.
#[derive(Debug)]
pub(super) struct Tunnel {
    client: ConnId,
    upstream: ConnId,
    up: Pump,
    down: Pump,
    /// Bytes of the 101 head that the client has not taken yet; they are no tunnel bytes.
    head_left: u32,
    terms: Rc<Terms>,
    /// Only where there is a line to write: nothing else reads the counts.
    record: Option<Box<Record>>,
    /// What ended first; the other direction may still be running.
    first_end: Option<Reason>,
    /// Who talks to whom, for the error log.
    who: Parties,
}

/// What the access log will be told of a tunnel.
#[derive(Debug)]
pub(super) struct Record {
    /// The counts so far.
    pub(super) tally: TunnelTally,
    /// The lines to write at the end.
    pub(super) lines: Box<[PendingLine]>,
}

/// What opens a tunnel.
#[derive(Debug)]
pub(super) struct Opening {
    /// Bytes the client sent behind its request head.
    pub(super) early: Load,
    /// The 101 head for the client, and the bytes the upstream sent behind its own.
    pub(super) answer: Load,
    /// How many bytes of `answer` are the head.
    pub(super) head_bytes: usize,
    /// What the access log will be told, if it is to be told anything.
    pub(super) record: Option<Box<Record>>,
    /// Who talks to whom, for the error log.
    pub(super) who: Parties,
    /// The settings it obeys.
    pub(super) terms: Rc<Terms>,
    /// When it ends at the latest.
    pub(super) lifetime_ms: Option<u64>,
}

impl Tunnel {
    /// Starts both pumps. Early bytes go upstream only here, after the 101.
    pub(super) fn open(
        client: ConnId,
        upstream: ConnId,
        opening: Opening,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Self {
        let Opening { early, answer, head_bytes, record, who, terms, lifetime_ms } = opening;
        io.stats.count(Counter::TunnelsOpened);
        let tunnel = Self {
            client,
            upstream,
            up: Pump::start(early, (client, upstream), terms.carrier, io),
            down: Pump::start(answer, (upstream, client), terms.carrier, io),
            head_left: u32::try_from(head_bytes).unwrap_or(u32::MAX),
            terms,
            record,
            first_end: None,
            who,
        };
        deadlines.clear_all();
        if let Some(ms) = lifetime_ms {
            deadlines.set(Timer::TunnelLifetime, io.after_ms(ms));
        }
        tunnel.watch_writes(deadlines, io);
        tunnel.moved(deadlines, io);
        tunnel
    }

    /// Takes one event; a reason means that the tunnel is over.
    pub(super) fn on(
        &mut self,
        side: Side,
        lane: Lane,
        event: Event,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Option<Reason> {
        match event {
            Event::Received(load) => self.received(side, load, deadlines, io),
            Event::Relayed { moved, rest } => {
                self.relayed(side, moved, rest, io);
                self.watch_writes(deadlines, io);
                self.moved(deadlines, io);
                None
            }
            Event::Sent(rest) => {
                self.sent(side, rest, io);
                deadlines.clear(write_timer(side));
                self.watch_writes(deadlines, io);
                self.moved(deadlines, io);
                None
            }
            Event::Shut => {
                self.pump_into(side).finished();
                self.over()
            }
            Event::Failed { errno, load } => {
                if let Some(load) = load {
                    io.give(load);
                }
                self.failed(side, lane, errno, deadlines, io)
            }
            Event::Accepted(_)
            | Event::Connected
            | Event::Cancelled
            | Event::Closed
            | Event::Woken => None,
        }
    }

    /// A deadline has passed; a reason means that the tunnel is over.
    pub(super) fn on_timer(
        &self,
        timer: Timer,
        deadlines: &mut Deadlines,
        io: &Io<'_>,
    ) -> Option<Reason> {
        // We hold the upstream back ourselves while the client is slow; `send_timeout` watches
        // that.
        if timer == Timer::ProxyRead && self.down.flow() == Flow::Writing {
            // Later than now, also for a timeout of zero, or it would fire again at once.
            deadlines.set(timer, io.after_ms(self.terms.read_ms.max(1)));
            return None;
        }
        Some(Reason::TimedOut(timer))
    }

    /// Closes both connections and writes the log lines.
    pub(super) fn end(self, reason: Reason, io: &mut Io<'_>) {
        io.close(self.client);
        io.close(self.upstream);
        io.stats.count(Counter::TunnelsClosed);
        io.stats.ended(reason);
        // For a tunnel the end of a stream is no trouble, whichever side begins.
        let level = match reason {
            Reason::Closed(_) => Some(Level::Info),
            other => level(other),
        };
        if let Some(level) = level.filter(|&level| io.logs.enabled(level)) {
            let who = self.who.describe(&self.terms.host);
            io.logs.error(io.now, level, format_args!("tunnel ended: {reason}, {who}"));
        }
        let Some(record) = self.record else { return };
        let Record { tally, lines } = *record;
        let tally = tally.finish(self.head_left, reason);
        for (file, line) in lines {
            let mut text = Vec::new();
            line.render(&tally, io.host, io.now, &mut text);
            io.logs.access(file, &text);
        }
    }

    fn received(
        &mut self,
        side: Side,
        load: Load,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Option<Reason> {
        if load.is_empty() && self.pump_into(side).is_done() {
            // The last direction: the close that follows ends the far stream as a shutdown would.
            io.give(load);
            return Some(self.first_end.unwrap_or_else(|| Reason::Closed(party(side))));
        }
        self.count_received(side, load.len());
        let (far, policy) = (self.conn(side.other()), self.terms.carrier);
        if self.pump_from(side).received(load, far, policy, io) {
            self.watch_writes(deadlines, io);
            self.moved(deadlines, io);
            return None;
        }
        let reason = Reason::Closed(party(side));
        self.first_end.get_or_insert(reason);
        (!self.terms.half_close).then_some(reason)
    }

    /// A receive from `side` brought bytes of which the other side has taken `moved` already.
    fn relayed(&mut self, side: Side, moved: usize, rest: Load, io: &mut Io<'_>) {
        self.count_received(side, moved + rest.len());
        self.count_written(side.other(), moved, io);
        let (way, policy) = (self.way(side), self.terms.carrier);
        self.pump_from(side).relayed(rest, way, policy, io);
    }

    fn sent(&mut self, side: Side, rest: Load, io: &mut Io<'_>) {
        let (way, policy) = (self.way(side.other()), self.terms.carrier);
        let written = self.pump_into(side).sent(rest, way, policy, io);
        self.count_written(side, written, io);
    }

    const fn count_received(&mut self, side: Side, bytes: usize) {
        if let (Side::Upstream, Some(record)) = (side, &mut self.record) {
            record.tally.upstream_body += bytes as u64;
        }
    }

    fn count_written(&mut self, side: Side, written: usize, io: &mut Io<'_>) {
        let bytes = written as u64;
        let tally = self.record.as_deref_mut().map(|record| &mut record.tally);
        match side {
            Side::Client => {
                let of_head = self.head_left.min(u32::try_from(written).unwrap_or(u32::MAX));
                self.head_left -= of_head;
                let of_tunnel = bytes - u64::from(of_head);
                if let Some(tally) = tally {
                    tally.bytes_down += of_tunnel;
                }
                io.stats.add(Counter::BytesDown, bytes);
                io.stats.add(Counter::TunnelBytesDown, of_tunnel);
            }
            Side::Upstream => {
                if let Some(tally) = tally {
                    tally.bytes_up += bytes;
                }
                io.stats.add(Counter::BytesUp, bytes);
                io.stats.add(Counter::TunnelBytesUp, bytes);
            }
        }
    }

    /// A receive that fails means that the peer is gone in both directions. A send that fails ends
    /// its own direction only: the peer may have closed after its last words, and those are still
    /// to be read and delivered before its failure shows on the receiving lane as well.
    fn failed(
        &mut self,
        side: Side,
        lane: Lane,
        errno: i32,
        deadlines: &mut Deadlines,
        io: &Io<'_>,
    ) -> Option<Reason> {
        let reason = Reason::Failed(party(side), errno);
        if lane == Lane::Recv {
            return Some(self.first_end.unwrap_or(reason));
        }
        self.first_end.get_or_insert(reason);
        self.pump_into(side).finished();
        self.watch_writes(deadlines, io);
        self.over()
    }

    fn over(&self) -> Option<Reason> {
        let done = self.up.is_done() && self.down.is_done();
        done.then(|| self.first_end.unwrap_or(Reason::Done))
    }

    /// Arms the write timers of pumps that wait for a sink and have none running.
    fn watch_writes(&self, deadlines: &mut Deadlines, io: &Io<'_>) {
        let pumps = [
            (&self.up, write_timer(Side::Upstream), self.terms.send_up_ms),
            (&self.down, write_timer(Side::Client), self.terms.send_down_ms),
        ];
        for (pump, timer, ms) in pumps {
            if pump.flow() != Flow::Writing {
                deadlines.clear(timer);
            } else if !deadlines.is_set(timer) {
                deadlines.set(timer, io.after_ms(ms));
            }
        }
    }

    fn moved(&self, deadlines: &mut Deadlines, io: &Io<'_>) {
        deadlines.set(Timer::ProxyRead, io.after_ms(self.terms.read_ms));
        if let Some(ms) = self.terms.idle_ms {
            deadlines.set(Timer::TunnelIdle, io.after_ms(ms));
        }
    }

    const fn conn(&self, side: Side) -> ConnId {
        match side {
            Side::Client => self.client,
            Side::Upstream => self.upstream,
        }
    }

    /// Source and sink of the direction that begins at a side.
    const fn way(&self, from: Side) -> (ConnId, ConnId) {
        (self.conn(from), self.conn(from.other()))
    }

    const fn pump_from(&mut self, side: Side) -> &mut Pump {
        match side {
            Side::Client => &mut self.up,
            Side::Upstream => &mut self.down,
        }
    }

    const fn pump_into(&mut self, side: Side) -> &mut Pump {
        self.pump_from(side.other())
    }
}

/// The timer of a blocked write to a side; each step of progress starts it anew.
const fn write_timer(sink: Side) -> Timer {
    match sink {
        Side::Client => Timer::Send,
        Side::Upstream => Timer::ProxySend,
    }
}

const fn party(side: Side) -> Party {
    match side {
        Side::Client => Party::Client,
        Side::Upstream => Party::Upstream,
    }
}
