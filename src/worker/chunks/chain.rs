//! Several chunks in order, as one load.
//!
//! A chain is its two ends and its length; the links between are the pool's, found by the chunks'
//! numbers. Whoever holds the chain holds the claims on all of its chunks.

use std::io::IoSliceMut;

use super::{Chunk, Chunks, LARGE};
use crate::conn::Load;
use crate::limits::CHAIN_CHUNKS_MAX;

/// Two chunks or more, with bytes in each.
#[derive(Debug)]
pub struct Chain {
    first: u32,
    last: u32,
    /// Bytes in all of them.
    len: u32,
    chunks: u32,
}

impl Chain {
    /// How many bytes are in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether nothing is left: true for a chain that was taken apart.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many chunks it has.
    #[must_use]
    pub const fn pieces(&self) -> usize {
        self.chunks as usize
    }
}

/// The range of a chunk in a chain, and the chunk that follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    next: u32,
    start: u32,
    end: u32,
}

impl Link {
    /// Of a chunk that is in no chain.
    pub(super) const NONE: Self = Self { next: u32::MAX, start: 0, end: 0 };
}

impl Chunks {
    /// Puts a chunk behind the bytes of a load, which is a chunk, a chain, or empty.
    ///
    /// # Panics
    /// If the load holds bytes of its own.
    pub fn append(&mut self, load: &mut Load, chunk: Chunk) {
        let chain = match std::mem::replace(load, Load::EMPTY) {
            Load::Chunk(first) => {
                let mut chain = Chain { first: first.id, last: first.id, len: 0, chunks: 0 };
                self.put_last(&mut chain, first);
                self.put_last(&mut chain, chunk);
                chain
            }
            Load::Chain(mut chain) => {
                self.put_last(&mut chain, chunk);
                chain
            }
            empty => {
                assert!(empty.is_empty(), "own bytes cannot be chained");
                return *load = Load::Chunk(chunk);
            }
        };
        *load = Load::Chain(chain);
    }

    /// The same, but a chunk with few bytes is copied into room behind the load's last one and
    /// comes home at once.
    pub fn append_or_copy(&mut self, load: &mut Load, chunk: Chunk) {
        let last = match load {
            Load::Chunk(last) => (last.id, last.end),
            Load::Chain(chain) => (chain.last, self.links[chain.last as usize].end),
            Load::Bytes { .. } | Load::Pipe(_) => return self.append(load, chunk),
        };
        if !self.copy_behind(last, &chunk) {
            return self.append(load, chunk);
        }
        let added = chunk.end - chunk.start;
        match load {
            Load::Chunk(last) => last.end += added,
            Load::Chain(chain) => {
                self.links[chain.last as usize].end += added;
                chain.len += added;
            }
            Load::Bytes { .. } | Load::Pipe(_) => {}
        }
        self.give(chunk);
    }

    /// Takes the first chunk off a load; `None` if there is none. A chain that has one chunk left
    /// becomes that chunk.
    pub fn take_first(&mut self, load: &mut Load) -> Option<Chunk> {
        let (taken, rest) = match std::mem::replace(load, Load::EMPTY) {
            Load::Chunk(chunk) => (Some(chunk), Load::EMPTY),
            Load::Chain(mut chain) => {
                let taken = self.unchain(&mut chain);
                (taken, self.simplest(chain))
            }
            bytes => (None, bytes),
        };
        *load = rest;
        taken
    }

    /// Takes `count` bytes off the front of a load: they are written. Chunks that are written whole
    /// come home.
    ///
    /// # Panics
    /// If the load holds fewer.
    pub fn advance(&mut self, load: &mut Load, count: usize) {
        let Load::Chain(chain) = load else { return load.advance(count) };
        assert!(count <= chain.len(), "a chain of {} bytes cannot lose {count}", chain.len());
        let mut left = count;
        while left > 0 {
            let first = &mut self.links[chain.first as usize];
            let here = (first.end - first.start) as usize;
            if left < here {
                let part = u32::try_from(left).expect("a chunk is far smaller than 4 GB");
                first.start += part;
                chain.len -= part;
                break;
            }
            left -= here;
            if let Some(written) = self.unchain(chain) {
                self.give(written);
            }
        }
        if let Load::Chain(chain) = std::mem::replace(load, Load::EMPTY) {
            *load = self.simplest(chain);
        }
    }

    /// The pieces of memory in which a load's bytes lie, in order; none of them is empty.
    pub fn pieces<'a>(&'a self, load: &'a Load) -> impl Iterator<Item = &'a [u8]> {
        let (whole, chain) = match load {
            Load::Chain(chain) => (None, Some(chain)),
            other => (Some(self.load_bytes(other)), None),
        };
        let (mut id, mut left) = chain.map_or((0, 0), |chain| (chain.first, chain.chunks));
        let chained = std::iter::from_fn(move || {
            left = u32::checked_sub(left, 1)?;
            let link = self.links[id as usize];
            let chunk = Chunk { id, start: link.start, end: link.end };
            id = link.next;
            Some(self.bytes(&chunk))
        });
        whole.into_iter().filter(|bytes| !bytes.is_empty()).chain(chained)
    }

    /// Lends the memory of several chunks at once, to be filled in order.
    ///
    /// # Panics
    /// If there are more than a load may have.
    pub fn with_pieces_mut<T>(
        &mut self,
        several: &mut [Chunk],
        fill: impl FnOnce(&mut [IoSliceMut<'_>]) -> T,
    ) -> T {
        let mut ids = [0; CHAIN_CHUNKS_MAX];
        for (id, chunk) in ids[..several.len()].iter_mut().zip(several.iter()) {
            *id = chunk.id;
        }
        let mut pieces: [_; CHAIN_CHUNKS_MAX] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
        let pieces = &mut pieces[..several.len()];
        self.buffers.lend_several(&ids[..several.len()], pieces);
        fill(pieces)
    }

    /// Takes the first chunk off a chain, which may become empty.
    pub(super) fn unchain(&mut self, chain: &mut Chain) -> Option<Chunk> {
        chain.chunks = chain.chunks.checked_sub(1)?;
        let id = chain.first;
        let link = std::mem::replace(&mut self.links[id as usize], Link::NONE);
        chain.first = link.next;
        chain.len -= link.end - link.start;
        Some(Chunk { id, start: link.start, end: link.end })
    }

    fn put_last(&mut self, chain: &mut Chain, chunk: Chunk) {
        assert!(chunk.id & LARGE == 0, "a large chunk travels alone");
        let index = chunk.id as usize;
        if self.links.len() <= index {
            // The pool has grown; it keeps this memory for the next time.
            self.links.resize(index + 1, Link::NONE);
        }
        self.links[index] = Link { next: u32::MAX, start: chunk.start, end: chunk.end };
        if chain.chunks > 0 {
            self.links[chain.last as usize].next = chunk.id;
        }
        chain.last = chunk.id;
        chain.chunks += 1;
        chain.len += chunk.end - chunk.start;
    }

    /// A chain of one chunk is that chunk, one of none is nothing.
    fn simplest(&mut self, mut chain: Chain) -> Load {
        match chain.chunks {
            0 => Load::EMPTY,
            1 => self.unchain(&mut chain).map_or(Load::EMPTY, Load::Chunk),
            _ => Load::Chain(chain),
        }
    }

    /// Copies a chunk's bytes behind those of another, if they are few and there is room.
    fn copy_behind(&mut self, (last, end): (u32, u32), chunk: &Chunk) -> bool {
        let (from, len, at) = (chunk.start as usize, chunk.len(), end as usize);
        let fits = last & LARGE == 0 && chunk.id & LARGE == 0;
        fits && self.buffers.copy_between(chunk.id, from, last, at, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CHUNK_BYTES;

    fn filled(pool: &mut Chunks, text: &[u8]) -> Chunk {
        let mut chunk = pool.take().unwrap();
        pool.bytes_mut(&mut chunk)[..text.len()].copy_from_slice(text);
        chunk.truncate(text.len());
        chunk
    }

    fn text(pool: &Chunks, load: &Load) -> String {
        pool.pieces(load).map(|piece| std::str::from_utf8(piece).unwrap()).collect()
    }

    fn chain(pool: &mut Chunks, parts: &[&str]) -> Load {
        let mut load = Load::EMPTY;
        for part in parts {
            let chunk = filled(pool, part.as_bytes());
            pool.append(&mut load, chunk);
        }
        load
    }

    #[test]
    fn a_chain_is_its_pieces_in_order_and_all_of_it_comes_home() {
        // A base of one: the others are grown, so the links grow too.
        let mut pool = Chunks::new(1, 8);
        let mut load = chain(&mut pool, &["ab", "c", "def"]);
        assert_eq!((load.len(), text(&pool, &load)), (6, "abcdef".to_owned()));
        assert_eq!(pool.pieces(&load).count(), 3);
        let first = pool.take_first(&mut load).unwrap();
        assert_eq!((pool.bytes(&first), load.len()), (&b"ab"[..], 4));
        pool.give(first);
        pool.give_load(load);
        assert_eq!(pool.out(), 0);
    }

    #[test]
    fn what_is_written_comes_home_from_the_front() {
        for count in 0..=6 {
            let mut pool = Chunks::new(4, 4);
            let mut load = chain(&mut pool, &["ab", "c", "def"]);
            pool.advance(&mut load, count);
            assert_eq!(text(&pool, &load), "abcdef"[count..]);
            let held = [3, 3, 2, 1, 1, 1, 0][count];
            assert_eq!(pool.out(), held, "after {count} bytes");
            assert_eq!(matches!(load, Load::Chain(_)), held > 1);
            pool.give_load(load);
            assert_eq!(pool.out(), 0);
        }
    }

    #[test]
    fn few_bytes_are_copied_and_many_are_chained() {
        let mut pool = Chunks::new(4, 4);
        let mut load = chain(&mut pool, &["ab"]);
        let more = filled(&mut pool, b"cd");
        pool.append_or_copy(&mut load, more);
        assert_eq!((text(&pool, &load), pool.out()), ("abcd".to_owned(), 1));
        let full = filled(&mut pool, &[b'x'; CHUNK_BYTES]);
        pool.append_or_copy(&mut load, full);
        assert_eq!((load.len(), pool.out()), (4 + CHUNK_BYTES, 2));
        let last = filled(&mut pool, b"y");
        pool.append_or_copy(&mut load, last);
        assert_eq!((load.len(), pool.out()), (5 + CHUNK_BYTES, 3));
        let into_the_last = filled(&mut pool, b"z");
        pool.append_or_copy(&mut load, into_the_last);
        assert_eq!((load.len(), pool.out()), (6 + CHUNK_BYTES, 3));
        assert!(text(&pool, &load).ends_with("xyz"));
        pool.give_load(load);
        assert_eq!(pool.out(), 0);
    }
}
