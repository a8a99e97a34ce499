//! What only shows when everything is known: the classic mistakes with WebSockets, names that
//! collide.
//!
//! Warnings, but for a carrier that the chosen engine does not have; whatever else makes a
//! configuration unusable is an error where it is read.

use std::collections::HashSet;

use super::build::Scope;
use super::diagnostic::Problems;
use super::model::{Config, EngineChoice, ServerName};
use super::source::Span;

/// Looks at a location that proxies, with what it inherited but without defaults.
pub(super) fn location(scope: &Scope, problems: &mut Problems) {
    let headers = scope.set_headers.as_deref().unwrap_or_default();
    let find = |name: &str| headers.iter().rfind(|header| header.name.eq_ignore_ascii_case(name));
    let upgrade = find("Upgrade");
    if let Some(header) = upgrade.filter(|header| header.value.constant() == Some(b"")) {
        problems
            .warn(header.span, "an empty Upgrade value keeps WebSockets from opening")
            .help("$http_upgrade, or no line: upgrades pass by themselves");
    }
    if let Some((header, value)) =
        find("Connection").and_then(|header| Some((header, header.value.constant()?)))
    {
        let value = String::from_utf8_lossy(value);
        if !value.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade")) {
            problems
                .warn(
                    header.span,
                    format!("the Connection value \"{value}\" keeps WebSockets from opening"),
                )
                .help(
                    "\"upgrade\", a map of $http_upgrade, or no line: upgrades pass by themselves; \
                     nothing to mend where none is wanted",
                );
        }
    }
    let Some(upgrade) = upgrade.filter(|header| header.value.constant() != Some(b"")) else {
        return;
    };
    if scope.proxy_read_timeout_ms.is_none() {
        problems.warn(upgrade.span, "a WebSocket that is silent for 60 s is closed here").help(
            "60 s is the default proxy_read_timeout: set it (proxy_read_timeout 1h;), or send \
                 a ping more often",
        );
    }
}

/// Looks for a carrier that the engine chosen in the same file cannot be.
pub(super) fn carriers(engine: EngineChoice, linked: &[Span], problems: &mut Problems) {
    if engine != EngineChoice::Epoll {
        return;
    }
    for &span in linked {
        problems
            .error(span, "\"splice linked\" needs io_uring, and this file says \"use epoll\"")
            .help("splice pipe does the same on both engines, and costs less");
    }
}

/// Looks for names that two servers of one address claim; `spans` has the places of each server's
/// names.
pub(super) fn names(config: &Config, spans: &[Vec<Span>], problems: &mut Problems) {
    let text = |name: &ServerName| match name {
        ServerName::Exact(name) => Some(name.clone()),
        ServerName::Suffix(name) => Some(format!("*{name}")),
        ServerName::Prefix(name) => Some(format!("{name}*")),
        ServerName::Regex(_) => None,
    };
    for listen in &config.listens {
        let mut seen: HashSet<String> = HashSet::new();
        for &server in &listen.servers {
            for (name, &span) in config.servers[server].names.iter().zip(&spans[server]) {
                let Some(name) = text(name) else { continue };
                if seen.contains(&name) {
                    let addr = &listen.addr;
                    problems
                        .warn(
                            span,
                            format!("conflicting server name \"{name}\" on {addr}, ignored"),
                        )
                        .help("an earlier server of this address has the name");
                }
                seen.insert(name);
            }
        }
    }
}
