//! What a window of time cost: CPU time of process trees, memory, and what the machine did beside.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use crate::poller::{self, Poller};

/// A proxy with more processes than this is not one of ours.
const TREE_MAX: usize = 64;

/// How long a look at the machine takes.
const LOOK_MS: u8 = 200;

/// A tick of the counters in `/proc/stat`.
const TICK: Duration = Duration::from_millis(10);

/// The clocks that a window reads at both ends.
pub(crate) struct Meter {
    /// The first process of the proxy, if there is one.
    pub(crate) proxy: Option<Pid>,
    pub(crate) backend: Pid,
}

/// Clocks at one moment.
pub(crate) struct Reading {
    at_ns: u64,
    proxy: Vec<(Pid, Duration)>,
    backend: Duration,
    load: Duration,
    machine: Machine,
}

/// What passed between two readings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) wall: Duration,
    /// All processes and threads of the proxy, kernel workers on their behalf included.
    pub(crate) proxy: Duration,
    pub(crate) backend: Duration,
    pub(crate) load: Duration,
    /// How long a load that does not sleep waited; the backend ran meanwhile, if it had to.
    pub(crate) waited: Duration,
    /// CPU time that none of the three took: other programs, and interrupts the kernel charges to
    /// nobody. In steps of a hundredth of a second.
    pub(crate) others: Duration,
    /// CPU time that the hypervisor gave to somebody else.
    pub(crate) stolen: Duration,
}

impl Spent {
    /// The share of the window in which load and backend kept their common CPU busy; an upper bound
    /// where the load does not sleep, for what the backend ran outside its waiting counts twice.
    pub(crate) fn load_busy(&self) -> f64 {
        let load = match self.waited {
            Duration::ZERO => self.load,
            waited => self.wall.saturating_sub(waited),
        };
        let busy = (load + self.backend).min(self.wall);
        busy.as_secs_f64() / self.wall.as_secs_f64().max(1e-9)
    }

    /// What others took, as a share of one CPU.
    pub(crate) fn disturbed(&self) -> f64 {
        (self.others + self.stolen).as_secs_f64() / self.wall.as_secs_f64().max(1e-9)
    }
}

impl Meter {
    pub(crate) fn read(&self) -> io::Result<Reading> {
        let mut proxy = Vec::new();
        for pid in self.tree() {
            // A process that ended between the two looks has no clock any more.
            if let Ok(time) = cpu_time(pid) {
                proxy.push((pid, time));
            }
        }
        let load = ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?;
        Ok(Reading {
            at_ns: poller::now_ns()?,
            proxy,
            backend: cpu_time(self.backend)?,
            load: Duration::from(load),
            machine: Machine::read()?,
        })
    }

    pub(crate) fn since(&self, start: &Reading) -> io::Result<Spent> {
        let end = self.read()?;
        let before = |pid| {
            let known = start.proxy.iter().find(|(known, _)| *known == pid);
            known.map_or(Duration::ZERO, |(_, time)| *time)
        };
        let proxy = end.proxy.iter().map(|&(pid, time)| time.saturating_sub(before(pid))).sum();
        let (backend, load) = (end.backend - start.backend, end.load - start.load);
        let busy = end.machine.busy.saturating_sub(start.machine.busy);
        Ok(Spent {
            wall: Duration::from_nanos(end.at_ns - start.at_ns),
            proxy,
            backend,
            load,
            waited: Duration::ZERO,
            others: busy.saturating_sub(proxy + backend + load),
            stolen: end.machine.stolen.saturating_sub(start.machine.stolen),
        })
    }

    /// The proxy's memory now: the sum over its processes.
    pub(crate) fn memory(&self) -> io::Result<Memory> {
        let mut sum = Memory { slab: slab()?, ..Memory::default() };
        for pid in self.tree() {
            let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else {
                continue;
            };
            sum.shared_out += kilobytes(&text, "Pss:");
            sum.private += kilobytes(&text, "Private_Clean:") + kilobytes(&text, "Private_Dirty:");
        }
        Ok(sum)
    }

    /// The proxy's processes, children behind parents.
    pub(crate) fn tree(&self) -> Vec<Pid> {
        let mut found: Vec<Pid> = self.proxy.into_iter().collect();
        let mut at = 0;
        while at < found.len() && found.len() < TREE_MAX {
            let tasks = fs::read_dir(format!("/proc/{}/task", found[at]));
            for task in tasks.into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children"));
                let children = children.unwrap_or_default();
                let pids = children.split(' ').filter_map(|pid| pid.parse().ok());
                found.extend(pids.map(Pid::from_raw));
            }
            at += 1;
        }
        found
    }
}

/// CPU time of all threads of a process, past ones included, to the nanosecond.
fn cpu_time(pid: Pid) -> io::Result<Duration> {
    Ok(Duration::from(clock_getcpuclockid(pid)?.now()?))
}

/// Bytes of memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Proportional set size: pages of several processes are shared out among them.
    pub(crate) shared_out: u64,
    /// Pages that no other process has.
    pub(crate) private: u64,
    /// The kernel's objects, of the whole machine.
    pub(crate) slab: u64,
}

fn slab() -> io::Result<u64> {
    Ok(kilobytes(&fs::read_to_string("/proc/meminfo")?, "Slab:"))
}

/// What the machine could still hand out, in bytes.
pub(crate) fn available() -> io::Result<u64> {
    Ok(kilobytes(&fs::read_to_string("/proc/meminfo")?, "MemAvailable:"))
}

/// Waits until others leave the machine alone, and no longer than `patience`. Returns how long that
/// took. Nobody tells when a machine is quiet: it is looked at.
pub(crate) fn quiet(patience: Duration) -> io::Result<Duration> {
    let start = Instant::now();
    let (mut poller, mut nothing) = (Poller::new()?, Vec::new());
    while start.elapsed() < patience {
        let before = Machine::read()?;
        poller.wait(&mut nothing, LOOK_MS)?;
        let busy = Machine::read()?.busy - before.busy;
        if busy <= TICK {
            break;
        }
    }
    Ok(start.elapsed())
}

/// The load average of the last minute.
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The first line of `/proc/stat`: all CPUs together.
struct Machine {
    busy: Duration,
    stolen: Duration,
}

impl Machine {
    fn read() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let first = text.lines().next().unwrap_or_default();
        let ticks = |at| {
            let word = first.split_whitespace().nth(at);
            word.and_then(|word| word.parse::<u32>().ok()).unwrap_or(0)
        };
        // user, nice, system, irq and softirq; idle and iowait are fourth and fifth.
        let busy = [1, 2, 3, 6, 7].into_iter().map(ticks).sum::<u32>();
        Ok(Self { busy: TICK * busy, stolen: TICK * ticks(8) })
    }
}
