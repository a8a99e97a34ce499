//! An allocator that counts what one chosen thread asks of it, and keeps where it asked first.
//!
//! All memory comes from the system's allocator. Deliberately absent: any judgement of what is
//! too much.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::unistd::{Pid, gettid};

/// The allocator of the whole test program.
#[derive(Debug)]
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The thread that is watched; 0 for none.
static WATCHED: AtomicI32 = AtomicI32::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);
/// Where the watched thread asked first.
static FIRST: Mutex<Option<Backtrace>> = Mutex::new(None);

thread_local! {
    /// True exactly while this thread keeps a backtrace, which allocates.
    static KEEPING: Cell<bool> = const { Cell::new(false) };
}

/// What a thread asked of the allocator while it was watched.
#[derive(Debug)]
pub(crate) struct Count {
    /// Calls that gave memory, changed sizes included.
    pub(crate) allocated: u64,
    /// Calls that took memory back.
    pub(crate) freed: u64,
    /// Where the first of them came from.
    pub(crate) first: Option<Backtrace>,
}

/// Counts what a thread asks for while `act` runs, on whatever thread that is.
pub(crate) fn watch(thread: Pid, act: impl FnOnce()) -> Count {
    ALLOCATED.store(0, Ordering::SeqCst);
    FREED.store(0, Ordering::SeqCst);
    *FIRST.lock().unwrap_or_else(PoisonError::into_inner) = None;
    WATCHED.store(thread.as_raw(), Ordering::SeqCst);
    act();
    WATCHED.store(0, Ordering::SeqCst);
    Count {
        allocated: ALLOCATED.load(Ordering::SeqCst),
        freed: FREED.load(Ordering::SeqCst),
        first: FIRST.lock().unwrap_or_else(PoisonError::into_inner).take(),
    }
}

fn note(counter: &AtomicU64) {
    let watched = WATCHED.load(Ordering::Relaxed);
    if watched == 0 || gettid().as_raw() != watched || KEEPING.get() {
        return;
    }
    counter.fetch_add(1, Ordering::SeqCst);
    KEEPING.set(true);
    let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    if first.is_none() {
        *first = Some(Backtrace::force_capture());
    }
    drop(first);
    KEEPING.set(false);
}

// SAFETY: every call goes to the system's allocator with the arguments it came with; counting
// touches no memory of the caller's and cannot unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(&ALLOCATED);
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(&ALLOCATED);
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(&ALLOCATED);
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note(&FREED);
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.dealloc(memory, layout) }
    }
}
