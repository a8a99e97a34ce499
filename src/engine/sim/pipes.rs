//! The simulated kernel's pipes: the bytes in each, and who has it.
//!
//! The referee of pipes: a claim that is used twice, or that does not match what is in its pipe, is
//! stopped by a panic. A pipe that was emptied is used again under its number; one that nobody
//! wanted is gone for good.

use std::collections::{BTreeMap, VecDeque};

use crate::conn::Pipe;
use crate::worker::chunks::Chunks;

/// Who has a pipe with bytes in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Holder {
    Operation,
    Worker,
}

/// A pipe that is out.
#[derive(Debug)]
struct Lent {
    bytes: VecDeque<u8>,
    holder: Holder,
}

/// All pipes of the simulated engine.
#[derive(Debug, Default)]
pub(super) struct PipeTable {
    lent: BTreeMap<u32, Lent>,
    free: Vec<u32>,
    made: u32,
}

impl PipeTable {
    /// How many are out.
    pub(super) fn lent(&self) -> usize {
        self.lent.len()
    }

    /// Fills a pipe for an operation.
    pub(super) fn fill(&mut self, bytes: Vec<u8>) -> Pipe {
        assert!(!bytes.is_empty(), "sim: an empty pipe is lent");
        let number = self.free.pop().unwrap_or_else(|| {
            self.made += 1;
            self.made
        });
        let pipe = Pipe::new(number, bytes.len());
        let lent = Lent { bytes: bytes.into(), holder: Holder::Operation };
        let earlier = self.lent.insert(number, lent);
        assert!(earlier.is_none(), "sim: {pipe:?} is filled while it holds {earlier:?}");
        pipe
    }

    /// The worker has pushed it with an operation.
    pub(super) fn take(&mut self, pipe: &Pipe) {
        self.pass(pipe, Holder::Worker, Holder::Operation);
    }

    /// An event brings it to the worker.
    pub(super) fn give(&mut self, pipe: &Pipe) {
        self.pass(pipe, Holder::Operation, Holder::Worker);
    }

    /// What is in it.
    pub(super) fn bytes(&self, pipe: &Pipe) -> Vec<u8> {
        self.lent[&pipe.number()].bytes.iter().copied().collect()
    }

    /// Takes `count` bytes off the front; the claim loses them, too, at its owner's.
    pub(super) fn consume(&mut self, pipe: &Pipe, count: usize) {
        let lent = self.lent.get_mut(&pipe.number()).expect("an operation has it");
        lent.bytes.drain(..count);
    }

    /// An operation has emptied it.
    pub(super) fn empty(&mut self, pipe: &Pipe) {
        let lent = self.lent.remove(&pipe.number());
        assert!(
            lent.as_ref().is_some_and(|lent| lent.bytes.is_empty()),
            "sim: {pipe:?} is pooled with {lent:?}"
        );
        self.free.push(pipe.number());
    }

    /// Nobody wants their bytes any more.
    pub(super) fn take_home(&mut self, chunks: &mut Chunks) {
        while let Some(pipe) = chunks.take_unwanted() {
            self.take(&pipe);
            self.lent.remove(&pipe.number());
        }
    }

    fn pass(&mut self, pipe: &Pipe, from: Holder, to: Holder) {
        let lent = self.lent.get_mut(&pipe.number());
        let lent = lent.unwrap_or_else(|| panic!("sim: {pipe:?} is not lent to anybody"));
        assert_eq!(lent.holder, from, "sim: {pipe:?} is somewhere else");
        assert_eq!(lent.bytes.len(), pipe.len(), "sim: {pipe:?} holds something else");
        lent.holder = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_pipe_comes_again_and_an_unwanted_one_does_not() {
        let mut table = PipeTable::default();
        let mut chunks = Chunks::new(1, 1);
        let pipe = table.fill(b"abc".to_vec());
        table.give(&pipe);
        table.take(&pipe);
        assert_eq!(table.bytes(&pipe), b"abc");
        table.consume(&pipe, 3);
        table.empty(&Pipe::new(pipe.number(), 0));
        let again = table.fill(b"d".to_vec());
        assert_eq!((again.number(), table.lent()), (pipe.number(), 1));
        table.give(&again);
        let number = again.number();
        chunks.give_load(crate::conn::Load::Pipe(again));
        table.take_home(&mut chunks);
        assert_eq!(table.lent(), 0);
        assert_ne!(table.fill(b"e".to_vec()).number(), number);
    }

    #[test]
    #[should_panic(expected = "is somewhere else")]
    fn a_pipe_used_twice_is_seen() {
        let mut table = PipeTable::default();
        let pipe = table.fill(b"abc".to_vec());
        table.give(&pipe);
        table.take(&pipe);
        table.take(&pipe);
    }

    #[test]
    #[should_panic(expected = "holds something else")]
    fn a_pipe_that_lost_bytes_is_seen() {
        let mut table = PipeTable::default();
        let pipe = table.fill(b"abc".to_vec());
        table.give(&pipe);
        table.take(&Pipe::new(pipe.number(), 2));
    }
}
