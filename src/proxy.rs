//! The embedding interface: a configured proxy that runs inside this process.
//!
//! ```no_run
//! use upsplice::proxy::Proxy;
//!
//! let config = "events {} http { server { listen 127.0.0.1:0;
//!     location / { proxy_pass http://127.0.0.1:9000; } } }";
//! let running = Proxy::from_config_text(config)?.start()?;
//! println!("listening on {}", running.addresses()[0]);
//! let summary = running.stop_and_join();
//! # Ok::<(), upsplice::proxy::Error>(())
//! ```
//!
//! Nothing here touches what belongs to the whole process: no signal is caught, no user changed,
//! no limit raised, no pid file written, and the panic hook stays the embedder's. The directives
//! `user`, `pid`, `daemon` and `worker_rlimit_nofile` therefore have no effect. Several proxies may
//! run in one process.

use std::sync::Arc;
use std::thread::JoinHandle;

use crate::config::model::{Affinity, Config, EngineChoice, Workers};
use crate::config::{self, Diagnostic, Loaded, Request};
use crate::conn::Addr;
use crate::engine::probe::Chosen;
use crate::observe::files::LogFiles;
use crate::observe::stats::Stats;
use crate::supervisor::listeners::Listeners;
use crate::supervisor::outside::System;
use crate::supervisor::{Command, Parts, Remote, Summary, Supervisor, system};

/// A proxy that is configured and not yet started.
#[derive(Debug)]
pub struct Proxy {
    config: Config,
    warnings: Vec<Diagnostic>,
    pinned: bool,
}

/// Why a proxy could not be made or started: everything that is wrong, in sentences.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error {
    sentences: Vec<String>,
}

impl Error {
    /// The sentences, at least one.
    #[must_use]
    pub fn sentences(&self) -> &[String] {
        &self.sentences
    }

    fn new(sentences: Vec<impl ToString>) -> Self {
        Self { sentences: sentences.iter().map(ToString::to_string).collect() }
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.sentences.join("\n"))
    }
}

impl core::error::Error for Error {}

impl Proxy {
    /// Reads a configuration in nginx's language. Relative file names start at the current folder.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn from_config_text(text: &str) -> Result<Self, Error> {
        let request = Request { path: "(text)", ..Request::default() };
        Self::loaded(config::load_text(request, text.as_bytes().to_vec(), &System))
    }

    /// Reads a configuration file in nginx's language.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn from_config_file(path: &str) -> Result<Self, Error> {
        Self::loaded(config::load(Request { path, ..Request::default() }, &System))
    }

    fn loaded(outcome: Result<Loaded, Vec<Diagnostic>>) -> Result<Self, Error> {
        let loaded = outcome.map_err(Error::new)?;
        Ok(Self { config: loaded.config, warnings: loaded.warnings, pinned: false })
    }

    /// What the loader found odd about the configuration.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Takes this engine, whatever `use` says.
    #[must_use]
    pub const fn engine(mut self, engine: EngineChoice) -> Self {
        self.config.process.engine = engine;
        self
    }

    /// Starts so many workers (at least one), whatever `worker_processes` says.
    #[must_use]
    pub const fn workers(mut self, count: usize) -> Self {
        self.config.process.workers = Workers::Count(count);
        self
    }

    /// Pins each worker to a CPU, as the program does; without it the system moves them.
    #[must_use]
    pub const fn pinned(mut self, pinned: bool) -> Self {
        self.pinned = pinned;
        self
    }

    /// Binds the addresses and starts the workers. Returns when all of them work.
    ///
    /// # Errors
    /// What kept it from starting; nothing runs then.
    pub fn start(self) -> Result<Running, Error> {
        let process = &self.config.process;
        let chosen =
            system::choose_engine(process.engine).map_err(|error| Error::new(vec![error]))?;
        let workers = system::worker_count(process.workers);
        let allowed = if self.pinned { system::allowed_cpus() } else { Vec::new() };
        let affinity = if self.pinned { &process.affinity } else { &Affinity::Auto };
        let cpus: Vec<_> = (0..workers).map(|n| system::cpus_of(affinity, &allowed, n)).collect();
        system::may_spin(process, &system::allowed_cpus(), &cpus)
            .map_err(|error| Error::new(vec![error]))?;
        let listeners = Listeners::bind(&self.config.listens, workers).map_err(Error::new)?;
        let files =
            LogFiles::open(&self.config.access_files, &process.error_logs).map_err(Error::new)?;
        let parts =
            Parts { engine: chosen, config: self.config, files: Arc::new(files), listeners, cpus };
        let supervisor = Supervisor::start(parts).map_err(Error::new)?;
        let (remote, addresses) = (supervisor.remote(), supervisor.addresses());
        let thread = std::thread::Builder::new()
            .name("upsplice".to_owned())
            .spawn(move || supervisor.run(None))
            .map_err(|error| Error::new(vec![format!("cannot start a thread: {error}")]))?;
        Ok(Running { remote, addresses, chosen, thread: Some(thread) })
    }
}

/// A proxy at work. Dropping it stops it and waits for its end.
#[derive(Debug)]
pub struct Running {
    remote: Remote,
    addresses: Vec<Addr>,
    chosen: Chosen,
    thread: Option<JoinHandle<Summary>>,
}

impl Running {
    /// The addresses it listens on, in the order of the configuration, with port 0 resolved.
    #[must_use]
    pub fn addresses(&self) -> &[Addr] {
        &self.addresses
    }

    /// The engine, and why it was chosen.
    #[must_use]
    pub const fn engine(&self) -> Chosen {
        self.chosen
    }

    /// The counters of all workers, as of their last turns.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.remote.stats()
    }

    /// Asks it to stop now; returns at once.
    pub fn stop(&self) {
        self.remote.send(Command::Stop);
    }

    /// Asks it to finish what is in flight, within `worker_shutdown_timeout`, and to take no new
    /// clients; returns at once.
    pub fn quit(&self) {
        self.remote.send(Command::Quit);
    }

    /// Reopens the log files, for after a rotation; returns at once.
    pub fn reopen_logs(&self) {
        self.remote.send(Command::Reopen);
    }

    /// Waits for its end, which somebody must have asked for.
    ///
    /// # Panics
    /// If the supervising thread did, which is a mistake of ours.
    #[must_use]
    pub fn join(mut self) -> Summary {
        let thread = self.thread.take().expect("only joining takes the thread");
        thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    }

    /// Stops it now and waits for its end.
    ///
    /// # Panics
    /// As [`join`](Self::join).
    #[must_use]
    pub fn stop_and_join(self) -> Summary {
        self.stop();
        self.join()
    }

    /// Makes a worker panic, so that tests see what happens then.
    #[doc(hidden)]
    pub fn panic_worker(&self, worker: usize) {
        self.remote.send(Command::Panic(worker));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.remote.send(Command::Stop);
            let _ = thread.join();
        }
    }
}
