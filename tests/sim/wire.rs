//! HTTP as the scripted programs speak it: heads, bodies, and byte streams that can be recognised.
//!
//! Written apart from the crate's own parser on purpose: the two must agree without sharing bugs.

/// The byte at `index` of a stream; streams differ, and so do the places within one.
pub(crate) fn byte(stream: usize, index: usize) -> u8 {
    let mixed = (stream * 8191 + index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_be_bytes()[0]
}

/// Part of a stream.
pub(crate) fn bytes(stream: usize, from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|index| byte(stream, index)).collect()
}

/// A message head.
#[derive(Debug)]
pub(crate) struct Head {
    /// The request or status line.
    pub line: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// Takes a head off the front of `inbox`, if it is whole.
    pub(crate) fn take(inbox: &mut Vec<u8>) -> Option<Self> {
        let end = inbox.windows(4).position(|window| window == b"\r\n\r\n")?;
        let rest = inbox.split_off(end + 4);
        let text = String::from_utf8(std::mem::replace(inbox, rest)).expect("a head in ASCII");
        let mut lines = text.trim_end().split("\r\n");
        let line = lines.next().expect("a first line").to_owned();
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("field {line:?}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Some(Self { fields: fields.collect(), line })
    }

    /// The only value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "two {name} in {self:?}");
        value
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> u16 {
        let status = self.line.split(' ').nth(1).and_then(|word| word.parse().ok());
        status.unwrap_or_else(|| panic!("status line {:?}", self.line))
    }

    /// The target of a request.
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_else(|| panic!("request line {:?}", self.line))
    }
}

/// How a body tells its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    /// There is none.
    Empty,
    /// `Content-Length`.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The end of the connection.
    Close,
}

impl Framing {
    /// What a message's fields say; `otherwise` if they say nothing.
    pub(crate) fn of(head: &Head, otherwise: Self) -> Self {
        match (head.field("transfer-encoding"), head.field("content-length")) {
            (Some(coding), None) => {
                assert_eq!(coding, "chunked");
                Self::Chunked
            }
            (None, Some(length)) => Self::Length(length.parse().expect("a length")),
            (None, None) => otherwise,
            both => panic!("two framings: {both:?}"),
        }
    }

    /// The header line, with its end.
    pub(crate) fn line(self) -> String {
        match self {
            Self::Empty | Self::Close => String::new(),
            Self::Length(length) => format!("Content-Length: {length}\r\n"),
            Self::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        }
    }

    /// Content as it travels; `last` marks the end of the body.
    pub(crate) fn wrap(self, content: &[u8], last: bool) -> Vec<u8> {
        if self != Self::Chunked {
            return content.to_vec();
        }
        let mut wire = Vec::new();
        if !content.is_empty() {
            wire.extend_from_slice(format!("{:x}\r\n", content.len()).as_bytes());
            wire.extend_from_slice(content);
            wire.extend_from_slice(b"\r\n");
        }
        if last {
            wire.extend_from_slice(b"0\r\n\r\n");
        }
        wire
    }
}

/// Takes a body off an inbox, piece by piece.
#[derive(Debug)]
pub(crate) struct Unwrap {
    framing: Framing,
    /// Bytes left of the body, or of the current chunk.
    left: usize,
    /// The final chunk is here.
    done: bool,
    /// The line end behind a chunk's content has to come first.
    behind_chunk: bool,
}

impl Unwrap {
    pub(crate) fn new(framing: Framing) -> Self {
        let (left, done) = match framing {
            Framing::Empty => (0, true),
            Framing::Length(length) => (length, length == 0),
            Framing::Chunked => (0, false),
            Framing::Close => (usize::MAX, false),
        };
        Self { framing, left, done, behind_chunk: false }
    }

    /// Whether the body is whole; one that ends with the connection never is by itself.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the end of the connection ends the body properly.
    pub(crate) fn ends_with_connection(&self) -> bool {
        self.framing == Framing::Close
    }

    /// Takes the content that is there.
    pub(crate) fn take(&mut self, inbox: &mut Vec<u8>) -> Vec<u8> {
        let mut content = Vec::new();
        while !self.done {
            if self.framing == Framing::Chunked && self.left == 0 && !self.chunk_line(inbox) {
                break;
            }
            if self.done || inbox.is_empty() {
                break;
            }
            let count = self.left.min(inbox.len());
            content.extend(inbox.drain(..count));
            self.left -= count;
            self.behind_chunk = self.left == 0;
            self.done = self.left == 0 && self.framing != Framing::Chunked;
        }
        content
    }

    /// Takes the line before a chunk; false if it is not here yet.
    fn chunk_line(&mut self, inbox: &mut Vec<u8>) -> bool {
        let from = if self.behind_chunk { 2 } else { 0 };
        let Some(line) = inbox.get(from..).and_then(|rest| {
            let end = rest.windows(2).position(|window| window == b"\r\n")?;
            Some(rest[..end].to_vec())
        }) else {
            return false;
        };
        let text = String::from_utf8(line).expect("a chunk size in ASCII");
        let size = usize::from_str_radix(&text, 16).unwrap_or_else(|_| panic!("size {text:?}"));
        let mut used = from + text.len() + 2;
        if size == 0 {
            if inbox.len() < used + 2 {
                return false;
            }
            assert_eq!(&inbox[used..used + 2], b"\r\n", "a trailer nobody sent");
            used += 2;
            self.done = true;
        }
        assert!(from == 0 || inbox.starts_with(b"\r\n"), "a chunk longer than its size");
        inbox.drain(..used);
        self.left = size;
        self.behind_chunk = false;
        true
    }
}
