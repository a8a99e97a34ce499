//! Setters of upsplice's own directives.

use crate::config::model::Splice;
use crate::config::parser::Directive;
use crate::config::value;

use super::header::is_token;
use super::{Builder, Draft};

pub(in crate::config) fn upgrade_allow(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let mut allowed = Vec::new();
    let off = directive.args[0].text == "off";
    for word in &directive.args[usize::from(off)..] {
        // RFC 9110 section 7.8: a protocol is a token, and perhaps a slash and another.
        if off
            || word.text == "off"
            || !word.text.split('/').all(is_token)
            || word.text.split('/').count() > 2
        {
            builder.invalid(directive, word, "protocol names such as websocket, or off alone");
            return;
        }
        allowed.push(word.text.to_ascii_lowercase());
    }
    draft.scope.upgrade_allow = Some(allowed);
}

pub(in crate::config) fn splice(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let word = &directive.args[0];
    draft.scope.splice = match word.text.as_str() {
        "auto" => Some(Splice::Auto),
        "off" => Some(Splice::Off),
        "pipe" => Some(Splice::Pipe),
        "linked" => {
            builder.linked.push(word.span);
            Some(Splice::Linked)
        }
        _ => {
            builder.invalid(directive, word, "auto, off, pipe or linked");
            None
        }
    };
}

pub(in crate::config) fn idle_timeout(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    draft.scope.tunnel_idle_timeout_ms = time_or_off(builder, directive);
}

/// `Some(None)` is `off`; `None` a mistake.
fn time_or_off(builder: &mut Builder<'_>, directive: &Directive) -> Option<Option<u64>> {
    let word = &directive.args[0];
    if word.text == "off" {
        return Some(None);
    }
    let time = builder.time(directive, word)?;
    if time == 0 {
        builder.invalid(directive, word, "a time above zero, or off");
        return None;
    }
    Some(Some(time))
}

pub(in crate::config) fn max_lifetime(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let Some(time) = time_or_off(builder, directive) else { return };
    let mut jitter = 0;
    if let Some(word) = directive.args.get(1) {
        let percent = word
            .text
            .strip_prefix("jitter=")
            .map(|percent| percent.strip_suffix('%').unwrap_or(percent))
            .and_then(value::number)
            .and_then(|percent| u8::try_from(percent).ok());
        match percent.filter(|&percent| percent <= 100 && time.is_some()) {
            Some(percent) => jitter = percent,
            None => {
                builder.invalid(directive, word, "jitter=PERCENT% behind a time, from 0% to 100%");
                return;
            }
        }
    }
    draft.scope.tunnel_max_lifetime = Some(time.map(|time| (time, jitter)));
}
