//! The hallway: one single-threaded loop that carries completions to sessions and ops to an engine.
//!
//! A turn is: wait, tell the owners of what happened, let due timers speak, hand over what was
//! asked for, write the logs. The worker owns the listeners, the sessions and everything they
//! borrow; it is generic over the engine and nothing else is. Deliberately absent: HTTP,
//! descriptors, signals.

pub mod chunks;
pub mod mailbox;
#[cfg(test)]
mod tests;
pub mod wheel;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::clock::{Instant, Now};
use crate::config::model::{Config, Level};
use crate::conn::{
    Completion, ConnId, ConnTable, Ends, Event, Fate, Handle, Lane, Op, Ops, Owner, Side,
};
use crate::engine::Engine;
use crate::http::facts::Host;
use crate::limits::{
    ACCEPT_PAUSE_MS, EVENTS_PER_TURN, FULL_LINE_MS, OPS_PER_TURN, RECLAIM_IDLE_MS, RECLAIM_MAX,
    STOP_TURNS_MAX,
};
use crate::observe::log::Logs;
use crate::observe::stats::{Counter, Shared, Stats};
use crate::prng::Prng;
use crate::reason::{Errno, Reason, shortage};
use crate::route::Router;
use crate::session::{Io, Session, Terms};
use crate::upstream::balance::Balancer;

use chunks::Chunks;
use mailbox::{Letter, Mailbox};
use wheel::Wheel;

/// What a worker is made of besides its engine.
#[derive(Debug)]
pub struct Setup {
    /// The configuration, a copy of the worker's own.
    pub config: Config,
    /// The worker, as variables know it.
    pub host: Host,
    /// Listening sockets: an index into [`Config::listens`] and the socket.
    pub listeners: Vec<(usize, Handle)>,
    /// Orders from the house.
    pub mailbox: Mailbox,
    /// Logs.
    pub logs: Logs,
    /// Where the counters are published.
    pub stats: Arc<Shared>,
    /// Seeds the worker's randomness.
    pub seed: u64,
    /// The pool of receive buffers.
    pub chunks: Chunks,
}

#[derive(Debug)]
struct Listener {
    /// An index into [`Config::listens`].
    listen: usize,
    conn: ConnId,
    /// When accepting goes on after the system refused a descriptor.
    paused_until: Option<Instant>,
}

/// How far a worker is with stopping.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Serving,
    /// No new clients; what is in flight is finished, until the time given.
    Draining(Option<Instant>),
    /// Everything is being closed; so many turns are left for it.
    Stopping(u32),
}

/// One worker: see the module.
#[derive(Debug)]
pub struct Worker<E: Engine> {
    engine: E,
    config: Rc<Config>,
    terms: Vec<Rc<Terms>>,
    router: Rc<Router>,
    balancers: Vec<Balancer>,
    host: Host,
    listeners: Vec<Listener>,
    /// Clients that were accepted and find no place yet; at most one for each listener, whose
    /// further clients wait in the listen queue.
    parked: VecDeque<(usize, Handle)>,
    mailbox: Mailbox,
    logs: Logs,
    stats: Stats,
    shared: Arc<Shared>,
    prng: Prng,
    chunks: Chunks,
    conns: ConnTable,
    wheel: Wheel,
    sessions: Vec<Option<Box<Session>>>,
    vacant: Vec<u32>,
    serial: u64,
    stage: Stage,
    /// True exactly while a client waits here for a place.
    full: bool,
    /// When the next line may say so.
    full_again: Instant,
    /// When idle clients may be let go again.
    idle_again: Instant,
    events: Vec<Completion>,
    ops: Ops,
    delayed: Vec<ConnId>,
    due: Vec<u32>,
}

impl<E: Engine> Worker<E> {
    /// Puts a worker together; nothing is accepted before its first turn.
    ///
    /// # Panics
    /// If the engine refuses a listening socket (no memory, no room for a watch): a worker that is
    /// deaf at one of its addresses is worse than one that does not start.
    pub fn new(mut engine: E, setup: Setup) -> Self {
        let Setup { config, host, listeners, mailbox, logs, stats, seed, chunks } = setup;
        // Listeners have slots of their own: `worker_connections` is for clients and upstreams.
        let mut conns = ConnTable::new(config.process.worker_connections + listeners.len());
        let listeners = listeners
            .into_iter()
            .enumerate()
            .map(|(number, (listen, handle))| {
                let conn = conns.open(Owner::Listener(number)).expect("a slot for each listener");
                if let Err(errno) = engine.adopt(conn, handle) {
                    let addr = &config.listens[listen].addr;
                    panic!("the socket of {addr} cannot be used: {}", Errno(errno));
                }
                Listener { listen, conn, paused_until: None }
            })
            .collect();
        let now = engine.now();
        let router = Rc::new(Router::new(&config));
        let balancers = config.upstreams.iter().map(Balancer::new).collect();
        Self {
            engine,
            terms: Terms::of_each(&config),
            config: Rc::new(config),
            router,
            balancers,
            host,
            listeners,
            parked: VecDeque::new(),
            mailbox,
            logs,
            stats: Stats::default(),
            shared: stats,
            prng: Prng::new(seed),
            chunks,
            conns,
            wheel: Wheel::new(now.mono),
            sessions: Vec::new(),
            vacant: Vec::new(),
            serial: 0,
            stage: Stage::Serving,
            full: false,
            full_again: now.mono,
            idle_again: now.mono,
            events: Vec::with_capacity(EVENTS_PER_TURN),
            ops: Ops::with_capacity(OPS_PER_TURN),
            delayed: Vec::new(),
            due: Vec::new(),
        }
    }

    /// Turns until the worker is told to stop and everything is closed.
    pub fn run(&mut self) {
        while self.turn() {}
    }

    /// Ends a worker that panicked, or that stopped with operations still in flight: its sockets
    /// are closed, so that peers notice, and its pool is never freed, because the kernel may still
    /// write to it.
    pub fn abandon(self) {
        let Self { engine, chunks, .. } = self;
        // The engine takes back what it can, first and within a bound of time.
        drop(engine);
        std::mem::forget(chunks);
    }

    /// One turn; false when the worker has stopped. Returns by `until` even if nothing happens.
    pub fn turn(&mut self) -> bool {
        self.accept_more();
        self.submit();
        let until = self.next_wake();
        self.engine.wait(until, &mut self.chunks, &mut self.events);
        self.stats.count(Counter::Turns);
        let spins = self.engine.take_spins();
        self.stats.add(Counter::SpinsWon, spins.won);
        self.stats.add(Counter::SpinsVain, spins.vain);
        let mut events = std::mem::take(&mut self.events);
        for completion in events.drain(..) {
            self.dispatch(completion);
        }
        self.events = events;
        self.fire_timers();
        let goes_on = self.advance_stage();
        self.submit();
        self.logs.flush();
        self.stats.publish(&self.shared);
        goes_on
    }

    /// Sessions that are still alive.
    #[must_use]
    pub fn sessions_live(&self) -> usize {
        self.sessions.len() - self.vacant.len()
    }

    /// Connections that hold a slot, listeners included.
    #[must_use]
    pub fn conns_live(&self) -> usize {
        self.conns.live()
    }

    /// Timer entries in the wheel.
    #[must_use]
    pub const fn timers_live(&self) -> usize {
        self.wheel.live()
    }

    /// The receive buffers.
    #[must_use]
    pub const fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The engine.
    #[must_use]
    pub const fn engine(&self) -> &E {
        &self.engine
    }

    fn next_wake(&self) -> Option<Instant> {
        let drained = match self.stage {
            Stage::Draining(until) => until,
            Stage::Serving => None,
            // Operations were cancelled and finish soon; a turn may still not hang for ever.
            Stage::Stopping(_) => Some(self.engine.now().mono.plus_ms(ACCEPT_PAUSE_MS)),
        };
        let paused = self.listeners.iter().filter_map(|listener| listener.paused_until).min();
        let reclaim = self.full.then_some(self.idle_again);
        [self.wheel.next(), drained, paused, reclaim].into_iter().flatten().min()
    }

    /// Lets clients in: first those that are waiting here, then those in the listen queues.
    fn accept_more(&mut self) {
        if self.stage != Stage::Serving {
            return;
        }
        while self.has_place()
            && let Some((number, handle)) = self.parked.pop_front()
        {
            self.accepted(number, handle);
        }
        let now = self.engine.now();
        let is_full = !self.parked.is_empty();
        if is_full && !self.full {
            self.tell_full(now);
        }
        self.full = is_full;
        if is_full {
            return self.let_idle_go(now.mono);
        }
        for listener in &mut self.listeners {
            if listener.paused_until.is_some_and(|until| until > now.mono) {
                continue;
            }
            listener.paused_until = None;
            if self.conns.is_idle(listener.conn, Lane::Recv) {
                self.conns.push(listener.conn, Op::Accept, &mut self.ops);
            }
        }
    }

    /// Whether another client would also find a slot for its upstream.
    fn has_place(&self) -> bool {
        let sessions_max = (self.config.process.worker_connections / 2).max(1);
        self.sessions_live() < sessions_max && self.conns.room() >= 2
    }

    /// Somebody waits: the clients that have owed us a request for longest make room, as in nginx.
    fn let_idle_go(&mut self, now: Instant) {
        if now < self.idle_again {
            return;
        }
        self.idle_again = now.plus_ms(RECLAIM_IDLE_MS);
        let idle = |(slot, session): (usize, &Option<Box<Session>>)| {
            let since = session.as_ref()?.idle_since()?;
            (now.since_ms(since) >= RECLAIM_IDLE_MS).then_some((since, slot))
        };
        let mut idle: Vec<_> = self.sessions.iter().enumerate().filter_map(idle).collect();
        idle.sort_unstable();
        for (_, slot) in idle.into_iter().take(RECLAIM_MAX) {
            let slot = u32::try_from(slot).expect("sessions are fewer than connections");
            self.with_session(slot, |session, io| session.abort(Reason::Full, io));
        }
    }

    /// The table has just become full: worth a line, but not one for each client that comes and
    /// goes.
    fn tell_full(&mut self, now: Now) {
        self.stats.count(Counter::WorkerFull);
        if now.mono < self.full_again {
            return;
        }
        self.full_again = now.mono.plus_ms(FULL_LINE_MS);
        let max = self.config.process.worker_connections;
        self.logs.error(
            now,
            Level::Alert,
            format_args!(
                "{max} worker_connections are not enough; clients wait in the listen queue"
            ),
        );
    }

    fn submit(&mut self) {
        for conn in self.delayed.drain(..) {
            self.engine.clear_nodelay(conn);
        }
        for (conn, op) in self.ops.drain(..) {
            self.engine.push(conn, op, &mut self.chunks);
        }
    }

    fn dispatch(&mut self, completion: Completion) {
        let Completion { conn, lane, event } = completion;
        if conn == ConnId::MAILBOX {
            return self.read_mail();
        }
        match self.conns.complete(conn, lane, &event, &mut self.ops) {
            Fate::Owned(Owner::Session(session, side)) => {
                self.with_session(session, |session, io| session.on(side, lane, event, io));
            }
            Fate::Owned(Owner::Listener(number)) => self.on_listener(number, event),
            Fate::Dropped => {
                self.stats.count(Counter::Stale);
                self.drop_event(event);
            }
            Fate::Freed => {}
        }
    }

    /// Nobody wants the event any more; what it carries must not be lost.
    fn drop_event(&mut self, event: Event) {
        match event {
            Event::Accepted(handle) => self.engine.discard(handle),
            Event::Received(load)
            | Event::Sent(load)
            | Event::Relayed { rest: load, .. }
            | Event::Failed { load: Some(load), .. } => self.chunks.give_load(load),
            Event::Failed { load: None, .. }
            | Event::Connected
            | Event::Shut
            | Event::Cancelled
            | Event::Closed
            | Event::Woken => {}
        }
    }

    fn on_listener(&mut self, number: usize, event: Event) {
        match event {
            // In its turn: those that came before may be waiting still.
            Event::Accepted(handle) => self.parked.push_back((number, handle)),
            Event::Failed { errno, .. } if errno != libc::ECANCELED => {
                let now = self.engine.now();
                self.stats.count(Counter::AcceptErrors);
                // A client that left the queue is no reason to pause; a lack of descriptors is.
                if !matches!(errno, libc::ECONNABORTED | libc::EPROTO) {
                    self.listeners[number].paused_until = Some(now.mono.plus_ms(ACCEPT_PAUSE_MS));
                }
                let listen = &self.config.listens[self.listeners[number].listen];
                let hint = shortage(errno).map(|hint| format!(" ({hint})")).unwrap_or_default();
                self.logs.error(
                    now,
                    Level::Crit,
                    format_args!("accept on {} failed: {}{hint}", listen.addr, Errno(errno)),
                );
            }
            other => self.drop_event(other),
        }
    }

    fn accepted(&mut self, number: usize, handle: Handle) {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.sessions.push(None);
            u32::try_from(self.sessions.len() - 1).expect("sessions are fewer than connections")
        });
        let Some(conn) = self.conns.open(Owner::Session(slot, Side::Client)) else {
            self.vacant.push(slot);
            return self.parked.push_back((number, handle));
        };
        let ends = match self.engine.adopt(conn, handle) {
            Ok(ends) => ends,
            Err(_gone) => {
                self.vacant.push(slot);
                return self.conns.close(conn, true, &mut self.ops);
            }
        };
        self.serial += 1;
        self.stats.count(Counter::Accepted);
        let listen = self.listeners[number].listen;
        self.begin_session(slot, conn, listen, ends);
    }

    fn begin_session(&mut self, slot: u32, conn: ConnId, listen: usize, ends: Ends) {
        let serial = self.serial;
        let now = self.engine.now().mono;
        self.sessions[slot as usize] =
            Some(Box::new(Session::new(slot, conn, listen, ends, serial, now)));
        self.with_session(slot, Session::start);
    }

    /// Lends everything to one session, and takes note of what became of it.
    fn with_session(&mut self, slot: u32, act: impl FnOnce(&mut Session, &mut Io<'_>)) {
        let Some(session) = self.sessions[slot as usize].as_deref_mut() else {
            debug_assert!(false, "session {slot} owns a connection and does not exist");
            return;
        };
        let mut io = Io {
            now: self.engine.now(),
            ops: &mut self.ops,
            chunks: &mut self.chunks,
            conns: &mut self.conns,
            config: &self.config,
            terms: &self.terms,
            router: &self.router,
            balancers: &mut self.balancers,
            host: &self.host,
            logs: &mut self.logs,
            stats: &mut self.stats,
            prng: &mut self.prng,
            delayed: &mut self.delayed,
            draining: self.stage != Stage::Serving,
        };
        act(session, &mut io);
        if session.is_over() {
            self.sessions[slot as usize] = None;
            self.vacant.push(slot);
            self.wheel.cancel(slot);
            self.stats.count(Counter::Closed);
        } else {
            session.settle_timers(slot, &mut self.wheel);
        }
    }

    fn fire_timers(&mut self) {
        let now = self.engine.now().mono;
        let mut due = std::mem::take(&mut self.due);
        self.wheel.expire(now, &mut due);
        for slot in due.drain(..) {
            self.with_session(slot, Session::on_timers);
        }
        self.due = due;
    }

    fn read_mail(&mut self) {
        for letter in self.mailbox.drain() {
            match letter {
                Letter::Stop => self.stop(),
                Letter::Quit => self.drain(),
                Letter::Panic => panic!("asked to panic by a test"),
            }
        }
    }

    /// Finishes what is in flight: closes the listeners and idle clients.
    fn drain(&mut self) {
        if self.stage != Stage::Serving {
            return;
        }
        let limit = self.config.process.shutdown_timeout_ms;
        self.stage = Stage::Draining(limit.map(|ms| self.engine.now().mono.plus_ms(ms)));
        self.close_listeners();
        self.each_session(Session::drain);
    }

    /// Closes everything at once.
    fn stop(&mut self) {
        if matches!(self.stage, Stage::Stopping(_)) {
            return;
        }
        self.stage = Stage::Stopping(STOP_TURNS_MAX);
        self.close_listeners();
        self.each_session(|session, io| session.abort(Reason::Shutdown, io));
    }

    fn close_listeners(&mut self) {
        for (_, handle) in self.parked.drain(..) {
            self.engine.discard(handle);
        }
        for listener in self.listeners.drain(..) {
            self.conns.close(listener.conn, false, &mut self.ops);
        }
    }

    fn each_session(&mut self, mut act: impl FnMut(&mut Session, &mut Io<'_>)) {
        for slot in 0..self.sessions.len() {
            if self.sessions[slot].is_some() {
                let slot = u32::try_from(slot).expect("sessions are fewer than connections");
                self.with_session(slot, &mut act);
            }
        }
    }

    /// Moves a stop forward; false when it is complete.
    fn advance_stage(&mut self) -> bool {
        match self.stage {
            Stage::Serving => true,
            Stage::Draining(until) => {
                if self.conns.live() == 0 {
                    return false;
                }
                if until.is_some_and(|until| self.engine.now().mono >= until) {
                    self.stop();
                }
                true
            }
            Stage::Stopping(turns) => {
                self.stage = Stage::Stopping(turns.saturating_sub(1));
                self.conns.live() > 0 && turns > 0
            }
        }
    }
}
