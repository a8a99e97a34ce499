//! nginx's variables and our own: their names, and what each prints.
//!
//! A value is printed exactly as nginx prints it: seconds with three decimals, one entry per tried
//! upstream separated by commas. Some variables may have no value (a header that was not sent);
//! in a log that is a dash, elsewhere nothing.

use std::io::Write as _;

use crate::clock::Now;
use crate::config::model::{Config, ServerId, ServerName};
use crate::conn::Addr;

use super::facts::{Context, Host, Tally, Transfer, Try};
use super::fields::variable_names;
use super::head::{RequestHead, first_line};
use super::map;
pub use super::names::{Builtin, builtins, prefixes};
pub use super::template::{Frozen, Template, TemplateError, TemplateErrorKind};

/// A variable, known by name at configuration time. Names in it are lower-case, with underscores
/// where a header has dashes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the table in names.rs documents each by its name")]
pub enum Variable {
    Args,
    Connection,
    ConnectionRequests,
    ContentLength,
    ContentType,
    Engine,
    Host,
    Hostname,
    Https,
    IsArgs,
    Pid,
    Pipe,
    ProxyForwardedFor,
    ProxyHost,
    ProxyPort,
    RemoteAddr,
    RemotePort,
    RemoteUser,
    Request,
    RequestId,
    RequestMethod,
    RequestUri,
    Scheme,
    ServerAddr,
    ServerName,
    ServerPort,
    ServerProtocol,
    Uri,
    Version,
    /// `$arg_NAME`.
    Arg(Box<str>),
    /// `$cookie_NAME`.
    Cookie(Box<str>),
    /// `$http_NAME`.
    Http(Box<str>),
    /// `$sent_http_NAME`.
    SentHttp(Box<str>),
    /// `$upstream_http_NAME`.
    UpstreamHttp(Box<str>),
    /// `$1` to `$9`.
    Group(u8),
    /// A named group of a `server_name` or `location` regex.
    NamedGroup(Box<str>),
    /// A `map` block: its index.
    Map(usize),
    /// One that changes until the log line is written.
    Running(Running),
    /// One that has an entry for each upstream that was tried.
    Upstream(UpstreamValue),
}

/// Variables that change until the log line is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "the table in names.rs documents each by its name")]
pub enum Running {
    BodyBytesSent,
    BytesDown,
    BytesSent,
    BytesUp,
    ConnectionTime,
    Msec,
    Reason,
    RequestLength,
    RequestTime,
    Status,
    TimeIso8601,
    TimeLocal,
    TunnelTime,
    /// The last entry of `$upstream_bytes_received`.
    UpstreamReceived,
    /// The last entry of `$upstream_response_length`.
    UpstreamLength,
    /// The last entry of `$upstream_response_time`.
    UpstreamTime,
    /// The last entry of `$upstream_bytes_sent`.
    UpstreamSent,
}

/// Variables that have an entry for each upstream that was tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "the table in names.rs documents each by its name")]
pub enum UpstreamValue {
    Addr,
    BytesReceived,
    BytesSent,
    ConnectTime,
    HeaderTime,
    ResponseLength,
    ResponseTime,
    Status,
}

impl Variable {
    /// The variable of this name (without `$`; case does not matter), if it is built in: one of
    /// [`builtins`], or one with a prefix of [`prefixes`].
    #[must_use]
    pub fn builtin(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        if let Some(builtin) = builtins().iter().find(|builtin| builtin.name == name) {
            return Some(builtin.variable.clone());
        }
        let named = |prefix| name.strip_prefix(prefix).filter(|rest| !rest.is_empty());
        None.or_else(|| named("upstream_http_").map(|rest| Self::UpstreamHttp(rest.into())))
            .or_else(|| named("sent_http_").map(|rest| Self::SentHttp(rest.into())))
            .or_else(|| named("http_").map(|rest| Self::Http(rest.into())))
            .or_else(|| named("arg_").map(|rest| Self::Arg(rest.into())))
            .or_else(|| named("cookie_").map(|rest| Self::Cookie(rest.into())))
    }

    /// Appends the value; false if there is none.
    pub(super) fn append(&self, cx: &Context<'_>, depth: usize, out: &mut Vec<u8>) -> bool {
        let facts = cx.facts;
        match self {
            Self::Connection => number(facts.connection, out),
            Self::ConnectionRequests => number(u64::from(facts.requests), out),
            Self::Engine => text(cx.host.engine, out),
            Self::Group(index) => optional(cx.captures.group(*index), out),
            Self::Hostname => text(&*cx.host.name, out),
            Self::Https => text("", out),
            Self::Map(index) => {
                cx.config.maps.get(*index).is_some_and(|found| map::append(found, cx, depth, out))
            }
            Self::NamedGroup(name) => optional(cx.captures.named(name), out),
            Self::Pid => number(u64::from(cx.host.pid), out),
            Self::Pipe => text(if facts.pipelined { "p" } else { "." }, out),
            Self::ProxyHost => optional(proxy(cx).map(|proxy| proxy.host.as_bytes()), out),
            Self::ProxyPort => proxy(cx).is_some_and(|proxy| number(proxy.port.into(), out)),
            Self::RemoteAddr => address(&facts.ends.peer, out),
            Self::RemotePort => port(&facts.ends.peer, out),
            Self::RequestId => request_id(cx, out),
            Self::Running(running) => running.append(&facts.tally, cx.host, cx.now, out),
            Self::Scheme => text("http", out),
            Self::SentHttp(name) => sent_field(cx.sent.unwrap_or_default(), name, out),
            Self::ServerAddr => address(&facts.ends.local, out),
            Self::ServerName => text(server_name(cx.config, cx.server), out),
            Self::ServerPort => port(&facts.ends.local, out),
            Self::Upstream(value) => upstream(*value, cx, out),
            Self::UpstreamHttp(name) => cx.response.is_some_and(|head| {
                joined(head.fields().iter().filter(|field| variable_names(name, field.0)), out)
            }),
            Self::Version => text(env!("CARGO_PKG_VERSION"), out),
            Self::Args
            | Self::Arg(_)
            | Self::ContentLength
            | Self::ContentType
            | Self::Cookie(_)
            | Self::Host
            | Self::Http(_)
            | Self::IsArgs
            | Self::ProxyForwardedFor
            | Self::RemoteUser
            | Self::Request
            | Self::RequestMethod
            | Self::RequestUri
            | Self::ServerProtocol
            | Self::Uri => match cx.request {
                Some(request) => self.append_of_request(request, cx, out),
                None => self.append_without_request(cx, out),
            },
        }
    }

    /// What a request head says.
    fn append_of_request(&self, head: &RequestHead, cx: &Context<'_>, out: &mut Vec<u8>) -> bool {
        let fields = head.fields();
        match self {
            Self::Args => optional(head.args().filter(|args| !args.is_empty()), out),
            Self::Arg(name) => {
                let args = head.args().unwrap_or_default().split(|&b| b == b'&');
                optional(args.filter_map(pair).find(|pair| is_name(pair, name)).map(|p| p.1), out)
            }
            Self::ContentLength => optional(fields.first("content-length"), out),
            Self::ContentType => optional(fields.first("content-type"), out),
            Self::Cookie(name) => {
                let cookies = fields.all("cookie").flat_map(|line| line.split(|&b| b == b';'));
                let mut pairs = cookies.map(<[u8]>::trim_ascii).filter_map(pair);
                optional(pairs.find(|pair| is_name(pair, name)).map(|pair| pair.1), out)
            }
            Self::Host => match head.host() {
                Some(host) => text(host, out),
                None => self.append_without_request(cx, out),
            },
            Self::Http(name) => {
                joined(fields.iter().filter(|field| variable_names(name, field.0)), out)
            }
            Self::IsArgs => {
                text(if head.args().is_some_and(|args| !args.is_empty()) { "?" } else { "" }, out)
            }
            Self::ProxyForwardedFor => {
                let seen =
                    |field: &(&[u8], &[u8])| field.0.eq_ignore_ascii_case(b"x-forwarded-for");
                if joined(fields.iter().filter(seen), out) {
                    out.extend_from_slice(b", ");
                }
                address(&cx.facts.ends.peer, out)
            }
            Self::RemoteUser => {
                let credentials = fields.first("authorization").and_then(basic_user);
                optional(credentials.as_deref(), out)
            }
            Self::Request => text(head.request_line(), out),
            Self::RequestMethod => text(head.method(), out),
            Self::RequestUri => text(head.target(), out),
            Self::ServerProtocol => text(head.version().name(), out),
            Self::Uri => text(head.path(), out),
            _ => false,
        }
    }

    /// What the variables of a request head are while there is none: a refused or missing one.
    fn append_without_request(&self, cx: &Context<'_>, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Host => text(server_name(cx.config, cx.server), out),
            Self::IsArgs => true,
            Self::ProxyForwardedFor => address(&cx.facts.ends.peer, out),
            Self::Request => {
                let line = cx.refused.map(first_line).filter(|line| !line.is_empty());
                optional(line, out)
            }
            _ => false,
        }
    }

    /// If the variable still changes: which hole stands for it, after appending the part of it that
    /// does not change.
    pub(super) fn running(&self, cx: &Context<'_>, out: &mut Vec<u8>) -> Option<Running> {
        let value = match self {
            Self::Running(running) => return Some(*running),
            Self::Upstream(value) if cx.facts.tries() > 0 => *value,
            _ => return None,
        };
        let running = value.running()?;
        for (attempt, transfer) in cx.facts.each_try().take(cx.facts.tries() - 1) {
            upstream_entry(value, attempt, transfer, cx.now, out);
            out.extend_from_slice(b", ");
        }
        Some(running)
    }
}

impl Running {
    /// Appends the value; false if there is none.
    pub(super) fn append(self, tally: &Tally, host: &Host, now: Now, out: &mut Vec<u8>) -> bool {
        match self {
            Self::BodyBytesSent => {
                number(tally.bytes_sent.saturating_sub(tally.head_bytes_sent), out)
            }
            Self::BytesDown => number(tally.bytes_down, out),
            Self::BytesSent => number(tally.bytes_sent, out),
            Self::BytesUp => number(tally.bytes_up, out),
            Self::ConnectionTime => seconds(now.mono.since_ms(tally.connection_start), out),
            Self::Msec => seconds(now.unix_ms, out),
            Self::Reason => tally.reason.is_some_and(|reason| write!(out, "{reason}").is_ok()),
            Self::RequestLength => number(tally.request_bytes, out),
            Self::RequestTime => seconds(now.mono.since_ms(tally.request_start), out),
            Self::Status => write!(out, "{:03}", tally.status).is_ok(),
            Self::TimeIso8601 => {
                host.time.iso8601(now.unix_ms, out);
                true
            }
            Self::TimeLocal => {
                host.time.common(now.unix_ms, out);
                true
            }
            Self::TunnelTime => {
                tally.tunnel_start.is_some_and(|start| seconds(now.mono.since_ms(start), out))
            }
            Self::UpstreamLength => number(tally.upstream.body, out),
            Self::UpstreamReceived => number(tally.upstream.received, out),
            Self::UpstreamSent => number(tally.upstream.sent, out),
            Self::UpstreamTime => seconds(elapsed(&tally.upstream, now), out),
        }
    }
}

impl UpstreamValue {
    /// The running variable that stands for the last entry, if that still changes.
    const fn running(self) -> Option<Running> {
        match self {
            Self::BytesReceived => Some(Running::UpstreamReceived),
            Self::BytesSent => Some(Running::UpstreamSent),
            Self::ResponseLength => Some(Running::UpstreamLength),
            Self::ResponseTime => Some(Running::UpstreamTime),
            Self::Addr | Self::ConnectTime | Self::HeaderTime | Self::Status => None,
        }
    }
}

fn upstream(value: UpstreamValue, cx: &Context<'_>, out: &mut Vec<u8>) -> bool {
    for (index, (attempt, transfer)) in cx.facts.each_try().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        upstream_entry(value, attempt, transfer, cx.now, out);
    }
    cx.facts.tries() > 0
}

fn upstream_entry(value: UpstreamValue, of: &Try, moved: &Transfer, now: Now, out: &mut Vec<u8>) {
    let written = match value {
        UpstreamValue::Addr => write!(out, "{}", of.peer).is_ok(),
        UpstreamValue::BytesReceived => number(moved.received, out),
        UpstreamValue::BytesSent => number(moved.sent, out),
        UpstreamValue::ConnectTime => of.connect_ms.is_some_and(|ms| seconds(ms, out)),
        UpstreamValue::HeaderTime => of.header_ms.is_some_and(|ms| seconds(ms, out)),
        UpstreamValue::ResponseLength => number(moved.body, out),
        UpstreamValue::ResponseTime => seconds(elapsed(moved, now), out),
        UpstreamValue::Status => of.status != 0 && write!(out, "{}", of.status).is_ok(),
    };
    if !written {
        out.push(b'-');
    }
}

fn elapsed(transfer: &Transfer, now: Now) -> u64 {
    transfer.elapsed_ms.unwrap_or_else(|| now.mono.since_ms(transfer.start))
}

fn proxy<'a>(cx: &Context<'a>) -> Option<&'a crate::config::model::ProxyPass> {
    cx.config.locations.get(cx.location)?.proxy.as_ref()
}

/// The first name of a server as it was written.
fn server_name(config: &Config, server: ServerId) -> String {
    match config.servers.get(server).and_then(|server| server.names.first()) {
        None => String::new(),
        Some(ServerName::Exact(name)) => name.clone(),
        Some(ServerName::Suffix(tail)) => format!("*{tail}"),
        Some(ServerName::Prefix(start)) => format!("{start}*"),
        Some(ServerName::Regex(pattern)) => format!("~{}", pattern.text.trim_start_matches('~')),
    }
}

/// Two rounds of a mixing function over the worker's seed, the connection and the request: unique,
/// and repeatable in a simulation. It is a name, not a secret.
fn request_id(cx: &Context<'_>, out: &mut Vec<u8>) -> bool {
    let serial = cx.facts.connection << 20 ^ u64::from(cx.facts.requests);
    let mut bits = crate::prng::Prng::new(cx.host.request_seed ^ serial.rotate_left(17));
    write!(out, "{:016x}{:016x}", bits.next_u64(), bits.next_u64() ^ serial).is_ok()
}

fn text(value: impl AsRef<[u8]>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value.as_ref());
    true
}

fn optional(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    value.is_some_and(|value| text(value, out))
}

fn number(value: u64, out: &mut Vec<u8>) -> bool {
    write!(out, "{value}").is_ok()
}

fn seconds(ms: u64, out: &mut Vec<u8>) -> bool {
    write!(out, "{}.{:03}", ms / 1000, ms % 1000).is_ok()
}

fn address(addr: &Addr, out: &mut Vec<u8>) -> bool {
    match addr {
        Addr::Inet(inet) => write!(out, "{}", inet.ip()).is_ok(),
        Addr::Unix(path) => write!(out, "unix:{path}").is_ok(),
    }
}

fn port(addr: &Addr, out: &mut Vec<u8>) -> bool {
    match addr {
        Addr::Inet(inet) => number(inet.port().into(), out),
        Addr::Unix(_) => true,
    }
}

/// Several lines of one field as one value (RFC 9110 section 5.3); cookies are joined by `; `.
fn joined<'a>(lines: impl Iterator<Item = (&'a [u8], &'a [u8])>, out: &mut Vec<u8>) -> bool {
    let mut any = false;
    for (name, value) in lines {
        if any {
            let cookie = name.eq_ignore_ascii_case(b"cookie");
            out.extend_from_slice(if cookie { b"; " } else { b", " });
        }
        out.extend_from_slice(value);
        any = true;
    }
    any
}

/// The same for a head that is only bytes, as it went to the client.
fn sent_field(head: &[u8], wanted: &str, out: &mut Vec<u8>) -> bool {
    let lines = head.split(|&b| b == b'\n').skip(1).filter_map(|line| {
        let colon = line.iter().position(|&b| b == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    });
    joined(lines.filter(|line| variable_names(wanted, line.0)), out)
}

fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = text.iter().position(|&b| b == b'=')?;
    Some((&text[..equals], &text[equals + 1..]))
}

fn is_name(pair: &(&[u8], &[u8]), name: &str) -> bool {
    pair.0.eq_ignore_ascii_case(name.as_bytes())
}

/// The user of `Authorization: Basic …` (RFC 7617); `None` unless it is one, with a colon.
fn basic_user(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut user = base64(rest.trim_ascii())?;
    user.truncate(user.iter().position(|&b| b == b':')?);
    Some(user)
}

/// Decodes base64 (RFC 4648 section 4), with or without padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|&&b| b == b'=').count();
    let digits = &text[..text.len() - padding.min(2)];
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for &digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 & 0xffff | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    (count < 6).then_some(out)
}
