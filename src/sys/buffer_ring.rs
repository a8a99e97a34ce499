//! The ring through which an engine provides receive buffers to the kernel.
//!
//! Owns the memory of the *ring*: addresses, lengths and numbers. The buffers themselves belong to
//! a pool; from `publish` until a completion names its number, a buffer belongs to the kernel.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

/// A shared ring of buffer descriptions.
#[derive(Debug)]
pub struct BufferRing {
    memory: NonNull<BufRingEntry>,
    entries: u16,
    tail: u16,
}

impl BufferRing {
    /// A ring of `entries`, which is a power of two.
    ///
    /// # Errors
    /// The errno of `mmap(2)`.
    ///
    /// # Panics
    /// If `entries` is not a power of two.
    pub fn new(entries: u16) -> Result<Self, i32> {
        assert!(entries.is_power_of_two(), "a buffer ring of {entries} entries");
        // SAFETY: an anonymous private mapping aliases nothing; it is owned by the value returned
        // here until its `Drop`. A mapping begins at a page, as the kernel demands.
        let map = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::bytes(entries),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if map == libc::MAP_FAILED {
            return Err(super::socket::errno(&std::io::Error::last_os_error()));
        }
        let memory = NonNull::new(map.cast()).expect("mmap does not map page zero");
        Ok(Self { memory, entries, tail: 0 })
    }

    const fn bytes(entries: u16) -> usize {
        entries as usize * size_of::<BufRingEntry>()
    }

    /// The address to register.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.memory.as_ptr() as u64
    }

    /// How many buffers may be published at a time.
    #[must_use]
    pub const fn entries(&self) -> u16 {
        self.entries
    }

    /// Where the next buffer will be published.
    #[must_use]
    pub const fn position(&self) -> u16 {
        self.tail & (self.entries - 1)
    }

    /// How long the buffer at a position is, by the ring. The kernel's source (6.17) lets it
    /// shorten the entry of a buffer that it offers to a bundle with a bound; an entry left so by a
    /// receive that brought nothing would be short for whoever is served next. Not seen to happen.
    #[must_use]
    pub fn len_at(&self, position: u16) -> usize {
        let index = usize::from(position & (self.entries - 1));
        // SAFETY: `index < entries`, so the entry lies inside the mapping.
        let entry = unsafe { self.memory.as_ptr().add(index) };
        // SAFETY: the entry is initialised: a position is known from a publication. The kernel may
        // write to it, hence not through a reference, and not once its buffer was handed out.
        let len = unsafe { std::ptr::read_volatile(entry) }.len();
        len as usize
    }

    /// Gives a buffer to the kernel under a number.
    ///
    /// # Safety
    /// The `len` bytes at `address` stay valid, and nobody else touches them, until a completion
    /// brings the number back or the ring is gone. At most `entries` buffers are published.
    pub unsafe fn publish(&mut self, number: u16, address: *mut u8, len: u32) {
        let index = usize::from(self.tail & (self.entries - 1));
        // SAFETY: `index < entries`, so the entry lies inside the mapping.
        let entry = unsafe { self.memory.as_ptr().add(index) };
        // SAFETY: the kernel reads no entry at or beyond the tail, and this one is at the tail; the
        // reference ends before the tail moves. The field under the tail itself is not written.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address as u64);
        entry.set_len(len);
        entry.set_bid(number);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the mapping begins with an entry, in which the tail is a field.
        let tail = unsafe { BufRingEntry::tail(self.memory.as_ptr()) };
        // SAFETY: the tail is aligned and lives as long as the mapping; the kernel only reads it.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // The kernel must see the entry before the tail that covers it.
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, unmapped once. The ring is declared after the
        // io_uring that it is registered with, so the kernel has let go of it; and registering
        // pinned the pages, so even a late reader reads its own.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), Self::bytes(self.entries)) };
    }
}
