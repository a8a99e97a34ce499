//! A request head and a response head: parsed once, strictly, and kept as they came.
//!
//! The rules are RFC 9112's for a server that faces hostile clients: what could be understood in
//! two ways is refused. Finding the end of a head is the scanner's work
//! ([`HeadScanner`](super::scanner::HeadScanner)); where a body ends is `framing`'s.

use crate::limits::HEAD_FIELDS_MAX;
use crate::reason::Fault;

use super::fields::{FieldSpan, Fields, Span};
use super::uri;

/// The versions of HTTP that are spoken.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Version {
    /// `HTTP/1.0`.
    Http10,
    /// `HTTP/1.1`.
    Http11,
}

impl Version {
    /// As in a request line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }

    const fn of(minor: Option<u8>) -> Self {
        match minor {
            Some(0) => Self::Http10,
            _ => Self::Http11,
        }
    }
}

/// A request's head.
#[derive(Clone, Debug)]
pub struct RequestHead {
    fields: Fields,
    method: Span,
    line: Span,
    version: Version,
    target: Target,
    host: Option<Box<str>>,
}

/// A target in origin form, or the part of an absolute one that would be.
#[derive(Clone, Debug)]
struct Target {
    span: Span,
    /// In place of the span, for an absolute target whose path is empty.
    own: Option<Box<[u8]>>,
    /// Normalised; in place of the target's own path, if they differ.
    path: Option<Box<[u8]>>,
}

impl RequestHead {
    /// Parses a whole head, from the method to the empty line.
    ///
    /// # Errors
    /// The first rule that is broken, see [`Fault`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let mut slots = [httparse::EMPTY_HEADER; HEAD_FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut slots);
        match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(Fault::BadField),
            // The version is fine; a space in the target makes it look like a longer one.
            Err(httparse::Error::Version) if has_our_version(first_line(bytes)) => {
                return Err(Fault::BadRequestLine);
            }
            Err(error) => return Err(request_fault(error)),
        }
        let version = Version::of(parsed.version);
        let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
            return Err(Fault::BadRequestLine);
        };
        if matches!(method, "CONNECT" | "TRACE") {
            return Err(Fault::BadMethod);
        }
        let (target, authority) = split_target(target.as_bytes(), method, bytes)?;
        let headers = parsed.headers.iter().filter(|header| is_plain_name(header.name));
        let spans = spans(headers, bytes)?;
        let method = Span::of(method.as_bytes(), bytes).ok_or(Fault::BadRequestLine)?;
        let line = Span::of(first_line(bytes), bytes).ok_or(Fault::BadRequestLine)?;
        let fields = Fields::new(bytes.into(), spans);
        let host = agree_on_host(&fields, authority, version)?;
        Ok(Self { fields, method, line, version, target, host })
    }

    /// The method, as it came: methods are case-sensitive.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.method.of_bytes(self.fields.bytes())
    }

    /// `$request_uri`: path and query string as they came, also from a target in absolute form;
    /// `*` for `OPTIONS *`.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        match &self.target.own {
            Some(own) => own,
            None => self.target.span.of_bytes(self.fields.bytes()),
        }
    }

    /// The request line without its end.
    #[must_use]
    pub fn request_line(&self) -> &[u8] {
        self.line.of_bytes(self.fields.bytes())
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// `$uri`: the path, decoded and normalised; `/` for `OPTIONS *`.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        match &self.target.path {
            Some(path) => path,
            None => uri::split(self.target()).0,
        }
    }

    /// What follows the first `?` of the target, which may be nothing.
    #[must_use]
    pub fn args(&self) -> Option<&[u8]> {
        uri::split(self.target()).1
    }

    /// The host that is asked for: of the target in absolute form, or of `Host`; lower-case,
    /// without the port and a trailing dot. `None` only in HTTP/1.0.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The fields.
    #[must_use]
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// How many bytes the head has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.bytes().len()
    }

    /// Never: a head has a request line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the client lets the connection be used again after this request (RFC 9112 section
    /// 9.3): HTTP/1.1 unless it says `close`, HTTP/1.0 if it says `keep-alive`.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        keeps_alive(&self.fields, self.version)
    }
}

/// A response's head.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    fields: Fields,
    status: u16,
    reason: Span,
    version: Version,
}

impl ResponseHead {
    /// Parses a whole head, from the version to the empty line.
    ///
    /// # Errors
    /// The first rule that is broken, see [`Fault`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let mut slots = [httparse::EMPTY_HEADER; HEAD_FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut slots);
        match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(Fault::BadField),
            Err(httparse::Error::Version) => return Err(Fault::BadVersion),
            Err(httparse::Error::Status) => return Err(Fault::BadStatusLine),
            Err(error) => {
                return Err(match request_fault(error) {
                    Fault::BadRequestLine => Fault::BadStatusLine,
                    fault => fault,
                });
            }
        }
        let status = parsed.code.filter(|code| (100..=999).contains(code));
        let status = status.ok_or(Fault::BadStatusLine)?;
        let spans = spans(parsed.headers.iter(), bytes)?;
        let reason = parsed.reason.and_then(|reason| Span::of(reason.as_bytes(), bytes));
        let version = Version::of(parsed.version);
        let fields = Fields::new(bytes.into(), spans);
        Ok(Self { fields, status, reason: reason.unwrap_or_default(), version })
    }

    /// The status, 100 to 999.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase, which may be empty.
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        self.reason.of_bytes(self.fields.bytes())
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The fields.
    #[must_use]
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// How many bytes the head has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.bytes().len()
    }

    /// Never: a head has a status line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the upstream lets the connection be used again after this response.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        keeps_alive(&self.fields, self.version)
    }
}

fn keeps_alive(fields: &Fields, version: Version) -> bool {
    if fields.has_member("connection", "close") {
        return false;
    }
    version == Version::Http11 || fields.has_member("connection", "keep-alive")
}

fn has_our_version(line: &[u8]) -> bool {
    line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0")
}

const fn request_fault(error: httparse::Error) -> Fault {
    match error {
        httparse::Error::Version => Fault::BadVersion,
        httparse::Error::TooManyHeaders => Fault::TooManyFields,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Fault::BadField,
        // A line that ends where it must not: in the first line it is a token or a status.
        httparse::Error::NewLine => Fault::BadField,
        _ => Fault::BadRequestLine,
    }
}

/// What nginx takes for a field's name (`ignore_invalid_headers`, `underscores_in_headers off`): a
/// request's field with another name is as if it had not been sent. `X_Real_IP` must not reach an
/// upstream that takes it for `X-Real-IP`.
fn is_plain_name(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn spans<'a>(
    headers: impl Iterator<Item = &'a httparse::Header<'a>>,
    bytes: &[u8],
) -> Result<Box<[FieldSpan]>, Fault> {
    let span = |header: &httparse::Header<'_>| {
        let name = Span::of(header.name.as_bytes(), bytes)?;
        let value = header.value.trim_ascii();
        // An empty value may be a slice of nowhere.
        let value = if value.is_empty() { Some(Span::default()) } else { Span::of(value, bytes) };
        Some(FieldSpan { name, value: value? })
    };
    headers.map(|header| span(header).ok_or(Fault::BadField)).collect()
}

/// The first line without its end.
pub fn first_line(bytes: &[u8]) -> &[u8] {
    let line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Brings a target into origin form, and checks the authority if it had one.
fn split_target<'a>(
    target: &'a [u8],
    method: &str,
    bytes: &[u8],
) -> Result<(Target, Option<&'a [u8]>), Fault> {
    let at = |part: &[u8]| Span::of(part, bytes).ok_or(Fault::BadTarget);
    if target == b"*" {
        if method != "OPTIONS" {
            return Err(Fault::BadTarget);
        }
        return Ok((Target { span: at(target)?, own: None, path: Some(b"/"[..].into()) }, None));
    }
    if target.contains(&b'#') {
        return Err(Fault::BadTarget);
    }
    if target.first() == Some(&b'/') {
        return Ok((origin(target, at(target)?)?, None));
    }
    let (scheme, rest) = target.split_at_checked(7).ok_or(Fault::BadTarget)?;
    if !scheme.eq_ignore_ascii_case(b"http://") {
        return Err(Fault::BadTarget);
    }
    let end = rest.iter().position(|&b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if rest.first() == Some(&b'/') {
        return Ok((origin(rest, at(rest)?)?, Some(authority)));
    }
    let own = [b"/", rest].concat().into();
    let target = Target { span: Span::default(), own: Some(own), path: None };
    Ok((target, Some(authority)))
}

fn origin(target: &[u8], span: Span) -> Result<Target, Fault> {
    let path = match uri::normalise(uri::split(target).0)? {
        std::borrow::Cow::Borrowed(_) => None,
        std::borrow::Cow::Owned(path) => Some(path.into()),
    };
    Ok(Target { span, own: None, path })
}

/// The one host of a request: HTTP/1.1 demands a `Host`, nobody may send two, and a target in
/// absolute form must not contradict it (RFC 9112 section 3.2).
fn agree_on_host(
    fields: &Fields,
    authority: Option<&[u8]>,
    version: Version,
) -> Result<Option<Box<str>>, Fault> {
    let mut values = fields.all("host");
    let field = values.next();
    if values.next().is_some() || (field.is_none() && version == Version::Http11) {
        return Err(Fault::BadHost);
    }
    let named = field.map(uri::host).transpose()?;
    let Some(authority) = authority else { return Ok(named) };
    if field.is_some_and(|field| !field.eq_ignore_ascii_case(authority)) {
        return Err(Fault::BadHost);
    }
    uri::host(authority).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<RequestHead, Fault> {
        RequestHead::parse(text.as_bytes())
    }

    /// Checks what becomes of a request line in a head with one `Host: h`.
    #[track_caller]
    fn check_line(line: &str, expect: Result<(&str, &str, Option<&str>), Fault>) {
        let head = request(&format!("{line}\r\nHost: h\r\n\r\n"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let found =
            head.map(|head| (text(head.target()), text(head.path()), head.args().map(text)));
        let expect =
            expect.map(|(target, path, args)| (target.into(), path.into(), args.map(Into::into)));
        assert_eq!(found, expect, "{line}");
    }

    #[test]
    fn a_request_line_has_a_method_a_target_and_a_version() {
        check_line("GET / HTTP/1.1", Ok(("/", "/", None)));
        check_line("GET /a%20b?x=1&y HTTP/1.0", Ok(("/a%20b?x=1&y", "/a b", Some("x=1&y"))));
        check_line("POST /a/../b? HTTP/1.1", Ok(("/a/../b?", "/b", Some(""))));
        check_line("GET http://h/x?y HTTP/1.1", Ok(("/x?y", "/x", Some("y"))));
        check_line("GET HTTP://H HTTP/1.1", Ok(("/", "/", None)));
        check_line("GET http://h?y HTTP/1.1", Ok(("/?y", "/", Some("y"))));
        check_line("OPTIONS * HTTP/1.1", Ok(("*", "/", None)));
    }

    #[test]
    fn a_request_line_that_could_mean_two_things_is_refused() {
        for line in ["GET * HTTP/1.1", "GET x HTTP/1.1", "GET /.. HTTP/1.1", "GET /%zz HTTP/1.1"] {
            check_line(line, Err(Fault::BadTarget));
        }
        for line in ["GET ftp://h/ HTTP/1.1", "GET /a#b HTTP/1.1", "GET https://h/ HTTP/1.1"] {
            check_line(line, Err(Fault::BadTarget));
        }
        check_line("GET http://other/ HTTP/1.1", Err(Fault::BadHost));
        check_line("GET http:///x HTTP/1.1", Err(Fault::BadHost));
        check_line("CONNECT h:443 HTTP/1.1", Err(Fault::BadMethod));
        check_line("TRACE / HTTP/1.1", Err(Fault::BadMethod));
        check_line("GET / HTTP/2.0", Err(Fault::BadVersion));
        check_line("GET  / HTTP/1.1", Err(Fault::BadRequestLine));
        check_line("GET /a b HTTP/1.1", Err(Fault::BadRequestLine));
        check_line("GET / HTTP/1.1 x", Err(Fault::BadField));
        check_line("GET /\0 HTTP/1.1", Err(Fault::BadRequestLine));
    }

    #[track_caller]
    fn check_fields(version: &str, fields: &str, expect: Result<Option<&str>, Fault>) {
        let head = request(&format!("GET / {version}\r\n{fields}\r\n"));
        assert_eq!(
            head.as_ref().map(RequestHead::host).map_err(|&fault| fault),
            expect,
            "{fields:?}"
        );
    }

    #[test]
    fn a_request_has_one_host() {
        check_fields("HTTP/1.1", "Host: Example.com:80\r\n", Ok(Some("example.com")));
        check_fields("HTTP/1.0", "", Ok(None));
        check_fields("HTTP/1.0", "Host: a\r\n", Ok(Some("a")));
        check_fields("HTTP/1.1", "", Err(Fault::BadHost));
        check_fields("HTTP/1.1", "Host:\r\n", Err(Fault::BadHost));
        check_fields("HTTP/1.1", "Host: a\r\nhost: a\r\n", Err(Fault::BadHost));
        check_fields("HTTP/1.0", "Host: a\r\nHost: b\r\n", Err(Fault::BadHost));
        check_fields("HTTP/1.1", "Host: a/b\r\n", Err(Fault::BadHost));
    }

    #[test]
    fn a_field_line_that_could_be_read_in_two_ways_is_refused() {
        for field in [
            "X : y",
            " X: y",
            "X: a\r\n b",
            "X: a\0b",
            "X: a\rb",
            "X: a\x01b",
            "X\x7f: a",
            "X: \x7f",
            ": y",
            "X",
            "X y: z",
            "X(y): z",
            "\tX: y",
            "Xé: y",
        ] {
            check_fields("HTTP/1.1", &format!("Host: h\r\n{field}\r\n"), Err(Fault::BadField));
            check_fields("HTTP/1.1", &format!("{field}\r\nHost: h\r\n"), Err(Fault::BadField));
        }
        check_fields("HTTP/1.1", "Host: h\r\nX:\r\nY:  a\tb \t\r\nZ: é\r\n", Ok(Some("h")));
        check_fields("HTTP/1.1", "Host: h\nX: y\n", Ok(Some("h")));
    }

    #[test]
    fn fields_are_found_without_case_and_lists_over_all_lines() {
        let head = request(
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: a, ,B\r\nX:  v \r\n\
             connection:keep-alive\r\n\r\n",
        );
        let head = head.unwrap();
        let fields = head.fields();
        assert_eq!(fields.first("x"), Some(&b"v"[..]));
        assert_eq!(fields.first("y"), None);
        assert!(
            fields.has_member("CONNECTION", "b") && fields.has_member("connection", "keep-alive")
        );
        assert_eq!(fields.members("connection").count(), 3);
        assert_eq!(fields.iter().len(), 4);
        assert_eq!(head.request_line(), b"GET / HTTP/1.1");
    }

    #[test]
    fn a_field_with_an_unusual_name_is_as_if_it_had_not_been_sent() {
        let head =
            request("GET / HTTP/1.1\r\nHost: h\r\nX_Real_IP: 1\r\nHo$t: x\r\nA.b: c\r\n\r\n");
        let head = head.unwrap();
        assert_eq!(head.fields().iter().len(), 1);
    }

    #[test]
    fn as_many_fields_as_allowed_and_no_more() {
        let head = |count: usize| {
            request(&format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "x: y\r\n".repeat(count - 1)))
        };
        assert!(head(HEAD_FIELDS_MAX).is_ok());
        assert_eq!(head(HEAD_FIELDS_MAX + 1).err(), Some(Fault::TooManyFields));
    }

    #[track_caller]
    fn check_response(text: &str, expect: Result<(u16, &str), Fault>) {
        let head = ResponseHead::parse(text.as_bytes());
        let found = head.map(|head| (head.status(), String::from_utf8_lossy(head.reason()).into()));
        assert_eq!(found, expect.map(|(status, reason)| (status, reason.to_owned())), "{text:?}");
    }

    #[test]
    fn a_status_line_has_a_version_and_three_digits() {
        check_response("HTTP/1.1 200 OK\r\n\r\n", Ok((200, "OK")));
        check_response("HTTP/1.0 204 \r\nA: b\r\n\r\n", Ok((204, "")));
        check_response("HTTP/1.1 404\n\n", Ok((404, "")));
        check_response("HTTP/2.0 200 OK\r\n\r\n", Err(Fault::BadVersion));
        check_response("HTTP/1.1 20 OK\r\n\r\n", Err(Fault::BadStatusLine));
        check_response("HTTP/1.1 099 OK\r\n\r\n", Err(Fault::BadStatusLine));
        check_response("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Err(Fault::BadField));
        check_response("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Err(Fault::BadField));
        check_response("HTTP/1.1 200 OK\r\nA: b\r\n", Err(Fault::BadField));
    }

    #[test]
    fn a_connection_is_kept_as_both_versions_say() {
        let keeps = |version: &str, connection: &str| {
            let text = format!("GET / {version}\r\nHost: h\r\nConnection: {connection}\r\n\r\n");
            request(&text).unwrap().keeps_alive()
        };
        assert!(keeps("HTTP/1.1", "x") && keeps("HTTP/1.0", "Keep-Alive, x"));
        assert!(!keeps("HTTP/1.1", "x, Close") && !keeps("HTTP/1.0", "x"));
        assert!(!keeps("HTTP/1.0", "keep-alive, close"));
    }
}
