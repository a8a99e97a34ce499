//! HTTP/1.1 as values: heads, body framing, rewriting, the upgrade rules. No socket, no clock.

pub mod facts;
pub mod fields;
pub mod head;
mod map;
mod names;
pub mod scanner;
pub mod template;
pub mod time;
pub mod uri;
pub mod variables;
