//! A feed: the backend sends every client a message at each interval, stamped with its moment.

use std::io::{self, Write};

use crate::frame::{Party, Pattern, STAMP, TEXT, frame};
use crate::load::{Client, Phase, READ, Sample, Site, ended, histogram};
use crate::poller::{self, Got, Poller};

struct Subscriber {
    client: Client,
    /// The stamp of the message that comes, as far as it is known.
    stamp: [u8; STAMP],
    /// The stamp of the last one, zero before the first.
    last_ns: u64,
}

pub(super) fn run(
    site: &Site<'_>,
    connections: usize,
    size: usize,
    interval_us: u32,
) -> io::Result<Sample> {
    let pattern = Pattern::new(size);
    let mut poller = Poller::new()?;
    let mut subscribers = Vec::with_capacity(connections);
    let path = format!("/feed/{size}/{interval_us}");
    for (index, stream) in site.open(&path, connections)?.into_iter().enumerate() {
        poller.add(&stream, index)?;
        let client = Client::new(stream);
        subscribers.push(Subscriber { client, stamp: [0; STAMP], last_ns: 0 });
    }
    let go = frame(TEXT, b"go", Party::Client);
    for subscriber in &subscribers {
        (&subscriber.client.stream).write_all(&go)?;
    }
    let interval_ns = u64::from(interval_us) * 1000;
    let mut window = site.window()?;
    let (mut keys, mut buffer) = (Vec::new(), vec![0; READ]);
    let (mut count, mut latency) = (0, histogram()?);
    loop {
        poller.wait(&mut keys, 10)?;
        for &key in &keys {
            let heard_ns = poller::now_ns()?;
            listen(&mut subscribers[key], &pattern, &mut buffer, interval_ns, |stamp_ns| {
                if (window.opens_ns..window.closes_ns).contains(&stamp_ns) {
                    count += 1;
                    latency.saturating_record(heard_ns.saturating_sub(stamp_ns));
                }
            })?;
        }
        // The feed does not end by itself: it is over when all have what left in the window.
        let is_over = window.phase(poller::now_ns()?)? == Phase::Drain;
        let has_all = |subscriber: &Subscriber| subscriber.last_ns >= window.closes_ns;
        if is_over && subscribers.iter().all(has_all) {
            return window.sample(count, Some(latency));
        }
    }
}

fn listen(
    subscriber: &mut Subscriber,
    pattern: &Pattern,
    buffer: &mut [u8],
    interval_ns: u64,
    mut heard: impl FnMut(u64),
) -> io::Result<()> {
    loop {
        let count = match poller::read(&subscriber.client.stream, buffer)? {
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
            heard(stamp_ns);
        }
        if count < buffer.len() {
            return Ok(());
        }
    }
}
