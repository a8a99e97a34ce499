//! Why a session's work ended: whose doing it was, the status that says so, and the word in the
//! log.
//!
//! One enum for the whole program, so that `$upsplice_reason`, the counters and the error log can
//! never disagree.

use nix::errno::Errno as System;

/// Whose doing an end was.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Party {
    /// The client's.
    Client,
    /// The upstream server's.
    Upstream,
    /// Ours: the operator's configuration, a limit, a stop.
    Proxy,
}

/// A timer that can end a session; named as the directive that sets it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Timer {
    /// `client_header_timeout`: a request head did not arrive in time.
    ClientHeader,
    /// `keepalive_timeout`: no further request on an idle client connection.
    Keepalive,
    /// `client_body_timeout`: a pause in a request body.
    ClientBody,
    /// `proxy_connect_timeout`.
    ProxyConnect,
    /// `proxy_read_timeout`: a silent upstream; in a tunnel, silence in both directions.
    ProxyRead,
    /// `proxy_send_timeout`: a write to the upstream made no progress.
    ProxySend,
    /// `send_timeout`: a write to the client made no progress.
    Send,
    /// `tunnel_idle_timeout`: silence in both directions of a tunnel.
    TunnelIdle,
    /// `tunnel_max_lifetime`.
    TunnelLifetime,
    /// The bounded wait for a client to notice our last answer.
    Linger,
}

impl Timer {
    /// How many timers there are.
    pub const COUNT: usize = 10;

    /// The directive's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientHeader => "client_header_timeout",
            Self::Keepalive => "keepalive_timeout",
            Self::ClientBody => "client_body_timeout",
            Self::ProxyConnect => "proxy_connect_timeout",
            Self::ProxyRead => "proxy_read_timeout",
            Self::ProxySend => "proxy_send_timeout",
            Self::Send => "send_timeout",
            Self::TunnelIdle => "tunnel_idle_timeout",
            Self::TunnelLifetime => "tunnel_max_lifetime",
            Self::Linger => "lingering_timeout",
        }
    }
}

/// A fault in a request or a response head; the log word says which.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The first line is not one of HTTP/1.
    BadRequestLine,
    /// A status line is not one of HTTP/1.
    BadStatusLine,
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    BadVersion,
    /// A field line is malformed: bad name, whitespace before the colon, folding, control bytes.
    BadField,
    /// More than [`HEAD_FIELDS_MAX`](crate::limits::HEAD_FIELDS_MAX) fields.
    TooManyFields,
    /// The request line is longer than a large header buffer.
    TargetTooLong,
    /// The head is longer than its buffers.
    HeadTooLong,
    /// An HTTP/1.1 request without exactly one valid `Host`, or an HTTP/1.0 one with several.
    BadHost,
    /// The target is neither a path, nor an absolute http URI, nor `*` for OPTIONS.
    BadTarget,
    /// CONNECT, or a method the proxy does not carry.
    BadMethod,
    /// Content-Length is repeated, not a number, or beside Transfer-Encoding.
    BadContentLength,
    /// Transfer-Encoding is anything but exactly `chunked`.
    BadTransferEncoding,
    /// A chunk's size line, its end or a trailer is malformed or too long.
    BadChunk,
    /// The body is larger than `client_max_body_size`.
    BodyTooLarge,
    /// A chunked body for an upstream that is spoken to in HTTP/1.0.
    LengthRequired,
    /// An upgrade request with a body.
    UpgradeWithBody,
    /// A 101 that nobody asked for, or that names another protocol.
    BadSwitch,
}

impl Fault {
    /// The word in `$upsplice_reason`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::BadRequestLine => "bad_request_line",
            Self::BadStatusLine => "bad_status_line",
            Self::BadVersion => "bad_version",
            Self::BadField => "bad_field",
            Self::TooManyFields => "too_many_fields",
            Self::TargetTooLong => "target_too_long",
            Self::HeadTooLong => "head_too_long",
            Self::BadHost => "bad_host",
            Self::BadTarget => "bad_target",
            Self::BadMethod => "bad_method",
            Self::BadContentLength => "bad_content_length",
            Self::BadTransferEncoding => "bad_transfer_encoding",
            Self::BadChunk => "bad_chunk",
            Self::BodyTooLarge => "body_too_large",
            Self::LengthRequired => "length_required",
            Self::UpgradeWithBody => "upgrade_with_body",
            Self::BadSwitch => "bad_switch",
        }
    }

    /// The status a client gets for it when the fault is in its request.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadVersion => 505,
            Self::TooManyFields | Self::HeadTooLong => 431,
            Self::TargetTooLong => 414,
            Self::BadMethod => 405,
            Self::LengthRequired => 411,
            Self::BodyTooLarge => 413,
            Self::BadTransferEncoding => 501,
            _ => 400,
        }
    }
}

/// Why a request, a tunnel or a connection ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// An ordinary exchange came to its end.
    Done,
    /// A party ended its stream, and everything it sent was delivered.
    Closed(Party),
    /// A party's socket failed: errno.
    Failed(Party, i32),
    /// A party ended its stream in the middle of a message.
    Truncated(Party),
    /// A timer fired.
    TimedOut(Timer),
    /// A head or a body broke the rules.
    Fault(Party, Fault),
    /// An upstream could not be reached: errno.
    ConnectFailed(i32),
    /// No server of the group may be used.
    NoUpstream,
    /// The worker has no connection slot left for the upstream.
    Full,
    /// No location takes the request.
    NotFound,
    /// The program stops.
    Shutdown,
}

impl Reason {
    /// Whose doing it was.
    #[must_use]
    pub const fn party(self) -> Party {
        match self {
            Self::Closed(party)
            | Self::Failed(party, _)
            | Self::Truncated(party)
            | Self::Fault(party, _) => party,
            Self::TimedOut(timer) => match timer {
                Timer::ClientHeader
                | Timer::Keepalive
                | Timer::ClientBody
                | Timer::Send
                | Timer::Linger => Party::Client,
                Timer::ProxyConnect | Timer::ProxyRead | Timer::ProxySend => Party::Upstream,
                Timer::TunnelIdle | Timer::TunnelLifetime => Party::Proxy,
            },
            Self::ConnectFailed(_) => Party::Upstream,
            Self::NotFound => Party::Client,
            Self::Done | Self::NoUpstream | Self::Full | Self::Shutdown => Party::Proxy,
        }
    }

    /// The status to answer with, if no answer has begun yet. 499 is never sent: it is what nginx
    /// logs when the client went away first.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Done => 200,
            Self::Closed(Party::Client)
            | Self::Failed(Party::Client, _)
            | Self::Truncated(Party::Client) => 499,
            Self::Closed(_) | Self::Failed(..) | Self::Truncated(_) | Self::ConnectFailed(_) => 502,
            Self::TimedOut(timer) => match timer {
                Timer::ProxyConnect | Timer::ProxyRead | Timer::ProxySend => 504,
                _ => 408,
            },
            Self::Fault(Party::Client, fault) => fault.status(),
            Self::Fault(..) => 502,
            Self::NoUpstream | Self::Full | Self::Shutdown => 503,
            Self::NotFound => 404,
        }
    }
}

impl Reason {
    /// What an operator who reads the error log may do about it, where the word does not say it.
    #[must_use]
    pub const fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::Full => "raise worker_connections",
            Self::Closed(Party::Upstream) => "before its answer was complete",
            Self::Fault(Party::Upstream, Fault::HeadTooLong) => "raise proxy_buffer_size",
            Self::Fault(Party::Upstream, Fault::BadSwitch) => {
                "a 101 without a request for that protocol"
            }
            Self::Fault(Party::Client, Fault::HeadTooLong | Fault::TargetTooLong) => {
                "large_client_header_buffers is the bound"
            }
            Self::Fault(Party::Client, Fault::BodyTooLarge) => "client_max_body_size is the bound",
            Self::ConnectFailed(errno) => return unreachable(errno),
            _ => return None,
        })
    }

    /// The reason with its hint, for the error log.
    #[must_use]
    pub const fn explained(self) -> Explained {
        Explained(self)
    }
}

/// See [`Reason::explained`].
#[derive(Clone, Copy, Debug)]
pub struct Explained(Reason);

impl core::fmt::Display for Explained {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0)?;
        self.0.hint().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// What to do about an upstream that could not be reached.
const fn unreachable(errno: i32) -> Option<&'static str> {
    Some(match System::from_raw(errno) {
        System::ECONNREFUSED => "nothing listens there",
        System::ENOENT => "there is no such socket",
        System::EACCES => "the user of the workers may not use that socket",
        System::EADDRNOTAVAIL => {
            "no local port is left: net.ipv4.ip_local_port_range, or another upstream address"
        }
        _ => return shortage(errno),
    })
}

/// What to do about an errno that says that this machine or process has run out of something.
#[must_use]
pub const fn shortage(errno: i32) -> Option<&'static str> {
    Some(match System::from_raw(errno) {
        System::EMFILE => "raise worker_rlimit_nofile",
        System::ENFILE => "raise the system's fs.file-max",
        System::ENOBUFS | System::ENOMEM => "the system is short of memory for sockets",
        _ => return None,
    })
}

impl core::fmt::Display for Reason {
    /// The value of `$upsplice_reason`: one word, a colon and a detail where there is one.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let name = |party: Party| match party {
            Party::Client => "client",
            Party::Upstream => "upstream",
            Party::Proxy => "proxy",
        };
        match *self {
            Self::Done => f.write_str("done"),
            Self::Closed(party) => write!(f, "{}_closed", name(party)),
            Self::Failed(party, errno) => write!(f, "{}_failed:{}", name(party), Errno(errno)),
            Self::Truncated(party) => write!(f, "{}_truncated", name(party)),
            Self::TimedOut(timer) => write!(f, "timeout:{}", timer.name()),
            Self::Fault(party, fault) => write!(f, "{}_fault:{}", name(party), fault.word()),
            Self::ConnectFailed(errno) => write!(f, "connect_failed:{}", Errno(errno)),
            Self::NoUpstream => f.write_str("no_upstream"),
            Self::Full => f.write_str("worker_full"),
            Self::NotFound => f.write_str("not_found"),
            Self::Shutdown => f.write_str("shutdown"),
        }
    }
}

/// An errno that prints as its name (`ECONNREFUSED`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Errno(pub i32);

impl core::fmt::Display for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let known = System::from_raw(self.0);
        if known == System::UnknownErrno {
            return write!(f, "errno {}", self.0);
        }
        write!(f, "{known:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_follows_the_word_where_there_is_one() {
        let told = |reason: Reason| reason.explained().to_string();
        assert_eq!(told(Reason::Full), "worker_full (raise worker_connections)");
        assert_eq!(
            told(Reason::ConnectFailed(System::EMFILE as i32)),
            "connect_failed:EMFILE (raise worker_rlimit_nofile)"
        );
        assert_eq!(
            told(Reason::Fault(Party::Upstream, Fault::HeadTooLong)),
            "upstream_fault:head_too_long (raise proxy_buffer_size)"
        );
        assert_eq!(told(Reason::TimedOut(Timer::ProxyRead)), "timeout:proxy_read_timeout");
    }
}
