//! What one run consists of: drawn from the seed before the first millisecond passes.
//!
//! A *deal* is one request and what becomes of it. Both ends of a connection read the same deal,
//! the client because it owns it and the upstream because the request's target names it.

use std::cell::RefCell;
use std::rc::Rc;

use upsplice::clock::Instant;
use upsplice::prng::Prng;

use crate::wire::Framing;

/// How one side of a tunnel ends its half.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// As soon as everything is written.
    First,
    /// When the other half has ended.
    Last,
    /// With a reset, after so many bytes were written.
    Reset(usize),
    /// Not at all: the side goes silent and waits.
    Never,
}

/// What a request is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// An upgrade that the upstream agrees to.
    Tunnel {
        /// Bytes from the client, and how many of them it sends before it has seen the 101.
        up: usize,
        glued_up: usize,
        /// Bytes from the upstream, and how many of them in the same write as the 101.
        down: usize,
        glued_down: usize,
        client: Ending,
        upstream: Ending,
        /// The upstream reads nothing of it.
        deaf: bool,
    },
    /// An ordinary exchange, or an upgrade that the upstream declines.
    Exchange {
        method: &'static str,
        upgrade: bool,
        request: Framing,
        request_bytes: usize,
        status: u16,
        answer: Framing,
        answer_bytes: usize,
        /// The upstream says so many 1xx first.
        interim: usize,
        /// The upstream answers before it has read the request's body.
        early: bool,
    },
    /// Bytes that are no request; the answer is a 400 and the end.
    Garbage,
    /// A head that never becomes whole.
    SilentClient,
    /// A body that never becomes whole.
    SilentBody,
    /// The upstream reads the request and never answers.
    SilentUpstream,
    /// The upstream answers something that is no HTTP.
    BadAnswer,
    /// The upstream resets after so many bytes of its answer.
    UpstreamResets(usize),
    /// The upstream closes after so many bytes of an answer that promised more.
    UpstreamTruncates(usize),
    /// The client resets when it has written its request.
    ClientResets,
}

/// One request and its fate.
#[derive(Clone, Debug)]
pub(crate) struct Deal {
    pub kind: Kind,
    /// How long the upstream thinks before it answers, in milliseconds.
    pub think_ms: u64,
}

/// How fast a program reads and writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Bytes of one read or write at most.
    pub bytes_max: usize,
    /// Milliseconds between two reads or writes.
    pub pause_ms: u64,
}

/// One client: its requests, one after the other on one connection.
#[derive(Clone, Debug)]
pub(crate) struct ClientPlan {
    pub arrives_ms: u64,
    pub deals: Vec<usize>,
    pub pace: Pace,
    /// It writes a request without waiting for the answer to the one before.
    pub pipelines: bool,
    /// It keeps the connection open behind its last answer until the proxy closes it.
    pub lingers: bool,
    /// It stops reading for good after so many bytes.
    pub stuck_after: Option<usize>,
}

/// What is known of one direction of a deal's payload.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    pub written: usize,
    pub read: usize,
    /// The writer has written everything and ended it.
    pub ended: bool,
    /// The reader has seen the proper end.
    pub end_seen: bool,
}

/// What became of a deal, as its two ends saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub up: Flow,
    pub down: Flow,
    /// The status the client got.
    pub status: Option<u16>,
    /// How often the request reached an upstream.
    pub arrivals: usize,
    /// The connections that the deal has used: the client's, then upstream ones.
    pub peers: Vec<upsplice::engine::sim::PeerId>,
    /// When the client began, when anybody last wrote or read a byte of it, when the client saw
    /// its end or gave up.
    pub began: Option<Instant>,
    pub last_byte: Option<Instant>,
    pub over: Option<Instant>,
    /// One of the programs takes its time with every byte.
    pub slow: bool,
    /// The client has everything it wanted.
    pub complete: bool,
}

/// The deals of a run and what became of them; both programs of each deal hold it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub deals: Vec<Deal>,
    pub records: Vec<Record>,
}

pub(crate) type Book = Rc<RefCell<Ledger>>;

/// The stream number of a deal's payload towards the upstream.
pub(crate) const fn up_stream(deal: usize) -> usize {
    deal * 2
}

/// The stream number of a deal's payload towards the client.
pub(crate) const fn down_stream(deal: usize) -> usize {
    deal * 2 + 1
}

/// Draws clients and their deals.
pub(crate) struct Drawing<'a> {
    pub prng: &'a mut Prng,
    /// Payloads have at most so many bytes.
    pub bytes_max: usize,
    /// Only programs that do nothing wrong.
    pub well_behaved: bool,
}

impl Drawing<'_> {
    /// Draws a client, and adds its deals to the ledger.
    pub(crate) fn client(&mut self, ledger: &mut Ledger) -> ClientPlan {
        let mut deals = Vec::new();
        for _ in 0..1 + self.below(3) {
            let deal = self.deal();
            // Only a proper exchange leaves a connection on which another request can follow.
            let last = !matches!(deal.kind, Kind::Exchange { .. });
            ledger.deals.push(deal);
            ledger.records.push(Record::default());
            deals.push(ledger.deals.len() - 1);
            if last {
                break;
            }
        }
        let stuck = !self.well_behaved && self.prng.chance(1, 12);
        ClientPlan {
            arrives_ms: self.prng.below(2_000),
            deals,
            pace: self.pace(),
            pipelines: self.prng.chance(1, 3),
            lingers: self.prng.chance(1, 4),
            stuck_after: stuck.then(|| self.below(self.bytes_max)),
        }
    }

    /// Draws how fast a program is.
    pub(crate) fn pace(&mut self) -> Pace {
        match self.below(4) {
            0 => Pace { bytes_max: 16 + self.below(97), pause_ms: 1 + self.prng.below(10) },
            1 => Pace { bytes_max: 100 + self.below(4_000), pause_ms: self.prng.below(50) },
            _ => Pace { bytes_max: usize::MAX, pause_ms: 0 },
        }
    }

    fn deal(&mut self) -> Deal {
        let think_ms = if self.prng.chance(1, 2) { 0 } else { self.prng.below(500) };
        let kind = if self.well_behaved || self.prng.chance(2, 3) {
            if self.prng.chance(1, 2) { self.tunnel() } else { self.exchange() }
        } else {
            match self.below(9) {
                0 => Kind::Garbage,
                1 => Kind::SilentClient,
                2 => Kind::SilentUpstream,
                3 => Kind::BadAnswer,
                4 => Kind::UpstreamResets(self.below(self.bytes_max)),
                5 => Kind::ClientResets,
                6 => Kind::SilentBody,
                7 => Kind::UpstreamTruncates(self.below(self.bytes_max)),
                _ => self.tunnel(),
            }
        };
        Deal { kind, think_ms }
    }

    fn tunnel(&mut self) -> Kind {
        let (mut up, down) = (self.size(), self.size());
        let mut deaf = false;
        let (client, upstream) = match self.below(if self.well_behaved { 3 } else { 8 }) {
            0 => (Ending::First, Ending::Last),
            1 => (Ending::Last, Ending::First),
            2 => (Ending::First, Ending::First),
            3 => (Ending::Reset(self.below(up + 1)), Ending::Last),
            4 => (Ending::Last, Ending::Reset(self.below(down + 1))),
            5 => (Ending::Never, Ending::Never),
            6 => {
                (deaf, up) = (true, self.bytes_max);
                (Ending::Never, Ending::Never)
            }
            _ => (Ending::First, Ending::Never),
        };
        let glued_up = if self.prng.chance(1, 3) { self.below(up + 1).min(900) } else { 0 };
        let glued_down = if self.prng.chance(1, 2) { self.below(down + 1).min(900) } else { 0 };
        Kind::Tunnel { up, glued_up, down, glued_down, client, upstream, deaf }
    }

    fn exchange(&mut self) -> Kind {
        let upgrade = self.prng.chance(1, 4);
        let method = ["GET", "GET", "POST", "PUT", "HEAD"][self.below(if upgrade { 1 } else { 5 })];
        let request_bytes = if matches!(method, "POST" | "PUT") { self.size() } else { 0 };
        let request = match (method, self.below(2)) {
            ("POST" | "PUT", 0) => Framing::Length(request_bytes),
            ("POST" | "PUT", _) => Framing::Chunked,
            _ => Framing::Empty,
        };
        let status = [200, 200, 404, 500, 204, 304][self.below(6)];
        let bodiless = matches!(status, 204 | 304);
        let answer_bytes = if bodiless { 0 } else { self.size() };
        let answer = match self.below(3) {
            _ if bodiless => Framing::Empty,
            0 => Framing::Length(answer_bytes),
            1 => Framing::Chunked,
            _ => Framing::Close,
        };
        let interim = if self.prng.chance(1, 6) { 1 + self.below(2) } else { 0 };
        let early = !self.well_behaved && request_bytes > 0 && self.prng.chance(1, 4);
        Kind::Exchange {
            method,
            upgrade,
            request,
            request_bytes,
            status,
            answer,
            answer_bytes,
            interim,
            early,
        }
    }

    /// Payload sizes: nothing, little, up to the run's bound.
    fn size(&mut self) -> usize {
        match self.below(4) {
            0 => self.below(3),
            1 => self.below(200),
            _ => self.below(self.bytes_max),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.prng.below(bound as u64)).unwrap_or(0)
    }
}
