//! A proxy inside this process, between the peers that a test plays.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use upsplice::conn::Addr;
use upsplice::observe::stats::Stats;
use upsplice::proxy::{Proxy, Running};

use super::{Engine, Peer, SWITCH, UPGRADE, Upstream};

/// What a scene is set up with. The texts are directives in nginx's language.
#[derive(Debug)]
pub(crate) struct Setup {
    engine: Engine,
    connections: usize,
    events: String,
    http: String,
    location: String,
    upstream: Option<SocketAddr>,
}

impl Setup {
    /// Adds directives to the `events` block.
    pub(crate) fn events(mut self, directives: &str) -> Self {
        self.events.push_str(directives);
        self
    }

    /// Adds directives to the `http` block.
    pub(crate) fn http(mut self, directives: &str) -> Self {
        self.http.push_str(directives);
        self
    }

    /// Adds directives to the only proxied `location`.
    pub(crate) fn location(mut self, directives: &str) -> Self {
        self.location.push_str(directives);
        self
    }

    /// `worker_connections`.
    pub(crate) fn connections(mut self, count: usize) -> Self {
        self.connections = count;
        self
    }

    /// Another upstream than the scene's own.
    pub(crate) fn upstream(mut self, address: SocketAddr) -> Self {
        self.upstream = Some(address);
        self
    }

    /// The configuration: one worker, one server, everything under `/` to one upstream, nothing
    /// under `/nothing`.
    pub(crate) fn config(&self, upstream: SocketAddr, folder: &Path) -> String {
        let Self { engine, connections, events, http, location, .. } = self;
        let (engine, folder) = (engine.name(), folder.display());
        format!(
            "worker_processes 1;
            error_log {folder}/error.log info;
            events {{ use {engine}; worker_connections {connections}; {events} }}
            http {{
                log_format ends '$upsplice_reason $status up=$upsplice_bytes_up '
                                'down=$upsplice_bytes_down tunnel=$upsplice_tunnel_time';
                access_log {folder}/access.log ends;
                keepalive_requests 1000000;
                {http}
                server {{
                    listen 127.0.0.1:0;
                    location /nothing {{ access_log off; }}
                    location / {{ proxy_pass http://{upstream}; {location} }}
                }}
            }}"
        )
    }

    pub(crate) fn start(self) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::new();
        let address = self.upstream.unwrap_or_else(|| upstream.address());
        let config = self.config(address, folder.path());
        let proxy = Proxy::from_config_text(&config).unwrap_or_else(|error| panic!("{error}"));
        let running = proxy.start().unwrap_or_else(|error| panic!("{error}"));
        let Addr::Inet(address) = running.addresses()[0] else { unreachable!("it has a port") };
        let witness = Peer::connect(address);
        Scene { running, upstream, address, witness, folder }
    }
}

/// A running proxy and its upstream.
#[derive(Debug)]
pub(crate) struct Scene {
    running: Running,
    pub(crate) upstream: Upstream,
    address: SocketAddr,
    witness: Peer,
    folder: TempDir,
}

impl Scene {
    /// To be set up for an engine.
    pub(crate) fn on(engine: Engine) -> Setup {
        Setup {
            engine,
            connections: 512,
            events: String::new(),
            http: String::new(),
            location: String::new(),
            upstream: None,
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new client.
    pub(crate) fn client(&self) -> Peer {
        Peer::connect(self.address)
    }

    /// A new client that sends this at once.
    #[track_caller]
    pub(crate) fn client_with(&self, bytes: impl AsRef<[u8]>) -> Peer {
        let mut client = self.client();
        client.send(bytes);
        client
    }

    /// A client's request and the upstream that got it, its head already read.
    #[track_caller]
    pub(crate) fn exchange(&self, request: impl AsRef<[u8]>) -> (Peer, Peer) {
        let client = self.client_with(request);
        let mut upstream = self.upstream.accept();
        upstream.head();
        (client, upstream)
    }

    /// The client's and the upstream's ends of an open tunnel.
    #[track_caller]
    pub(crate) fn tunnel(&self) -> (Peer, Peer) {
        let (mut client, mut upstream) = self.exchange(UPGRADE);
        upstream.send(SWITCH);
        assert_eq!(client.head().status(), 101);
        (client, upstream)
    }

    /// The answer to a request for which no upstream is needed.
    #[track_caller]
    pub(crate) fn refusal(&self, request: impl AsRef<[u8]>) -> u16 {
        let mut client = self.client_with(request);
        let answer = client.answer();
        answer.status()
    }

    /// Returns when the worker has dealt with everything that reached it before: another client's
    /// request, which the worker answers by itself, has been answered twice. (One turn may see the
    /// request before the bytes that came first; the next one cannot.)
    #[track_caller]
    pub(crate) fn settle(&mut self) {
        settle(&mut self.witness);
    }

    /// The proxy still works: a request is carried there and back.
    #[track_caller]
    pub(crate) fn expect_alive(&self) {
        let (mut client, mut upstream) = self.exchange("GET /alive HTTP/1.1\r\nHost: h\r\n\r\n");
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive");
        assert_eq!(client.answer().body, b"alive");
    }

    /// The upstream has been asked for nothing.
    #[track_caller]
    pub(crate) fn expect_upstream_untouched(&mut self) {
        self.settle();
        self.upstream.expect_nobody(Duration::from_millis(1));
    }

    /// The worker's counters, as of the end of its last turn.
    pub(crate) fn stats(&self) -> Stats {
        self.running.stats()
    }

    /// Lets the proxy deal with what its peers did last, stops it, and says what it wrote.
    pub(crate) fn end(self) -> Report {
        // A timer under test may have closed the witness.
        settle(&mut self.client());
        self.running.stop();
        self.join()
    }

    /// Tells the proxy to finish what is in flight, which does not end without what the peers do
    /// meanwhile, and says what it wrote.
    pub(crate) fn finish(self, meanwhile: impl FnOnce()) -> Report {
        self.running.quit();
        meanwhile();
        self.join()
    }

    fn join(self) -> Report {
        let summary = self.running.join();
        assert_eq!((summary.panics, summary.left_behind), (0, 0), "{summary:?}");
        assert_eq!(summary.stats.connections_live(), 0, "{summary:?}");
        assert_eq!(summary.stats.tunnels_live(), 0, "{summary:?}");
        let read = |name| std::fs::read_to_string(self.folder.path().join(name)).unwrap();
        Report {
            access: read("access.log").lines().map(str::to_owned).collect(),
            errors: read("error.log"),
        }
    }
}

fn settle(witness: &mut Peer) {
    for _ in 0..2 {
        witness.send("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(witness.answer().status(), 404);
    }
}

/// What a proxy wrote in its life.
#[derive(Debug)]
pub(crate) struct Report {
    /// The access log: `REASON STATUS up=BYTES down=BYTES tunnel=SECONDS`.
    pub(crate) access: Vec<String>,
    /// The error log.
    pub(crate) errors: String,
}

impl Report {
    /// There is exactly one line in the access log, and it begins like this.
    #[track_caller]
    pub(crate) fn expect_only(&self, beginning: &str) {
        assert_eq!(self.access.len(), 1, "{:#?}", self.access);
        self.expect(beginning);
    }

    /// A line of the access log begins like this.
    #[track_caller]
    pub(crate) fn expect(&self, beginning: &str) {
        let found = self.access.iter().any(|line| line.starts_with(beginning));
        assert!(found, "no line begins with {beginning:?}: {:#?}", self.access);
    }

    /// The error log has a line with this.
    #[track_caller]
    pub(crate) fn expect_error(&self, text: &str) {
        assert!(self.errors.contains(text), "{text:?} is not in the error log: {}", self.errors);
    }
}
