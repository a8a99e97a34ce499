//! An io_uring: typed submissions, one entry into the kernel per turn, completions as values.
//!
//! Owns the queues and the ring of provided buffers. A submission that finds the queue full makes
//! the kernel take the queue first; if the kernel cannot (its completion queue overflows), the
//! submission waits in a backlog. Nothing is lost either way: the kernel keeps completions that
//! find no room (`IORING_FEAT_NODROP`) and hands them out at a later entry.
//!
//! Must be used on the thread that made it (`IORING_SETUP_SINGLE_ISSUER`). Deliberately absent:
//! which connection an operation is for; a completion is known by the 64 bits it was given.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::squeue::{self, Flags};
use io_uring::types::{CancelBuilder, Fd, Napi, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use socket2::SockAddr;

use super::buffer_ring::BufferRing;
use super::socket::errno;

/// The group of buffers that receives choose from; there is one.
const BUFFER_GROUP: u16 = 0;

/// `IORING_RECVSEND_POLL_FIRST`: do not try, wait for input first.
const POLL_FIRST: u16 = 1;

/// `IORING_RECV_MULTISHOT`: receive again and again.
const MULTISHOT: u16 = 1 << 1;

/// `IORING_RECVSEND_BUNDLE`: fill several provided buffers at once (Linux 6.10).
const BUNDLE: u16 = 1 << 4;

/// For descriptors that have no position.
const NO_OFFSET: i64 = -1;

/// `IORING_ENTER_GETEVENTS`: run deferred work and fill the completion queue.
const ENTER_GETEVENTS: u32 = 1;

/// A submission as the kernel reads it (`struct io_uring_sqe`), for what the crate has no words
/// for: a bundle with a length, and the bound on all of a multishot receive (Linux 6.17).
#[derive(Default)]
#[repr(C)]
struct Raw {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    off: u64,
    addr: u64,
    len: u32,
    op_flags: u32,
    user_data: u64,
    buf_group: u16,
    personality: u16,
    /// `optlen`; elsewhere `splice_fd_in` and others.
    optlen: u32,
    more: [u64; 2],
}

const _: () = assert!(size_of::<Raw>() == size_of::<squeue::Entry>());

impl From<Raw> for squeue::Entry {
    fn from(raw: Raw) -> Self {
        // SAFETY: both are the 64 plain bytes of an `io_uring_sqe`, for which every value is valid.
        unsafe { std::mem::transmute(raw) }
    }
}

/// One completion.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// The bits the operation was submitted with.
    pub bits: u64,
    /// The result, or a negative errno.
    pub result: i32,
    flags: u32,
}

impl Done {
    /// The provided buffer that comes back with it.
    #[must_use]
    pub fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// Whether the operation goes on and will complete again.
    #[must_use]
    pub fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// Whether the socket held still more input after this receive.
    #[must_use]
    pub fn socket_nonempty(&self) -> bool {
        cqueue::sock_nonempty(self.flags)
    }
}

/// How long an entry into the kernel may block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patience {
    /// Not at all.
    None,
    /// Until a completion is there, at most so many nanoseconds.
    Ns(u64),
    /// Until a completion is there.
    Endless,
}

/// A ring and its provided buffers.
pub struct Ring {
    // Declared first, dropped first: the kernel lets go of the buffer ring before its memory goes.
    uring: IoUring,
    buffers: BufferRing,
    backlog: VecDeque<squeue::Entry>,
    /// Operations that the kernel will still complete.
    in_flight: usize,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

impl Ring {
    /// Sets up queues of these sizes and a ring for `buffers` provided buffers (a power of two).
    ///
    /// # Errors
    /// The system call that failed, and its errno.
    pub fn new(
        submissions: u32,
        completions: u32,
        buffers: u16,
    ) -> Result<Self, (&'static str, i32)> {
        let uring = IoUring::builder()
            // One thread submits, and completions are made when it waits: no interrupts between.
            .setup_single_issuer()
            .setup_defer_taskrun()
            // Deferred work shows in memory, for who looks instead of waiting.
            .setup_taskrun_flag()
            // A bad submission reports by itself and does not hold up those behind it.
            .setup_submit_all()
            .setup_cqsize(completions)
            .setup_clamp()
            .build(submissions)
            .map_err(|error| ("io_uring_setup", errno(&error)))?;
        let buffers =
            BufferRing::new(buffers).map_err(|errno| ("mmap for a buffer ring", errno))?;
        // SAFETY: the memory belongs to `buffers`, which outlives `uring` (field order) and has
        // the registered number of entries.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(
                buffers.address(),
                buffers.entries(),
                BUFFER_GROUP,
                0,
            )
        }
        .map_err(|error| ("io_uring_register of a buffer ring", errno(&error)))?;
        Ok(Self { uring, buffers, backlog: VecDeque::new(), in_flight: 0 })
    }

    /// How many operations the kernel will still complete.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The ring of provided buffers.
    pub const fn buffers(&mut self) -> &mut BufferRing {
        &mut self.buffers
    }

    /// Receives once into a provided buffer of `len` bytes; `poll_first` if probably nothing is
    /// there yet.
    pub fn recv(&mut self, fd: BorrowedFd<'_>, len: u32, poll_first: bool, bits: u64) {
        let entry = opcode::Recv::new(Fd(fd.as_raw_fd()), std::ptr::null_mut(), len)
            .buf_group(BUFFER_GROUP)
            .ioprio(if poll_first { POLL_FIRST } else { 0 })
            .build()
            .flags(Flags::BUFFER_SELECT);
        // SAFETY: the kernel writes only into provided buffers, whose memory was promised to
        // `BufferRing::publish`.
        unsafe { self.push(entry.user_data(bits)) };
    }

    /// Receives into provided buffers until `total` bytes have come, filling as many of them per
    /// completion as hold `burst` bytes; `total` 0 receives `burst` bytes once, `burst` 0 fills one
    /// buffer at a time.
    pub fn recv_bundle(
        &mut self,
        fd: BorrowedFd<'_>,
        burst: u32,
        total: u32,
        poll_first: bool,
        bits: u64,
    ) {
        let entry = bundle(fd.as_raw_fd(), burst, total, poll_first, bits);
        // SAFETY: the kernel writes only into provided buffers, whose memory was promised to
        // `BufferRing::publish`.
        unsafe { self.push(entry.into()) };
    }

    /// Whether the kernel knows such a bundled receive. Asked on a ring that has nothing in flight,
    /// by trying it on no descriptor: what the kernel does not know it refuses before it looks for
    /// one.
    pub fn knows_bundles(&mut self, burst: u32, total: u32, bits: u64) -> bool {
        // SAFETY: the operation fails before it could touch any memory.
        unsafe { self.push(bundle(-1, burst, total, false, bits).into()) };
        let mut done = Vec::new();
        let entered = self.enter(Patience::None).is_ok();
        self.take(1, &mut done);
        entered && matches!(done[..], [Done { result, .. }] if result == -libc::EBADF)
    }

    /// Receives once into memory of the caller's.
    ///
    /// # Safety
    /// The `len` bytes at `bytes` stay valid, and nobody else touches them, until the completion.
    pub unsafe fn recv_into(&mut self, fd: BorrowedFd<'_>, bytes: *mut u8, len: u32, bits: u64) {
        let entry = opcode::Recv::new(Fd(fd.as_raw_fd()), bytes, len).build().user_data(bits);
        // SAFETY: promised by the caller.
        unsafe { self.push(entry) };
    }

    /// Sends once, as much as fits.
    ///
    /// # Safety
    /// The `len` bytes at `bytes` stay valid and unchanged until the completion.
    pub unsafe fn send(&mut self, fd: BorrowedFd<'_>, bytes: *const u8, len: u32, bits: u64) {
        let entry = opcode::Send::new(Fd(fd.as_raw_fd()), bytes, len)
            .flags(libc::MSG_NOSIGNAL)
            .build()
            .user_data(bits);
        // SAFETY: promised by the caller.
        unsafe { self.push(entry) };
    }

    /// Sends the pieces that a message names, once, as much as fits.
    ///
    /// # Safety
    /// The message and its pieces stay valid and unchanged until the completion.
    pub unsafe fn send_pieces(
        &mut self,
        fd: BorrowedFd<'_>,
        message: *const libc::msghdr,
        bits: u64,
    ) {
        let entry = opcode::SendMsg::new(Fd(fd.as_raw_fd()), message)
            .flags(libc::MSG_NOSIGNAL.unsigned_abs())
            .build()
            .user_data(bits);
        // SAFETY: promised by the caller.
        unsafe { self.push(entry) };
    }

    /// Connects.
    ///
    /// # Safety
    /// `to` stays where it is until the completion.
    pub unsafe fn connect(&mut self, fd: BorrowedFd<'_>, to: &SockAddr, bits: u64) {
        let addr = to.as_ptr().cast();
        let entry = opcode::Connect::new(Fd(fd.as_raw_fd()), addr, to.len()).build();
        // SAFETY: promised by the caller.
        unsafe { self.push(entry.user_data(bits)) };
    }

    /// Accepts clients until cancelled; each completion brings a non-blocking descriptor.
    pub fn accept_all(&mut self, listener: BorrowedFd<'_>, bits: u64) {
        let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd()))
            .flags(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
            .build();
        // SAFETY: the operation touches no memory of ours.
        unsafe { self.push(entry.user_data(bits)) };
    }

    /// Reports whenever the descriptor becomes readable, until cancelled.
    pub fn poll_readable(&mut self, fd: BorrowedFd<'_>, bits: u64) {
        let readable = u32::try_from(libc::POLLIN).expect("a poll flag is positive");
        let entry = opcode::PollAdd::new(Fd(fd.as_raw_fd()), readable).multi(true).build();
        // SAFETY: the operation touches no memory of ours.
        unsafe { self.push(entry.user_data(bits)) };
    }

    /// Reports once when the descriptor is ready for one of these events of `poll(2)`.
    pub fn poll_once(&mut self, fd: BorrowedFd<'_>, events: i16, bits: u64) {
        let events = u32::from(events.unsigned_abs());
        let entry = opcode::PollAdd::new(Fd(fd.as_raw_fd()), events).build();
        // SAFETY: the operation touches no memory of ours.
        unsafe { self.push(entry.user_data(bits)) };
    }

    /// Moves up to `len` bytes between two descriptors, one of them a pipe, without waiting. With
    /// `leads` the next submission begins when this one has ended, in whatever way; should the two
    /// reach the kernel apart, they run side by side. The kernel looks both descriptors up when the
    /// operation begins, so neither may be closed before it has completed.
    pub fn splice(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        len: u32,
        leads: bool,
        bits: u64,
    ) {
        let (from, to) = (Fd(from.as_raw_fd()), Fd(to.as_raw_fd()));
        let flags = if leads { Flags::IO_HARDLINK } else { Flags::empty() };
        let entry = opcode::Splice::new(from, NO_OFFSET, to, NO_OFFSET, len)
            .flags(libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK)
            .build()
            .flags(flags);
        // SAFETY: the operation touches no memory of ours.
        unsafe { self.push(entry.user_data(bits)) };
    }

    /// Bounds the kernel threads that do what a ring cannot do by itself, splices above all.
    ///
    /// # Errors
    /// The kernel's errno; EINVAL before Linux 5.15.
    pub fn bound_workers(&self, count: u32) -> Result<(), i32> {
        let register = self.uring.submitter().register_iowq_max_workers(&mut [count; 2]);
        register.map_err(|error| errno(&error))
    }

    /// Cancels all operations on a descriptor.
    pub fn cancel_fd(&mut self, fd: BorrowedFd<'_>, bits: u64) {
        self.cancel(CancelBuilder::fd(Fd(fd.as_raw_fd())).all(), bits);
    }

    /// Cancels the operation that was submitted with the bits `target`.
    pub fn cancel_bits(&mut self, target: u64, bits: u64) {
        self.cancel(CancelBuilder::user_data(target), bits);
    }

    /// Cancels everything.
    pub fn cancel_everything(&mut self, bits: u64) {
        self.cancel(CancelBuilder::any(), bits);
    }

    fn cancel(&mut self, which: CancelBuilder, bits: u64) {
        let entry = opcode::AsyncCancel2::new(which).build().user_data(bits);
        // SAFETY: the operation touches no memory of ours.
        unsafe { self.push(entry) };
    }

    /// Queues a submission; if there is no room, the kernel takes what is queued first.
    ///
    /// # Safety
    /// Memory that the entry points to stays valid until its last completion.
    unsafe fn push(&mut self, entry: squeue::Entry) {
        self.in_flight += 1;
        self.backlog.push_back(entry);
        self.flush_backlog();
        if !self.backlog.is_empty() {
            // A failure here shows again at the next `enter`, which deals with it.
            let _ = self.uring.submit();
            self.flush_backlog();
        }
    }

    /// Moves submissions from the backlog into the queue, in order.
    fn flush_backlog(&mut self) {
        let mut queue = self.uring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: the callers of `push` promised the entry's memory until its completion.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            self.backlog.pop_front();
        }
    }

    /// Submits, runs deferred work, and waits for a completion as long as patience lasts. May end
    /// early, without a completion.
    ///
    /// # Errors
    /// An errno that cannot pass by itself: a sandbox denies the call.
    pub fn enter(&mut self, patience: Patience) -> Result<(), i32> {
        self.flush_backlog();
        let outcome = match patience {
            _ if !self.backlog.is_empty() => self.enter_now(),
            Patience::None => self.enter_now(),
            Patience::Endless => self.uring.submit_and_wait(1),
            Patience::Ns(ns) => {
                const NS_PER_S: u64 = 1_000_000_000;
                let fraction = u32::try_from(ns % NS_PER_S).expect("less than a second");
                let timeout = Timespec::new().sec(ns / NS_PER_S).nsec(fraction);
                self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
        };
        match outcome.map_err(|error| errno(&error)) {
            // Time is up, a signal came, completions must be taken before more can be submitted,
            // or the kernel is short of memory for a moment: the caller comes again.
            Ok(_) | Err(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn enter_now(&mut self) -> std::io::Result<usize> {
        let queued = u32::try_from(self.uring.submission().len()).expect("a queue is bounded");
        let nothing: Option<&libc::sigset_t> = None;
        // SAFETY: no argument is passed, and the number of submissions is the queue's own.
        unsafe { self.uring.submitter().enter(queued, 0, ENTER_GETEVENTS, nothing) }
    }

    /// Lets waits poll the queues of network cards that the sockets' packets came from, for so many
    /// microseconds, before they sleep (NAPI busy polling). Sockets without a card, such as those
    /// on the loopback, are not polled and cost nothing.
    ///
    /// # Errors
    /// EINVAL before Linux 6.9, EOPNOTSUPP from a kernel built without, or what a sandbox says.
    pub fn poll_cards(&self, us: u32) -> Result<(), i32> {
        let mut napi = Napi::new().set_busy_poll_timeout(us).set_prefer_busy_poll(true);
        self.uring.submitter().register_napi(&mut napi).map_err(|error| errno(&error))
    }

    /// Whether an entry would find something: completions to take, or work to do. Looks at memory
    /// only, so it may be asked over and over.
    #[must_use]
    pub fn has_news(&mut self) -> bool {
        !self.uring.completion().is_empty() || self.has_work()
    }

    /// Whether the kernel has work that it does only when it is entered (deferred work, completions
    /// that found no room).
    #[must_use]
    pub fn has_work(&mut self) -> bool {
        let queue = self.uring.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    /// Takes at most `limit` completions.
    pub fn take(&mut self, limit: usize, into: &mut Vec<Done>) {
        let taken = self.uring.completion().take(limit).map(|entry| Done {
            bits: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        });
        let before = into.len();
        into.extend(taken);
        self.in_flight -= into[before..].iter().filter(|done| !done.more()).count();
    }
}

/// A bundled receive into provided buffers, see [`Ring::recv_bundle`].
fn bundle(fd: i32, burst: u32, total: u32, poll_first: bool, bits: u64) -> Raw {
    let kind = if burst > 0 { BUNDLE } else { 0 } | if total > 0 { MULTISHOT } else { 0 };
    Raw {
        opcode: opcode::Recv::CODE,
        flags: Flags::BUFFER_SELECT.bits(),
        ioprio: kind | if poll_first { POLL_FIRST } else { 0 },
        fd,
        len: burst,
        user_data: bits,
        buf_group: BUFFER_GROUP,
        optlen: total,
        ..Raw::default()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn full_queues_lose_nothing() {
        // Skipped by returning where io_uring is denied: the engines' own tests say why.
        let Ok(mut ring) = Ring::new(4, 8, 2) else { return };
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(b"x").unwrap();
        let mut seen = Vec::new();
        for bits in 0..1000 {
            ring.poll_readable(far.as_fd(), bits);
        }
        for _ in 0..2000 {
            ring.enter(Patience::None).unwrap();
            ring.take(3, &mut seen);
        }
        let bits: std::collections::HashSet<u64> = seen.iter().map(|done| done.bits).collect();
        assert_eq!(bits.len(), 1000);
        ring.cancel_everything(u64::MAX);
        for _ in 0..2000 {
            ring.enter(Patience::None).unwrap();
            ring.take(16, &mut seen);
        }
        assert_eq!(ring.in_flight(), 0);
    }

    #[test]
    fn patience_ends() {
        let Ok(mut ring) = Ring::new(4, 8, 2) else { return };
        let start = crate::sys::clock::monotonic_ns();
        ring.enter(Patience::Ns(20_000_000)).unwrap();
        assert!(crate::sys::clock::monotonic_ns() - start >= 20_000_000);
        ring.enter(Patience::Ns(0)).unwrap();
    }
}
