//! Finding the end of a head in bytes that arrive piece by piece.
//!
//! Each byte is looked at once. What cannot become a head is refused at the first byte that shows
//! it: a TLS handshake, binary data, a line without a version, a line or a head that outgrows the
//! buffers which nginx would have for it. Meaning is the parser's business (`head`).

use crate::limits::LEADING_BLANK_BYTES_MAX;
use crate::reason::Fault;

use super::head::{RequestHead, ResponseHead};

/// Collects one head.
#[derive(Clone, Debug)]
pub struct HeadScanner {
    kind: Kind,
    room: Room,
    bytes: Vec<u8>,
    /// Where the current line begins in `bytes`.
    line_start: usize,
    /// True exactly when the first line is complete.
    inside: bool,
    /// Empty lines before the first line, in bytes.
    blank: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Request,
    Response,
}

/// nginx's header buffers: a small one, then large ones. A line must fit into one of them as a
/// whole; what is left of a buffer behind its last line is lost.
#[derive(Clone, Copy, Debug)]
struct Room {
    left: usize,
    large_bytes: usize,
    large_count: usize,
}

/// How far a head is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scan {
    /// All bytes were taken, and more are needed.
    Partial,
    /// The head is complete; so many of the bytes belonged to it.
    Complete {
        /// Bytes taken from the given ones.
        used: usize,
    },
}

impl HeadScanner {
    /// For a request: `client_header_buffer_size`, and count and size of
    /// `large_client_header_buffers`, in bytes.
    #[must_use]
    pub const fn request(small_bytes: usize, large_count: usize, large_bytes: usize) -> Self {
        Self::new(Kind::Request, Room { left: small_bytes, large_bytes, large_count })
    }

    /// For a response: `proxy_buffer_size`, in bytes.
    #[must_use]
    pub const fn response(buffer_bytes: usize) -> Self {
        Self::new(Kind::Response, Room { left: buffer_bytes, large_bytes: 0, large_count: 0 })
    }

    const fn new(kind: Kind, room: Room) -> Self {
        Self { kind, room, bytes: Vec::new(), line_start: 0, inside: false, blank: 0 }
    }

    /// Whether nothing of a head has come yet; empty lines before it do not count.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes collected so far: also of a head that was refused, for its log line.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes bytes up to the end of the head.
    ///
    /// # Errors
    /// As soon as the bytes cannot become a head any more.
    pub fn push(&mut self, input: &[u8]) -> Result<Scan, Fault> {
        let mut used = 0;
        while used < input.len() {
            let rest = &input[used..];
            if self.bytes.is_empty() && matches!(rest[0], b'\r' | b'\n') {
                self.skip_blank()?;
                used += 1;
                continue;
            }
            let end = rest.iter().position(|&b| b == b'\n').map(|feed| feed + 1);
            let piece = &rest[..end.unwrap_or(rest.len())];
            self.check_growth(piece)?;
            self.bytes.extend_from_slice(piece);
            used += piece.len();
            if end.is_some() && self.end_line()? {
                return Ok(Scan::Complete { used });
            }
        }
        Ok(Scan::Partial)
    }

    /// Parses the request whose head is complete. The scanner has done its work then; it still has
    /// the bytes, for the log line of a refused head.
    ///
    /// # Errors
    /// As [`RequestHead::parse`].
    pub fn parse_request(&self) -> Result<RequestHead, Fault> {
        RequestHead::parse(&self.bytes)
    }

    /// Parses the response whose head is complete.
    ///
    /// # Errors
    /// As [`ResponseHead::parse`].
    pub fn parse_response(&self) -> Result<ResponseHead, Fault> {
        ResponseHead::parse(&self.bytes)
    }

    /// nginx skips empty lines before a request (RFC 9112 section 2.2 asks for one); an upstream
    /// gets no such courtesy.
    const fn skip_blank(&mut self) -> Result<(), Fault> {
        self.blank += 1;
        match self.kind {
            Kind::Request if self.blank <= LEADING_BLANK_BYTES_MAX => Ok(()),
            Kind::Request => Err(Fault::BadRequestLine),
            Kind::Response => Err(Fault::BadStatusLine),
        }
    }

    /// Refuses a line that would not fit, and a first line that begins wrongly, before it is kept.
    fn check_growth(&self, piece: &[u8]) -> Result<(), Fault> {
        if !self.inside {
            self.check_beginning(piece)?;
        }
        let length = self.bytes.len() - self.line_start + piece.len();
        let large = if self.room.large_count > 0 { self.room.large_bytes } else { 0 };
        if length <= self.room.left.max(large) {
            return Ok(());
        }
        Err(match (self.kind, self.inside) {
            (Kind::Request, false) => Fault::TargetTooLong,
            _ => Fault::HeadTooLong,
        })
    }

    /// A request begins with a method in nginx's letters, a response with `HTTP/1.`.
    fn check_beginning(&self, piece: &[u8]) -> Result<(), Fault> {
        const START: &[u8] = b"HTTP/1.";
        let seen = self.bytes.len();
        match self.kind {
            Kind::Request => {
                if self.bytes.contains(&b' ') {
                    return Ok(());
                }
                let method_byte = |&b: &u8| b.is_ascii_uppercase() || b == b'-' || b == b'_';
                let length = piece.iter().take_while(|b| method_byte(b)).count();
                match piece.get(length) {
                    None => Ok(()),
                    Some(b' ') if seen + length > 0 => Ok(()),
                    Some(_) => Err(Fault::BadRequestLine),
                }
            }
            Kind::Response => {
                let expected = START.get(seen..).unwrap_or_default();
                if expected.iter().zip(piece).all(|(want, have)| want == have) {
                    Ok(())
                } else {
                    Err(Fault::BadStatusLine)
                }
            }
        }
    }

    /// A line is complete. True if it is the empty one that ends the head.
    fn end_line(&mut self) -> Result<bool, Fault> {
        let line = &self.bytes[self.line_start..];
        let length = line.len();
        let empty = matches!(line, b"\n" | b"\r\n");
        if !self.inside && self.kind == Kind::Request {
            check_request_line(line)?;
        }
        if length <= self.room.left {
            self.room.left -= length;
        } else if self.room.large_count > 0 && length <= self.room.large_bytes {
            self.room.large_count -= 1;
            self.room.left = self.room.large_bytes - length;
        } else {
            return Err(Fault::HeadTooLong);
        }
        self.inside = true;
        self.line_start = self.bytes.len();
        Ok(empty)
    }
}

/// Refuses a first line without a version of ours at once: an HTTP/0.9 client would wait for an
/// answer, and we for the rest of its head.
fn check_request_line(line: &[u8]) -> Result<(), Fault> {
    let line = line.trim_ascii_end();
    let version = line.rsplit(|&b| b == b' ').next().unwrap_or_default();
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Fault::BadVersion),
        _ => Err(Fault::BadRequestLine),
    }
}
