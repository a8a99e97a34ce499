//! WebSocket frames as both ends of the benchmark need them: written whole, read in pieces, and
//! compared byte by byte with what they must be.
//!
//! A payload is a pattern known to both ends. Its first eight bytes are a *stamp*: who sent it and
//! as which message, or when it should have left. Sending costs a store into a frame made
//! beforehand, checking a comparison of memory, masked or not.

use std::io::{self, Write};
use std::net::TcpStream;

/// Opcodes of RFC 6455 section 5.2.
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;

/// The key with which this load generator masks; random ones would cost it time and the proxy none.
const KEY: [u8; 4] = [0x5b, 0xa7, 0x13, 0xe9];

/// Bytes of the stamp, and so of the shortest payload.
pub(crate) const STAMP: usize = 8;

/// A longer payload is a mistake: nothing here sends one.
const PAYLOAD_MAX: u64 = 16 * 1024 * 1024;

/// Who sends a frame: clients mask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Party {
    Client,
    Server,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) opcode: u8,
    pub(crate) key: Option<[u8; 4]>,
    pub(crate) length: u64,
}

/// Some payload bytes of a frame, in order.
pub(crate) struct Piece<'a> {
    pub(crate) head: Head,
    /// Where in the payload they lie.
    pub(crate) at: usize,
    pub(crate) bytes: &'a [u8],
    /// True for the piece that ends the frame.
    pub(crate) last: bool,
}

/// Takes a stream of frames apart.
#[derive(Default)]
pub(crate) struct Decoder {
    head: [u8; 14],
    have: usize,
    current: Option<Head>,
    at: usize,
}

impl Decoder {
    /// The next piece in `rest`, which is moved past it; `None` when `rest` is used up.
    ///
    /// # Errors
    /// If the bytes are no frame that this benchmark sends.
    pub(crate) fn next<'a>(&mut self, rest: &mut &'a [u8]) -> io::Result<Option<Piece<'a>>> {
        let head = match self.current {
            Some(head) => head,
            None => match self.gather(rest)? {
                Some(head) => head,
                None => return Ok(None),
            },
        };
        self.current = Some(head);
        let left = usize::try_from(head.length).map_err(io::Error::other)? - self.at;
        let take = left.min(rest.len());
        if take == 0 && left > 0 {
            return Ok(None);
        }
        let (bytes, behind) = rest.split_at(take);
        *rest = behind;
        let piece = Piece { head, at: self.at, bytes, last: take == left };
        self.at += take;
        if piece.last {
            *self = Self::default();
        }
        Ok(Some(piece))
    }

    fn gather(&mut self, rest: &mut &[u8]) -> io::Result<Option<Head>> {
        while self.have < self.needed() {
            let take = (self.needed() - self.have).min(rest.len());
            if take == 0 {
                return Ok(None);
            }
            self.head[self.have..self.have + take].copy_from_slice(&rest[..take]);
            self.have += take;
            *rest = &rest[take..];
        }
        let (first, short) = (self.head[0], self.head[1] & 0x7f);
        if first & 0xf0 != 0x80 {
            return Err(wrong("a frame that is not whole or has reserved bits"));
        }
        let length = match short {
            126 => u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
            127 => self.head[2..10].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
            short => u64::from(short),
        };
        if length > PAYLOAD_MAX {
            return Err(wrong("a frame longer than any that was sent"));
        }
        let key = match self.head[..self.have] {
            [.., a, b, c, d] if self.head[1] & 0x80 != 0 => Some([a, b, c, d]),
            _ => None,
        };
        Ok(Some(Head { opcode: first & 0x0f, key, length }))
    }

    /// Bytes of the head, as far as its beginning tells.
    fn needed(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let extended = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + if self.head[1] & 0x80 != 0 { 4 } else { 0 }
    }
}

fn wrong(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Takes the mask off bytes that lie at `at` of a payload.
pub(crate) fn unmask(bytes: &mut [u8], key: [u8; 4], at: usize) {
    let key = [key[at % 4], key[(at + 1) % 4], key[(at + 2) % 4], key[(at + 3) % 4]];
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut value = [0; 8];
        value.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(value) ^ wide).to_ne_bytes());
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// Appends the head of a frame.
pub(crate) fn put_head(out: &mut Vec<u8>, opcode: u8, length: usize, from: Party) {
    let mask = if from == Party::Client { 0x80 } else { 0 };
    out.push(0x80 | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => out.push(mask | short),
        (_, Ok(middle)) => {
            out.push(mask | 126);
            out.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    if from == Party::Client {
        out.extend_from_slice(&KEY);
    }
}

/// A whole short frame.
pub(crate) fn frame(opcode: u8, payload: &[u8], from: Party) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 14);
    put_head(&mut out, opcode, payload.len(), from);
    let start = out.len();
    out.extend_from_slice(payload);
    if from == Party::Client {
        unmask(&mut out[start..], KEY, 0);
    }
    out
}

/// Messages of one size, ready to be sent and to be compared with.
pub(crate) struct Pattern {
    size: usize,
    client: Vec<u8>,
    server: Vec<u8>,
}

impl Pattern {
    /// For payloads of `size` bytes, which hold a stamp at least.
    pub(crate) fn new(size: usize) -> Self {
        let size = size.max(STAMP);
        // The low byte of a multiplicative step over position and page: no two neighbouring pages
        // are alike, so that bytes that went missing or came twice do not go unseen.
        let byte = |at: usize| ((at * 31) ^ ((at >> 8) * 7)).to_le_bytes()[0];
        let payload: Vec<u8> = (0..size).map(byte).collect();
        let client = frame(BINARY, &payload, Party::Client);
        let server = frame(BINARY, &payload, Party::Server);
        Self { size, client, server }
    }

    /// A whole message, with the last stamp that was sent.
    pub(crate) fn frame(&self, from: Party) -> &[u8] {
        match from {
            Party::Client => &self.client,
            Party::Server => &self.server,
        }
    }

    /// Bytes of a payload.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The payload of a server's message, with the last stamp that was sent.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.server[self.server.len() - self.size..]
    }

    /// Sends as much of a message as the socket takes, beginning at `from_byte` of its frame.
    /// Returns the byte to go on with, or `None` if the frame has left.
    pub(crate) fn send(
        &mut self,
        mut stream: &TcpStream,
        from: Party,
        stamp: u64,
        from_byte: usize,
    ) -> io::Result<Option<usize>> {
        let mut stamp = stamp.to_le_bytes();
        let frame = match from {
            Party::Client => &mut self.client,
            Party::Server => &mut self.server,
        };
        if from == Party::Client {
            unmask(&mut stamp, KEY, 0);
        }
        let start = frame.len() - self.size;
        frame[start..start + STAMP].copy_from_slice(&stamp);
        let mut at = from_byte;
        while at < frame.len() {
            match stream.write(&frame[at..]) {
                Ok(count) => at += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Some(at)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// What is left of a server's message from a byte of its frame on.
    pub(crate) fn rest(&mut self, stamp: u64, from_byte: usize) -> &[u8] {
        let start = self.server.len() - self.size;
        self.server[start..start + STAMP].copy_from_slice(&stamp.to_le_bytes());
        &self.server[from_byte..]
    }

    /// Holds a piece of a message against what it must be, its stamp included.
    ///
    /// # Errors
    /// If a byte differs, or the length.
    pub(crate) fn check(&self, piece: &Piece<'_>, stamp: u64) -> io::Result<()> {
        let (at, end) = (piece.at, piece.at + piece.bytes.len());
        let mut stamp = stamp.to_le_bytes();
        let frame = match piece.head.key {
            Some(KEY) => &self.client,
            Some(_) => return Err(wrong("masked with a key that nobody used")),
            None => &self.server,
        };
        if piece.head.key.is_some() {
            unmask(&mut stamp, KEY, 0);
        }
        if piece.head.opcode != BINARY || piece.head.length != self.size as u64 {
            return Err(wrong("not a message of this scenario"));
        }
        let in_stamp = STAMP.clamp(at, end) - at;
        let start = frame.len() - self.size;
        if piece.bytes[..in_stamp] != stamp[at.min(STAMP)..at.min(STAMP) + in_stamp] {
            return Err(wrong("a message that was not expected now"));
        }
        if piece.bytes[in_stamp..] != frame[start + at + in_stamp..start + end] {
            return Err(wrong("a payload that was changed on its way"));
        }
        Ok(())
    }
}
