//! The life of the program: from a checked configuration to the last worker's end.
//!
//! The order matters. Ports are bound and logs opened while the program may still be root and while
//! its errors still reach the terminal; it goes into the background before the first thread exists;
//! signals are blocked before the second does.

use std::path::Path;
use std::sync::Arc;

use crate::config::model::{Config, Level};
use crate::engine::probe::Chosen;
use crate::observe::files::LogFiles;
use crate::supervisor::listeners::Listeners;
use crate::supervisor::pid_file::PidFile;
use crate::supervisor::signals::Signals;
use crate::supervisor::system::{self, Become};
use crate::supervisor::{Parts, Summary, Supervisor, panics};
use crate::sys::process::{self, Detached};

use super::report::{self, Serving};

/// Runs the configuration until it is told to stop. `greet` may print what is being served, once
/// everything works.
///
/// # Errors
/// What kept the program from starting: everything at once where that is possible.
pub(super) fn run(
    config: Config,
    greet: impl FnOnce(&Serving<'_>),
) -> Result<Summary, Vec<String>> {
    let workers = system::worker_count(config.process.workers);
    let allowed = system::allowed_cpus();
    let cpus = system::berths(&config.process, &allowed);
    let mut errors = Vec::new();
    errors.extend(system::may_spin(&config.process, &allowed, &cpus).err());
    let whom = system::whom(config.process.user.as_ref()).map_err(one);
    let whom = gather(whom, &mut errors);
    let listeners = gather(Listeners::bind(&config.listens, workers), &mut errors);
    let files = LogFiles::open(&config.access_files, &config.process.error_logs);
    let files = gather(files, &mut errors);
    let (Some(whom), Some(listeners), Some(files), true) =
        (whom, listeners, files, errors.is_empty())
    else {
        return Err(errors);
    };
    let detached = detach(&config).map_err(one)?;
    let pid_file = write_pid(&config).map_err(one)?;
    let mut notes = system::raise_descriptors(&config.process, workers);
    match whom {
        Become::Same(note) => notes.extend(note.map(str::to_owned)),
        Become::User(identity) => {
            files.give_to(identity.uid, identity.gid);
            system::become_user(&identity).map_err(one)?;
        }
    }
    let signals =
        Signals::block().map_err(|error| one(format!("cannot receive signals: {error}")))?;
    // After the change of user: where io_uring is reserved for root, root is the wrong one to ask.
    let engine = system::choose_engine(config.process.engine).map_err(one)?;
    panics::install_hook();

    let files = Arc::new(files);
    let parts = Parts { config, engine, files: Arc::clone(&files), listeners, cpus: cpus.clone() };
    let mut supervisor = Supervisor::start(parts)?;
    let serving = Serving { engine, cpus: &cpus, addresses: supervisor.addresses() };
    supervisor.log(Level::Notice, format_args!("{}", report::started(&serving)));
    if let Chosen::Epoll { instead: Some(denied) } = engine {
        notes.push(format!("running on epoll, for io_uring is not to be had: {denied}"));
    }
    for note in &notes {
        supervisor.log(Level::Warn, format_args!("{note}"));
    }
    greet(&serving);
    if let Some(detached) = detached {
        go_quiet(detached, &files, &mut supervisor);
    }
    let summary = supervisor.run(Some(&signals));
    drop(pid_file);
    Ok(summary)
}

/// The value, or `None` and one more sentence for each error.
fn gather<T>(outcome: Result<T, Vec<impl ToString>>, errors: &mut Vec<String>) -> Option<T> {
    let failures = outcome.map_err(|failures| failures.iter().map(ToString::to_string).collect());
    failures.map_err(|failures: Vec<String>| errors.extend(failures)).ok()
}

fn one(error: String) -> Vec<String> {
    vec![error]
}

fn detach(config: &Config) -> Result<Option<Detached>, String> {
    if !config.process.daemon {
        return Ok(None);
    }
    process::detach().map(Some).map_err(|error| format!("cannot go into the background: {error}"))
}

fn write_pid(config: &Config) -> Result<Option<PidFile>, String> {
    let Some(path) = &config.process.pid else { return Ok(None) };
    PidFile::write(Path::new(path))
        .map(Some)
        .map_err(|error| format!("cannot write the pid file {path}: {error}"))
}

/// Lets go of the terminal, also where it is a log: whoever started the program may wait for the
/// end of its output.
fn go_quiet(detached: Detached, files: &LogFiles, supervisor: &mut Supervisor) {
    if let Err(error) = detached.ready() {
        supervisor.log(Level::Alert, format_args!("cannot let go of the terminal: {error}"));
    }
    let _ = files.reopen();
}
