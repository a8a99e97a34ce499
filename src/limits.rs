//! Every bound and every built-in number of the program, each with its reason.
//!
//! Values that an operator may set (nginx's directives) have their defaults in the directive table,
//! not here. Units come last in a name.

/// One pooled buffer. 16 KB is where copying stops getting cheaper for bulk and a slow reader does
/// not yet hold much (measured, `docs/DECISIONS.md`).
pub const CHUNK_BYTES: usize = 16 * 1024;

/// Buffers of a worker's pool at start: 4 MB. A larger ring is walked in order and falls out of the
/// second-level cache; a smaller one runs dry under bulk.
pub const CHUNKS_BASE: usize = 256;

const _: () = assert!(CHUNKS_BASE.is_power_of_two());
const _: () = assert!(CHUNKS_BASE <= 32 * 1024, "a kernel buffer ring has at most 32768 entries");

/// Bytes after which a multishot receive stops by itself until it is asked for anew: how far an
/// engine may read ahead of a session, and one connection's share of the ring, a sixteenth. The
/// kernel splits the message that crosses the bound, so half of it cost more.
pub const READ_AHEAD_BYTES: u32 = 256 * 1024;

/// One large buffer, into which a receive goes that is known to find more than a chunk holds. It
/// halves the cost of bulk against 16 KB; 256 KB gained little more and would fit a second-level
/// cache less often.
pub const LARGE_CHUNK_BYTES: usize = 128 * 1024;

/// Receives in a row that must have filled a chunk before a large one is taken. After one, a
/// message of a little more than a chunk would send its last bytes through a large buffer.
pub const FULL_RECEIVES_MIN: u8 = 2;

/// Chunks of one load at most: 128 KB. A receive fills as many at once, and one send writes them;
/// it is also what one connection may take of the pool while others wait. Measured: from here on,
/// longer loads gain less than the noise, and fall out of the second-level cache.
pub const CHAIN_CHUNKS_MAX: usize = 8;

/// Pieces that one send of the io_uring engine names: a load of its own, and what was read ahead. A
/// load in more pieces takes two sends.
pub const SEND_PIECES_MAX: usize = 2 * CHAIN_CHUNKS_MAX;

/// Receives for which an engine offers several chunks after one has filled its first: long enough
/// to bridge the small messages between larger ones. Offering them costs some 0.1 µs.
pub const WIDE_RECEIVES: u8 = 32;

/// Large buffers of a worker: 2 MB, touched only by bulk. Who finds none takes an ordinary chunk.
pub const LARGE_CHUNKS: usize = 16;

/// A receive of so many bytes speaks for bulk. One message of 16 KB for each wake-up is cheaper to
/// copy by a tenth, and from two of them on a pipe wins; see `docs/DECISIONS.md`.
pub const BULK_RECEIVE_BYTES: u32 = 32 * 1024;

/// By how many the receives that were so large must prevail before `splice auto` takes a direction
/// for bulk.
pub const BULK_PROOF: u8 = 4;

/// A receive of fewer bytes speaks for messages again. A pipe that is drained faster than it fills
/// often brings less than [`BULK_RECEIVE_BYTES`]; with one threshold for both, bulk went through
/// copies for a third of the time.
pub const QUIET_RECEIVE_BYTES: u32 = 4 * 1024;

/// Receives in a row that must have been so small before `splice auto` takes a direction for
/// messages again.
pub const BULK_QUIET: u8 = 16;

/// Bytes of one pipe, if the system allows it. 64 KB take up to twice the CPU; 1 MB takes a tenth
/// less, but slow readers may keep what pipes hold (`docs/DECISIONS.md`).
pub const PIPE_BYTES: usize = 256 * 1024;

/// The least a pipe is asked to hold: the kernel's own default of 16 pages.
pub const PIPE_BYTES_MIN: usize = 64 * 1024;

/// Pipes of a worker. They are borrowed while bytes are in flight, so a few serve many busy
/// tunnels; slow readers can keep them all, and then the others copy.
pub const PIPES_MAX: usize = 32;

/// Kernel threads that one ring may have for splices of `splice linked`. Unbounded, a thousand idle
/// tunnels were seen to make two thousand; more than a few only take turns on a worker's CPU.
pub const LINK_WORKERS_MAX: u32 = 4;

/// Buffers by which a turn of the epoll engine may make the pool grow. A burst of messages is read
/// as fast as the base comes home; only sends that stay blocked turn after turn make the pool grow
/// to its bound. (io_uring's ring is kept an eighth full for the same reason.)
pub const GROWTH_PER_TURN: usize = CHUNKS_BASE / 8;

/// Grown buffers that a pool's lists have room for from the start, which is 64 MB of them. Bulk in
/// hundreds of tunnels at once stays below; further growth makes the lists longer, too.
pub const CHUNKS_GROWN_LISTED: usize = 4096;

/// Accepted sockets an engine may hold before the worker asked for them; bounds what a multishot
/// accept can pile up while the connection table is full. From here on the multishot is cancelled;
/// what the kernel accepted in the same turn still comes on top, at most a listener's backlog.
pub const ACCEPT_AHEAD_MAX: usize = 64;

/// Entries of the submission queue: one turn's operations normally fit; a fuller turn submits
/// twice.
pub const SUBMISSION_ENTRIES: u32 = 1024;

/// Smallest completion queue. A full queue silently ends multishot operations, so the queue is
/// sized for all connections with three lanes each, and never below this.
pub const COMPLETION_ENTRIES_MIN: u32 = 4096;

/// Entries of the ring of receive buffers: the base of the pool, all of which an idle worker lends
/// to the kernel.
pub const BUFFER_RING_ENTRIES: u16 = 256;

const _: () = assert!(BUFFER_RING_ENTRIES as usize >= CHUNKS_BASE);

/// How long an engine that is dropped waits until the kernel has given everything back. Cancelling
/// takes microseconds; what takes longer is stuck in the kernel and is leaked.
pub const JOIN_MS_MAX: u64 = 1_000;

/// How long the probe waits for one operation that should take microseconds; beyond it io_uring
/// counts as not working.
pub const PROBE_MS_MAX: u64 = 1_000;

/// Events an engine reports per turn; bounds how long timers and the mailbox wait.
pub const EVENTS_PER_TURN: usize = 1024;

/// Operations that a turn's events ask for in an ordinary turn: bytes that came are sent on, bytes
/// that were sent make room for the next. Lists of this size are made at start, so that the busiest
/// turn of a worker's tunnels allocates nothing; memory that is never needed is never touched.
pub const OPS_PER_TURN: usize = 2 * EVENTS_PER_TURN;

/// The longest that `spin` may look for work before a sleep, in microseconds. A sleep and a wakeup
/// cost tens of microseconds; who wants to look for longer than a second means `always`.
pub const SPIN_US_MAX: u32 = 1_000_000;

/// Spins in vain, in a row, after which a worker spins only now and then. A request that comes out
/// of a silence makes one such spin, its answer a successful one, so the alternation goes on.
pub const SPINS_VAIN_MAX: u32 = 8;

/// Once spins do not pay, one in so many is tried still: 3 % of what they would cost. Odd, so that
/// it meets both sides of an alternation.
pub const SPIN_RETRY_EVERY: u32 = 31;

const _: () = assert!(SPIN_RETRY_EVERY % 2 == 1);

/// One slot of the timer wheel. A timer fires at most this late, never early.
pub const WHEEL_TICK_MS: u64 = 10;

/// Milliseconds from the clock's start (the system's, in operation) to the last deadline that a
/// session can hold: 34 years, the largest [`PackedTime`](crate::clock::PackedTime) beside a mark
/// for none. A longer wait ends there.
pub const DEADLINE_MS_MAX: u64 = (1 << 40) - 2;

/// Fields of one request or response head; more is refused (431, or 502 for an upstream).
/// Browsers send about 20, nginx's own default bound is on bytes only.
pub const HEAD_FIELDS_MAX: usize = 128;

/// Bytes of empty lines before a request line. Some old clients send one after a body (RFC 9112
/// section 2.2 asks to ignore it); nobody sends many.
pub const LEADING_BLANK_BYTES_MAX: usize = 16;

/// The largest chunk of a chunked body, in bytes: far more than any, and no shift overflows.
pub const CHUNK_SIZE_MAX: u64 = (1 << 60) - 1;

/// How long a client is asked to stay away by a 503, in seconds: long enough for a restarting
/// upstream, short enough for a person who waits.
pub const RETRY_AFTER_S: u64 = 5;

/// Bytes of one chunk-size line in a chunked body, extensions included.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Bytes of the trailer section of a chunked body.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// How long a connection that got its last answer is read and thrown away, so that the answer is
/// not lost to a reset (RFC 9112 section 9.6; nginx's `lingering_timeout` and `lingering_time`).
pub const LINGER_QUIET_MS: u64 = 5_000;

/// The bound on all of it.
pub const LINGER_TOTAL_MS: u64 = 30_000;

/// How long accepting pauses after the system refused a descriptor (EMFILE, ENFILE, ENOBUFS,
/// ENOMEM), as nginx's `accept_mutex_delay`.
pub const ACCEPT_PAUSE_MS: u64 = 500;

/// Log lines gathered for one file before they are written ahead of the end of the turn; one line
/// may exceed it.
pub const LOG_BUFFER_BYTES: usize = 64 * 1024;

/// Tries to bind an address that is in use: a predecessor that was just killed may hold it for some
/// milliseconds.
pub const BIND_ATTEMPTS: u32 = 4;

/// The pause between two tries to bind.
pub const BIND_PAUSE_MS: u64 = 100;

/// Descriptors that the process needs beside connections: standard streams, logs, rings, eventfds,
/// listeners.
pub const DESCRIPTORS_BESIDE: u64 = 64;

/// A worker that ran this long before it panicked is restarted at once.
pub const RESTART_CALM_MS: u64 = 60_000;

/// The pause before a restart that follows a short life; doubles with each.
pub const RESTART_PAUSE_MS: u64 = 100;

/// The longest pause before a restart.
pub const RESTART_PAUSE_MAX_MS: u64 = 10_000;

/// How long a stop waits for workers that do not answer before the process ends without them.
pub const STOP_GRACE_MS: u64 = 5_000;

/// Connections, and so threads, of the embedded example's echo server: enough for a page and for
/// playing, a bound for a machine on which something else finds the port.
pub const DEMO_THREADS_MAX: usize = 256;

/// Bytes of a request head that the embedded example's echo server reads.
pub const DEMO_HEAD_BYTES_MAX: usize = 32 * 1024;

/// How long the embedded example's echo server waits for a request head.
pub const DEMO_HEAD_TIMEOUT_MS: u64 = 10_000;

/// How long a client must have owed a request before it makes room for one that waits, and the
/// least time between two such rounds: less would cut off clients between two requests.
pub const RECLAIM_IDLE_MS: u64 = 1_000;

/// Idle clients that make room in one round; nginx's number.
pub const RECLAIM_MAX: usize = 32;

/// The least time between two lines that say a worker is full: a client that takes and frees the
/// last slot over and over must not fill the disk.
pub const FULL_LINE_MS: u64 = 1_000;

/// How deep maps, includes and error pages may nest before the configuration is refused.
pub const INCLUDE_DEPTH_MAX: usize = 16;

/// How deep a map's value may refer to other maps while it is evaluated.
pub const MAP_DEPTH_MAX: usize = 8;

/// How deep blocks may nest; http, server and nested locations need five or six.
pub const BLOCK_DEPTH_MAX: usize = 32;

/// Files of one configuration, each inclusion counted: far above a site per file on a large host,
/// far below what files that include each other twice would make.
pub const CONFIG_FILES_MAX: usize = 4096;

/// Bytes of one configuration, all files together.
pub const CONFIG_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of one argument, as nginx's reading buffer bounds it.
pub const CONFIG_WORD_BYTES_MAX: usize = 4096;

/// Problems of one configuration that are told; more would not be read.
pub const CONFIG_PROBLEMS_MAX: usize = 200;

/// Characters of a source line that a diagnostic shows.
pub const DIAGNOSTIC_LINE_CHARS_MAX: usize = 200;

/// Characters of a diagnostic's sentence: two long paths fit, a binary file taken for a word does
/// not.
pub const DIAGNOSTIC_MESSAGE_CHARS_MAX: usize = 1000;

/// Bytes of a request's first line that the error log shows; the access log has it whole. A tunnel
/// keeps them for hours.
pub const LINE_SHOWN_BYTES: usize = 256;

/// Seconds between two complaints that log lines are being lost.
pub const LOG_LOSS_NOTICE_S: u64 = 60;

/// Turns a stopping worker takes at most until all its cancelled operations have reported. Each
/// lasts at most [`ACCEPT_PAUSE_MS`]; a kernel that needs more is left behind.
pub const STOP_TURNS_MAX: u32 = 1000;

/// Draws of `ip_hash` that may hit a peer which is down or tried, before round robin decides;
/// nginx's number, so that clients meet the same peers.
pub const IP_HASH_TRIES_MAX: usize = 20;

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
