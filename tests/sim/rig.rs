//! One run: a real worker on the simulated kernel, the programs around it, and the oracles.
//!
//! A run has three acts. In the first, faults strike and programs misbehave. In the second, faults
//! have stopped and everybody is well behaved: everything must succeed. In the third, the worker is
//! told to stop while it has work. After each act everything must be at home.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use upsplice::clock::Instant;
use upsplice::config::model::{Bulk, Splice};
use upsplice::conn::Addr;
use upsplice::engine::Engine;
use upsplice::engine::sim::{Census, Faults, PeerId, Ratio, Sim, Tally};
use upsplice::observe::log::Memory;
use upsplice::observe::stats::Counter;
use upsplice::prng::Prng;
use upsplice::worker::Worker;
use upsplice::worker::mailbox::{Letter, Sender};

use crate::client::Client;
use crate::house;
use crate::oracle::{self, Line};
use crate::plan::{Book, ClientPlan, Drawing, Ledger};
use crate::planted::{Bug, Planted};
use crate::upstream::Upstream;

/// How long an act may last, in virtual milliseconds.
const ACT_MS_MAX: u64 = 60 * 60 * 1_000;

/// How long programs have, when the proxy is done, to read what is on its way to them.
const SETTLE_MS: u64 = 60_000;

/// Turns of one act.
const TURNS_MAX: usize = 2_000_000;

/// A client in the ledger.
pub(crate) struct Guest {
    pub plan: ClientPlan,
    pub peer: Option<PeerId>,
    pub arrives: Instant,
}

/// One run.
pub(crate) struct Rig {
    pub sim: Sim,
    pub book: Book,
    pub guests: Vec<Guest>,
    /// The faults of the act that is being played.
    pub faults: Faults,
    /// False exactly while faults strike.
    pub calm: bool,
    worker: Worker<Planted>,
    memory: Memory,
    mail: Sender,
    prng: Prng,
    /// Upstream programs answer at their own pace in the first act and at full speed later.
    hurry: Rc<Cell<bool>>,
    bytes_max: usize,
    /// How often each kind of log line was written.
    seen: RefCell<BTreeMap<String, usize>>,
}

/// What a whole run has come to.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct History {
    pub tally: Tally,
    /// How often each kind of log line was written.
    pub seen: BTreeMap<String, usize>,
}

impl Rig {
    /// Whether clients had to wait for a place, so that idle ones were let go.
    pub(crate) fn was_full(&self) -> bool {
        self.worker.stats().get(Counter::WorkerFull) > 0
    }

    pub(crate) fn new(seed: u64, bug: Option<Bug>, trace: bool) -> Self {
        let mut prng = Prng::new(seed ^ 0x7368_6f77);
        let faults = Faults::draw(&mut prng);
        let connections = if prng.chance(1, 6) { 8 } else { 512 };
        let carrier = carrier(&mut prng);
        let sim = Sim::new(seed, faults.clone());
        if trace {
            println!("{faults:#?}\n{carrier:?}");
            sim.trace_to(|line| println!("{line}"));
        }
        let (worker, memory, mail) = house::worker(&sim, connections, carrier, seed, bug);
        let book = Rc::new(RefCell::new(Ledger::default()));
        let hurry = Rc::new(Cell::new(false));
        let bytes_max = (faults.socket_buffer_bytes * 60).min(40_000);
        let rig = Self {
            sim,
            book,
            guests: Vec::new(),
            faults,
            calm: false,
            worker,
            memory,
            mail,
            prng,
            hurry,
            bytes_max,
            seen: RefCell::default(),
        };
        house::backs().into_iter().for_each(|addr| rig.serve(addr));
        rig
    }

    /// Plays all acts.
    pub(crate) fn play(mut self) -> History {
        let count = 2 + self.prng.below(7);
        self.invite(count, false);
        self.until_quiet();
        oracle::act(&self, &self.lines(), "faults");

        self.calm = true;
        self.faults = self.faults.calmed();
        self.sim.set_faults(self.faults.clone());
        self.hurry.set(true);
        self.invite(3, true);
        self.until_quiet();
        oracle::act(&self, &self.lines(), "calm");

        self.invite(3, false);
        self.stop();
        oracle::stopped(&self, &self.lines());
        self.assert_counted();
        History { tally: self.sim.tally(), seen: self.seen.take() }
    }

    fn serve(&self, addr: Addr) {
        let (book, hurry) = (Rc::clone(&self.book), Rc::clone(&self.hurry));
        let mut prng = Prng::new(self.prng.clone().next_u64());
        self.sim.serve_scripted(addr, move || {
            let bytes_max = 1;
            let well_behaved = hurry.get();
            let pace = Drawing { prng: &mut prng, bytes_max, well_behaved }.pace();
            Box::new(Upstream::new(Rc::clone(&book), pace))
        });
    }

    /// Draws clients; they arrive within the next seconds.
    fn invite(&mut self, count: u64, well_behaved: bool) {
        self.guests.clear();
        let now = self.sim.clock();
        let book = Rc::clone(&self.book);
        let mut ledger = book.borrow_mut();
        let bytes_max = self.bytes_max;
        for _ in 0..count {
            let mut drawing = Drawing { prng: &mut self.prng, bytes_max, well_behaved };
            let plan = drawing.client(&mut ledger);
            let arrives = now.plus_ms(plan.arrives_ms);
            self.sim.wake_at(arrives);
            self.sim.note(|| format!("a client is to come: {plan:?}"));
            for &deal in &plan.deals {
                self.sim.note(|| format!("  deal {deal}: {:?}", ledger.deals[deal]));
            }
            self.guests.push(Guest { plan, peer: None, arrives });
        }
    }

    /// Connects the clients whose time has come.
    fn admit(&mut self) {
        let now = self.sim.clock();
        for guest in &mut self.guests {
            if guest.peer.is_none() && guest.arrives <= now {
                let Some(peer) = self.sim.client_connect(&house::front()) else { continue };
                guest.peer = Some(peer);
                let client = Client::new(Rc::clone(&self.book), guest.plan.clone());
                self.sim.attach(peer, Box::new(client));
            }
        }
    }

    /// Turns until the condition holds or nothing can ever happen again.
    fn turn_until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let limit = self.sim.clock().plus_ms(ACT_MS_MAX);
        for _ in 0..TURNS_MAX {
            self.admit();
            if condition(self) {
                return;
            }
            let goes_on = self.worker.turn();
            assert!(goes_on, "the worker stopped by itself");
            let now = self.sim.clock();
            assert!(now < limit, "no end after an hour of {what}: {}", self.state());
            if self.sim.stalled() {
                assert!(condition(self), "nothing happens any more in {what}: {}", self.state());
            }
        }
        panic!("{TURNS_MAX} turns of {what}: {}", self.state());
    }

    /// Turns until everybody has come and gone.
    fn until_quiet(&mut self) {
        self.turn_until("work", |rig| {
            let home = Census { listeners: 1, ..Census::default() };
            rig.guests.iter().all(|guest| guest.peer.is_some())
                && rig.worker.sessions_live() == 0
                && rig.sim.census() == home
        });
        let settled = self.sim.clock().plus_ms(SETTLE_MS);
        self.sim.wake_at(settled);
        self.turn_until("rest", |rig| rig.sim.clock() >= settled);
        self.assert_home(1);
    }

    /// Tells the worker to stop while there is work, and lets it.
    fn stop(&mut self) {
        let moment = self.sim.clock().plus_ms(self.prng.below(4_000));
        self.sim.wake_at(moment);
        self.turn_until("work before the stop", |rig| rig.sim.clock() >= moment);
        self.mail.send(if self.prng.chance(1, 2) { Letter::Stop } else { Letter::Quit });
        self.sim.wake();
        let limit = self.sim.clock().plus_ms(ACT_MS_MAX);
        while self.worker.turn() {
            assert!(self.sim.clock() < limit, "the worker does not stop: {}", self.state());
            assert!(!self.sim.stalled(), "the worker waits for ever: {}", self.state());
        }
        self.assert_home(0);
    }

    /// Nothing of a session is left anywhere.
    fn assert_home(&self, listeners: usize) {
        let home = Census { listeners, ..Census::default() };
        assert_eq!(self.sim.census(), home, "sockets");
        let worker = &self.worker;
        assert_eq!(worker.chunks().out(), worker.engine().chunks_lent(), "chunks");
        assert_eq!(worker.engine().pipes_lent(), 0, "pipes");
        assert_eq!(worker.sessions_live(), 0, "sessions");
        assert_eq!(worker.conns_live(), listeners, "connection slots");
        assert_eq!(worker.timers_live(), 0, "timers");
    }

    /// The counters tell the same story as the log, and the loop did not turn for nothing.
    fn assert_counted(&self) {
        let stats = self.worker.stats();
        let ends: u64 = stats.ends().iter().map(|(_, count)| count).sum();
        let lines: usize = self.seen.borrow().values().sum();
        assert_eq!(ends, lines as u64, "reasons and log lines");
        assert_eq!(stats.connections_live(), 0, "client connections");
        assert_eq!(stats.tunnels_live(), 0, "tunnels");
        let tally = self.sim.tally();
        assert_eq!(stats.get(Counter::Turns), tally.waits, "turns");
        if self.faults.early_wakes == Ratio::NEVER {
            // Every turn has an event, a client to admit, or a timer of a session for its reason.
            let deals = self.book.borrow().deals.len() as u64;
            let most = tally.events + 200 + 50 * deals;
            assert!(tally.waits <= most, "{} turns for {} events", tally.waits, tally.events);
        }
    }

    fn state(&self) -> String {
        let worker = &self.worker;
        format!(
            "{} sessions, {} connections, {} timers, {} chunks out, {:?}",
            worker.sessions_live(),
            worker.conns_live(),
            worker.timers_live(),
            worker.chunks().out(),
            self.sim.census()
        )
    }

    /// A time of the log on the virtual clock.
    pub(crate) fn mono(&self, unix_ms: u64) -> Instant {
        let now = self.sim.now();
        Instant::from_ms(unix_ms + now.mono.ms() - now.unix_ms)
    }

    /// The access lines since the last call, by client address and number of the request.
    fn lines(&self) -> BTreeMap<(String, usize), Vec<Line>> {
        let recorded = self.memory.take();
        let mut lines: BTreeMap<_, Vec<Line>> = BTreeMap::new();
        for (_, text) in recorded.access {
            self.sim.note(|| format!("log: {text}"));
            let line = Line::parse(&text);
            *self.seen.borrow_mut().entry(line.kind()).or_default() += 1;
            lines.entry((line.client.clone(), line.request)).or_default().push(line);
        }
        lines
    }
}

/// Draws how tunnels move their bytes. What counts as bulk is little here: the simulation's streams
/// are short, and a direction should change its carrier several times.
fn carrier(prng: &mut Prng) -> (Splice, Bulk) {
    let splice = match prng.below(5) {
        0 => Splice::Off,
        1 => Splice::Pipe,
        2 => Splice::Linked,
        _ => Splice::Auto,
    };
    let mut below = |bound| u8::try_from(prng.below(bound)).unwrap_or(0);
    let (proof, quiet) = (1 + below(2), 1 + below(2));
    let bytes = [1, 40, 700, 3_000][usize::from(below(4))];
    (splice, Bulk { bytes, proof, small: bytes, quiet })
}
