//! One thread's access and error logs: lines are gathered during a turn and written at its end.
//!
//! A line never waits longer than its turn, a file costs one `write(2)` per turn, and a full disk
//! or a closed standard error costs the lines and nothing else. Deliberately absent: the files
//! ([`LogFiles`]) and the composition of access lines (`http::variables`).

use core::fmt;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Now;
use crate::config::model::Level;
use crate::limits::LOG_BUFFER_BYTES;

use super::files::LogFiles;

/// One thread's logs.
#[derive(Debug)]
pub struct Logs {
    sink: Sink,
    /// Lines of this turn, by access file.
    access: Vec<Vec<u8>>,
    /// Lines of this turn, by error log.
    error: Vec<(Level, Vec<u8>)>,
    /// The least severe level that anybody takes; `None` when there is no error log at all.
    threshold: Option<Level>,
    /// Whose lines they are: process#thread, as nginx prints it.
    writer: String,
    /// The second that `stamp` shows.
    stamped_s: u64,
    stamp: String,
    scratch: String,
}

#[derive(Debug)]
enum Sink {
    Files(Arc<LogFiles>),
    Memory(Arc<Mutex<Recorded>>),
}

/// What a [`Logs::memory`] has been told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recorded {
    /// Access lines: the file's index and the line.
    pub access: Vec<(usize, String)>,
    /// Error lines: the level and the message.
    pub error: Vec<(Level, String)>,
}

/// Access to what a [`Logs::memory`] has been told; the worker writes on, the test reads.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Recorded>>);

impl Memory {
    /// A copy of everything so far.
    #[must_use]
    pub fn recorded(&self) -> Recorded {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything since the last call.
    #[must_use]
    pub fn take(&self) -> Recorded {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Logs {
    /// Logs for the calling thread, whose number stands in the error lines.
    #[must_use]
    pub fn new(files: Arc<LogFiles>) -> Self {
        let writer = format!("{}#{}", std::process::id(), nix::unistd::gettid());
        let access = vec![Vec::new(); files.access_count()];
        let error: Vec<_> = files.error_levels().map(|level| (level, Vec::new())).collect();
        let threshold = error.iter().map(|(level, _)| *level).max();
        Self::with(Sink::Files(files), access, error, threshold, writer)
    }

    /// Logs that only remember, every level included; for simulation and tests.
    #[must_use]
    pub fn memory() -> (Self, Memory) {
        let memory = Memory::default();
        let sink = Sink::Memory(Arc::clone(&memory.0));
        (Self::with(sink, Vec::new(), Vec::new(), Some(Level::Debug), String::new()), memory)
    }

    fn with(
        sink: Sink,
        access: Vec<Vec<u8>>,
        error: Vec<(Level, Vec<u8>)>,
        threshold: Option<Level>,
        writer: String,
    ) -> Self {
        let (stamp, scratch) = (String::new(), String::new());
        Self { sink, access, error, threshold, writer, stamped_s: u64::MAX, stamp, scratch }
    }

    /// Whether a line of this level would be written anywhere.
    #[must_use]
    pub fn enabled(&self, level: Level) -> bool {
        self.threshold.is_some_and(|threshold| level <= threshold)
    }

    /// Adds a line, given without its newline, to the access log file of that index
    /// ([`Config::access_files`](crate::config::model::Config::access_files)).
    pub fn access(&mut self, file: usize, line: &[u8]) {
        match &self.sink {
            Sink::Files(files) => {
                let lines = &mut self.access[file];
                lines.extend_from_slice(line);
                lines.push(b'\n');
                if lines.len() >= LOG_BUFFER_BYTES {
                    files.write_access(file, lines);
                    lines.clear();
                }
            }
            Sink::Memory(memory) => {
                let line = String::from_utf8_lossy(line).into_owned();
                let mut recorded = memory.lock().unwrap_or_else(PoisonError::into_inner);
                recorded.access.push((file, line));
            }
        }
    }

    /// Adds a line to every error log that takes its level:
    /// `2026/11/20 10:00:00 [warn] pid#tid: message`.
    pub fn error(&mut self, now: Now, level: Level, args: fmt::Arguments<'_>) {
        if !self.enabled(level) {
            return;
        }
        if let Sink::Memory(memory) = &self.sink {
            let mut recorded = memory.lock().unwrap_or_else(PoisonError::into_inner);
            recorded.error.push((level, args.to_string()));
            return;
        }
        self.stamp(now);
        let Sink::Files(files) = &self.sink else { return };
        self.scratch.clear();
        let (stamp, writer) = (&self.stamp, &self.writer);
        // Writing to a String fails only if an argument's Display does; the line is then short.
        let _ = write!(self.scratch, "{stamp} [{}] {writer}: {args}", name(level));
        let line = one_line(&self.scratch);
        for (index, (least, lines)) in self.error.iter_mut().enumerate() {
            if level > *least {
                continue;
            }
            lines.extend_from_slice(line.as_bytes());
            lines.push(b'\n');
            if lines.len() >= LOG_BUFFER_BYTES {
                files.write_error(index, lines);
                lines.clear();
            }
        }
    }

    /// Writes what the turn has gathered, one write per file. Costs nothing when there is nothing.
    pub fn flush(&mut self) {
        let Sink::Files(files) = &self.sink else { return };
        for (index, lines) in self.access.iter_mut().enumerate() {
            if !lines.is_empty() {
                files.write_access(index, lines);
                lines.clear();
            }
        }
        for (index, (_, lines)) in self.error.iter_mut().enumerate() {
            if !lines.is_empty() {
                files.write_error(index, lines);
                lines.clear();
            }
        }
    }

    /// Makes `stamp` show the second of `now`, in local time.
    fn stamp(&mut self, now: Now) {
        let second = now.unix_ms / 1000;
        if second == self.stamped_s {
            return;
        }
        let Sink::Files(files) = &self.sink else { return };
        let instant = i64::try_from(second)
            .ok()
            .and_then(|second| jiff::Timestamp::from_second(second).ok())
            .unwrap_or_default();
        self.stamp.clear();
        let zoned = instant.to_zoned(files.zone().clone());
        let _ = write!(self.stamp, "{}", zoned.strftime("%Y/%m/%d %H:%M:%S"));
        self.stamped_s = second;
    }
}

impl Drop for Logs {
    /// The lines of an unfinished turn are the ones that explain a panic.
    fn drop(&mut self) {
        self.flush();
    }
}

/// A level's name in a line and in `error_log`.
#[must_use]
pub const fn name(level: Level) -> &'static str {
    match level {
        Level::Emerg => "emerg",
        Level::Alert => "alert",
        Level::Crit => "crit",
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Notice => "notice",
        Level::Info => "info",
        Level::Debug => "debug",
    }
}

/// Control bytes that came from outside must not forge a line.
fn one_line(line: &str) -> std::borrow::Cow<'_, str> {
    if !line.contains(|c: char| c.is_control()) {
        return line.into();
    }
    let plain = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    line.chars().map(plain).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::ErrorLog;

    const NOW: Now = Now { mono: crate::clock::Instant::from_ms(0), unix_ms: 1_800_000_000_000 };

    fn files(dir: &std::path::Path, level: Level) -> Arc<LogFiles> {
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let error = [ErrorLog { path: Some(path("error")), level }];
        Arc::new(LogFiles::open(&[path("access")], &error).unwrap())
    }

    fn read(dir: &std::path::Path, name: &str) -> String {
        std::fs::read_to_string(dir.join(name)).unwrap()
    }

    #[test]
    fn lines_are_written_at_the_end_of_the_turn() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = Logs::new(files(dir.path(), Level::Warn));
        logs.access(0, b"one");
        logs.access(0, b"two");
        logs.error(NOW, Level::Error, format_args!("broken {}", 7));
        logs.error(NOW, Level::Info, format_args!("chatter"));
        assert_eq!(read(dir.path(), "access"), "");
        logs.flush();
        assert_eq!(read(dir.path(), "access"), "one\ntwo\n");
        let error = read(dir.path(), "error");
        let form = r"^20\d\d/\d\d/\d\d \d\d:\d\d:\d\d \[error\] \d+#\d+: broken 7\n$";
        assert!(regex::Regex::new(form).unwrap().is_match(&error), "{error}");
        assert!(logs.enabled(Level::Warn) && !logs.enabled(Level::Notice));
    }

    #[test]
    fn reopening_follows_the_name_and_keeps_the_file_when_it_cannot() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path(), Level::Warn);
        let mut logs = Logs::new(Arc::clone(&files));
        std::fs::rename(dir.path().join("access"), dir.path().join("old")).unwrap();
        logs.access(0, b"before");
        logs.flush();
        assert!(files.reopen().is_empty());
        logs.access(0, b"after");
        logs.flush();
        assert_eq!(read(dir.path(), "old"), "before\n");
        assert_eq!(read(dir.path(), "access"), "after\n");

        std::fs::remove_file(dir.path().join("access")).unwrap();
        std::fs::create_dir(dir.path().join("access")).unwrap();
        let errors = files.reopen();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].to_string().contains("access"));
    }

    #[test]
    fn a_message_from_outside_stays_on_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = Logs::new(files(dir.path(), Level::Warn));
        logs.error(NOW, Level::Warn, format_args!("host \"a\nb\" {}", '\u{1b}'));
        drop(logs);
        let error = read(dir.path(), "error");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(r#"host "a\nb" \u{1b}"#), "{error}");
    }

    #[test]
    fn a_full_disk_costs_only_the_lines_and_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let full = "/dev/full".to_owned();
        let path = dir.path().join("error").to_str().unwrap().to_owned();
        let error =
            [Some(full.clone()), Some(path)].map(|path| ErrorLog { path, level: Level::Warn });
        let files = Arc::new(LogFiles::open(std::slice::from_ref(&full), &error).unwrap());
        let mut logs = Logs::new(Arc::clone(&files));
        for _ in 0..2 {
            logs.access(0, b"line");
            logs.flush();
        }
        assert_eq!(files.lost(), 2);
        let told = read(dir.path(), "error");
        assert!(told.contains("[alert]") && told.contains("\"/dev/full\" failed: No space"));
        assert_eq!(told.lines().count(), 1, "{told}");

        let files = Arc::new(LogFiles::open(&[], &[]).unwrap());
        assert!(!Logs::new(files).enabled(Level::Emerg));
    }

    #[test]
    fn memory_remembers() {
        let (mut logs, memory) = Logs::memory();
        logs.access(3, b"line");
        logs.error(NOW, Level::Debug, format_args!("message"));
        logs.flush();
        let recorded = memory.take();
        assert_eq!(recorded.access, [(3, "line".to_owned())]);
        assert_eq!(recorded.error, [(Level::Debug, "message".to_owned())]);
        assert_eq!(memory.recorded(), Recorded::default());
    }
}
