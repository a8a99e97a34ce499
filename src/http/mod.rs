//! HTTP/1.1 as values: heads, body framing, rewriting, the upgrade rules. No socket, no clock.
//!
//! A request's way through this room: [`scanner`] finds the end of its head, [`head`] parses it,
//! [`framing`] says where its body ends, [`upgrade`] whether it wants another protocol, [`rewrite`]
//! writes the heads for the other side, [`answer`] those of our own; [`facts`] and [`variables`]
//! are for the headers and log lines that a configuration composes.

pub mod answer;
pub mod chunked;
pub mod facts;
pub mod fields;
pub mod framing;
pub mod head;
mod hop;
mod map;
mod names;
pub mod rewrite;
pub mod scanner;
pub mod template;
pub mod time;
pub mod upgrade;
pub mod uri;
pub mod variables;
