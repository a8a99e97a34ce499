//! Collecting a request head, and finding out who is to answer.

use crate::conn::Load;
use crate::http::facts::Captures;
use crate::http::framing;
use crate::http::head::RequestHead;
use crate::http::scanner::{HeadScanner, Scan};
use crate::http::upgrade;
use crate::observe::stats::Counter;
use crate::reason::{Party, Reason, Timer};
use crate::route::Found;

use super::Next;
use super::deadlines::Deadlines;
use super::exchange::{Exchange, Http, NO_HEAD};
use super::io::Io;
use super::upload::Upload;

impl Http {
    /// Bytes of a request head, or the end of the client's stream.
    pub(super) fn head_received(
        &mut self,
        load: Load,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        if load.is_empty() {
            io.give(load);
            if !self.is_idle() {
                return self.over(Reason::Truncated(Party::Client), io);
            }
            io.close(self.client);
            return Next::Over;
        }
        self.ahead.extend_from_slice(io.chunks.load_bytes(&load));
        io.give(load);
        self.collect(false, deadlines, io)
    }

    /// Looks for a complete head in what has come; `pipelined` if it had come before its turn.
    pub(super) fn collect(
        &mut self,
        pipelined: bool,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        let config = io.config.clone();
        let server = &config.servers[config.listens[self.listen].default];
        if !self.begun {
            self.begun = true;
            self.facts.begin_request(pipelined, io.mono());
            self.scanner = HeadScanner::request(
                server.client_header_buffer_bytes,
                server.large_header_buffers,
                server.large_header_buffer_bytes,
            );
            if deadlines.is_set(Timer::Keepalive) || pipelined {
                deadlines.clear(Timer::Keepalive);
                let timeout_ms = server.client_header_timeout_ms;
                deadlines.set(Timer::ClientHeader, io.after_ms(timeout_ms));
            }
        }
        let used = match self.scanner.push(&self.ahead) {
            Ok(Scan::Partial) => {
                self.facts.tally.request_bytes += self.ahead.len() as u64;
                self.ahead = Vec::new();
                io.recv(self.client);
                return Next::Stay;
            }
            Ok(Scan::Complete { used }) => used,
            Err(fault) => {
                self.facts.tally.request_bytes += self.ahead.len() as u64;
                return self.refuse(Reason::Fault(Party::Client, fault), deadlines, io);
            }
        };
        deadlines.clear(Timer::ClientHeader);
        self.facts.tally.request_bytes += used as u64;
        self.ahead.drain(..used);
        match self.scanner.parse_request() {
            Ok(head) => self.route(head, deadlines, io),
            Err(fault) => self.refuse(Reason::Fault(Party::Client, fault), deadlines, io),
        }
    }

    /// The head is complete: finds its server and its location, and sets out for the upstream.
    fn route(&mut self, head: RequestHead, deadlines: &mut Deadlines, io: &mut Io<'_>) -> Next {
        io.stats.count(Counter::Requests);
        self.scanner = NO_HEAD;
        self.begun = false;
        let mut captures = Captures::default();
        let host = head.host().unwrap_or_default().as_bytes();
        let server = io.router.server(io.config, self.listen, host, &mut captures);
        let found = io.router.location(io.config, server, head.path(), &mut captures);
        let location = found.location();
        let settings = &io.config.locations[location].settings;
        let max = settings.client_max_body_bytes;
        let framed = framing::request_body(&head).and_then(|body| {
            let protocol = upgrade::asked(&head, body, &settings.upgrade_allow)?;
            Ok((Upload::new(body, max)?, protocol))
        });
        // Clients come without the delay: an answer may leave in several pieces, and a tunnel in
        // many, and none should wait for an ACK.
        if !settings.tcp_nodelay && self.facts.requests == 1 {
            io.delayed.push(self.client);
        }
        let keep_alive = head.keeps_alive()
            && settings.keepalive_timeout_ms > 0
            && u64::from(self.facts.requests) < settings.keepalive_requests;
        let (upload, protocol, fault) = match framed {
            Ok((upload, protocol)) => (upload, protocol, None),
            Err(fault) => (Upload::unknown(), None, Some(fault)),
        };
        let mut exchange = Exchange::new(io, server, location, captures, upload);
        exchange.request = Some(head);
        exchange.protocol = protocol;
        exchange.keep_alive = keep_alive;
        if let Some(protocol) = &exchange.protocol {
            let cx = Self::context(&self.facts, &exchange, io);
            if upgrade::blocked_by_config(&cx, exchange.settings(), protocol) {
                exchange.protocol = None;
            }
        }
        self.exchange = Some(exchange);
        if let Some(fault) = fault {
            return self.fail(Reason::Fault(Party::Client, fault), deadlines, io);
        }
        if let Found::AddSlash(_) = found {
            return self.redirect(deadlines, io);
        }
        self.connect_next(Reason::NoUpstream, deadlines, io)
    }

    /// The head is refused: an answer, and the end of the connection, for nobody knows where the
    /// next request would begin.
    pub(super) fn refuse(
        &mut self,
        reason: Reason,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        self.begin_refusal(io);
        self.respond(reason, deadlines, io)
    }

    /// An exchange without a head, so that what came of one is answered and logged.
    pub(super) fn begin_refusal(&mut self, io: &Io<'_>) {
        let server = io.config.listens[self.listen].default;
        let location = io.config.servers[server].root;
        self.begun = false;
        let mut exchange =
            Exchange::new(io, server, location, Captures::default(), Upload::unknown());
        exchange.refused = std::mem::replace(&mut self.scanner, NO_HEAD).bytes().to_vec();
        self.exchange = Some(exchange);
    }
}
