//! The relays: upsplice by its embedding interface, and two baselines of a page each.
//!
//! The baselines relay bytes and nothing else: no HTTP, no timeouts, no limits, no bounded memory.
//! They have one thread like a worker of upsplice, and buffers of 64 KB, which suits bulk best.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::thread::JoinHandle;

use tokio_uring::buf::BoundedBuf;
use upsplice::config::model::EngineChoice;
use upsplice::conn::Addr;
use upsplice::engine::probe::{self, Chosen};
use upsplice::proxy::{Proxy, Running};
use upsplice::supervisor::system;

use crate::load::Load;

/// The CPU of the relay.
const RELAY_CPU: usize = 0;
/// The CPU of the load.
pub(crate) const LOAD_CPU: usize = 1;

/// What a baseline reads at once.
const BUFFER: usize = 64 * 1024;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// An engine of upsplice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Engine {
    Uring,
    Epoll,
}

impl Engine {
    /// Those that this system grants.
    pub(crate) fn granted() -> Vec<Self> {
        match probe::choose(EngineChoice::Auto) {
            Ok(Chosen::Uring) => vec![Self::Uring, Self::Epoll],
            _ => vec![Self::Epoll],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Something between two sockets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Relay {
    Upsplice {
        engine: Engine,
        /// What the carrier is called, and the directive for it; both empty for the default.
        carrier: &'static str,
        directive: &'static str,
    },
    /// `tokio::io::copy_bidirectional` on a current-thread runtime.
    Tokio,
    /// A loop of read and write per direction.
    TokioUring,
}

impl Relay {
    /// Those that can run here.
    pub(crate) fn all() -> Vec<Self> {
        let engines = Engine::granted();
        let of = |engine| Self::Upsplice { engine, carrier: "", directive: "" };
        let mut all: Vec<Self> = engines.iter().copied().map(of).collect();
        all.push(Self::Tokio);
        if engines.contains(&Engine::Uring) {
            all.push(Self::TokioUring);
        }
        all
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Upsplice { engine, carrier: "", .. } => format!("upsplice {}", engine.name()),
            Self::Upsplice { engine, carrier, .. } => format!("{carrier} on {}", engine.name()),
            Self::Tokio => "tokio".to_owned(),
            Self::TokioUring => "tokio-uring".to_owned(),
        }
    }

    /// Starts it on its CPU and opens so many tunnels through it.
    pub(crate) fn start(self, tunnels: usize) -> Scene {
        self.try_start(tunnels).unwrap_or_else(|error| panic!("{}: {error}", self.name()))
    }

    fn try_start(self, tunnels: usize) -> io::Result<Scene> {
        let place = TcpListener::bind("127.0.0.1:0")?;
        let upstream = place.local_addr()?;
        // Threads inherit the CPU of the one that starts them.
        pin(RELAY_CPU)?;
        let (address, host) = match self {
            Self::Upsplice { engine, directive, .. } => upsplice(engine, directive, upstream)?,
            Self::Tokio => baseline(upstream, tunnels, run_tokio)?,
            Self::TokioUring => baseline(upstream, tunnels, run_tokio_uring)?,
        };
        pin(LOAD_CPU)?;
        let shakes_hands = matches!(self, Self::Upsplice { .. });
        let open = |_| open(address, &place, shakes_hands);
        let ends = (0..tunnels).map(open).collect::<io::Result<_>>()?;
        Ok(Scene { ends, load: None, _host: host })
    }
}

/// Ties the calling thread, and what it starts, to a CPU.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    Ok(system::pin(&[cpu])?)
}

/// A running relay with open tunnels through it.
pub(crate) struct Scene {
    /// Both ends of each tunnel, until a load has them.
    ends: Vec<(TcpStream, TcpStream)>,
    load: Option<Load>,
    // Behind the sockets: a baseline ends when they are closed.
    _host: Host,
}

impl Scene {
    /// The load on its tunnels, for messages of this size.
    pub(crate) fn load(&mut self, size: usize) -> &mut Load {
        let ends = &mut self.ends;
        self.load.get_or_insert_with(|| Load::new(std::mem::take(ends), size))
    }
}

/// Where a relay lives; dropping it ends the relay.
enum Host {
    Upsplice { _running: Running },
    Thread(Option<JoinHandle<io::Result<()>>>),
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Self::Thread(thread) = self
            && let Some(thread) = thread.take()
        {
            // How a baseline ends is nobody's figure; that it does is what counts.
            let _ = thread.join();
        }
    }
}

fn upsplice(
    engine: Engine,
    directive: &str,
    upstream: SocketAddr,
) -> io::Result<(SocketAddr, Host)> {
    let text = format!(
        "worker_processes 1; error_log /dev/null;
        events {{ use {}; worker_connections 1024; }}
        http {{ access_log off; server {{ listen 127.0.0.1:0; {directive}
            location / {{ proxy_pass http://{upstream}; }} }} }}",
        engine.name()
    );
    let proxy = Proxy::from_config_text(&text).map_err(io::Error::other)?;
    let running = proxy.start().map_err(io::Error::other)?;
    match running.addresses() {
        [Addr::Inet(address)] => Ok((*address, Host::Upsplice { _running: running })),
        other => Err(io::Error::other(format!("it listens on {other:?}"))),
    }
}

/// Starts a thread that connects each of so many clients to the upstream and then relays.
fn baseline(
    upstream: SocketAddr,
    tunnels: usize,
    run: fn(Vec<(TcpStream, TcpStream)>) -> io::Result<()>,
) -> io::Result<(SocketAddr, Host)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let thread = std::thread::spawn(move || {
        let pair = |_| {
            let (client, _) = listener.accept()?;
            let upstream = TcpStream::connect(upstream)?;
            client.set_nodelay(true)?;
            upstream.set_nodelay(true)?;
            Ok((client, upstream))
        };
        run((0..tunnels).map(pair).collect::<io::Result<_>>()?)
    });
    Ok((address, Host::Thread(Some(thread))))
}

fn run_tokio(pairs: Vec<(TcpStream, TcpStream)>) -> io::Result<()> {
    let relay = async |pair: (TcpStream, TcpStream)| -> io::Result<()> {
        let adopt = |stream: TcpStream| {
            stream.set_nonblocking(true)?;
            tokio::net::TcpStream::from_std(stream)
        };
        let (mut client, mut upstream) = (adopt(pair.0)?, adopt(pair.1)?);
        tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER)
            .await?;
        Ok(())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let tasks: Vec<_> = pairs.into_iter().map(|pair| tokio::spawn(relay(pair))).collect();
        for task in tasks {
            task.await.map_err(io::Error::other)??;
        }
        Ok(())
    })
}

fn run_tokio_uring(pairs: Vec<(TcpStream, TcpStream)>) -> io::Result<()> {
    use tokio_uring::net::TcpStream as Stream;

    async fn pump(from: Rc<Stream>, to: Rc<Stream>) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let (count, read) = from.read(buffer).await;
            let count = count?;
            if count == 0 {
                return to.shutdown(Shutdown::Write);
            }
            let (outcome, written) = to.write_all(read.slice(..count)).await;
            outcome?;
            buffer = written.into_inner();
        }
    }
    tokio_uring::start(async {
        let mut tasks = Vec::new();
        for (client, upstream) in pairs {
            let (client, upstream) = (Stream::from_std(client), Stream::from_std(upstream));
            let (client, upstream) = (Rc::new(client), Rc::new(upstream));
            tasks.push(tokio_uring::spawn(pump(Rc::clone(&client), Rc::clone(&upstream))));
            tasks.push(tokio_uring::spawn(pump(upstream, client)));
        }
        for task in tasks {
            task.await.map_err(io::Error::other)??;
        }
        Ok(())
    })
}

/// Opens a tunnel: the client's end and the upstream's.
fn open(
    address: SocketAddr,
    place: &TcpListener,
    shakes_hands: bool,
) -> io::Result<(TcpStream, TcpStream)> {
    let mut client = TcpStream::connect(address)?;
    client.set_nodelay(true)?;
    if shakes_hands {
        client.write_all(REQUEST)?;
    }
    let (mut upstream, _) = place.accept()?;
    upstream.set_nodelay(true)?;
    if shakes_hands {
        read_head(&mut upstream)?;
        upstream.write_all(ANSWER)?;
        read_head(&mut client)?;
    }
    Ok((client, upstream))
}

fn read_head(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(())
}
