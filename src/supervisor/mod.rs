//! Processes, threads and signals: starts the workers, watches them, stops them.
//!
//! One thread supervises: the program's main thread, or for an embedder one of the proxy's own. It
//! holds the listening sockets, so that no client is lost with a worker, and it never touches a
//! connection. Deliberately absent: the protocol, and reading configurations.

mod bell;
mod berth;
mod crew;
pub mod listeners;
pub mod outside;
pub mod panics;
pub mod pid_file;
pub mod signals;
pub mod system;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clock::Now;
use crate::config::model::{Config, Level, Splice};
use crate::conn::Addr;
use crate::engine::probe::Chosen;
use crate::limits::STOP_GRACE_MS;
use crate::observe::files::LogFiles;
use crate::observe::log::Logs;
use crate::observe::stats::{Counter, Stats};
use crate::worker::mailbox::Letter;

use bell::{Bell, Ringer};
use crew::{Crew, End, Plan, Roll};
use listeners::Listeners;
use signals::{Signals, Wish};

/// What may be asked of a running supervisor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Stop now.
    Stop,
    /// Finish what is in flight, then stop.
    Quit,
    /// Reopen the log files.
    Reopen,
    /// Make that worker panic, so that tests see what happens then.
    #[doc(hidden)]
    Panic(usize),
}

/// What the supervising thread hears.
#[derive(Debug)]
enum Message {
    Command(Command),
    Started(usize),
    Ended(usize, End),
}

/// Speaks to a running supervisor from any thread.
#[derive(Clone, Debug)]
pub struct Remote {
    ringer: Ringer<Message>,
    roll: Arc<Roll>,
}

impl Remote {
    /// Asks; the answer is what happens.
    pub fn send(&self, command: Command) {
        self.ringer.send(Message::Command(command));
    }

    /// The counters of all workers, as of their last turns.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.roll.sum()
    }
}

/// What the supervisor is made of.
#[derive(Debug)]
pub struct Parts {
    /// The configuration; each worker gets a copy.
    pub config: Config,
    /// The engine of all workers.
    pub engine: Chosen,
    /// The open log files.
    pub files: Arc<LogFiles>,
    /// The bound sockets.
    pub listeners: Listeners,
    /// The CPUs of each worker, one entry per worker; an empty entry is a worker not pinned.
    pub cpus: Vec<Vec<usize>>,
}

/// What there is to say when all is over.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// The counters of all workers.
    pub stats: Stats,
    /// How long it ran.
    pub uptime: Duration,
    /// Workers that panicked.
    pub panics: u64,
    /// Log writes that failed.
    pub log_writes_lost: u64,
    /// Workers that did not stop in time and were left behind.
    pub left_behind: usize,
}

/// Runs the workers.
#[derive(Debug)]
pub struct Supervisor {
    crew: Crew,
    /// `None` from the moment a stop begins: new clients are refused at once.
    listeners: Option<Listeners>,
    bell: Bell<Message>,
    remote: Remote,
    files: Arc<LogFiles>,
    logs: Logs,
    phase: Phase,
    shutdown_timeout: Option<Duration>,
    began: Instant,
    panics: u64,
}

#[derive(Debug, Eq, PartialEq)]
enum Phase {
    Running,
    /// Workers finish what is in flight; at the given time they are stopped.
    Quitting(Option<Instant>),
    /// Workers stop; at the given time the rest is left behind.
    Stopping(Instant),
    /// Nobody is waited for any more.
    GivenUp,
}

impl Supervisor {
    /// Starts all workers and waits until each of them works.
    ///
    /// # Errors
    /// What kept the workers from starting, one sentence each; those that did start are stopped.
    pub fn start(parts: Parts) -> Result<Self, Vec<String>> {
        let Parts { config, engine, files, listeners, cpus } = parts;
        let shutdown_timeout = config.process.shutdown_timeout_ms.map(Duration::from_millis);
        let (bell, ringer) =
            bell::bell().map_err(|errno| vec![format!("the supervisor cannot start: {errno}")])?;
        let roll = Arc::new(Roll::default());
        let remote = Remote { ringer: ringer.clone(), roll: Arc::clone(&roll) };
        let degraded = matches!(engine, Chosen::Epoll { .. }) && wants_links(&config);
        let plan = Plan { config, engine, files: Arc::clone(&files), cpus };
        let mut supervisor = Self {
            crew: Crew::new(plan, ringer, roll),
            listeners: Some(listeners),
            bell,
            remote,
            logs: Logs::new(Arc::clone(&files)),
            files,
            phase: Phase::Running,
            shutdown_timeout,
            began: Instant::now(),
            panics: 0,
        };
        let errors = supervisor.start_all();
        if errors.is_empty() {
            if degraded {
                let text = "\"splice linked\" needs io_uring; \"splice pipe\" takes its place";
                supervisor.log(Level::Warn, format_args!("{text}"));
            }
            return Ok(supervisor);
        }
        supervisor.stop();
        let _ = supervisor.run(None);
        Err(errors)
    }

    /// A way to speak to it while it runs.
    #[must_use]
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// The addresses it listens on, with port 0 resolved.
    #[must_use]
    pub fn addresses(&self) -> Vec<Addr> {
        self.listeners.iter().flat_map(Listeners::addresses).cloned().collect()
    }

    /// Writes a line to the error log.
    pub fn log(&mut self, level: Level, text: core::fmt::Arguments<'_>) {
        self.logs.error(now(), level, text);
        self.logs.flush();
    }

    /// Supervises until the last worker has ended; hears signals if there are any to hear.
    #[must_use]
    pub fn run(mut self, signals: Option<&Signals>) -> Summary {
        loop {
            while let Some(message) = self.bell.next() {
                self.hear(message);
            }
            while let Some((signal, wish)) = signals.and_then(Signals::next) {
                self.obey(signal.as_str(), wish);
            }
            self.keep_time(Instant::now());
            if self.phase == Phase::GivenUp || self.crew.is_over() {
                return self.end();
            }
            self.wait(signals);
        }
    }

    fn start_all(&mut self) -> Vec<String> {
        let mut errors = Vec::new();
        let mut awaited = vec![false; self.crew.len()];
        for (worker, awaited) in awaited.iter_mut().enumerate() {
            let Some(listeners) = &self.listeners else { break };
            match self.crew.start(worker, listeners) {
                Ok(()) => *awaited = true,
                Err(error) => errors.push(error),
            }
        }
        while awaited.contains(&true) {
            match self.bell.next() {
                Some(Message::Started(worker)) => awaited[worker] = false,
                Some(Message::Ended(worker, end)) if awaited[worker] => {
                    awaited[worker] = false;
                    self.crew.bury(worker);
                    errors.push(why_no_start(worker, end));
                }
                // Nobody has a remote yet; a worker that died in its first turn is heard again.
                Some(message) => self.hear(message),
                None => self.wait(None),
            }
        }
        errors
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Started(worker) => {
                self.log(Level::Notice, format_args!("worker {worker} is started again"));
                // Stopping may have begun while it started.
                match self.phase {
                    Phase::Running => {}
                    Phase::Quitting(_) => self.crew.send(worker, Letter::Quit),
                    Phase::Stopping(_) | Phase::GivenUp => self.crew.send(worker, Letter::Stop),
                }
            }
            Message::Ended(worker, end) => self.bury(worker, end),
            Message::Command(Command::Stop) => self.stop(),
            Message::Command(Command::Quit) => self.quit(),
            Message::Command(Command::Reopen) => self.reopen(),
            Message::Command(Command::Panic(worker)) => self.crew.send(worker, Letter::Panic),
        }
    }

    fn obey(&mut self, signal: &str, wish: Wish) {
        match wish {
            Wish::Stop => {
                self.log(Level::Notice, format_args!("{signal} received, stopping"));
                self.stop();
            }
            Wish::Quit => {
                self.log(Level::Notice, format_args!("{signal} received, finishing"));
                self.quit();
            }
            Wish::Reopen => {
                self.log(Level::Notice, format_args!("{signal} received, reopening logs"));
                self.reopen();
            }
            Wish::Reload | Wish::Upgrade => {
                let what = if wish == Wish::Reload {
                    "reading the configuration again"
                } else {
                    "starting the next binary"
                };
                self.log(
                    Level::Warn,
                    format_args!(
                        "{signal} received, but {what} is not supported yet: \
                         nothing is changed, restart to apply changes"
                    ),
                );
            }
        }
    }

    fn bury(&mut self, worker: usize, end: End) {
        self.crew.bury(worker);
        let running = self.phase == Phase::Running;
        match end {
            End::Returned if !running => return,
            End::Returned => {
                self.log(Level::Alert, format_args!("worker {worker} ended without being asked"));
            }
            End::Panicked(words) => {
                self.panics += 1;
                self.log(
                    Level::Alert,
                    format_args!(
                        "worker {worker} panicked: {words}; its connections are lost, \
                         the other workers go on"
                    ),
                );
            }
            End::CouldNotStart(why) => {
                self.log(Level::Alert, format_args!("worker {worker} cannot start: {why}"));
            }
        }
        if !running {
            return;
        }
        let (pause, short_lives) = self.crew.schedule(worker);
        if !pause.is_zero() {
            self.log(
                Level::Alert,
                format_args!(
                    "worker {worker} is in a crash loop: {short_lives} short lives in a row, \
                     the next one begins in {} ms",
                    pause.as_millis()
                ),
            );
        }
    }

    fn stop(&mut self) {
        if let Phase::Stopping(_) | Phase::GivenUp = self.phase {
            return;
        }
        self.end_intake();
        self.crew.send_all(|| Letter::Stop);
        self.phase = Phase::Stopping(Instant::now() + Duration::from_millis(STOP_GRACE_MS));
    }

    fn quit(&mut self) {
        if self.phase == Phase::Running {
            self.end_intake();
            self.crew.send_all(|| Letter::Quit);
            let stop_at = self.shutdown_timeout.map(|timeout| Instant::now() + timeout);
            self.phase = Phase::Quitting(stop_at);
        }
    }

    /// No more clients and no more restarts.
    fn end_intake(&mut self) {
        self.crew.cancel_due();
        self.listeners = None;
    }

    fn reopen(&mut self) {
        for error in self.files.reopen() {
            self.log(Level::Error, format_args!("{error}; the old file stays open"));
        }
    }

    fn keep_time(&mut self, now: Instant) {
        match self.phase {
            Phase::Quitting(Some(at)) if at <= now => {
                self.log(Level::Warn, format_args!("worker_shutdown_timeout is over, stopping"));
                self.stop();
            }
            Phase::Stopping(at) if at <= now => self.phase = Phase::GivenUp,
            _ => {}
        }
        for worker in self.crew.due(now) {
            let Some(listeners) = &self.listeners else { return };
            if let Err(error) = self.crew.start(worker, listeners) {
                self.bury(worker, End::CouldNotStart(error));
            }
        }
    }

    fn wait(&self, signals: Option<&Signals>) {
        let deadline = match self.phase {
            Phase::Running => self.crew.next_due(),
            Phase::Quitting(at) => at,
            Phase::Stopping(at) => Some(at),
            Phase::GivenUp => return,
        };
        let timeout = match deadline {
            None => PollTimeout::NONE,
            Some(at) => {
                // Rounded up, or the last millisecond would be spent spinning.
                let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut fds = vec![PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
        if let Some(signals) = signals {
            fds.push(PollFd::new(signals.as_fd(), PollFlags::POLLIN));
        }
        // An interruption is as good as an event: the caller looks at everything again.
        let _ = poll(&mut fds, timeout);
    }

    fn end(mut self) -> Summary {
        let left_behind = self.crew.working();
        if left_behind > 0 {
            self.log(Level::Alert, format_args!("{left_behind} workers did not stop in time"));
        }
        let (stats, uptime) = (self.remote.stats(), self.began.elapsed());
        self.log(
            Level::Notice,
            format_args!(
                "stopped after {:.1} s: {} connections, {} requests, {} tunnels",
                uptime.as_secs_f64(),
                stats.get(Counter::Accepted),
                stats.get(Counter::Requests),
                stats.get(Counter::TunnelsOpened),
            ),
        );
        Summary {
            stats,
            uptime,
            panics: self.panics,
            log_writes_lost: self.files.lost(),
            left_behind,
        }
    }
}

fn why_no_start(worker: usize, end: End) -> String {
    match end {
        End::Returned => format!("worker {worker} ended before it began"),
        End::Panicked(words) => format!("worker {worker} panicked at its start: {words}"),
        End::CouldNotStart(why) => format!("worker {worker} cannot start: {why}"),
    }
}

/// Whether any tunnel is to use the carrier that only io_uring has.
fn wants_links(config: &Config) -> bool {
    config.locations.iter().any(|location| location.settings.splice == Splice::Linked)
}

/// The time, for the log lines of the house; workers are told theirs by their engines.
fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX), ..Now::default() }
}
