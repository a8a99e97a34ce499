//! A request head and a response head, parsed once and kept as they came.

use super::fields::{Fields, Span};

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
}

/// A request's head.
#[derive(Clone, Debug)]
pub struct RequestHead {
    fields: Fields,
    method: Span,
    target: Span,
    line: Span,
    version: Version,
    path: Box<[u8]>,
    args: Option<Span>,
    host: Option<Box<str>>,
}

impl RequestHead {
    /// The method, as it came: methods are case-sensitive.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.method.of_bytes(self.fields.bytes())
    }

    /// `$request_uri`: path and query string as they came, also from a target in absolute form;
    /// `*` for `OPTIONS *`.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.target.of_bytes(self.fields.bytes())
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

    /// `$uri`: the path, decoded and normalised.
    #[must_use]
    pub const fn path(&self) -> &[u8] {
        &self.path
    }

    /// What follows the first `?` of the target, which may be nothing.
    #[must_use]
    pub fn args(&self) -> Option<&[u8]> {
        Some(self.args?.of_bytes(self.fields.bytes()))
    }

    /// The host that is asked for: of the target in absolute form, or of `Host`; lower-case,
    /// without the port and a trailing dot.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The fields.
    #[must_use]
    pub const fn fields(&self) -> &Fields {
        &self.fields
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
}
