//! An established tunnel costs no allocation: a worker's thread is watched while bytes pass.
//!
//! The proxy runs inside this process, on real sockets, and every call of the allocator from its
//! worker's thread is counted: those that give memory and those that take it back. Opening a tunnel
//! must be counted, or the counter would prove nothing; afterwards, once the tunnels have carried
//! each kind of traffic, nothing may be. The pool's own memory comes from `mmap(2)` and is not
//! seen here; it is bounded and shown elsewhere.

mod counter;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::Pid;
use upsplice::config::model::EngineChoice;
use upsplice::conn::Addr;
use upsplice::engine::probe::{self, Chosen};
use upsplice::proxy::{Proxy, Running};

/// Nothing here takes long.
const PATIENCE: Duration = Duration::from_secs(20);

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Enough for hundreds of completions in one turn.
const TUNNELS: usize = 100;

/// How often each kind of traffic is repeated before the thread is watched: buffers are filled in
/// turn, a worker's lists grow to what its busiest turn needs.
const WARM_ROUNDS: usize = 3;
const WATCHED_ROUNDS: usize = 6;

#[test]
fn a_tunnel_on_epoll_allocates_nothing() {
    ["auto", "off", "pipe"].iter().for_each(|carrier| check("epoll", carrier));
}

#[test]
fn a_tunnel_on_io_uring_allocates_nothing() {
    let chosen = probe::choose(EngineChoice::Auto).unwrap_or_else(|error| panic!("{error}"));
    if chosen != Chosen::Uring {
        return println!("skipped on io_uring: {chosen}");
    }
    ["auto", "off", "pipe", "linked"].iter().for_each(|carrier| check("io_uring", carrier));
}

fn check(engine: &str, carrier: &str) {
    // There is one counter, and both tests call their worker by the same name.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);

    let scene = Scene::start(engine, carrier);
    let mut tunnels = Vec::new();
    let opening = counter::watch(scene.worker, || tunnels.push(scene.open()));
    assert!(opening.allocated > 0 && opening.freed > 0, "the counter sees nothing: {opening:?}");
    tunnels.extend((1..TUNNELS).map(|_| scene.open()));

    let kinds: [(&str, Traffic); 6] = [
        ("one small message at a time", |tunnels| one_at_a_time(&tunnels[0])),
        ("small messages in all tunnels at once", all_at_once),
        ("64 KB messages", |tunnels| bulk(&tunnels[..1], 64 * 1024, 64)),
        ("1 MB messages", |tunnels| bulk(&tunnels[..1], 1024 * 1024, 8)),
        ("64 KB messages in many tunnels", |tunnels| bulk(&tunnels[..24], 64 * 1024, 16)),
        ("small messages once more", |tunnels| one_at_a_time(&tunnels[1])),
    ];
    for (_, traffic) in kinds {
        (0..WARM_ROUNDS).for_each(|_| traffic(&tunnels));
    }
    let mut found = Vec::new();
    for (kind, traffic) in kinds {
        let count = counter::watch(scene.worker, || {
            (0..WATCHED_ROUNDS).for_each(|_| traffic(&tunnels));
        });
        println!(
            "{engine}, {carrier}, {kind}: {} allocated, {} freed",
            count.allocated, count.freed
        );
        if let Some(first) = count.first {
            let (allocated, freed) = (count.allocated, count.freed);
            found.push(format!("{kind}: {allocated} allocated, {freed} freed, first\n{first}"));
        }
    }
    assert!(found.is_empty(), "on {engine}, splice {carrier}: {}", found.join("\n"));

    drop(tunnels);
    let summary = scene.running.stop_and_join();
    assert_eq!((summary.panics, summary.left_behind), (0, 0), "{summary:?}");
}

/// A small message to and fro, again and again.
fn one_at_a_time(tunnel: &Tunnel) {
    for number in 0..500_u32 {
        let message = [u8::try_from(number % 251).expect("below 256"); 128];
        (&tunnel.client).write_all(&message).unwrap();
        expect(&tunnel.upstream, &message);
        (&tunnel.upstream).write_all(&message).unwrap();
        expect(&tunnel.client, &message);
    }
}

/// Small messages in both directions of all tunnels, several on their way in each.
fn all_at_once(tunnels: &[Tunnel]) {
    let message = [7; 128];
    for _ in 0..10 {
        for _ in 0..3 {
            for tunnel in tunnels {
                (&tunnel.client).write_all(&message).unwrap();
                (&tunnel.upstream).write_all(&message).unwrap();
            }
        }
        for tunnel in tunnels {
            for _ in 0..3 {
                expect(&tunnel.upstream, &message);
                expect(&tunnel.client, &message);
            }
        }
    }
}

/// Large messages without a pause, in both directions of each tunnel, while each end is read by
/// the thread that writes to the tunnel's other end: senders run ahead, and sockets are full.
fn bulk(tunnels: &[Tunnel], size: usize, count: usize) {
    let to_upstream = |tunnel: &Tunnel| (handle(&tunnel.client), handle(&tunnel.upstream));
    let to_client = |tunnel: &Tunnel| (handle(&tunnel.upstream), handle(&tunnel.client));
    let up: Vec<_> = tunnels.iter().map(to_upstream).collect();
    let down: Vec<_> = tunnels.iter().map(to_client).collect();
    std::thread::scope(|scope| {
        for flow in [up, down] {
            let (mut sources, mut sinks): (Vec<_>, Vec<_>) = flow.into_iter().unzip();
            let message = vec![9; size];
            scope.spawn(move || {
                for _ in 0..count {
                    sources.iter_mut().for_each(|source| source.write_all(&message).unwrap());
                }
            });
            scope.spawn(move || {
                let mut buffer = vec![0; size];
                for _ in 0..count {
                    for sink in &mut sinks {
                        sink.read_exact(&mut buffer).unwrap();
                        assert!(buffer.iter().all(|&byte| byte == 9), "a byte that was not sent");
                    }
                }
            });
        }
    });
}

fn handle(stream: &TcpStream) -> TcpStream {
    stream.try_clone().unwrap()
}

fn expect(mut stream: &TcpStream, message: &[u8; 128]) {
    let mut found = [0; 128];
    stream.read_exact(&mut found).unwrap();
    assert_eq!(&found, message);
}

/// A kind of traffic, over some of the tunnels.
type Traffic = fn(&[Tunnel]);

/// The two ends of a tunnel.
struct Tunnel {
    client: TcpStream,
    upstream: TcpStream,
}

struct Scene {
    running: Running,
    address: SocketAddr,
    place: TcpListener,
    /// The worker's thread.
    worker: Pid,
}

impl Scene {
    fn start(engine: &str, carrier: &str) -> Self {
        let place = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = place.local_addr().unwrap();
        let config = format!(
            "worker_processes 1; error_log /dev/null;
            events {{ use {engine}; worker_connections 1024; }}
            http {{ access_log off; splice {carrier}; server {{
                listen 127.0.0.1:0; location / {{ proxy_pass http://{upstream}; }} }} }}"
        );
        let proxy = Proxy::from_config_text(&config).unwrap_or_else(|error| panic!("{error}"));
        let running = proxy.start().unwrap_or_else(|error| panic!("{error}"));
        let Addr::Inet(address) = running.addresses()[0] else { unreachable!("it has a port") };
        Self { running, address, place, worker: thread_called("worker 0") }
    }

    fn open(&self) -> Tunnel {
        let mut client = connection(TcpStream::connect(self.address).unwrap());
        client.write_all(REQUEST.as_bytes()).unwrap();
        let mut upstream = connection(self.place.accept().unwrap().0);
        read_head(&mut upstream);
        upstream.write_all(ANSWER.as_bytes()).unwrap();
        assert!(read_head(&mut client).starts_with(b"HTTP/1.1 101 "));
        Tunnel { client, upstream }
    }
}

fn connection(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    head
}

/// The only thread of this process with that name.
fn thread_called(name: &str) -> Pid {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let is_called = |path: &std::path::Path| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let found: Vec<_> = tasks.filter(|path| is_called(path)).collect();
    assert_eq!(found.len(), 1, "threads called {name}: {found:?}");
    Pid::from_raw(found[0].file_name().unwrap().to_str().unwrap().parse().unwrap())
}
