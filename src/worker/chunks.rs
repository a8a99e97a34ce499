//! The pool of receive buffers, and the promise that each comes home.
//!
//! A [`Chunk`] is a move-only claim on one buffer of [`CHUNK_BYTES`]; who holds the claim may read
//! and write the memory, so two holders never see each other's bytes. The pool has a fixed base,
//! and grows by single chunks while blocked sends keep the base away, up to a bound; grown memory
//! goes back to the system when its chunk comes home.
//!
//! Chunks that were filled together travel together, as a [`Chain`]: the pool keeps the links, so a
//! chain of any length is a few words and costs no memory of its own. Deliberately absent: who
//! waits for a chunk (the engine knows which lanes are hungry).

mod chain;

use crate::limits::{
    CHAIN_CHUNKS_MAX, CHUNK_BYTES, CHUNKS_BASE, CHUNKS_GROWN_LISTED, LARGE_CHUNK_BYTES,
    LARGE_CHUNKS, PIPES_MAX, READ_AHEAD_BYTES,
};
use crate::sys::buffers::Buffers;

use crate::conn::{Load, Pipe};

pub use chain::Chain;
use chain::Link;

/// A claim on the bytes `start..end` of one pooled buffer.
#[derive(Debug)]
pub struct Chunk {
    id: u32,
    start: u32,
    end: u32,
}

impl Chunk {
    /// The buffer's number: dense, stable while the claim lives; the base is `0..CHUNKS_BASE`.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// How many bytes are in the claimed range.
    #[must_use]
    pub const fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether the claimed range is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes `count` bytes off the front.
    ///
    /// # Panics
    /// If the range holds fewer.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "a chunk of {} bytes cannot lose {count}", self.len());
        self.start += u32::try_from(count).expect("a chunk is far smaller than 4 GB");
    }

    /// Keeps only the first `count` bytes of the range.
    ///
    /// # Panics
    /// If the range holds fewer.
    pub fn truncate(&mut self, count: usize) {
        assert!(count <= self.len(), "a chunk of {} bytes has no first {count}", self.len());
        self.end = self.start + u32::try_from(count).expect("a chunk is far smaller than 4 GB");
    }
}

/// One worker's pool.
#[derive(Debug)]
pub struct Chunks {
    buffers: Buffers,
    free: Vec<u32>,
    large: Option<Large>,
    /// Where the chunk that follows is, and which range of it counts; by number, for chunks that
    /// are in a chain.
    links: Vec<Link>,
    out: usize,
    max: usize,
    /// Pipes of loads that nobody wants any more, on their way to the engine that has them.
    unwanted: Vec<Pipe>,
}

/// A few larger buffers for bulk; their numbers have [`LARGE`] set.
#[derive(Debug)]
struct Large {
    buffers: Buffers,
    free: Vec<u32>,
}

/// The bit that tells a large buffer's number from a chunk's.
const LARGE: u32 = 1 << 31;

impl Chunks {
    /// The pool of a worker with so many connections: the base, and room for the longest load and
    /// what is read ahead of it for each of them. A connection is the sink of one pump, and a pump
    /// holds one load, so peers that do not read can tie up no more than that, and never keep the
    /// others from receiving. Engines lend long loads only while the base has room, so the pool
    /// comes near this bound only if all of them are chosen before it is felt.
    #[must_use]
    pub fn for_connections(count: usize) -> Self {
        // Messages of a little more than half a chunk do not share one, and what was read ahead
        // may be in hand while as much again is.
        let ahead = 4 * READ_AHEAD_BYTES as usize / CHUNK_BYTES;
        let max = CHUNKS_BASE + count * (CHAIN_CHUNKS_MAX + ahead);
        Self::new(CHUNKS_BASE, max).with_large(LARGE_CHUNKS)
    }

    /// A pool of `base` chunks that may grow to `max`.
    ///
    /// # Panics
    /// If `base` is zero, `max` is smaller, or the system refuses the memory for the base.
    #[must_use]
    pub fn new(base: usize, max: usize) -> Self {
        assert!(base > 0 && base <= max, "a pool of {base} to {max} chunks");
        let grown = (max - base).min(CHUNKS_GROWN_LISTED);
        let buffers = Buffers::new(base, CHUNK_BYTES, grown);
        let mut links = Vec::with_capacity(base + grown);
        links.resize(base, Link::NONE);
        let count = u32::try_from(base).expect("chunk counts fit 32 bits");
        Self {
            buffers,
            free: (0..count).rev().collect(),
            large: None,
            links,
            out: 0,
            max,
            unwanted: Vec::with_capacity(PIPES_MAX),
        }
    }

    /// The same with `count` large buffers, at least one.
    #[must_use]
    pub fn with_large(mut self, count: usize) -> Self {
        let numbers = u32::try_from(count).expect("chunk counts fit 32 bits");
        let buffers = Buffers::new(count, LARGE_CHUNK_BYTES, 0);
        self.large =
            Some(Large { buffers, free: (0..numbers).rev().map(|id| id | LARGE).collect() });
        self
    }

    /// Makes the system give the base its memory now, for an engine that walks through all of it.
    pub fn populate(&self) {
        self.buffers.populate();
    }

    /// Lends a large buffer, if one is free.
    #[allow(clippy::cast_possible_truncation, reason = "a chunk is far smaller than 4 GB")]
    pub fn take_large(&mut self) -> Option<Chunk> {
        let id = self.large.as_mut()?.free.pop()?;
        self.out += 1;
        Some(Chunk { id, start: 0, end: LARGE_CHUNK_BYTES as u32 })
    }

    /// Lends a chunk whose range is the whole buffer; grows the pool if it must and may.
    pub fn take(&mut self) -> Option<Chunk> {
        self.take_free().or_else(|| {
            if self.buffers.live() >= self.max {
                return None;
            }
            let id = self.buffers.grow()?;
            self.out += 1;
            Some(Self::whole(id))
        })
    }

    /// Lends a chunk that lies free already; never grows.
    pub fn take_free(&mut self) -> Option<Chunk> {
        let id = self.free.pop()?;
        self.out += 1;
        Some(Self::whole(id))
    }

    /// Takes a chunk home.
    pub fn give(&mut self, chunk: Chunk) {
        debug_assert!(self.out > 0, "chunk {} came home twice", chunk.id);
        self.out -= 1;
        if let Some(large) = self.large.as_mut().filter(|_| chunk.id & LARGE != 0) {
            large.free.push(chunk.id);
        } else if self.buffers.is_base(chunk.id) {
            self.free.push(chunk.id);
        } else {
            self.buffers.shrink(chunk.id);
        }
    }

    /// Takes whatever pooled memory a load holds home. A pipe waits here for its engine, which has
    /// the descriptors.
    pub fn give_load(&mut self, load: Load) {
        match load {
            Load::Chunk(chunk) => self.give(chunk),
            Load::Chain(mut chain) => {
                while let Some(chunk) = self.unchain(&mut chain) {
                    self.give(chunk);
                }
            }
            Load::Bytes { .. } => {}
            Load::Pipe(pipe) => self.unwanted.push(pipe),
        }
    }

    /// The next pipe that came home here; only for the engine that lent it.
    pub fn take_unwanted(&mut self) -> Option<Pipe> {
        self.unwanted.pop()
    }

    /// The bytes of the claimed range.
    #[must_use]
    pub fn bytes(&self, chunk: &Chunk) -> &[u8] {
        let bytes = match &self.large {
            Some(large) if chunk.id & LARGE != 0 => large.buffers.bytes(chunk.id & !LARGE),
            _ => self.buffers.bytes(chunk.id),
        };
        &bytes[chunk.start as usize..chunk.end as usize]
    }

    /// The bytes of the claimed range, to write.
    #[must_use]
    pub fn bytes_mut(&mut self, chunk: &mut Chunk) -> &mut [u8] {
        let bytes = match &mut self.large {
            Some(large) if chunk.id & LARGE != 0 => large.buffers.bytes_mut(chunk.id & !LARGE),
            _ => self.buffers.bytes_mut(chunk.id),
        };
        &mut bytes[chunk.start as usize..chunk.end as usize]
    }

    /// The bytes of a load in one piece, wherever they are.
    ///
    /// # Panics
    /// If they are in a chain, which brings them in [`pieces`](Self::pieces), or in a pipe. Only
    /// who asks for one gets one.
    #[must_use]
    pub fn load_bytes<'a>(&'a self, load: &'a Load) -> &'a [u8] {
        match load {
            Load::Chunk(chunk) => self.bytes(chunk),
            Load::Chain(_) => panic!("a chain is in several pieces"),
            Load::Bytes { bytes, start } => &bytes[*start..],
            Load::Pipe(pipe) => panic!("the bytes of {pipe:?} are in no memory of ours"),
        }
    }

    /// Where the buffer of a chunk begins, for an engine that lends it to the kernel.
    #[must_use]
    pub fn address(&self, id: u32) -> *mut u8 {
        match &self.large {
            Some(large) if id & LARGE != 0 => large.buffers.address(id & !LARGE),
            _ => self.buffers.address(id),
        }
    }

    /// Names a chunk again that went to the kernel as a number: the kernel's claim ends here.
    ///
    /// Only for an engine, and only once for each number it got from [`id_of`](Self::id_of).
    #[must_use]
    pub fn claim(&self, id: u32, len: usize) -> Chunk {
        debug_assert!(len <= CHUNK_BYTES);
        let mut chunk = Self::whole(id);
        chunk.truncate(len);
        chunk
    }

    /// Turns a claim into a number, for an engine that lends the buffer to the kernel.
    #[must_use]
    pub fn id_of(chunk: Chunk) -> u32 {
        chunk.id
    }

    /// How many chunks lie free already.
    #[must_use]
    pub const fn free(&self) -> usize {
        self.free.len()
    }

    /// Whether a chunk lies free already.
    #[must_use]
    pub const fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether a chunk could be lent now.
    #[must_use]
    pub fn has_any(&self) -> bool {
        !self.free.is_empty() || self.buffers.live() < self.max
    }

    /// How many chunks are lent at the moment, to sessions and to the kernel.
    #[must_use]
    pub const fn out(&self) -> usize {
        self.out
    }

    #[allow(clippy::cast_possible_truncation, reason = "a chunk is far smaller than 4 GB")]
    const fn whole(id: u32) -> Chunk {
        Chunk { id, start: 0, end: CHUNK_BYTES as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_grows_to_its_bound_and_shrinks_back() {
        let mut pool = Chunks::new(2, 4);
        let mut lent: Vec<Chunk> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((lent.len(), pool.out()), (4, 4));
        for (n, chunk) in lent.iter_mut().enumerate() {
            pool.bytes_mut(chunk).fill(u8::try_from(n).unwrap());
        }
        for (n, chunk) in lent.iter().enumerate() {
            let filled = u8::try_from(n).unwrap();
            assert!(pool.bytes(chunk).iter().all(|&b| b == filled));
        }
        assert!(!pool.has_any());
        lent.drain(..).for_each(|chunk| pool.give(chunk));
        assert_eq!((pool.out(), pool.buffers.live()), (0, 2));
        assert!(pool.take_free().is_some() && pool.take_free().is_some());
        assert!(pool.take_free().is_none());
    }

    #[test]
    fn large_chunks_are_few_and_apart() {
        let mut pool = Chunks::new(1, 1).with_large(2);
        let mut small = pool.take().unwrap();
        let mut large: Vec<Chunk> = std::iter::from_fn(|| pool.take_large()).collect();
        assert_eq!((large.len(), large[0].len(), pool.out()), (2, LARGE_CHUNK_BYTES, 3));
        pool.bytes_mut(&mut small).fill(1);
        pool.bytes_mut(&mut large[0]).fill(2);
        pool.bytes_mut(&mut large[1]).fill(3);
        for (chunk, value) in [(&small, 1), (&large[0], 2), (&large[1], 3)] {
            assert!(pool.bytes(chunk).iter().all(|&b| b == value));
        }
        large.drain(..).for_each(|chunk| pool.give(chunk));
        pool.give(small);
        assert_eq!(pool.out(), 0);
        assert!(pool.take_large().is_some());
    }

    #[test]
    fn a_range_loses_its_front_and_its_back() {
        let mut pool = Chunks::new(1, 1);
        let mut chunk = pool.take().unwrap();
        pool.bytes_mut(&mut chunk)[..5].copy_from_slice(b"abcde");
        chunk.truncate(5);
        chunk.advance(2);
        assert_eq!(pool.bytes(&chunk), b"cde");
    }
}
