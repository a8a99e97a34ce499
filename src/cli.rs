//! The command line, as nginx has it.
//!
//! Messages for the operator go to standard error and begin with the program's name; the exit
//! status is 1 after any error. Without arguments the embedded example runs. Deliberately absent:
//! everything that an embedder could want ([`proxy`](crate::proxy)).

mod demo;
mod echo;
mod options;
mod program;
mod report;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use nix::sys::signal::{self, kill};

use crate::config::model::{Config, EngineChoice, ErrorLog};
use crate::config::{self, Diagnostic, Loaded, Request};
use crate::observe::files;
use crate::supervisor::outside::System;
use crate::supervisor::signals::Signals;
use crate::supervisor::{pid_file, system};

use options::{Options, Signal, Task};

/// The file that is read when nobody names one and no prefix is given.
const CONFIG: &str = "/etc/nginx/nginx.conf";

/// The file under a prefix.
const CONFIG_UNDER_PREFIX: &str = "conf/nginx.conf";

/// Runs the program and returns its exit status.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let done = options::parse(arguments)
        .map_err(|error| vec![format!("{error}; try upsplice -h")])
        .and_then(|options| perform(&options));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(errors) => {
            for error in errors {
                tell(&error);
            }
            ExitCode::FAILURE
        }
    }
}

fn perform(options: &Options) -> Result<(), Vec<String>> {
    match &options.task {
        Task::Help => print(options::USAGE),
        Task::Version { long } => version(*long),
        Task::Test { dump } => test(options, *dump),
        Task::Signal(signal) => send(options, *signal),
        Task::Serve => serve(options),
        Task::Demo(address) => show(options, address.as_deref().unwrap_or(demo::ADDRESS)),
    }
}

fn serve(options: &Options) -> Result<(), Vec<String>> {
    let loaded = load(options)?;
    loaded.warnings.iter().for_each(|warning| tell(&warning.to_string()));
    program::run(loaded.config, |_| ()).map(drop)
}

/// The embedded example.
fn show(options: &Options, listen: &str) -> Result<(), Vec<String>> {
    let with_hint = |mut errors: Vec<String>| {
        errors.push(demo::HINT.to_owned());
        errors
    };
    // The echo server's threads must not be the ones that a signal finds.
    let _blocked =
        Signals::block().map_err(|error| vec![format!("cannot receive signals: {error}")])?;
    let upstream = echo::start()
        .map_err(|error| vec![format!("cannot start the example's echo server: {error}")])?;
    let text = demo::config(listen, upstream).into_bytes();
    let directives = Some(options.directives.as_deref().unwrap_or(demo::MAIN));
    let request = Request { path: demo::NAME, directives, ..Request::default() };
    let loaded = config::load_text(request, text, &System).map_err(told).map_err(with_hint)?;
    let summary =
        program::run(loaded.config, |serving| demo::greet(serving, upstream)).map_err(with_hint)?;
    // A reader who is gone has no use for a summary.
    let _ = io::stdout().write_all(report::summary(&summary).as_bytes());
    Ok(())
}

/// `-t` and `-T`.
fn test(options: &Options, dump: bool) -> Result<(), Vec<String>> {
    let path = config_path(options);
    let outcome = load(options).and_then(|loaded| {
        let errors = unusable(&loaded.config);
        if errors.is_empty() { Ok(loaded) } else { Err(errors) }
    });
    let loaded = outcome.map_err(|mut errors| {
        errors.push(format!("configuration file {path} test failed"));
        errors
    })?;
    loaded.warnings.iter().for_each(|warning| tell(&warning.to_string()));
    if !options.quiet {
        tell(&format!("the configuration file {path} syntax is ok"));
        tell(&format!("configuration file {path} test is successful"));
    }
    if dump {
        let mut out = io::stdout().lock();
        for file in &loaded.files {
            let head = format!("# configuration file {}:\n", file.name);
            let parts = [head.as_bytes(), &file.text, b"\n"];
            if parts.into_iter().try_for_each(|part| out.write_all(part)).is_err() {
                break;
            }
        }
    }
    Ok(())
}

/// What the system would refuse to a program with this configuration, as far as that can be found
/// out without changing anything.
fn unusable(config: &Config) -> Vec<String> {
    let process = &config.process;
    let error_logs = process.error_logs.iter().filter_map(|log| log.path.as_ref());
    let files = error_logs.chain(&config.access_files).chain(&process.pid);
    let unwritable = files.filter_map(|path| files::try_out(path).err());
    let nobody = system::whom(process.user.as_ref()).err();
    let allowed = system::allowed_cpus();
    let spin = system::may_spin(process, &allowed, &system::berths(process, &allowed)).err();
    nobody.into_iter().chain(spin).chain(unwritable.map(|error| error.to_string())).collect()
}

/// `-s`.
fn send(options: &Options, signal: Signal) -> Result<(), Vec<String>> {
    let signal = match signal {
        Signal::Stop => signal::Signal::SIGTERM,
        Signal::Quit => signal::Signal::SIGQUIT,
        Signal::Reopen => signal::Signal::SIGUSR1,
        Signal::Reload => {
            return Err(vec![
                "reload is not supported yet: check the configuration with -t, then restart"
                    .to_owned(),
            ]);
        }
    };
    let config = load(options)?.config;
    let Some(path) = config.process.pid else {
        return Err(vec![
            "the configuration names no \"pid\" file, so the running program cannot be found"
                .to_owned(),
        ]);
    };
    let pid = pid_file::read(Path::new(&path))
        .map_err(|error| vec![format!("pid file {path}: {error}; is upsplice running?")])?;
    kill(pid, signal).map_err(|error| vec![format!("cannot signal process {pid}: {error}")])
}

fn version(long: bool) -> Result<(), Vec<String>> {
    let mut text = format!("upsplice version: upsplice/{}\n", env!("CARGO_PKG_VERSION"));
    if long {
        let profile = if cfg!(debug_assertions) { "with assertions" } else { "for release" };
        let engine = match system::choose_engine(EngineChoice::Auto) {
            Ok(chosen) => report::engine(chosen),
            Err(error) => format!("none: {error}"),
        };
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        text += &format!(
            "built {profile}, for {}-{}\nengines: io_uring, epoll\n\
             engine here: {engine}\nkernel: {}\n",
            std::env::consts::ARCH,
            std::env::consts::OS,
            kernel.trim_end(),
        );
    }
    print(&text)
}

fn load(options: &Options) -> Result<Loaded, Vec<String>> {
    let path = config_path(options);
    let request = Request {
        path: &path,
        prefix: options.prefix.as_deref().unwrap_or(""),
        directives: options.directives.as_deref(),
    };
    let mut loaded = config::load(request, &System).map_err(told)?;
    if let Some(path) = &options.error_log {
        use_error_log(&mut loaded.config, path);
    }
    Ok(loaded)
}

/// `-e` takes the place of the default, not of an `error_log` line.
fn use_error_log(config: &mut Config, path: &str) {
    if config.process.error_logs == [ErrorLog::DEFAULT] && path != "stderr" {
        config.process.error_logs[0].path = Some(path.to_owned());
    }
}

/// Where the configuration is: as nginx has it, a relative name starts at the prefix.
fn config_path(options: &Options) -> String {
    match (&options.config, &options.prefix) {
        (Some(file), None) => file.clone(),
        (None, None) => CONFIG.to_owned(),
        (file, Some(prefix)) => {
            let file = file.as_deref().unwrap_or(CONFIG_UNDER_PREFIX);
            Path::new(prefix).join(file).to_string_lossy().into_owned()
        }
    }
}

fn told(diagnostics: Vec<Diagnostic>) -> Vec<String> {
    diagnostics.iter().map(ToString::to_string).collect()
}

/// A message of the program itself.
fn tell(text: &str) {
    print_line(&format!("upsplice: {text}"));
}

/// A line for the operator, who may have closed standard error.
fn print_line(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[allow(clippy::unnecessary_wraps, reason = "the end of a task like any other")]
fn print(text: &str) -> Result<(), Vec<String>> {
    let _ = io::stderr().write_all(text.as_bytes());
    Ok(())
}
