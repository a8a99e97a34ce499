//! How the io_uring engine moves bytes that do not come to user space.
//!
//! *Pipes*: the ring says when a socket is readable or writable, and the engine calls `splice(2)`,
//! which then does not block. The ring's own splice would be handed to a kernel thread every time.
//!
//! *Links*: the ring does it nevertheless, because it can be asked for: a pair of splices, from the
//! source into a pipe and from the pipe into the sink, the second hard-linked to the first so that
//! a short first does not cancel it. The kernel looks descriptors up when it *begins* an operation,
//! so a sink is not closed before the pair has reported: its number would be another client's.
//!
//! Either way the socket is polled first, and an idle connection holds no pipe. Where a pipe finds
//! nothing though the socket is readable (an urgent byte comes first), or there is no pipe, the
//! receive is a copy.

use std::os::fd::AsFd;

use super::receive::{Armed, Ask};
use super::{NOBODY, SendLane, Uring, tenant};
use crate::conn::{ConnId, Event, Lane, Load, Token};
use crate::engine::pipes::Filled;
use crate::sys::ring::Done;
use crate::worker::chunks::Chunks;

/// A pair of splices in the kernel.
#[derive(Debug)]
pub(super) struct Link {
    source: ConnId,
    pub(super) sink: ConnId,
    /// The pipe's number.
    pipe: u32,
    /// The results, as they come: of the half that fills the pipe, and of the one that drains it.
    results: [Option<i32>; 2],
}

/// Which splice of a pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Half {
    Fill,
    Drain,
}

impl Half {
    /// Added to the bits of the source's receive; no [`Lane`] looks like it.
    const fn mark(self) -> u64 {
        match self {
            Self::Fill => 0x10,
            Self::Drain => 0x20,
        }
    }

    const fn bits(self, source: ConnId) -> u64 {
        Token::new(source, Lane::Recv).bits() | self.mark()
    }

    /// The source and the half that these bits belong to, if they are of a pair.
    pub(super) fn unpack(bits: u64) -> Option<(ConnId, Self)> {
        let half = [Self::Fill, Self::Drain].into_iter().find(|half| bits & 0xff == half.mark())?;
        Some((Token::unpack(bits & !half.mark())?.0, half))
    }
}

/// What an attempt to use a pipe came to.
enum Poured {
    /// The receive is answered.
    Event(Event),
    /// A pair is on its way.
    Linked,
    /// Nothing was there for a pipe.
    Nothing,
    /// There is no pipe, or none for this socket.
    NoPipe,
}

impl Uring {
    /// Serves a receive that wishes for a pipe or a link; false if it is to be a copy.
    pub(super) fn arm_carrier(&mut self, conn: ConnId) -> bool {
        let Some(slot) = tenant(&mut self.slots, conn) else { return false };
        let (ask @ (Ask::Pipe | Ask::Linked), Some(fd)) = (slot.input.ask, &slot.fd) else {
            return false;
        };
        // What filled a pipe has left more, most likely; else the poll costs no entry of its own.
        if ask == Ask::Pipe && !slot.input.drained {
            match self.pour(conn) {
                Poured::Event(event) => {
                    self.report(conn, Lane::Recv, event);
                    return true;
                }
                Poured::NoPipe => return false,
                Poured::Nothing | Poured::Linked => return self.arm_carrier(conn),
            }
        }
        self.ring.poll_once(fd.as_fd(), libc::POLLIN, Token::new(conn, Lane::Recv).bits());
        slot.input.armed = Armed::Watch;
        true
    }

    /// The poll of a receive has reported.
    pub(super) fn watched(
        &mut self,
        conn: ConnId,
        done: Done,
        chunks: &mut Chunks,
    ) -> Option<Event> {
        let input = &mut tenant(&mut self.slots, conn)?.input;
        input.armed = Armed::Off;
        if done.result < 0 {
            input.ask = Ask::Nothing;
            return Some(Event::Failed { errno: -done.result, load: None });
        }
        match self.pour(conn) {
            Poured::Event(event) => Some(event),
            Poured::Linked => None,
            Poured::Nothing | Poured::NoPipe => self.copy_instead(conn, chunks),
        }
    }

    /// Serves a receive by a copy: a poll would say the same again, and the copy is what waits.
    fn copy_instead(&mut self, conn: ConnId, chunks: &mut Chunks) -> Option<Event> {
        let input = &mut tenant(&mut self.slots, conn)?.input;
        if input.cancelled {
            input.ask = Ask::Nothing;
            return Some(Event::Failed { errno: libc::ECANCELED, load: None });
        }
        self.arm_copy(conn, chunks);
        None
    }

    /// Remembers whom a linked receive is for, where few connections have to have room for it.
    pub(super) fn note_sink(&mut self, source: ConnId, sink: ConnId) {
        if self.sinks.len() <= source.index() {
            self.sinks.resize(self.slots.len(), ConnId::MAILBOX);
        }
        self.sinks[source.index()] = sink;
    }

    /// Moves what is there into a pipe, or starts a pair that moves it on.
    fn pour(&mut self, conn: ConnId) -> Poured {
        let Some(slot) = tenant(&mut self.slots, conn) else { return Poured::NoPipe };
        if slot.input.ask == Ask::Linked
            && let Some(&sink) = self.sinks.get(conn.index())
            && self.can_take(sink)
        {
            return self.link(conn, sink);
        }
        let Some(slot) = tenant(&mut self.slots, conn) else { return Poured::NoPipe };
        let Some(fd) = &slot.fd else { return Poured::NoPipe };
        let event = match self.pipes.fill(fd.as_fd()) {
            Ok(Filled::Some(pipe)) => {
                slot.input.drained = pipe.len() < self.pipes.bytes(pipe.number());
                Event::Received(Load::Pipe(pipe))
            }
            Ok(Filled::End) => Event::Received(Load::EMPTY),
            Ok(Filled::Nothing) => {
                slot.input.drained = true;
                return Poured::Nothing;
            }
            Ok(Filled::NoPipe) => return Poured::NoPipe,
            Err(errno) => Event::Failed { errno, load: None },
        };
        slot.input.ask = Ask::Nothing;
        Poured::Event(event)
    }

    /// Whether a pair may name this sink: it is open, and its close has not been pushed.
    fn can_take(&mut self, sink: ConnId) -> bool {
        self.slot(sink).is_some_and(|slot| slot.fd.is_some() && slot.input.closing.is_none())
    }

    /// Starts a pair.
    fn link(&mut self, source: ConnId, sink: ConnId) -> Poured {
        let Some(pipe) = self.pipes.reserve() else { return Poured::NoPipe };
        let fd_of = |conn: ConnId| Some(self.slots.get(conn.index())?.fd.as_ref()?.as_fd());
        let (Some(from), Some(to), Some((read, write))) =
            (fd_of(source), fd_of(sink), self.pipes.ends(pipe))
        else {
            self.pipes.settle(pipe, 0);
            return Poured::NoPipe;
        };
        let len = u32::try_from(self.pipes.bytes(pipe)).unwrap_or(u32::MAX);
        self.ring.splice(from, write, len, true, Half::Fill.bits(source));
        self.ring.splice(read, to, len, false, Half::Drain.bits(source));
        self.links.push(Link { source, sink, pipe, results: [None; 2] });
        if let Some(slot) = tenant(&mut self.slots, source) {
            slot.input.armed = Armed::Linked;
        }
        Poured::Linked
    }

    /// Asks the kernel to end a pair soon; both halves still report.
    pub(super) fn cancel_link(&mut self, source: ConnId) {
        for half in [Half::Fill, Half::Drain] {
            self.ring.cancel_bits(half.bits(source), NOBODY);
        }
    }

    /// Whether a pair in the kernel names this sink.
    pub(super) fn is_linked_to(&self, sink: ConnId) -> bool {
        self.links.iter().any(|link| link.sink == sink)
    }

    /// One half of a pair has reported; the other one's report makes the event.
    pub(super) fn half_done(
        &mut self,
        source: ConnId,
        half: Half,
        result: i32,
        chunks: &mut Chunks,
    ) -> Option<Event> {
        let index = self.links.iter().position(|link| link.source == source)?;
        self.links[index].results[half as usize] = Some(result);
        let [Some(filled), Some(drained)] = self.links[index].results else { return None };
        let Link { sink, pipe, .. } = self.links.swap_remove(index);
        let brought = usize::try_from(filled).unwrap_or(0);
        // What keeps the sink from taking it, the send of the rest will tell.
        let moved = usize::try_from(drained).unwrap_or(0);
        let rest = self.pipes.settle(pipe, brought - moved);
        self.close_if_due(sink);

        let input = &mut tenant(&mut self.slots, source)?.input;
        input.armed = Armed::Off;
        let event = match -filled {
            _ if brought > 0 => Event::Relayed { moved, rest },
            0 => Event::Received(Load::EMPTY),
            // It was readable, and nothing was there for a pipe; or this kind of socket cannot.
            libc::EAGAIN | libc::EINTR | libc::EINVAL | libc::EOPNOTSUPP => {
                return self.copy_instead(source, chunks);
            }
            errno => Event::Failed { errno, load: None },
        };
        input.ask = Ask::Nothing;
        Some(event)
    }

    /// Sends from a pipe, as much as the socket takes now, or once a poll says that it takes some.
    pub(super) fn send_pipe(&mut self, conn: ConnId, load: Load) {
        if let Some(event) = self.try_drain(conn, load) {
            self.report(conn, Lane::Send, event);
        }
    }

    /// Tries a send from a pipe; without an event it waits in its lane for a poll.
    pub(super) fn try_drain(&mut self, conn: ConnId, mut load: Load) -> Option<Event> {
        let slot = tenant(&mut self.slots, conn)?;
        let (Load::Pipe(pipe), Some(fd)) = (&load, &slot.fd) else {
            return Some(Event::Failed { errno: libc::ENOTCONN, load: Some(load) });
        };
        match self.pipes.drain(pipe, fd.as_fd()) {
            Ok(count) => {
                load.advance(count);
                Some(Event::Sent(self.pipes.after_send(load)))
            }
            // A cancel that came before finds no poll, so there must not be another.
            Err(libc::EAGAIN) if slot.input.cancelled => {
                Some(Event::Failed { errno: libc::ECANCELED, load: Some(load) })
            }
            Err(libc::EAGAIN) => {
                let bits = Token::new(conn, Lane::Send).bits();
                self.ring.poll_once(fd.as_fd(), libc::POLLOUT, bits);
                slot.send = SendLane::Send(load);
                None
            }
            Err(errno) => Some(Event::Failed { errno, load: Some(load) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_is_known_by_its_bits() {
        let source = ConnId::new(70_000, 9);
        for half in [Half::Fill, Half::Drain] {
            let bits = half.bits(source);
            assert_eq!(Half::unpack(bits), Some((source, half)));
            assert_eq!(Token::unpack(bits), None);
        }
        for lane in [Lane::Recv, Lane::Send, Lane::Control] {
            assert_eq!(Half::unpack(Token::new(source, lane).bits()), None);
        }
        assert_eq!(Half::unpack(NOBODY), None);
    }
}
