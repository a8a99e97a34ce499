//! HTTP/1.1 as values: heads, body framing, rewriting, the upgrade rules. No socket, no clock.

pub mod variables;
