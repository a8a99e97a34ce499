//! The process's share of the system: descriptors, CPUs, the user it runs as.

use std::ffi::CString;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Group, Pid, Uid, User};

use crate::config::model::{Affinity, EngineChoice, Process, Spin, Workers};
use crate::engine::probe::{self, Chosen};
use crate::limits::{DESCRIPTORS_BESIDE, PIPES_MAX};

/// Sets `worker_rlimit_nofile`, or raises the soft limit as far as the workers need and the hard
/// limit allows: all workers share one process here, so the usual 1024 would starve them.
/// Returns what the operator should know.
pub fn raise_descriptors(process: &Process, workers: usize) -> Vec<String> {
    let mut notes = Vec::new();
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return notes };
    // Each pipe of a pool has two ends.
    let each = process.worker_connections.saturating_add(2 * PIPES_MAX);
    let all = workers.saturating_mul(each);
    let need = u64::try_from(all).unwrap_or(u64::MAX).saturating_add(DESCRIPTORS_BESIDE);
    let mut have = soft;
    if let Some(wanted) = process.rlimit_nofile {
        match setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted.max(hard)) {
            Ok(()) => have = wanted,
            Err(error) => notes.push(format!(
                "worker_rlimit_nofile {wanted} is refused ({error}); the limit stays at {soft}. \
                 only CAP_SYS_RESOURCE may exceed the hard limit of {hard}"
            )),
        }
    } else if soft < need && soft < hard {
        let raised = need.min(hard);
        if setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() {
            have = raised;
        }
    }
    if have < need {
        let connections = process.worker_connections;
        let each = if workers == 1 {
            format!("{connections} worker_connections")
        } else {
            format!("{workers} workers with {connections} worker_connections each")
        };
        notes.push(format!(
            "{each} exceed open file resource limit: {have}; \
             raise worker_rlimit_nofile, or LimitNOFILE in the systemd unit, to {need}"
        ));
    }
    notes
}

/// The CPUs this process may use, in ascending order; CPU 0 alone if the system will not say.
#[must_use]
pub fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return vec![0] };
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect()
}

/// Chooses the engine of all workers; see [`probe::choose`].
///
/// It is tried on a thread of its own: the kernel takes a ring down later than its descriptor, and
/// interrupts (EINTR) whatever the thread that made it does then, which may be an embedder's.
///
/// # Errors
/// A sentence for the operator.
pub fn choose_engine(wish: EngineChoice) -> Result<Chosen, String> {
    let trial = std::thread::Builder::new().name("engine trial".to_owned());
    let thread = trial
        .spawn(move || probe::choose(wish))
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    match thread.join() {
        Ok(chosen) => chosen.map_err(|error| error.to_string()),
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

/// The CPUs of each worker that the configuration means, where `allowed` are those that this
/// process may use.
#[must_use]
pub fn berths(process: &Process, allowed: &[usize]) -> Vec<Vec<usize>> {
    let workers = worker_count(process.workers);
    (0..workers).map(|worker| cpus_of(&process.affinity, allowed, worker)).collect()
}

/// How many workers the configuration means.
#[must_use]
pub fn worker_count(workers: Workers) -> usize {
    match workers {
        Workers::Auto => allowed_cpus().len().max(1),
        Workers::Count(count) => count.max(1),
    }
}

/// The CPUs of a worker, where `allowed` are those that this process may use; none if it may use
/// none.
#[must_use]
pub fn cpus_of(affinity: &Affinity, allowed: &[usize], worker: usize) -> Vec<usize> {
    let one_of = |cpus: &[usize]| cpus.get(worker % cpus.len().max(1)).copied();
    match affinity {
        Affinity::Auto => one_of(allowed).into_iter().collect(),
        Affinity::AutoOf(mask) => one_of(mask).into_iter().collect(),
        Affinity::Masks(masks) => {
            masks.get(worker).or_else(|| masks.last()).cloned().unwrap_or_default()
        }
    }
}

/// Whether the workers may spin: not where that takes the CPU from somebody who is waited for.
/// `allowed` are the CPUs this process may use and `cpus` those of each worker, empty for one that
/// is not pinned.
///
/// # Errors
/// A sentence for the operator: what spinning would do here, and what to do instead.
pub fn may_spin(process: &Process, allowed: &[usize], cpus: &[Vec<usize>]) -> Result<(), String> {
    if process.spin == Spin::Off || process.spin_forced {
        return Ok(());
    }
    let mut used: Vec<usize> = Vec::new();
    let mut alone: Vec<usize> = Vec::new();
    for cpus in cpus {
        let cpus = if cpus.is_empty() { allowed } else { cpus };
        used.extend(cpus);
        alone.extend(if let [cpu] = cpus { Some(cpu) } else { None });
    }
    used.sort_unstable();
    used.dedup();
    alone.sort_unstable();
    let workers = cpus.len();
    let why = if allowed.len() < 2 {
        "there is a single CPU here, which clients, upstreams and the kernel need, too".to_owned()
    } else if workers > used.len() {
        format!("{workers} workers would share {} CPUs and spin against each other", used.len())
    } else if let Some(pair) = alone.windows(2).find(|pair| pair[0] == pair[1]) {
        format!("two workers would share CPU {} and spin against each other", pair[0])
    } else {
        return Ok(());
    };
    Err(format!(
        "\"spin\" is refused: {why}; give the program more CPUs, lower worker_processes, remove \
         the line, or write \"force\" behind it"
    ))
}

/// Pins the calling thread; an empty list leaves it free.
///
/// # Errors
/// If none of the CPUs may be used.
pub fn pin(cpus: &[usize]) -> nix::Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// Whom the program becomes after it has bound its ports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// For messages.
    pub name: String,
    /// The user.
    pub uid: Uid,
    /// The group.
    pub gid: Gid,
}

/// Whom the `user` directive, or its absence, means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Become {
    /// This user from now on.
    User(Identity),
    /// Whoever started the program; the note, if any, is for the operator.
    Same(Option<&'static str>),
}

/// Reads the `user` directive as nginx does: it counts only for a program started by root; the
/// group is the one named, else the group of the user's own name. Without the directive root
/// becomes `nobody`.
///
/// # Errors
/// A sentence for the operator.
pub fn whom(user: Option<&(String, Option<String>)>) -> Result<Become, String> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(Become::Same(user.map(|_| {
            "the \"user\" directive makes sense only if the program is started by root, ignored"
        })));
    }
    if let Some((user, group)) = user {
        return look_up(user, group.as_deref()).map(Become::User);
    }
    let nobody = look_up("nobody", None).or_else(|_| look_up("nobody", Some("nogroup")));
    Ok(nobody.map_or(
        Become::Same(Some("running as root: there is no user \"nobody\", name one with \"user\"")),
        Become::User,
    ))
}

fn look_up(user: &str, group: Option<&str>) -> Result<Identity, String> {
    let found = User::from_name(user).ok().flatten();
    let uid =
        found.map(|found| found.uid).ok_or_else(|| format!("user: there is no user \"{user}\""))?;
    let group = group.unwrap_or(user);
    let found = Group::from_name(group).ok().flatten();
    let gid = found
        .map(|found| found.gid)
        .ok_or_else(|| format!("user: there is no group \"{group}\""))?;
    Ok(Identity { name: user.to_owned(), uid, gid })
}

/// Becomes that user for good, with the user's own groups. All threads change at once, so call it
/// before a worker could hold anything that only root may.
///
/// # Errors
/// A sentence for the operator; the program must not go on, for it may be half changed.
pub fn become_user(identity: &Identity) -> Result<(), String> {
    if nix::unistd::geteuid() == identity.uid && nix::unistd::getegid() == identity.gid {
        return Ok(());
    }
    let failed = |call: &'static str| {
        move |error: nix::Error| format!("user {}: {call}() failed: {error}", identity.name)
    };
    let name = CString::new(identity.name.as_str()).map_err(|_| "user: a NUL in the name")?;
    nix::unistd::setgid(identity.gid).map_err(failed("setgid"))?;
    nix::unistd::initgroups(&name, identity.gid).map_err(failed("initgroups"))?;
    nix::unistd::setuid(identity.uid).map_err(failed("setuid"))?;
    // Changing the user took away core dumps and access to our own /proc entries; nginx, too, asks
    // for them back.
    let _ = nix::sys::prctl::set_dumpable(true);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_worker_gets_its_mask_or_the_nth_cpu() {
        let masks = Affinity::Masks(vec![vec![0], vec![2, 3]]);
        assert_eq!(cpus_of(&masks, &[0, 1], 0), [0]);
        assert_eq!(cpus_of(&masks, &[0, 1], 1), [2, 3]);
        assert_eq!(cpus_of(&masks, &[0, 1], 4), [2, 3]);
        assert_eq!(cpus_of(&Affinity::AutoOf(vec![2, 5]), &[0, 1], 1), [5]);
        assert_eq!(cpus_of(&Affinity::AutoOf(vec![2, 5]), &[0, 1], 2), [2]);
        assert_eq!(cpus_of(&Affinity::Auto, &[1, 4], 0), [1]);
        assert_eq!(cpus_of(&Affinity::Auto, &[1, 4], 3), [4]);
        assert!(cpus_of(&Affinity::Auto, &[], 0).is_empty());
    }

    #[test]
    fn spinning_needs_cpus_to_spare() {
        let text = "events { spin 50us; } http { server { } }";
        let request = config::Request { path: "(text)", ..config::Request::default() };
        let loaded = config::load_text(request, text.into(), &super::super::outside::System);
        let mut process = loaded.unwrap().config.process;
        let refusal = |process: &Process, allowed: &[usize], cpus: &[&[usize]]| {
            let cpus: Vec<_> = cpus.iter().map(|cpus| cpus.to_vec()).collect();
            may_spin(process, allowed, &cpus).err()
        };
        let is = |refusal: Option<String>, why: &str| {
            let text = refusal.unwrap();
            assert!(text.contains(why) && text.contains("\"force\""), "{text}");
        };
        is(refusal(&process, &[3], &[&[3]]), "a single CPU");
        is(refusal(&process, &[0, 1], &[&[0], &[1], &[0]]), "3 workers would share 2 CPUs");
        is(refusal(&process, &[0, 1, 2], &[&[0, 1], &[2], &[2]]), "two workers would share CPU 2");
        is(refusal(&process, &[0, 1], &[&[], &[], &[]]), "3 workers would share 2 CPUs");
        assert_eq!(refusal(&process, &[0, 1], &[&[0], &[1]]), None);
        assert_eq!(refusal(&process, &[0, 1], &[&[]]), None);
        process.spin_forced = true;
        assert_eq!(refusal(&process, &[3], &[&[3]]), None);
        (process.spin_forced, process.spin) = (false, Spin::Off);
        assert_eq!(refusal(&process, &[3], &[&[3], &[3]]), None);
    }

    #[test]
    fn root_is_found_and_a_stranger_is_not() {
        let root = look_up("root", None).unwrap();
        assert_eq!((root.uid.as_raw(), root.gid.as_raw()), (0, 0));
        assert!(look_up("no-such-user", None).unwrap_err().contains("no-such-user"));
        assert!(look_up("root", Some("no-such-group")).unwrap_err().contains("no-such-group"));
    }
}
