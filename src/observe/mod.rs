//! What the outside sees: logs and counters.
//!
//! A worker has a [`log::Logs`] and a [`stats::Stats`] of its own and shares neither on the hot
//! path: lines are written and counters published once per turn.

pub mod files;
pub mod log;
pub mod stats;
