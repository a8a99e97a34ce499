//! A scripted client: one connection, one request after the other, each as its deal says.

use upsplice::engine::sim::{Actor, Peer};

use crate::line::Line;
use crate::plan::{Book, ClientPlan, Ending, Kind, Record, down_stream, up_stream};
use crate::wire::{self, Framing, Head, Unwrap};

/// How much of a payload is prepared at once.
const PIECE_BYTES: usize = 1_500;

enum Phase {
    /// The next request is to be written.
    Between,
    /// Waiting for the head of the answer.
    Head,
    /// Inside the answer.
    Body(Unwrap),
    /// Behind a 101.
    Tunnel,
    /// Nothing more is expected but the end.
    Waiting,
    /// It is all over.
    Over,
}

/// The program.
pub(crate) struct Client {
    book: Book,
    plan: ClientPlan,
    line: Line,
    phase: Phase,
    /// The current deal's place in the plan.
    turn: usize,
    /// Payload said so far, and how much there is to say before the answer.
    said: usize,
    /// The head of the next request is written already.
    ahead: bool,
    /// The answer's connection is not to be used again.
    last_answer: bool,
}

impl Client {
    pub(crate) fn new(book: Book, plan: ClientPlan) -> Self {
        let line = Line::new(plan.pace, plan.stuck_after);
        Self {
            book,
            plan,
            line,
            phase: Phase::Between,
            turn: 0,
            said: 0,
            ahead: false,
            last_answer: false,
        }
    }

    fn deal(&self) -> usize {
        self.plan.deals[self.turn]
    }

    fn kind(&self) -> Kind {
        self.book.borrow().deals[self.deal()].kind.clone()
    }

    fn record<T>(&self, note: impl FnOnce(&mut Record) -> T) -> T {
        note(&mut self.book.borrow_mut().records[self.deal()])
    }

    /// Begins the next request: writes its head, and what is glued to it.
    fn begin(&mut self, peer: &Peer<'_>) {
        let (now, id, slow) = (peer.now(), peer.id(), self.line.is_slow());
        self.record(|record| {
            record.began = Some(now);
            record.slow |= slow;
            record.peers.push(id);
        });
        self.said = 0;
        let deal = self.deal();
        self.phase = Phase::Head;
        if std::mem::take(&mut self.ahead) {
            return;
        }
        match self.kind() {
            Kind::Garbage => self.line.say(b"\x16\x03\x01 this is no request\r\n\r\n"),
            Kind::SilentClient => {
                self.line.say(format!("GET /deal/{deal} HTTP/1.1\r\nHost: si").as_bytes());
                self.phase = Phase::Waiting;
            }
            kind => {
                self.line.say(head(deal, &kind).as_bytes());
                match kind {
                    Kind::Tunnel { glued_up, .. } => self.say_payload(glued_up),
                    Kind::SilentBody => self.say_payload(500),
                    _ => {}
                }
            }
        }
    }

    /// Writes the head of the request behind the current one, if this client and both requests are
    /// of the kind that allows it.
    fn look_ahead(&mut self) {
        let Some(&next) = self.plan.deals.get(self.turn + 1) else { return };
        let empty = |kind: &Kind| {
            matches!(kind, Kind::Exchange { request: Framing::Empty, upgrade: false, .. })
        };
        // A request behind an answer that ends with the connection is not answered, and if it is
        // on its way when the proxy closes, a reset may cost the end of that answer.
        let closes = matches!(self.kind(), Kind::Exchange { answer: Framing::Close, .. });
        let kind = self.book.borrow().deals[next].kind.clone();
        if self.plan.pipelines && !self.ahead && !closes && empty(&self.kind()) && empty(&kind) {
            self.line.say(head(next, &kind).as_bytes());
            self.ahead = true;
        }
    }

    /// Says payload up to `limit` bytes of it.
    fn say_payload(&mut self, limit: usize) {
        let count = limit.saturating_sub(self.said).min(PIECE_BYTES);
        let content = wire::bytes(up_stream(self.deal()), self.said, count);
        self.said += count;
        let (framing, whole) = match self.kind() {
            Kind::Exchange { request, request_bytes, .. } => (request, self.said == request_bytes),
            _ => (Framing::Empty, false),
        };
        self.line.say(&framing.wrap(&content, whole));
        let said = self.said;
        self.record(|record| {
            record.up.written = said;
            record.up.ended |= whole;
        });
    }

    /// Keeps the line busy with what is left of the payload; whether there was something to do.
    fn say_more(&mut self, peer: &mut Peer<'_>) -> bool {
        if !self.line.is_flushed() || self.line.is_shut() || self.line.is_gone() {
            return false;
        }
        match (self.kind(), &self.phase) {
            (Kind::Exchange { request, request_bytes, .. }, Phase::Head | Phase::Body(_))
                if request != Framing::Empty && !self.record(|record| record.up.ended) =>
            {
                self.say_payload(request_bytes);
            }
            (Kind::Tunnel { up, client, .. }, Phase::Tunnel) => match client {
                Ending::Reset(at) if self.said >= at => self.line.reset(peer),
                _ if self.said < up => self.say_payload(up),
                Ending::First => self.end_half(peer),
                Ending::Last if self.line.ended => self.end_half(peer),
                _ => return false,
            },
            (Kind::ClientResets, Phase::Head) => self.line.reset(peer),
            _ => return false,
        }
        true
    }

    fn end_half(&mut self, peer: &mut Peer<'_>) {
        self.line.shut(peer);
        self.record(|record| record.up.ended = true);
    }

    /// Makes sense of what has arrived; whether the phase changed.
    fn understand(&mut self, peer: &mut Peer<'_>) -> bool {
        match &mut self.phase {
            Phase::Between => {
                self.begin(peer);
                self.look_ahead();
                true
            }
            Phase::Head => match Head::take(&mut self.line.inbox) {
                Some(head) => {
                    self.answer(&head);
                    true
                }
                None => false,
            },
            Phase::Body(unwrap) => {
                let content = unwrap.take(&mut self.line.inbox);
                let closes = unwrap.ends_with_connection() && self.line.ended;
                let whole = unwrap.is_done() || closes;
                self.hear(&content);
                // A server may answer early; the request is still finished, as HTTP/1.1 demands.
                if whole && (self.line.is_flushed() && self.request_is_said() || self.last_answer) {
                    self.finish(peer);
                    return true;
                }
                false
            }
            Phase::Tunnel => {
                let content = std::mem::take(&mut self.line.inbox);
                self.hear(&content);
                self.settle_tunnel(peer);
                false
            }
            Phase::Waiting | Phase::Over => {
                self.line.inbox.clear();
                false
            }
        }
    }

    fn request_is_said(&self) -> bool {
        match self.kind() {
            Kind::Exchange { request: Framing::Empty, .. } => true,
            Kind::Exchange { .. } => self.record(|record| record.up.ended),
            _ => true,
        }
    }

    fn answer(&mut self, head: &Head) {
        let status = head.status();
        if (100..200).contains(&status) && status != 101 {
            return;
        }
        self.record(|record| {
            assert_eq!(record.status, None, "a second answer");
            record.status = Some(status);
        });
        if status == 101 {
            assert!(matches!(self.kind(), Kind::Tunnel { .. }), "a 101 nobody agreed to");
            assert_eq!(head.field("upgrade"), Some("websocket"));
            self.phase = Phase::Tunnel;
            return;
        }
        self.last_answer = head.field("connection").is_some_and(|value| value == "close");
        let bodiless = matches!(status, 204 | 304)
            || matches!(self.kind(), Kind::Exchange { method: "HEAD", .. });
        let framing = if bodiless { Framing::Empty } else { Framing::of(head, Framing::Close) };
        self.phase = Phase::Body(Unwrap::new(framing));
    }

    /// Compares payload with what the upstream says.
    fn hear(&self, content: &[u8]) {
        let expected = match self.kind() {
            Kind::Tunnel { .. } => self.record(|record| record.status == Some(101)),
            Kind::Exchange { status, .. } => self.record(|record| record.status == Some(status)),
            _ => false,
        };
        let stream = down_stream(self.deal());
        self.record(|record| {
            let from = record.down.read;
            record.down.read += content.len();
            // An answer that the proxy made up itself has a text of its own.
            if !expected || record.arrivals == 0 {
                return;
            }
            assert!(
                content == wire::bytes(stream, from, content.len()),
                "wrong bytes at {from} of the answer"
            );
            assert!(
                record.down.read <= record.down.written,
                "{} bytes of {}",
                record.down.read,
                record.down.written
            );
        });
    }

    fn finish(&mut self, peer: &mut Peer<'_>) {
        let now = peer.now();
        self.record(|record| {
            record.down.end_seen = true;
            record.complete = true;
            record.over = Some(now);
        });
        self.note_last_byte();
        if matches!(self.kind(), Kind::Tunnel { glued_up: 1.., .. }) {
            // The declined bytes may be taken for another request, whose answer is nobody's.
            self.phase = Phase::Waiting;
            return;
        }
        assert!(self.ahead || self.line.inbox.is_empty(), "bytes behind an answer");
        if self.turn + 1 < self.plan.deals.len() && !self.last_answer && !self.line.ended {
            self.turn += 1;
            self.phase = Phase::Between;
        } else if self.last_answer || self.plan.lingers {
            self.phase = Phase::Waiting;
        } else {
            self.line.close(peer);
            self.phase = Phase::Over;
        }
    }

    fn settle_tunnel(&mut self, peer: &mut Peer<'_>) {
        if self.line.ended && self.line.inbox.is_empty() {
            let now = peer.now();
            self.record(|record| {
                record.down.end_seen = true;
                record.over = record.over.or(Some(now));
                record.complete = true;
            });
            if self.line.is_shut() {
                self.line.close(peer);
                self.phase = Phase::Over;
            }
        }
    }

    fn note_last_byte(&self) {
        let last = self.line.last_byte;
        self.record(|record| record.last_byte = record.last_byte.max(last));
    }
}

/// The head of a proper request.
fn head(deal: usize, kind: &Kind) -> String {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: c2ltdWxhdGVkIGNsaWVudA==\r\n";
    // The body follows without waiting for the 100, as a client may.
    let expect = if deal.is_multiple_of(2) { "Expect: 100-continue\r\n" } else { "" };
    let (method, fields) = match *kind {
        Kind::Tunnel { .. } => ("GET", upgrade.to_owned()),
        Kind::Exchange { method, upgrade: true, .. } => (method, upgrade.to_owned()),
        Kind::Exchange { method, request, .. } => (method, request.line() + expect),
        Kind::SilentBody => ("POST", Framing::Length(1_000).line() + expect),
        _ => ("GET", String::new()),
    };
    format!("{method} /deal/{deal} HTTP/1.1\r\nHost: simulated\r\n{fields}\r\n")
}

impl Actor for Client {
    fn act(&mut self, peer: &mut Peer<'_>) {
        loop {
            if matches!(self.phase, Phase::Over) || self.line.is_gone() {
                return;
            }
            let moved = self.line.step(peer);
            let changed = self.understand(peer);
            let said = self.say_more(peer);
            self.note_last_byte();
            if !moved && !changed && !said {
                break;
            }
        }
        let ended = self.line.ended && !matches!(self.phase, Phase::Tunnel);
        if self.line.failed || ended {
            let now = peer.now();
            self.record(|record| record.over = record.over.or(Some(now)));
            self.line.close(peer);
            self.phase = Phase::Over;
        }
    }
}
