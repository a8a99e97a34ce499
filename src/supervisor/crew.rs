//! The workers' threads: started, pinned, listened to, started again after a panic.
//!
//! Deliberately absent: when to stop (the supervisor decides) and what a worker does.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::model::Config;
use crate::engine::probe::Chosen;
use crate::limits::{RESTART_CALM_MS, RESTART_PAUSE_MAX_MS, RESTART_PAUSE_MS};
use crate::observe::files::LogFiles;
use crate::observe::stats::{Shared, Stats};
use crate::worker::mailbox::{Letter, Mailbox, Sender};

use super::Message;
use super::bell::Ringer;
use super::berth::Berth;
use super::listeners::Listeners;

/// What every worker is made of.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) engine: Chosen,
    pub(super) files: Arc<LogFiles>,
    /// The CPUs of each worker; one entry per worker, empty for a worker that is not pinned.
    pub(super) cpus: Vec<Vec<usize>>,
}

/// How a worker's thread ended.
#[derive(Debug)]
pub(super) enum End {
    /// It stopped, as it was asked.
    Returned,
    /// It panicked, and said this.
    Panicked(String),
    /// It never began to work.
    CouldNotStart(String),
}

/// All workers.
#[derive(Debug)]
pub(super) struct Crew {
    plan: Arc<Plan>,
    members: Vec<Member>,
    ringer: Ringer<Message>,
    roll: Arc<Roll>,
}

/// One worker's place in the crew; its thread may change.
#[derive(Debug)]
struct Member {
    state: State,
    /// Lives in a row that ended too soon.
    short_lives: u32,
}

#[derive(Debug)]
enum State {
    Working {
        thread: JoinHandle<()>,
        mailbox: Sender,
        since: Instant,
    },
    /// Dead, to be started again then.
    Due(Instant),
    Ended,
}

/// The counters of all workers, dead ones included; readable from any thread.
#[derive(Debug, Default)]
pub(super) struct Roll {
    inner: Mutex<RollInner>,
}

#[derive(Debug, Default)]
struct RollInner {
    past: Stats,
    present: Vec<Option<Arc<Shared>>>,
}

impl Roll {
    /// The sum over all workers, as of their last turns.
    pub(super) fn sum(&self) -> Stats {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = inner.past.clone();
        inner.present.iter().flatten().for_each(|shared| sum.sum(&shared.snapshot()));
        sum
    }

    fn enter(&self, worker: usize, shared: Arc<Shared>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.present.len() <= worker {
            inner.present.resize(worker + 1, None);
        }
        inner.present[worker] = Some(shared);
    }

    /// What a dead worker had open is closed with it.
    fn leave(&self, worker: usize) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = inner.present.get_mut(worker).and_then(Option::take) {
            let mut stats = shared.snapshot();
            stats.close_all();
            inner.past.sum(&stats);
        }
    }
}

impl Crew {
    pub(super) fn new(plan: Plan, ringer: Ringer<Message>, roll: Arc<Roll>) -> Self {
        let members =
            plan.cpus.iter().map(|_| Member { state: State::Ended, short_lives: 0 }).collect();
        Self { plan: Arc::new(plan), members, ringer, roll }
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Starts a worker's thread. Whether it came to work is told by a message.
    pub(super) fn start(&mut self, worker: usize, listeners: &Listeners) -> Result<(), String> {
        let told = |error: std::io::Error| format!("worker {worker} cannot start: {error}");
        let (mailbox, sender) = Mailbox::new().map_err(told)?;
        let stats = Arc::new(Shared::default());
        let sockets = listeners.of_worker(worker).map_err(told)?;
        let berth = Berth {
            worker,
            plan: Arc::clone(&self.plan),
            listeners: sockets,
            mailbox,
            stats: Arc::clone(&stats),
            ringer: self.ringer.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("worker {worker}"))
            .spawn(move || berth.live())
            .map_err(told)?;
        self.roll.enter(worker, stats);
        self.members[worker].state =
            State::Working { thread, mailbox: sender, since: Instant::now() };
        Ok(())
    }

    /// Writes to every worker that works.
    pub(super) fn send_all(&self, letter: fn() -> Letter) {
        for member in &self.members {
            if let State::Working { mailbox, .. } = &member.state {
                mailbox.send(letter());
            }
        }
    }

    /// Writes to one worker, if it works.
    pub(super) fn send(&self, worker: usize, letter: Letter) {
        if let Some(Member { state: State::Working { mailbox, .. }, .. }) = self.members.get(worker)
        {
            mailbox.send(letter);
        }
    }

    /// A worker's thread has ended, or there never was one.
    pub(super) fn bury(&mut self, worker: usize) {
        self.roll.leave(worker);
        let member = &mut self.members[worker];
        let mut calm = false;
        if let State::Working { thread, since, .. } =
            std::mem::replace(&mut member.state, State::Ended)
        {
            // The thread has sent its last message, so this does not wait.
            let _ = thread.join();
            calm = since.elapsed() >= Duration::from_millis(RESTART_CALM_MS);
        }
        member.short_lives = if calm { 0 } else { member.short_lives.saturating_add(1) };
    }

    /// Decides when a dead worker works again; the pause doubles with every short life. Returns the
    /// pause and how many short lives there were in a row.
    pub(super) fn schedule(&mut self, worker: usize) -> (Duration, u32) {
        let member = &mut self.members[worker];
        let pause = pause_after(member.short_lives);
        member.state = State::Due(Instant::now() + pause);
        (pause, member.short_lives)
    }

    /// The workers that are to be started again by now.
    pub(super) fn due(&self, now: Instant) -> Vec<usize> {
        let is_due = |member: &Member| matches!(member.state, State::Due(at) if at <= now);
        (0..self.len()).filter(|&worker| is_due(&self.members[worker])).collect()
    }

    /// When the next dead worker is to be started.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = |member: &Member| match member.state {
            State::Due(at) => Some(at),
            _ => None,
        };
        self.members.iter().filter_map(due).min()
    }

    /// Forgets the workers that wait to be started again.
    pub(super) fn cancel_due(&mut self) {
        for member in &mut self.members {
            if let State::Due(_) = member.state {
                member.state = State::Ended;
            }
        }
    }

    /// Whether no thread is left, nor to be started.
    pub(super) fn is_over(&self) -> bool {
        self.members.iter().all(|member| matches!(member.state, State::Ended))
    }

    /// How many threads work.
    pub(super) fn working(&self) -> usize {
        let works = |member: &&Member| matches!(member.state, State::Working { .. });
        self.members.iter().filter(works).count()
    }
}

/// None after the first short life, because most panics do not repeat; then 100 ms, 200 ms, …
fn pause_after(short_lives: u32) -> Duration {
    let pause_ms = match short_lives {
        0 | 1 => 0,
        more => (RESTART_PAUSE_MS << (more - 2).min(16)).min(RESTART_PAUSE_MAX_MS),
    };
    Duration::from_millis(pause_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_slow_down_up_to_a_bound() {
        let pauses = [0, 1, 2, 3, 4].map(|lives| pause_after(lives).as_millis());
        assert_eq!(pauses, [0, 0, 100, 200, 400]);
        assert_eq!(pause_after(u32::MAX), Duration::from_millis(RESTART_PAUSE_MAX_MS));
    }
}
