//! The embedding interface: a configured proxy that runs inside this process.
