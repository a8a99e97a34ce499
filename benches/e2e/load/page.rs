//! Ordinary requests: each kept connection asks for a page, awaits it, asks again.

use std::io::{self, Write};
use std::net::TcpStream;

use crate::frame::Pattern;
use crate::load::{Phase, READ, Sample, Site, ended, histogram};
use crate::poller::{self, Got, Poller};
use crate::wire::{self, Lines};

struct Reader {
    stream: TcpStream,
    /// What has come of the answer.
    answer: Vec<u8>,
    asked_ns: u64,
}

impl Reader {
    fn ask(&mut self, request: &[u8], now_ns: u64) -> io::Result<()> {
        self.answer.clear();
        self.asked_ns = now_ns;
        // One request in flight: the socket takes it.
        (&self.stream).write_all(request)
    }

    /// Reads what is there. True if the page is complete.
    fn listen(&mut self, body: &[u8], buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            let count = match poller::read(&self.stream, buffer)? {
                Got::Bytes(count) => count,
                Got::Later => return Ok(false),
                Got::End => return Err(ended()),
            };
            self.answer.extend_from_slice(&buffer[..count]);
            if self.is_complete(body)? {
                return Ok(true);
            }
            if count < buffer.len() {
                return Ok(false);
            }
        }
    }

    fn is_complete(&self, body: &[u8]) -> io::Result<bool> {
        let Some(length) = wire::head_length(&self.answer) else { return Ok(false) };
        let lines = Lines::new(&self.answer[..length])?;
        let declared = lines.field("content-length").and_then(|value| value.parse().ok());
        if !lines.first().starts_with("HTTP/1.1 200") || declared != Some(body.len()) {
            let first = lines.first();
            return Err(io::Error::other(format!("a request was answered with: {first}")));
        }
        let got = &self.answer[length..];
        if !body.starts_with(&got[..got.len().min(body.len())]) || got.len() > body.len() {
            return Err(io::Error::other("a page that was changed on its way"));
        }
        Ok(got.len() == body.len())
    }
}

pub(super) fn run(site: &Site<'_>, connections: usize, size: usize) -> io::Result<Sample> {
    let pattern = Pattern::new(size);
    let mut poller = Poller::new()?;
    let request = wire::page_request(&format!("/page/{size}"));
    let mut readers = Vec::with_capacity(connections);
    for index in 0..connections {
        let stream = site.connect()?;
        stream.set_nonblocking(true)?;
        poller.add(&stream, index)?;
        readers.push(Reader { stream, answer: Vec::new(), asked_ns: 0 });
    }
    let mut window = site.window()?;
    let (mut keys, mut buffer) = (Vec::new(), vec![0; READ]);
    let (mut count, mut latency) = (0, histogram()?);
    let mut in_flight = readers.len();
    for reader in &mut readers {
        reader.ask(&request, poller::now_ns()?)?;
    }
    while in_flight > 0 {
        poller.wait(&mut keys, 100)?;
        let phase = window.phase(poller::now_ns()?)?;
        for &key in &keys {
            let reader = &mut readers[key];
            if !reader.listen(pattern.payload(), &mut buffer)? {
                continue;
            }
            let now_ns = poller::now_ns()?;
            if phase == Phase::Open {
                count += 1;
                latency.saturating_record(now_ns - reader.asked_ns);
            }
            match phase {
                Phase::Drain => in_flight -= 1,
                _ => reader.ask(&request, now_ns)?,
            }
        }
    }
    window.sample(count, Some(latency))
}
