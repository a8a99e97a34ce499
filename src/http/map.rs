//! Looking a value up in a `map` block.

use std::borrow::Cow;

use crate::config::model::Map;
use crate::limits::MAP_DEPTH_MAX;

use super::facts::{Captures, Context};
use super::template::Template;

/// Appends the value of a map, in nginx's order: the exact value, the longest `*.` wildcard, the
/// longest `.*` wildcard, the first regular expression, the default. Values compare without case.
///
/// The groups of the expression that matched can be used in its value, and nowhere else. Maps that
/// refer to each other deeper than [`MAP_DEPTH_MAX`] (in a circle, then) have no value there.
pub(super) fn append(map: &Map, cx: &Context<'_>, depth: usize, out: &mut Vec<u8>) -> bool {
    if depth >= MAP_DEPTH_MAX {
        return false;
    }
    let mut source = Vec::new();
    map.source.render_at(cx, depth + 1, &mut source);
    if map.hostnames && source.last() == Some(&b'.') {
        source.pop();
    }
    if let Some(value) = find_plain(map, &source) {
        value.render_at(cx, depth + 1, out);
        return true;
    }
    if !source.is_empty() {
        for (pattern, value) in &map.patterns {
            let mut captures = Cow::Borrowed(cx.captures);
            if !pattern.regex.is_match(&source) {
                continue;
            }
            if !value.is_constant() {
                Captures::capture(captures.to_mut(), pattern, &source);
            }
            let inside = Context { captures: &captures, ..*cx };
            value.render_at(&inside, depth + 1, out);
            return true;
        }
    }
    map.default.render_at(cx, depth + 1, out);
    true
}

/// Everything but the regular expressions.
fn find_plain<'a>(map: &'a Map, source: &[u8]) -> Option<&'a Template> {
    let lower: Cow<'_, [u8]> = if source.iter().any(u8::is_ascii_uppercase) {
        source.to_ascii_lowercase().into()
    } else {
        source.into()
    };
    let ends = |(wild, _): &&(Vec<u8>, _)| lower.len() > wild.len() && lower.ends_with(wild);
    let begins = |(wild, _): &&(Vec<u8>, _)| lower.len() > wild.len() && lower.starts_with(wild);
    map.exact
        .get(&*lower)
        .or_else(|| map.suffixes.iter().find(ends).map(|(_, value)| value))
        .or_else(|| map.prefixes.iter().find(begins).map(|(_, value)| value))
}
