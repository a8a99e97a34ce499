//! What a configuration means, after every directive is checked and inherited.
//!
//! Immutable once built. Each worker has a copy of its own (`Rc<Config>`), so it must be `Clone`
//! and `Send`; lists refer to each other by index. Deliberately absent: text, spans, defaults.

use regex::bytes::Regex;

use crate::conn::Addr;
use crate::http::variables::Template;
use crate::limits::{BULK_PROOF, BULK_QUIET, BULK_RECEIVE_BYTES, QUIET_RECEIVE_BYTES};

/// An index into [`Config::servers`].
pub type ServerId = usize;
/// An index into [`Config::locations`].
pub type LocationId = usize;
/// An index into [`Config::upstreams`].
pub type UpstreamId = usize;

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// What concerns the process and its workers.
    pub process: Process,
    /// The sockets to listen on, each once.
    pub listens: Vec<Listen>,
    /// All `server` blocks.
    pub servers: Vec<Server>,
    /// All locations of all servers, and one for each server itself (requests that no location
    /// takes).
    pub locations: Vec<Location>,
    /// Named `upstream` groups and the implicit ones that `proxy_pass` makes.
    pub upstreams: Vec<Upstream>,
    /// The `map` blocks.
    pub maps: Vec<Map>,
    /// The `log_format`s; the first is `combined`.
    pub log_formats: Vec<LogFormat>,
    /// The distinct access log files; [`AccessLog::file`] is an index into them.
    pub access_files: Vec<String>,
}

/// What concerns the process and its workers.
#[derive(Clone, Debug)]
pub struct Process {
    /// `worker_processes`.
    pub workers: Workers,
    /// `worker_cpu_affinity`.
    pub affinity: Affinity,
    /// `worker_connections`, at least 2: connections of one worker, upstream ones included.
    pub worker_connections: usize,
    /// `worker_rlimit_nofile`.
    pub rlimit_nofile: Option<u64>,
    /// `worker_shutdown_timeout`: how long a graceful stop waits, in milliseconds.
    pub shutdown_timeout_ms: Option<u64>,
    /// `use`.
    pub engine: EngineChoice,
    /// `spin`.
    pub spin: Spin,
    /// `spin … force`: also where spinning takes the CPU from somebody who needs it.
    pub spin_forced: bool,
    /// `user`: name and group.
    pub user: Option<(String, Option<String>)>,
    /// `pid`; made absolute with the prefix.
    pub pid: Option<String>,
    /// `daemon`.
    pub daemon: bool,
    /// The distinct `error_log`s of all levels; never empty.
    pub error_logs: Vec<ErrorLog>,
}

/// `worker_processes`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Workers {
    /// One per CPU this process may use.
    Auto,
    /// So many.
    Count(usize),
}

/// `worker_cpu_affinity`: which CPUs a worker is pinned to. CPUs are numbers from 0.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Affinity {
    /// Worker *n* has the *n*-th CPU this process may use, and again from the first.
    #[default]
    Auto,
    /// The same with the CPUs of this one mask; not empty.
    AutoOf(Vec<usize>),
    /// Worker *n* has the *n*-th mask; the last one serves all further workers. Not empty.
    Masks(Vec<Vec<usize>>),
}

/// `use`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EngineChoice {
    /// io_uring where it works, else epoll.
    Auto,
    /// io_uring or an error.
    IoUring,
    /// epoll.
    Epoll,
}

/// `spin`: whether a worker looks for work before it lets the kernel put it to sleep.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Spin {
    /// It sleeps at once.
    #[default]
    Off,
    /// For so many microseconds while that pays, within [`SPIN_US_MAX`](crate::limits::SPIN_US_MAX)
    /// and at least one.
    For {
        /// Microseconds.
        us: u32,
    },
    /// It never sleeps.
    Always,
}

/// The severity of an error log line, as in syslog(3) and nginx.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[allow(missing_docs)]
pub enum Level {
    Emerg,
    Alert,
    Crit,
    Error,
    Warn,
    Notice,
    Info,
    Debug,
}

/// `error_log`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErrorLog {
    /// A file, made absolute with the prefix; `None` is standard error.
    pub path: Option<String>,
    /// The least severe line that is written.
    pub level: Level,
}

impl ErrorLog {
    /// What a configuration without `error_log` means.
    pub const DEFAULT: Self = Self { path: None, level: Level::Error };
}

/// `listen`, once per address.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Where.
    pub addr: Addr,
    /// `backlog=`.
    pub backlog: i32,
    /// `ipv6only=`.
    pub ipv6only: bool,
    /// `so_keepalive=`.
    pub keepalive: Option<SocketKeepalive>,
    /// The servers of this address, in the order of the file.
    pub servers: Vec<ServerId>,
    /// The one that takes requests for unknown names; one of `servers`.
    pub default: ServerId,
}

/// `so_keepalive=`: `None` leaves the system's value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SocketKeepalive {
    /// Seconds before the first probe (`TCP_KEEPIDLE`).
    pub idle_s: Option<u32>,
    /// Seconds between probes (`TCP_KEEPINTVL`).
    pub interval_s: Option<u32>,
    /// Unanswered probes before the connection is dead (`TCP_KEEPCNT`).
    pub count: Option<u32>,
}

/// A `server` block.
#[derive(Clone, Debug)]
pub struct Server {
    /// `server_name`; the first is `$server_name`.
    pub names: Vec<ServerName>,
    /// `client_header_timeout` in milliseconds.
    pub client_header_timeout_ms: u64,
    /// `client_header_buffer_size` in bytes.
    pub client_header_buffer_bytes: usize,
    /// `large_client_header_buffers`: how many.
    pub large_header_buffers: usize,
    /// `large_client_header_buffers`: bytes of each; bounds the request line and each field.
    pub large_header_buffer_bytes: usize,
    /// The server's own settings, for a request that no location takes.
    pub root: LocationId,
    /// The locations directly inside, in the order of the file.
    pub locations: Vec<LocationId>,
}

/// One `server_name`. Names are lower-case.
#[derive(Clone, Debug)]
pub enum ServerName {
    /// `example.com`, or `""` for requests without a Host.
    Exact(String),
    /// `*.example.com`: holds `.example.com`.
    Suffix(String),
    /// `www.example.*`: holds `www.example.`.
    Prefix(String),
    /// `~^(?<user>.+)\.example\.com$`.
    Regex(Pattern),
}

/// A regular expression and the names of its groups as variables.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As written, for `$server_name` and diagnostics.
    pub text: String,
    /// Compiled; case-insensitive already when it was written so.
    pub regex: Regex,
}

/// How a location is chosen.
#[derive(Clone, Debug)]
pub enum LocationMatch {
    /// The server itself.
    Server,
    /// `location = /path`.
    Exact(String),
    /// `location /path`; with `stop` (`^~`) regexes are not tried after it.
    Prefix {
        /// The prefix.
        path: String,
        /// `^~`.
        stop: bool,
    },
    /// `location ~ regex` and `~*`.
    Regex(Pattern),
}

/// A location with everything inherited.
#[derive(Clone, Debug)]
pub struct Location {
    /// How it is chosen.
    pub matches: LocationMatch,
    /// Locations nested in it, in the order of the file.
    pub children: Vec<LocationId>,
    /// `proxy_pass`; without one a request is answered 404.
    pub proxy: Option<ProxyPass>,
    /// Everything else.
    pub settings: Settings,
}

/// `proxy_pass`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProxyPass {
    /// The group to choose a server from.
    pub upstream: UpstreamId,
    /// `$proxy_host`: host and port as written, for the default `Host`.
    pub host: String,
    /// `$proxy_port`.
    pub port: u16,
    /// The URI part: replaces the part of the request's path that the location matched.
    pub uri: Option<String>,
}

/// The version spoken to an upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyVersion {
    /// `proxy_http_version 1.0`: no upgrades, no chunked request bodies.
    Http10,
    /// `proxy_http_version 1.1`.
    Http11,
}

/// What may be set in http, server and location.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `proxy_http_version`.
    pub proxy_version: ProxyVersion,
    /// `proxy_connect_timeout` in milliseconds.
    pub proxy_connect_timeout_ms: u64,
    /// `proxy_read_timeout` in milliseconds.
    pub proxy_read_timeout_ms: u64,
    /// `proxy_send_timeout` in milliseconds.
    pub proxy_send_timeout_ms: u64,
    /// `send_timeout` in milliseconds.
    pub send_timeout_ms: u64,
    /// `client_body_timeout` in milliseconds.
    pub client_body_timeout_ms: u64,
    /// `client_max_body_size` in bytes; zero is no limit.
    pub client_max_body_bytes: u64,
    /// `keepalive_timeout` in milliseconds; zero closes after each answer.
    pub keepalive_timeout_ms: u64,
    /// `keepalive_timeout`'s second parameter: seconds announced in a `Keep-Alive` field.
    pub keepalive_header_s: Option<u64>,
    /// `keepalive_requests`.
    pub keepalive_requests: u64,
    /// `proxy_buffer_size` in bytes: the bound of a response head.
    pub proxy_buffer_bytes: usize,
    /// `proxy_set_header`; an empty value removes the field.
    pub set_headers: Vec<(String, Template)>,
    /// `proxy_pass_request_headers` is not supported; these are `proxy_hide_header`, lower-case,
    /// with nginx's own (`Date`, `Server`, `X-Pad`, `X-Accel-*`) minus `proxy_pass_header`.
    pub hide_headers: Vec<String>,
    /// `add_header`.
    pub add_headers: Vec<AddHeader>,
    /// `upgrade_allow`: protocols that may be upgraded to, lower-case.
    pub upgrade_allow: Vec<String>,
    /// `tunnel_half_close`.
    pub tunnel_half_close: bool,
    /// `splice`.
    pub splice: Splice,
    /// What `splice auto` takes for bulk. Not in the language: measured, see [`Bulk::DEFAULT`].
    pub bulk: Bulk,
    /// `tunnel_idle_timeout` in milliseconds.
    pub tunnel_idle_timeout_ms: Option<u64>,
    /// `tunnel_max_lifetime` in milliseconds.
    pub tunnel_max_lifetime_ms: Option<u64>,
    /// `tunnel_max_lifetime … jitter=`: up to so many percent of the lifetime are taken off, drawn
    /// per tunnel, so that tunnels opened together do not end together.
    pub tunnel_lifetime_jitter_percent: u8,
    /// `access_log`s.
    pub access_logs: Vec<AccessLog>,
    /// `tcp_nodelay`.
    pub tcp_nodelay: bool,
    /// `proxy_socket_keepalive`.
    pub proxy_socket_keepalive: bool,
    /// `server_tokens`: whether our own answers name the version.
    pub server_tokens: bool,
}

/// `splice`: how a tunnel's bytes move.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Splice {
    /// Copied, and through pipes while a direction carries bulk.
    #[default]
    Auto,
    /// Copied.
    Off,
    /// Through pipes, with `splice(2)`.
    Pipe,
    /// Through pipes, with linked `IORING_OP_SPLICE`s; only on io_uring.
    Linked,
}

/// What `splice auto` takes for bulk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bulk {
    /// A receive of so many bytes is a large one.
    pub bytes: u32,
    /// So many large ones more than others make a direction bulk.
    pub proof: u8,
    /// A receive of fewer bytes is a small one.
    pub small: u32,
    /// So many small ones in a row end it.
    pub quiet: u8,
}

impl Bulk {
    /// By measurement.
    pub const DEFAULT: Self = Self {
        bytes: BULK_RECEIVE_BYTES,
        proof: BULK_PROOF,
        small: QUIET_RECEIVE_BYTES,
        quiet: BULK_QUIET,
    };
}

/// `add_header`.
#[derive(Clone, Debug)]
pub struct AddHeader {
    /// The field's name.
    pub name: String,
    /// The value; the field is left out when it comes out empty.
    pub value: Template,
    /// Also on answers other than 200, 201, 204, 206, 301, 302, 303, 304, 307 and 308.
    pub always: bool,
}

/// `access_log`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AccessLog {
    /// An index into [`Config::access_files`].
    pub file: usize,
    /// An index into [`Config::log_formats`].
    pub format: usize,
}

/// `log_format`.
#[derive(Clone, Debug)]
pub struct LogFormat {
    /// Its name.
    pub name: String,
    /// The line, without the newline.
    pub template: Template,
    /// `escape=`.
    pub escape: Escape,
}

/// `log_format … escape=`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Escape {
    /// `"`, `\`, control bytes and bytes above 126 as `\xXX`; an empty value as `-`.
    Default,
    /// As inside a JSON string.
    Json,
    /// Nothing.
    None,
}

/// An `upstream` group.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name, or the host and port of a `proxy_pass`.
    pub name: String,
    /// Its servers, one for each address a name resolved to.
    pub peers: Vec<Peer>,
    /// How a peer is chosen.
    pub balance: Balance,
}

/// How a peer is chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Balance {
    /// Smooth weighted round robin.
    RoundRobin,
    /// `ip_hash`: by the first three bytes of an IPv4 address, or the whole IPv6 address.
    IpHash,
}

/// One address of a `server` line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// As written.
    pub name: String,
    /// Resolved at start.
    pub addr: Addr,
    /// `weight=`, at least 1.
    pub weight: u32,
    /// `backup`: used only when no other peer can be.
    pub backup: bool,
    /// `down`.
    pub down: bool,
}

/// A `map` block.
#[derive(Clone, Debug)]
pub struct Map {
    /// The variable it defines, without `$`.
    pub name: String,
    /// What is looked up.
    pub source: Template,
    /// Exact values, lower-case as nginx compares them.
    pub exact: std::collections::HashMap<Vec<u8>, Template>,
    /// `*.example.com` (holds `.example.com`) with `hostnames`, longest first.
    pub suffixes: Vec<(Vec<u8>, Template)>,
    /// `www.example.*` (holds `www.example.`) with `hostnames`, longest first.
    pub prefixes: Vec<(Vec<u8>, Template)>,
    /// Regular expressions in the order of the file.
    pub patterns: Vec<(Pattern, Template)>,
    /// `default`; empty when there is none.
    pub default: Template,
    /// `hostnames`: a trailing dot of the source is ignored.
    pub hostnames: bool,
}
