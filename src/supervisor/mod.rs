//! Processes, threads and signals: starts the workers and stops them.

pub mod listeners;
pub mod pid_file;
pub mod signals;
pub mod system;
