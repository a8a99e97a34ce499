//! How the io_uring engine receives.
//!
//! A receive chooses its buffers when bytes are there, so an idle connection holds none. Where the
//! kernel can, one multishot receive serves many `Recv` operations of a tunnel: it fills several
//! buffers at once (a bundle), stops by itself after [`READ_AHEAD_BYTES`] in all, and what it
//! brings while nobody asks waits here, in one load. So what one connection can hold of the pool is
//! bounded by the kernel, without a cancel; the one cancel there is stops a sender of countless
//! small messages. Receives of heads and bodies are one-shot, into one buffer.
//!
//! While buffers are short, everybody gets one, and a receive that found none waits in a queue of
//! the hungry: only as many are tried again as there are buffers. Deliberately absent: what becomes
//! of the bytes.

use std::os::fd::AsFd;

use super::larder::Larder;
use super::{CHUNK_LEN, LARGE_CHUNK_LEN, NOBODY, Slot, Uring, tenant};
use crate::conn::{ConnId, Event, Lane, Load, Token, Want};
use crate::limits::{
    CHAIN_CHUNKS_MAX, CHUNK_BYTES, FULL_RECEIVES_MIN, READ_AHEAD_BYTES, WIDE_RECEIVES,
};
use crate::sys::ring::{Done, Ring};
use crate::worker::chunks::{Chunk, Chunks};

/// A bundle's size, as the kernel wants it.
#[allow(clippy::cast_possible_truncation, reason = "128 KB fit 32 bits")]
const BUNDLE_LEN: u32 = (CHAIN_CHUNKS_MAX * CHUNK_BYTES) as u32;

/// How much the kernel can receive with one operation.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Depth {
    /// One buffer, once (Linux 6.1).
    Single,
    /// Several buffers, once (6.10).
    Bundle,
    /// Several buffers, again and again, up to a sum of bytes (6.17).
    Multishot,
}

impl Depth {
    /// Finds out by asking: what the kernel does not know it refuses at once.
    pub(super) fn probe(ring: &mut Ring) -> Self {
        for (depth, total) in [(Self::Multishot, READ_AHEAD_BYTES), (Self::Bundle, 0)] {
            if ring.knows_bundles(BUNDLE_LEN, total, NOBODY) {
                return depth;
            }
        }
        Self::Single
    }
}

/// The receiving half of a connection.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// What the session waits for.
    pub(super) ask: Ask,
    /// `Close` was pushed and waits until the kernel is done with the socket: with a reset or not.
    /// Noted here because there is a byte to spare, which saves eight in each connection.
    pub(super) closing: Option<bool>,
    pub(super) armed: Armed,
    /// The last receive emptied the socket, so the next one should wait before it tries.
    pub(super) drained: bool,
    /// How many receives in a row have filled a chunk and left more.
    full: u8,
    /// For so many receives more it is offered several buffers.
    wide: u8,
    /// `Cancel` was pushed: a receive that finds no buffer must not go hungry any more.
    pub(super) cancelled: bool,
    /// What came while nobody asked.
    ahead: Option<Box<Ahead>>,
}

/// A [`Want`] as far as this engine knows the difference: one byte instead of twelve.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Ask {
    #[default]
    Nothing,
    /// One piece.
    Copy,
    /// As many pieces as come at once.
    Chain,
    /// In a pipe.
    Pipe,
    /// On to the connection's sink.
    Linked,
}

impl Ask {
    const fn of(want: Want) -> Self {
        match want {
            Want::Copy => Self::Copy,
            Want::Chain => Self::Chain,
            Want::Pipe => Self::Pipe,
            Want::Linked(_) => Self::Linked,
        }
    }
}

/// Two of them are a good part of what an idle tunnel costs.
const _: () = assert!(size_of::<Slot>() <= 80);

/// What the kernel does for a connection.
#[derive(Debug, Default)]
pub(super) enum Armed {
    #[default]
    Off,
    /// It receives once.
    Once,
    /// It receives once into a large chunk, which stays here.
    Large(Chunk),
    /// It receives again and again.
    Multishot,
    /// The multishot is being cancelled and has not reported its end.
    Ending,
    /// It polls, for a receive into a pipe.
    Watch,
    /// It splices, from here into a pipe and on.
    Linked,
    /// Nothing; the receive waits for a buffer in the queue of the hungry.
    Hungry,
}

/// Bytes that came before they were asked for, and what came behind them.
#[derive(Debug)]
pub(super) struct Ahead {
    load: Load,
    /// The end of the stream, or the errno that ended it.
    end: Option<Result<(), i32>>,
}

impl Input {
    /// Whether the kernel may still write or report for this connection.
    pub(super) const fn in_kernel(&self) -> bool {
        !matches!(self.armed, Armed::Off | Armed::Hungry)
    }

    /// The next event for whoever asks, from what came before.
    fn next_ahead(&mut self, chunks: &mut Chunks) -> Option<Event> {
        let ahead = self.ahead.as_mut()?;
        if !ahead.load.is_empty() {
            return Some(Event::Received(match self.ask {
                Ask::Copy => Load::Chunk(chunks.take_first(&mut ahead.load)?),
                _ => std::mem::replace(&mut ahead.load, Load::EMPTY),
            }));
        }
        ahead.end.take().map(ended)
    }
}

/// The event of a stream's end.
fn ended(end: Result<(), i32>) -> Event {
    match end {
        Ok(()) => Event::Received(Load::EMPTY),
        Err(errno) => Event::Failed { errno, load: None },
    }
}

impl Uring {
    /// Answers from what was read ahead, or makes sure that the kernel receives.
    pub(super) fn recv(&mut self, conn: ConnId, want: Want, chunks: &mut Chunks) {
        let Some(slot) = tenant(&mut self.slots, conn) else { return };
        slot.input.ask = Ask::of(want);
        slot.input.cancelled = false;
        if let Want::Linked(sink) = want {
            self.note_sink(conn, sink);
        }
        let Some(slot) = tenant(&mut self.slots, conn) else { return };
        if let Some(event) = slot.input.next_ahead(chunks) {
            slot.input.ask = Ask::Nothing;
            self.spare_ahead(conn);
            return self.report(conn, Lane::Recv, event);
        }
        if matches!(slot.input.armed, Armed::Off) {
            self.arm(conn, chunks);
        }
    }

    /// Lets the kernel do what brings the bytes in the way wished for.
    fn arm(&mut self, conn: ConnId, chunks: &mut Chunks) {
        if !self.arm_carrier(conn) {
            self.arm_copy(conn, chunks);
        }
    }

    /// Lets the kernel receive, unless others wait for a buffer already.
    pub(super) fn arm_copy(&mut self, conn: ConnId, chunks: &mut Chunks) {
        let Some(slot) = tenant(&mut self.slots, conn) else { return };
        let want = slot.input.ask;
        if want == Ask::Nothing {
            return;
        }
        if self.depth == Depth::Single
            && slot.input.full >= FULL_RECEIVES_MIN
            && let Some(chunk) = chunks.take_large()
        {
            return recv_large(&mut self.ring, conn, slot, chunk, chunks);
        }
        if !self.hungry.is_empty() {
            slot.input.armed = Armed::Hungry;
            return self.hungry.push_back(conn);
        }
        let Some(fd) = &slot.fd else { return };
        let (bits, drained) = (Token::new(conn, Lane::Recv).bits(), slot.input.drained);
        let single = want == Ask::Copy || self.larder.is_short();
        let burst = if slot.input.wide > 0 { BUNDLE_LEN } else { 0 };
        slot.input.armed = match self.depth {
            // Never poll first: when bytes and a reset were there before, the kernel (6.18) would
            // report the bytes, wait for news, and none would come.
            Depth::Multishot if !single => {
                self.ring.recv_bundle(fd.as_fd(), burst, READ_AHEAD_BYTES, false, bits);
                Armed::Multishot
            }
            Depth::Bundle if !single && burst > 0 => {
                self.ring.recv_bundle(fd.as_fd(), burst, 0, drained, bits);
                Armed::Once
            }
            _ => {
                self.ring.recv(fd.as_fd(), CHUNK_LEN, drained, bits);
                Armed::Once
            }
        };
    }

    /// Tries as many hungry receives again as there are buffers.
    pub(super) fn feed(&mut self) {
        for _ in 0..self.larder.available() {
            let Some(conn) = self.hungry.pop_front() else { return };
            let Some(slot) = tenant(&mut self.slots, conn) else { continue };
            let Some(fd) = &slot.fd else { continue };
            let bits = Token::new(conn, Lane::Recv).bits();
            self.ring.recv(fd.as_fd(), CHUNK_LEN, slot.input.drained, bits);
            slot.input.armed = Armed::Once;
        }
    }

    /// Finishes a receive that waits here; true if one in the kernel has to be cancelled there.
    pub(super) fn cancel_recv(&mut self, conn: ConnId) -> bool {
        let Some(slot) = tenant(&mut self.slots, conn) else { return false };
        slot.input.cancelled = true;
        match slot.input.armed {
            Armed::Off => false,
            Armed::Hungry => {
                (slot.input.armed, slot.input.ask) = (Armed::Off, Ask::Nothing);
                self.hungry.retain(|&other| other != conn);
                self.fail(conn, Lane::Recv, libc::ECANCELED, None);
                false
            }
            Armed::Multishot => {
                slot.input.armed = Armed::Ending;
                true
            }
            Armed::Linked => {
                self.cancel_link(conn);
                true
            }
            Armed::Once | Armed::Large(_) | Armed::Ending | Armed::Watch => true,
        }
    }

    /// Gives up what was read ahead; true if a multishot has to end before the socket may close.
    pub(super) fn close_recv(&mut self, conn: ConnId, chunks: &mut Chunks) -> bool {
        let Some(slot) = tenant(&mut self.slots, conn) else { return false };
        if let Some(ahead) = &mut slot.input.ahead {
            chunks.give_load(std::mem::replace(&mut ahead.load, Load::EMPTY));
            ahead.end = None;
        }
        if matches!(slot.input.armed, Armed::Multishot) {
            slot.input.armed = Armed::Ending;
            self.ring.cancel_bits(Token::new(conn, Lane::Recv).bits(), NOBODY);
        }
        let waits = slot.input.in_kernel();
        self.spare_ahead(conn);
        waits
    }

    /// A completion of a receive.
    pub(super) fn received(
        &mut self,
        conn: ConnId,
        done: Done,
        chunks: &mut Chunks,
    ) -> Option<Event> {
        let slot = tenant(&mut self.slots, conn)?;
        let input = &mut slot.input;
        if matches!(input.armed, Armed::Watch) {
            return self.watched(conn, done, chunks);
        }
        input.drained = !done.socket_nonempty();
        let full = !input.drained && usize::try_from(done.result).is_ok_and(|n| n >= CHUNK_BYTES);
        input.full = if full { input.full.saturating_add(1) } else { 0 };
        input.wide = if full { WIDE_RECEIVES } else { input.wide.saturating_sub(1) };
        let over = if done.more() { Armed::Multishot } else { std::mem::take(&mut input.armed) };
        let load = match over {
            Armed::Large(chunk) => filled(chunk, done, chunks),
            _ => provided(&mut self.larder, &mut self.ring, done, chunks),
        };
        let event = match -done.result {
            _ if !load.is_empty() => self.arrived(conn, load, chunks),
            libc::ENOBUFS => self.found_no_buffer(conn),
            // Our own cancel has ended it; whoever asked meanwhile is served anew.
            libc::ECANCELED if !input.cancelled => {
                self.arm(conn, chunks);
                None
            }
            libc::ECANCELED => self.ended(conn, Err(libc::ECANCELED)),
            errno if errno > 0 => self.ended(conn, Err(errno)),
            _ => self.ended(conn, Ok(())),
        };
        self.close_if_due(conn);
        event
    }

    /// Bytes came: for whoever asks, or to wait here. Nothing waits while somebody asks.
    fn arrived(&mut self, conn: ConnId, mut load: Load, chunks: &mut Chunks) -> Option<Event> {
        let slot = tenant(&mut self.slots, conn)?;
        if slot.input.closing.is_some() {
            chunks.give_load(load);
            return None;
        }
        let event = match std::mem::take(&mut slot.input.ask) {
            Ask::Nothing => None,
            Ask::Copy => chunks.take_first(&mut load).map(Load::Chunk).map(Event::Received),
            Ask::Chain | Ask::Pipe | Ask::Linked => return Some(Event::Received(load)),
        };
        if !load.is_empty() {
            let ahead = slot.input.ahead.get_or_insert_with(|| spare(&mut self.spares));
            while let Some(chunk) = chunks.take_first(&mut load) {
                chunks.append_or_copy(&mut ahead.load, chunk);
            }
            if ahead.load.pieces() >= CHAIN_CHUNKS_MAX
                && matches!(slot.input.armed, Armed::Multishot)
            {
                slot.input.armed = Armed::Ending;
                self.ring.cancel_bits(Token::new(conn, Lane::Recv).bits(), NOBODY);
            }
        }
        event
    }

    /// The stream is over, or the receive was cancelled.
    fn ended(&mut self, conn: ConnId, end: Result<(), i32>) -> Option<Event> {
        let input = &mut tenant(&mut self.slots, conn)?.input;
        if std::mem::take(&mut input.ask) != Ask::Nothing {
            return Some(ended(end));
        }
        // A cancel that finds nobody who asks was for something else.
        if end != Err(libc::ECANCELED) {
            let ahead = input.ahead.get_or_insert_with(|| spare(&mut self.spares));
            ahead.end = Some(end);
        }
        None
    }

    fn found_no_buffer(&mut self, conn: ConnId) -> Option<Event> {
        let input = &mut tenant(&mut self.slots, conn)?.input;
        if input.ask == Ask::Nothing {
            return None;
        }
        if input.cancelled {
            input.ask = Ask::Nothing;
            return Some(ended(Err(libc::ECANCELED)));
        }
        input.armed = Armed::Hungry;
        // There were bytes: the next try is made at once, before those who wait for theirs.
        input.drained = false;
        self.hungry.push_back(conn);
        None
    }

    /// Keeps the memory of a read-ahead that has nothing left for the next one.
    fn spare_ahead(&mut self, conn: ConnId) {
        let Some(slot) = tenant(&mut self.slots, conn) else { return };
        if let Some(ahead) = slot.input.ahead.take_if(|it| it.load.is_empty() && it.end.is_none()) {
            self.spares.push(ahead);
        }
    }
}

/// Memory for a read-ahead.
pub(super) fn spare_new() -> Box<Ahead> {
    Box::new(Ahead { load: Load::EMPTY, end: None })
}

#[allow(clippy::vec_box, reason = "the boxes move into slots, which are to stay small")]
fn spare(spares: &mut Vec<Box<Ahead>>) -> Box<Ahead> {
    spares.pop().unwrap_or_else(spare_new)
}

/// Receives into a large chunk what is known to be more than an ordinary one holds; that it finds
/// something is why a connection which waits never holds one.
#[allow(unsafe_code)]
fn recv_large(ring: &mut Ring, conn: ConnId, slot: &mut Slot, chunk: Chunk, chunks: &Chunks) {
    let Some(fd) = &slot.fd else { return };
    let (bits, address) = (Token::new(conn, Lane::Recv).bits(), chunks.address(chunk.id()));
    // SAFETY: the chunk stays in `armed`, where nobody touches it, until the completion; the engine
    // joins its operations before the slots go, and a worker whose operations did not join never
    // frees its pool.
    unsafe { ring.recv_into(fd.as_fd(), address, LARGE_CHUNK_LEN, bits) };
    slot.input.armed = Armed::Large(chunk);
}

/// What a receive into a large chunk brought; empty at the end or an error.
fn filled(mut chunk: Chunk, done: Done, chunks: &mut Chunks) -> Load {
    match usize::try_from(done.result) {
        Ok(len) if len > 0 => {
            chunk.truncate(len);
            Load::Chunk(chunk)
        }
        _ => {
            chunks.give(chunk);
            Load::EMPTY
        }
    }
}

/// What a receive into provided buffers brought; empty at the end or an error.
pub(super) fn provided(
    larder: &mut Larder,
    ring: &mut Ring,
    done: Done,
    chunks: &mut Chunks,
) -> Load {
    match (done.buffer(), usize::try_from(done.result)) {
        (Some(number), Ok(len)) if len > 0 => larder.consume(number, len, ring.buffers(), chunks),
        // The end of the stream, or an error: older kernels spend a buffer on it all the same.
        (Some(number), _) => {
            larder.restock(number, ring.buffers(), chunks);
            Load::EMPTY
        }
        (None, _) => Load::EMPTY,
    }
}
