//! Setters of header fields, and of what concerns request heads and client connections.

use crate::config::directives::Context;
use crate::config::lexer::Word;
use crate::config::model::AddHeader;
use crate::config::parser::Directive;
use crate::config::value;
use crate::limits::{HEADER_BUFFER_BYTES_MAX, HEADER_BUFFERS_MAX};

use super::draft::SetHeader;
use super::{Builder, Draft};

/// Whether a text is a token, as names of fields and protocols must be (RFC 9110 section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Checks a field's name, and its value for bytes that would end the field.
fn field(builder: &mut Builder<'_>, name: &Word, value: Option<&Word>) -> bool {
    if !is_token(&name.text) {
        let message = format!("invalid header name \"{}\"", name.text);
        let help = match name.text.strip_suffix(':') {
            Some(bare) => format!("without the colon: {bare}"),
            None => "letters, digits and dashes".to_owned(),
        };
        builder.problems.error(name.span, message).help(help);
        return false;
    }
    if let Some(value) = value.filter(|value| value.text.contains(['\r', '\n', '\0'])) {
        let message = "a header value cannot contain line breaks";
        builder.problems.error(value.span, message).help("is a closing quote missing?");
        return false;
    }
    true
}

pub(in crate::config) fn proxy_set_header(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let headers = draft.scope.set_headers.get_or_insert_default();
    let [name, value] = directive.args.as_slice() else { return };
    if !field(builder, name, Some(value)) {
        return;
    }
    // What frames a message and what rules the connection is the proxy's to write.
    let ours = ["content-length", "transfer-encoding", "keep-alive"];
    if ours.contains(&name.text.to_ascii_lowercase().as_str()) {
        let message = format!("\"proxy_set_header {}\" has no effect", name.text);
        builder.problems.warn(directive.head(), message).help("the proxy writes this field itself");
    }
    headers.push(SetHeader {
        name: name.text.clone(),
        value: builder.template(value),
        span: directive.head(),
    });
}

pub(in crate::config) fn add_header(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let headers = draft.scope.add_headers.get_or_insert_default();
    let [name, value, rest @ ..] = directive.args.as_slice() else { return };
    if !field(builder, name, Some(value)) {
        return;
    }
    if let Some(word) = rest.first().filter(|word| word.text != "always") {
        let message = format!("invalid parameter \"{}\"", word.text);
        builder.problems.error(word.span, message).help("only \"always\" may follow the value");
        return;
    }
    headers.push(AddHeader {
        name: name.text.clone(),
        value: builder.template(value),
        always: !rest.is_empty(),
    });
}

pub(in crate::config) fn proxy_hide_header(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let name = &directive.args[0];
    if !field(builder, name, None) {
        return;
    }
    if name.text.eq_ignore_ascii_case("upgrade") {
        builder
            .problems
            .warn(
                directive.head(),
                format!("hiding \"{}\" keeps WebSockets from opening in nginx", name.text),
            )
            .help("here the field of a 101 passes all the same: remove the line");
    }
    draft.scope.hide_headers.get_or_insert_default().push(name.text.to_ascii_lowercase());
}

pub(in crate::config) fn proxy_pass_header(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let name = &directive.args[0];
    if field(builder, name, None) {
        draft.scope.pass_headers.get_or_insert_default().push(name.text.to_ascii_lowercase());
    }
}

pub(in crate::config) fn client_header_buffer_size(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let size = value::size(&directive.args[0].text);
    let form = "a size, such as 1k";
    let size = builder.bounded(directive, size, form, 1, HEADER_BUFFER_BYTES_MAX);
    if builder.context == Context::Location {
        draft.misplaced.push((directive.name.text.clone(), directive.head()));
    } else {
        draft.scope.client_header_buffer_bytes = size;
    }
}

pub(in crate::config) fn large_client_header_buffers(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let number = value::number(&directive.args[0].text);
    let number = builder.bounded(directive, number, "a number", 1, HEADER_BUFFERS_MAX);
    let word = &directive.args[1];
    let size = value::size(&word.text).filter(|size| (1..=HEADER_BUFFER_BYTES_MAX).contains(size));
    if size.is_none() {
        let help = format!("a size from 1 to {HEADER_BUFFER_BYTES_MAX} bytes, such as 8k");
        builder.invalid(directive, word, &help);
    }
    if builder.context == Context::Location {
        draft.misplaced.push((directive.name.text.clone(), directive.head()));
    } else {
        draft.scope.large_header_buffers = number.zip(size);
    }
}

pub(in crate::config) fn client_max_body_size(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let size = value::offset(&directive.args[0].text);
    if size.is_none() {
        builder.invalid(directive, &directive.args[0], "a size: bytes, or with k, m or g");
    }
    draft.scope.client_max_body_bytes = size;
}

pub(in crate::config) fn keepalive_timeout(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let Some(time) = builder.time(directive, &directive.args[0]) else { return };
    let mut announced = None;
    if let Some(word) = directive.args.get(1) {
        announced = value::seconds(&word.text);
        if announced.is_none() {
            builder.invalid(directive, word, "a time in whole seconds");
        }
    }
    draft.scope.keepalive_timeout = Some((time, announced.filter(|&seconds| seconds > 0)));
}

pub(in crate::config) fn server_tokens(
    builder: &mut Builder<'_>,
    directive: &Directive,
    draft: &mut Draft,
) {
    let word = &directive.args[0];
    draft.scope.server_tokens = match word.text.as_str() {
        "on" | "build" => Some(true),
        "off" => Some(false),
        _ => {
            builder.invalid(directive, word, "on, off or build");
            None
        }
    };
}

pub(in crate::config) fn gzip(builder: &mut Builder<'_>, directive: &Directive, _: &mut Draft) {
    if builder.flag(directive, &directive.args[0]) == Some(true) {
        builder.warn_once(
            "gzip",
            directive.head(),
            "answers go out uncompressed for now",
            "the gzip directives are accepted and have no effect; tunnels are never compressed",
        );
    }
}
