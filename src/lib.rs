//! upsplice reads an nginx-style configuration, accepts a connection, parses the HTTP upgrade
//! once, and then splices bytes between client and upstream on one pinned worker per CPU.
//!
//! The source is four rooms, and a path says which room a line lives in:
//!
//! * **pure** ([`config`], [`http`], [`route`], [`upstream`]): values in, values out;
//! * **session** ([`conn`], [`session`]): may ask for work, never waits for it;
//! * **engine** ([`engine`], [`sys`]): descriptors and `unsafe`; does not know the word HTTP;
//! * **house** ([`cli`], [`proxy`], [`supervisor`], [`observe`]): may allocate, block and print.
//!
//! [`worker`] is the hallway between them. `docs/ARCHITECTURE.md` is the map.

#![deny(unsafe_code)]

pub mod cli;
pub mod clock;
pub mod config;
pub mod conn;
pub mod engine;
pub mod http;
pub mod limits;
pub mod observe;
pub mod prng;
pub mod proxy;
pub mod reason;
pub mod route;
pub mod session;
pub mod supervisor;
pub mod sys;
pub mod upstream;
pub mod worker;
