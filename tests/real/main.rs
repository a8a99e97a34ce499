//! The program on real sockets, on both real engines.
//!
//! A test plays the client and the upstream itself, with plain blocking sockets: it says what each
//! of them sends, and what each of them must get. No read and no write waits for ever, and nothing
//! waits for time to pass unless time is what is tested.

#[macro_use]
mod support;

mod answers;
mod carriers;
mod churn;
mod ends;
mod exchange;
mod full;
mod heads;
mod hostile;
mod idle_memory;
mod slow_reader;
mod spin;
mod timers;
mod upgrade;
mod websocket;
