//! A client's stay: one client connection, at most one upstream connection, a phase.
