//! How an exchange ends: an answer of our own, the log line, and what becomes of the connection.

use crate::config::model::Level;
use crate::http::answer::{self, Answer};
use crate::http::facts::{Context, Facts, TunnelTally};
use crate::http::head::{RequestHead, first_line};
use crate::reason::{Party, Reason, Timer};

use super::Next;
use super::deadlines::Deadlines;
use super::exchange::{Exchange, Http, Stage};
use super::io::Io;
use super::parties::Parties;
use super::tunnel::{PendingLine, Record};

impl Http {
    /// The exchange cannot go on: answers if nothing was answered yet, else just ends.
    pub(super) fn fail(
        &mut self,
        reason: Reason,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        let begun = self.exchange.as_ref().is_some_and(|exchange| exchange.download.has_begun());
        if begun {
            return self.over(reason, io);
        }
        if self.facts.tries() > 0 {
            self.facts.try_ended(reason.status(), io.mono());
        }
        self.drop_upstream(io);
        self.respond(reason, deadlines, io)
    }

    /// Sends the answer that a reason calls for.
    pub(super) fn respond(
        &mut self,
        reason: Reason,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        let status = reason.status();
        let compose = |cx: &Context<'_>, keep_alive| answer::answer(cx, status, keep_alive);
        self.answer_with(status, reason, compose, deadlines, io)
    }

    /// The path lacks only the slash of its location.
    pub(super) fn redirect(&mut self, deadlines: &mut Deadlines, io: &mut Io<'_>) -> Next {
        self.answer_with(301, Reason::Done, answer::add_slash, deadlines, io)
    }

    /// Sends an answer of our own, and remembers why.
    fn answer_with(
        &mut self,
        status: u16,
        reason: Reason,
        compose: impl FnOnce(&Context<'_>, bool) -> Answer,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        let Some(exchange) = &mut self.exchange else { return Next::Stay };
        deadlines.clear_all();
        exchange.stage = Stage::Answering;
        exchange.reason = reason;
        exchange.keep_alive &= exchange.upload.is_complete() && !io.draining;
        exchange.keep_alive &= !exchange.is_declined_upgrade(&self.ahead);
        // Kept, an idle client would hold the slot whose lack is being told.
        exchange.keep_alive &= reason != Reason::Full;
        self.facts.tally.status = status;
        let cx = Self::context(&self.facts, exchange, io);
        let Answer { bytes, head_bytes } = compose(&cx, exchange.keep_alive);
        exchange.sent_head = bytes[..head_bytes].to_vec();
        exchange.download.take_over();
        self.send_client(bytes, head_bytes, deadlines, io);
        Next::Stay
    }

    /// The client has the whole answer: the line is written, and the connection goes on, lingers or
    /// closes.
    pub(super) fn finished(&mut self, deadlines: &mut Deadlines, io: &mut Io<'_>) -> Next {
        self.drop_upstream(io);
        let Some(exchange) = self.exchange.take() else { return Next::Stay };
        self.log(&exchange, io);
        deadlines.clear_all();
        // The answer to an upgrade was on its way when these bytes came: see there.
        let declined = exchange.is_declined_upgrade(&self.ahead);
        if !exchange.keep_alive || declined || io.draining {
            // A client that did not announce the end may be sending already.
            let unread = !exchange.upload.is_complete() || !self.ahead.is_empty();
            if unread || exchange.request.as_ref().is_none_or(RequestHead::keeps_alive) {
                return Next::Linger(self.client);
            }
            io.close(self.client);
            return Next::Over;
        }
        if !self.ahead.is_empty() {
            return self.collect(true, deadlines, io);
        }
        self.ahead = Vec::new();
        self.idle_since = io.mono();
        let timeout_ms = exchange.settings().keepalive_timeout_ms;
        deadlines.set(Timer::Keepalive, io.after_ms(timeout_ms));
        io.recv(self.client);
        Next::Stay
    }

    /// Ends everything at once; nothing more is written to anybody.
    pub(super) fn over(&mut self, reason: Reason, io: &mut Io<'_>) -> Next {
        self.abort(reason, io);
        Next::Over
    }

    /// As [`over`](Self::over), for a session that is being ended from outside.
    pub(super) fn abort(&mut self, reason: Reason, io: &mut Io<'_>) {
        self.drop_upstream(io);
        io.close(self.client);
        if self.exchange.is_none() && !self.is_idle() {
            self.begin_refusal(io);
        }
        if let Some(mut exchange) = self.exchange.take() {
            exchange.reason = reason;
            if self.facts.tally.status == 0 {
                self.facts.tally.status = reason.status();
            }
            self.log(&exchange, io);
        }
    }

    /// Closes the upstream connection, if there is one.
    pub(super) fn drop_upstream(&mut self, io: &mut Io<'_>) {
        if let Some(upstream) = self.upstream.take() {
            self.facts.try_ended(0, io.mono());
            io.close(upstream);
        }
    }

    fn log(&mut self, exchange: &Exchange, io: &mut Io<'_>) {
        self.facts.tally.reason = Some(exchange.reason);
        io.stats.answered(self.facts.tally.status);
        io.stats.ended(exchange.reason);
        if let Some(level) = level(exchange.reason)
            && io.logs.enabled(level)
        {
            let who = Self::describe(&self.facts, exchange);
            io.logs.error(io.now, level, format_args!("{}, {who}", exchange.reason.explained()));
        }
        let mut text = Vec::new();
        for log in &exchange.settings().access_logs {
            let format = &exchange.config.log_formats[log.format];
            text.clear();
            let cx = Self::context(&self.facts, exchange, io);
            format.template.render_escaped(&cx, format.escape, &mut text);
            io.logs.access(log.file, &text);
        }
    }

    /// Who and what, for a line of the error log.
    pub(super) fn describe(facts: &Facts, exchange: &Exchange) -> String {
        Self::parties(facts, exchange)
            .describe(exchange.proxy_host().unwrap_or_default())
            .to_string()
    }

    /// Who and what, to be said later.
    pub(super) fn parties(facts: &Facts, exchange: &Exchange) -> Parties {
        let head = exchange.request.as_ref();
        let line = head.map_or_else(|| first_line(&exchange.refused), |head| head.request_line());
        let upstream = exchange.proxy_host().and_then(|_| facts.last_peer());
        Parties::new(&facts.ends.peer, line, upstream)
    }

    /// What the access log will be told of a tunnel: its lines, rendered as far as they are known
    /// at its start, and the counts that go on; `None` if there is no access log.
    pub(super) fn record(
        facts: &Facts,
        exchange: &Exchange,
        tally: TunnelTally,
        io: &Io<'_>,
    ) -> Option<Box<Record>> {
        let cx = Self::context(facts, exchange, io);
        let lines: Box<[PendingLine]> = exchange
            .settings()
            .access_logs
            .iter()
            .map(|log| {
                let format = &exchange.config.log_formats[log.format];
                (log.file, format.template.freeze(&cx, format.escape))
            })
            .collect();
        (!lines.is_empty()).then(|| Box::new(Record { tally, lines }))
    }
}

/// How loudly the error log speaks of an end: upstream trouble is the operator's business, a
/// client's own doing is only of interest when somebody looks for it.
pub(super) const fn level(reason: Reason) -> Option<Level> {
    match reason {
        Reason::Done | Reason::Closed(Party::Client) | Reason::NotFound => None,
        // Told when it happened, whether another server was tried after it or not.
        Reason::ConnectFailed(_) | Reason::TimedOut(Timer::ProxyConnect) => None,
        Reason::NoUpstream | Reason::Full => Some(Level::Error),
        Reason::TimedOut(Timer::ProxyRead | Timer::ProxySend) => Some(Level::Error),
        Reason::Closed(_) | Reason::Failed(..) | Reason::Truncated(_) | Reason::Fault(..) => {
            match reason.party() {
                Party::Upstream => Some(Level::Error),
                Party::Client | Party::Proxy => Some(Level::Info),
            }
        }
        Reason::TimedOut(_) | Reason::Shutdown => Some(Level::Info),
    }
}
