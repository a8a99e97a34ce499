//! Memory that may be lent to the kernel: a fixed base and single buffers that come and go.
//!
//! Owned by a worker's pool ([`Chunks`](crate::worker::chunks::Chunks)), which decides who may
//! touch which buffer. Reached through raw pointers only, because the kernel writes into it behind
//! the compiler's back. A base buffer lives as long as the pool; a grown one until `shrink`.

use std::io::IoSliceMut;
use std::ptr::NonNull;

/// A base of equal buffers in one mapping, and grown ones beside it.
#[derive(Debug)]
pub struct Buffers {
    base: NonNull<u8>,
    base_count: usize,
    buffer_bytes: usize,
    /// Grown buffers by number minus `base_count`; `None` where one was given back.
    grown: Vec<Option<NonNull<u8>>>,
    grown_live: usize,
    vacant: Vec<u32>,
}

impl Buffers {
    /// Maps `count` buffers of `bytes` each, and lists `grown` more before that allocates.
    ///
    /// # Panics
    /// If the system refuses the memory: a worker cannot run without its pool.
    #[must_use]
    pub fn new(count: usize, bytes: usize, grown: usize) -> Self {
        let len = count.checked_mul(bytes).expect("a pool fits the address space");
        let base = map(len).unwrap_or_else(|| {
            panic!("no memory for {count} buffers of {bytes} bytes");
        });
        Self {
            base,
            base_count: count,
            buffer_bytes: bytes,
            grown: Vec::with_capacity(grown),
            grown_live: 0,
            vacant: Vec::with_capacity(grown),
        }
    }

    /// Makes the system give the base its memory now instead of at the first touch of each page.
    /// If it does not (before Linux 5.14), the memory comes as it is touched.
    pub fn populate(&self) {
        let len = self.base_count * self.buffer_bytes;
        // SAFETY: the mapping made in `new`, owned by `self`; the advice changes no byte of it.
        unsafe { libc::madvise(self.base.as_ptr().cast(), len, libc::MADV_POPULATE_WRITE) };
    }

    /// How many buffers have memory.
    #[must_use]
    pub const fn live(&self) -> usize {
        self.base_count + self.grown_live
    }

    /// Whether the buffer belongs to the base.
    #[must_use]
    pub const fn is_base(&self, id: u32) -> bool {
        (id as usize) < self.base_count
    }

    /// Adds one buffer and returns its number; `None` if the system has no memory.
    pub fn grow(&mut self) -> Option<u32> {
        let memory = map(self.buffer_bytes)?;
        self.grown_live += 1;
        if let Some(id) = self.vacant.pop() {
            self.grown[id as usize - self.base_count] = Some(memory);
            return Some(id);
        }
        self.grown.push(Some(memory));
        let id = self.base_count + self.grown.len() - 1;
        Some(u32::try_from(id).expect("buffer numbers fit 32 bits"))
    }

    /// Gives a grown buffer back to the system.
    ///
    /// # Panics
    /// If the number is not a grown buffer's.
    pub fn shrink(&mut self, id: u32) {
        let slot = &mut self.grown[id as usize - self.base_count];
        let memory = slot.take().expect("a grown buffer is given back once");
        // SAFETY: a mapping of this length made in `grow`, and taking it out of its slot makes this
        // the only release. The pool holds the last claim on it.
        unsafe { libc::munmap(memory.as_ptr().cast(), self.buffer_bytes) };
        self.grown_live -= 1;
        self.vacant.push(id);
    }

    /// Where a buffer begins.
    ///
    /// # Panics
    /// If there is no such buffer.
    #[must_use]
    pub fn address(&self, id: u32) -> *mut u8 {
        let index = id as usize;
        if index < self.base_count {
            // SAFETY: `index < base_count`, so the offset stays inside the mapping.
            return unsafe { self.base.as_ptr().add(index * self.buffer_bytes) };
        }
        self.grown[index - self.base_count].expect("the buffer is live").as_ptr()
    }

    /// A buffer's bytes.
    #[must_use]
    pub fn bytes(&self, id: u32) -> &[u8] {
        // SAFETY: the buffer is live while `self` is borrowed, and initialised: mapped and
        // grown memory both start as zeros. The pool's move-only claims keep the kernel and other
        // holders away meanwhile.
        unsafe { std::slice::from_raw_parts(self.address(id), self.buffer_bytes) }
    }

    /// Lends several different buffers at once.
    ///
    /// # Panics
    /// If a buffer is named twice.
    pub fn lend_several<'a>(&'a mut self, ids: &[u32], into: &mut [IoSliceMut<'a>]) {
        for (index, (&id, piece)) in ids.iter().zip(into).enumerate() {
            assert!(!ids[..index].contains(&id), "buffer {id} is lent twice");
            // SAFETY: as in `bytes`; the exclusive borrow of `self` lasts as long as the slice, and
            // no other slice made here is of the same buffer.
            let bytes =
                unsafe { std::slice::from_raw_parts_mut(self.address(id), self.buffer_bytes) };
            *piece = IoSliceMut::new(bytes);
        }
    }

    /// Copies `len` bytes from one buffer to another one, where they have room; false, and nothing
    /// happens, if they have not, or if it is the same buffer.
    pub fn copy_between(
        &mut self,
        from: u32,
        start: usize,
        to: u32,
        at: usize,
        len: usize,
    ) -> bool {
        let room = self.buffer_bytes;
        if from == to || start + len > room || at + len > room {
            return false;
        }
        let (source, target) = (self.address(from), self.address(to));
        // SAFETY: inside the buffer, as checked above.
        let source = unsafe { source.add(start) };
        // SAFETY: inside the buffer, as checked above.
        let target = unsafe { target.add(at) };
        // SAFETY: two different live buffers, and the exclusive borrow of `self` excludes slices of
        // either; the pool's move-only claims keep the kernel away.
        unsafe { std::ptr::copy_nonoverlapping(source, target, len) };
        true
    }

    /// A buffer's bytes, to write.
    #[must_use]
    pub fn bytes_mut(&mut self, id: u32) -> &mut [u8] {
        // SAFETY: as in `bytes`; the exclusive borrow of `self` excludes other slices.
        unsafe { std::slice::from_raw_parts_mut(self.address(id), self.buffer_bytes) }
    }
}

/// Zeroed memory of its own, in whole pages: given back, it is the system's again, which freed heap
/// memory between longer-lived allocations would not be.
fn map(len: usize) -> Option<NonNull<u8>> {
    // SAFETY: an anonymous private mapping aliases nothing; it is the caller's until its release.
    let map = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if map == libc::MAP_FAILED { None } else { NonNull::new(map.cast()) }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        for memory in self.grown.iter().flatten() {
            // SAFETY: a mapping of this length made in `grow`, still in its slot, so not released.
            unsafe { libc::munmap(memory.as_ptr().cast(), self.buffer_bytes) };
        }
        // SAFETY: the mapping made in `new`, unmapped once. A worker that dies with operations in
        // flight forgets its pool instead of dropping it, so the kernel holds nothing here.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.base_count * self.buffer_bytes) };
    }
}
