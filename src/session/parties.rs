//! Who talks to whom about what: the end of many a line of the error log.
//!
//! A tunnel may need these words hours after its request is gone, and most never do. So they are
//! kept without the sentence around them and without what all tunnels of a location share.

use core::fmt;

use crate::conn::Addr;
use crate::limits::LINE_SHOWN_BYTES;

/// Stands between the words; no address has it, and a request line is escaped.
const BETWEEN: char = '\0';

/// The words: the client's address, the request's first line, and the upstream's address where
/// there is one. One allocation, of 50 bytes rather than the 100 of the sentence.
#[derive(Debug)]
pub(super) struct Parties(Box<str>);

/// The sentence.
#[derive(Debug)]
pub(super) struct Described<'a> {
    parties: &'a Parties,
    /// The host of `proxy_pass`.
    host: &'a str,
}

impl Parties {
    /// Takes down the words; of the line no more than [`LINE_SHOWN_BYTES`].
    pub(super) fn new(client: &Addr, line: &[u8], upstream: Option<&Addr>) -> Self {
        let line = line[..line.len().min(LINE_SHOWN_BYTES)].escape_ascii();
        let mut words = format!("{client}{BETWEEN}{line}");
        if let Some(upstream) = upstream {
            words.push_str(&format!("{BETWEEN}{upstream}"));
        }
        // Copied rather than cut to size: what a cut leaves is a hole that nothing fits.
        Self(words.as_str().into())
    }

    /// The sentence; `host` is that of `proxy_pass`, and stays unsaid without an upstream.
    pub(super) const fn describe<'a>(&'a self, host: &'a str) -> Described<'a> {
        Described { parties: self, host }
    }
}

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.parties.0.splitn(3, BETWEEN);
        let client = words.next().unwrap_or_default();
        let request = words.next().unwrap_or_default();
        write!(f, "client: {client}, request: \"{request}\"")?;
        match words.next() {
            Some(upstream) => write!(f, ", upstream: {upstream} of {}", self.host),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_is_complete() {
        let client = Addr::Inet(([192, 0, 2, 7], 4711).into());
        let upstream = Addr::Unix("/run/chat.sock".into());
        let line = b"GET /chat\"\0 HTTP/1.1";
        assert_eq!(
            Parties::new(&client, line, Some(&upstream)).describe("chat").to_string(),
            "client: 192.0.2.7:4711, request: \"GET /chat\\\"\\x00 HTTP/1.1\", \
             upstream: unix:/run/chat.sock of chat"
        );
        assert_eq!(
            Parties::new(&client, b"", None).describe("chat").to_string(),
            "client: 192.0.2.7:4711, request: \"\""
        );
        let long = [b'a'; 2 * LINE_SHOWN_BYTES];
        let shown = Parties::new(&client, &long, None).describe("").to_string();
        assert_eq!(shown.bytes().filter(|&b| b == b'a').count(), LINE_SHOWN_BYTES);
    }
}
