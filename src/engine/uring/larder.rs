//! The chunks that are provided to the kernel, by the numbers under which it knows them.
//!
//! Between `stock` and `consume` a chunk belongs to the kernel. A bundle fills buffers in the order
//! in which they were provided and names the first, so the larder remembers what followed what. It
//! takes what lies free in the pool; only when it is nearly empty does it make the pool grow,
//! because that means that blocked sends keep the base away.

use super::publish;
use crate::conn::Load;
use crate::limits::CHUNK_BYTES;
use crate::sys::buffer_ring::BufferRing;
use crate::worker::chunks::Chunks;

/// Which chunk is provided under which number.
#[derive(Debug)]
pub(super) struct Larder {
    /// The chunk under each number; `None` where a number is free.
    chunks: Vec<Option<u32>>,
    vacant: Vec<u16>,
    /// The number that was provided after each. It stays true until that one is provided again,
    /// which is after its completion.
    next: Vec<u16>,
    /// Where in the ring each is provided. A position is used again after as many publications as
    /// there are numbers, which is after its completion.
    position: Vec<u16>,
    /// The number provided last.
    last: u16,
    /// Fewer provided chunks than this make the pool grow; from the pool's own size, once known.
    low: Option<usize>,
}

impl Larder {
    /// An empty larder for a ring of so many entries.
    pub(super) fn new(entries: u16) -> Self {
        Self {
            chunks: vec![None; entries.into()],
            vacant: (0..entries).rev().collect(),
            next: vec![0; entries.into()],
            position: vec![0; entries.into()],
            last: 0,
            low: None,
        }
    }

    /// How many chunks the kernel may choose from.
    pub(super) fn available(&self) -> usize {
        self.chunks.len() - self.vacant.len()
    }

    /// Whether so few are left that nobody should take several at once.
    pub(super) fn is_short(&self) -> bool {
        self.available() < self.chunks.len() / 16
    }

    /// Provides what the pool can spare.
    pub(super) fn stock(&mut self, ring: &mut BufferRing, pool: &mut Chunks) {
        if self.low.is_none() {
            // The kernel walks through the ring in order, so every chunk is touched before long.
            pool.populate();
        }
        while !self.vacant.is_empty() {
            let chunk = match (pool.take_free(), self.low) {
                (Some(chunk), _) => chunk,
                (None, Some(low)) if self.available() < low => match pool.take() {
                    Some(chunk) => chunk,
                    None => break,
                },
                (None, _) => break,
            };
            let id = Chunks::id_of(chunk);
            let number = self.vacant.pop().expect("not empty, as the loop says");
            self.chunks[usize::from(number)] = Some(id);
            self.provide(number, ring, pool.address(id));
        }
        if self.low.is_none() {
            self.low = Some((self.available() / 8).max(1));
        }
    }

    /// Takes back what the kernel filled with `len` bytes, more than none: the chunk under this
    /// number and as many of those provided after it as the bytes need. Empty for a number that is
    /// not provided.
    pub(super) fn consume(
        &mut self,
        number: u16,
        len: usize,
        ring: &BufferRing,
        pool: &mut Chunks,
    ) -> Load {
        let (mut number, mut left, mut load) = (number, len, Load::EMPTY);
        while left > 0 {
            let chunk = self.chunks.get_mut(usize::from(number)).and_then(Option::take);
            debug_assert!(chunk.is_some(), "buffer {number} is not provided, {left} bytes left");
            let Some(id) = chunk else { break };
            self.vacant.push(number);
            // The kernel may have shortened it, and then went on in the next.
            let here = left.min(ring.len_at(self.position[usize::from(number)])).min(CHUNK_BYTES);
            let chunk = pool.claim(id, here);
            pool.append(&mut load, chunk);
            left -= here;
            number = self.next[usize::from(number)];
        }
        load
    }

    /// Provides a chunk again that came back without bytes in it.
    pub(super) fn restock(&mut self, number: u16, ring: &mut BufferRing, pool: &Chunks) {
        if let Some(&Some(id)) = self.chunks.get(usize::from(number)) {
            self.provide(number, ring, pool.address(id));
        }
    }

    fn provide(&mut self, number: u16, ring: &mut BufferRing, address: *mut u8) {
        self.next[usize::from(self.last)] = number;
        self.last = number;
        self.position[usize::from(number)] = ring.position();
        publish(ring, number, address);
    }
}
