//! A level with everything inherited, as the model's [`Settings`].

use crate::config::model::{Bulk, ProxyVersion, Settings};

use super::draft::Scope;

/// What nginx never passes on from an upstream unless told to.
const HIDDEN: [&str; 8] = [
    "date",
    "server",
    "x-pad",
    "x-accel-expires",
    "x-accel-redirect",
    "x-accel-limit-rate",
    "x-accel-buffering",
    "x-accel-charset",
];

/// A number from the file as a size in memory; what does not fit is as good as unbounded.
pub(super) fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Reads a level in which the defaults have filled every gap.
pub(super) fn settings(scope: &Scope) -> Settings {
    let (keepalive_timeout_ms, keepalive_header_s) = scope.keepalive_timeout.unwrap_or_default();
    let lifetime = scope.tunnel_max_lifetime.flatten();
    let time = |slot: Option<u64>| slot.unwrap_or_default();
    Settings {
        proxy_version: scope.proxy_version.unwrap_or(ProxyVersion::Http11),
        proxy_connect_timeout_ms: time(scope.proxy_connect_timeout_ms),
        proxy_read_timeout_ms: time(scope.proxy_read_timeout_ms),
        proxy_send_timeout_ms: time(scope.proxy_send_timeout_ms),
        send_timeout_ms: time(scope.send_timeout_ms),
        client_body_timeout_ms: time(scope.client_body_timeout_ms),
        client_max_body_bytes: scope.client_max_body_bytes.unwrap_or_default(),
        keepalive_timeout_ms,
        keepalive_header_s,
        keepalive_requests: scope.keepalive_requests.unwrap_or_default(),
        proxy_buffer_bytes: bytes(scope.proxy_buffer_bytes.unwrap_or_default()),
        set_headers: scope
            .set_headers
            .iter()
            .flatten()
            .map(|header| (header.name.clone(), header.value.clone()))
            .collect(),
        hide_headers: hidden(scope),
        add_headers: scope.add_headers.clone().unwrap_or_default(),
        upgrade_allow: scope.upgrade_allow.clone().unwrap_or_default(),
        splice: scope.splice.unwrap_or_default(),
        bulk: Bulk::DEFAULT,
        tunnel_half_close: scope.tunnel_half_close.unwrap_or_default(),
        tunnel_idle_timeout_ms: scope.tunnel_idle_timeout_ms.flatten(),
        tunnel_max_lifetime_ms: lifetime.map(|(time, _)| time),
        tunnel_lifetime_jitter_percent: lifetime.map_or(0, |(_, jitter)| jitter),
        access_logs: scope.access_logs.clone().unwrap_or_default(),
        tcp_nodelay: scope.tcp_nodelay.unwrap_or_default(),
        proxy_socket_keepalive: scope.proxy_socket_keepalive.unwrap_or_default(),
        server_tokens: scope.server_tokens.unwrap_or_default(),
    }
}

/// nginx's own hidden fields and the hidden ones of the file, without those that may pass.
fn hidden(scope: &Scope) -> Vec<String> {
    let passed = scope.pass_headers.as_deref().unwrap_or_default();
    let mut hidden: Vec<String> = HIDDEN.map(str::to_owned).into();
    for name in scope.hide_headers.iter().flatten() {
        if !hidden.contains(name) {
            hidden.push(name.clone());
        }
    }
    hidden.retain(|name| !passed.contains(name));
    hidden
}
