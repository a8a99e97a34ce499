//! The little HTTP that both ends of the benchmark speak.

use std::io;

/// What a browser sends to open a WebSocket, without cookies. The key is always the same: a proxy
/// does not look at it.
pub(crate) fn upgrade_request(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\n\
         Host: bench.example.org\r\n\
         Connection: keep-alive, Upgrade\r\n\
         Pragma: no-cache\r\n\
         Cache-Control: no-cache\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Upgrade: websocket\r\n\
         Origin: http://bench.example.org\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// An ordinary request of a browser.
pub(crate) fn page_request(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\n\
         Host: bench.example.org\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: */*\r\n\
         Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
         Referer: http://bench.example.org/\r\n\r\n"
    )
    .into_bytes()
}

/// The answer to [`upgrade_request`], with the accept key that belongs to its key.
pub(crate) const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The length of a head at the beginning of `bytes`, its blank line included.
pub(crate) fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// A head as text.
pub(crate) struct Lines<'a> {
    text: &'a str,
}

impl<'a> Lines<'a> {
    /// # Errors
    /// If it is no text.
    pub(crate) fn new(head: &'a [u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(head).map_err(io::Error::other)?;
        Ok(Self { text })
    }

    /// The first line.
    pub(crate) fn first(&self) -> &'a str {
        self.text.lines().next().unwrap_or_default()
    }

    /// The value of a field, by a name in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&'a str> {
        let mut fields = self.text.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// Whether an answer opened a WebSocket.
///
/// # Errors
/// If it did not, with what was said instead.
pub(crate) fn check_switching(head: &[u8]) -> io::Result<()> {
    let lines = Lines::new(head)?;
    let accept = lines.field("sec-websocket-accept");
    if lines.first().starts_with("HTTP/1.1 101 ") && accept == Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    {
        return Ok(());
    }
    Err(io::Error::other(format!("the upgrade was answered with: {}", lines.first())))
}
