//! A connection is one socket: a slot, a generation, a receive lane and a send lane.
//!
//! Deliberately absent: descriptors (the engine has them), HTTP, timers.

pub mod op;
pub mod table;
pub mod token;

pub use op::{Addr, Completion, ConnectTo, Ends, Event, Handle, Load, Op, Pipe, Want};
pub use table::{ConnTable, Fate, Ops, Owner, Side};
pub use token::{ConnId, Lane, Token};
