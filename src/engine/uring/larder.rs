//! The chunks that are provided to the kernel, by the numbers under which it knows them.
//!
//! Between `stock` and `consume` a chunk belongs to the kernel. The larder takes what lies free in
//! the pool; only when it is nearly empty does it make the pool grow, because that means that
//! blocked sends keep the base away.

use super::publish;
use crate::conn::Load;
use crate::sys::buffer_ring::BufferRing;
use crate::worker::chunks::Chunks;

/// Which chunk is provided under which number.
#[derive(Debug)]
pub(super) struct Larder {
    /// The chunk under each number; `None` where a number is free.
    chunks: Vec<Option<u32>>,
    vacant: Vec<u16>,
    /// Fewer provided chunks than this make the pool grow; from the pool's own size, once known.
    low: Option<usize>,
}

impl Larder {
    /// An empty larder for a ring of so many entries.
    pub(super) fn new(entries: u16) -> Self {
        Self { chunks: vec![None; entries.into()], vacant: (0..entries).rev().collect(), low: None }
    }

    /// How many chunks the kernel may choose from.
    pub(super) fn available(&self) -> usize {
        self.chunks.len() - self.vacant.len()
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
            publish(ring, number, pool.address(id));
        }
        if self.low.is_none() {
            self.low = Some((self.available() / 8).max(1));
        }
    }

    /// Takes a chunk back that the kernel filled with `len` bytes; `None` for a number that is not
    /// provided.
    pub(super) fn consume(&mut self, number: u16, len: usize, pool: &Chunks) -> Option<Load> {
        let id = self.chunks.get_mut(usize::from(number))?.take()?;
        self.vacant.push(number);
        Some(Load::Chunk(pool.claim(id, len)))
    }

    /// Provides a chunk again that came back without bytes in it.
    pub(super) fn restock(&self, number: u16, ring: &mut BufferRing, pool: &Chunks) {
        if let Some(&Some(id)) = self.chunks.get(usize::from(number)) {
            publish(ring, number, pool.address(id));
        }
    }
}
