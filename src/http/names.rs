//! The names of the built-in variables, each with the line that documents it.

use super::variables::{Running, UpstreamValue, Variable};

/// A built-in variable.
#[derive(Debug)]
pub struct Builtin {
    /// Its name, without `$`.
    pub name: &'static str,
    /// What a template holds for it.
    pub variable: Variable,
    /// One sentence for `docs/CONFIG.md`.
    pub doc: &'static str,
}

/// All built-in variables with a fixed name, in alphabetical order.
#[must_use]
pub const fn builtins() -> &'static [Builtin] {
    BUILTINS
}

/// The families of variables with a name inside: their prefix and one sentence.
#[must_use]
pub const fn prefixes() -> &'static [(&'static str, &'static str)] {
    &[
        ("arg_", "The argument of this name in the query string, undecoded."),
        ("cookie_", "The cookie of this name."),
        ("http_", "The request field of this name: lower-case, dashes as underscores."),
        ("sent_http_", "The field of this name in the response head that goes to the client."),
        ("upstream_http_", "The field of this name in the upstream's response head."),
    ]
}

const fn row(name: &'static str, variable: Variable, doc: &'static str) -> Builtin {
    Builtin { name, variable, doc }
}

const fn running(name: &'static str, variable: Running, doc: &'static str) -> Builtin {
    row(name, Variable::Running(variable), doc)
}

const fn upstream(name: &'static str, variable: UpstreamValue, doc: &'static str) -> Builtin {
    row(name, Variable::Upstream(variable), doc)
}

#[rustfmt::skip]
const BUILTINS: &[Builtin] = &[
    row("args", Variable::Args, "The query string, without the question mark."),
    running("body_bytes_sent", Running::BodyBytesSent,
        "Bytes sent to the client, response heads not counted; in a tunnel, its bytes."),
    running("bytes_sent", Running::BytesSent, "Bytes sent to the client."),
    row("connection", Variable::Connection, "The serial number of the client's connection."),
    row("connection_requests", Variable::ConnectionRequests,
        "The number of this request on its connection, from 1."),
    running("connection_time", Running::ConnectionTime,
        "Seconds since the client connected, with milliseconds."),
    row("content_length", Variable::ContentLength, "The request's `Content-Length`."),
    row("content_type", Variable::ContentType, "The request's `Content-Type`."),
    row("document_uri", Variable::Uri, "The same as `$uri`."),
    row("host", Variable::Host,
        "The host of the request line, or of `Host`, or the server's name: lower-case, no port."),
    row("hostname", Variable::Hostname, "The name of this machine."),
    row("https", Variable::Https, "`on` over TLS, otherwise empty."),
    row("is_args", Variable::IsArgs, "`?` if there is a query string, otherwise empty."),
    running("msec", Running::Msec, "Seconds since 1970, with milliseconds."),
    row("nginx_version", Variable::Version, "The version of upsplice, not of any nginx."),
    row("pid", Variable::Pid, "The number of the process."),
    row("pipe", Variable::Pipe, "`p` if the request was pipelined, otherwise `.`."),
    row("proxy_add_x_forwarded_for", Variable::ProxyForwardedFor,
        "The request's `X-Forwarded-For` with `$remote_addr` appended after a comma."),
    row("proxy_host", Variable::ProxyHost, "The host and port of `proxy_pass`."),
    row("proxy_port", Variable::ProxyPort, "The port of `proxy_pass`."),
    row("query_string", Variable::Args, "The same as `$args`."),
    row("remote_addr", Variable::RemoteAddr, "The client's address."),
    row("remote_port", Variable::RemotePort, "The client's port."),
    row("remote_user", Variable::RemoteUser, "The user name of `Authorization: Basic`."),
    row("request", Variable::Request, "The request line as it came."),
    row("request_id", Variable::RequestId, "32 hexadecimal digits that name the request."),
    running("request_length", Running::RequestLength, "Bytes of the request's head and body."),
    row("request_method", Variable::RequestMethod, "The request's method."),
    running("request_time", Running::RequestTime,
        "Seconds since the first byte of the request, with milliseconds."),
    row("request_uri", Variable::RequestUri, "The request's path and query string as they came."),
    row("scheme", Variable::Scheme, "`http`, or `https` over TLS."),
    row("server_addr", Variable::ServerAddr, "The address the client connected to."),
    row("server_name", Variable::ServerName, "The first name of the server that took the request."),
    row("server_port", Variable::ServerPort, "The port the client connected to."),
    row("server_protocol", Variable::ServerProtocol, "`HTTP/1.0` or `HTTP/1.1`."),
    running("status", Running::Status, "The status of the response; 101 for a tunnel."),
    running("time_iso8601", Running::TimeIso8601, "Local time as in ISO 8601."),
    running("time_local", Running::TimeLocal, "Local time as in the common log format."),
    running("upsplice_bytes_down", Running::BytesDown,
        "Body or tunnel bytes that went from the upstream to the client."),
    running("upsplice_bytes_up", Running::BytesUp,
        "Body or tunnel bytes that went from the client to the upstream."),
    row("upsplice_engine", Variable::Engine, "The engine of the worker: `io_uring` or `epoll`."),
    running("upsplice_reason", Running::Reason,
        "Why it ended: who closed, which timer fired, or what was wrong."),
    running("upsplice_tunnel_time", Running::TunnelTime,
        "Seconds the tunnel was open, with milliseconds; no value without a tunnel."),
    upstream("upstream_addr", UpstreamValue::Addr, "The address of each upstream that was tried."),
    upstream("upstream_bytes_received", UpstreamValue::BytesReceived,
        "Bytes received from each upstream."),
    upstream("upstream_bytes_sent", UpstreamValue::BytesSent, "Bytes sent to each upstream."),
    upstream("upstream_connect_time", UpstreamValue::ConnectTime,
        "Seconds until each upstream had accepted the connection."),
    upstream("upstream_header_time", UpstreamValue::HeaderTime,
        "Seconds until each upstream's response head was complete."),
    upstream("upstream_response_length", UpstreamValue::ResponseLength,
        "Bytes of each upstream's response body, or of the tunnel."),
    upstream("upstream_response_time", UpstreamValue::ResponseTime,
        "Seconds that each upstream was in use."),
    upstream("upstream_status", UpstreamValue::Status, "The status each upstream answered."),
    row("uri", Variable::Uri, "The path of the request, decoded and normalised."),
];
