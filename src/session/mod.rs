//! A client's stay: one client connection, at most one upstream connection, a phase.
//!
//! A session takes one event at a time and asks for operations through [`Io`]; it owns no
//! descriptor, reads no clock and never waits. It begins as an HTTP connection ([`request`],
//! [`connect`], [`exchange`], [`finish`]), may become a [`tunnel`], and may linger for a moment so
//! that a last answer is not lost. Deliberately absent: sockets, timers that fire by themselves.

mod carrier;
mod connect;
mod deadlines;
mod download;
mod exchange;
mod finish;
mod io;
mod parties;
mod pump;
mod request;
mod terms;
mod tunnel;
mod upload;

pub use io::Io;
pub use terms::Terms;

use crate::clock::Instant;
use crate::conn::{ConnId, Ends, Event, Lane, Op, Side};
use crate::limits::{LINGER_QUIET_MS, LINGER_TOTAL_MS};
use crate::reason::{Reason, Timer};
use crate::worker::wheel::Wheel;

use deadlines::Deadlines;
use exchange::Http;
use tunnel::Tunnel;

/// See the module.
#[derive(Debug)]
pub struct Session {
    deadlines: Deadlines,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Requests and their answers.
    Http(Box<Http>),
    /// Two pumps; in place, because this is what a session is for most of its time.
    Tunnel(Tunnel),
    /// The last answer is written and our half of the stream is ending; what the client still sends
    /// is thrown away until it ends its half too, or until the time given.
    Linger { client: ConnId, until: Instant },
    /// Nothing is left but the slot.
    Over,
}

/// What a phase makes of an event.
#[derive(Debug)]
enum Next {
    Stay,
    Tunnel(Tunnel),
    Linger(ConnId),
    Over,
}

impl Session {
    /// A session for a client that has just been accepted.
    #[must_use]
    pub fn new(
        id: u32,
        client: ConnId,
        listen: usize,
        ends: Ends,
        serial: u64,
        now: Instant,
    ) -> Self {
        let http = Http::new(id, client, listen, ends, serial, now);
        Self { deadlines: Deadlines::default(), phase: Phase::Http(Box::new(http)) }
    }

    /// Whether the session's slot may be freed.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Since when the client has had nothing to do with us, if that is so now.
    #[must_use]
    pub fn idle_since(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Http(http) if http.is_idle() => Some(http.idle_since),
            Phase::Http(_) | Phase::Tunnel(_) | Phase::Linger { .. } | Phase::Over => None,
        }
    }

    /// Asks for the client's first bytes.
    pub fn start(&mut self, io: &mut Io<'_>) {
        if let Phase::Http(http) = &mut self.phase {
            http.start(&mut self.deadlines, io);
        }
    }

    /// Takes one event.
    pub fn on(&mut self, side: Side, lane: Lane, event: Event, io: &mut Io<'_>) {
        let next = match &mut self.phase {
            Phase::Http(http) => http.on(side, lane, event, &mut self.deadlines, io),
            Phase::Tunnel(tunnel) => match tunnel.on(side, lane, event, &mut self.deadlines, io) {
                Some(reason) => return self.abort(reason, io),
                None => Next::Stay,
            },
            Phase::Linger { client, until } => {
                linger(*client, *until, event, &mut self.deadlines, io)
            }
            Phase::Over => Next::Stay,
        };
        self.go(next, io);
    }

    /// The session's wheel entry fired: lets each deadline that has passed speak.
    pub fn on_timers(&mut self, io: &mut Io<'_>) {
        while let Some(timer) = self.deadlines.fired(io.mono()) {
            let next = match &mut self.phase {
                Phase::Http(http) => http.on_timer(timer, &mut self.deadlines, io),
                Phase::Tunnel(tunnel) => match tunnel.on_timer(timer, &mut self.deadlines, io) {
                    Some(reason) => return self.abort(reason, io),
                    None => Next::Stay,
                },
                Phase::Linger { client, .. } => {
                    io.close(*client);
                    Next::Over
                }
                Phase::Over => Next::Stay,
            };
            self.go(next, io);
        }
    }

    /// Ends the session now; what it was doing is logged with this reason.
    pub fn abort(&mut self, reason: Reason, io: &mut Io<'_>) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Http(mut http) => http.abort(reason, io),
            Phase::Tunnel(tunnel) => tunnel.end(reason, io),
            Phase::Linger { client, .. } => io.close(client),
            Phase::Over => {}
        }
    }

    /// A graceful stop began: an idle client is let go, everything else ends by itself.
    pub fn drain(&mut self, io: &mut Io<'_>) {
        if matches!(&self.phase, Phase::Http(http) if http.is_idle()) {
            self.abort(Reason::Shutdown, io);
        }
    }

    /// Brings the wheel's entry of this session, which has its slot's number, up to date with the
    /// deadlines.
    pub fn settle_timers(&mut self, slot: u32, wheel: &mut Wheel) {
        self.deadlines.settle(slot, wheel);
    }

    fn go(&mut self, next: Next, io: &mut Io<'_>) {
        match next {
            Next::Stay => {}
            Next::Tunnel(tunnel) => self.phase = Phase::Tunnel(tunnel),
            Next::Linger(client) => {
                self.deadlines.clear_all();
                self.deadlines.set(Timer::Linger, io.after_ms(LINGER_QUIET_MS));
                self.phase = Phase::Linger { client, until: io.after_ms(LINGER_TOTAL_MS) };
                io.push(client, Op::Shutdown);
                io.recv(client);
            }
            Next::Over => {
                self.deadlines.clear_all();
                self.phase = Phase::Over;
            }
        }
    }
}

/// Throws away what a client still sends after its last answer (RFC 9112 section 9.6).
fn linger(
    client: ConnId,
    until: Instant,
    event: Event,
    deadlines: &mut Deadlines,
    io: &mut Io<'_>,
) -> Next {
    let ended = match event {
        Event::Received(load) => {
            let ended = load.is_empty();
            io.give(load);
            ended
        }
        Event::Failed { load, .. } => {
            if let Some(load) = load {
                io.give(load);
            }
            true
        }
        Event::Sent(load) | Event::Relayed { rest: load, .. } => {
            io.give(load);
            false
        }
        Event::Shut => return Next::Stay,
        Event::Accepted(_) | Event::Connected | Event::Cancelled | Event::Closed | Event::Woken => {
            false
        }
    };
    if ended || io.mono() >= until {
        io.close(client);
        return Next::Over;
    }
    deadlines.set(Timer::Linger, io.after_ms(LINGER_QUIET_MS).min(until));
    io.recv(client);
    Next::Stay
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_tunnel_stays_small() {
        // An allocator adds 8 bytes and rounds up to 16.
        assert!(size_of::<Session>() <= 136, "{}", size_of::<Session>());
    }
}
