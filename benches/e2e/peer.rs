//! The proxies under test: a list, configuration templates, and processes that are always ended.
//!
//! A line of `peers/peers.txt` is a name, a program, a template and values. A template's `@KEY@`
//! is replaced by its value; a line with a key that has none is left out, so that one template
//! serves peers that differ in a directive. `@LISTEN@`, `@BACKEND@` (addresses) and `@FOLDER@` are
//! the harness' own. `for=` is no value: it names the scenarios in which the peer takes part by
//! itself, by the beginnings of their names.

use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::meter::Meter;

/// The CPU of the proxy.
pub(crate) const PROXY_CPU: usize = 0;
/// The CPU of load and backend.
pub(crate) const LOAD_CPU: usize = 1;

const START_PATIENCE: Duration = Duration::from_secs(10);
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// A proxy that opens its port writes nothing about it, so the port is tried this often.
const TRY_EVERY: Duration = Duration::from_millis(5);

/// A proxy with one configuration, or none at all.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    program: Program,
    template: PathBuf,
    values: Vec<(String, String)>,
    /// Beginnings of scenarios' names, in whole words; none for all scenarios.
    only: Vec<String>,
    /// True if it takes part without being asked for by name.
    pub(crate) by_default: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Program {
    Direct,
    Haproxy,
    Nginx,
    Upsplice,
}

impl Peer {
    /// Reads the list.
    ///
    /// # Errors
    /// If it cannot be read, or a line is none.
    pub(crate) fn list(folder: &Path) -> io::Result<Vec<Self>> {
        let text = std::fs::read_to_string(folder.join("peers.txt"))?;
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(|line| Self::parse(folder, line)).collect()
    }

    fn parse(folder: &Path, line: &str) -> io::Result<Self> {
        let wrong = || io::Error::other(format!("peers.txt: {line}"));
        let mut words = line.split_whitespace();
        let name = words.next().ok_or_else(wrong)?;
        let program = match words.next().ok_or_else(wrong)? {
            "-" => Program::Direct,
            "haproxy" => Program::Haproxy,
            "nginx" => Program::Nginx,
            "upsplice" => Program::Upsplice,
            _ => return Err(wrong()),
        };
        let template = folder.join(words.next().ok_or_else(wrong)?);
        let value = |word: &str| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        };
        let mut values: Vec<(String, String)> =
            words.map(|word| value(word).ok_or_else(wrong)).collect::<Result<_, _>>()?;
        let only = values.extract_if(.., |(key, _)| key == "for");
        let only =
            only.flat_map(|(_, names)| names.split(',').map(str::to_owned).collect::<Vec<_>>());
        let only = only.collect();
        let by_default = !name.starts_with('(');
        let name = name.trim_matches(['(', ')']).to_owned();
        Ok(Self { name, program, template, values, only, by_default })
    }

    /// Whether it takes part in a scenario without being asked for by name.
    pub(crate) fn plays(&self, scenario: &str) -> bool {
        let begins = |name: &String| {
            scenario
                .strip_prefix(&**name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        self.only.is_empty() || self.only.iter().any(begins)
    }

    /// Where it takes part, for a list of peers; empty for everywhere.
    pub(crate) fn part(&self) -> String {
        if self.only.is_empty() { String::new() } else { format!(" ({})", self.only.join(", ")) }
    }

    /// The program, or `None` if it is not installed. `upsplice` is the one to test.
    pub(crate) fn binary(&self, upsplice: &Path) -> Option<PathBuf> {
        match self.program {
            Program::Direct => Some(PathBuf::new()),
            Program::Upsplice => Some(upsplice.to_owned()),
            Program::Haproxy => installed("haproxy"),
            Program::Nginx => installed("nginx"),
        }
    }

    fn config(&self, listen: SocketAddr, backend: SocketAddr, folder: &Path) -> io::Result<String> {
        let template = std::fs::read_to_string(&self.template)?;
        let own = [
            ("LISTEN", listen.to_string()),
            ("BACKEND", backend.to_string()),
            ("FOLDER", folder.display().to_string()),
        ];
        let own = own.map(|(key, value)| (key.to_owned(), value));
        let fill = |line: &str| {
            let values = own.iter().chain(&self.values);
            values.fold(line.to_owned(), |line, (key, value)| {
                line.replace(&format!("@{key}@"), value)
            })
        };
        let lines = template.lines().map(fill).filter(|line| !line.contains('@'));
        Ok(lines.fold(String::new(), |text, line| text + &line + "\n"))
    }
}

fn installed(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    folders.map(|folder| Path::new(folder).join(name)).into_iter().find(|path| path.exists())
}

/// Runs what `start` starts on one CPU; the calling thread goes back to the load's.
fn on_cpu<T>(cpu: usize, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    pin(cpu)?;
    let started = start();
    pin(LOAD_CPU)?;
    started
}

/// Ties the calling thread to a CPU; what it starts from then on inherits that.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// A process that is ended when this is dropped, and what it says.
struct Process {
    child: Child,
    pid: Pid,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Process {
    fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        let (sender, lines) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            // Ends with the last process that holds the pipe, which is how `stop` waits for all.
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { child, pid: Pid::from_raw(pid), lines, said: Vec::new() })
    }

    /// Listens to the process for a moment. False if it has ended.
    fn is_alive(&mut self, patience: Duration) -> bool {
        match self.lines.recv_timeout(patience) {
            Ok(line) => self.said.push(line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// Asks the process to end, and its tree if that does not help.
    fn stop(&mut self) {
        let tree = Meter { proxy: Some(self.pid), backend: self.pid }.tree();
        let deadline = Instant::now() + STOP_PATIENCE;
        let _ = kill(self.pid, Signal::SIGTERM);
        drop(self.child.stdin.take());
        while Instant::now() < deadline {
            if !self.is_alive(TRY_EVERY) {
                break;
            }
        }
        if Instant::now() >= deadline {
            eprintln!("process {} did not end in time and is killed", self.pid);
            for pid in tree {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A backend, a proxy in front of it if the peer is one, and their meter.
pub(crate) struct Stage {
    /// Where the load generator connects to.
    pub(crate) target: SocketAddr,
    pub(crate) meter: Meter,
    // In this order: the proxy ends first.
    _proxy: Option<Process>,
    _backend: Process,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// Starts both.
    ///
    /// # Errors
    /// With what the proxy said, if it does not open its port.
    pub(crate) fn set(peer: &Peer, upsplice: &Path) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("backend").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut backend = Process::start(&mut command)?;
        let stdout = backend.child.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let backend_address: SocketAddr = line.trim().parse().map_err(io::Error::other)?;
        let mut meter = Meter { proxy: None, backend: backend.pid };
        if peer.program == Program::Direct {
            let target = backend_address;
            return Ok(Self { target, meter, _proxy: None, _backend: backend, _folder: folder });
        }
        let target = free_address()?;
        let file = folder.path().join("proxy.conf");
        std::fs::write(&file, peer.config(target, backend_address, folder.path())?)?;
        let binary = peer.binary(upsplice);
        let binary = binary.ok_or_else(|| io::Error::other("not installed"))?;
        let mut command = Command::new(binary);
        match peer.program {
            Program::Haproxy => command.args(["-db", "-f"]).arg(&file),
            Program::Nginx => command.args(["-e", "stderr", "-c"]).arg(&file),
            _ => command.arg("-p").arg(folder.path()).arg("-c").arg(&file),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut proxy = on_cpu(PROXY_CPU, || Process::start(&mut command))?;
        await_port(&mut proxy, target)?;
        meter.proxy = Some(proxy.pid);
        Ok(Self { target, meter, _proxy: Some(proxy), _backend: backend, _folder: folder })
    }
}

/// A loopback port that was free a moment ago; nginx and HAProxy cannot say which one they got.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn await_port(process: &mut Process, target: SocketAddr) -> io::Result<()> {
    let deadline = Instant::now() + START_PATIENCE;
    while Instant::now() < deadline {
        if TcpStream::connect(target).is_ok() {
            return Ok(());
        }
        if !process.is_alive(TRY_EVERY) {
            break;
        }
    }
    let said = process.said.join("; ");
    Err(io::Error::other(format!("the proxy did not open {target}: {said}")))
}
