//! What the directives of one block have said so far, before inheritance.

use crate::config::lexer::Word;
use crate::config::model::{
    AccessLog, AddHeader, Affinity, Balance, EngineChoice, ErrorLog, LocationMatch, Peer,
    ProxyVersion, ServerName, SocketKeepalive, Spin, Splice, Workers,
};
use crate::config::source::Span;
use crate::conn::Addr;
use crate::http::variables::Template;

/// One block. A field is empty until a directive fills it, so most are empty in most blocks.
#[derive(Debug, Default)]
pub(in crate::config) struct Draft {
    pub(in crate::config) process: ProcessDraft,
    pub(in crate::config) scope: Scope,
    pub(super) server: ServerDraft,
    pub(super) location: LocationDraft,
    pub(super) group: GroupDraft,
    /// The servers of http, the locations of a server or a location.
    pub(super) inner: Vec<Self>,
    /// Directives that are read before a location is known, found in a location.
    pub(super) misplaced: Vec<(String, Span)>,
    /// The block's name and arguments.
    pub(super) head: Option<Span>,
}

/// main and events.
#[derive(Debug, Default)]
pub(in crate::config) struct ProcessDraft {
    pub(super) user: Option<(String, Option<String>)>,
    pub(super) pid: Option<Option<String>>,
    pub(in crate::config) daemon: Option<bool>,
    pub(super) workers: Option<Workers>,
    pub(super) affinity: Option<Affinity>,
    pub(in crate::config) rlimit_nofile: Option<u64>,
    pub(in crate::config) shutdown_timeout_ms: Option<u64>,
    pub(super) engine: Option<EngineChoice>,
    /// With whether it is forced.
    pub(super) spin: Option<(Spin, bool)>,
    pub(in crate::config) worker_connections: Option<u64>,
    pub(super) error_logs: Vec<ErrorLog>,
}

/// Declares the settings that an inner level takes from the outer one, and the taking.
macro_rules! scope {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        /// What may be set in http, server and location.
        #[derive(Clone, Debug, Default)]
        pub(in crate::config) struct Scope {
            $($(#[$doc])* pub(in crate::config) $field: Option<$type>,)*
        }

        impl Scope {
            /// Takes from the outer level what this one does not say itself. A list counts as one
            /// value: an inner list replaces the outer one as a whole.
            pub(super) fn inherit(&mut self, outer: &Self) {
                $(if self.$field.is_none() {
                    self.$field.clone_from(&outer.$field);
                })*
            }
        }
    };
}

scope! {
    client_header_timeout_ms: u64,
    client_header_buffer_bytes: u64,
    /// Number and size.
    large_header_buffers: (u64, u64),
    client_body_timeout_ms: u64,
    client_max_body_bytes: u64,
    send_timeout_ms: u64,
    /// Milliseconds and the announced seconds.
    keepalive_timeout: (u64, Option<u64>),
    keepalive_requests: u64,
    tcp_nodelay: bool,
    server_tokens: bool,
    add_headers: Vec<AddHeader>,
    upgrade_allow: Vec<String>,
    splice: Splice,
    tunnel_half_close: bool,
    /// `Some(None)` is `off`.
    tunnel_idle_timeout_ms: Option<u64>,
    /// Milliseconds and percent of jitter; `Some(None)` is `off`.
    tunnel_max_lifetime: Option<(u64, u8)>,
    proxy_version: ProxyVersion,
    set_headers: Vec<SetHeader>,
    hide_headers: Vec<String>,
    pass_headers: Vec<String>,
    /// Set by `proxy_redirect`, which has only one value yet.
    redirect_off: bool,
    proxy_connect_timeout_ms: u64,
    proxy_read_timeout_ms: u64,
    proxy_send_timeout_ms: u64,
    proxy_buffer_bytes: u64,
    proxy_socket_keepalive: bool,
    access_logs: Vec<AccessLog>,
}

/// A `proxy_set_header`, with its place for the cross checks.
#[derive(Clone, Debug)]
pub(in crate::config) struct SetHeader {
    pub(in crate::config) name: String,
    pub(in crate::config) value: Template,
    pub(in crate::config) span: Span,
}

#[derive(Debug, Default)]
pub(super) struct ServerDraft {
    pub(super) listens: Vec<ListenLine>,
    pub(super) names: Vec<(ServerName, Span)>,
}

/// One address of a `listen`.
#[derive(Clone, Debug)]
pub(super) struct ListenLine {
    pub(super) addr: Addr,
    pub(super) span: Span,
    pub(super) default_server: bool,
    pub(super) options: ListenOptions,
}

/// The options that concern the socket, of which an address can have only one set.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct ListenOptions {
    pub(super) backlog: Option<i32>,
    pub(super) ipv6only: Option<bool>,
    /// `Some(None)` is `off`.
    pub(super) keepalive: Option<Option<SocketKeepalive>>,
    pub(super) reuseport: bool,
}

impl ListenOptions {
    /// Whether any was given.
    pub(super) fn any(&self) -> bool {
        *self != Self::default()
    }
}

#[derive(Debug, Default)]
pub(super) struct LocationDraft {
    pub(super) matches: Option<LocationMatch>,
    pub(super) proxy: Option<ProxyLine>,
}

/// A `proxy_pass`, before its host is known to be a group or a name.
#[derive(Clone, Debug)]
pub(super) struct ProxyLine {
    pub(super) target: ProxyTarget,
    pub(super) uri: Option<String>,
    pub(super) span: Span,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum ProxyTarget {
    /// Host as written (an IPv6 address in brackets) and port, if there is one.
    Host(String, Option<u16>),
    Unix(String),
}

#[derive(Debug, Default)]
pub(super) struct GroupDraft {
    pub(super) peers: Vec<Peer>,
    pub(super) balance: Option<Balance>,
    /// The first `backup`, which not every method allows.
    pub(super) backup: Option<Word>,
}
