//! The rules of the protocol switch (RFC 9110 section 7.8): who asks, who may, who grants.
//!
//! A tunnel exists only after a client asked for a protocol that the operator allows and the
//! upstream granted that very protocol with a 101. Everything else is an ordinary exchange.

use crate::config::model::{ProxyVersion, Settings};
use crate::reason::Fault;

use super::facts::Context;
use super::framing::Body;
use super::head::{RequestHead, ResponseHead, Version};

/// A protocol that a client asked for, as it wrote it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Protocol(Box<str>);

impl Protocol {
    /// The token, as in `Upgrade: websocket`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// Whether the request asks for a protocol of `allow` (lower-case), and for which: the first one in
/// the client's order. Without `Connection: upgrade`, in HTTP/1.0, with a method other than GET,
/// and for a protocol that is not allowed, an `Upgrade` field asks for nothing. A body is refused
/// whatever the method is: whoever sends one with an upgrade tries something.
///
/// # Errors
/// [`Fault::UpgradeWithBody`]: it would be unclear where the new protocol begins.
pub fn asked(head: &RequestHead, body: Body, allow: &[String]) -> Result<Option<Protocol>, Fault> {
    let fields = head.fields();
    if head.version() != Version::Http11 || !fields.has_member("connection", "upgrade") {
        return Ok(None);
    }
    let allowed =
        |token: &&[u8]| allow.iter().any(|name| token.eq_ignore_ascii_case(name.as_bytes()));
    let token =
        fields.members("upgrade").find(allowed).and_then(|token| str::from_utf8(token).ok());
    let Some(token) = token else { return Ok(None) };
    match body {
        Body::None | Body::Length(0) if head.method() != b"GET" => Ok(None),
        Body::None | Body::Length(0) => Ok(Some(Protocol(token.into()))),
        Body::Length(_) | Body::Chunked | Body::UntilClose => Err(Fault::UpgradeWithBody),
    }
}

/// Whether the operator's own header lines keep the request from being an upgrade: nginx would send
/// a `Connection` without `upgrade`, or an `Upgrade` without the protocol, or HTTP/1.0. It is then
/// forwarded as the ordinary request it is in nginx.
#[must_use]
pub fn blocked_by_config(cx: &Context<'_>, settings: &Settings, protocol: &Protocol) -> bool {
    let lacks = |name: &str, member: &str| {
        let mut lines =
            settings.set_headers.iter().filter(|line| line.0.eq_ignore_ascii_case(name));
        let Some((_, template)) = lines.next_back() else { return false };
        let mut value = Vec::new();
        template.render(cx, &mut value);
        let mut members = value.split(|&b| b == b',').map(<[u8]>::trim_ascii);
        !members.any(|found| found.eq_ignore_ascii_case(member.as_bytes()))
    };
    settings.proxy_version == ProxyVersion::Http10
        || lacks("connection", "upgrade")
        || lacks("upgrade", protocol.name())
}

/// Checks a 101: it must answer a request for an upgrade, say `Connection: upgrade`, and name the
/// one protocol that was asked for.
///
/// # Errors
/// [`Fault::BadSwitch`].
pub fn granted(head: &ResponseHead, asked: Option<&Protocol>) -> Result<(), Fault> {
    let Some(protocol) = asked else { return Err(Fault::BadSwitch) };
    let mut named = head.fields().members("upgrade");
    let first = named.next().unwrap_or_default();
    let right = head.status() == 101
        && head.version() == Version::Http11
        && head.fields().has_member("connection", "upgrade")
        && first.eq_ignore_ascii_case(protocol.name().as_bytes())
        && named.next().is_none();
    if right { Ok(()) } else { Err(Fault::BadSwitch) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::framing::request_body;

    #[track_caller]
    fn check(head: &str, expect: Result<Option<&str>, Fault>) {
        let allow = ["websocket".to_owned(), "chat/2".to_owned()];
        let head = RequestHead::parse(format!("{head}\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
        let found = asked(&head, request_body(&head).unwrap(), &allow);
        let found = found.map(|protocol| protocol.map(|protocol| protocol.name().to_owned()));
        assert_eq!(found, expect.map(|name| name.map(Into::into)), "{head:?}");
    }

    #[test]
    fn an_upgrade_is_asked_for_by_two_fields_in_a_get_of_http_1_1() {
        let rest = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket";
        check(&format!("GET / HTTP/1.1\r\n{rest}"), Ok(Some("WebSocket")));
        check(&format!("GET / HTTP/1.1\r\nContent-Length: 0\r\n{rest}"), Ok(Some("WebSocket")));
        check(&format!("GET / HTTP/1.0\r\n{rest}"), Ok(None));
        check(&format!("POST / HTTP/1.1\r\n{rest}"), Ok(None));
        check("GET / HTTP/1.1\r\nUpgrade: websocket", Ok(None));
        check("GET / HTTP/1.1\r\nConnection: upgrade", Ok(None));
        check("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c", Ok(None));
        check("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c, chat/2", Ok(Some("chat/2")));
        check("GET / HTTP/1.1\r\nConnection: upgrades\r\nUpgrade: websocket", Ok(None));
    }

    #[test]
    fn an_upgrade_with_a_body_is_refused() {
        let rest = "Connection: upgrade\r\nUpgrade: websocket";
        let refused = Err(Fault::UpgradeWithBody);
        for method in ["GET", "POST"] {
            check(&format!("{method} / HTTP/1.1\r\n{rest}\r\nContent-Length: 1"), refused);
        }
        check(&format!("GET / HTTP/1.1\r\n{rest}\r\nTransfer-Encoding: chunked"), refused);
    }

    #[track_caller]
    fn check_grant(head: &str, expect: Result<(), Fault>) {
        let head = ResponseHead::parse(format!("{head}\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(granted(&head, Some(&Protocol("WebSocket".into()))), expect, "{head:?}");
        assert_eq!(granted(&head, None), Err(Fault::BadSwitch));
    }

    #[test]
    fn a_grant_names_the_protocol_that_was_asked_for() {
        let head = "HTTP/1.1 101 Switching Protocols\r\n";
        let bad = Err(Fault::BadSwitch);
        check_grant(&format!("{head}Upgrade: websocket\r\nConnection: Upgrade"), Ok(()));
        check_grant(&format!("{head}Upgrade: h2c\r\nConnection: Upgrade"), bad);
        check_grant(&format!("{head}Upgrade: websocket, h2c\r\nConnection: Upgrade"), bad);
        check_grant(&format!("{head}Upgrade: websocket"), bad);
        check_grant(&format!("{head}Connection: Upgrade"), bad);
        check_grant("HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade", bad);
        check_grant("HTTP/1.0 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade", bad);
    }
}
