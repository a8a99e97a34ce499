//! The chunked transfer coding (RFC 9112 section 7.1), read strictly.
//!
//! Lines end with CRLF and nothing else, sizes are plain hexadecimal digits, extensions and
//! trailers are bounded. The reader copies nothing: a whole piece of a body can be passed on as it
//! came, up to where the reader says that the body ends.

use crate::limits::{CHUNK_LINE_BYTES_MAX, CHUNK_SIZE_MAX, TRAILER_BYTES_MAX};
use crate::reason::Fault;

use super::framing::Piece;
use super::hop::{is_hop_by_hop, is_trusted};

/// A reader's position in a chunked body.
#[derive(Clone, Debug)]
pub struct ChunkedReader {
    state: State,
    /// Bytes left of the chunk's data; while its size is read, what is known of it.
    left: u64,
    /// Bytes of the current size line or of the trailer section.
    line: usize,
    /// The beginning of the current trailer's name.
    name: [u8; NAME_BYTES],
    name_length: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Before the first digit of a size.
    SizeStart,
    /// Behind a digit.
    Size,
    /// In whitespace between a size and its extension.
    SizeEnd,
    /// In an extension.
    Extension,
    /// Behind the CR of a size line.
    SizeFeed,
    /// In the data of a chunk.
    Data,
    /// At the CR behind the data.
    DataReturn,
    /// At the LF behind the data.
    DataFeed,
    /// At the first byte of a line of the trailer section.
    TrailerStart,
    /// In the name of a trailer.
    TrailerName,
    /// In the value of a trailer.
    TrailerValue,
    /// Behind the CR of a trailer line.
    TrailerFeed,
    /// Behind the CR of the last line.
    LastFeed,
    /// Behind the body.
    Done,
}

/// Longer than every name that matters; of a longer name, its beginning decides.
const NAME_BYTES: usize = 24;

impl Default for ChunkedReader {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkedReader {
    /// A reader at the start of a body.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::SizeStart, left: 0, line: 0, name: [0; NAME_BYTES], name_length: 0 }
    }

    /// Whether the body is complete.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Reads until data was found, the bytes are used up, or the body is complete.
    ///
    /// # Errors
    /// [`Fault::BadChunk`].
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, Fault> {
        let mut used = 0;
        while !self.is_done() && used < bytes.len() {
            if self.state == State::Data {
                let run = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - used);
                self.left -= run as u64;
                if self.left == 0 {
                    self.state = State::DataReturn;
                }
                return Ok(Piece { used: used + run, data: used..used + run, done: false });
            }
            self.state = self.step(bytes[used])?;
            used += 1;
        }
        Ok(Piece { used, data: used..used, done: self.is_done() })
    }

    /// One byte of framing.
    fn step(&mut self, byte: u8) -> Result<State, Fault> {
        use State::*;
        self.line += 1;
        let bound = match self.state {
            TrailerStart | TrailerName | TrailerValue | TrailerFeed => TRAILER_BYTES_MAX,
            _ => CHUNK_LINE_BYTES_MAX,
        };
        if self.line > bound {
            return Err(Fault::BadChunk);
        }
        let next = match (self.state, byte) {
            (SizeStart | Size, digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit).to_digit(16).unwrap_or_default();
                self.left = self.left << 4 | u64::from(digit);
                if self.left > CHUNK_SIZE_MAX {
                    return Err(Fault::BadChunk);
                }
                Size
            }
            (Size | SizeEnd, b' ' | b'\t') => SizeEnd,
            (Size | SizeEnd, b';') => Extension,
            (Size | SizeEnd | Extension, b'\r') => SizeFeed,
            (Extension, byte) if is_text(byte) => Extension,
            (SizeFeed, b'\n') => {
                self.line = 0;
                if self.left == 0 { TrailerStart } else { Data }
            }
            (DataReturn, b'\r') => DataFeed,
            (DataFeed, b'\n') => {
                self.line = 0;
                SizeStart
            }
            (TrailerStart, b'\r') => LastFeed,
            (TrailerStart, byte) if is_token(byte) => {
                self.name_length = 0;
                self.add_to_name(byte);
                TrailerName
            }
            (TrailerName, b':') => {
                self.check_trailer_name()?;
                TrailerValue
            }
            (TrailerName, byte) if is_token(byte) => {
                self.add_to_name(byte);
                TrailerName
            }
            (TrailerValue, b'\r') => TrailerFeed,
            (TrailerValue, byte) if is_text(byte) => TrailerValue,
            (TrailerFeed, b'\n') => TrailerStart,
            (LastFeed, b'\n') => Done,
            _ => return Err(Fault::BadChunk),
        };
        Ok(next)
    }

    fn add_to_name(&mut self, byte: u8) {
        if let Some(place) = self.name.get_mut(self.name_length) {
            *place = byte;
        }
        self.name_length += 1;
    }

    /// A receiver may merge trailers into the fields, so they must not carry what only a head may
    /// (RFC 9110 section 6.5.1): framing, routing, credentials, what upstreams trust.
    fn check_trailer_name(&self) -> Result<(), Fault> {
        let name = &self.name[..self.name_length.min(NAME_BYTES)];
        if is_trusted(name) || is_hop_by_hop(name) { Err(Fault::BadChunk) } else { Ok(()) }
    }
}

/// `tchar` of RFC 9110.
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.')
        || matches!(byte, b'^'..=b'`' | b'|' | b'~')
}

/// What may stand in a field's value.
pub(super) const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content of a body and what is behind it, or `refused`; the same for every split in two.
    #[track_caller]
    fn check(text: &str, expect: &str) {
        for split in 0..=text.len() {
            let mut reader = ChunkedReader::new();
            let mut content = Vec::new();
            let (first, second) = text.as_bytes().split_at(split);
            let rest = read(&mut reader, first, &mut content).and_then(|rest| {
                let behind = [rest, second].concat();
                read(&mut reader, &behind, &mut content).map(<[u8]>::to_vec)
            });
            let found = match rest {
                Err(_) => "refused".to_owned(),
                Ok(_) if !reader.is_done() => "incomplete".to_owned(),
                Ok(rest) => {
                    String::from_utf8_lossy(&[&content[..], b"|", &rest].concat()).into_owned()
                }
            };
            assert_eq!(found, expect, "{text:?} split at {split}");
        }
    }

    fn read<'a>(
        reader: &mut ChunkedReader,
        mut bytes: &'a [u8],
        content: &mut Vec<u8>,
    ) -> Result<&'a [u8], Fault> {
        while !bytes.is_empty() && !reader.is_done() {
            let piece = reader.next(bytes)?;
            content.extend_from_slice(&bytes[piece.data]);
            bytes = &bytes[piece.used..];
        }
        Ok(bytes)
    }

    #[test]
    fn chunks_are_read_to_their_end_and_not_beyond() {
        check("0\r\n\r\n", "|");
        check("3\r\nabc\r\n0\r\n\r\nGET", "abc|GET");
        check("00a\r\n0123456789\r\n1;x=\"y\"\r\nz\r\n0;e\r\n\r\n", "0123456789z|");
        check("1 \t;x\r\nz\r\n0\t\r\n\r\n", "z|");
        check("2\r\n\r\n\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n!", "\r\n|!");
        check("A\r\n0123456789\r\n", "incomplete");
        check("0\r\n", "incomplete");
    }

    #[test]
    fn chunks_that_two_parties_could_read_differently_are_refused() {
        for text in [
            "\r\n",
            "0x1\r\nz",
            "+1\r\nz",
            "-1\r\n",
            " 1\r\nz",
            "1\nz",
            "1\r\nz\n0\r\n\r\n",
            "1\rz\r\n",
            "1\r\nzz\r\n",
            ";x\r\n",
            "1 1\r\nz",
            "1;a\nb\r\n",
            "1;\0\r\n",
            "1\r\r\n",
            "g\r\n",
            "1000000000000000\r\n",
            "0\r\nX\r\n\r\n",
            "0\r\n: y\r\n",
            "0\r\n x: y\r\n",
            "0\r\nX : y\r\n",
            "0\r\nX: y\n\r\n",
            "0\r\nX: y\r\n\n",
            "0\r\n\n",
            "0\r\nX: \x01\r\n",
        ] {
            check(text, "refused");
        }
    }

    #[test]
    fn trailers_must_not_carry_what_only_a_head_may() {
        for name in ["Content-Length", "transfer-encoding", "HOST", "X-Forwarded-For", "Cookie"] {
            check(&format!("0\r\n{name}: 1\r\n\r\n"), "refused");
        }
    }

    #[test]
    fn a_size_line_and_the_trailers_are_bounded() {
        let line = |length: usize| format!("1;{}\r\nz\r\n0\r\n\r\n", "e".repeat(length - 4));
        let mut reader = ChunkedReader::new();
        assert!(reader.next(line(CHUNK_LINE_BYTES_MAX).as_bytes()).is_ok());
        let mut reader = ChunkedReader::new();
        assert!(reader.next(line(CHUNK_LINE_BYTES_MAX + 1).as_bytes()).is_err());
        let trailers = format!("0\r\n{}", "X: y\r\n".repeat(TRAILER_BYTES_MAX / 6 + 1));
        assert!(ChunkedReader::new().next(trailers.as_bytes()).is_err());
    }
}
