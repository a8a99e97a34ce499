//! How each operation is carried out: when it is ready, what it does, how a cancel ends it.

use crate::conn::{Completion, ConnId, ConnectTo, Event, Lane, Load, Op, Want};
use crate::limits::{CHAIN_CHUNKS_MAX, CHUNK_BYTES};
use crate::worker::chunks::Chunks;

use super::net::{EndId, Holder};
use super::peer::PeerId;
use super::schedule::Happening;
use super::world::{Held, LaneState, Pending, Server, Socket, World};

/// What trying an operation came to.
pub(super) enum Outcome {
    Report(Event),
    /// It has to wait for more: bytes, room, a client, a chunk.
    Wait(Pending),
}

impl World {
    /// Plans the completion of a lane's operation if it could succeed or fail now.
    pub(super) fn plan_if_ready(&mut self, conn: ConnId, lane: Lane) {
        if !self.is_ready(conn, lane) {
            return;
        }
        let late = self.net.faults.late_completions.hits(&mut self.net.prng);
        let max_ms = if late { self.net.faults.completion_delay_ms_max } else { 0 };
        let delay_ms = self.net.delay(max_ms);
        self.plan_completion(conn, lane, delay_ms);
    }

    /// Ends what is in flight, or lets it win the race.
    pub(super) fn cancel(&mut self, conn: ConnId) {
        for lane in [Lane::Recv, Lane::Send] {
            let could_succeed = self.is_ready(conn, lane) || self.is_planned(conn, lane);
            let wins = could_succeed && self.net.faults.cancels_lost.hits(&mut self.net.prng);
            let delay_ms = self.net.delay(self.net.faults.completion_delay_ms_max);
            let LaneState::Busy(pending) = &mut self.slot_mut(conn).lanes[lane as usize] else {
                continue;
            };
            pending.cancelled = !wins;
            pending.hurried = wins;
            // Whatever was planned for it before is void, so that a far verdict of a connect does
            // not hold the cancellation up.
            self.renumber(conn, lane);
            self.plan_completion(conn, lane, delay_ms);
        }
    }

    /// Tries an operation whose time has come.
    pub(super) fn complete(&mut self, conn: ConnId, lane: Lane, serial: u64, chunks: &mut Chunks) {
        let Some(slot) = self.slots.get_mut(&conn.index()).filter(|slot| slot.id == conn) else {
            return;
        };
        let state = &mut slot.lanes[lane as usize];
        if !matches!(state, LaneState::Busy(pending) if pending.serial == serial) {
            return;
        }
        let LaneState::Busy(mut pending) = std::mem::replace(state, LaneState::Reported) else {
            return;
        };
        let socket = slot.socket;
        pending.planned = false;
        let outcome = if pending.cancelled {
            cancelled(pending)
        } else {
            self.run(conn, socket, pending, chunks)
        };
        match outcome {
            Outcome::Report(mut event) => {
                self.settle_pipe(&mut event);
                self.ready.push_back(Completion { conn, lane, event });
            }
            Outcome::Wait(pending) => {
                self.slot_mut(conn).lanes[lane as usize] = LaneState::Busy(pending);
            }
        }
    }

    /// Lets receives that found no chunk try again, oldest first, as many as there are chunks.
    pub(super) fn feed_hungry(&mut self, chunks: &Chunks) {
        let free = self.net.faults.chunks_out_max.saturating_sub(chunks.out());
        let meals = if chunks.has_any() { free.min(self.hungry.len()) } else { 0 };
        for (conn, serial) in self.hungry.drain(..meals).collect::<Vec<_>>() {
            let Some(slot) = self.slots.get(&conn.index()).filter(|slot| slot.id == conn) else {
                continue;
            };
            let lane = &slot.lanes[Lane::Recv as usize];
            if matches!(lane, LaneState::Busy(pending) if pending.serial == serial) {
                self.plan_completion(conn, Lane::Recv, 0);
            }
        }
    }

    /// Decides at once what a connect will come to and when; without a plan it hangs for ever.
    pub(super) fn judge_connect(&mut self, conn: ConnId) {
        let LaneState::Busy(pending) = &self.slot_mut(conn).lanes[Lane::Send as usize] else {
            return;
        };
        let Op::Connect(to) = &pending.op else { return };
        let addr = to.addr.clone();
        let server = self.servers.iter().find(|(known, _)| *known == addr).map(|(_, it)| it);
        let (silent, unreachable) =
            (matches!(server, Some(Server::Silent)), matches!(server, Some(Server::Unreachable)));
        let (faults, prng) = (&self.net.faults, &mut self.net.prng);
        let verdict = if faults.connect_no_descriptor.hits(prng) {
            Some(libc::EMFILE)
        } else if silent || faults.connect_hangs.hits(prng) {
            None
        } else if unreachable || faults.connect_unreachable.hits(prng) {
            Some(if prng.chance(1, 2) { libc::EHOSTUNREACH } else { libc::ENETUNREACH })
        } else if faults.connect_refused.hits(prng) {
            Some(libc::ECONNREFUSED)
        } else {
            Some(0)
        };
        let max_ms = faults.connect_delay_ms_max;
        let delay_ms = self.net.delay(max_ms);
        if let LaneState::Busy(pending) = &mut self.slot_mut(conn).lanes[Lane::Send as usize] {
            pending.verdict = verdict;
        }
        if verdict.is_some() {
            self.plan_completion(conn, Lane::Send, delay_ms);
        }
    }

    fn run(
        &mut self,
        conn: ConnId,
        socket: Socket,
        pending: Pending,
        chunks: &mut Chunks,
    ) -> Outcome {
        match (&pending.op, socket) {
            (Op::Accept, Socket::Listener(index)) => self.run_accept(index, pending),
            (Op::Recv(_), Socket::Stream(end)) => self.run_recv(conn, end, pending, chunks),
            (Op::Send(_), Socket::Stream(end)) => self.run_send(end, pending, chunks),
            (Op::Shutdown, Socket::Stream(end)) => Outcome::Report(match self.net.shutdown(end) {
                Ok(()) => Event::Shut,
                Err(errno) => Event::Failed { errno, load: None },
            }),
            (Op::Connect(to), _) => {
                let event = self.run_connect(conn, to, pending.verdict.unwrap_or(libc::ECANCELED));
                Outcome::Report(event)
            }
            (Op::Cancel, _) => Outcome::Report(Event::Cancelled),
            // The kernel may have the sink's descriptor still to look up.
            (Op::Close { .. }, _) if self.is_relayed_to(conn) => {
                self.net.plan(1, Happening::Complete(conn, Lane::Control, pending.serial));
                Outcome::Wait(Pending { planned: true, ..pending })
            }
            (Op::Close { reset }, _) => {
                self.close(socket, *reset);
                Outcome::Report(Event::Closed)
            }
            (op, socket) => panic!("sim: {conn:?} runs {op:?} on {socket:?}"),
        }
    }

    fn run_accept(&mut self, listener: usize, pending: Pending) -> Outcome {
        let Some(&end) = self.listeners[listener].backlog.front() else {
            return Outcome::Wait(pending);
        };
        let (faults, prng) = (&self.net.faults, &mut self.net.prng);
        if faults.accept_no_descriptor.hits(prng) {
            return Outcome::Report(Event::Failed { errno: libc::EMFILE, load: None });
        }
        let aborted = faults.accept_aborted.hits(prng);
        self.listeners[listener].backlog.pop_front();
        if aborted {
            self.net.abort(end);
            return Outcome::Report(Event::Failed { errno: libc::ECONNABORTED, load: None });
        }
        Outcome::Report(Event::Accepted(self.hand_out(Held::Stream(end))))
    }

    fn run_recv(
        &mut self,
        conn: ConnId,
        end: EndId,
        mut pending: Pending,
        chunks: &mut Chunks,
    ) -> Outcome {
        if let (Some(pipe), Op::Recv(Want::Linked(sink))) = (pending.relay.take(), &pending.op) {
            return self.run_relay(*sink, pipe);
        }
        let arrived = self.net.end(end).readable_bytes();
        if arrived == 0 {
            return match self.net.read(end, &mut []) {
                Ok(None) if pending.hurried => cancelled(pending),
                Ok(None) => Outcome::Wait(pending),
                Ok(Some(_)) => Outcome::Report(Event::Received(Load::EMPTY)),
                Err(errno) => Outcome::Report(Event::Failed { errno, load: None }),
            };
        }
        let pending = match self.run_fill(conn, end, pending) {
            Ok(outcome) => return outcome,
            Err(pending) => pending,
        };
        let allowed = chunks.out() < self.net.faults.chunks_out_max;
        let chained = matches!(pending.op, Op::Recv(Want::Chain));
        let roomy = arrived > CHUNK_BYTES && !chained;
        let large = if roomy { chunks.take_large() } else { None };
        let Some(mut chunk) = large.or_else(|| allowed.then(|| chunks.take()).flatten()) else {
            if pending.hurried {
                return cancelled(pending);
            }
            self.hungry.push_back((conn, pending.serial));
            // The planned mark keeps later news from trying it again before a chunk is free.
            return Outcome::Wait(Pending { planned: true, ..pending });
        };
        let mut wanted = arrived.min(chunk.len());
        if wanted > 1 && self.net.faults.short_reads.hits(&mut self.net.prng) {
            wanted = 1 + self.net.below(wanted - 1);
        }
        chunk.truncate(wanted);
        match self.net.read(end, chunks.bytes_mut(&mut chunk)) {
            Ok(Some(count)) if count == wanted => {
                let mut load = Load::Chunk(chunk);
                if chained {
                    self.chain_more(end, &mut load, chunks);
                }
                Outcome::Report(Event::Received(load))
            }
            other => panic!("sim: {wanted} bytes were there and a read came to {other:?}"),
        }
    }

    /// Reads on into further chunks, each filled to any degree, as bundles and read-ahead do.
    fn chain_more(&mut self, end: EndId, load: &mut Load, chunks: &mut Chunks) {
        while load.pieces() < CHAIN_CHUNKS_MAX
            && self.net.end(end).readable_bytes() > 0
            && chunks.out() < self.net.faults.chunks_out_max
            && self.net.faults.chained_reads.hits(&mut self.net.prng)
        {
            let Some(mut chunk) = chunks.take() else { return };
            let arrived = self.net.end(end).readable_bytes().min(CHUNK_BYTES);
            chunk.truncate(1 + self.net.below(arrived));
            match self.net.read(end, chunks.bytes_mut(&mut chunk)) {
                Ok(Some(count)) if count == chunk.len() => chunks.append(load, chunk),
                other => {
                    panic!("sim: {} bytes were there and a read came to {other:?}", chunk.len())
                }
            }
        }
    }

    fn run_send(&mut self, end: EndId, mut pending: Pending, chunks: &mut Chunks) -> Outcome {
        let Op::Send(load) = &mut pending.op else { return Outcome::Wait(pending) };
        let gathered = match &*load {
            Load::Pipe(pipe) => self.pipes.bytes(pipe).to_vec(),
            load => chunks.pieces(load).flatten().copied().collect(),
        };
        let mut bytes = &gathered[..];
        if bytes.len() > 1 && self.net.faults.short_writes.hits(&mut self.net.prng) {
            bytes = &bytes[..1 + self.net.below(bytes.len() - 1)];
        }
        match self.net.write(end, bytes) {
            Err(errno) => return failed(pending, errno),
            Ok(0) if pending.hurried => return cancelled(pending),
            Ok(0) => return Outcome::Wait(pending),
            Ok(count) => {
                if let Load::Pipe(pipe) = load {
                    self.pipes.consume(pipe, count);
                }
                chunks.advance(load, count);
            }
        }
        pending.progressed = true;
        let whole = self.net.faults.whole_sends.hits(&mut self.net.prng);
        if load.is_empty() || pending.hurried || !whole {
            return sent(pending);
        }
        // There may be room left after a short write: news will not come for it.
        let again = self.net.is_writable(end);
        if again {
            return self.run_send(end, pending, chunks);
        }
        Outcome::Wait(pending)
    }

    fn run_connect(&mut self, conn: ConnId, to: &ConnectTo, verdict: i32) -> Event {
        if verdict != 0 {
            return Event::Failed { errno: verdict, load: None };
        }
        let known = self.servers.iter().position(|(addr, _)| *addr == to.addr);
        let Some(server) = known.map(|index| &mut self.servers[index].1) else {
            let errno = match to.addr {
                crate::conn::Addr::Inet(_) => libc::ECONNREFUSED,
                crate::conn::Addr::Unix(_) => libc::ENOENT,
            };
            return Event::Failed { errno, load: None };
        };
        let (near, far) = self.net.pair(&to.addr);
        self.net.end_mut(near).holder = Holder::Conn(conn);
        self.net.end_mut(far).holder = Holder::Peer;
        match server {
            Server::ByHand(waiting) => waiting.push_back(PeerId(far)),
            Server::Scripted(script) => {
                let actor = script();
                self.attach(PeerId(far), actor);
            }
            // It became so while the attempt was on its way.
            Server::Silent | Server::Unreachable => {
                return Event::Failed { errno: libc::ETIMEDOUT, load: None };
            }
            Server::Stopped => return Event::Failed { errno: libc::ECONNREFUSED, load: None },
        }
        self.slot_mut(conn).socket = Socket::Stream(near);
        Event::Connected
    }

    fn close(&mut self, socket: Socket, reset: bool) {
        match socket {
            Socket::None => {}
            Socket::Listener(index) => self.close_listener(index),
            Socket::Stream(end) => {
                if reset {
                    self.net.reset(end);
                } else {
                    self.net.close(end);
                }
                self.net.end_mut(end).holder = Holder::Nobody;
            }
        }
    }

    fn is_ready(&self, conn: ConnId, lane: Lane) -> bool {
        let Some(slot) = self.slots.get(&conn.index()).filter(|slot| slot.id == conn) else {
            return false;
        };
        let LaneState::Busy(pending) = &slot.lanes[lane as usize] else { return false };
        if pending.planned {
            return false;
        }
        match (&pending.op, slot.socket) {
            (Op::Accept, Socket::Listener(index)) => !self.listeners[index].backlog.is_empty(),
            (Op::Recv(_), Socket::Stream(end)) => self.net.end(end).is_readable(),
            (Op::Send(_), Socket::Stream(end)) => self.net.is_writable(end),
            (Op::Shutdown | Op::Cancel | Op::Close { .. }, _) => true,
            _ => false,
        }
    }

    fn is_planned(&self, conn: ConnId, lane: Lane) -> bool {
        let slot = self.slots.get(&conn.index()).filter(|slot| slot.id == conn);
        slot.is_some_and(|slot| {
            matches!(&slot.lanes[lane as usize], LaneState::Busy(pending) if pending.planned)
        })
    }

    fn plan_completion(&mut self, conn: ConnId, lane: Lane, delay_ms: u64) {
        let LaneState::Busy(pending) = &mut self.slot_mut(conn).lanes[lane as usize] else {
            return;
        };
        pending.planned = true;
        let serial = pending.serial;
        self.net.plan(delay_ms, Happening::Complete(conn, lane, serial));
    }
}

/// What a cancelled operation reports: its progress if there was some, else `ECANCELED`.
fn cancelled(mut pending: Pending) -> Outcome {
    if let Some(pipe) = pending.relay.take() {
        return Outcome::Report(Event::Relayed { moved: 0, rest: Load::Pipe(pipe) });
    }
    if pending.progressed { sent(pending) } else { failed(pending, libc::ECANCELED) }
}

fn failed(pending: Pending, errno: i32) -> Outcome {
    let load = match pending.op {
        Op::Send(load) => Some(load),
        _ => None,
    };
    Outcome::Report(Event::Failed { errno, load })
}

fn sent(pending: Pending) -> Outcome {
    match pending.op {
        Op::Send(load) => Outcome::Report(Event::Sent(load)),
        op => panic!("sim: {op:?} made progress as a send does"),
    }
}
