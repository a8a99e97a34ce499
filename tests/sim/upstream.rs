//! A scripted upstream server: one request per connection, answered as its deal says.

use upsplice::clock::Instant;
use upsplice::engine::sim::{Actor, Peer};

use crate::line::Line;
use crate::plan::{Book, Deal, Ending, Kind, Pace, Record, down_stream, up_stream};
use crate::wire::{self, Framing, Head, Unwrap};

/// How much of a payload is prepared at once.
const PIECE_BYTES: usize = 1_500;

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Accept: c2ltdWxhdGVkIGFuc3dlcg==\r\n\r\n";

enum Phase {
    Head,
    /// Inside the request's body.
    Body(Unwrap),
    /// The answer comes at this time.
    Thinking(Instant),
    Answering(Framing),
    Tunnel,
    /// Nothing more is said.
    Waiting,
}

/// The program behind one accepted connection.
pub(crate) struct Upstream {
    book: Book,
    line: Line,
    phase: Phase,
    deal: Option<usize>,
    said: usize,
}

impl Upstream {
    pub(crate) fn new(book: Book, pace: Pace) -> Self {
        Self { book, line: Line::new(pace, None), phase: Phase::Head, deal: None, said: 0 }
    }

    fn of_deal(&self) -> Deal {
        self.book.borrow().deals[self.deal.expect("a request has come")].clone()
    }

    fn record<T>(&self, note: impl FnOnce(&mut Record) -> T) -> T {
        note(&mut self.book.borrow_mut().records[self.deal.expect("a request has come")])
    }

    fn understand(&mut self, peer: &mut Peer<'_>) -> bool {
        match &mut self.phase {
            Phase::Head => {
                let Some(head) = Head::take(&mut self.line.inbox) else { return false };
                self.request(&head, peer);
                true
            }
            Phase::Body(unwrap) => {
                let content = unwrap.take(&mut self.line.inbox);
                let whole = unwrap.is_done();
                self.hear(&content);
                if whole {
                    self.record(|record| record.up.end_seen = true);
                    self.think(peer);
                }
                whole
            }
            Phase::Thinking(until) => {
                assert!(self.line.inbox.is_empty(), "bytes of a tunnel before the 101");
                let due = *until <= peer.now();
                if due {
                    self.answer();
                }
                due
            }
            Phase::Tunnel => {
                let content = std::mem::take(&mut self.line.inbox);
                self.hear(&content);
                if self.line.ended {
                    self.record(|record| record.up.end_seen = true);
                    if self.line.is_shut() {
                        self.line.close(peer);
                    }
                }
                false
            }
            Phase::Answering(_) | Phase::Waiting => {
                self.line.inbox.clear();
                false
            }
        }
    }

    fn request(&mut self, head: &Head, peer: &Peer<'_>) {
        let number = head.target().strip_prefix("/deal/").and_then(|text| text.parse().ok());
        let number: usize = number.unwrap_or_else(|| panic!("the target of {:?}", head.line));
        self.deal = Some(number);
        let (id, slow) = (peer.id(), self.line.is_slow());
        self.record(|record| {
            record.arrivals += 1;
            record.slow |= slow;
            record.peers.push(id);
        });
        let wants_upgrade = match self.of_deal().kind {
            Kind::Tunnel { .. } => true,
            Kind::Exchange { upgrade, .. } => upgrade,
            _ => false,
        };
        assert_eq!(head.field("upgrade").is_some(), wants_upgrade, "{head:?}");
        let unwrap = Unwrap::new(Framing::of(head, Framing::Empty));
        self.phase = Phase::Body(unwrap);
        if let Kind::Exchange { early: true, .. } = self.of_deal().kind {
            self.answer();
        }
    }

    fn think(&mut self, peer: &mut Peer<'_>) {
        let deal = self.of_deal();
        if matches!(deal.kind, Kind::SilentUpstream) {
            self.phase = Phase::Waiting;
            return;
        }
        let until = peer.now().plus_ms(deal.think_ms);
        peer.wake_at(until);
        self.phase = Phase::Thinking(until);
    }

    fn answer(&mut self) {
        self.said = 0;
        match self.of_deal().kind {
            Kind::Tunnel { glued_down, deaf, .. } => {
                if deaf {
                    self.line.go_deaf();
                }
                self.line.say(SWITCH.as_bytes());
                self.phase = Phase::Tunnel;
                self.say_payload(glued_down, Framing::Close);
            }
            Kind::Exchange { status, answer, interim, .. } => {
                for _ in 0..interim {
                    self.line.say(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n");
                }
                let fields = answer.line();
                self.line.say(format!("HTTP/1.1 {status} Simulated\r\n{fields}\r\n").as_bytes());
                self.phase = Phase::Answering(answer);
            }
            Kind::BadAnswer => {
                self.line.say(b"this is no answer\r\n\r\n");
                self.phase = Phase::Waiting;
            }
            Kind::UpstreamResets(_) | Kind::UpstreamTruncates(_) => {
                self.line.say(b"HTTP/1.1 200 Simulated\r\nContent-Length: 1000000\r\n\r\n");
                self.phase = Phase::Answering(Framing::Length(1_000_000));
            }
            _ => {
                self.line.say(b"HTTP/1.1 200 Simulated\r\nContent-Length: 0\r\n\r\n");
                self.phase = Phase::Answering(Framing::Empty);
            }
        }
    }

    fn say_payload(&mut self, limit: usize, framing: Framing) {
        let count = limit.saturating_sub(self.said).min(PIECE_BYTES);
        let stream = down_stream(self.deal.expect("a request has come"));
        let content = wire::bytes(stream, self.said, count);
        self.said += count;
        self.line.say(&framing.wrap(&content, self.said == limit));
        let said = self.said;
        self.record(|record| record.down.written = record.down.written.max(said));
    }

    /// Keeps the line busy with what is left of the answer; whether there was something to do.
    fn say_more(&mut self, peer: &mut Peer<'_>) -> bool {
        if !self.line.is_flushed() || self.line.is_shut() || self.line.is_gone() {
            return false;
        }
        match (&self.phase, self.deal.map(|_| self.of_deal().kind)) {
            (Phase::Answering(_), Some(Kind::UpstreamResets(at))) => {
                if self.said < at {
                    self.say_payload(at, Framing::Close);
                } else {
                    self.line.reset(peer);
                }
            }
            (Phase::Answering(_), Some(Kind::UpstreamTruncates(at))) if self.said < at => {
                self.say_payload(at, Framing::Close);
            }
            (&Phase::Answering(framing), Some(Kind::Exchange { method, answer_bytes, .. })) => {
                if method != "HEAD" && !self.record(|record| record.down.ended) {
                    self.say_payload(answer_bytes, framing);
                    let whole = self.said == answer_bytes;
                    self.record(|record| record.down.ended = whole);
                } else {
                    self.end(peer);
                }
            }
            (Phase::Answering(_), _) => self.end(peer),
            (Phase::Tunnel, Some(Kind::Tunnel { down, upstream, .. })) => match upstream {
                Ending::Reset(at) if self.said >= at => self.line.reset(peer),
                _ if self.said < down => self.say_payload(down, Framing::Close),
                Ending::First => self.end(peer),
                Ending::Last if self.line.ended => self.end(peer),
                _ => return false,
            },
            _ => return false,
        }
        true
    }

    fn end(&mut self, peer: &mut Peer<'_>) {
        self.record(|record| record.down.ended = true);
        self.line.shut(peer);
        if !matches!(self.phase, Phase::Tunnel) {
            self.phase = Phase::Waiting;
        }
    }

    fn hear(&self, content: &[u8]) {
        let stream = up_stream(self.deal.expect("a request has come"));
        self.record(|record| {
            let from = record.up.read;
            record.up.read += content.len();
            assert!(
                content == wire::bytes(stream, from, content.len()),
                "wrong bytes at {from} of the request"
            );
            assert!(record.up.read <= record.up.written, "bytes nobody sent");
        });
    }
}

impl Actor for Upstream {
    fn act(&mut self, peer: &mut Peer<'_>) {
        loop {
            if self.line.is_gone() {
                return;
            }
            let moved = self.line.step(peer);
            let changed = self.understand(peer);
            let said = self.say_more(peer);
            if let Some(last) = self.line.last_byte.filter(|_| self.deal.is_some()) {
                self.record(|record| record.last_byte = record.last_byte.max(Some(last)));
            }
            if !moved && !changed && !said {
                break;
            }
        }
        let heard_all = matches!(self.phase, Phase::Head | Phase::Body(_) | Phase::Waiting);
        if self.line.failed || (self.line.ended && heard_all && self.line.is_flushed()) {
            self.line.close(peer);
        }
    }
}
