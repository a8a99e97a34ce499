//! Which fields end at this hop, and which a client must not be able to take away.
//!
//! A sender names in `Connection` the fields that are meant for the next hop only, and a proxy
//! removes them (RFC 9110 section 7.6.1). A client can use that to make a proxy drop a field on
//! which the upstream's decisions rest — CVE-2022-1388 was exactly this — so a nomination does not
//! touch the fields of [`is_trusted`], and never one that the proxy itself sets.

use super::fields::Fields;

/// Fields that are consumed here and regenerated where they are needed. `Proxy-Connection` was
/// never standardised, but is sent; `Trailer` goes because trailers are not promised onwards.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that frame, route, authenticate or describe a message, or say on whose behalf it comes.
const TRUSTED: [&str; 19] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "location",
    "origin",
    "range",
    "set-cookie",
    "via",
    "www-authenticate",
    "x-real-ip",
    "x-request-id",
];

/// The same, as families.
const TRUSTED_PREFIXES: [&str; 4] = ["x-forwarded-", "x-original-", "x-auth-", "sec-"];

/// Whether a field is never passed on as it came.
pub(super) fn is_hop_by_hop(name: &[u8]) -> bool {
    HOP_BY_HOP.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Whether a field stays although the sender's `Connection` nominates it; such fields are not
/// allowed in trailers either.
pub(super) fn is_trusted(name: &[u8]) -> bool {
    let begins = |prefix: &str| {
        let start = name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    TRUSTED.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
        || TRUSTED_PREFIXES.into_iter().any(begins)
}

/// Whether a field of a head goes no further than here.
pub(super) fn ends_here(fields: &Fields, name: &[u8]) -> bool {
    is_hop_by_hop(name)
        || (!is_trusted(name)
            && fields.members("connection").any(|member| member.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::RequestHead;

    #[test]
    fn nominated_fields_end_here_unless_upstreams_rest_on_them() {
        let text = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-Hop\r\n\
                    Connection: x-forwarded-for,Authorization, Sec-WebSocket-Key\r\n\r\n";
        let head = RequestHead::parse(text.as_bytes()).unwrap();
        for name in ["x-hop", "X-HOP", "Upgrade", "TE", "close"] {
            assert!(ends_here(head.fields(), name.as_bytes()), "{name}");
        }
        for name in ["X-Forwarded-For", "authorization", "sec-websocket-key", "Host", "X-Other"] {
            assert!(!ends_here(head.fields(), name.as_bytes()), "{name}");
        }
    }
}
