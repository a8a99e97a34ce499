//! Groups of upstream servers and the choice among them.

pub mod balance;
