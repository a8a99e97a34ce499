//! Processes, threads and signals: starts the workers and stops them.

pub mod outside;
