//! Setters of the logs.

use crate::config::directives::Context;
use crate::config::lexer::Word;
use crate::config::model::{AccessLog, ErrorLog, Escape, Level, LogFormat};
use crate::config::parser::{Directive, absolute};
use crate::config::value;
use crate::http::variables::Template;

use super::{Builder, Draft};

/// nginx's predefined format.
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status \
                        $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

const LEVELS: [(&str, Level); 8] = [
    ("debug", Level::Debug),
    ("info", Level::Info),
    ("notice", Level::Notice),
    ("warn", Level::Warn),
    ("error", Level::Error),
    ("crit", Level::Crit),
    ("alert", Level::Alert),
    ("emerg", Level::Emerg),
];

/// Puts `combined` first.
pub(super) fn predefine(builder: &mut Builder<'_>) {
    let compiled = Template::compile(COMBINED, &mut crate::http::variables::Variable::builtin);
    let template = compiled.unwrap_or_else(|error| {
        builder.problems.error_overall(format!("combined needs ${}", error.name));
        Template::default()
    });
    let name = "combined".to_owned();
    builder.log_formats.push(LogFormat { name, template, escape: Escape::Default });
}

pub(in crate::config) fn error_log(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let target = &directive.args[0];
    if ["syslog:", "memory:"].iter().any(|kind| target.text.starts_with(kind)) {
        let message = "a log to syslog or memory is not supported by upsplice yet";
        builder.problems.error(target.span, message).help("a file, or stderr");
        return;
    }
    let level = match directive.args.get(1) {
        None => Level::Error,
        Some(word) => {
            let Some(&(_, level)) = LEVELS.iter().find(|(name, _)| *name == word.text) else {
                let message = format!("invalid log level \"{}\"", word.text);
                let names = LEVELS.map(|(name, _)| name);
                builder
                    .problems
                    .error(word.span, message)
                    .help(format!("one of {}", names.join(", ")))
                    .suggest(&word.text, names);
                return;
            };
            level
        }
    };
    let path = (target.text != "stderr").then(|| absolute(builder.prefix, &target.text));
    let log = ErrorLog { path, level };
    if builder.context != Context::Main {
        builder.warn_once(
            "error_log",
            directive.head(),
            "this error log receives the messages of all servers",
            "the program has one stream of messages; put error_log at the main level",
        );
    }
    draft.process.error_logs.push(log);
}

pub(in crate::config) fn log_format(
    builder: &mut Builder<'_>,
    directive: &Directive,
    _: &mut Draft,
) {
    let name = &directive.args[0];
    if builder.log_formats.iter().any(|format| format.name == name.text) {
        let message = format!("duplicate \"log_format\" name \"{}\"", name.text);
        builder.problems.error(name.span, message);
        return;
    }
    let mut words = &directive.args[1..];
    let mut escape = Escape::Default;
    if let Some(kind) = words[0].text.strip_prefix("escape=").filter(|_| !words[0].quoted) {
        escape = match kind {
            "default" => Escape::Default,
            "json" => Escape::Json,
            "none" => Escape::None,
            _ => {
                let message = format!("unknown log format escaping \"{kind}\"");
                let kinds = ["default", "json", "none"];
                builder.problems.error(words[0].span, message).help("default, json or none");
                builder.problems.suggest(kind, kinds);
                return;
            }
        };
        words = &words[1..];
    }
    // Each text is checked by itself, so that a caret stands below the right one. A variable cannot
    // reach from one text into the next in the texts people write.
    let mut sound = true;
    for word in words {
        let before = builder.problems.count();
        builder.template(word);
        sound &= builder.problems.count() == before;
    }
    let Some(first) = words.first() else {
        builder.problems.error(directive.head(), "a log format needs a text");
        return;
    };
    let joined: String = words.iter().map(|word| word.text.as_str()).collect();
    let template =
        if sound { builder.template_with(&joined, first.span, &[]) } else { Template::default() };
    builder.log_formats.push(LogFormat { name: name.text.clone(), template, escape });
}

pub(in crate::config) fn access_log(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let target = &directive.args[0];
    let logs = draft.scope.access_logs.get_or_insert_default();
    if target.text == "off" {
        if let Some(extra) = directive.args.get(1) {
            builder.invalid(directive, extra, "\"off\" takes no parameters");
        }
        logs.clear();
        return;
    }
    let unsupported = if target.text.starts_with("syslog:") {
        Some("an access log to syslog")
    } else if target.text.contains('$') {
        Some("an access log whose name has variables")
    } else {
        None
    };
    if let Some(what) = unsupported {
        let message = format!("{what} is not supported by upsplice yet");
        builder.problems.error(target.span, message).help("a file name");
        return;
    }
    let mut format = 0;
    for (position, word) in directive.args[1..].iter().enumerate() {
        match access_parameter(builder, directive, word, position) {
            Some(Some(found)) => format = found,
            Some(None) => {}
            None => return,
        }
    }
    let path = absolute(builder.prefix, &target.text);
    let known = builder.access_files.iter().position(|file| *file == path);
    let file = known.unwrap_or_else(|| {
        builder.access_files.push(path);
        builder.access_files.len() - 1
    });
    logs.push(AccessLog { file, format });
}

/// Reads what follows the file: the index of a format, nothing for an option, `None` for a mistake.
fn access_parameter(
    builder: &mut Builder<'_>,
    directive: &Directive,
    word: &Word,
    position: usize,
) -> Option<Option<usize>> {
    let text = word.text.as_str();
    if let Some(size) = text.strip_prefix("buffer=") {
        if value::size(size).is_none_or(|size| size == 0) {
            builder.invalid(directive, word, "a size, such as buffer=32k");
        }
        return Some(None);
    }
    if let Some(time) = text.strip_prefix("flush=") {
        if value::milliseconds(time).is_none_or(|time| time == 0) {
            builder.invalid(directive, word, "a time, such as flush=5s");
        }
        return Some(None);
    }
    if text.starts_with("if=") || text == "gzip" || text.starts_with("gzip=") {
        let message = format!("\"{text}\" of \"access_log\" is not supported by upsplice yet");
        builder.problems.error(word.span, message);
        return None;
    }
    if position > 0 {
        builder.invalid(directive, word, "usage: access_log FILE [FORMAT] | off;");
        return None;
    }
    let index = builder.log_formats.iter().position(|format| format.name == text);
    if index.is_none() {
        let names = builder.log_formats.iter().map(|format| format.name.as_str());
        builder
            .problems
            .error(word.span, format!("unknown log format \"{text}\""))
            .help("a log_format must stand before its use")
            .suggest(text, names);
    }
    index.map(Some)
}
