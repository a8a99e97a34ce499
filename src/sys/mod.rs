//! The system beneath: memory lent to the kernel, sockets, processes.
//!
//! With `engine/uring.rs` the only home of `unsafe`; each block says who owns the memory and until
//! when. Deliberately absent: HTTP, configuration, policy.

#![allow(unsafe_code)]

pub mod buffer_ring;
pub mod buffers;
pub mod busy_poll;
pub mod clock;
pub mod eventfd;
pub mod listen;
pub mod pipe;
pub mod process;
pub mod ring;
pub mod socket;
