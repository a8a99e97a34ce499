//! How the epoll engine copies bytes in.
//!
//! A receive takes its chunks for the moment in which it reads, and gives back those that it did
//! not fill. One chunk does for a stream of small messages; a stream that has filled one is offered
//! as many as a load may have, from what lies free, until it has been quiet for a while. Only the
//! first chunk may make the pool grow. Deliberately absent: pipes, and when to try.

use std::os::fd::AsFd;

use super::{Epoll, RecvLane, Step, Way, tenant};
use crate::conn::{ConnId, Event, Lane, Load};
use crate::limits::{CHAIN_CHUNKS_MAX, CHUNK_BYTES, CHUNKS_BASE, WIDE_RECEIVES};
use crate::sys::socket;
use crate::worker::chunks::{Chunk, Chunks};

impl Epoll {
    /// Reads into memory, or waits for an edge or for a chunk.
    pub(super) fn try_copy(&mut self, conn: ConnId, chunks: &mut Chunks) {
        let Some(slot) = tenant(&mut self.slots, conn) else { return };
        let (RecvLane::Recv(step, way), Some(fd)) = (&mut slot.recv, &slot.fd) else { return };
        let free = chunks.take_free();
        let grows = free.is_none();
        let grown = || (self.growth > 0).then(|| chunks.take()).flatten();
        let Some(first) = free.or_else(grown) else {
            *step = Step::Hungry;
            // What the system did not give once it will not give again in the same turn.
            self.growth = 0;
            return self.hungry.push_back(conn);
        };
        let offered = if *way == Way::Copy || slot.wide == 0 { 1 } else { CHAIN_CHUNKS_MAX };
        let space = &mut self.space;
        space.push(first);
        while space.len() < offered && chunks.free() > CHUNKS_BASE / 4 {
            space.extend(chunks.take_free());
        }
        let room = space.len() * CHUNK_BYTES;
        let outcome = match &mut space[..] {
            [one] => socket::recv(fd.as_fd(), chunks.bytes_mut(one)),
            several => {
                chunks.with_pieces_mut(several, |into| socket::recv_pieces(fd.as_fd(), into))
            }
        };
        let len = outcome.unwrap_or(0);
        slot.wide = if len >= CHUNK_BYTES { WIDE_RECEIVES } else { slot.wide.saturating_sub(1) };
        if len < room && !slot.input_lasts {
            slot.input = false;
        }
        let load = filled(space, len, chunks);
        let event = match outcome {
            Err(libc::EAGAIN) => return *step = Step::Parked,
            Err(errno) => Event::Failed { errno, load: None },
            Ok(0) => {
                // The end is there to stay, though its edge may still be on its way.
                (slot.input, slot.input_lasts) = (true, true);
                Event::Received(load)
            }
            Ok(_) => {
                self.growth -= usize::from(grows);
                Event::Received(load)
            }
        };
        slot.recv = RecvLane::Idle;
        self.report(conn, Lane::Recv, event);
    }
}

/// Makes a load of the chunks that hold the first `len` bytes; the others come home.
fn filled(space: &mut Vec<Chunk>, len: usize, chunks: &mut Chunks) -> Load {
    let (mut load, mut left) = (Load::EMPTY, len);
    for mut chunk in space.drain(..) {
        if left == 0 {
            chunks.give(chunk);
            continue;
        }
        chunk.truncate(left.min(CHUNK_BYTES));
        left -= chunk.len();
        chunks.append(&mut load, chunk);
    }
    load
}
