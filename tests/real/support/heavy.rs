//! Tests that need the machine, or its descriptors, for themselves.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Waits until no other heavy test runs; they take thousands of descriptors of this process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static HEAVY: Mutex<()> = Mutex::new(());
    HEAVY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many of `wanted` things, each with so many descriptors of this process, the system has room
/// for; raises the soft limit as far as it must, and says on standard output if it is not enough.
pub(crate) fn room_for(wanted: usize, descriptors_each: usize) -> usize {
    const OTHER_TESTS: u64 = 500;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let need = (wanted * descriptors_each) as u64 + OTHER_TESTS;
    if soft < need {
        setrlimit(Resource::RLIMIT_NOFILE, need.min(hard), hard).unwrap();
    }
    if hard >= need {
        return wanted;
    }
    let room = usize::try_from(hard - OTHER_TESTS).unwrap() / descriptors_each;
    println!("only {room} instead of {wanted}: a process may have {hard} descriptors here");
    room
}
