//! Setters of `listen` and `server_name`.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::lexer::Word;
use crate::config::model::{ServerName, SocketKeepalive};
use crate::config::parser::Directive;
use crate::config::value;
use crate::conn::Addr;
use crate::limits::LISTEN_RANGE_MAX;

use super::address::{literal, port, split_port};
use super::draft::{ListenLine, ListenOptions};
use super::{Builder, Draft};

/// Where a server without `listen` is.
pub(super) const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 80);

pub(in crate::config) fn listen(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let word = &directive.args[0];
    let Some(addresses) = listen_addresses(builder, word) else { return };
    let mut options = ListenOptions::default();
    let mut default_server = false;
    for parameter in &directive.args[1..] {
        match parameter.text.as_str() {
            "default_server" | "default" => default_server = true,
            _ => option(builder, directive, parameter, &addresses, &mut options),
        }
    }
    for addr in addresses {
        if draft.server.listens.iter().any(|line| line.addr == addr) {
            let message = format!("a duplicate listen {addr}");
            builder.problems.error(word.span, message);
            continue;
        }
        let options = options.clone();
        draft.server.listens.push(ListenLine { addr, span: word.span, default_server, options });
    }
}

/// The addresses a `listen` names, or a message.
fn listen_addresses(builder: &mut Builder<'_>, word: &Word) -> Option<Vec<Addr>> {
    let text = word.text.as_str();
    if let Some(path) = text.strip_prefix("unix:") {
        return builder.unix_path(path, word.span).map(|addr| vec![addr]);
    }
    let wildcard = || IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let only_port = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let parts = if only_port { Ok(("*", Some(text))) } else { split_port(text) };
    let found = parts.and_then(|(host, number)| Ok((host, ports(number.unwrap_or("80"))?)));
    let (host, ports) = match found {
        Ok(found) => found,
        Err(why) => {
            let message = format!("{why} in \"{text}\" of the \"listen\" directive");
            let help = "PORT, ADDRESS, ADDRESS:PORT, [IPV6]:PORT or unix:PATH";
            builder.problems.error(word.span, message).help(help);
            return None;
        }
    };
    let address = if host == "*" { Some(wildcard()) } else { literal(host) };
    if let Some(ip) = address {
        return Some(ports.map(|port| Addr::Inet(SocketAddr::new(ip, port))).collect());
    }
    let mut addresses = Vec::new();
    for port in ports {
        match builder.addresses(host, port) {
            Ok(found) => addresses.extend(found),
            Err(why) => {
                let message = format!("host not found in \"{text}\" of the \"listen\" directive");
                builder.problems.error(word.span, message).help(why);
                return None;
            }
        }
    }
    Some(addresses)
}

/// A port or a range of ports. Unlike in nginx a port can be 0: the system chooses.
fn ports(text: &str) -> Result<core::ops::RangeInclusive<u16>, &'static str> {
    let Some((first, last)) = text.split_once('-') else {
        return port(text, 0).map(|port| port..=port);
    };
    let (first, last) = (port(first, 1)?, port(last, 1)?);
    if first > last {
        return Err("invalid port range");
    }
    if usize::from(last - first) >= LISTEN_RANGE_MAX {
        return Err("too large port range");
    }
    Ok(first..=last)
}

/// Takes in one parameter that concerns the socket.
fn option(
    builder: &mut Builder<'_>,
    directive: &Directive,
    parameter: &Word,
    addresses: &[Addr],
    options: &mut ListenOptions,
) {
    let text = parameter.text.as_str();
    let (name, value) = text.split_once('=').map_or((text, None), |(name, v)| (name, Some(v)));
    match (name, value) {
        ("reuseport", None) => options.reuseport = true,
        ("bind", None) => {}
        ("backlog", Some(value)) => {
            let backlog = value::number(value).and_then(|backlog| i32::try_from(backlog).ok());
            options.backlog = backlog.filter(|&backlog| backlog > 0);
            if options.backlog.is_none() {
                builder.invalid(directive, parameter, "backlog=N, at least 1");
            }
        }
        ("ipv6only", Some(value)) => {
            let ipv6 = |addr: &Addr| matches!(addr, Addr::Inet(SocketAddr::V6(_)));
            if !addresses.iter().any(ipv6) {
                let message = "ipv6only is for IPv6 addresses";
                builder.problems.error(parameter.span, message).help("such as [::]:80");
                return;
            }
            options.ipv6only = match value {
                "on" => Some(true),
                "off" => Some(false),
                _ => {
                    builder.invalid(directive, parameter, "ipv6only=on or ipv6only=off");
                    return;
                }
            };
        }
        ("so_keepalive", Some(value)) => match keepalive(value) {
            Some(keepalive) => options.keepalive = Some(keepalive),
            None => builder.invalid(
                directive,
                parameter,
                "so_keepalive=on, off or IDLE:INTERVAL:COUNT, such as 30m::10",
            ),
        },
        _ => refuse_parameter(builder, parameter, name),
    }
}

/// `on`, `off` or three numbers, of which some may be missing.
fn keepalive(text: &str) -> Option<Option<SocketKeepalive>> {
    let system = SocketKeepalive { idle_s: None, interval_s: None, count: None };
    match text {
        "on" => return Some(Some(system)),
        "off" => return Some(None),
        _ => {}
    }
    let mut parts = text.split(':');
    let (idle, interval, count) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || text == "::" {
        return None;
    }
    let optional = |text: &str, read: fn(&str) -> Option<u64>| match text {
        "" => Some(None),
        text => {
            let number = u32::try_from(read(text)?).ok().filter(|&number| number > 0)?;
            Some(Some(number))
        }
    };
    Some(Some(SocketKeepalive {
        idle_s: optional(idle, value::seconds)?,
        interval_s: optional(interval, value::seconds)?,
        count: optional(count, value::number)?,
    }))
}

fn refuse_parameter(builder: &mut Builder<'_>, parameter: &Word, name: &str) {
    let text = parameter.text.as_str();
    let why = match name {
        "ssl" => {
            "TLS is not built in yet: a server for wss:// needs a TLS terminator in front of it"
        }
        "http2" | "spdy" => {
            "HTTP/2 is not built in yet; it has no Upgrade, WebSockets use HTTP/1.1"
        }
        "quic" | "http3" => "HTTP/3 is not built in yet",
        "proxy_protocol" => "the PROXY protocol is not built in yet",
        "rcvbuf" | "sndbuf" | "accept_filter" | "deferred" | "setfib" | "fastopen"
        | "multipath" => "remove it: the socket keeps the system's value",
        _ => {
            let known = ["default_server", "backlog", "reuseport", "so_keepalive", "ipv6only"];
            builder
                .problems
                .error(parameter.span, format!("invalid parameter \"{text}\""))
                .help(format!("accepted: {}", known.join(", ")))
                .suggest(name, known);
            return;
        }
    };
    let message = format!("\"{name}\" of \"listen\" is not supported by upsplice yet");
    builder.problems.error(parameter.span, message).help(why);
}

pub(in crate::config) fn server_name(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    for word in &directive.args {
        for name in names(builder, word) {
            draft.server.names.push((name, word.span));
        }
    }
}

/// What one word of `server_name` stands for; two names for `.example.com`.
fn names(builder: &mut Builder<'_>, word: &Word) -> Vec<ServerName> {
    let text = word.text.as_str();
    if let Some(pattern) = text.strip_prefix('~') {
        // Names are compared in lower case, so an expression must not see any difference.
        return builder.pattern(pattern, true, word).map(ServerName::Regex).into_iter().collect();
    }
    if text == "$hostname" {
        let message = "server_name $hostname is not supported by upsplice yet";
        builder.problems.error(word.span, message).help("write the name of the machine");
        return Vec::new();
    }
    if text.contains('/') {
        let message = format!("server name \"{text}\" has suspicious symbols");
        builder.problems.warn(word.span, message).help("a name has no scheme and no path");
    }
    let lower = text.to_ascii_lowercase();
    let invalid = lower.contains("..")
        || lower.contains('\0')
        || (lower.len() == 1 && matches!(text, "." | "*"))
        || lower.matches('*').count() > 1;
    let wild = |rest: &str| rest.len() > 1;
    match lower.as_str() {
        _ if invalid => {}
        name if !name.contains('*') && !name.starts_with('.') => {
            return vec![ServerName::Exact(lower)];
        }
        name if name.starts_with('.') && !name.contains('*') => {
            return vec![ServerName::Exact(name[1..].to_owned()), ServerName::Suffix(lower)];
        }
        name if name.starts_with("*.") && wild(&name[1..]) => {
            return vec![ServerName::Suffix(name[1..].to_owned())];
        }
        name if name.ends_with(".*") && wild(&name[..name.len() - 1]) && !name.starts_with('.') => {
            return vec![ServerName::Prefix(name[..name.len() - 1].to_owned())];
        }
        _ => {}
    }
    let message = format!("server name \"{text}\" is invalid");
    let help = "a star stands alone for the first or the last label: *.example.com, www.example.*";
    builder.problems.error(word.span, message).help(help);
    Vec::new()
}
