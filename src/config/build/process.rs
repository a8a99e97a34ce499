//! Setters of main and events.

use crate::config::directives::Context;
use crate::config::model::{Affinity, EngineChoice, Spin, Workers};
use crate::config::parser::{Directive, absolute};
use crate::config::value;
use crate::limits::{CPUS_MAX, SPIN_US_MAX, WORKERS_MAX};

use super::{Builder, Draft};

pub(in crate::config) fn user(_: &mut Builder<'_>, directive: &Directive, draft: &mut Draft) {
    let group = directive.args.get(1).map(|word| word.text.clone());
    draft.process.user = Some((directive.args[0].text.clone(), group));
}

pub(in crate::config) fn pid(builder: &mut Builder<'_>, directive: &Directive, draft: &mut Draft) {
    let path = directive.args[0].text.as_str();
    draft.process.pid = Some((path != "off").then(|| absolute(builder.prefix, path)));
}

pub(in crate::config) fn worker_processes(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let word = &directive.args[0];
    if word.text == "auto" {
        draft.process.workers = Some(Workers::Auto);
        return;
    }
    let count = value::number(&word.text).and_then(|count| usize::try_from(count).ok());
    match count.filter(|count| (1..=WORKERS_MAX).contains(count)) {
        Some(count) => draft.process.workers = Some(Workers::Count(count)),
        None => {
            builder.invalid(directive, word, &format!("a number from 1 to {WORKERS_MAX}, or auto"));
        }
    }
}

pub(in crate::config) fn worker_cpu_affinity(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let auto = directive.args[0].text == "auto";
    let mut masks = Vec::new();
    for word in &directive.args[usize::from(auto)..] {
        let text = &word.text;
        if text.is_empty()
            || text.len() > CPUS_MAX
            || !text.bytes().all(|bit| matches!(bit, b'0' | b'1'))
            || !text.contains('1')
        {
            builder.invalid(directive, word, "a mask of 0 and 1 with a 1, such as 0101");
            return;
        }
        let bits = text.bytes().rev().enumerate();
        masks.push(bits.filter(|&(_, bit)| bit == b'1').map(|(cpu, _)| cpu).collect::<Vec<_>>());
    }
    if auto && let Some(extra) = directive.args.get(2) {
        builder.invalid(directive, extra, "auto takes one mask");
        return;
    }
    draft.process.affinity = Some(match (auto, masks.pop()) {
        (_, None) => Affinity::Auto,
        (true, Some(mask)) => Affinity::AutoOf(mask),
        (false, Some(last)) => {
            masks.push(last);
            Affinity::Masks(masks)
        }
    });
}

pub(in crate::config) fn events(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    if let Some(block) = &directive.block {
        builder.walk_as(Context::Events, &block.directives, draft);
    }
}

pub(in crate::config) fn engine(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let word = &directive.args[0];
    draft.process.engine = match word.text.as_str() {
        "epoll" => Some(EngineChoice::Epoll),
        "io_uring" => Some(EngineChoice::IoUring),
        method @ ("select" | "poll" | "kqueue" | "eventport" | "/dev/poll") => {
            let message = format!("nginx's event method \"{method}\" does not exist in upsplice");
            builder.problems.error(word.span, message).help("use epoll or io_uring, or no line");
            None
        }
        method => {
            let message = format!("invalid event type \"{method}\"");
            builder.problems.error(word.span, message).suggest(method, ["epoll", "io_uring"]);
            None
        }
    };
}

pub(in crate::config) fn spin(builder: &mut Builder<'_>, directive: &Directive, draft: &mut Draft) {
    let word = &directive.args[0];
    let spin = match word.text.as_str() {
        "off" => Spin::Off,
        "always" => Spin::Always,
        text => match value::microseconds(text) {
            Some(us @ 1..=SPIN_US_MAX) => Spin::For { us },
            Some(_) => return builder.invalid(directive, word, "it must be from 1us to 1000ms"),
            None => {
                let help = match value::number(text) {
                    Some(number) => format!("a time has a unit here: {number}us or {number}ms"),
                    None => "off, always, or a time with us or ms, such as 50us".to_owned(),
                };
                return builder.invalid(directive, word, &help);
            }
        },
    };
    let forced = directive.args.get(1);
    if let Some(extra) = forced
        && (extra.text != "force" || spin == Spin::Off)
    {
        let help = match spin {
            Spin::Off => "nothing comes after off",
            Spin::For { .. } | Spin::Always => "only force may come here",
        };
        return builder.invalid(directive, extra, help);
    }
    draft.process.spin = Some((spin, forced.is_some()));
}
