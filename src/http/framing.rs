//! Where a body ends (RFC 9112 section 6), and nothing else about it.
//!
//! Two heads decide ([`request_body`], [`response_body`]); a [`BodyReader`] then counts or parses
//! the bytes as they pass. What two parties could frame differently — the raw material of request
//! smuggling — is refused.

use core::ops::Range;

use crate::reason::Fault;

use super::chunked::ChunkedReader;
use super::fields::Fields;
use super::head::{RequestHead, ResponseHead, Version};

/// How a body is delimited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Body {
    /// There is none.
    None,
    /// So many bytes; zero is a body too, that has a `Content-Length`.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Everything until the connection ends; only in responses.
    UntilClose,
}

/// The framing of a request's body.
///
/// # Errors
/// [`Fault::BadContentLength`] and [`Fault::BadTransferEncoding`].
pub fn request_body(head: &RequestHead) -> Result<Body, Fault> {
    let body = declared(head.fields(), head.version())?;
    Ok(body.unwrap_or(Body::None))
}

/// The framing of a response's body; `method` is that of the request.
///
/// # Errors
/// [`Fault::BadContentLength`] and [`Fault::BadTransferEncoding`], also where the status or the
/// method would make the fields meaningless.
pub fn response_body(head: &ResponseHead, method: &[u8]) -> Result<Body, Fault> {
    let body = declared(head.fields(), head.version())?;
    if method == b"HEAD" || matches!(head.status(), 100..=199 | 204 | 304) {
        return Ok(Body::None);
    }
    Ok(body.unwrap_or(Body::UntilClose))
}

/// What the fields say. Every repetition is refused, equal or not: it never has a good reason.
fn declared(fields: &Fields, version: Version) -> Result<Option<Body>, Fault> {
    let mut lengths = fields.all("content-length");
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(Fault::BadContentLength);
    }
    if fields.first("transfer-encoding").is_some() {
        let mut codings = fields.members("transfer-encoding");
        let chunked = codings.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        if !chunked || codings.next().is_some() || version == Version::Http10 {
            return Err(Fault::BadTransferEncoding);
        }
        return if length.is_some() {
            Err(Fault::BadContentLength)
        } else {
            Ok(Some(Body::Chunked))
        };
    }
    length.map(|digits| content_length(digits).map(Body::Length)).transpose()
}

/// Digits only: no sign, no list, no more than a file can be long.
fn content_length(digits: &[u8]) -> Result<u64, Fault> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::BadContentLength);
    }
    let value = str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i64>().ok());
    value.and_then(|value| u64::try_from(value).ok()).ok_or(Fault::BadContentLength)
}

/// Follows a body through the bytes that carry it.
#[derive(Clone, Debug)]
pub struct BodyReader {
    state: State,
    /// Bytes of content so far, without chunk framing.
    content: u64,
    /// The most there may be.
    max: u64,
}

#[derive(Clone, Debug)]
enum State {
    Counting(u64),
    Chunks(ChunkedReader),
    Endless,
}

/// What a piece of a body's bytes turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// So many of the bytes belong to the body, framing included. The rest, if any, is what comes
    /// after it.
    pub used: usize,
    /// The body is complete.
    pub done: bool,
}

/// A run of content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Piece {
    /// Bytes that are dealt with.
    pub used: usize,
    /// The content among them.
    pub data: Range<usize>,
    /// The body is complete.
    pub done: bool,
}

impl BodyReader {
    /// A reader that never comes to an end: where the body ends is not known.
    pub const ENDLESS: Self = Self { state: State::Endless, content: 0, max: u64::MAX };

    /// A reader at the start of a body of at most `max` bytes of content; zero is no limit
    /// (`client_max_body_size`).
    ///
    /// # Errors
    /// [`Fault::BodyTooLarge`] if the body says itself that it is larger.
    pub const fn new(body: Body, max: u64) -> Result<Self, Fault> {
        let max = if max == 0 { u64::MAX } else { max };
        let state = match body {
            Body::None => State::Counting(0),
            Body::Length(length) if length > max => return Err(Fault::BodyTooLarge),
            Body::Length(length) => State::Counting(length),
            Body::Chunked => State::Chunks(ChunkedReader::new()),
            Body::UntilClose => State::Endless,
        };
        Ok(Self { state, content: 0, max })
    }

    /// Whether the body is complete.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        match &self.state {
            State::Counting(left) => *left == 0,
            State::Chunks(chunks) => chunks.is_done(),
            State::Endless => false,
        }
    }

    /// Whether the end of the connection here is the end of the body, rather than a truncation.
    #[must_use]
    pub const fn may_end_here(&self) -> bool {
        self.is_done() || matches!(self.state, State::Endless)
    }

    /// Bytes of content so far, without chunk framing.
    #[must_use]
    pub const fn content(&self) -> u64 {
        self.content
    }

    /// Follows bytes that are passed on as they are.
    ///
    /// # Errors
    /// [`Fault::BadChunk`] and [`Fault::BodyTooLarge`]; none of the bytes may be passed on then.
    pub fn consume(&mut self, bytes: &[u8]) -> Result<Progress, Fault> {
        let mut used = 0;
        loop {
            let piece = self.next(&bytes[used..])?;
            used += piece.used;
            if piece.done || used == bytes.len() {
                return Ok(Progress { used, done: piece.done });
            }
        }
    }

    /// The next run of content, for a receiver that does not understand the framing: to be called
    /// with what the call before left, until the bytes are used up or the body is done.
    ///
    /// # Errors
    /// [`Fault::BadChunk`] and [`Fault::BodyTooLarge`].
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, Fault> {
        let piece = match &mut self.state {
            State::Counting(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                Piece { used: taken, data: 0..taken, done: *left == 0 }
            }
            State::Chunks(chunks) => chunks.next(bytes)?,
            State::Endless => Piece { used: bytes.len(), data: 0..bytes.len(), done: false },
        };
        self.content = self.content.saturating_add(piece.data.len() as u64);
        if self.content > self.max {
            return Err(Fault::BodyTooLarge);
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_request(version: &str, fields: &str, expect: Result<Body, Fault>) {
        let text = format!("POST / {version}\r\nHost: h\r\n{fields}\r\n");
        let head = RequestHead::parse(text.as_bytes()).unwrap();
        assert_eq!(request_body(&head), expect, "{fields:?}");
    }

    #[test]
    fn a_request_body_has_a_length_or_chunks_or_is_not_there() {
        check_request("HTTP/1.1", "", Ok(Body::None));
        check_request("HTTP/1.1", "Content-Length: 0\r\n", Ok(Body::Length(0)));
        check_request("HTTP/1.0", "content-length:  17 \r\n", Ok(Body::Length(17)));
        check_request("HTTP/1.1", "Transfer-Encoding: Chunked\r\n", Ok(Body::Chunked));
        check_request("HTTP/1.1", "Transfer-Encoding: , chunked,\r\n", Ok(Body::Chunked));
        check_request(
            "HTTP/1.1",
            "Content-Length: 9223372036854775807\r\n",
            Ok(Body::Length(i64::MAX.unsigned_abs())),
        );
    }

    #[test]
    fn a_length_that_two_parties_could_read_differently_is_refused() {
        for value in
            ["", "+1", "-1", "0x10", "1, 1", "1 1", "1;", "9223372036854775808", "1e3", "١"]
        {
            let field = format!("Content-Length: {value}\r\n");
            check_request("HTTP/1.1", &field, Err(Fault::BadContentLength));
        }
        let twice = "Content-Length: 5\r\nContent-length: 5\r\n";
        check_request("HTTP/1.1", twice, Err(Fault::BadContentLength));
        let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
        check_request("HTTP/1.1", both, Err(Fault::BadContentLength));
    }

    #[test]
    fn a_coding_other_than_exactly_chunked_is_refused() {
        for value in [
            "",
            "gzip",
            "gzip, chunked",
            "chunked, chunked",
            "xchunked",
            "chunked;q=1",
            "\"chunked\"",
        ] {
            let field = format!("Transfer-Encoding: {value}\r\n");
            check_request("HTTP/1.1", &field, Err(Fault::BadTransferEncoding));
        }
        let twice = "Transfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n";
        check_request("HTTP/1.1", twice, Err(Fault::BadTransferEncoding));
        check_request(
            "HTTP/1.0",
            "Transfer-Encoding: chunked\r\n",
            Err(Fault::BadTransferEncoding),
        );
        let identity = "Transfer-Encoding: identity\r\nContent-Length: 1\r\n";
        check_request("HTTP/1.1", identity, Err(Fault::BadTransferEncoding));
    }

    #[track_caller]
    fn check_response(method: &str, text: &str, expect: Result<Body, Fault>) {
        let head = ResponseHead::parse(format!("{text}\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(response_body(&head, method.as_bytes()), expect, "{method} {text:?}");
    }

    #[test]
    fn a_response_body_depends_on_the_method_and_the_status() {
        check_response("GET", "HTTP/1.1 200 OK", Ok(Body::UntilClose));
        check_response("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3", Ok(Body::Length(3)));
        check_response("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", Ok(Body::Chunked));
        check_response("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3", Ok(Body::None));
        for status in [100, 101, 103, 204, 304] {
            check_response(
                "GET",
                &format!("HTTP/1.1 {status} x\r\nContent-Length: 3"),
                Ok(Body::None),
            );
        }
        check_response(
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: x",
            Err(Fault::BadContentLength),
        );
        let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked";
        check_response("GET", old, Err(Fault::BadTransferEncoding));
    }

    #[test]
    fn a_counted_body_ends_after_its_last_byte() {
        let mut reader = BodyReader::new(Body::Length(5), 5).unwrap();
        assert_eq!(reader.consume(b"abc"), Ok(Progress { used: 3, done: false }));
        assert!(!reader.may_end_here());
        assert_eq!(reader.consume(b"defg"), Ok(Progress { used: 2, done: true }));
        assert_eq!(reader.consume(b"g"), Ok(Progress { used: 0, done: true }));
        assert_eq!((reader.content(), reader.is_done()), (5, true));
        let mut none = BodyReader::new(Body::None, 0).unwrap();
        assert_eq!(none.consume(b"GET"), Ok(Progress { used: 0, done: true }));
        let mut endless = BodyReader::new(Body::UntilClose, 0).unwrap();
        assert_eq!(endless.consume(b"abc"), Ok(Progress { used: 3, done: false }));
        assert!(endless.may_end_here() && !endless.is_done());
    }

    #[test]
    fn a_body_larger_than_allowed_is_refused_when_that_is_known() {
        assert_eq!(BodyReader::new(Body::Length(6), 5).err(), Some(Fault::BodyTooLarge));
        assert!(BodyReader::new(Body::Length(u64::MAX), 0).is_ok());
        let mut chunks = BodyReader::new(Body::Chunked, 5).unwrap();
        assert!(chunks.consume(b"3\r\nabc\r\n2\r\nde\r\n").is_ok());
        assert_eq!(chunks.consume(b"1\r\nf"), Err(Fault::BodyTooLarge));
    }
}
