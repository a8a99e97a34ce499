//! Visits: connect, open a WebSocket, one echo, close; then the next.

use std::io::{self, Write};
use std::net::TcpStream;

use crate::frame::{CLOSE, Decoder, Party, Pattern, frame};
use crate::load::{Phase, READ, Sample, Site, ended, histogram};
use crate::poller::{self, Got, Poller};
use crate::wire;

/// How far a visit has come.
enum Step {
    /// The answer to the upgrade, as far as it is there.
    Head(Vec<u8>),
    Echo,
    /// Our close has left.
    Closing,
    /// The backend's close has come; the end of the stream is awaited.
    Closed,
}

struct Visit {
    stream: TcpStream,
    decoder: Decoder,
    step: Step,
    stamp: u64,
    started_ns: u64,
}

impl Visit {
    fn start(site: &Site<'_>, request: &[u8], stamp: u64) -> io::Result<Self> {
        let started_ns = poller::now_ns()?;
        let stream = site.connect()?;
        stream.set_nonblocking(true)?;
        // An empty socket takes a head and two short frames.
        (&stream).write_all(request)?;
        let (decoder, step) = (Decoder::default(), Step::Head(Vec::new()));
        Ok(Self { stream, decoder, step, stamp, started_ns })
    }

    /// Goes on as far as it can. True if the visit is over.
    fn advance(&mut self, pattern: &mut Pattern, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            let count = match poller::read(&self.stream, buffer) {
                Ok(Got::Bytes(count)) => count,
                Ok(Got::Later) => return Ok(false),
                Ok(Got::End) if matches!(self.step, Step::Closed) => return Ok(true),
                Ok(Got::End) => return Err(ended()),
                // Nothing can be lost any more.
                Err(_) if matches!(self.step, Step::Closed) => return Ok(true),
                Err(error) => return Err(error),
            };
            self.take(pattern, &buffer[..count])?;
        }
    }

    fn take(&mut self, pattern: &mut Pattern, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        if let Step::Head(head) = &mut self.step {
            head.extend_from_slice(bytes);
            let Some(length) = wire::head_length(head) else { return Ok(()) };
            wire::check_switching(head)?;
            if length < head.len() {
                return Err(io::Error::other("bytes behind an answer that nobody asked for"));
            }
            rest = &[];
            self.step = Step::Echo;
            pattern.send(&self.stream, Party::Client, self.stamp, 0)?;
        }
        while let Some(piece) = self.decoder.next(&mut rest)? {
            match self.step {
                Step::Echo => {
                    pattern.check(&piece, self.stamp)?;
                    if piece.last {
                        let close = frame(CLOSE, &[0x03, 0xe8], Party::Client);
                        (&self.stream).write_all(&close)?;
                        self.step = Step::Closing;
                    }
                }
                Step::Closing if piece.head.opcode == CLOSE && piece.last => {
                    self.step = Step::Closed;
                }
                _ => return Err(io::Error::other("a frame that nobody asked for")),
            }
        }
        Ok(())
    }
}

pub(super) fn run(site: &Site<'_>, at_once: usize, size: usize) -> io::Result<Sample> {
    let mut pattern = Pattern::new(size);
    let mut poller = Poller::new()?;
    let request = wire::upgrade_request("/echo");
    let mut window = site.window()?;
    let (mut keys, mut buffer) = (Vec::new(), vec![0; READ]);
    let (mut count, mut latency) = (0, histogram()?);
    let mut visits = Vec::with_capacity(at_once);
    let mut started = 0;
    for index in 0..at_once {
        let visit = Visit::start(site, &request, started)?;
        poller.add(&visit.stream, index)?;
        visits.push(Some(visit));
        started += 1;
    }
    while visits.iter().any(Option::is_some) {
        poller.wait(&mut keys, 100)?;
        let phase = window.phase(poller::now_ns()?)?;
        for &key in &keys {
            let Some(visit) = &mut visits[key] else { continue };
            if !visit.advance(&mut pattern, &mut buffer)? {
                continue;
            }
            if phase == Phase::Open {
                count += 1;
                latency.saturating_record(poller::now_ns()? - visit.started_ns);
            }
            visits[key] = None;
            if phase != Phase::Drain {
                let visit = Visit::start(site, &request, started)?;
                poller.add(&visit.stream, key)?;
                visits[key] = Some(visit);
                started += 1;
            }
        }
    }
    window.sample(count, Some(latency))
}
