//! The pipes of a real engine: a few, pooled, lent only with bytes in them.
//!
//! A pipe is filled and becomes a [`Pipe`] that travels as a load; a send that empties it keeps it
//! here for the next. One whose bytes nobody wants any more is closed and never used again, so no
//! byte of one tunnel can come out in another. Owns the descriptors. Deliberately absent: who may
//! have one (whoever comes first; the others copy), and waiting.

use std::os::fd::BorrowedFd;

use crate::conn::{Load, Pipe};
use crate::limits::{PIPE_BYTES, PIPES_MAX};
use crate::sys::pipe::{Channel, spare_this_thread};
use crate::worker::chunks::Chunks;

/// What filling a pipe came to.
#[derive(Debug)]
pub(super) enum Filled {
    /// Bytes.
    Some(Pipe),
    /// The end of the stream.
    End,
    /// Nothing is there. Or there is, and an urgent byte comes first: a copy would find it.
    Nothing,
    /// No pipe is to be had, or none that this socket fills: copy.
    NoPipe,
}

/// All pipes of one engine.
#[derive(Debug)]
pub(super) struct Pipes {
    /// By number; `None` where one was closed.
    channels: Vec<Option<Channel>>,
    /// Numbers of open pipes, all empty.
    free: Vec<u32>,
    /// Numbers without a pipe.
    vacant: Vec<u32>,
    lent: usize,
}

impl Pipes {
    /// None yet: a pipe is made when it is first wanted.
    pub(super) fn new() -> Self {
        Self {
            channels: Vec::with_capacity(PIPES_MAX),
            free: Vec::with_capacity(PIPES_MAX),
            vacant: Vec::with_capacity(PIPES_MAX),
            lent: 0,
        }
    }

    /// How many are out with bytes in them.
    pub(super) const fn lent(&self) -> usize {
        self.lent
    }

    /// Moves what a socket has into a pipe.
    ///
    /// # Errors
    /// The errno of a connection that broke.
    pub(super) fn fill(&mut self, from: BorrowedFd<'_>) -> Result<Filled, i32> {
        let Some(number) = self.empty() else { return Ok(Filled::NoPipe) };
        let outcome = self.channel(number).map_or(Err(libc::EINVAL), |channel| channel.fill(from));
        if let Ok(len) = outcome
            && len > 0
        {
            self.lent += 1;
            return Ok(Filled::Some(Pipe::new(number, len)));
        }
        self.free.push(number);
        match outcome {
            Ok(_) => Ok(Filled::End),
            Err(libc::EAGAIN) => Ok(Filled::Nothing),
            // Not a kind of socket that can, or (kTLS) not a kind of record.
            Err(libc::EINVAL | libc::EOPNOTSUPP) => Ok(Filled::NoPipe),
            Err(errno) => Err(errno),
        }
    }

    /// Lends an empty pipe for a ring to fill and drain by itself; [`settle`](Self::settle) takes
    /// it back.
    pub(super) fn reserve(&mut self) -> Option<u32> {
        let number = self.empty()?;
        self.lent += 1;
        Some(number)
    }

    /// What a ring has left in a pipe that was reserved.
    pub(super) fn settle(&mut self, number: u32, left: usize) -> Load {
        self.after_send(Load::Pipe(Pipe::new(number, left)))
    }

    /// The two ends of a pipe: read from, written to.
    pub(super) fn ends(&self, number: u32) -> Option<(BorrowedFd<'_>, BorrowedFd<'_>)> {
        self.channel(number).map(Channel::ends)
    }

    /// What one transfer into a pipe may bring.
    pub(super) fn bytes(&self, number: u32) -> usize {
        self.channel(number).map_or(0, Channel::bytes)
    }

    /// Moves bytes of a pipe into a socket; how many.
    ///
    /// # Errors
    /// The errno of `splice(2)`; EAGAIN if the socket takes none now.
    pub(super) fn drain(&self, pipe: &Pipe, into: BorrowedFd<'_>) -> Result<usize, i32> {
        let channel = self.channel(pipe.number()).ok_or(libc::EBADF)?;
        match channel.drain(into, pipe.len()) {
            // The pipe does not hold what its claim says. Never seen; waiting would be for ever.
            Ok(0) => Err(libc::EIO),
            outcome => outcome,
        }
    }

    /// What is left of a load after a send: a pipe that was emptied stays here.
    pub(super) fn after_send(&mut self, load: Load) -> Load {
        match load {
            Load::Pipe(pipe) if pipe.is_empty() => {
                self.lent -= 1;
                self.free.push(pipe.number());
                Load::EMPTY
            }
            load => load,
        }
    }

    /// Closes the pipes of loads that nobody wanted.
    pub(super) fn take_home(&mut self, chunks: &mut Chunks) {
        while let Some(pipe) = chunks.take_unwanted() {
            if let Some(channel) = self.channels.get_mut(pipe.number() as usize) {
                *channel = None;
                self.lent -= 1;
                self.vacant.push(pipe.number());
            }
        }
    }

    fn channel(&self, number: u32) -> Option<&Channel> {
        self.channels.get(number as usize)?.as_ref()
    }

    /// The number of an empty pipe.
    fn empty(&mut self) -> Option<u32> {
        self.free.pop().or_else(|| self.open())
    }

    /// Makes a pipe, if there may be another and the system has the descriptors.
    fn open(&mut self) -> Option<u32> {
        if self.vacant.is_empty() && self.channels.len() == PIPES_MAX {
            return None;
        }
        if self.channels.is_empty() {
            spare_this_thread();
        }
        let channel = Channel::new(PIPE_BYTES).ok()?;
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.channels.push(None);
            u32::try_from(self.channels.len() - 1).expect("pipes are few")
        });
        self.channels[number as usize] = Some(channel);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A non-blocking socket and its peer.
    fn pair() -> (UnixStream, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (near, far)
    }

    fn filled(pipes: &mut Pipes, from: &UnixStream) -> Pipe {
        match pipes.fill(from.as_fd()) {
            Ok(Filled::Some(pipe)) => pipe,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_emptied_pipe_is_used_again_and_an_unwanted_one_is_not() {
        let mut pipes = Pipes::new();
        let mut chunks = Chunks::new(1, 1);
        let ((from, mut writer), (to, _reader)) = (pair(), pair());
        assert!(matches!(pipes.fill(from.as_fd()), Ok(Filled::Nothing)));
        assert_eq!((pipes.lent(), pipes.free.len()), (0, 1), "an idle socket holds none");

        writer.write_all(b"first").unwrap();
        let mut load = Load::Pipe(filled(&mut pipes, &from));
        assert_eq!((pipes.lent(), load.len()), (1, 5));
        let Load::Pipe(pipe) = &load else { panic!("{load:?}") };
        let count = pipes.drain(pipe, to.as_fd()).unwrap();
        load.advance(count);
        assert!(matches!(pipes.after_send(load), Load::Bytes { .. }));
        assert_eq!((pipes.lent(), pipes.free.len(), pipes.channels.len()), (0, 1, 1));

        writer.write_all(b"secret").unwrap();
        chunks.give_load(Load::Pipe(filled(&mut pipes, &from)));
        assert_eq!(pipes.lent(), 1);
        pipes.take_home(&mut chunks);
        assert_eq!((pipes.lent(), pipes.free.len(), pipes.vacant.len()), (0, 0, 1));

        writer.write_all(b"third").unwrap();
        let pipe = filled(&mut pipes, &from);
        assert_eq!((pipe.len(), pipes.channels.len()), (5, 1), "its number is used again");
    }

    #[test]
    fn there_are_so_many_pipes_and_no_more() {
        let mut pipes = Pipes::new();
        let (from, mut writer) = pair();
        let mut lent = Vec::new();
        for _ in 0..PIPES_MAX {
            writer.write_all(b"x").unwrap();
            lent.push(filled(&mut pipes, &from));
        }
        writer.write_all(b"x").unwrap();
        assert!(matches!(pipes.fill(from.as_fd()), Ok(Filled::NoPipe)));
        let mut chunks = Chunks::new(1, 1);
        chunks.give_load(Load::Pipe(lent.remove(0)));
        pipes.take_home(&mut chunks);
        assert_eq!(filled(&mut pipes, &from).len(), 1);
    }
}
