//! The request's way to the upstream: the head, then the body as it comes.
//!
//! The body is framed here and passed on as it is, never gathered. What follows it belongs to the
//! next request and never leaves for this upstream.

use crate::conn::Load;
use crate::http::framing::{Body, BodyReader};
use crate::observe::stats::Counter;
use crate::reason::{Fault, Party, Reason, Timer};

use super::Next;
use super::deadlines::Deadlines;
use super::exchange::{Http, Stage};
use super::io::Io;

/// What the upload waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flow {
    /// A connection to an upstream.
    Waiting,
    /// Bytes of the body; a receive from the client is in flight.
    Reading,
    /// The upstream to take bytes; a send is in flight there.
    Writing,
    /// Nothing: the upstream has it all.
    Done,
    /// Nothing: the upstream stopped listening, or there is none.
    Broken,
}

/// The state of a request's body.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) flow: Flow,
    pub(super) reader: BodyReader,
    pub(super) body: Body,
    /// Bytes of the load that is being written.
    in_hand: usize,
    /// Bytes of the head that the upstream has not taken yet; they are no body bytes.
    head_left: usize,
}

impl Upload {
    /// A body of at most `max` bytes (zero: no limit) that waits for its upstream.
    pub(super) fn new(body: Body, max: u64) -> Result<Self, Fault> {
        let reader = BodyReader::new(body, max)?;
        Ok(Self { flow: Flow::Waiting, reader, body, in_hand: 0, head_left: 0 })
    }

    /// That of a request whose head was refused: where its body ends is not known.
    pub(super) fn unknown() -> Self {
        let (reader, body) = (BodyReader::ENDLESS, Body::UntilClose);
        Self { flow: Flow::Broken, reader, body, in_hand: 0, head_left: 0 }
    }

    /// Whether the client has sent the whole body.
    pub(super) fn is_complete(&self) -> bool {
        self.reader.is_done()
    }

    /// Whether a send to the upstream is in flight.
    pub(super) fn is_writing(&self) -> bool {
        self.flow == Flow::Writing
    }

    /// Whether the upstream has it all, or takes no more of it.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.flow, Flow::Done | Flow::Broken)
    }

    /// The upstream takes no more of it.
    pub(super) const fn broke(&mut self) {
        self.flow = Flow::Broken;
        self.in_hand = 0;
    }

    /// Starts with the head for the upstream, and what of the body has come with the client's head.
    pub(super) fn begin(&mut self, mut head: Vec<u8>, ahead: &mut Vec<u8>) -> Result<Load, Fault> {
        self.head_left = head.len();
        if !self.is_complete() {
            let used = self.reader.consume(ahead)?.used;
            head.extend(ahead.drain(..used));
        }
        self.flow = Flow::Writing;
        self.in_hand = head.len();
        Ok(Load::owned(head))
    }
}

impl Http {
    /// Whether bytes from the client belong to a body that is being uploaded.
    pub(super) fn wants_body(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.upload.flow == Flow::Reading)
    }

    /// Some of the body came, or the client ended its stream in the middle of it.
    pub(super) fn body_received(
        &mut self,
        mut load: Load,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        let (Some(exchange), Some(upstream)) = (&mut self.exchange, self.upstream) else {
            io.give(load);
            return Next::Stay;
        };
        deadlines.clear(Timer::ClientBody);
        if load.is_empty() {
            io.give(load);
            return self.over(Reason::Truncated(Party::Client), io);
        }
        let send_ms = exchange.settings().proxy_send_timeout_ms;
        let upload = &mut exchange.upload;
        let bytes = io.chunks.load_bytes(&load);
        let used = match upload.reader.consume(bytes) {
            Ok(progress) => progress.used,
            Err(fault) => {
                io.give(load);
                upload.broke();
                return self.fail(Reason::Fault(Party::Client, fault), deadlines, io);
            }
        };
        self.ahead.extend_from_slice(&bytes[used..]);
        self.facts.tally.request_bytes += used as u64;
        load.truncate(used);
        if load.is_empty() {
            io.give(load);
            return self.upload_more(deadlines, io);
        }
        upload.flow = Flow::Writing;
        upload.in_hand = load.len();
        deadlines.set(Timer::ProxySend, io.after_ms(send_ms));
        io.send(upstream, load);
        Next::Stay
    }

    /// The upstream took some of the request.
    pub(super) fn upstream_sent(
        &mut self,
        rest: Load,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        let (Some(exchange), Some(upstream)) = (&mut self.exchange, self.upstream) else {
            io.give(rest);
            return Next::Stay;
        };
        let send_ms = exchange.settings().proxy_send_timeout_ms;
        let upload = &mut exchange.upload;
        let written = upload.in_hand - rest.len();
        let of_head = written.min(upload.head_left);
        upload.head_left -= of_head;
        self.facts.tally.bytes_up += (written - of_head) as u64;
        self.facts.tally.upstream.sent += written as u64;
        io.stats.add(Counter::BytesUp, written as u64);
        if !rest.is_empty() {
            upload.in_hand = rest.len();
            deadlines.set(Timer::ProxySend, io.after_ms(send_ms));
            io.send(upstream, rest);
            return Next::Stay;
        }
        io.give(rest);
        upload.in_hand = 0;
        deadlines.clear(Timer::ProxySend);
        self.upload_more(deadlines, io)
    }

    /// The upstream has all that came so far: reads more of the body, or waits for the answer while
    /// watching whether the client goes away.
    fn upload_more(&mut self, deadlines: &mut Deadlines, io: &mut Io<'_>) -> Next {
        let Some(exchange) = &mut self.exchange else { return Next::Stay };
        if exchange.stage != Stage::Proxying {
            return Next::Stay;
        }
        let body_ms = exchange.settings().client_body_timeout_ms;
        let read_ms = exchange.settings().proxy_read_timeout_ms;
        if exchange.upload.is_complete() {
            exchange.upload.flow = Flow::Done;
            if !exchange.download.has_begun() {
                deadlines.set(Timer::ProxyRead, io.after_ms(read_ms));
            }
            let waiting = exchange.download.has_waiting_head();
            if self.ahead.is_empty() {
                io.recv(self.client);
            }
            if waiting {
                return self.heads(deadlines, io);
            }
        } else {
            exchange.upload.flow = Flow::Reading;
            deadlines.set(Timer::ClientBody, io.after_ms(body_ms));
            io.recv(self.client);
        }
        Next::Stay
    }
}
