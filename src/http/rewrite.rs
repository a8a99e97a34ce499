//! Heads on their way through: the request's towards an upstream, the response's towards a client.
//!
//! End-to-end fields pass as they came and in their order; fields of one hop are consumed here and
//! regenerated; what the operator sets replaces what the client sent. `Connection` and framing are
//! always ours to say, because we are the ones who hold the connection: a `proxy_set_header
//! Connection` decides whether an upgrade happens
//! ([`blocked_by_config`](super::upgrade::blocked_by_config)), not what an ordinary request says.

use std::io::Write as _;

use crate::config::model::{AddHeader, LocationMatch, ProxyPass, ProxyVersion, Settings};
use crate::reason::Fault;

use super::facts::Context;
use super::framing::Body;
use super::head::{RequestHead, ResponseHead, Version};
use super::hop::ends_here;
use super::time::http_date;
use super::upgrade::Protocol;
use super::uri;

/// The name that our own heads give in `Server`.
const PRODUCT: &str = env!("CARGO_PKG_NAME");

/// Fields of which the proxy writes its own: [`request_head`] never copies them.
const REQUEST_OWN: [&str; 3] = ["host", "content-length", "expect"];

/// The head that goes to the upstream.
///
/// The location is that of `cx`. An `upgrade` must not be
/// [blocked](super::upgrade::blocked_by_config). `Expect` is not passed on: we answer it ourselves
/// ([`expects_continue`]).
///
/// # Errors
/// [`Fault::LengthRequired`] if the body is chunked and the upstream is spoken to in HTTP/1.0.
pub fn request_head(
    cx: &Context<'_>,
    head: &RequestHead,
    proxy: &ProxyPass,
    body: Body,
    upgrade: Option<&Protocol>,
) -> Result<Vec<u8>, Fault> {
    let location = &cx.config.locations[cx.location];
    let settings = &location.settings;
    if body == Body::Chunked && settings.proxy_version == ProxyVersion::Http10 {
        return Err(Fault::LengthRequired);
    }
    let mut out = Vec::with_capacity(head.len() + 256);
    out.extend_from_slice(head.method());
    out.push(b' ');
    request_target(head, proxy, &location.matches, &mut out);
    out.extend_from_slice(match settings.proxy_version {
        ProxyVersion::Http10 => b" HTTP/1.0\r\n",
        ProxyVersion::Http11 => b" HTTP/1.1\r\n",
    });
    let is_set = |name: &[u8]| {
        settings.set_headers.iter().any(|line| line.0.as_bytes().eq_ignore_ascii_case(name))
    };
    if !is_set(b"host") {
        field("Host", proxy.host.as_bytes(), &mut out);
    }
    if let Some(protocol) = upgrade {
        field("Upgrade", protocol.name().as_bytes(), &mut out);
        out.extend_from_slice(b"Connection: upgrade\r\n");
    } else {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    match body {
        Body::Length(length) => content_length(length, &mut out),
        Body::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Body::None | Body::UntilClose => {}
    }
    set_fields(cx, settings, &mut out);
    for (name, value) in head.fields().iter() {
        let own = REQUEST_OWN.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()));
        if !own && !is_set(name) && !ends_here(head.fields(), name) {
            raw_field(name, value, &mut out);
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

/// The target as nginx forms it: as it came if `proxy_pass` has no URI part, else that part in
/// place of what the location matched, and the rest of the normalised path encoded again.
fn request_target(
    head: &RequestHead,
    proxy: &ProxyPass,
    matched: &LocationMatch,
    out: &mut Vec<u8>,
) {
    let Some(uri) = &proxy.uri else {
        out.extend_from_slice(head.target());
        return;
    };
    let matched = match matched {
        LocationMatch::Exact(path) | LocationMatch::Prefix { path, .. } => path.len(),
        LocationMatch::Server | LocationMatch::Regex(_) => 0,
    };
    out.extend_from_slice(uri.as_bytes());
    uri::encode(head.path().get(matched..).unwrap_or_default(), out);
    if let Some(args) = head.args().filter(|args| !args.is_empty()) {
        out.push(b'?');
        out.extend_from_slice(args);
    }
}

/// `proxy_set_header`: each line with a value; not those for fields that are ours to write.
fn set_fields(cx: &Context<'_>, settings: &Settings, out: &mut Vec<u8>) {
    const OURS: [&str; 5] =
        ["connection", "upgrade", "content-length", "transfer-encoding", "keep-alive"];
    let mut value = Vec::new();
    for (name, template) in &settings.set_headers {
        if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
            continue;
        }
        value.clear();
        template.render(cx, &mut value);
        if !value.is_empty() {
            field(name, &value, out);
        }
    }
}

/// Whether the client waits for a `100 Continue` before it sends its body.
#[must_use]
pub fn expects_continue(head: &RequestHead, body: Body) -> bool {
    head.version() == Version::Http11
        && !matches!(body, Body::None | Body::Length(0))
        && head.fields().has_member("expect", "100-continue")
}

/// How a response reaches the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// True exactly when the body's chunk framing must be taken off, because the client speaks
    /// HTTP/1.0; see [`BodyReader::next`](super::framing::BodyReader::next).
    pub dechunk: bool,
    /// Whether the connection can serve another request afterwards; otherwise it must be closed,
    /// and the close is the end of the body where nothing else is.
    pub keep_alive: bool,
}

impl Delivery {
    /// Decides: `body` is the response's, `client` the request's version, `wanted` whether the
    /// client, the configuration and the state of the connection would all keep it.
    #[must_use]
    pub fn new(body: Body, client: Version, wanted: bool) -> Self {
        let dechunk = body == Body::Chunked && client == Version::Http10;
        Self { dechunk, keep_alive: wanted && !dechunk && body != Body::UntilClose }
    }
}

/// The head that goes to the client for an upstream's final response.
///
/// `body` is the response's framing. A `Content-Length` also stands where there is no body because
/// the request was a HEAD or the status is 304.
#[must_use]
pub fn response_head(
    cx: &Context<'_>,
    head: &ResponseHead,
    body: Body,
    delivery: Delivery,
) -> Vec<u8> {
    let settings = &cx.config.locations[cx.location].settings;
    let mut out = status_line(head, 256);
    product_and_date(cx, settings, Some(head), &mut out);
    for (name, value) in head.fields().iter() {
        // A length is repeated only where the framing does not write its own.
        let length = name.eq_ignore_ascii_case(b"content-length");
        let told = head.status() == 426 && name.eq_ignore_ascii_case(b"upgrade");
        let passes = if length {
            body == Body::None && head.status() != 204
        } else {
            told || (!is_hidden(settings, name) && !ends_here(head.fields(), name))
        };
        if passes {
            raw_field(name, value, &mut out);
        }
    }
    match body {
        Body::Length(length) => content_length(length, &mut out),
        Body::Chunked if !delivery.dechunk => {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        Body::Chunked | Body::None | Body::UntilClose => {}
    }
    connection(settings, delivery.keep_alive, head.status() == 426, &mut out);
    add_fields(cx, &settings.add_headers, head.status(), &mut out);
    out.extend_from_slice(b"\r\n");
    out
}

/// The head that goes to the client for the upstream's 101. `Upgrade` passes even if
/// `proxy_hide_header` names it, which in nginx breaks WebSockets.
#[must_use]
pub fn switch_head(cx: &Context<'_>, head: &ResponseHead) -> Vec<u8> {
    let settings = &cx.config.locations[cx.location].settings;
    let mut out = status_line(head, 128);
    product_and_date(cx, settings, Some(head), &mut out);
    out.extend_from_slice(b"Connection: upgrade\r\n");
    for (name, value) in head.fields().iter() {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        let ends = ends_here(head.fields(), name) || is("content-length");
        if is("upgrade") || !(ends || is_hidden(settings, name)) {
            raw_field(name, value, &mut out);
        }
    }
    add_fields(cx, &settings.add_headers, head.status(), &mut out);
    out.extend_from_slice(b"\r\n");
    out
}

/// The head that goes to the client for an interim response (RFC 9110 section 15.2), if it should
/// see it: an HTTP/1.0 client must not, and `100 Continue` we have said ourselves.
#[must_use]
pub fn interim_head(client: Version, head: &ResponseHead) -> Option<Vec<u8>> {
    if client == Version::Http10 || !matches!(head.status(), 102..=199) {
        return None;
    }
    let mut out = status_line(head, 0);
    for (name, value) in head.fields().iter() {
        if !ends_here(head.fields(), name) && !name.eq_ignore_ascii_case(b"content-length") {
            raw_field(name, value, &mut out);
        }
    }
    out.extend_from_slice(b"\r\n");
    Some(out)
}

/// nginx answers every client in HTTP/1.1, and so do we.
fn status_line(head: &ResponseHead, room: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + room);
    // Writing to memory cannot fail.
    let _ = write!(out, "HTTP/1.1 {:03} ", head.status());
    out.extend_from_slice(head.reason());
    out.extend_from_slice(b"\r\n");
    out
}

/// `proxy_hide_header`, and what nginx hides by itself.
fn is_hidden(settings: &Settings, name: &[u8]) -> bool {
    settings.hide_headers.iter().any(|hidden| name.eq_ignore_ascii_case(hidden.as_bytes()))
}

/// `Server` and `Date`, unless the upstream's head has one that passes.
pub(super) fn product_and_date(
    cx: &Context<'_>,
    settings: &Settings,
    upstream: Option<&ResponseHead>,
    out: &mut Vec<u8>,
) {
    let passes = |name: &str| {
        let sent = upstream.is_some_and(|head| head.fields().first(name).is_some());
        sent && !is_hidden(settings, name.as_bytes())
    };
    if !passes("server") {
        out.extend_from_slice(b"Server: ");
        product(settings, out);
        out.extend_from_slice(b"\r\n");
    }
    if !passes("date") {
        out.extend_from_slice(b"Date: ");
        http_date(cx.now.unix_ms, out);
        out.extend_from_slice(b"\r\n");
    }
}

/// Our name, with the version if `server_tokens` allows.
pub(super) fn product(settings: &Settings, out: &mut Vec<u8>) {
    out.extend_from_slice(PRODUCT.as_bytes());
    if settings.server_tokens {
        out.push(b'/');
        out.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
    }
}

/// `Connection` and, as `keepalive_timeout` says, `Keep-Alive`; with `upgrade`, the head names a
/// protocol in `Upgrade`.
pub(super) fn connection(settings: &Settings, keep_alive: bool, upgrade: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Connection: ");
    out.extend_from_slice(if keep_alive { b"keep-alive" } else { b"close" });
    out.extend_from_slice(if upgrade { b", upgrade\r\n" } else { b"\r\n" });
    if let (true, Some(seconds)) = (keep_alive, settings.keepalive_header_s) {
        let _ = write!(out, "Keep-Alive: timeout={seconds}\r\n");
    }
}

/// `add_header`: on the statuses for which nginx adds it, or always.
pub(super) fn add_fields(cx: &Context<'_>, lines: &[AddHeader], status: u16, out: &mut Vec<u8>) {
    let usual = matches!(status, 200 | 201 | 204 | 206 | 301..=304 | 307 | 308);
    let mut value = Vec::new();
    for line in lines.iter().filter(|line| usual || line.always) {
        value.clear();
        line.value.render(cx, &mut value);
        if !value.is_empty() {
            field(&line.name, &value, out);
        }
    }
}

pub(super) fn content_length(length: u64, out: &mut Vec<u8>) {
    let _ = write!(out, "Content-Length: {length}\r\n");
}

/// A field whose value the configuration made. A decoded path can put control bytes into a value
/// (`%0d%0a` in `$uri`); they are encoded again, so that no request can add a field of its own.
pub(super) fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    for &byte in value {
        if super::chunked::is_text(byte) {
            out.push(byte);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// A field that was parsed, and needs no second look.
fn raw_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}
