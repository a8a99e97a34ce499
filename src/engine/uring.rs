//! The io_uring engine: operations go to the kernel, completions come back.
//!
//! One ring per worker, entered once per turn. Receiving is in [`receive`], accepting in
//! [`listener`]: multishot operations that serve many of ours. `shutdown(2)` and `close(2)` are
//! called directly: the kernel would hand the first to a thread of its own, and a direct close
//! frees the descriptor before the next accept and cannot wait behind a full queue. A socket that a
//! multishot operation still holds is closed at that one's end.
//!
//! Owns its descriptors and, between `push` and the event, the loads. On drop everything is
//! cancelled and joined. If the kernel does not let go in time the loads are leaked; a worker that
//! panics must leak its pool, too, unless it drops the engine first.
//!
//! Deliberately absent: timeouts, retries, and choosing what to do next.

mod carry;
mod gather;
mod larder;
mod listener;
mod receive;
mod waiting;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::SockAddr;

use self::carry::{Half, Link};
use self::gather::Gather;
use self::larder::Larder;
use self::listener::{Ask, Listener, Multishot};
pub use self::receive::Depth;
use self::receive::{Ahead, Input};
use super::Engine;
use super::pipes::Pipes;
use super::probe::SetupError;
use super::spin::{Spinner, Spins};
use crate::clock::{Instant, Now};
use crate::config::model::Spin;
use crate::conn::{
    Addr, Completion, ConnId, ConnectTo, Ends, Event, Handle, Lane, Load, Op, Token,
};
use crate::limits::{
    BUFFER_RING_ENTRIES, CHUNK_BYTES, CHUNKS_BASE, COMPLETION_ENTRIES_MIN, EVENTS_PER_TURN,
    JOIN_MS_MAX, LARGE_CHUNK_BYTES, LINK_WORKERS_MAX, PIPES_MAX, SUBMISSION_ENTRIES,
};
use crate::sys::buffer_ring::BufferRing;
use crate::sys::clock;
use crate::sys::eventfd::Bell;
use crate::sys::ring::{Done, Patience, Ring};
use crate::sys::socket::{self, Progress};
use crate::worker::chunks::Chunks;

/// The bits of operations whose outcome does not matter; no [`Token`] has them.
const NOBODY: u64 = u64::MAX;

/// The bits of the poll on the mailbox.
const MAILBOX: u64 = Token::new(ConnId::MAILBOX, Lane::Recv).bits();

/// A chunk's size, as the kernel wants it.
#[allow(clippy::cast_possible_truncation, reason = "16 KB fit 32 bits")]
const CHUNK_LEN: u32 = CHUNK_BYTES as u32;

/// A large chunk's.
#[allow(clippy::cast_possible_truncation, reason = "128 KB fit 32 bits")]
const LARGE_CHUNK_LEN: u32 = LARGE_CHUNK_BYTES as u32;

/// Executes operations on one io_uring; must stay on the thread that made it.
#[derive(Debug)]
pub struct Uring {
    ring: Ring,
    larder: Larder,
    mailbox: Bell,
    slots: Vec<Slot>,
    connections_max: usize,
    /// How much one receive may be.
    depth: Depth,
    /// Receives that found no buffer, the longest waiting first.
    hungry: VecDeque<ConnId>,
    /// Outcomes known without the kernel.
    ready: VecDeque<Completion>,
    /// Completions of the turn; kept for its memory.
    batch: Vec<Done>,
    /// Descriptions of sends, to be used again.
    #[allow(clippy::vec_box, reason = "the kernel knows where a description is")]
    gathers: Vec<Box<Gather>>,
    /// Memory of read-aheads, to be used again.
    #[allow(clippy::vec_box, reason = "the boxes move into slots, which are to stay small")]
    spares: Vec<Box<Ahead>>,
    pipes: Pipes,
    /// Pairs of splices in the kernel.
    links: Vec<Link>,
    /// By slot, whom a linked receive is for; empty where none is asked for.
    sinks: Vec<ConnId>,
    spinner: Spinner,
    now: Now,
}

/// A connection as this engine sees it.
#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    fd: Option<OwnedFd>,
    input: Input,
    send: SendLane,
    listener: Option<Box<Listener>>,
}

#[derive(Debug, Default)]
enum SendLane {
    #[default]
    Idle,
    /// The address stays in place until the kernel is done with it.
    Connect(#[allow(dead_code, reason = "owned for the kernel")] Box<SockAddr>),
    /// A write, or, for a load in a pipe, a poll that says when there is room for it.
    Send(Load),
    /// A load in several pieces.
    Gather(Box<Gather>),
}

impl Uring {
    /// An engine with room for `connections_max` slots, woken by the eventfd `mailbox`, that
    /// receives as deep as the kernel can.
    ///
    /// # Errors
    /// The kernel refuses the ring, or has no memory or descriptor for it; [`SetupError::denied`]
    /// tells which.
    pub fn new(connections_max: usize, mailbox: BorrowedFd<'_>) -> Result<Self, SetupError> {
        Self::with_spin(connections_max, mailbox, Spin::Off)
    }

    /// The same, and it spins before it sleeps.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_spin(
        connections_max: usize,
        mailbox: BorrowedFd<'_>,
        spin: Spin,
    ) -> Result<Self, SetupError> {
        Self::with(connections_max, mailbox, spin, Depth::Multishot)
    }

    /// The same, and it receives no deeper than `depth`: as on an older kernel.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(
        connections_max: usize,
        mailbox: BorrowedFd<'_>,
        spin: Spin,
        depth: Depth,
    ) -> Result<Self, SetupError> {
        let completions = u32::try_from(connections_max.saturating_mul(3)).unwrap_or(u32::MAX);
        let completions = completions.max(COMPLETION_ENTRIES_MIN);
        let mut ring = Ring::new(SUBMISSION_ENTRIES, completions, BUFFER_RING_ENTRIES)
            .map_err(|(step, errno)| SetupError::new(step, errno))?;
        let depth = Depth::probe(&mut ring).min(depth);
        // Only `splice linked` needs them. Where the kernel does not know a bound, it has its own.
        let _ = ring.bound_workers(LINK_WORKERS_MAX);
        let mailbox = Bell::of(mailbox).map_err(|errno| SetupError::new("dup", errno))?;
        ring.poll_readable(mailbox.as_fd(), MAILBOX);
        // A sandbox that knows only the set-up call shows here, not in the first turn.
        ring.enter(Patience::None).map_err(|errno| SetupError::new("io_uring_enter", errno))?;
        Ok(Self {
            ring,
            larder: Larder::new(BUFFER_RING_ENTRIES),
            mailbox,
            slots: Vec::new(),
            connections_max,
            depth,
            hungry: VecDeque::with_capacity(connections_max),
            ready: VecDeque::with_capacity(EVENTS_PER_TURN),
            batch: Vec::with_capacity(EVENTS_PER_TURN),
            // What is gathered or waits has a chunk, and a chain has two, so that these rarely
            // become more.
            gathers: (0..CHUNKS_BASE / 2).map(|_| Gather::new()).collect(),
            spares: (0..CHUNKS_BASE).map(|_| receive::spare_new()).collect(),
            pipes: Pipes::new(),
            links: Vec::with_capacity(PIPES_MAX),
            sinks: Vec::new(),
            spinner: Spinner::new(spin),
            now: clock::now(),
        })
    }

    /// The slot of a connection that is its tenant.
    fn slot(&mut self, conn: ConnId) -> Option<&mut Slot> {
        tenant(&mut self.slots, conn)
    }

    /// Makes the connection the tenant of its slot.
    fn settle(&mut self, conn: ConnId, fd: Option<OwnedFd>) {
        assert!(conn.index() < self.connections_max, "slot {} is out of bounds", conn.index());
        if self.slots.len() <= conn.index() {
            self.slots.resize_with(conn.index() + 1, Slot::default);
        }
        let slot = &mut self.slots[conn.index()];
        assert!(slot.fd.is_none(), "slot {} is taken", conn.index());
        *slot = Slot { generation: conn.generation(), fd, ..Slot::default() };
    }

    fn report(&mut self, conn: ConnId, lane: Lane, event: Event) {
        self.ready.push_back(Completion { conn, lane, event });
    }

    fn fail(&mut self, conn: ConnId, lane: Lane, errno: i32, load: Option<Load>) {
        self.report(conn, lane, Event::Failed { errno, load });
    }

    /// Serves an accept from those read ahead, or lets the kernel accept.
    fn accept(&mut self, conn: ConnId) {
        let Some(slot) = tenant(&mut self.slots, conn) else { return };
        let Some(fd) = &slot.fd else { return };
        let listener = slot.listener.get_or_insert_default();
        if let Some(client) = listener.ahead.pop_front() {
            return self.report(conn, Lane::Recv, Event::Accepted(socket::into_handle(client)));
        }
        listener.ask = Ask::Accept;
        // One that is ending is started again when its end has come.
        if listener.multishot == Multishot::Off {
            listener.multishot = Multishot::On;
            self.ring.accept_all(fd.as_fd(), Token::new(conn, Lane::Recv).bits());
        }
    }

    fn connect(&mut self, conn: ConnId, to: &ConnectTo) {
        match self.start_connect(conn, to) {
            Ok(Progress::Pending) => {}
            Ok(Progress::Done) => self.report(conn, Lane::Send, Event::Connected),
            Err(errno) => self.fail(conn, Lane::Send, errno, None),
        }
    }

    #[allow(unsafe_code)]
    fn start_connect(&mut self, conn: ConnId, to: &ConnectTo) -> Result<Progress, i32> {
        self.settle(conn, None);
        let addr = Box::new(socket::sockaddr(&to.addr)?);
        let slot = &mut self.slots[conn.index()];
        // Whoever is connected to waits for us to speak first.
        slot.input.drained = true;
        let fd = slot.fd.insert(socket::for_connecting(to)?);
        if matches!(to.addr, Addr::Unix(_)) {
            // A unix connect never takes time, but with a full backlog it would say EAGAIN, on
            // which the ring would try for ever.
            return socket::connect(fd.as_fd(), &addr);
        }
        let fd = fd.as_fd();
        // SAFETY: the address is boxed and moves, box and all, into the send lane, which keeps it
        // until the completion; the engine joins its operations before the slots go.
        unsafe { self.ring.connect(fd, &addr, Token::new(conn, Lane::Send).bits()) };
        slot.send = SendLane::Connect(addr);
        Ok(Progress::Pending)
    }

    #[allow(unsafe_code)]
    fn send(&mut self, conn: ConnId, load: Load, chunks: &Chunks) {
        let Some(slot) = tenant(&mut self.slots, conn) else { return };
        let Some(fd) = &slot.fd else {
            return self.fail(conn, Lane::Send, libc::ENOTCONN, Some(load));
        };
        if matches!(load, Load::Pipe(_)) {
            return self.send_pipe(conn, load);
        }
        let bits = Token::new(conn, Lane::Send).bits();
        if matches!(load, Load::Chain(_)) {
            let mut gather = self.gathers.pop().unwrap_or_else(Gather::new);
            let message = gather.describe(load, chunks);
            // SAFETY: the description and the load, whose chunks nobody writes to, stay in the
            // gather, and that boxed in the send lane, until the completion; the engine joins its
            // operations before the slots go.
            unsafe { self.ring.send_pieces(fd.as_fd(), message, bits) };
            slot.send = SendLane::Gather(gather);
            return;
        }
        let bytes = chunks.load_bytes(&load);
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        // SAFETY: the bytes lie on the heap, in the pool or in the load's own vector, and the load
        // stays in the send lane, where nobody writes to it, until the completion; the engine
        // joins its operations before the slots go.
        unsafe { self.ring.send(fd.as_fd(), bytes.as_ptr(), len, bits) };
        slot.send = SendLane::Send(load);
    }

    /// The outcome of a `Connect` or a `Send`.
    fn sent(&mut self, conn: ConnId, result: i32, chunks: &mut Chunks) -> Option<Event> {
        let slot = tenant(&mut self.slots, conn)?;
        let mut load = match std::mem::take(&mut slot.send) {
            SendLane::Idle => return None,
            SendLane::Connect(_) if result >= 0 => return Some(Event::Connected),
            SendLane::Connect(_) => return Some(Event::Failed { errno: -result, load: None }),
            SendLane::Send(load @ Load::Pipe(_)) if result >= 0 => {
                return self.try_drain(conn, load);
            }
            SendLane::Send(load) => load,
            SendLane::Gather(mut gather) => {
                let load = gather.take();
                self.gathers.push(gather);
                load
            }
        };
        match usize::try_from(result) {
            Ok(count) => {
                chunks.advance(&mut load, count);
                Some(Event::Sent(load))
            }
            Err(_) => Some(Event::Failed { errno: -result, load: Some(load) }),
        }
    }

    fn shutdown(&mut self, conn: ConnId) {
        let outcome = match self.slot(conn) {
            Some(Slot { fd: Some(fd), .. }) => socket::shutdown_write(fd.as_fd()),
            _ => Err(libc::ENOTCONN),
        };
        match outcome {
            Ok(()) => self.report(conn, Lane::Send, Event::Shut),
            Err(errno) => self.fail(conn, Lane::Send, errno, None),
        }
    }

    /// Finishes what waits here, and asks the kernel to finish what is there.
    fn cancel(&mut self, conn: ConnId) {
        let Some(slot) = tenant(&mut self.slots, conn) else {
            return self.report(conn, Lane::Control, Event::Cancelled);
        };
        let mut in_kernel = !matches!(slot.send, SendLane::Idle);
        if let Some(listener) = &mut slot.listener {
            if listener.ask == Ask::Accept {
                listener.ask = Ask::Cancelled;
            }
            if listener.multishot == Multishot::On {
                listener.multishot = Multishot::Ending;
                in_kernel = true;
            }
        }
        in_kernel |= self.cancel_recv(conn);
        let slot = &self.slots[conn.index()];
        match &slot.fd {
            Some(fd) if in_kernel => {
                self.ring.cancel_fd(fd.as_fd(), Token::new(conn, Lane::Control).bits());
            }
            _ => self.report(conn, Lane::Control, Event::Cancelled),
        }
    }

    /// Closes, unless a multishot operation still holds the socket: then at its end.
    fn close(&mut self, conn: ConnId, reset: bool, chunks: &mut Chunks) {
        let mut waits = self.close_recv(conn, chunks) || self.is_linked_to(conn);
        let Some(slot) = tenant(&mut self.slots, conn) else { return };
        if let Some(listener) = &mut slot.listener {
            let clients = listener.ahead.drain(..);
            clients.for_each(|client| socket::close(client, true));
            waits |= listener.multishot != Multishot::Off;
            if listener.multishot == Multishot::On {
                listener.multishot = Multishot::Ending;
                self.ring.cancel_bits(Token::new(conn, Lane::Recv).bits(), NOBODY);
            }
        }
        slot.input.closing = Some(reset);
        if !waits {
            self.close_now(conn);
        }
    }

    /// Closes a socket whose `Close` has waited, once the kernel is done with it.
    fn close_if_due(&mut self, conn: ConnId) {
        if self.is_linked_to(conn) {
            return;
        }
        let Some(slot) = tenant(&mut self.slots, conn) else { return };
        let accepts = |listener: &Listener| listener.multishot != Multishot::Off;
        let held = slot.input.in_kernel() || slot.listener.as_deref().is_some_and(accepts);
        if slot.input.closing.is_some() && !held {
            self.close_now(conn);
        }
    }

    fn close_now(&mut self, conn: ConnId) {
        let Some(slot) = tenant(&mut self.slots, conn) else { return };
        let reset = slot.input.closing.take() == Some(true);
        if let Some(fd) = slot.fd.take() {
            socket::close(fd, reset);
        }
        slot.listener = None;
        self.report(conn, Lane::Control, Event::Closed);
    }

    /// Makes an event of a completion; a few make none, or one for a later turn.
    fn complete(&mut self, done: Done, chunks: &mut Chunks) -> Option<Completion> {
        if done.bits == MAILBOX {
            return self.woken(done);
        }
        if let Some((conn, half)) = Half::unpack(done.bits) {
            let event = self.half_done(conn, half, done.result, chunks)?;
            return Some(Completion { conn, lane: Lane::Recv, event });
        }
        let (conn, lane) = Token::unpack(done.bits)?;
        let Some(slot) = tenant(&mut self.slots, conn) else {
            self.orphaned(done, chunks);
            return None;
        };
        let event = match lane {
            Lane::Recv if slot.listener.is_some() => self.accepted(conn, done)?,
            Lane::Recv => self.received(conn, done, chunks)?,
            Lane::Send => self.sent(conn, done.result, chunks)?,
            Lane::Control => Event::Cancelled,
        };
        Some(Completion { conn, lane, event })
    }

    fn woken(&mut self, done: Done) -> Option<Completion> {
        if !done.more() {
            self.ring.poll_readable(self.mailbox.as_fd(), MAILBOX);
        }
        let event = self.mailbox.drain().then_some(Event::Woken)?;
        Some(Completion { conn: ConnId::MAILBOX, lane: Lane::Recv, event })
    }

    /// A completion for an earlier tenant of a slot: its memory comes back, nothing else happens.
    fn orphaned(&mut self, done: Done, chunks: &mut Chunks) {
        let load = receive::provided(&mut self.larder, &mut self.ring, done, chunks);
        chunks.give_load(load);
    }

    /// A client, or the end of a multishot accept.
    fn accepted(&mut self, conn: ConnId, done: Done) -> Option<Event> {
        let slot = tenant(&mut self.slots, conn)?;
        let listener = slot.listener.as_mut()?;
        if !done.more() {
            listener.multishot = Multishot::Off;
        }
        let mut event = None;
        if done.result >= 0 {
            let client = socket::own(done.result);
            match listener.ask {
                _ if slot.input.closing.is_some() => socket::close(client, true),
                Ask::Accept | Ask::Cancelled => {
                    listener.ask = Ask::Nothing;
                    event = Some(Event::Accepted(socket::into_handle(client)));
                }
                Ask::Nothing => listener.ahead.push_back(client),
            }
            if listener.too_far_ahead() {
                listener.multishot = Multishot::Ending;
                self.ring.cancel_bits(done.bits, NOBODY);
            }
        } else if listener.ask == Ask::Cancelled
            || (listener.ask == Ask::Accept && done.result != -libc::ECANCELED)
        {
            listener.ask = Ask::Nothing;
            event = Some(Event::Failed { errno: -done.result, load: None });
        }
        if listener.multishot == Multishot::Off {
            self.multishot_ended(conn);
        }
        event
    }

    /// Does what waited for the end of a multishot accept.
    fn multishot_ended(&mut self, conn: ConnId) {
        self.close_if_due(conn);
        let Some(slot) = tenant(&mut self.slots, conn) else { return };
        let Some(listener) = &mut slot.listener else { return };
        match listener.ask {
            Ask::Cancelled => {
                listener.ask = Ask::Nothing;
                self.fail(conn, Lane::Recv, libc::ECANCELED, None);
            }
            Ask::Accept => self.accept(conn),
            Ask::Nothing => {}
        }
    }

    /// Answers an operation for a connection that is not the tenant of its slot: memory goes back.
    fn push_stale(&mut self, conn: ConnId, op: Op) {
        let lane = op.lane();
        match op {
            Op::Cancel => self.report(conn, lane, Event::Cancelled),
            Op::Close { .. } => self.report(conn, lane, Event::Closed),
            Op::Send(load) => self.fail(conn, lane, libc::EBADF, Some(load)),
            _ => self.fail(conn, lane, libc::EBADF, None),
        }
    }

    /// Takes events that are known, then completions, until `limit` events are there.
    fn collect(&mut self, chunks: &mut Chunks, events: &mut Vec<Completion>, limit: usize) {
        let room = (limit - events.len()).min(self.ready.len());
        events.extend(self.ready.drain(..room));
        let mut batch = std::mem::take(&mut self.batch);
        self.ring.take(limit - events.len(), &mut batch);
        for done in batch.drain(..) {
            events.extend(self.complete(done, chunks));
        }
        self.batch = batch;
        let room = (limit - events.len()).min(self.ready.len());
        events.extend(self.ready.drain(..room));
    }
}

/// The slot of a connection that is its tenant.
fn tenant(slots: &mut [Slot], conn: ConnId) -> Option<&mut Slot> {
    slots.get_mut(conn.index()).filter(|slot| slot.generation == conn.generation())
}

/// Gives a buffer of the pool to the kernel.
#[allow(unsafe_code)]
fn publish(ring: &mut BufferRing, number: u16, address: *mut u8) {
    // SAFETY: the pool lent the chunk and will not lend it again before the larder claims it, which
    // it does only when a completion has brought the number back. A worker that dies with
    // operations in flight leaks its pool. There are as many numbers as entries.
    unsafe { ring.publish(number, address, CHUNK_LEN) };
}

impl Engine for Uring {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn now(&self) -> Now {
        self.now
    }

    fn adopt(&mut self, conn: ConnId, handle: Handle) -> Result<Ends, i32> {
        let fd = socket::from_handle(handle);
        let ends = socket::ends(fd.as_fd())?;
        self.settle(conn, Some(fd));
        Ok(ends)
    }

    fn discard(&mut self, handle: Handle) {
        socket::close(socket::from_handle(handle), true);
    }

    fn clear_nodelay(&mut self, conn: ConnId) {
        if let Some(Slot { fd: Some(fd), .. }) = self.slot(conn) {
            socket::clear_nodelay(fd.as_fd());
        }
    }

    fn push(&mut self, conn: ConnId, op: Op, chunks: &mut Chunks) {
        if !matches!(op, Op::Connect(_)) && self.slot(conn).is_none() {
            return self.push_stale(conn, op);
        }
        match op {
            Op::Accept => self.accept(conn),
            Op::Connect(to) => self.connect(conn, &to),
            Op::Recv(want) => self.recv(conn, want, chunks),
            Op::Send(load) => self.send(conn, load, chunks),
            Op::Shutdown => self.shutdown(conn),
            Op::Cancel => self.cancel(conn),
            Op::Close { reset } => self.close(conn, reset, chunks),
        }
    }

    fn wait(&mut self, until: Option<Instant>, chunks: &mut Chunks, events: &mut Vec<Completion>) {
        let start = events.len();
        let limit = start + EVENTS_PER_TURN;
        self.pipes.take_home(chunks);
        loop {
            self.larder.stock(self.ring.buffers(), chunks);
            self.feed();
            let feeding = !self.hungry.is_empty() && self.larder.available() > 0;
            if feeding || !self.ready.is_empty() {
                self.enter(Patience::None);
            } else {
                self.enter_or_spin(until);
            }
            self.collect(chunks, events, limit);
            if events.len() > start || until.is_some_and(|until| clock::ns_until(until) == 0) {
                break;
            }
        }
        self.spinner.turned(events.len() > start);
        self.now = clock::now();
    }

    fn take_spins(&mut self) -> Spins {
        self.spinner.take()
    }

    fn chunks_lent(&self) -> usize {
        self.larder.available()
    }

    fn pipes_lent(&self) -> usize {
        self.pipes.lent()
    }
}

impl Drop for Uring {
    /// Takes everything back from the kernel; within a bound of time.
    fn drop(&mut self) {
        let until = clock::now().mono.plus_ms(JOIN_MS_MAX);
        self.ring.cancel_everything(NOBODY);
        let mut batch = Vec::new();
        while self.ring.in_flight() > 0 && clock::ns_until(until) > 0 {
            if self.ring.enter(Patience::Ns(clock::ns_until(until))).is_err() {
                break;
            }
            self.ring.take(EVENTS_PER_TURN, &mut batch);
            for done in batch.drain(..) {
                let listens = Token::unpack(done.bits)
                    .and_then(|(conn, lane)| Some((tenant(&mut self.slots, conn)?, lane)))
                    .is_some_and(|(slot, lane)| lane == Lane::Recv && slot.listener.is_some());
                if listens && done.result >= 0 {
                    socket::close(socket::own(done.result), true);
                }
            }
        }
        if self.ring.in_flight() > 0 {
            // The kernel may still read from loads and addresses, and look descriptors up: never
            // free them.
            std::mem::forget(std::mem::take(&mut self.slots));
            std::mem::forget(std::mem::replace(&mut self.pipes, Pipes::new()));
        }
        for completion in self.ready.drain(..) {
            if let Event::Accepted(handle) = completion.event {
                socket::close(socket::from_handle(handle), true);
            }
        }
    }
}
