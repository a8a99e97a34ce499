//! The upstream's answer on its way to the client: heads are rewritten, bodies framed and passed
//! on.
//!
//! One load at a time, as in a tunnel: nothing is read from the upstream while the client has not
//! taken what came before. A 101 that answers an asked-for upgrade opens a tunnel; any other 101 is
//! refused.

use crate::conn::Load;
use crate::http::facts::{Context, TunnelTally};
use crate::http::framing::{self, BodyReader};
use crate::http::head::{RequestHead, ResponseHead, Version};
use crate::http::rewrite::{self, Delivery};
use crate::http::scanner::{HeadScanner, Scan};
use crate::http::upgrade;
use crate::observe::stats::Counter;
use crate::reason::{Fault, Party, Reason, Timer};

use super::Next;
use super::deadlines::Deadlines;
use super::exchange::{Http, Stage};
use super::io::Io;
use super::tunnel::{Opening, Tunnel};

/// What comes next from the upstream.
#[derive(Debug)]
pub(super) enum Part {
    /// A response head. The bytes are what came behind an interim one (1xx).
    Head(HeadScanner, Vec<u8>),
    /// The body.
    Body(BodyReader),
    /// Nothing: the answer is complete, or it is our own.
    Nothing,
}

/// The state of a response.
#[derive(Debug)]
pub(super) struct Download {
    part: Part,
    /// Bytes of the load that the client is being sent; zero when none is.
    in_hand: usize,
    /// Bytes of heads among the bytes that the client has yet to take.
    head_left: usize,
    /// Our own answer, until the client has taken the interim one before it.
    next: Option<Load>,
    /// True exactly when a final response head, or an answer of our own, is on its way.
    begun: bool,
    /// True exactly when chunks have to be taken apart for an HTTP/1.0 client.
    dechunk: bool,
}

impl Download {
    pub(super) fn new(head_max: usize) -> Self {
        Self {
            part: Part::Head(HeadScanner::response(head_max), Vec::new()),
            in_hand: 0,
            head_left: 0,
            next: None,
            begun: false,
            dechunk: false,
        }
    }

    /// Whether the client is getting an answer already, so that no other one can be given.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// From here on the answer is our own.
    pub(super) fn take_over(&mut self) {
        self.part = Part::Nothing;
        self.begun = true;
    }

    /// Whether a head has come that waits for the request to be written.
    pub(super) fn has_waiting_head(&self) -> bool {
        matches!(&self.part, Part::Head(_, rest) if !rest.is_empty())
    }

    const fn is_complete(&self) -> bool {
        matches!(self.part, Part::Nothing)
    }
}

impl Http {
    /// Bytes from the upstream, or the end of its stream.
    pub(super) fn upstream_received(
        &mut self,
        load: Load,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        let Some(exchange) = &mut self.exchange else {
            io.give(load);
            return Next::Stay;
        };
        self.facts.tally.upstream.received += load.len() as u64;
        if exchange.stage != Stage::Proxying {
            io.give(load);
            return Next::Stay;
        }
        match &mut exchange.download.part {
            Part::Head(scanner, rest) => {
                if load.is_empty() {
                    let reason = if scanner.is_empty() {
                        Reason::Closed(Party::Upstream)
                    } else {
                        Reason::Truncated(Party::Upstream)
                    };
                    io.give(load);
                    return self.fail(reason, deadlines, io);
                }
                rest.extend_from_slice(io.chunks.load_bytes(&load));
                io.give(load);
                self.heads(deadlines, io)
            }
            Part::Body(_) => self.response_body(load, deadlines, io),
            Part::Nothing => {
                io.give(load);
                Next::Stay
            }
        }
    }

    /// Goes through the heads that have come: interim ones are passed on, a final one or a 101 ends
    /// this part.
    pub(super) fn heads(&mut self, deadlines: &mut Deadlines, io: &mut Io<'_>) -> Next {
        loop {
            let (Some(exchange), Some(upstream)) = (&mut self.exchange, self.upstream) else {
                return Next::Stay;
            };
            // The client takes what came before first; and the send lane of the upstream must be
            // the tunnel's alone before it begins.
            let download = &exchange.download;
            if download.in_hand > 0 || (exchange.protocol.is_some() && exchange.upload.is_writing())
            {
                return Next::Stay;
            }
            let read_ms = exchange.settings().proxy_read_timeout_ms;
            let head_max = exchange.settings().proxy_buffer_bytes;
            let Part::Head(scanner, rest) = &mut exchange.download.part else { return Next::Stay };
            let head = match scanner.push(rest) {
                Ok(Scan::Partial) => {
                    rest.clear();
                    // An upstream that is still being sent the request owes no answer yet.
                    if exchange.upload.is_over() {
                        deadlines.set(Timer::ProxyRead, io.after_ms(read_ms));
                    }
                    io.recv(upstream);
                    return Next::Stay;
                }
                Ok(Scan::Complete { used }) => {
                    rest.drain(..used);
                    scanner.parse_response()
                }
                Err(fault) => Err(fault),
            };
            let head = match head {
                Ok(head) => head,
                Err(fault) => {
                    return self.fail(Reason::Fault(Party::Upstream, fault), deadlines, io);
                }
            };
            *scanner = HeadScanner::response(head_max);
            let rest = std::mem::take(rest);
            match head.status() {
                101 => return self.switch(head, rest, deadlines, io),
                100..=199 => {
                    let client = exchange.request.as_ref().map(RequestHead::version);
                    exchange.download.part = Part::Head(HeadScanner::response(head_max), rest);
                    let interim = rewrite::interim_head(client.unwrap_or(Version::Http10), &head);
                    if let Some(interim) = interim {
                        let len = interim.len();
                        self.send_client(interim, len, deadlines, io);
                        return Next::Stay;
                    }
                }
                _ => return self.final_head(head, rest, deadlines, io),
            }
        }
    }

    /// The answer begins: its head, rewritten, and what came of its body.
    fn final_head(
        &mut self,
        head: ResponseHead,
        rest: Vec<u8>,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        let Some(exchange) = &mut self.exchange else { return Next::Stay };
        let Some(request) = &exchange.request else { return Next::Stay };
        let body = match framing::response_body(&head, request.method()) {
            Ok(body) => body,
            Err(fault) => return self.fail(Reason::Fault(Party::Upstream, fault), deadlines, io),
        };
        let wanted = exchange.keep_alive && exchange.upload.is_complete() && !io.draining;
        let wanted = wanted && !exchange.is_declined_upgrade(&self.ahead);
        let delivery = Delivery::new(body, request.version(), wanted);
        self.facts.try_answered(head.status(), io.mono());
        self.facts.tally.status = head.status();
        exchange.download.dechunk = delivery.dechunk;
        exchange.keep_alive = delivery.keep_alive;
        let cx = Context { response: Some(&head), ..Self::context(&self.facts, exchange, io) };
        let sent = rewrite::response_head(&cx, &head, body, delivery);
        exchange.response = Some(head);
        let head = sent;
        exchange.sent_head.clone_from(&head);
        exchange.download.begun = true;
        let reader = match BodyReader::new(body, 0) {
            Ok(reader) => reader,
            Err(fault) => return self.fail(Reason::Fault(Party::Upstream, fault), deadlines, io),
        };
        exchange.download.part = Part::Body(reader);
        deadlines.clear(Timer::ProxyRead);
        let head_bytes = head.len();
        match self.follow_body(rest, head) {
            Ok(bytes) => {
                self.send_client(bytes, head_bytes, deadlines, io);
                Next::Stay
            }
            Err(fault) => {
                // Nothing of the answer has left, so the client can still be told.
                if let Some(exchange) = &mut self.exchange {
                    exchange.download.begun = false;
                }
                self.fail(Reason::Fault(Party::Upstream, fault), deadlines, io)
            }
        }
    }

    /// Appends what belongs to the body to `out`, which already holds the head.
    fn follow_body(&mut self, bytes: Vec<u8>, mut out: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let Some(exchange) = &mut self.exchange else { return Ok(out) };
        let download = &mut exchange.download;
        let Part::Body(reader) = &mut download.part else { return Ok(out) };
        let dechunk = download.dechunk;
        let used = if dechunk {
            take_apart(reader, &bytes, &mut out)?
        } else {
            let used = reader.consume(&bytes)?.used;
            out.extend_from_slice(&bytes[..used]);
            used
        };
        self.facts.tally.upstream.body += used as u64;
        if reader.is_done() {
            download.part = Part::Nothing;
        }
        Ok(out)
    }

    /// More of the body, or the end of the upstream's stream.
    fn response_body(
        &mut self,
        mut load: Load,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        let Some(exchange) = &mut self.exchange else {
            io.give(load);
            return Next::Stay;
        };
        deadlines.clear(Timer::ProxyRead);
        let download = &mut exchange.download;
        let Part::Body(reader) = &mut download.part else {
            io.give(load);
            return Next::Stay;
        };
        if load.is_empty() {
            io.give(load);
            if !reader.may_end_here() {
                return self.over(Reason::Truncated(Party::Upstream), io);
            }
            download.part = Part::Nothing;
            return self.finished(deadlines, io);
        }
        let bytes = io.chunks.load_bytes(&load);
        if download.dechunk {
            let mut out = Vec::new();
            let taken = take_apart(reader, bytes, &mut out);
            io.give(load);
            match taken {
                Ok(used) => self.facts.tally.upstream.body += used as u64,
                Err(fault) => return self.over(Reason::Fault(Party::Upstream, fault), io),
            }
            if reader.is_done() {
                download.part = Part::Nothing;
            }
            if out.is_empty() {
                return self.download_more(deadlines, io);
            }
            self.send_load(Load::owned(out), deadlines, io);
            return Next::Stay;
        }
        let used = match reader.consume(bytes) {
            Ok(progress) => progress.used,
            Err(fault) => {
                io.give(load);
                return self.over(Reason::Fault(Party::Upstream, fault), io);
            }
        };
        self.facts.tally.upstream.body += used as u64;
        if reader.is_done() {
            download.part = Part::Nothing;
        }
        load.truncate(used);
        if load.is_empty() {
            io.give(load);
            return self.download_more(deadlines, io);
        }
        self.send_load(load, deadlines, io);
        Next::Stay
    }

    /// The upstream switches protocols: a tunnel, if that is what was asked for.
    fn switch(
        &mut self,
        head: ResponseHead,
        behind: Vec<u8>,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        let (Some(exchange), Some(upstream)) = (&mut self.exchange, self.upstream) else {
            return Next::Stay;
        };
        if let Err(fault) = upgrade::granted(&head, exchange.protocol.as_ref()) {
            return self.fail(Reason::Fault(Party::Upstream, fault), deadlines, io);
        }
        self.facts.try_answered(101, io.mono());
        self.facts.tally.status = 101;
        let cx = Context { response: Some(&head), ..Self::context(&self.facts, exchange, io) };
        let mut answer = rewrite::switch_head(&cx, &head);
        exchange.response = Some(head);
        exchange.sent_head.clone_from(&answer);
        let head_bytes = answer.len();
        self.facts.tally.head_bytes_sent += head_bytes as u64;
        answer.extend_from_slice(&behind);
        let tally = TunnelTally::new(&self.facts.tally, head_bytes, behind.len(), io.mono());
        let record = Self::record(&self.facts, exchange, tally, io);
        let who = Self::parties(&self.facts, exchange);
        let settings = exchange.settings();
        let lifetime_ms = settings.tunnel_max_lifetime_ms.map(|ms| {
            let jitter = ms / 100 * u64::from(settings.tunnel_lifetime_jitter_percent);
            ms - io.prng.below(jitter + 1)
        });
        io.stats.answered(101);
        let opening = Opening {
            early: Load::owned(std::mem::take(&mut self.ahead)),
            answer: Load::owned(answer),
            head_bytes,
            record,
            who,
            terms: exchange.terms(io),
            lifetime_ms,
        };
        Next::Tunnel(Tunnel::open(self.client, upstream, opening, deadlines, io))
    }

    /// Sends the client bytes of which the first `head_bytes` are a head.
    pub(super) fn send_client(
        &mut self,
        bytes: Vec<u8>,
        head_bytes: usize,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) {
        if let Some(exchange) = &mut self.exchange {
            exchange.download.head_left += head_bytes;
        }
        self.send_load(Load::owned(bytes), deadlines, io);
    }

    fn send_load(&mut self, load: Load, deadlines: &mut Deadlines, io: &mut Io<'_>) {
        let Some(exchange) = &mut self.exchange else { return io.give(load) };
        let send_ms = exchange.settings().send_timeout_ms;
        let download = &mut exchange.download;
        if download.in_hand > 0 {
            // An answer of our own can follow an interim one that is still on its way, which must
            // go on in time all the same.
            debug_assert!(download.next.is_none(), "two loads wait for one client");
            download.next = Some(load);
            if !deadlines.is_set(Timer::Send) {
                deadlines.set(Timer::Send, io.after_ms(send_ms));
            }
            return;
        }
        download.in_hand = load.len();
        deadlines.set(Timer::Send, io.after_ms(send_ms));
        io.send(self.client, load);
    }

    /// The client took some of the answer.
    pub(super) fn client_sent(
        &mut self,
        rest: Load,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        let Some(exchange) = &mut self.exchange else {
            io.give(rest);
            return Next::Stay;
        };
        let send_ms = exchange.settings().send_timeout_ms;
        let download = &mut exchange.download;
        let written = download.in_hand - rest.len();
        let of_head = written.min(download.head_left);
        download.head_left -= of_head;
        let tally = &mut self.facts.tally;
        tally.bytes_sent += written as u64;
        tally.head_bytes_sent += of_head as u64;
        if exchange.stage == Stage::Proxying {
            tally.bytes_down += (written - of_head) as u64;
        }
        io.stats.add(Counter::BytesDown, written as u64);
        if rest.is_empty() {
            io.give(rest);
            download.in_hand = 0;
            deadlines.clear(Timer::Send);
        } else {
            download.in_hand = rest.len();
            deadlines.set(Timer::Send, io.after_ms(send_ms));
            io.send(self.client, rest);
            return Next::Stay;
        }
        if let Some(load) = exchange.download.next.take() {
            self.send_load(load, deadlines, io);
            return Next::Stay;
        }
        self.download_more(deadlines, io)
    }

    /// The client has taken everything that came: reads more, or is finished.
    fn download_more(&mut self, deadlines: &mut Deadlines, io: &mut Io<'_>) -> Next {
        let Some(exchange) = &mut self.exchange else { return Next::Stay };
        if exchange.download.is_complete() {
            return self.finished(deadlines, io);
        }
        if let Part::Head(..) = &exchange.download.part {
            return self.heads(deadlines, io);
        }
        let read_ms = exchange.settings().proxy_read_timeout_ms;
        if let Some(upstream) = self.upstream {
            deadlines.set(Timer::ProxyRead, io.after_ms(read_ms));
            io.recv(upstream);
        }
        Next::Stay
    }
}

/// Appends the content of chunked bytes to `out`; returns how many of the bytes are dealt with.
fn take_apart(reader: &mut BodyReader, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Fault> {
    let mut used = 0;
    while used < bytes.len() && !reader.is_done() {
        let piece = reader.next(&bytes[used..])?;
        out.extend_from_slice(&bytes[used..][piece.data]);
        used += piece.used;
    }
    Ok(used)
}
