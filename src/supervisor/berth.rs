//! A worker's thread from its first line to its last.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::config::model::Level;
use crate::engine::Engine;
use crate::engine::epoll::Epoll;
use crate::engine::probe::Chosen;
use crate::engine::uring::Uring;
use crate::http::facts::Host;
use crate::http::time::LocalTime;
use crate::observe::log::Logs;
use crate::observe::stats::Shared;
use crate::reason::Errno;
use crate::sys::socket;
use crate::worker::chunks::Chunks;
use crate::worker::mailbox::Mailbox;
use crate::worker::{Setup, Worker};

use super::bell::Ringer;
use super::crew::{End, Plan};
use super::{Message, now, panics, system};

/// Everything a worker's thread takes along.
#[derive(Debug)]
pub(super) struct Berth {
    pub(super) worker: usize,
    pub(super) plan: Arc<Plan>,
    pub(super) listeners: Vec<(usize, OwnedFd)>,
    pub(super) mailbox: Mailbox,
    pub(super) stats: Arc<Shared>,
    pub(super) ringer: Ringer<Message>,
}

impl Berth {
    /// Works until the worker is told to stop, or panics; the last thing it does is to say which.
    pub(super) fn live(self) {
        panics::watch_this_thread();
        let (worker, ringer) = (self.worker, self.ringer.clone());
        let end = match catch_unwind(AssertUnwindSafe(|| self.work())) {
            Ok(end) => end,
            Err(payload) => End::Panicked(panics::last_words(&*payload)),
        };
        ringer.send(Message::Ended(worker, end));
    }

    /// Engines are made here and not by the house: an io_uring belongs to one thread.
    fn work(self) -> End {
        let mut logs = Logs::new(Arc::clone(&self.plan.files));
        let cpus = &self.plan.cpus[self.worker];
        if let Err(errno) = system::pin(cpus) {
            let worker = self.worker;
            let text = format_args!("worker {worker} cannot be pinned to {cpus:?}: {errno}");
            logs.error(now(), Level::Warn, text);
        }
        // Listeners have slots of their own beside `worker_connections`.
        let slots = self.plan.config.process.worker_connections + self.listeners.len();
        let bell = self.mailbox.as_fd();
        let spin = self.plan.config.process.spin;
        match self.plan.engine {
            Chosen::Uring => match Uring::with_spin(slots, bell, spin) {
                Ok(engine) => {
                    self.tell_about_cards(engine.poll_cards(), &mut logs);
                    self.run(engine, logs)
                }
                Err(error) => End::CouldNotStart(error.to_string()),
            },
            Chosen::Epoll { .. } => match Epoll::with_spin(slots, bell, spin) {
                Ok(engine) => {
                    self.tell_about_cards(engine.poll_cards(), &mut logs);
                    self.run(engine, logs)
                }
                Err(error) => End::CouldNotStart(error.to_string()),
            },
        }
    }

    /// Spinning works without this; one worker says so for all of them.
    fn tell_about_cards(&self, outcome: Result<(), i32>, logs: &mut Logs) {
        if let Err(errno) = outcome
            && self.worker == 0
        {
            let text = format_args!(
                "spin: network cards are not polled before a worker sleeps ({}); \
                 that needs Linux 6.9",
                Errno(errno)
            );
            logs.error(now(), Level::Notice, text);
        }
    }

    fn run<E: Engine>(self, engine: E, logs: Logs) -> End {
        let host = Host {
            name: hostname().into(),
            pid: std::process::id(),
            engine: engine.name(),
            request_seed: seed(),
            time: LocalTime::new(self.plan.files.zone().clone()),
        };
        let setup = Setup {
            config: self.plan.config.clone(),
            host,
            listeners: self
                .listeners
                .into_iter()
                .map(|(index, socket)| (index, socket::into_handle(socket)))
                .collect(),
            mailbox: self.mailbox,
            logs,
            stats: self.stats,
            seed: seed(),
            chunks: Chunks::for_connections(self.plan.config.process.worker_connections),
        };
        let mut worker = Worker::new(engine, setup);
        self.ringer.send(Message::Started(self.worker));
        let outcome = catch_unwind(AssertUnwindSafe(|| worker.run()));
        if outcome.is_err() || worker.conns_live() > 0 {
            // The kernel may still be at work on memory that this worker lent it.
            worker.abandon();
        }
        match outcome {
            Ok(()) => End::Returned,
            Err(payload) => End::Panicked(panics::last_words(&*payload)),
        }
    }
}

/// Random bits from the standard library's hasher keys, which come from the system.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim_end().to_owned()
}
