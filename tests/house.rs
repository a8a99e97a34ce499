//! The program as its operator meets it: command line, signals, files, the embedded example.
//!
//! Everything runs the real binary on loopback with port 0; the address is read from its log.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tungstenite::WebSocket;

const PROGRAM: &str = env!("CARGO_BIN_EXE_upsplice");

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with a configuration and the logs of the program that runs it.
struct Site {
    folder: TempDir,
}

/// The running program; killed when a test fails.
struct Program {
    child: Child,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that is nobody's child; killed when a test fails.
struct Daemon(Pid);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

impl Program {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the program ends", || child.try_wait().unwrap())
    }
}

impl Site {
    fn new(main: &str, upstream: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Self { folder };
        let [error, access, pid] = ["error.log", "access.log", "pid"].map(|name| site.text(name));
        let config = format!(
            "user root;\nerror_log {error} notice;\npid {pid};\n{main}\n\
             events {{ worker_connections 64; }}\n\
             http {{\n  access_log {access};\n  server {{\n    listen 127.0.0.1:0;\n    \
             location / {{ proxy_pass http://{upstream}; }}\n  }}\n}}\n"
        );
        fs::write(site.path("nginx.conf"), config).unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(self.path("nginx.conf")).args(more);
        command
    }

    fn start(&self) -> (Program, SocketAddr) {
        let program = Program { child: self.command(&[]).spawn().unwrap() };
        (program, self.address())
    }

    /// The address in the line that tells of the start.
    fn address(&self) -> SocketAddr {
        until("the program listens", || listening(&self.read("error.log")))
    }

    /// Waits for a line of the error log.
    fn logged(&self, part: &str) {
        until(part, || self.read("error.log").contains(part).then_some(()));
    }
}

fn listening(text: &str) -> Option<SocketAddr> {
    let (_, rest) = text.split_once("listening on ")?;
    rest.split(|c: char| c == ',' || c.is_whitespace()).next()?.parse().ok()
}

/// Asks again and again until there is an answer.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A WebSocket server that sends everything back; it lives as long as the test process.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let Ok(mut socket) = tungstenite::accept(stream) else { return };
                while let Ok(message) = socket.read() {
                    if message.is_text() && socket.send(message).is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

fn open(addr: SocketAddr) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    tungstenite::client(format!("ws://{addr}/"), stream).expect("a 101").0
}

fn echoes(socket: &mut WebSocket<TcpStream>) -> bool {
    socket.send("ping".into()).is_ok() && socket.read().is_ok_and(|answer| answer == "ping".into())
}

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn version_and_help_go_to_standard_error_as_nginxs() {
    let (code, out, err) = output(Command::new(PROGRAM).arg("-v"));
    assert_eq!((code, out.as_str()), (Some(0), ""));
    assert_eq!(err, concat!("upsplice version: upsplice/", env!("CARGO_PKG_VERSION"), "\n"));
    let (code, _, err) = output(Command::new(PROGRAM).arg("-V"));
    assert_eq!(code, Some(0));
    assert!(err.contains("io_uring") && err.contains("built"), "{err}");
    let (code, _, err) = output(Command::new(PROGRAM).arg("-h"));
    assert_eq!(code, Some(0));
    assert!(err.contains("Usage: upsplice") && err.contains("-s signal"), "{err}");
}

#[test]
fn a_wrong_option_fails() {
    for arguments in [&["-x"][..], &["-c"], &["-s", "fast"], &["nginx.conf"]] {
        let (code, _, err) = output(Command::new(PROGRAM).args(arguments));
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(err.starts_with("upsplice: "), "{err}");
    }
}

#[test]
fn a_good_configuration_passes_the_test() {
    let site = Site::new("", echo_server());
    let file = site.text("nginx.conf");
    let (code, out, err) = output(&mut site.command(&["-t"]));
    assert_eq!((code, out.as_str()), (Some(0), ""), "{err}");
    assert!(err.contains(&format!("upsplice: the configuration file {file} syntax is ok")));
    assert!(err.contains(&format!("upsplice: configuration file {file} test is successful")));
    let (code, _, err) = output(&mut site.command(&["-t", "-q"]));
    assert_eq!(code, Some(0));
    assert!(!err.contains("successful"), "{err}");
    let (code, out, _) = output(&mut site.command(&["-T"]));
    assert_eq!(code, Some(0));
    assert!(out.contains(&format!("# configuration file {file}:\n")));
    assert!(out.contains(&site.read("nginx.conf")));
    for name in ["pid", "access.log", "error.log"] {
        assert!(!site.path(name).exists(), "a test leaves no {name} behind");
    }
}

#[test]
fn a_test_finds_the_files_that_a_start_could_not_write() {
    let site = Site::new("error_log /nonexistent/error.log;", echo_server());
    let config = site.read("nginx.conf").replace(&site.text("access.log"), "/nonexistent/access");
    fs::write(site.path("nginx.conf"), config).unwrap();
    for arguments in [&["-t"][..], &[]] {
        let (code, _, err) = output(&mut site.command(arguments));
        assert_eq!(code, Some(1));
        for part in ["/nonexistent/error.log", "/nonexistent/access", "No such file"] {
            assert!(err.contains(part), "{part} is missing in {err}");
        }
    }
}

#[test]
fn spinning_workers_need_a_cpu_each() {
    // More than any machine has CPUs for.
    let site = Site::new("worker_processes 1024;", echo_server());
    let spin = |line: &str| {
        let config = site.read("nginx.conf");
        fs::write(
            site.path("nginx.conf"),
            config.replace("events {", &format!("events {{ {line}")),
        )
        .unwrap();
    };
    spin("spin 50us;");
    for arguments in [&["-t"][..], &[]] {
        let (code, _, err) = output(&mut site.command(arguments));
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains("\"spin\" is refused"), "{err}");
        assert!(err.contains("\"force\""), "what to do is missing: {err}");
    }
    let forced = site.read("nginx.conf").replace("spin 50us;", "spin 50us force;");
    fs::write(site.path("nginx.conf"), forced).unwrap();
    let (code, _, err) = output(&mut site.command(&["-t"]));
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn without_an_error_log_trouble_is_told_on_standard_error() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let site = Site::new("", nobody);
    let socket = site.path("socket");
    let line = format!("error_log {} notice;\n", site.text("error.log"));
    let config = site.read("nginx.conf").replace(&line, "");
    let config = config.replace("127.0.0.1:0", &format!("unix:{}", socket.display()));
    fs::write(site.path("nginx.conf"), config).unwrap();
    let child = site.command(&[]).stderr(Stdio::piped()).spawn().unwrap();
    let mut program = Program { child };
    let mut client = until("it listens", || UnixStream::connect(&socket).ok());
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let (mut answer, mut told) = (String::new(), String::new());
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    program.signal(Signal::SIGTERM);
    program.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(program.wait().code(), Some(0));
    assert!(told.contains("[error]") && told.contains("ECONNREFUSED"), "{told}");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let site = Site::new("worker_proceses 2;\nworker_processes many;", echo_server());
    for arguments in [&["-t"][..], &[]] {
        let (code, _, err) = output(&mut site.command(arguments));
        assert_eq!(code, Some(1));
        assert!(err.contains("nginx.conf:4:1") && err.contains("worker_processes\"?"), "{err}");
        assert!(err.contains("nginx.conf:5:18"), "{err}");
    }
    let (code, _, err) = output(Command::new(PROGRAM).args(["-t", "-c", "/nonexistent.conf"]));
    assert_eq!(code, Some(1));
    assert!(err.contains("/nonexistent.conf") && err.contains("No such file"), "{err}");
}

#[test]
fn global_directives_come_from_the_command_line_too() {
    let site = Site::new("", echo_server());
    let (code, _, err) = output(&mut site.command(&["-t", "-g", "worker_processes none;"]));
    assert_eq!(code, Some(1));
    assert!(err.contains("worker_processes"), "{err}");
}

#[test]
fn sigterm_stops_now() {
    let site = Site::new("worker_processes 2;", echo_server());
    let (mut program, addr) = site.start();
    let mut tunnel = open(addr);
    assert!(echoes(&mut tunnel));
    program.signal(Signal::SIGTERM);
    assert!(tunnel.read().is_err());
    assert_eq!(program.wait().code(), Some(0));
    assert!(site.read("access.log").contains("101"), "{}", site.read("access.log"));
}

#[test]
fn sigquit_finishes_what_is_in_flight() {
    let site = Site::new("", echo_server());
    let (mut program, addr) = site.start();
    let mut tunnel = open(addr);
    program.signal(Signal::SIGQUIT);
    until("new clients are refused", || TcpStream::connect(addr).err());
    assert!(echoes(&mut tunnel));
    assert!(program.child.try_wait().unwrap().is_none());
    tunnel.close(None).unwrap();
    while tunnel.read().is_ok() {}
    drop(tunnel);
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn worker_shutdown_timeout_bounds_a_graceful_stop() {
    let site = Site::new("worker_shutdown_timeout 100ms;", echo_server());
    let (mut program, addr) = site.start();
    let mut tunnel = open(addr);
    program.signal(Signal::SIGQUIT);
    assert!(tunnel.read().is_err());
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn sighup_is_answered_and_harmless() {
    let site = Site::new("", echo_server());
    let (mut program, addr) = site.start();
    program.signal(Signal::SIGHUP);
    site.logged("SIGHUP received, but");
    assert!(echoes(&mut open(addr)));
    program.signal(Signal::SIGINT);
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn sigusr1_reopens_the_logs() {
    let site = Site::new("", echo_server());
    let (program, addr) = site.start();
    drop(open(addr));
    until("the line is written", || site.read("access.log").contains("101").then_some(()));
    fs::rename(site.path("access.log"), site.path("access.old")).unwrap();
    fs::rename(site.path("error.log"), site.path("error.old")).unwrap();
    program.signal(Signal::SIGUSR1);
    until("the files are there again", || {
        (site.path("access.log").exists() && site.path("error.log").exists()).then_some(())
    });
    drop(open(addr));
    until("the new line is written", || site.read("access.log").contains("101").then_some(()));
    assert_eq!(site.read("access.old").lines().count(), 1);
}

#[test]
fn the_pid_file_leads_signals_to_the_program() {
    let site = Site::new("", echo_server());
    let (code, _, err) = output(&mut site.command(&["-s", "stop"]));
    assert_eq!(code, Some(1));
    assert!(err.contains("pid"), "{err}");

    let (mut program, _) = site.start();
    assert_eq!(site.read("pid").trim(), program.child.id().to_string());
    let (code, _, err) = output(&mut site.command(&["-s", "reload"]));
    assert_eq!(code, Some(1));
    assert!(err.contains("not supported yet"), "{err}");
    let (code, _, err) = output(&mut site.command(&["-s", "reopen"]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    site.logged("SIGUSR1 received");
    assert_eq!(output(&mut site.command(&["-s", "quit"])).0, Some(0));
    assert_eq!(program.wait().code(), Some(0));
    assert!(!site.path("pid").exists());
}

#[test]
fn daemon_on_goes_into_the_background() {
    let site = Site::new("daemon on;", echo_server());
    // `output` reads until the end of the streams: the daemon must have let go of them.
    let (code, _, err) = output(&mut site.command(&[]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let pid: i32 = site.read("pid").trim().parse().unwrap();
    let _killed = Daemon(Pid::from_raw(pid));
    assert!(echoes(&mut open(site.address())));
    assert_eq!(output(&mut site.command(&["-s", "stop"])).0, Some(0));
    until("the daemon is gone", || kill(Pid::from_raw(pid), None).err());
}

#[test]
fn a_daemon_that_cannot_start_says_so() {
    let site = Site::new("daemon on;\npid /nonexistent/folder/pid;", echo_server());
    let config = site.read("nginx.conf");
    let own_pid = format!("pid {};\n", site.text("pid"));
    fs::write(site.path("nginx.conf"), config.replace(&own_pid, "")).unwrap();
    let (code, _, err) = output(&mut site.command(&[]));
    assert_eq!(code, Some(1));
    assert!(err.contains("/nonexistent/folder/pid"), "{err}");
}

#[test]
fn a_second_instance_is_told_that_the_address_is_taken() {
    for workers in ["1", "2"] {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let site = Site::new(&format!("worker_processes {workers};"), addr);
        let config = site.read("nginx.conf").replace("127.0.0.1:0", &addr.to_string());
        let config = config.replace(&site.text("access.log"), "/nonexistent/access");
        fs::write(site.path("nginx.conf"), config).unwrap();
        let (code, _, err) = output(&mut site.command(&[]));
        assert_eq!(code, Some(1));
        assert!(err.contains(&addr.to_string()) && err.contains("in use"), "{err}");
        assert!(err.contains("/nonexistent/access"), "what else is wrong is told too: {err}");
    }
}

#[test]
fn the_embedded_example_serves_a_page_and_an_echo_and_sums_up() {
    let mut command = Command::new(PROGRAM);
    command.args(["--demo", "127.0.0.1:0"]).stdout(Stdio::piped());
    let mut program = Program { child: command.spawn().unwrap() };
    let mut lines = BufReader::new(program.child.stdout.take().unwrap());
    let mut seen = String::new();
    let addr: SocketAddr = loop {
        assert_ne!(lines.read_line(&mut seen).unwrap(), 0, "{seen}");
        if let Some((_, rest)) = seen.split_once("http://")
            && let Some((addr, _)) = rest.split_once('/')
        {
            break addr.parse().unwrap();
        }
    };
    let mut page = String::new();
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("new WebSocket"), "{page}");
    let mut tunnel = open(addr);
    assert!(echoes(&mut tunnel));
    tunnel.close(None).unwrap();
    while tunnel.read().is_ok() {}
    drop(tunnel);
    until("the tunnel's line is printed", || {
        assert_ne!(lines.read_line(&mut seen).unwrap(), 0, "{seen}");
        seen.contains(" 101 ").then_some(())
    });
    program.signal(Signal::SIGINT);
    lines.read_to_string(&mut seen).unwrap();
    assert_eq!(program.wait().code(), Some(0));
    for part in ["engine", "workers", "Ctrl-C", "upsplice -c", "1 tunnels", "ended by:"] {
        assert!(seen.contains(part), "{part} is missing in:\n{seen}");
    }
}

#[test]
fn an_example_whose_address_is_taken_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (code, _, err) = output(Command::new(PROGRAM).args(["--demo", &addr]));
    assert_eq!(code, Some(1));
    assert!(err.contains("in use") && err.contains("--demo 127.0.0.1:8081"), "{err}");
}

/// A panic is the one thing the binary cannot be asked for; the embedding interface can.
mod panics {
    use super::*;
    use upsplice::config::model::EngineChoice;
    use upsplice::conn::Addr;
    use upsplice::observe::stats::Counter;
    use upsplice::proxy::{Proxy, Running};

    fn start(folder: &TempDir, workers: usize, engine: EngineChoice) -> (Running, SocketAddr) {
        let (upstream, log) = (echo_server(), folder.path().join("error.log"));
        // Room for every tunnel of a test on one worker: the kernel may spread them unevenly.
        let text = format!(
            "error_log {log} notice; events {{ worker_connections 256; }}\n\
             http {{ access_log off; server {{ listen 127.0.0.1:0;\n\
             location / {{ proxy_pass http://{upstream}; }} }} }}",
            log = log.display()
        );
        let proxy = Proxy::from_config_text(&text).unwrap().engine(engine).workers(workers);
        let running = proxy.start().unwrap();
        let Addr::Inet(addr) = running.addresses()[0] else { panic!("an internet address") };
        (running, addr)
    }

    fn a_panic_costs_one_worker(engine: EngineChoice) {
        let folder = tempfile::tempdir().unwrap();
        let log = || fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
        let (running, addr) = start(&folder, 2, engine);
        // The kernel spreads them by their ports: with so many, each worker has some.
        let mut tunnels: Vec<_> = (0..24).map(|_| open(addr)).collect();
        assert!(tunnels.iter_mut().all(echoes));
        running.panic_worker(0);
        until("the new worker works", || log().contains("started again").then_some(()));
        let lost = tunnels.iter_mut().filter_map(|tunnel| (!echoes(tunnel)).then_some(())).count();
        assert!((1..24).contains(&lost), "{lost} of 24 tunnels were lost");
        assert!(log().contains("[alert]") && log().contains("worker 0 panicked"), "{}", log());
        let mut fresh: Vec<_> = (0..24).map(|_| open(addr)).collect();
        assert!(fresh.iter_mut().all(echoes));
        drop((tunnels, fresh));
        let summary = running.stop_and_join();
        assert_eq!((summary.panics, summary.left_behind), (1, 0));
        assert_eq!(summary.stats.get(Counter::TunnelsOpened), 48);
        assert_eq!(summary.stats.tunnels_live(), 0);
    }

    #[test]
    fn a_panic_costs_one_worker_on_io_uring() {
        a_panic_costs_one_worker(EngineChoice::Auto);
    }

    #[test]
    fn a_panic_costs_one_worker_on_epoll() {
        a_panic_costs_one_worker(EngineChoice::Epoll);
    }

    #[test]
    fn a_crash_loop_is_told_and_slowed_and_does_not_hinder_a_stop() {
        let folder = tempfile::tempdir().unwrap();
        let log = || fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
        let (running, _) = start(&folder, 1, EngineChoice::Epoll);
        for round in 1..=4 {
            running.panic_worker(0);
            until("it is started again", || {
                (log().matches("started again").count() == round).then_some(())
            });
        }
        assert!(log().contains("crash loop: 4 short lives"), "{}", log());
        assert_eq!(running.stop_and_join().panics, 4);
    }
}
