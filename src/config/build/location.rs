//! The blocks http, server and location.

use crate::config::directives::Context;
use crate::config::lexer::Word;
use crate::config::model::LocationMatch;
use crate::config::parser::Directive;

use super::{Builder, Draft};

pub(in crate::config) fn http(builder: &mut Builder<'_>, directive: &Directive, draft: &mut Draft) {
    let Some(block) = &directive.block else { return };
    let mut http = Draft { head: Some(directive.head()), ..Draft::default() };
    builder.walk_as(Context::Http, &block.directives, &mut http);
    draft.process.error_logs.append(&mut http.process.error_logs);
    builder.http = Some(http);
}

pub(in crate::config) fn server(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let Some(block) = &directive.block else { return };
    let mut server = Draft { head: Some(directive.head()), ..Draft::default() };
    builder.walk_as(Context::Server, &block.directives, &mut server);
    draft.process.error_logs.append(&mut server.process.error_logs);
    draft.inner.push(server);
}

pub(in crate::config) fn location(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let Some(block) = &directive.block else { return };
    let matches = location_match(builder, directive);
    if let Some(matches) = &matches {
        nests(builder, directive, matches, draft);
    }
    let mut location = Draft { head: Some(directive.head()), ..Draft::default() };
    location.location.matches = matches;
    builder.walk_as(Context::Location, &block.directives, &mut location);
    draft.process.error_logs.append(&mut location.process.error_logs);
    draft.inner.push(location);
}

/// Reads the modifier, which may stand apart or directly before the path.
fn location_match(builder: &mut Builder<'_>, directive: &Directive) -> Option<LocationMatch> {
    let (modifier, path, word) = match directive.args.as_slice() {
        [modifier, path] => (modifier.text.as_str(), path.text.as_str(), path),
        [word] => {
            let text = word.text.as_str();
            let modifier = ["=", "^~", "~*", "~"].into_iter().find(|m| text.starts_with(m));
            let modifier = modifier.unwrap_or_default();
            (modifier, &text[modifier.len()..], word)
        }
        _ => return None,
    };
    if path.starts_with('@') && modifier.is_empty() {
        let message = "named locations are not supported by upsplice yet";
        builder
            .problems
            .error(word.span, message)
            .help("only error_page and try_files lead to one, and neither is supported");
        return None;
    }
    let matches = match modifier {
        "" => LocationMatch::Prefix { path: path.to_owned(), stop: false },
        "^~" => LocationMatch::Prefix { path: path.to_owned(), stop: true },
        "=" => LocationMatch::Exact(path.to_owned()),
        "~" => LocationMatch::Regex(builder.pattern(path, false, word)?),
        "~*" => LocationMatch::Regex(builder.pattern(path, true, word)?),
        other => {
            let message = format!("invalid location modifier \"{other}\"");
            let span = directive.args[0].span;
            builder.problems.error(span, message).help("=, ^~, ~, ~* or none");
            return None;
        }
    };
    warn_unreachable(builder, &matches, path, word);
    Some(matches)
}

fn warn_unreachable(builder: &mut Builder<'_>, matches: &LocationMatch, path: &str, word: &Word) {
    let plain = matches!(matches, LocationMatch::Prefix { .. } | LocationMatch::Exact(_));
    if plain && !path.starts_with('/') && path != "*" {
        let message = format!("location \"{path}\" can never match");
        builder.problems.warn(word.span, message).help("a request's path begins with \"/\"");
    }
}

/// Checks a location against those beside it and the one around it, as nginx does.
fn nests(
    builder: &mut Builder<'_>,
    directive: &Directive,
    matches: &LocationMatch,
    around: &Draft,
) {
    let span = directive.head();
    let name = text(matches);
    let same = |sibling: &&Draft| match (&sibling.location.matches, matches) {
        (Some(LocationMatch::Prefix { path, .. }), LocationMatch::Prefix { path: p, .. })
        | (Some(LocationMatch::Exact(path)), LocationMatch::Exact(p)) => path == p,
        _ => false,
    };
    if around.inner.iter().any(|sibling| same(&sibling)) {
        builder.problems.error(span, format!("duplicate location \"{name}\""));
    }
    match (&around.location.matches, matches) {
        (Some(LocationMatch::Exact(outer)), _) => {
            let message =
                format!("location \"{name}\" cannot be inside the exact location \"{outer}\"");
            builder.problems.error(span, message);
        }
        (
            Some(LocationMatch::Prefix { path: outer, .. }),
            LocationMatch::Prefix { path, .. } | LocationMatch::Exact(path),
        ) if !path.starts_with(outer.as_str()) => {
            let message = format!("location \"{path}\" is outside location \"{outer}\"");
            builder.problems.error(span, message);
        }
        _ => {}
    }
}

/// The path or the expression.
pub(super) fn text(matches: &LocationMatch) -> &str {
    match matches {
        LocationMatch::Server => "",
        LocationMatch::Exact(path) | LocationMatch::Prefix { path, .. } => path,
        LocationMatch::Regex(pattern) => &pattern.text,
    }
}
