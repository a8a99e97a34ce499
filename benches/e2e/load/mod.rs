//! The load generator: one thread, one epoll set, messages whose every byte is checked.
//!
//! A load connects all its clients, runs them through a warm-up and a window, and lets what is in
//! flight come home: a message that is lost or changed fails the whole sample. The clocks are read
//! at both ends of the window.

mod bulk;
mod churn;
mod feed;
mod idle;
mod open;
mod page;
mod pingpong;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::frame::Decoder;
use crate::meter::{Meter, Reading, Spent};
use crate::poller;
use crate::scenario::{Load, Times};
use crate::wire;

/// Bytes read at once.
pub(crate) const READ: usize = 256 * 1024;
/// Handshakes under way at once while a load connects.
const HANDSHAKES: usize = 64;
/// How long anything may take that should take a moment.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest latency told apart, in nanoseconds.
const LATENCY_MAX_NS: u64 = 60_000_000_000;

/// What a load gave.
pub(crate) struct Sample {
    pub(crate) metrics: BTreeMap<&'static str, f64>,
    pub(crate) spent: Spent,
    pub(crate) latency: Option<Histogram<u64>>,
}

/// A place to measure at.
pub(crate) struct Site<'a> {
    pub(crate) target: SocketAddr,
    pub(crate) meter: &'a Meter,
    pub(crate) times: Times,
}

impl Site<'_> {
    /// Runs a load.
    ///
    /// # Errors
    /// If a connection fails, a byte differs or something does not come in time.
    pub(crate) fn run(&self, load: Load) -> io::Result<Sample> {
        match load {
            Load::PingPong { connections, size } => pingpong::run(self, connections, size),
            Load::Open { connections, size, per_second } => {
                open::run(self, connections, size, per_second)
            }
            Load::Bulk { connections, size, to_clients: false } => {
                bulk::up(self, connections, size)
            }
            Load::Bulk { connections, size, to_clients: true } => {
                bulk::down(self, connections, size)
            }
            Load::Feed { connections, size, interval_us } => {
                feed::run(self, connections, size, interval_us)
            }
            Load::Churn { at_once, size } => churn::run(self, at_once, size),
            Load::Idle { tunnels } => idle::run(self, tunnels),
            Load::Page { connections, size } => page::run(self, connections, size),
        }
    }

    /// Opens WebSockets, a few at a time; they are non-blocking afterwards.
    fn open(&self, path: &str, count: usize) -> io::Result<Vec<TcpStream>> {
        let request = wire::upgrade_request(path);
        let mut open = Vec::with_capacity(count);
        while open.len() < count {
            let batch = (count - open.len()).min(HANDSHAKES);
            let started = open.len();
            for _ in 0..batch {
                let mut stream = self.connect()?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.write_all(&request)?;
                open.push(stream);
            }
            for stream in &mut open[started..] {
                let mut head = Vec::new();
                let mut piece = [0; 1024];
                while wire::head_length(&head).is_none() {
                    let count = stream.read(&mut piece)?;
                    if count == 0 || head.len() > 16 * 1024 {
                        return Err(io::Error::other("no answer to an upgrade"));
                    }
                    head.extend_from_slice(&piece[..count]);
                }
                wire::check_switching(&head)?;
                stream.set_nonblocking(true)?;
            }
        }
        Ok(open)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.target)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn window(&self) -> io::Result<Window<'_>> {
        self.window_after(self.times.warm)
    }

    /// A window that is open.
    fn window_without_warmth(&self) -> io::Result<Window<'_>> {
        self.window_after(Duration::ZERO)
    }

    fn window_after(&self, warm: Duration) -> io::Result<Window<'_>> {
        let opens_ns = poller::now_ns()? + poller::nanoseconds(warm);
        let closes_ns = opens_ns + poller::nanoseconds(self.times.window);
        let meter = self.meter;
        Ok(Window { meter, opens_ns, closes_ns, start: None, spent: None, waited_ns: 0 })
    }
}

/// A WebSocket with what has been read of it.
struct Client {
    stream: TcpStream,
    decoder: Decoder,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        Self { stream, decoder: Decoder::default() }
    }
}

/// Where in a measurement a load is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Warm,
    Open,
    /// Nothing new is started; what is in flight comes home.
    Drain,
}

/// Opens and closes the window, and reads the clocks when it does.
struct Window<'a> {
    meter: &'a Meter,
    opens_ns: u64,
    closes_ns: u64,
    start: Option<Reading>,
    spent: Option<Spent>,
    /// How long a load that does not sleep waited while the window was open.
    waited_ns: u64,
}

impl Window<'_> {
    /// The phase at a moment.
    ///
    /// # Errors
    /// If what is in flight does not come home in time.
    fn phase(&mut self, now_ns: u64) -> io::Result<Phase> {
        if now_ns < self.opens_ns {
            return Ok(Phase::Warm);
        }
        let start = match &self.start {
            Some(start) => start,
            None => self.start.insert(self.meter.read()?),
        };
        if now_ns < self.closes_ns {
            return Ok(Phase::Open);
        }
        if self.spent.is_none() {
            self.spent = Some(self.meter.since(start)?);
        }
        if now_ns > self.closes_ns + poller::nanoseconds(PATIENCE) {
            return Err(io::Error::other("messages were not answered in time"));
        }
        Ok(Phase::Drain)
    }

    /// Notes that a load that does not sleep waited.
    fn waited(&mut self, time_ns: u64) {
        if self.start.is_some() && self.spent.is_none() {
            self.waited_ns += time_ns;
        }
    }

    /// Closes the window now, for loads that count until everything has arrived.
    fn close(&mut self) -> io::Result<()> {
        if let Some(start) = &self.start {
            self.spent = Some(self.meter.since(start)?);
        }
        Ok(())
    }

    /// The sample of a load that did something `count` times in the window.
    fn sample(self, count: u64, latency: Option<Histogram<u64>>) -> io::Result<Sample> {
        let mut spent = self.spent.ok_or_else(|| io::Error::other("the window did not close"))?;
        spent.waited = Duration::from_nanos(self.waited_ns);
        if count == 0 {
            return Err(io::Error::other("nothing happened in the window"));
        }
        let mut metrics = BTreeMap::new();
        let each = count as f64;
        metrics.insert("count", each);
        metrics.insert("rate", each / spent.wall.as_secs_f64());
        metrics.insert("cpu", spent.proxy.as_secs_f64() * 1e6 / each);
        if let Some(latency) = &latency {
            let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
            let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
            metrics.extend(quantiles.map(|(name, quantile)| (name, at(quantile))));
            metrics.insert("max", latency.max() as f64 / 1e3);
        }
        Ok(Sample { metrics, spent, latency })
    }
}

/// Latencies in nanoseconds, to three digits.
fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).map_err(io::Error::other)
}

fn ended() -> io::Error {
    io::Error::other("a connection ended in the middle")
}
