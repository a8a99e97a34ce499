//! Hosts and ports as nginx writes them.

use core::net::{IpAddr, SocketAddr};

use crate::config::source::Span;
use crate::conn::Addr;

use super::Builder;

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`; the brackets stay with the host.
///
/// # Errors
/// What is wrong, in a few words.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    let (host, rest) = if text.starts_with('[') {
        let end = text.find(']').ok_or("no closing \"]\"")?;
        text.split_at(end + 1)
    } else if text.matches(':').count() > 1 {
        return Err("an IPv6 address needs brackets");
    } else {
        text.split_at(text.find(':').unwrap_or(text.len()))
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port),
        None if rest.is_empty() => None,
        None => return Err("invalid host"),
    };
    if host.is_empty() {
        return Err("no host");
    }
    Ok((host, port))
}

/// A port.
///
/// # Errors
/// When it is not a number from `least` to 65535.
pub(super) fn port(text: &str, least: u16) -> Result<u16, &'static str> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port >= least).ok_or("invalid port")
}

/// A host that is an address already; IPv6 with or without brackets.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(bare) => bare.parse().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

/// Whether a word can be a host name at all: keeps mistakes from the resolver.
fn is_host_name(host: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !host.is_empty() && host.len() <= 255 && host.bytes().all(fits)
}

impl Builder<'_> {
    /// The addresses of a host.
    ///
    /// # Errors
    /// The resolver's reason.
    pub(super) fn addresses(&self, host: &str, port: u16) -> Result<Vec<Addr>, String> {
        if let Some(ip) = literal(host) {
            return Ok(vec![Addr::Inet(SocketAddr::new(ip, port))]);
        }
        if !is_host_name(host) {
            return Err("not a host name".into());
        }
        let found = self.outside.resolve(host, port)?;
        Ok(found.into_iter().map(Addr::Inet).collect())
    }

    /// The path behind `unix:`, or a message.
    pub(super) fn unix_path(&mut self, path: &str, span: Span) -> Option<Addr> {
        // sun_path holds 108 bytes with its final zero.
        if path.is_empty() || path.len() > 107 || path.contains('\0') {
            let message = format!("invalid unix-domain path \"{path}\"");
            self.problems.error(span, message).help("unix: and a path of 1 to 107 bytes");
            return None;
        }
        Some(Addr::Unix(path.into()))
    }
}
