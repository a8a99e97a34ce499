//! Waiting for sockets and for moments: epoll, edge-triggered, and timers that do not drift.
//!
//! Everything here reads `CLOCK_MONOTONIC`, which load and backend share although they are two
//! processes: a moment written into a message by one of them means the same to the other.

use std::io::{self, IoSliceMut, Read};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::sched_yield;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// Events taken in one call: more would only make the first of them older.
const BATCH: usize = 512;

/// Nanoseconds of the monotonic clock.
pub(crate) fn now_ns() -> io::Result<u64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    Ok(nanoseconds(Duration::from(now)))
}

/// A length of time in whole nanoseconds; five centuries are enough.
pub(crate) fn nanoseconds(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// A set of descriptors, each with a key that comes back when something happens to it.
pub(crate) struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); BATCH] })
    }

    /// Watches a descriptor for both directions, by edges, until it is closed.
    pub(crate) fn add(&self, descriptor: impl AsFd, key: usize) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP;
        let event = EpollEvent::new(flags | EpollFlags::EPOLLET, key as u64);
        Ok(self.epoll.add(descriptor, event)?)
    }

    /// As [`Poller::wait`], but without letting the CPU fall asleep, or its waking would be
    /// measured: looks again and again until something happened or the moment came, and lets the
    /// backend run in between. Returns the nanoseconds it waited, those of the backend included.
    pub(crate) fn spin(&mut self, keys: &mut Vec<usize>, until_ns: u64) -> io::Result<u64> {
        self.wait(keys, 0)?;
        let start_ns = now_ns()?;
        let mut seen_ns = start_ns;
        while keys.is_empty() && seen_ns < until_ns {
            sched_yield()?;
            self.wait(keys, 0)?;
            seen_ns = now_ns()?;
        }
        Ok(seen_ns - start_ns)
    }

    /// Puts the keys of what happened into `keys`, in place of what is there. Returns after
    /// `timeout_ms` at the latest.
    pub(crate) fn wait(&mut self, keys: &mut Vec<usize>, timeout_ms: u8) -> io::Result<()> {
        keys.clear();
        let count = match self.epoll.wait(&mut self.events, timeout_ms) {
            Err(Errno::EINTR) => 0,
            outcome => outcome?,
        };
        let key = |event: &EpollEvent| usize::try_from(event.data()).unwrap_or(usize::MAX);
        keys.extend(self.events[..count].iter().map(key));
        Ok(())
    }
}

/// A timer that fires at `start`, then every `interval`; a [`Poller`] sees it.
pub(crate) struct Ticker {
    timer: TimerFd,
}

impl Ticker {
    pub(crate) fn new(start_ns: u64, interval: Duration) -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let start = TimeSpec::from_duration(Duration::from_nanos(start_ns));
        let expiration = Expiration::IntervalDelayed(start, TimeSpec::from_duration(interval));
        timer.set(expiration, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        Ok(Self { timer })
    }

    /// Takes note that it fired: the kernel goes on with the next interval only then.
    pub(crate) fn note(&self) -> io::Result<()> {
        match self.timer.wait() {
            Ok(()) | Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Ticker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

/// What a read found.
pub(crate) enum Got {
    /// This many bytes, at least one.
    Bytes(usize),
    /// Nothing now.
    Later,
    /// The end of the stream.
    End,
}

/// Reads once.
pub(crate) fn read(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Got> {
    for _ in 0..16 {
        return match stream.read(buffer) {
            Ok(0) => Ok(Got::End),
            Ok(count) => Ok(Got::Bytes(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Got::Later),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
    Ok(Got::Later)
}

/// How far the clock of the wall, by which the kernel notes arrivals, is ahead of the monotonic
/// one. It is not set in the middle of a measurement, or the figures show it.
pub(crate) fn real_time_ahead_ns() -> io::Result<u64> {
    let before_ns = now_ns()?;
    let real = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME)?;
    let after_ns = now_ns()?;
    Ok(nanoseconds(Duration::from(real)) - (before_ns + (after_ns - before_ns) / 2))
}

/// Lets the kernel note when bytes arrive at a socket, for [`read_noted`].
pub(crate) fn note_arrivals(stream: &TcpStream) -> io::Result<()> {
    Ok(setsockopt(stream, ReceiveTimestampns, &true)?)
}

/// Reads once, and says when the last byte of it arrived, by the clock of the wall.
pub(crate) fn read_noted(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<(Got, Option<u64>)> {
    let mut notes = nix::cmsg_space!(TimeSpec);
    let mut slices = [IoSliceMut::new(buffer)];
    let descriptor = stream.as_raw_fd();
    let message = recvmsg::<()>(descriptor, &mut slices, Some(&mut notes), MsgFlags::MSG_DONTWAIT);
    let message = match message {
        Ok(message) => message,
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok((Got::Later, None)),
        Err(error) => return Err(error.into()),
    };
    let arrived = |note| match note {
        ControlMessageOwned::ScmTimestampns(time) => Some(nanoseconds(Duration::from(time))),
        _ => None,
    };
    let arrived_ns = message.cmsgs()?.find_map(arrived);
    let got = if message.bytes == 0 { Got::End } else { Got::Bytes(message.bytes) };
    Ok((got, arrived_ns))
}
