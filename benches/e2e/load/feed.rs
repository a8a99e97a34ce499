//! A feed: the backend sends every client a message at each interval, stamped with its moment.
//!
//! A burst goes to a thousand clients, and this one thread could not look at all of them when their
//! messages arrive: it would measure itself, and it would take its CPU away from the backend, which
//! is still sending. So the kernel notes the arrival of each message (`SO_TIMESTAMPNS`), and the
//! load looks only between two bursts. Nobody waits for a client's socket, so the proxy has nobody
//! to wake either.

use std::io::{self, Write};
use std::time::Duration;

use crate::frame::{Party, Pattern, STAMP, TEXT, frame};
use crate::load::{Client, Phase, Sample, Site, ended, histogram};
use crate::poller::{self, Got, Poller, Ticker};

/// The key of the moments at which the load looks.
const LOOK: usize = 0;

struct Subscriber {
    client: Client,
    /// The stamp of the message that comes, as far as it is known.
    stamp: [u8; STAMP],
    /// The stamp of the last one, zero before the first.
    last_ns: u64,
}

/// What belongs to the window: messages whose moments lie in it.
#[derive(Clone, Copy, Debug, Default)]
struct Edges {
    opened_ns: Option<u64>,
    closed_ns: Option<u64>,
}

impl Edges {
    fn hold(self, stamp_ns: u64) -> bool {
        self.opened_ns.is_some_and(|opened_ns| stamp_ns >= opened_ns)
            && self.closed_ns.is_none_or(|closed_ns| stamp_ns < closed_ns)
    }
}

pub(super) fn run(
    site: &Site<'_>,
    connections: usize,
    size: usize,
    interval_us: u32,
) -> io::Result<Sample> {
    let pattern = Pattern::new(size);
    let interval = Duration::from_micros(interval_us.into());
    let interval_ns = poller::nanoseconds(interval);
    let mut subscribers = subscribe(site, connections, &format!("/feed/{size}/{interval_us}"))?;
    // Until the first burst has shown when they come.
    let mut looks = Looks::new(poller::now_ns()?, interval / 4)?;
    let mut is_in_step = false;
    let mut window = site.window()?;
    let mut edges = Edges::default();
    // The kernel tells arrivals by the other clock.
    let ahead_ns = poller::real_time_ahead_ns()?;
    let (mut count, mut latency) = (0, histogram()?);
    let mut buffer = vec![0; pattern.frame(Party::Server).len()];
    loop {
        let now_ns = looks.next()?;
        match window.phase(now_ns)? {
            Phase::Warm => {}
            Phase::Open => _ = edges.opened_ns.get_or_insert(now_ns),
            Phase::Drain => _ = edges.closed_ns.get_or_insert(now_ns),
        }
        let mut last_ns = 0;
        for subscriber in &mut subscribers {
            listen(subscriber, &pattern, &mut buffer, interval_ns, |stamp_ns, arrived_ns| {
                if edges.hold(stamp_ns) {
                    count += 1;
                    latency.saturating_record(arrived_ns.saturating_sub(ahead_ns + stamp_ns));
                }
            })?;
            last_ns = last_ns.max(subscriber.last_ns);
        }
        if last_ns > 0 && !is_in_step {
            // A burst has three quarters of the time to the next to get through undisturbed.
            looks = Looks::new(last_ns + interval_ns + interval_ns / 4 * 3, interval)?;
            is_in_step = true;
        }
        // The feed does not end by itself: it is over when all have what left in the window.
        let has_all = |closed_ns| {
            subscribers.iter().all(|subscriber| subscriber.last_ns + interval_ns >= closed_ns)
        };
        if edges.closed_ns.is_some_and(has_all) {
            return window.sample(count, Some(latency));
        }
    }
}

fn subscribe(site: &Site<'_>, connections: usize, path: &str) -> io::Result<Vec<Subscriber>> {
    let mut subscribers = Vec::with_capacity(connections);
    for stream in site.open(path, connections)? {
        poller::note_arrivals(&stream)?;
        let client = Client::new(stream);
        subscribers.push(Subscriber { client, stamp: [0; STAMP], last_ns: 0 });
    }
    let go = frame(TEXT, b"go", Party::Client);
    for subscriber in &subscribers {
        (&subscriber.client.stream).write_all(&go)?;
    }
    Ok(subscribers)
}

/// The moments at which the load looks at its sockets.
struct Looks {
    poller: Poller,
    ticker: Ticker,
    keys: Vec<usize>,
}

impl Looks {
    fn new(start_ns: u64, interval: Duration) -> io::Result<Self> {
        let (poller, ticker) = (Poller::new()?, Ticker::new(start_ns, interval)?);
        poller.add(&ticker, LOOK)?;
        Ok(Self { poller, ticker, keys: Vec::new() })
    }

    /// Waits for the next one; returns the time.
    fn next(&mut self) -> io::Result<u64> {
        self.poller.wait(&mut self.keys, 100)?;
        self.ticker.note()?;
        poller::now_ns()
    }
}

/// Reads the messages that are there, one by one: an arrival belongs to the last byte of a read.
fn listen(
    subscriber: &mut Subscriber,
    pattern: &Pattern,
    buffer: &mut [u8],
    interval_ns: u64,
    mut heard: impl FnMut(u64, u64),
) -> io::Result<()> {
    loop {
        let (got, arrived_ns) = poller::read_noted(&subscriber.client.stream, buffer)?;
        let count = match got {
            Got::Bytes(count) => count,
            Got::Later => return Ok(()),
            Got::End => return Err(ended()),
        };
        let mut rest = &buffer[..count];
        while let Some(piece) = subscriber.client.decoder.next(&mut rest)? {
            let in_stamp = STAMP.saturating_sub(piece.at).min(piece.bytes.len());
            let at = piece.at.min(STAMP);
            subscriber.stamp[at..at + in_stamp].copy_from_slice(&piece.bytes[..in_stamp]);
            let stamp_ns = u64::from_le_bytes(subscriber.stamp);
            pattern.check(&piece, stamp_ns)?;
            if !piece.last {
                continue;
            }
            let last_ns = std::mem::replace(&mut subscriber.last_ns, stamp_ns);
            if last_ns != 0 && stamp_ns != last_ns + interval_ns {
                return Err(io::Error::other("a message of the feed is missing"));
            }
            let unknown = || io::Error::other("the kernel did not note when a message arrived");
            heard(stamp_ns, arrived_ns.ok_or_else(unknown)?);
        }
    }
}
