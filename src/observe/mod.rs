//! What the outside sees: logs and counters.
