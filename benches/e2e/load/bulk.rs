//! Bulk: large messages without a pause, up to a backend that counts or down from one that sends.
//!
//! Measured from the first message until everything has arrived and was counted at both ends:
//! acknowledgements in between would be small messages of their own. There is no warm-up, so that
//! every byte that cost something is counted.

use std::io::{self, Write};

use crate::frame::{Party, Pattern, TEXT, frame};
use crate::load::{Client, Phase, READ, Sample, Site, ended};
use crate::poller::{self, Got, Poller};

/// Messages sent before others have a turn.
const BURST: usize = 16;

struct Stream {
    client: Client,
    /// Whole messages that have passed.
    count: u64,
    /// Where in the next one to go on.
    at: usize,
    /// Words to the backend that have not left yet.
    words: Vec<u8>,
    /// True from the last word on.
    is_ending: bool,
    /// The backend's count, as far as it has come.
    said: Vec<u8>,
    is_done: bool,
    is_writable: bool,
}

impl Stream {
    fn say(&mut self, word: &str) -> io::Result<()> {
        self.words.extend(frame(TEXT, word.as_bytes(), Party::Client));
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.words.is_empty() {
            match (&self.client.stream).write(&self.words) {
                Ok(count) => drop(self.words.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_writable = false;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends messages until the socket is full or others should have their turn.
    fn pour(&mut self, pattern: &mut Pattern, is_over: bool) -> io::Result<()> {
        for _ in 0..BURST {
            if is_over && self.at == 0 {
                self.is_ending = true;
                return self.say("end");
            }
            match pattern.send(&self.client.stream, Party::Client, self.count, self.at)? {
                None => (self.at, self.count) = (0, self.count + 1),
                Some(at) => {
                    (self.at, self.is_writable) = (at, false);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Reads messages and, at the end, the backend's count.
    fn listen(&mut self, pattern: &Pattern, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            let read = match poller::read(&self.client.stream, buffer)? {
                Got::Bytes(read) => read,
                Got::Later => return Ok(()),
                Got::End => return Err(ended()),
            };
            let mut rest = &buffer[..read];
            while let Some(piece) = self.client.decoder.next(&mut rest)? {
                if piece.head.opcode != TEXT {
                    pattern.check(&piece, self.count)?;
                    self.count += u64::from(piece.last);
                    continue;
                }
                self.said.extend_from_slice(piece.bytes);
                self.is_done = piece.last;
                if piece.last && self.said != self.count.to_string().as_bytes() {
                    return Err(io::Error::other("messages are missing"));
                }
            }
            if read < buffer.len() {
                return Ok(());
            }
        }
    }
}

pub(super) fn up(site: &Site<'_>, connections: usize, size: usize) -> io::Result<Sample> {
    run(site, connections, size, false)
}

pub(super) fn down(site: &Site<'_>, connections: usize, size: usize) -> io::Result<Sample> {
    run(site, connections, size, true)
}

fn run(site: &Site<'_>, connections: usize, size: usize, is_down: bool) -> io::Result<Sample> {
    let mut pattern = Pattern::new(size);
    let mut poller = Poller::new()?;
    let mut streams = Vec::with_capacity(connections);
    let path = format!("/{}/{size}", if is_down { "source" } else { "sink" });
    for (index, stream) in site.open(&path, connections)?.into_iter().enumerate() {
        poller.add(&stream, index)?;
        let (client, words, said) = (Client::new(stream), Vec::new(), Vec::new());
        let (is_ending, is_done, is_writable) = (false, false, true);
        streams.push(Stream {
            client,
            count: 0,
            at: 0,
            words,
            is_ending,
            said,
            is_done,
            is_writable,
        });
    }
    let mut window = site.window_without_warmth()?;
    let (mut keys, mut buffer) = (Vec::new(), vec![0; READ]);
    window.phase(poller::now_ns()?)?;
    if is_down {
        streams.iter_mut().try_for_each(|stream| stream.say("go"))?;
    }
    while !streams.iter().all(|stream| stream.is_done) {
        let phase = window.phase(poller::now_ns()?)?;
        let is_over = phase == Phase::Drain;
        let mut is_any_writable = false;
        for stream in &mut streams {
            if stream.is_writable && !stream.is_ending {
                match is_down {
                    false => stream.pour(&mut pattern, is_over)?,
                    true if is_over => {
                        stream.is_ending = true;
                        stream.say("end")?;
                    }
                    true => {}
                }
            }
            is_any_writable |= stream.is_writable && !stream.is_ending && !is_down;
        }
        poller.wait(&mut keys, if is_any_writable { 0 } else { 10 })?;
        for &key in &keys {
            let stream = &mut streams[key];
            stream.is_writable = true;
            stream.flush()?;
            stream.listen(&pattern, &mut buffer)?;
        }
    }
    window.close()?;
    let count: u64 = streams.iter().map(|stream| stream.count).sum();
    let mut sample = window.sample(count, None)?;
    let gigabytes = count as f64 * size as f64 / 1e9;
    let spent = &sample.spent;
    let (cpu, wall) = (spent.proxy.as_secs_f64(), spent.wall.as_secs_f64());
    sample.metrics.insert("cpu_gb", cpu / gigabytes);
    sample.metrics.insert("gb_s", gigabytes / wall);
    Ok(sample)
}
