//! The log files of the process: opened once, written by every thread, reopened all at once.
//!
//! Deliberately absent: buffering (each thread's [`Logs`](super::log::Logs) has it) and rotation
//! (the operator's tools move a file away and send SIGUSR1, as with nginx).

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use nix::unistd::{AccessFlags, access};

use crate::config::model::{ErrorLog, Level};
use crate::limits::LOG_LOSS_NOTICE_S;

/// The open log files of a configuration.
#[derive(Debug)]
pub struct LogFiles {
    access: Vec<LogFile>,
    error: Vec<(Level, LogFile)>,
    zone: jiff::tz::TimeZone,
    lost: AtomicU64,
    /// When a loss was last told, in seconds since 1970.
    told_s: AtomicU64,
}

#[derive(Debug)]
struct LogFile {
    /// `None` is standard error: whatever that is at the moment of opening.
    path: Option<String>,
    /// Writers share it; only reopening, which swaps the file, excludes them, and briefly.
    file: RwLock<File>,
}

/// A file that could not be opened.
#[derive(Debug)]
pub struct OpenError {
    /// Which one.
    pub path: String,
    /// Why not.
    pub error: io::Error,
}

impl core::fmt::Display for OpenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "open() \"{}\" failed: {}", self.path, self.error)
    }
}

impl core::error::Error for OpenError {}

impl LogFiles {
    /// Opens everything, creating files (mode 0644 less the umask) that do not exist.
    ///
    /// # Errors
    /// All files that cannot be opened.
    pub fn open(access: &[String], error: &[ErrorLog]) -> Result<Self, Vec<OpenError>> {
        let mut failures = Vec::new();
        let mut opened = |path| LogFile::open(path).map_err(|error| failures.push(error)).ok();
        let access = access.iter().filter_map(|path| opened(Some(path))).collect();
        let error = error
            .iter()
            .filter_map(|log| Some((log.level, opened(log.path.as_deref())?)))
            .collect();
        if !failures.is_empty() {
            return Err(failures);
        }
        let zone = jiff::tz::TimeZone::system();
        Ok(Self { access, error, zone, lost: AtomicU64::new(0), told_s: AtomicU64::new(0) })
    }

    /// Opens all files again by their names, for after a rotation (SIGUSR1). A file that cannot be
    /// opened stays as it was.
    #[must_use]
    pub fn reopen(&self) -> Vec<OpenError> {
        self.all().filter_map(|log| log.reopen().err()).collect()
    }

    /// Gives the files to the user whom the program is about to become, so that they can be
    /// reopened later, as nginx does. The standard streams are not ours to give away, and a file
    /// that refuses stays as it is.
    pub fn give_to(&self, user: nix::unistd::Uid, group: nix::unistd::Gid) {
        for log in self.all().filter(|log| log.is_own_file()) {
            let file = log.file.read().unwrap_or_else(PoisonError::into_inner);
            let _ = nix::unistd::fchown(file.as_fd(), Some(user), Some(group));
        }
    }

    /// How many writes failed (a full disk, a closed standard error).
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn access_count(&self) -> usize {
        self.access.len()
    }

    /// The least severe line that each error log takes.
    pub(super) fn error_levels(&self) -> impl Iterator<Item = Level> {
        self.error.iter().map(|(level, _)| *level)
    }

    /// The time zone of all log lines.
    #[must_use]
    pub const fn zone(&self) -> &jiff::tz::TimeZone {
        &self.zone
    }

    pub(super) fn write_access(&self, index: usize, bytes: &[u8]) {
        self.write(&self.access[index], bytes);
    }

    pub(super) fn write_error(&self, index: usize, bytes: &[u8]) {
        self.write(&self.error[index].1, bytes);
    }

    /// One `write(2)` of whole lines in append mode; a failure is counted, and told to the error
    /// logs that can still be written.
    fn write(&self, log: &LogFile, bytes: &[u8]) {
        if let Err(error) = log.write(bytes) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.tell_loss(log, &error);
        }
    }

    /// At most once in [`LOG_LOSS_NOTICE_S`]: a full disk fails with every line.
    fn tell_loss(&self, failed: &LogFile, error: &io::Error) {
        let now = jiff::Timestamp::now();
        let now_s = u64::try_from(now.as_second()).unwrap_or(0);
        let told_s = self.told_s.load(Ordering::Relaxed);
        let due = told_s.saturating_add(LOG_LOSS_NOTICE_S) <= now_s;
        let exchange =
            || self.told_s.compare_exchange(told_s, now_s, Ordering::Relaxed, Ordering::Relaxed);
        if !due || exchange().is_err() {
            return;
        }
        let line = format!(
            "{} [alert] {}#{}: write() to \"{}\" failed: {error}; its lines are lost\n",
            now.to_zoned(self.zone.clone()).strftime("%Y/%m/%d %H:%M:%S"),
            std::process::id(),
            nix::unistd::gettid(),
            failed.path.as_deref().unwrap_or("stderr"),
        );
        for (_, log) in self.error.iter().filter(|(_, log)| !core::ptr::eq(log, failed)) {
            // Whoever cannot be told of the loss has lost lines already.
            let _ = log.write(line.as_bytes());
        }
    }

    fn all(&self) -> impl Iterator<Item = &LogFile> {
        self.access.iter().chain(self.error.iter().map(|(_, log)| log))
    }
}

impl LogFile {
    fn open(path: Option<&str>) -> Result<Self, OpenError> {
        let file = open(path).map_err(|error| Self::failure(path, error))?;
        Ok(Self { path: path.map(str::to_owned), file: RwLock::new(file) })
    }

    fn reopen(&self) -> Result<(), OpenError> {
        let path = self.path.as_deref();
        let file = open(path).map_err(|error| Self::failure(path, error))?;
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        (&*file).write_all(bytes)
    }

    fn is_own_file(&self) -> bool {
        if matches!(self.path.as_deref(), None | Some(STDOUT | STDERR)) {
            return false;
        }
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        file.metadata().is_ok_and(|metadata| metadata.is_file())
    }

    fn failure(path: Option<&str>, error: io::Error) -> OpenError {
        OpenError { path: path.unwrap_or("stderr").to_owned(), error }
    }
}

const STDOUT: &str = "/dev/stdout";
const STDERR: &str = "/dev/stderr";

/// Whether a file could be opened for writing; unlike opening it, this leaves no new file behind.
///
/// # Errors
/// Why it could not.
pub fn try_out(path: &str) -> Result<(), OpenError> {
    let tried = match File::options().append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty());
            let may = AccessFlags::W_OK | AccessFlags::X_OK;
            access(folder.unwrap_or_else(|| Path::new(".")), may).map_err(io::Error::from)
        }
        // Under systemd these are sockets, which are not opened by name.
        _ if matches!(path, STDOUT | STDERR) => Ok(()),
        opened => opened.map(drop),
    };
    tried.map_err(|error| LogFile::failure(Some(path), error))
}

/// `/dev/stdout` and `/dev/stderr` are duplicated and not opened: under systemd they are sockets,
/// which `open(2)` refuses with ENXIO.
fn open(path: Option<&str>) -> io::Result<File> {
    match path {
        None | Some(STDERR) => Ok(File::from(io::stderr().as_fd().try_clone_to_owned()?)),
        Some(STDOUT) => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        Some(path) => File::options().append(true).create(true).open(path),
    }
}
