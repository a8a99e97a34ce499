//! A scripted program's end of a connection: what it has read and not understood yet, what it has
//! to write, and how fast it does either.

use upsplice::clock::Instant;
use upsplice::engine::sim::{Heard, Peer};

use crate::plan::Pace;

/// One end of a connection.
pub(crate) struct Line {
    /// Read and not consumed.
    pub inbox: Vec<u8>,
    /// The other side has ended its half.
    pub ended: bool,
    /// The connection broke.
    pub failed: bool,
    /// When a byte last moved.
    pub last_byte: Option<Instant>,
    out: Vec<u8>,
    pace: Pace,
    stuck_after: Option<usize>,
    read_bytes: usize,
    next_read: Instant,
    next_write: Instant,
    shut: bool,
    gone: bool,
}

impl Line {
    pub(crate) fn new(pace: Pace, stuck_after: Option<usize>) -> Self {
        Self {
            inbox: Vec::new(),
            ended: false,
            failed: false,
            last_byte: None,
            out: Vec::new(),
            pace,
            stuck_after,
            read_bytes: 0,
            next_read: Instant::default(),
            next_write: Instant::default(),
            shut: false,
            gone: false,
        }
    }

    /// Puts bytes behind those that wait to be written.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Whether everything said is written, or never will be.
    pub(crate) fn is_flushed(&self) -> bool {
        self.out.is_empty() || self.failed
    }

    /// Whether the program has ended its half.
    pub(crate) fn is_shut(&self) -> bool {
        self.shut
    }

    /// Whether the program has let go of the connection.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Reads nothing from here on.
    pub(crate) fn go_deaf(&mut self) {
        self.stuck_after = Some(0);
    }

    /// Whether the program pauses between its reads and writes.
    pub(crate) fn is_slow(&self) -> bool {
        self.pace.pause_ms > 0
    }

    /// Reads and writes as much as the pace allows; whether anything changed.
    pub(crate) fn step(&mut self, peer: &mut Peer<'_>) -> bool {
        if self.gone {
            return false;
        }
        self.pull(peer) | self.push(peer)
    }

    /// Ends this half; what was said and not written is forgotten.
    pub(crate) fn shut(&mut self, peer: &mut Peer<'_>) {
        if !self.shut {
            self.shut = true;
            peer.shutdown();
        }
    }

    /// Lets go of the connection.
    pub(crate) fn close(&mut self, peer: &mut Peer<'_>) {
        if !self.gone {
            self.gone = true;
            peer.close();
        }
    }

    /// Lets go of the connection with a reset.
    pub(crate) fn reset(&mut self, peer: &mut Peer<'_>) {
        if !self.gone {
            self.gone = true;
            peer.reset();
        }
    }

    fn pull(&mut self, peer: &mut Peer<'_>) -> bool {
        let now = peer.now();
        let stuck = self.stuck_after.is_some_and(|bytes| self.read_bytes >= bytes);
        if self.ended || self.failed {
            return false;
        }
        if stuck {
            // Even a program that does not read learns of a reset.
            self.failed = peer.is_dead();
            return self.failed;
        }
        if self.next_read > now {
            return false;
        }
        match peer.read(self.pace.bytes_max) {
            Heard::Nothing => return false,
            Heard::End => self.ended = true,
            Heard::Failed(_) => self.failed = true,
            Heard::Bytes(bytes) => {
                self.last_byte = Some(now);
                self.read_bytes += bytes.len();
                self.inbox.extend(bytes);
                self.next_read = now.plus_ms(self.pace.pause_ms);
                if self.pace.pause_ms > 0 {
                    peer.wake_at(self.next_read);
                }
            }
        }
        true
    }

    fn push(&mut self, peer: &mut Peer<'_>) -> bool {
        let now = peer.now();
        if self.out.is_empty() || self.shut || self.failed || self.next_write > now {
            return false;
        }
        let count = self.out.len().min(self.pace.bytes_max);
        match peer.write(&self.out[..count]) {
            Ok(0) => false,
            Ok(count) => {
                self.last_byte = Some(now);
                self.out.drain(..count);
                self.next_write = now.plus_ms(self.pace.pause_ms);
                if self.pace.pause_ms > 0 {
                    peer.wake_at(self.next_write);
                }
                true
            }
            Err(_) => {
                // What arrived before can still be read.
                self.out.clear();
                self.shut = true;
                true
            }
        }
    }
}
