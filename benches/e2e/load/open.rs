//! Open loop: messages leave at their moments whether echoes came or not, and a latency counts
//! from the moment at which the message should have left.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::frame::{Party, Pattern};
use crate::load::{Client, Phase, READ, Sample, Site, ended, histogram};
use crate::poller::{self, Got, Poller};

/// Messages of one connection that wait for their echo; more mean that the rate is not reached.
const WAITING_MAX: usize = 4096;

struct Caller {
    client: Client,
    /// The moments of the messages that are under way: the stamps of the echoes to come.
    waiting: VecDeque<u64>,
    /// Of these, how many have left, and where the next one goes on.
    left: usize,
    at: usize,
}

impl Caller {
    fn flush(&mut self, pattern: &mut Pattern) -> io::Result<()> {
        while let Some(&stamp) = self.waiting.get(self.left) {
            match pattern.send(&self.client.stream, Party::Client, stamp, self.at)? {
                Some(at) => {
                    self.at = at;
                    return Ok(());
                }
                None => (self.at, self.left) = (0, self.left + 1),
            }
        }
        Ok(())
    }

    /// Reads the echoes that are there; `heard` gets the moment of each message.
    fn listen(
        &mut self,
        pattern: &Pattern,
        buffer: &mut [u8],
        mut heard: impl FnMut(u64),
    ) -> io::Result<()> {
        loop {
            let count = match poller::read(&self.client.stream, buffer)? {
                Got::Bytes(count) => count,
                Got::Later => return Ok(()),
                Got::End => return Err(ended()),
            };
            let mut rest = &buffer[..count];
            while let Some(piece) = self.client.decoder.next(&mut rest)? {
                let nobody = || io::Error::other("an echo of nothing");
                let stamp = *self.waiting.front().ok_or_else(nobody)?;
                pattern.check(&piece, stamp)?;
                if piece.last {
                    self.waiting.pop_front();
                    self.left -= 1;
                    heard(stamp);
                }
            }
            if count < buffer.len() {
                return Ok(());
            }
        }
    }
}

pub(super) fn run(
    site: &Site<'_>,
    connections: usize,
    size: usize,
    per_second: u32,
) -> io::Result<Sample> {
    let mut pattern = Pattern::new(size);
    let mut poller = Poller::new()?;
    let mut callers = Vec::with_capacity(connections);
    for (index, stream) in site.open("/echo", connections)?.into_iter().enumerate() {
        poller.add(&stream, index)?;
        let client = Client::new(stream);
        callers.push(Caller { client, waiting: VecDeque::new(), left: 0, at: 0 });
    }
    let interval = Duration::from_secs(1) / per_second;
    let interval_ns = poller::nanoseconds(interval);
    let mut window = site.window()?;
    let mut next_ns = poller::now_ns()? + interval_ns;
    let (mut keys, mut buffer) = (Vec::new(), vec![0; READ]);
    let (mut count, mut sent, mut latency) = (0, 0, histogram()?);
    loop {
        let waited_ns = poller.spin(&mut keys, next_ns)?;
        window.waited(waited_ns);
        for &key in &keys {
            let caller = &mut callers[key];
            caller.flush(&mut pattern)?;
            // One moment for all that one read brings.
            let heard_ns = poller::now_ns()?;
            caller.listen(&pattern, &mut buffer, |stamp| {
                // Whatever should have left in the window counts, whenever it comes back.
                if (window.opens_ns..window.closes_ns).contains(&stamp) {
                    count += 1;
                    latency.saturating_record(heard_ns.saturating_sub(stamp));
                }
            })?;
        }
        let now_ns = poller::now_ns()?;
        let phase = window.phase(now_ns)?;
        while next_ns <= now_ns {
            next_ns += interval_ns;
            if phase == Phase::Drain {
                continue;
            }
            let caller = &mut callers[sent % connections];
            if caller.waiting.len() >= WAITING_MAX {
                return Err(io::Error::other("the rate is not reached"));
            }
            caller.waiting.push_back(next_ns - interval_ns);
            caller.flush(&mut pattern)?;
            sent += 1;
        }
        if phase == Phase::Drain && callers.iter().all(|caller| caller.waiting.is_empty()) {
            return window.sample(count, Some(latency));
        }
    }
}
