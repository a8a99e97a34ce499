//! The setter of `map`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::config::lexer::Word;
use crate::config::model::Map;
use crate::config::parser::Directive;
use crate::http::variables::Template;

use super::names::group_names;
use super::{Builder, Draft};

pub(in crate::config) fn map(builder: &mut Builder<'_>, directive: &Directive, _: &mut Draft) {
    let [source, variable] = directive.args.as_slice() else { return };
    let Some(block) = &directive.block else { return };
    let Some(name) = variable.text.strip_prefix('$').filter(|name| is_name(name)) else {
        let message = format!("invalid variable name \"{}\"", variable.text);
        builder.problems.error(variable.span, message).help("usage: map SOURCE $VARIABLE { … }");
        return;
    };
    let name = name.to_ascii_lowercase();
    if builder.maps.iter().any(|map| map.name == name) {
        let message = format!("the variable \"${name}\" is defined by another map already");
        builder.problems.error(variable.span, message);
        return;
    }
    let mut map = Map {
        name,
        source: builder.template(source),
        exact: HashMap::new(),
        suffixes: Vec::new(),
        prefixes: Vec::new(),
        patterns: Vec::new(),
        default: Template::default(),
        hostnames: false,
    };
    let mut has_default = false;
    for line in &block.directives {
        entry(builder, line, &mut map, &mut has_default);
    }
    map.suffixes.sort_by_key(|(suffix, _)| core::cmp::Reverse(suffix.len()));
    map.prefixes.sort_by_key(|(prefix, _)| core::cmp::Reverse(prefix.len()));
    builder.maps.push(map);
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// One line of the block.
fn entry(builder: &mut Builder<'_>, line: &Directive, map: &mut Map, has_default: &mut bool) {
    let key = &line.name;
    if line.block.is_some() {
        builder.problems.error(key.span, "a map has lines of a value and a result, not blocks");
        return;
    }
    match (key.text.as_str(), line.args.as_slice()) {
        ("hostnames", []) => map.hostnames = true,
        ("volatile", []) => {}
        ("default", [result]) => {
            if *has_default {
                builder.problems.error(key.span, "duplicate default map parameter");
            }
            *has_default = true;
            map.default = builder.template(result);
        }
        (_, [result]) => value(builder, key, result, map),
        _ => {
            builder
                .problems
                .error(line.head(), "invalid number of the map parameters")
                .help("a line is a value and a result: websocket upgrade;");
        }
    }
}

/// A value and its result.
fn value(builder: &mut Builder<'_>, key: &Word, result: &Word, map: &mut Map) {
    if let Some(pattern) = key.text.strip_prefix('~') {
        let (pattern, any_case) = match pattern.strip_prefix('*') {
            Some(rest) => (rest, true),
            None => (pattern, false),
        };
        let Some(pattern) = builder.pattern(pattern, any_case, key) else { return };
        let groups: Vec<String> = group_names(&pattern.regex).collect();
        let result = builder.template_with(&result.text, result.span, &groups);
        map.patterns.push((pattern, result));
        return;
    }
    let result = builder.template(result);
    let text = key.text.strip_prefix('\\').unwrap_or(&key.text).to_ascii_lowercase();
    let bytes = |text: &str| text.as_bytes().to_vec();
    let fresh = if !map.hostnames {
        insert(&mut map.exact, bytes(&text), result)
    } else if let Some(suffix) = text.strip_prefix('*').filter(|rest| is_wild(rest)) {
        push(&mut map.suffixes, bytes(suffix), result)
    } else if text.starts_with('.') && text.len() > 1 {
        insert(&mut map.exact, bytes(&text[1..]), result.clone())
            & push(&mut map.suffixes, bytes(&text), result)
    } else if let Some(prefix) = text.strip_suffix('*').filter(|rest| rest.ends_with('.')) {
        push(&mut map.prefixes, bytes(prefix), result)
    } else if text.contains('*') {
        let message = format!("invalid hostname or wildcard \"{}\"", key.text);
        builder.problems.error(key.span, message).help("*.example.com or www.example.*");
        return;
    } else {
        insert(&mut map.exact, bytes(&text), result)
    };
    if !fresh {
        let message = format!("conflicting parameter \"{}\"", key.text);
        builder.problems.error(key.span, message).help("values are compared without case");
    }
}

/// Whether what follows the `*` is `.something`.
fn is_wild(rest: &str) -> bool {
    rest.len() > 1 && rest.starts_with('.') && !rest.contains('*')
}

fn insert(exact: &mut HashMap<Vec<u8>, Template>, key: Vec<u8>, result: Template) -> bool {
    match exact.entry(key) {
        Entry::Occupied(_) => false,
        Entry::Vacant(place) => {
            place.insert(result);
            true
        }
    }
}

fn push(list: &mut Vec<(Vec<u8>, Template)>, key: Vec<u8>, result: Template) -> bool {
    let fresh = list.iter().all(|(known, _)| *known != key);
    list.push((key, result));
    fresh
}
