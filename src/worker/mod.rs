//! The hallway: one single-threaded loop that carries completions to sessions and ops to an engine.

pub mod chunks;
pub mod mailbox;
pub mod wheel;
