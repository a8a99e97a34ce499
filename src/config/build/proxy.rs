//! Setters of `proxy_pass` and the few that go with it.

use crate::config::lexer::Word;
use crate::config::model::{LocationMatch, ProxyVersion};
use crate::config::parser::Directive;

use super::address::{port, split_port};
use super::draft::{ProxyLine, ProxyTarget};
use super::{Builder, Draft};

pub(in crate::config) fn proxy_pass(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let word = &directive.args[0];
    let Some((target, uri)) = target(builder, word) else { return };
    if let (Some(LocationMatch::Regex(_)), Some(uri)) = (&draft.location.matches, &uri) {
        let message = "\"proxy_pass\" cannot have URI part in location given by regular expression";
        builder
            .problems
            .error(word.span, message)
            .help(format!("remove \"{uri}\": nothing says which part of the path it replaces"));
        return;
    }
    draft.location.proxy = Some(ProxyLine { target, uri, span: word.span });
}

/// Takes a `proxy_pass` address apart.
fn target(builder: &mut Builder<'_>, word: &Word) -> Option<(ProxyTarget, Option<String>)> {
    let text = word.text.as_str();
    let form = "http://HOST, http://HOST:PORT/URI, http://UPSTREAM or http://unix:/PATH:/URI";
    if text.contains('$') {
        let message = "variables in \"proxy_pass\" are not supported by upsplice yet";
        builder.problems.error(word.span, message).help("a location for each upstream does it");
        return None;
    }
    let scheme = |scheme: &str| {
        let head = text.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then(|| &text[scheme.len()..])
    };
    if ["https://", "wss://"].iter().any(|tls| scheme(tls).is_some()) {
        let message = "TLS to an upstream is not supported by upsplice yet";
        builder.problems.error(word.span, message).help("TLS is not built in yet: use http://");
        return None;
    }
    let Some(rest) = scheme("http://") else {
        let help = match scheme("ws://") {
            Some(rest) => format!("a WebSocket begins as HTTP: write http://{rest}"),
            None => form.to_owned(),
        };
        builder.problems.error(word.span, format!("invalid URL prefix in \"{text}\"")).help(help);
        return None;
    };
    if rest.contains(|c: char| c.is_ascii_control() || c == ' ') {
        let message = "an address cannot contain spaces or control characters";
        builder.problems.error(word.span, message).help(form);
        return None;
    }
    if let Some(path) = rest.strip_prefix("unix:") {
        let (path, uri) = match path.split_once(':') {
            Some((path, uri)) => (path, Some(uri.to_owned()).filter(|uri| !uri.is_empty())),
            None => (path, None),
        };
        builder.unix_path(path, word.span)?;
        return Some((ProxyTarget::Unix(path.to_owned()), uri));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, uri) = rest.split_at(end);
    let parts = split_port(authority)
        .and_then(|(host, number)| Ok((host, number.map(|number| port(number, 1)).transpose()?)));
    match parts {
        Ok((host, port)) => {
            let target = ProxyTarget::Host(host.to_ascii_lowercase(), port);
            Some((target, Some(uri.to_owned()).filter(|uri| !uri.is_empty())))
        }
        Err(why) => {
            builder.problems.error(word.span, format!("{why} in \"{text}\"")).help(form);
            None
        }
    }
}

pub(in crate::config) fn http_version(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let word = &directive.args[0];
    draft.scope.proxy_version = match word.text.as_str() {
        "1.1" => Some(ProxyVersion::Http11),
        "1.0" => {
            builder
                .problems
                .warn(directive.head(), "HTTP/1.0 has no upgrades: no WebSocket can be opened")
                .help("remove the line: 1.1 is the default here");
            Some(ProxyVersion::Http10)
        }
        "2" | "2.0" => {
            let message = "HTTP/2 to an upstream is not supported by upsplice yet";
            builder.problems.error(word.span, message).help("1.1, which has upgrades");
            None
        }
        _ => {
            builder.invalid(directive, word, "1.0 or 1.1");
            None
        }
    };
}

pub(in crate::config) fn redirect(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let word = &directive.args[0];
    if word.text == "off" {
        draft.scope.redirect_off = Some(true);
        return;
    }
    builder
        .problems
        .error(word.span, "\"proxy_redirect\" can only be \"off\" in upsplice so far")
        .help("Location fields of upstreams pass unchanged");
}
