//! Bounds on what a configuration may ask for.

/// Workers one may ask for: more threads than any machine has CPUs for.
pub const WORKERS_MAX: usize = 1024;

/// Bits of a `worker_cpu_affinity` mask: what the kernel's default CPU set holds.
pub const CPUS_MAX: usize = 1024;

/// `weight=` of one server; keeps the sums of the round robin far from overflow.
pub const UPSTREAM_WEIGHT_MAX: u32 = 65_535;

/// Bytes of one client header buffer that may be asked for: a head is parsed as a whole.
pub const HEADER_BUFFER_BYTES_MAX: u64 = 1024 * 1024;

/// Large client header buffers that may be asked for.
pub const HEADER_BUFFERS_MAX: u64 = 1024;

/// The queue of connections that wait to be accepted, as nginx asks for it on Linux.
pub const LISTEN_BACKLOG: i32 = 511;

/// Ports of one `listen` range.
pub const LISTEN_RANGE_MAX: usize = 1024;
