//! Tunnels at rest: what they keep, in the proxy and in the kernel.
//!
//! Memory is read after a first part of the tunnels and after all of them. The slope between the
//! two is what a tunnel costs beyond everything that a proxy keeps anyway; the difference to a
//! proxy without any tunnel has the fixed pools in it.

use std::io::{self, Read};
use std::net::TcpStream;

use crate::frame::{Decoder, Party, Pattern};
use crate::load::{Sample, Site, ended};
use crate::poller;

/// Bytes of the one message that each tunnel carries.
const SIZE: usize = 128;
/// The part of the tunnels that comes first.
const FIRST: usize = 5;

pub(super) fn run(site: &Site<'_>, tunnels: usize) -> io::Result<Sample> {
    let mut pattern = Pattern::new(SIZE);
    let mut window = site.window_without_warmth()?;
    window.phase(poller::now_ns()?)?;
    let none = site.meter.memory()?;
    let first = tunnels / FIRST;
    let mut open = site.open("/echo", first)?;
    echo(&open, &mut pattern)?;
    let some = site.meter.memory()?;
    open.extend(site.open("/echo", tunnels - first)?);
    echo(&open[first..], &mut pattern)?;
    let all = site.meter.memory()?;
    // They must not only be cheap but alive.
    echo(&open, &mut pattern)?;
    window.close()?;
    let mut sample = window.sample(tunnels as u64, None)?;
    let slope =
        |before: u64, after: u64, count: usize| (after as f64 - before as f64) / count as f64;
    let rest = tunnels - first;
    sample.metrics.extend([
        ("process", slope(some.shared_out, all.shared_out, rest)),
        ("process_private", slope(some.private, all.private, rest)),
        ("process_all", slope(none.shared_out, all.shared_out, tunnels)),
        ("process_none", none.shared_out as f64),
        ("kernel", slope(some.slab, all.slab, rest)),
    ]);
    Ok(sample)
}

/// Sends a message through each of the tunnels and awaits its echo.
fn echo(tunnels: &[TcpStream], pattern: &mut Pattern) -> io::Result<()> {
    let mut buffer = [0; 4 * SIZE];
    for (index, mut stream) in tunnels.iter().enumerate() {
        stream.set_nonblocking(false)?;
        let stamp = index as u64;
        pattern.send(stream, Party::Client, stamp, 0)?;
        let mut decoder = Decoder::default();
        let mut is_complete = false;
        while !is_complete {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Err(ended());
            }
            let mut rest = &buffer[..count];
            while let Some(piece) = decoder.next(&mut rest)? {
                pattern.check(&piece, stamp)?;
                is_complete = piece.last;
            }
        }
    }
    Ok(())
}
