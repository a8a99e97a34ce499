//! Setters of `upstream` groups.

use crate::config::directives::Context;
use crate::config::lexer::Word;
use crate::config::model::{Balance, Peer, Upstream};
use crate::config::parser::Directive;
use crate::config::value;
use crate::conn::Addr;
use crate::limits::UPSTREAM_WEIGHT_MAX;

use super::address::{port, split_port};
use super::{Builder, Draft};

pub(in crate::config) fn upstream(builder: &mut Builder<'_>, directive: &Directive, _: &mut Draft) {
    let name = &directive.args[0];
    let Some(block) = &directive.block else { return };
    let mut draft = Draft::default();
    builder.walk_as(Context::Upstream, &block.directives, &mut draft);
    if builder.upstreams.iter().any(|group| group.name.eq_ignore_ascii_case(&name.text)) {
        let message = format!("duplicate upstream \"{}\"", name.text);
        builder.problems.error(name.span, message);
        return;
    }
    let has_server = block.directives.iter().any(|line| line.name.text == "server");
    if !has_server || (!draft.group.peers.is_empty() && draft.group.peers.iter().all(|p| p.backup))
    {
        let message = format!("no servers are inside upstream \"{}\"", name.text);
        builder.problems.error(directive.head(), message).help(if has_server {
            "one must not be \"backup\""
        } else {
            "write server HOST:PORT; in it"
        });
    }
    let balance = draft.group.balance.unwrap_or(Balance::RoundRobin);
    if let (Balance::IpHash, Some(word)) = (balance, &draft.group.backup) {
        let message = "balancing method does not support parameter \"backup\"";
        builder.problems.error(word.span, message);
    }
    builder.upstreams.push(Upstream { name: name.text.clone(), peers: draft.group.peers, balance });
}

pub(in crate::config) fn server(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let word = &directive.args[0];
    let mut model = Peer {
        name: word.text.clone(),
        addr: Addr::Unix("".into()),
        weight: 1,
        backup: false,
        down: false,
    };
    for parameter in &directive.args[1..] {
        match parameter.text.as_str() {
            "backup" => {
                model.backup = true;
                draft.group.backup.get_or_insert_with(|| parameter.clone());
            }
            "down" => model.down = true,
            text => match text.strip_prefix("weight=") {
                Some(weight) => {
                    let weight =
                        value::number(weight).and_then(|weight| u32::try_from(weight).ok());
                    match weight.filter(|weight| (1..=UPSTREAM_WEIGHT_MAX).contains(weight)) {
                        Some(weight) => model.weight = weight,
                        None => builder.invalid(
                            directive,
                            parameter,
                            &format!("weight=N, N from 1 to {UPSTREAM_WEIGHT_MAX}"),
                        ),
                    }
                }
                None => refuse_parameter(builder, parameter),
            },
        }
    }
    for addr in peer_addresses(builder, word) {
        draft.group.peers.push(Peer { addr, ..model.clone() });
    }
}

fn refuse_parameter(builder: &mut Builder<'_>, parameter: &Word) {
    let text = parameter.text.as_str();
    let name = text.split('=').next().unwrap_or(text);
    let nginx = [
        "max_fails",
        "fail_timeout",
        "max_conns",
        "resolve",
        "route",
        "service",
        "slow_start",
        "drain",
    ];
    if nginx.contains(&name) {
        let message =
            format!("nginx's server parameter \"{name}\" is not supported by upsplice yet");
        builder
            .problems
            .error(parameter.span, message)
            .help("a failed server is not taken out of the group for now");
        return;
    }
    builder
        .problems
        .error(parameter.span, format!("invalid parameter \"{text}\""))
        .help("weight=N, backup or down")
        .suggest(name, ["weight", "backup", "down"]);
}

/// The addresses of a `server` line, or a message and none.
fn peer_addresses(builder: &mut Builder<'_>, word: &Word) -> Vec<Addr> {
    let text = word.text.as_str();
    if let Some(path) = text.strip_prefix("unix:") {
        return builder.unix_path(path, word.span).into_iter().collect();
    }
    if text.contains("://") {
        let message = format!("invalid host in upstream \"{text}\"");
        builder
            .problems
            .error(word.span, message)
            .help("a server of a group is HOST:PORT; the http:// belongs to proxy_pass");
        return Vec::new();
    }
    let parts = split_port(text)
        .and_then(|(host, number)| Ok((host, number.map_or(Ok(80), |number| port(number, 1))?)));
    let (host, port) = match parts {
        Ok(parts) => parts,
        Err(why) => {
            let message = format!("{why} in upstream \"{text}\"");
            builder.problems.error(word.span, message).help("HOST, HOST:PORT or unix:PATH");
            return Vec::new();
        }
    };
    builder.addresses(host, port).unwrap_or_else(|why| {
        let message = format!("host not found in upstream \"{text}\"");
        builder.problems.error(word.span, message).help(why);
        Vec::new()
    })
}

pub(in crate::config) fn ip_hash(_: &mut Builder<'_>, _: &Directive, draft: &mut Draft) {
    draft.group.balance = Some(Balance::IpHash);
}

pub(in crate::config) fn keepalive(
    builder: &mut Builder<'_>,
    directive: &Directive,
    _: &mut Draft,
) {
    let word = &directive.args[0];
    if value::number(&word.text).is_none_or(|count| count == 0) {
        builder.invalid(directive, word, "a number of connections, at least 1");
    }
    builder.warn_once(
        "keepalive",
        directive.head(),
        "connections to upstreams are not kept for further requests yet",
        "\"keepalive\" has no effect for now; tunnels are not concerned",
    );
}
