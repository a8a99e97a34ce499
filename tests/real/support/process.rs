//! The program as a process of its own: for its memory, its descriptors and its signals.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{Peer, eventually};

/// A running child; it is killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
    descriptors: usize,
    _folder: TempDir,
}

impl Process {
    /// Runs the program on a configuration with one `listen 127.0.0.1:0`. The configuration must
    /// not set `error_log`.
    pub(crate) fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nginx.conf");
        fs::write(&path, format!("error_log stderr notice;\n{config}")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_upsplice"))
            .arg("-c")
            .arg(&path)
            .arg("-p")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut told = Vec::new();
        let address = loop {
            let Some(line) = lines.next() else { panic!("it did not start: {told:#?}") };
            let line = line.unwrap();
            if let Some((_, address)) = line.rsplit_once("listening on ") {
                break address.trim().parse().unwrap();
            }
            told.push(line);
        };
        // A full pipe would stop the program.
        std::thread::spawn(move || lines.for_each(drop));
        let mut process = Self { child, address, descriptors: 0, _folder: folder };
        process.descriptors = process.open_descriptors();
        process
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn client(&self) -> Peer {
        Peer::connect(self.address)
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
    }

    pub(crate) fn open_descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Waits until it has no more descriptors open than at its start.
    #[track_caller]
    pub(crate) fn wait_until_idle(&self) {
        eventually(|| match self.open_descriptors() {
            open if open <= self.descriptors => Ok(()),
            open => Err(format!("{open} descriptors, {} at the start", self.descriptors)),
        });
    }

    /// Does something while the program stands still, so that it meets all of it at once.
    pub(crate) fn meanwhile(&self, act: impl FnOnce()) {
        let process = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(process, Signal::SIGSTOP).unwrap();
        act();
        kill(process, Signal::SIGCONT).unwrap();
    }

    /// The most memory it ever had, in bytes (`VmHWM`).
    pub(crate) fn peak_bytes(&self) -> usize {
        kilobytes(&self.file("status"), "VmHWM:")
    }

    /// Memory that is its own and was written to, in bytes (`Private_Dirty`).
    pub(crate) fn private_bytes(&self) -> usize {
        kilobytes(&self.file("smaps_rollup"), "Private_Dirty:")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kilobytes(text: &str, name: &str) -> usize {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
