//! The listening sockets: bound once by the house, and one queue per worker.
//!
//! With several workers each address has one socket per worker (`SO_REUSEPORT`), so that the kernel
//! spreads clients and no worker waits for another's lock. The house keeps every socket open and
//! hands out duplicates: a worker that dies takes no client waiting in its queue with it, and its
//! replacement gets the same queue. Unix sockets have no `SO_REUSEPORT` and are shared.
//! Deliberately absent: accepting.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::config::model::Listen;
use crate::conn::Addr;
use crate::limits::{BIND_ATTEMPTS, BIND_PAUSE_MS};
use crate::sys::listen::{Keepalive, ListenOptions, bound, listen, remove_file};

/// All sockets of a configuration.
#[derive(Debug)]
pub struct Listeners {
    bound: Vec<Bound>,
}

/// One address.
#[derive(Debug)]
struct Bound {
    addr: Addr,
    /// One socket for each worker, or a single one for all of them.
    sockets: Vec<OwnedFd>,
}

/// An address that could not be had.
#[derive(Debug)]
pub struct BindError {
    /// Which.
    pub addr: Addr,
    /// Why.
    pub error: io::Error,
}

impl core::fmt::Display for BindError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "cannot listen on {}: {}", self.addr, self.error)?;
        match self.error.raw_os_error() {
            Some(libc::EADDRINUSE) => {
                f.write_str("\n  another program, or another upsplice, listens there already")
            }
            Some(libc::EACCES) if is_low_port(&self.addr) => f.write_str(
                "\n  ports below 1024 need a capability: run `setcap cap_net_bind_service=+ep` on \
                 this program,\n  or write `AmbientCapabilities=CAP_NET_BIND_SERVICE` in its \
                 systemd unit, or start it as root",
            ),
            Some(libc::EADDRNOTAVAIL) => {
                f.write_str("\n  no interface of this machine has that address")
            }
            _ => Ok(()),
        }
    }
}

impl core::error::Error for BindError {}

fn is_low_port(addr: &Addr) -> bool {
    matches!(addr, Addr::Inet(addr) if addr.port() != 0 && addr.port() < 1024)
}

impl Listeners {
    /// Binds every address for so many workers.
    ///
    /// # Errors
    /// All addresses that cannot be had, not only the first.
    pub fn bind(listens: &[Listen], workers: usize) -> Result<Self, Vec<BindError>> {
        let mut bound = Vec::with_capacity(listens.len());
        let mut errors = Vec::new();
        for listen in listens {
            match bind(listen, workers) {
                Ok(address) => bound.push(address),
                Err(error) => errors.push(BindError { addr: listen.addr.clone(), error }),
            }
        }
        // On an error the sockets that were had are closed by dropping this value.
        let listeners = Self { bound };
        if errors.is_empty() { Ok(listeners) } else { Err(errors) }
    }

    /// The addresses in the order of the configuration, with port 0 resolved.
    pub fn addresses(&self) -> impl Iterator<Item = &Addr> {
        self.bound.iter().map(|bound| &bound.addr)
    }

    /// Duplicates of the sockets that belong to a worker, each with its index in
    /// [`Config::listens`](crate::config::model::Config::listens).
    ///
    /// # Errors
    /// If the process has no descriptors left.
    pub fn of_worker(&self, worker: usize) -> io::Result<Vec<(usize, OwnedFd)>> {
        let duplicate = |bound: &Bound| bound.sockets[worker % bound.sockets.len()].try_clone();
        self.bound.iter().enumerate().map(|(n, bound)| Ok((n, duplicate(bound)?))).collect()
    }
}

impl Drop for Listeners {
    /// A unix socket's name outlives its socket.
    fn drop(&mut self) {
        self.bound.iter().for_each(|bound| remove_file(&bound.addr));
    }
}

fn bind(wanted: &Listen, workers: usize) -> io::Result<Bound> {
    let several = workers > 1 && matches!(wanted.addr, Addr::Inet(_));
    let first = bind_first(wanted, several)?;
    let addr = bound(&first).unwrap_or_else(|| wanted.addr.clone());
    let mut sockets = vec![first];
    if several {
        for _ in 1..workers {
            sockets.push(listen(&addr, &options(wanted, true))?);
        }
    }
    Ok(Bound { addr, sockets })
}

/// Binds the first socket of an address. `SO_REUSEPORT` would also let a second instance of this
/// program in, which would silently take half of the clients: a socket without the option asks
/// first. A predecessor's ring may hold the address for a few milliseconds after its end, hence the
/// repetition.
fn bind_first(wanted: &Listen, reuseport: bool) -> io::Result<OwnedFd> {
    let mut attempt = 1;
    let alone = loop {
        match listen(&wanted.addr, &options(wanted, false)) {
            Ok(alone) => break alone,
            Err(error) if attempt == BIND_ATTEMPTS || !is_in_use(&error) => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(BIND_PAUSE_MS)),
        }
        attempt += 1;
    };
    if !reuseport {
        return Ok(alone);
    }
    drop(alone);
    listen(&wanted.addr, &options(wanted, true))
}

fn options(wanted: &Listen, reuseport: bool) -> ListenOptions {
    let keepalive = wanted.keepalive.map(|keepalive| Keepalive {
        idle_s: keepalive.idle_s,
        interval_s: keepalive.interval_s,
        count: keepalive.count,
    });
    ListenOptions {
        backlog: wanted.backlog,
        reuseport,
        ipv6only: wanted.ipv6only,
        keepalive: keepalive.map(Some),
    }
}

fn is_in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(addr: Addr) -> Listen {
        Listen { addr, backlog: 16, ipv6only: true, keepalive: None, servers: vec![0], default: 0 }
    }

    fn loopback() -> Addr {
        Addr::Inet("127.0.0.1:0".parse().unwrap())
    }

    #[test]
    fn each_worker_has_its_own_queue_at_one_port() {
        let listeners = Listeners::bind(&[at(loopback())], 3).unwrap();
        let bound = &listeners.bound[0];
        assert_eq!(bound.sockets.len(), 3);
        let Addr::Inet(addr) = bound.addr else { panic!("an internet address") };
        assert_ne!(addr.port(), 0);
        for _ in 0..8 {
            std::net::TcpStream::connect(addr).unwrap();
        }
    }

    #[test]
    fn a_second_instance_is_refused_however_many_workers() {
        for workers in [1, 3] {
            let first = Listeners::bind(&[at(loopback())], workers).unwrap();
            let taken = at(first.addresses().next().unwrap().clone());
            for again in [1, 3] {
                let errors = Listeners::bind(std::slice::from_ref(&taken), again).unwrap_err();
                let text = errors[0].to_string();
                assert!(text.contains("in use") && text.contains("listens there"), "{text}");
            }
        }
    }

    #[test]
    fn every_address_that_fails_is_told() {
        let elsewhere = at(Addr::Inet("192.0.2.1:8080".parse().unwrap()));
        let nowhere = at(Addr::Unix("/nonexistent/directory/socket".into()));
        let errors = Listeners::bind(&[elsewhere, at(loopback()), nowhere], 1).unwrap_err();
        assert_eq!(errors.len(), 2);
        assert!(errors[0].to_string().contains("no interface"), "{}", errors[0]);
    }

    #[test]
    fn a_unix_name_is_taken_over_only_from_the_dead() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let wanted = at(Addr::Unix(path.to_str().unwrap().into()));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listeners = Listeners::bind(std::slice::from_ref(&wanted), 2).unwrap();
        assert!(Listeners::bind(std::slice::from_ref(&wanted), 2).is_err());
        drop(listeners);
        assert!(!path.exists());
        std::fs::write(&path, "a file").unwrap();
        assert!(Listeners::bind(&[wanted], 2).is_err());
        assert!(path.exists());
    }
}
