//! An HTTP connection: requests are collected, each is one exchange with an upstream or an answer
//! of our own.
//!
//! Here is the table of events; what they mean is in [`request`](super::request) (heads and
//! routing), [`connect`](super::connect) (choosing and reaching a server),
//! [`upload`](super::upload) (the request body), [`download`](super::download) (the response) and
//! [`finish`](super::finish) (answers, the log line, what becomes of the connection).

use std::rc::Rc;

use crate::clock::Instant;
use crate::config::model::{Config, LocationId, ServerId, Settings};
use crate::conn::{ConnId, Ends, Event, Lane, Load, Side};
use crate::http::facts::{Captures, Context, Facts};
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::scanner::HeadScanner;
use crate::http::upgrade::Protocol;
use crate::reason::{Party, Reason, Timer};
use crate::upstream::balance::Tried;

use super::Next;
use super::deadlines::Deadlines;
use super::download::Download;
use super::io::Io;
use super::terms::Terms;
use super::upload::Upload;

/// The scanner of a connection on which no head is being collected: it holds no memory.
pub(super) const NO_HEAD: HeadScanner = HeadScanner::response(0);

/// A client connection that speaks HTTP.
#[derive(Debug)]
pub(super) struct Http {
    pub(super) id: u32,
    pub(super) client: ConnId,
    pub(super) upstream: Option<ConnId>,
    /// An index into [`Config::listens`].
    pub(super) listen: usize,
    pub(super) facts: Facts,
    /// Bytes that arrived and belong to nothing yet: the beginning of the next head, or what a
    /// client sent behind a request head.
    pub(super) ahead: Vec<u8>,
    pub(super) scanner: HeadScanner,
    /// True exactly when the first byte of the request being collected has come.
    pub(super) begun: bool,
    /// Since when the client owes us a request.
    pub(super) idle_since: Instant,
    pub(super) exchange: Option<Box<Exchange>>,
}

/// One request and its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) config: Rc<Config>,
    pub(super) server: ServerId,
    pub(super) location: LocationId,
    pub(super) captures: Captures,
    /// `None` when the head was refused or never completed.
    pub(super) request: Option<RequestHead>,
    /// What came of such a head.
    pub(super) refused: Vec<u8>,
    /// What the client asked to switch to, if the operator allows it.
    pub(super) protocol: Option<Protocol>,
    pub(super) response: Option<ResponseHead>,
    /// The head that went to the client, for `$sent_http_…`.
    pub(super) sent_head: Vec<u8>,
    pub(super) tried: Tried,
    pub(super) stage: Stage,
    pub(super) upload: Upload,
    pub(super) download: Download,
    /// Whether the client may send another request on this connection.
    pub(super) keep_alive: bool,
    /// Why the exchange ends the way it does; the log's word.
    pub(super) reason: Reason,
}

/// How far an exchange is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// A connection to an upstream is being made.
    Connecting,
    /// The upstream has, or is getting, the request.
    Proxying,
    /// An answer of our own is on its way.
    Answering,
}

impl Exchange {
    /// An exchange that has not been anywhere yet; its connection is not kept.
    pub(super) fn new(
        io: &Io<'_>,
        server: ServerId,
        location: LocationId,
        captures: Captures,
        upload: Upload,
    ) -> Box<Self> {
        let head_max = io.config.locations[location].settings.proxy_buffer_bytes;
        Box::new(Self {
            config: io.config.clone(),
            server,
            location,
            captures,
            request: None,
            refused: Vec::new(),
            protocol: None,
            response: None,
            sent_head: Vec::new(),
            tried: Tried::default(),
            stage: Stage::Answering,
            upload,
            download: Download::new(head_max),
            keep_alive: false,
            reason: Reason::Done,
        })
    }

    /// Whether bytes came behind a request for an upgrade that is being answered otherwise: they
    /// were meant for a tunnel and must not be taken for a next request.
    pub(super) const fn is_declined_upgrade(&self, ahead: &[u8]) -> bool {
        self.protocol.is_some() && !ahead.is_empty()
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.config.locations[self.location].settings
    }

    /// The host of the location's `proxy_pass`.
    pub(super) fn proxy_host(&self) -> Option<&str> {
        self.config.locations[self.location].proxy.as_ref().map(|proxy| proxy.host.as_str())
    }

    /// What a tunnel of the location obeys.
    pub(super) fn terms(&self, io: &Io<'_>) -> Rc<Terms> {
        if Rc::ptr_eq(&self.config, io.config) {
            return io.terms[self.location].clone();
        }
        // The configuration was replaced meanwhile.
        Rc::new(Terms::of(&self.config.locations[self.location]))
    }
}

impl Http {
    pub(super) fn new(
        id: u32,
        client: ConnId,
        listen: usize,
        ends: Ends,
        serial: u64,
        now: Instant,
    ) -> Self {
        Self {
            id,
            client,
            upstream: None,
            listen,
            facts: Facts::new(ends, serial, now),
            ahead: Vec::new(),
            scanner: NO_HEAD,
            begun: false,
            idle_since: now,
            exchange: None,
        }
    }

    /// Whether nothing of a request has come.
    pub(super) fn is_idle(&self) -> bool {
        self.exchange.is_none() && (!self.begun || self.scanner.is_empty())
    }

    pub(super) fn start(&self, deadlines: &mut Deadlines, io: &mut Io<'_>) {
        let listen = &io.config.listens[self.listen];
        let timeout_ms = io.config.servers[listen.default].client_header_timeout_ms;
        deadlines.set(Timer::ClientHeader, io.after_ms(timeout_ms));
        io.recv(self.client);
    }

    pub(super) fn on(
        &mut self,
        side: Side,
        lane: Lane,
        event: Event,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        match (side, event) {
            (Side::Client, Event::Received(load)) => self.client_received(load, deadlines, io),
            (Side::Client, Event::Sent(rest)) => self.client_sent(rest, deadlines, io),
            (Side::Upstream, Event::Connected) => self.connected(deadlines, io),
            (Side::Upstream, Event::Received(load)) => self.upstream_received(load, deadlines, io),
            (Side::Upstream, Event::Sent(rest)) => self.upstream_sent(rest, deadlines, io),
            // A tunnel's answer; nobody asks for it here.
            (_, Event::Relayed { rest, .. }) => {
                io.give(rest);
                Next::Stay
            }
            (side, Event::Failed { errno, load }) => {
                if let Some(load) = load {
                    io.give(load);
                }
                match side {
                    Side::Client => self.over(Reason::Failed(Party::Client, errno), io),
                    Side::Upstream => self.upstream_failed(lane, errno, deadlines, io),
                }
            }
            (
                _,
                Event::Accepted(_)
                | Event::Connected
                | Event::Shut
                | Event::Cancelled
                | Event::Closed
                | Event::Woken,
            ) => Next::Stay,
        }
    }

    pub(super) fn on_timer(
        &mut self,
        timer: Timer,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        let reason = Reason::TimedOut(timer);
        match timer {
            // A client that never began, or had its answers: there is nothing to say.
            Timer::ClientHeader | Timer::Keepalive if self.is_idle() => {
                io.close(self.client);
                Next::Over
            }
            Timer::ClientHeader => self.refuse(reason, deadlines, io),
            Timer::ProxyConnect => self.connect_failed(reason, deadlines, io),
            Timer::ClientBody | Timer::ProxyRead | Timer::ProxySend => {
                self.fail(reason, deadlines, io)
            }
            Timer::Keepalive
            | Timer::Send
            | Timer::TunnelIdle
            | Timer::TunnelLifetime
            | Timer::Linger => self.over(reason, io),
        }
    }

    fn client_received(&mut self, load: Load, deadlines: &mut Deadlines, io: &mut Io<'_>) -> Next {
        if self.exchange.is_none() {
            return self.head_received(load, deadlines, io);
        }
        if self.wants_body() {
            return self.body_received(load, deadlines, io);
        }
        let gone = load.is_empty();
        // A next request, or tunnel bytes before the 101: kept, and nothing more is read meanwhile.
        self.ahead.extend_from_slice(io.chunks.load_bytes(&load));
        io.give(load);
        if gone { self.over(Reason::Closed(Party::Client), io) } else { Next::Stay }
    }

    /// An upstream's socket failed: before the connection stood, while it took the request, or
    /// while it answered.
    fn upstream_failed(
        &mut self,
        lane: Lane,
        errno: i32,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        let Some(exchange) = &mut self.exchange else { return Next::Stay };
        match exchange.stage {
            Stage::Connecting => self.connect_failed(Reason::ConnectFailed(errno), deadlines, io),
            // It stopped listening. What it may have answered before is still to be read, and its
            // failure will show there if there is nothing.
            Stage::Proxying if lane == Lane::Send => {
                exchange.upload.broke();
                deadlines.clear(Timer::ProxySend);
                if !exchange.download.has_begun() {
                    let ms = exchange.settings().proxy_read_timeout_ms;
                    deadlines.set(Timer::ProxyRead, io.after_ms(ms));
                }
                if exchange.download.has_waiting_head() {
                    return self.heads(deadlines, io);
                }
                Next::Stay
            }
            Stage::Proxying => self.fail(Reason::Failed(Party::Upstream, errno), deadlines, io),
            Stage::Answering => Next::Stay,
        }
    }

    /// The frame in which variables of the current exchange are read.
    pub(super) fn context<'a>(
        facts: &'a Facts,
        exchange: &'a Exchange,
        io: &'a Io<'_>,
    ) -> Context<'a> {
        Context {
            host: io.host,
            now: io.now,
            facts,
            request: exchange.request.as_ref(),
            refused: (!exchange.refused.is_empty()).then_some(&exchange.refused[..]),
            response: exchange.response.as_ref(),
            sent: (!exchange.sent_head.is_empty()).then_some(&exchange.sent_head[..]),
            config: &exchange.config,
            server: exchange.server,
            location: exchange.location,
            captures: &exchange.captures,
        }
    }
}
