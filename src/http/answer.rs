//! Answers of our own: a status, a sentence, and what the client should do next.

use crate::config::model::Settings;
use crate::limits::RETRY_AFTER_S;

use super::facts::Context;
use super::{rewrite, uri};

/// What a client that waits with its body is told to go on with.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Methods named in `Allow` when one is refused: the usual ones. An upstream may know more.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// An answer, ready to be sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Head and body.
    pub bytes: Vec<u8>,
    /// How many of them are the head.
    pub head_bytes: usize,
}

/// A short page for a status, without a body if the request was a HEAD. It takes `add_header …
/// always`, `server_tokens` and `keepalive_timeout` from the location of `cx`.
#[must_use]
pub fn answer(cx: &Context<'_>, status: u16, keep_alive: bool) -> Answer {
    let settings = &cx.config.locations[cx.location].settings;
    page(cx, status, keep_alive, "text/html", &html(settings, status))
}

/// The redirect to the same path with a slash at its end
/// ([`Found::AddSlash`](crate::route::Found)). The new address is relative, so that it holds behind
/// other proxies too.
#[must_use]
pub fn add_slash(cx: &Context<'_>, keep_alive: bool) -> Answer {
    let settings = &cx.config.locations[cx.location].settings;
    let mut target = Vec::new();
    if let Some(request) = cx.request {
        uri::encode(request.path(), &mut target);
        target.push(b'/');
        if let Some(args) = request.args() {
            target.push(b'?');
            target.extend_from_slice(args);
        }
    }
    let body = html(settings, 301);
    whole(cx, 301, keep_alive, &[("Location", &target), ("Content-Type", b"text/html")], &body)
}

/// A whole response with a given body.
#[must_use]
pub fn page(
    cx: &Context<'_>,
    status: u16,
    keep_alive: bool,
    content_type: &str,
    body: &[u8],
) -> Answer {
    whole(cx, status, keep_alive, &[("Content-Type", content_type.as_bytes())], body)
}

fn whole(
    cx: &Context<'_>,
    status: u16,
    keep_alive: bool,
    fields: &[(&str, &[u8])],
    body: &[u8],
) -> Answer {
    let settings = &cx.config.locations[cx.location].settings;
    let mut bytes = Vec::with_capacity(body.len() + 256);
    bytes.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", phrase(status)).as_bytes());
    rewrite::product_and_date(cx, settings, None, &mut bytes);
    for (name, value) in fields {
        rewrite::field(name, value, &mut bytes);
    }
    rewrite::content_length(body.len() as u64, &mut bytes);
    rewrite::connection(settings, keep_alive, status == 426, &mut bytes);
    match status {
        405 => rewrite::field("Allow", METHODS.as_bytes(), &mut bytes),
        426 => {
            rewrite::field("Upgrade", settings.upgrade_allow.join(", ").as_bytes(), &mut bytes);
        }
        503 => rewrite::field("Retry-After", RETRY_AFTER_S.to_string().as_bytes(), &mut bytes),
        _ => {}
    }
    rewrite::add_fields(cx, &settings.add_headers, status, &mut bytes);
    bytes.extend_from_slice(b"\r\n");
    let head_bytes = bytes.len();
    if cx.request.is_none_or(|request| request.method() != b"HEAD") {
        bytes.extend_from_slice(body);
    }
    Answer { bytes, head_bytes }
}

fn html(settings: &Settings, status: u16) -> Vec<u8> {
    let (phrase, sentence) = (phrase(status), sentence(status));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<title>{status} {phrase}</title>\n\
         <h1>{status} {phrase}</h1>\n<p>{sentence}</p>\n<hr>\n<address>"
    )
    .into_bytes();
    rewrite::product(settings, &mut out);
    out.extend_from_slice(b"</address>\n</html>\n");
    out
}

/// The reason phrase (RFC 9110 section 15).
#[must_use]
pub const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

/// What happened, for a person.
const fn sentence(status: u16) -> &'static str {
    match status {
        301 => "The address of this page ends with a slash.",
        400 => "The request could not be understood.",
        403 => "This request is not allowed here.",
        404 => "Nothing is served under this address.",
        405 => "This method is not carried by the proxy.",
        408 => "The request did not arrive in time.",
        411 => "The length of the request's body must be known beforehand.",
        413 => "The request's body is larger than what is accepted here.",
        414 => "The address in the request is longer than what is accepted here.",
        426 => "Only upgraded connections are served here.",
        431 => "The request's header fields are larger than what is accepted here.",
        501 => "The request uses a transfer coding that is not supported.",
        502 => "The server behind this proxy could not be reached or gave no valid answer.",
        503 => "No server is available at the moment. Please try again shortly.",
        504 => "The server behind this proxy did not answer in time.",
        505 => "Only HTTP/1.0 and HTTP/1.1 are spoken here.",
        _ => "The request could not be answered.",
    }
}
