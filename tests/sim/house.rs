//! The worker of every run, with a real configuration: nginx's text through the real parser.

use core::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use upsplice::config::model::{Bulk, Config, Splice};
use upsplice::config::{Outside, Request, load_text};
use upsplice::conn::Addr;
use upsplice::engine::sim::Sim;
use upsplice::http::facts::Host;
use upsplice::http::time::LocalTime;
use upsplice::observe::log::{Logs, Memory};
use upsplice::observe::stats::Shared;
use upsplice::worker::chunks::Chunks;
use upsplice::worker::mailbox::{Mailbox, Sender};
use upsplice::worker::{Setup, Worker};

use crate::planted::{Bug, Planted};

/// Every timer has a value of its own, so that a log line tells them apart.
const TEXT: &str = r#"
worker_processes 1;
events { worker_connections 512; }
http {
    log_format sim '$remote_addr:$remote_port|$connection_requests|$status|$upsplice_reason|'
                   '$msec|$upsplice_bytes_up|$upsplice_bytes_down|$request_uri';
    access_log /simulated/access.log sim;
    client_header_timeout 20s;
    client_body_timeout 40s;
    keepalive_timeout 35s;
    send_timeout 45s;
    proxy_connect_timeout 15s;
    proxy_read_timeout 60s;
    proxy_send_timeout 50s;
    upstream backs { server 127.0.0.1:9001; server 127.0.0.1:9002; }
    server {
        listen 127.0.0.1:8080;
        location / { proxy_pass http://backs; }
        location /one/ { proxy_pass http://127.0.0.1:9001; }
        location /idle/ {
            proxy_pass http://127.0.0.1:9001;
            tunnel_idle_timeout 30s;
        }
        location /life/ {
            proxy_pass http://127.0.0.1:9001;
            tunnel_max_lifetime 100s;
        }
        location /abrupt/ {
            proxy_pass http://127.0.0.1:9001;
            tunnel_half_close off;
        }
    }
}
"#;

/// Nothing outside is needed.
struct Nowhere;

impl Outside for Nowhere {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(format!("{path} is not simulated"))
    }

    fn glob(&self, _pattern: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    fn resolve(&self, host: &str, _port: u16) -> Result<Vec<SocketAddr>, String> {
        Err(format!("{host} is not simulated"))
    }
}

/// The proxy's address.
pub(crate) fn front() -> Addr {
    addr(8080)
}

/// The upstream servers' addresses.
pub(crate) fn backs() -> [Addr; 2] {
    [addr(9001), addr(9002)]
}

/// A worker on a simulated world, what it logs, and a way to write to it.
pub(crate) fn worker(
    sim: &Sim,
    connections: usize,
    (splice, bulk): (Splice, Bulk),
    seed: u64,
    bug: Option<Bug>,
) -> (Worker<Planted>, Memory, Sender) {
    let mut config = config();
    config.process.worker_connections = connections;
    for location in &mut config.locations {
        (location.settings.splice, location.settings.bulk) = (splice, bulk);
    }
    let (mailbox, sender) = Mailbox::new().expect("an eventfd");
    let (logs, memory) = Logs::memory();
    let setup = Setup {
        config,
        host: Host {
            name: "simulated".into(),
            pid: 1,
            engine: "sim",
            request_seed: seed,
            time: LocalTime::utc(),
        },
        listeners: vec![(0, sim.listen(front()))],
        mailbox,
        logs,
        stats: Arc::new(Shared::default()),
        seed,
        chunks: Chunks::new(4, 1_024).with_large(2),
    };
    (Worker::new(Planted::new(sim.clone(), bug), setup), memory, sender)
}

fn config() -> Config {
    static PARSED: OnceLock<Config> = OnceLock::new();
    let parse = || {
        let request = Request { path: "/simulated/nginx.conf", ..Request::default() };
        match load_text(request, TEXT.as_bytes().to_vec(), &Nowhere) {
            Ok(loaded) => loaded.config,
            Err(problems) => panic!("{problems:#?}"),
        }
    };
    PARSED.get_or_init(parse).clone()
}

fn addr(port: u16) -> Addr {
    Addr::Inet(SocketAddr::from(([127, 0, 0, 1], port)))
}
