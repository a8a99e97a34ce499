//! The epoll engine: completions made of readiness.
//!
//! An operation is tried; if it would block its lane parks; an edge queues the lane again; the
//! outcome is a completion. Readiness is known here and nowhere else. A receive holds a chunk only
//! while it reads, and a pipe only with bytes in it: an idle connection holds nothing, and a lane
//! that finds the pool empty waits in a queue of the hungry until chunks are home. Owns its
//! descriptors. `Want::Linked` is a pipe here.
//!
//! Deliberately absent: timeouts, retries, and any read-ahead.

mod receive;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll as Queue, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::Engine;
use super::pipes::{Filled, Pipes};
use super::probe::SetupError;
use super::spin::{Spinner, Spins};
use crate::clock::{Instant, Now};
use crate::config::model::Spin;
use crate::conn::{
    Completion, ConnId, ConnectTo, Ends, Event, Handle, Lane, Load, Op, Token, Want,
};
use crate::limits::{CHAIN_CHUNKS_MAX, EVENTS_PER_TURN, GROWTH_PER_TURN, OPS_PER_TURN};
use crate::sys::busy_poll;
use crate::sys::clock::{self, NS_PER_MS};
use crate::sys::eventfd::Bell;
use crate::sys::socket::{self, Progress};
use crate::worker::chunks::{Chunk, Chunks};

/// Edges that may mean input: bytes, the end of the stream, an error. Urgent data ends a read
/// early without emptying the socket, so it counts too.
const INPUT: EpollFlags = EpollFlags::EPOLLIN
    .union(EpollFlags::EPOLLRDHUP)
    .union(EpollFlags::EPOLLPRI)
    .union(EpollFlags::EPOLLHUP)
    .union(EpollFlags::EPOLLERR);

/// Edges after which a short read no longer proves that the socket is empty: what comes next may
/// be an end or an error, which makes no edge of its own.
const LASTING: EpollFlags = EpollFlags::EPOLLRDHUP
    .union(EpollFlags::EPOLLPRI)
    .union(EpollFlags::EPOLLHUP)
    .union(EpollFlags::EPOLLERR);

/// Edges that may mean room for output.
const OUTPUT: EpollFlags =
    EpollFlags::EPOLLOUT.union(EpollFlags::EPOLLHUP).union(EpollFlags::EPOLLERR);

/// Executes operations by trying them and waiting for edges.
#[derive(Debug)]
pub struct Epoll {
    queue: Queue,
    mailbox: Bell,
    slots: Vec<Slot>,
    connections_max: usize,
    /// Lanes to try in this turn; an entry whose lane is no longer queued is skipped.
    tries: VecDeque<(ConnId, Lane)>,
    /// Receives that found the pool empty, the longest waiting first.
    hungry: VecDeque<ConnId>,
    /// Chunks by which this turn may still make the pool grow.
    growth: usize,
    /// Outcomes known already.
    ready: VecDeque<Completion>,
    edges: Vec<EpollEvent>,
    spinner: Spinner,
    pipes: Pipes,
    /// The chunks that a receive is offered; empty between receives.
    space: Vec<Chunk>,
    now: Now,
}

/// A connection as this engine sees it.
#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    fd: Option<OwnedFd>,
    recv: RecvLane,
    send: SendLane,
    /// Where the operation in `send` stands; beside it, or it would take eight bytes there.
    send_step: Step,
    /// Whether a read may find something. Cleared by a read that emptied the socket, set by an
    /// edge: saves the read that would only say EAGAIN.
    input: bool,
    /// For so many reads more it is offered several chunks.
    wide: u8,
    /// `input` is never cleared again.
    input_lasts: bool,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Step {
    /// It is in `tries`.
    #[default]
    Queued,
    /// It waits for an edge.
    Parked,
    /// It waits for a chunk.
    Hungry,
}

#[derive(Debug, Default)]
enum RecvLane {
    #[default]
    Idle,
    Accept(Step),
    Recv(Step, Way),
}

/// A [`Want`] as far as this engine knows the difference: one byte instead of twelve.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Copy,
    Chain,
    Pipe,
}

impl Way {
    const fn of(want: Want) -> Self {
        match want {
            Want::Copy => Self::Copy,
            Want::Chain => Self::Chain,
            Want::Pipe | Want::Linked(_) => Self::Pipe,
        }
    }
}

#[derive(Debug, Default)]
enum SendLane {
    #[default]
    Idle,
    Connect(Box<ConnectTo>),
    Send(Load),
}

impl RecvLane {
    const fn step_mut(&mut self) -> Option<&mut Step> {
        match self {
            Self::Idle => None,
            Self::Accept(step) | Self::Recv(step, _) => Some(step),
        }
    }
}

impl Slot {
    fn step_mut(&mut self, lane: Lane) -> Option<&mut Step> {
        match lane {
            Lane::Recv => self.recv.step_mut(),
            Lane::Send if matches!(self.send, SendLane::Idle) => None,
            Lane::Send => Some(&mut self.send_step),
            Lane::Control => None,
        }
    }

    /// The operation would block: it waits for an edge.
    fn park_send(&mut self, send: SendLane) {
        (self.send, self.send_step) = (send, Step::Parked);
    }
}

/// Two of them are a good part of what an idle tunnel costs.
const _: () = assert!(size_of::<Slot>() <= 48);

impl Epoll {
    /// An engine with room for `connections_max` slots, woken by the eventfd `mailbox`.
    ///
    /// # Errors
    /// The system has no descriptor or memory for it.
    pub fn new(connections_max: usize, mailbox: BorrowedFd<'_>) -> Result<Self, SetupError> {
        Self::with_spin(connections_max, mailbox, Spin::Off)
    }

    /// The same, and it spins before it sleeps.
    ///
    /// # Errors
    /// The system has no descriptor or memory for it.
    pub fn with_spin(
        connections_max: usize,
        mailbox: BorrowedFd<'_>,
        spin: Spin,
    ) -> Result<Self, SetupError> {
        let queue = Queue::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|errno| SetupError::new("epoll_create1", errno as i32))?;
        let token = Token::new(ConnId::MAILBOX, Lane::Recv);
        let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, token.bits());
        let mailbox = Bell::of(mailbox).map_err(|errno| SetupError::new("dup", errno))?;
        queue.add(&mailbox, event).map_err(|errno| SetupError::new("epoll_ctl", errno as i32))?;
        Ok(Self {
            queue,
            mailbox,
            slots: Vec::new(),
            connections_max,
            // At most what was pushed for the turn, and both lanes of each edge.
            tries: VecDeque::with_capacity(OPS_PER_TURN + 2 * EVENTS_PER_TURN),
            hungry: VecDeque::with_capacity(connections_max),
            growth: GROWTH_PER_TURN,
            ready: VecDeque::with_capacity(EVENTS_PER_TURN),
            edges: vec![EpollEvent::empty(); EVENTS_PER_TURN],
            spinner: Spinner::new(spin),
            pipes: Pipes::new(),
            space: Vec::with_capacity(CHAIN_CHUNKS_MAX),
            now: clock::now(),
        })
    }

    /// Lets waits poll network cards as long as the engine spins, before they sleep.
    ///
    /// # Errors
    /// The kernel's errno; nothing is lost but a chance. ENOTTY before Linux 6.9.
    pub fn poll_cards(&self) -> Result<(), i32> {
        let time_us = self.spinner.time_us();
        time_us.map_or(Ok(()), |us| busy_poll::poll_cards(self.queue.0.as_fd(), us))
    }

    /// The slot of a connection that is its tenant.
    fn slot(&mut self, conn: ConnId) -> Option<&mut Slot> {
        tenant(&mut self.slots, conn)
    }

    /// Makes the connection the tenant of its slot.
    fn settle(&mut self, conn: ConnId, fd: Option<OwnedFd>, input: bool) {
        assert!(conn.index() < self.connections_max, "slot {} is out of bounds", conn.index());
        if self.slots.len() <= conn.index() {
            self.slots.resize_with(conn.index() + 1, Slot::default);
        }
        let slot = &mut self.slots[conn.index()];
        assert!(slot.fd.is_none(), "slot {} is taken", conn.index());
        *slot = Slot { generation: conn.generation(), fd, input, ..Slot::default() };
    }

    fn watch(&self, conn: ConnId, fd: BorrowedFd<'_>) -> Result<(), i32> {
        let flags = INPUT | OUTPUT | EpollFlags::EPOLLET;
        let token = Token::new(conn, Lane::Recv);
        self.queue.add(fd, EpollEvent::new(flags, token.bits())).map_err(|errno| errno as i32)
    }

    fn report(&mut self, conn: ConnId, lane: Lane, event: Event) {
        self.ready.push_back(Completion { conn, lane, event });
    }

    fn fail(&mut self, conn: ConnId, lane: Lane, errno: i32, load: Option<Load>) {
        self.report(conn, lane, Event::Failed { errno, load });
    }

    /// Finishes what is in flight: nothing of it is in the kernel, so this is done at once.
    fn cancel(&mut self, conn: ConnId) {
        let Some(slot) = self.slot(conn) else {
            return self.report(conn, Lane::Control, Event::Cancelled);
        };
        let recv = std::mem::take(&mut slot.recv);
        let send = std::mem::take(&mut slot.send);
        match recv {
            RecvLane::Idle => {}
            RecvLane::Accept(_) | RecvLane::Recv(..) => {
                self.fail(conn, Lane::Recv, libc::ECANCELED, None);
            }
        }
        match send {
            SendLane::Idle => {}
            SendLane::Connect(_) => self.fail(conn, Lane::Send, libc::ECANCELED, None),
            SendLane::Send(load) => self.fail(conn, Lane::Send, libc::ECANCELED, Some(load)),
        }
        if matches!(recv, RecvLane::Recv(Step::Hungry, _)) {
            self.hungry.retain(|&other| other != conn);
        }
        self.report(conn, Lane::Control, Event::Cancelled);
    }

    /// Tries what is queued, the hungry first, until `limit` events are there.
    fn run(&mut self, chunks: &mut Chunks, events: &mut Vec<Completion>, limit: usize) {
        loop {
            let room = limit - events.len();
            events.extend(self.ready.drain(..room.min(self.ready.len())));
            if events.len() == limit {
                return;
            }
            if (chunks.has_free() || (self.growth > 0 && chunks.has_any()))
                && let Some(conn) = self.hungry.pop_front()
            {
                self.try_recv(conn, chunks);
                continue;
            }
            let Some((conn, lane)) = self.tries.pop_front() else { return };
            let queued = self.slot(conn).and_then(|slot| slot.step_mut(lane).copied());
            if queued != Some(Step::Queued) {
                continue;
            }
            match lane {
                Lane::Recv => self.try_recv(conn, chunks),
                Lane::Send => self.try_send(conn, chunks),
                Lane::Control => {}
            }
        }
    }

    fn try_recv(&mut self, conn: ConnId, chunks: &mut Chunks) {
        if self.try_fill(conn) {
            return;
        }
        let Some(slot) = self.slot(conn) else { return };
        let Some(fd) = &slot.fd else { return };
        match &mut slot.recv {
            RecvLane::Idle => {}
            RecvLane::Accept(step) => match socket::accept(fd.as_fd()) {
                Err(libc::EAGAIN) => *step = Step::Parked,
                outcome => {
                    slot.recv = RecvLane::Idle;
                    match outcome {
                        Ok(client) => {
                            let handle = socket::into_handle(client);
                            self.report(conn, Lane::Recv, Event::Accepted(handle));
                        }
                        Err(errno) => self.fail(conn, Lane::Recv, errno, None),
                    }
                }
            },
            RecvLane::Recv(..) => self.try_copy(conn, chunks),
        }
    }

    /// Tries a receive that would like a pipe; false if its bytes are to be copied.
    fn try_fill(&mut self, conn: ConnId) -> bool {
        let Some(slot) = tenant(&mut self.slots, conn) else { return false };
        let (RecvLane::Recv(step, Way::Pipe), Some(fd)) = (&mut slot.recv, &slot.fd) else {
            return false;
        };
        // A short transfer does not prove that the socket is empty, so `input` stays as it is.
        let event = match self.pipes.fill(fd.as_fd()) {
            Ok(Filled::NoPipe) => return false,
            // An urgent byte stops a pipe for ever and a copy only once, so it is the copy that
            // decides on a socket that had one, or may have an end.
            Ok(Filled::Nothing) if slot.input_lasts => return false,
            Ok(Filled::Nothing) => {
                slot.input = false;
                *step = Step::Parked;
                return true;
            }
            Ok(Filled::Some(pipe)) => Event::Received(Load::Pipe(pipe)),
            Ok(Filled::End) => {
                // The end is there to stay, though its edge may still be on its way.
                (slot.input, slot.input_lasts) = (true, true);
                Event::Received(Load::EMPTY)
            }
            Err(errno) => Event::Failed { errno, load: None },
        };
        slot.recv = RecvLane::Idle;
        self.report(conn, Lane::Recv, event);
        true
    }

    fn try_send(&mut self, conn: ConnId, chunks: &mut Chunks) {
        let Some(slot) = tenant(&mut self.slots, conn) else { return };
        match std::mem::take(&mut slot.send) {
            SendLane::Idle => {}
            SendLane::Connect(to) => self.try_connect(conn, to),
            SendLane::Send(mut load) => {
                let Some(fd) = &slot.fd else {
                    return self.fail(conn, Lane::Send, libc::ENOTCONN, Some(load));
                };
                let outcome = match &load {
                    Load::Pipe(pipe) => self.pipes.drain(pipe, fd.as_fd()),
                    Load::Chain(_) => socket::send_pieces(fd.as_fd(), chunks.pieces(&load)),
                    load => socket::send(fd.as_fd(), chunks.load_bytes(load)),
                };
                match outcome {
                    Ok(count) => {
                        chunks.advance(&mut load, count);
                        let rest = self.pipes.after_send(load);
                        self.report(conn, Lane::Send, Event::Sent(rest));
                    }
                    Err(libc::EAGAIN) => slot.park_send(SendLane::Send(load)),
                    Err(errno) => self.fail(conn, Lane::Send, errno, Some(load)),
                }
            }
        }
    }

    /// Starts a connection, or asks how it went after an edge.
    fn try_connect(&mut self, conn: ConnId, to: Box<ConnectTo>) {
        let Some(slot) = self.slot(conn) else { return };
        let outcome = match &slot.fd {
            Some(fd) => socket::take_error(fd.as_fd()).map(|()| Progress::Done),
            None => self.start_connect(conn, &to),
        };
        match outcome {
            Ok(Progress::Done) => self.report(conn, Lane::Send, Event::Connected),
            Ok(Progress::Pending) => {
                if let Some(slot) = self.slot(conn) {
                    slot.park_send(SendLane::Connect(to));
                }
            }
            Err(errno) => self.fail(conn, Lane::Send, errno, None),
        }
    }

    fn start_connect(&mut self, conn: ConnId, to: &ConnectTo) -> Result<Progress, i32> {
        let addr = socket::sockaddr(&to.addr)?;
        let fd = socket::for_connecting(to)?;
        // Watched only now: before it connects, a socket reports a hang-up that means nothing.
        let progress = socket::connect(fd.as_fd(), &addr)?;
        self.watch(conn, fd.as_fd())?;
        if let Some(slot) = self.slot(conn) {
            slot.fd = Some(fd);
        }
        Ok(progress)
    }

    /// Looks for edges before a sleep; whether there were any.
    fn spin(&mut self, until: Option<Instant>) -> bool {
        // Taken out for the moment, because looking needs the rest of the engine.
        let mut spinner = self.spinner;
        let found = spinner.wants() && spinner.spin(until, || self.poll(EpollTimeout::ZERO) > 0);
        self.spinner = spinner;
        found
    }

    /// Asks the kernel for edges and queues the lanes they concern; returns how many there were.
    fn poll(&mut self, timeout: EpollTimeout) -> usize {
        let count = match self.queue.wait(&mut self.edges, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => panic!("epoll_wait cannot fail with {errno} on its own descriptor"),
        };
        for index in 0..count {
            let (flags, bits) = (self.edges[index].events(), self.edges[index].data());
            let Some((conn, _)) = Token::unpack(bits) else { continue };
            if conn == ConnId::MAILBOX {
                if self.mailbox.drain() {
                    self.report(conn, Lane::Recv, Event::Woken);
                }
                continue;
            }
            let Some(slot) = self.slot(conn) else { continue };
            slot.input |= flags.intersects(INPUT);
            slot.input_lasts |= flags.intersects(LASTING);
            for (lane, wanted) in [(Lane::Recv, INPUT), (Lane::Send, OUTPUT)] {
                if !flags.intersects(wanted) {
                    continue;
                }
                if let Some(slot) = self.slot(conn)
                    && let Some(step @ Step::Parked) = slot.step_mut(lane)
                {
                    *step = Step::Queued;
                    self.tries.push_back((conn, lane));
                }
            }
        }
        count
    }
}

/// The slot of a connection that is its tenant.
fn tenant(slots: &mut [Slot], conn: ConnId) -> Option<&mut Slot> {
    slots.get_mut(conn.index()).filter(|slot| slot.generation == conn.generation())
}

/// How long `epoll_wait` may take. Rounded up: a turn that ends before its deadline would only be
/// followed by an empty one.
fn timeout(until: Option<Instant>) -> EpollTimeout {
    let Some(until) = until else { return EpollTimeout::NONE };
    let ms = clock::ns_until(until).div_ceil(NS_PER_MS);
    EpollTimeout::try_from(i32::try_from(ms).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::ZERO)
}

impl Engine for Epoll {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn now(&self) -> Now {
        self.now
    }

    fn adopt(&mut self, conn: ConnId, handle: Handle) -> Result<Ends, i32> {
        let fd = socket::from_handle(handle);
        let ends = socket::ends(fd.as_fd())?;
        self.watch(conn, fd.as_fd())?;
        self.settle(conn, Some(fd), true);
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

    fn push(&mut self, conn: ConnId, op: Op, _chunks: &mut Chunks) {
        let lane = op.lane();
        if matches!(op, Op::Connect(_)) {
            self.settle(conn, None, false);
        }
        let Some(slot) = self.slot(conn) else { return self.push_stale(conn, op) };
        let step = match (&op, slot.input) {
            (Op::Recv(_), false) => Step::Parked,
            _ => Step::Queued,
        };
        match op {
            Op::Accept => slot.recv = RecvLane::Accept(step),
            Op::Recv(want) => slot.recv = RecvLane::Recv(step, Way::of(want)),
            Op::Connect(to) => (slot.send, slot.send_step) = (SendLane::Connect(to), step),
            Op::Send(load) => (slot.send, slot.send_step) = (SendLane::Send(load), step),
            Op::Shutdown => {
                let outcome = match &slot.fd {
                    Some(fd) => socket::shutdown_write(fd.as_fd()),
                    None => Err(libc::ENOTCONN),
                };
                return match outcome {
                    Ok(()) => self.report(conn, lane, Event::Shut),
                    Err(errno) => self.fail(conn, lane, errno, None),
                };
            }
            Op::Cancel => return self.cancel(conn),
            Op::Close { reset } => {
                if let Some(fd) = slot.fd.take() {
                    socket::close(fd, reset);
                }
                return self.report(conn, lane, Event::Closed);
            }
        }
        if step == Step::Queued {
            self.tries.push_back((conn, lane));
        }
    }

    fn wait(&mut self, until: Option<Instant>, chunks: &mut Chunks, events: &mut Vec<Completion>) {
        let start = events.len();
        let limit = start + EVENTS_PER_TURN;
        self.growth = GROWTH_PER_TURN;
        self.pipes.take_home(chunks);
        loop {
            self.run(chunks, events, limit);
            // The kernel is asked in every turn, or lanes that always succeed would starve the
            // others; it may block only if there is nothing to report.
            let idle = events.len() == start;
            if !(idle && self.spin(until)) {
                self.poll(if idle { timeout(until) } else { EpollTimeout::ZERO });
            }
            self.run(chunks, events, limit);
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

    fn pipes_lent(&self) -> usize {
        self.pipes.lent()
    }
}

impl Epoll {
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
}
