//! What is known about a request besides its heads, and the frame in which variables are read.
//!
//! A session writes [`Facts`] as things happen. They come in two parts, because a tunnel lives for
//! hours: most of them stand still once the response head is sent, so a log line can be half
//! rendered then ([`Template::freeze`](super::template::Template::freeze)); what still runs is the
//! [`Tally`], and a tunnel keeps nothing else, packed as a [`TunnelTally`]. Deliberately absent:
//! the heads, which the session owns, and any clock.

use crate::clock::{Instant, Now, PackedTime};
use crate::config::model::{Config, LocationId, Pattern, ServerId};
use crate::conn::{Addr, Ends};
use crate::reason::Reason;

use super::head::{RequestHead, ResponseHead};
use super::time::LocalTime;

/// What is known about a request while it is being answered.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The client and the address it connected to.
    pub ends: Ends,
    /// `$connection`: the connection's serial number.
    pub connection: u64,
    /// `$connection_requests`: the number of this request on its connection, from 1.
    pub requests: u32,
    /// True exactly when the request was already buffered while the one before was answered
    /// (`$pipe`).
    pub pipelined: bool,
    /// What still changes.
    pub tally: Tally,
    tries: Vec<Try>,
}

/// The running part of [`Facts`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// When the client connected.
    pub connection_start: Instant,
    /// When the first byte of the request came.
    pub request_start: Instant,
    /// When both sides had agreed to switch protocols.
    pub tunnel_start: Option<Instant>,
    /// `$request_length`: bytes of the request's head and body.
    pub request_bytes: u64,
    /// `$bytes_sent`: all bytes written to the client, heads included.
    pub bytes_sent: u64,
    /// The part of them that were response heads; the rest is `$body_bytes_sent`.
    pub head_bytes_sent: u64,
    /// `$upsplice_bytes_up`: tunnel or body bytes written to the upstream.
    pub bytes_up: u64,
    /// `$upsplice_bytes_down`: tunnel or body bytes written to the client that came from the
    /// upstream.
    pub bytes_down: u64,
    /// Bytes exchanged with the upstream that is, or was last, in use.
    pub upstream: Transfer,
    /// Why the request or the tunnel ended.
    pub reason: Option<Reason>,
    /// `$status`: what the client was answered, zero before that.
    pub status: u16,
}

/// A [`Tally`] while a tunnel is open, in half of its bytes.
///
/// What stands still by then are lengths of heads, because a request for an upgrade has no body, so
/// four bytes hold each; and of the sums, only the part that still grows is counted.
#[derive(Clone, Copy, Debug)]
pub struct TunnelTally {
    connection_start: PackedTime,
    request_start: PackedTime,
    upstream_start: PackedTime,
    tunnel_start: PackedTime,
    request_bytes: u32,
    head_bytes_sent: u32,
    /// What the client will have been sent when it has taken all of the 101 head.
    bytes_sent: u32,
    upstream_sent: u32,
    upstream_received: u32,
    /// Tunnel bytes written to the upstream.
    pub bytes_up: u64,
    /// Tunnel bytes written to the client.
    pub bytes_down: u64,
    /// Tunnel bytes that came from the upstream.
    pub upstream_body: u64,
}

impl TunnelTally {
    /// The counts of a tunnel that opens now.
    ///
    /// `head_bytes` of the 101 head are about to be sent and counted as such in `tally`; `behind`
    /// tunnel bytes came with the upstream's own.
    #[must_use]
    pub fn new(tally: &Tally, head_bytes: usize, behind: usize, now: Instant) -> Self {
        let head = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        let (head_bytes, behind) = (head_bytes as u64, behind as u64);
        Self {
            connection_start: PackedTime::new(tally.connection_start.ms()),
            request_start: PackedTime::new(tally.request_start.ms()),
            upstream_start: PackedTime::new(tally.upstream.start.ms()),
            tunnel_start: PackedTime::new(now.ms()),
            request_bytes: head(tally.request_bytes),
            head_bytes_sent: head(tally.head_bytes_sent),
            bytes_sent: head(tally.bytes_sent + head_bytes),
            upstream_sent: head(tally.upstream.sent),
            upstream_received: head(tally.upstream.received.saturating_sub(behind)),
            bytes_up: 0,
            bytes_down: 0,
            upstream_body: behind,
        }
    }

    /// All that a log line may ask for; of the 101 head, `head_left` bytes were never taken.
    #[must_use]
    pub fn finish(&self, head_left: u32, reason: Reason) -> Tally {
        let start = |time: PackedTime| Instant::from_ms(time.get());
        Tally {
            connection_start: start(self.connection_start),
            request_start: start(self.request_start),
            tunnel_start: Some(start(self.tunnel_start)),
            request_bytes: self.request_bytes.into(),
            bytes_sent: u64::from(self.bytes_sent.saturating_sub(head_left)) + self.bytes_down,
            head_bytes_sent: self.head_bytes_sent.into(),
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
            upstream: Transfer {
                start: start(self.upstream_start),
                elapsed_ms: None,
                sent: u64::from(self.upstream_sent) + self.bytes_up,
                received: u64::from(self.upstream_received) + self.upstream_body,
                body: self.upstream_body,
            },
            reason: Some(reason),
            status: 101,
        }
    }
}

/// What one upstream took and gave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transfer {
    /// When the connection was asked for.
    pub start: Instant,
    /// How long it lasted, in milliseconds, once it is over.
    pub elapsed_ms: Option<u64>,
    /// `$upstream_bytes_sent`.
    pub sent: u64,
    /// `$upstream_bytes_received`.
    pub received: u64,
    /// `$upstream_response_length`: the body's or the tunnel's part of `received`.
    pub body: u64,
}

/// One upstream that was tried.
#[derive(Clone, Debug)]
pub(super) struct Try {
    pub(super) peer: Addr,
    pub(super) status: u16,
    pub(super) connect_ms: Option<u64>,
    pub(super) header_ms: Option<u64>,
    /// Final once another try follows; that of the last try is in the [`Tally`].
    pub(super) transfer: Transfer,
}

impl Facts {
    /// The facts of a connection that has just been accepted.
    #[must_use]
    pub fn new(ends: Ends, connection: u64, now: Instant) -> Self {
        let tally = Tally { connection_start: now, request_start: now, ..Tally::default() };
        Self { ends, connection, requests: 0, pipelined: false, tally, tries: Vec::new() }
    }

    /// A request begins on the connection: everything about the one before is forgotten.
    pub fn begin_request(&mut self, pipelined: bool, now: Instant) {
        let connection_start = self.tally.connection_start;
        self.tally = Tally { connection_start, request_start: now, ..Tally::default() };
        self.requests = self.requests.saturating_add(1);
        self.pipelined = pipelined;
        self.tries.clear();
    }

    /// A connection to an upstream is asked for.
    pub fn try_started(&mut self, peer: Addr, now: Instant) {
        if let Some(last) = self.tries.last_mut() {
            last.transfer = self.tally.upstream;
        }
        self.tally.upstream = Transfer { start: now, ..Transfer::default() };
        self.tries.push(Try {
            peer,
            status: 0,
            connect_ms: None,
            header_ms: None,
            transfer: Transfer::default(),
        });
    }

    /// The connection to the upstream stands.
    pub fn try_connected(&mut self, now: Instant) {
        let elapsed = now.since_ms(self.tally.upstream.start);
        if let Some(last) = self.tries.last_mut() {
            last.connect_ms = Some(elapsed);
        }
    }

    /// The upstream's final response head, or its 101, is complete.
    pub fn try_answered(&mut self, status: u16, now: Instant) {
        let elapsed = now.since_ms(self.tally.upstream.start);
        if let Some(last) = self.tries.last_mut() {
            last.status = status;
            last.header_ms = Some(elapsed);
        }
    }

    /// The upstream is done with or given up; `status` is logged for it if it never answered.
    pub fn try_ended(&mut self, status: u16, now: Instant) {
        let elapsed = now.since_ms(self.tally.upstream.start);
        self.tally.upstream.elapsed_ms.get_or_insert(elapsed);
        if let Some(last) = self.tries.last_mut().filter(|last| last.status == 0) {
            last.status = status;
        }
    }

    /// How many upstreams were tried for this request.
    #[must_use]
    pub const fn tries(&self) -> usize {
        self.tries.len()
    }

    /// The upstream that was tried last.
    #[must_use]
    pub fn last_peer(&self) -> Option<&Addr> {
        self.tries.last().map(|last| &last.peer)
    }

    /// The tries, oldest first, each with its transfer.
    pub(super) fn each_try(&self) -> impl ExactSizeIterator<Item = (&Try, &Transfer)> {
        let last = self.tries.len().saturating_sub(1);
        self.tries.iter().enumerate().map(move |(index, attempt)| {
            (attempt, if index == last { &self.tally.upstream } else { &attempt.transfer })
        })
    }
}

/// What is the same for all requests of a worker.
#[derive(Debug)]
pub struct Host {
    /// `$hostname`.
    pub name: Box<str>,
    /// `$pid`.
    pub pid: u32,
    /// `$upsplice_engine`: `io_uring`, `epoll` or `sim`.
    pub engine: &'static str,
    /// Where `$request_id`s begin: random bits, other ones in each worker.
    pub request_seed: u64,
    /// The time zone of `$time_local` and `$time_iso8601`.
    pub time: LocalTime,
}

/// Everything a variable may be read from.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The worker.
    pub host: &'a Host,
    /// The current time.
    pub now: Now,
    /// The facts.
    pub facts: &'a Facts,
    /// The request, once its head is complete.
    pub request: Option<&'a RequestHead>,
    /// What came in place of a request: the bytes of a head that was refused or never finished, for
    /// `$request`.
    pub refused: Option<&'a [u8]>,
    /// The upstream's response (`$upstream_http_…`).
    pub response: Option<&'a ResponseHead>,
    /// The head that goes to the client (`$sent_http_…`), as bytes.
    pub sent: Option<&'a [u8]>,
    /// The configuration.
    pub config: &'a Config,
    /// The server that took the request, or the listener's default.
    pub server: ServerId,
    /// The location that took it, or the server's root.
    pub location: LocationId,
    /// What the groups of `server_name` and `location` regexes matched.
    pub captures: &'a Captures,
}

/// What the groups of regular expressions matched: `$1` … `$9` of the last expression, named groups
/// of all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Captures {
    groups: Vec<Box<[u8]>>,
    named: Vec<(Box<str>, Box<[u8]>)>,
}

impl Captures {
    /// No groups.
    pub const NONE: Self = Self { groups: Vec::new(), named: Vec::new() };

    /// Matches `text`; if it matches, remembers what the groups hold.
    pub fn capture(&mut self, pattern: &Pattern, text: &[u8]) -> bool {
        let regex = &pattern.regex;
        if regex.captures_len() == 1 {
            let matched = regex.is_match(text);
            if matched {
                self.groups.clear();
            }
            return matched;
        }
        let Some(found) = regex.captures(text) else { return false };
        self.groups.clear();
        for (index, name) in regex.capture_names().enumerate().skip(1) {
            let value: Box<[u8]> = found.get(index).map_or(&b""[..], |m| m.as_bytes()).into();
            if let Some(name) = name {
                self.named.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                self.named.push((name.into(), value.clone()));
            }
            self.groups.push(value);
        }
        true
    }

    /// The text of group `number`, from 1.
    #[must_use]
    pub fn group(&self, number: u8) -> Option<&[u8]> {
        let index = usize::from(number).checked_sub(1)?;
        self.groups.get(index).map(AsRef::as_ref)
    }

    /// The text of a named group.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&[u8]> {
        let found = self.named.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tunnel_keeps_stays_small() {
        assert!(size_of::<TunnelTally>() <= 64, "{}", size_of::<TunnelTally>());
        assert!(size_of::<Tally>() <= 160, "{}", size_of::<Tally>());
        assert!(size_of::<Facts>() <= 288, "{}", size_of::<Facts>());
    }

    #[test]
    fn a_packed_tally_says_what_a_running_one_would() {
        let at = Instant::from_ms;
        let mut tally = Tally {
            connection_start: at(1 << 33),
            request_start: at((1 << 33) + 5),
            request_bytes: 700,
            // An interim head of 30 bytes is sent, a 101 of 100 counted and not sent yet.
            bytes_sent: 30,
            head_bytes_sent: 130,
            upstream: Transfer { start: at((1 << 33) + 6), sent: 650, ..Transfer::default() },
            status: 101,
            ..Tally::default()
        };
        tally.upstream.received = 90 + 4;
        let mut packed = TunnelTally::new(&tally, 100, 4, at((1 << 33) + 9));
        packed.bytes_up += 5 << 32;
        packed.upstream_body += 6 << 32;
        packed.bytes_down += 7;

        tally.tunnel_start = Some(at((1 << 33) + 9));
        tally.reason = Some(Reason::Done);
        (tally.bytes_up, tally.bytes_down) = (5 << 32, 7);
        tally.upstream.sent += 5 << 32;
        tally.upstream.received += 6 << 32;
        tally.upstream.body = 4 + (6 << 32);
        for head_left in [0, 60] {
            tally.bytes_sent = 30 + 100 - u64::from(head_left) + 7;
            let finished = packed.finish(head_left, Reason::Done);
            assert_eq!(format!("{finished:?}"), format!("{tally:?}"));
        }
    }

    #[test]
    fn groups_belong_to_the_last_expression_and_names_to_all() {
        let pattern = |text: &str| Pattern {
            text: text.into(),
            regex: regex::bytes::Regex::new(text).unwrap(),
        };
        let mut captures = Captures::default();
        assert!(captures.capture(&pattern("^(?<user>[a-z]+)[.](.*)$"), b"ann.example.com"));
        assert_eq!(captures.group(1), Some(&b"ann"[..]));
        assert_eq!(captures.group(2), Some(&b"example.com"[..]));
        assert!(!captures.capture(&pattern("^(x)$"), b"y"));
        assert_eq!(captures.group(2), Some(&b"example.com"[..]));
        assert!(captures.capture(&pattern("^/ws/(?<room>[0-9]+)"), b"/ws/17"));
        assert_eq!((captures.group(1), captures.group(2)), (Some(&b"17"[..]), None));
        assert_eq!(captures.named("USER"), Some(&b"ann"[..]));
        assert_eq!((captures.group(0), captures.named("nobody")), (None, None));
    }
}
