//! The reference of directives and variables, printed from the tables: `docs/CONFIG.md`.

use core::fmt::Write as _;

use crate::http::variables::{builtins, prefixes};

use super::{Row, effective, idle, refused};

const HEAD: &str = "\
# Configuration

upsplice reads nginx's configuration language: the same words, quotes, blocks, `include`s, units of
times and sizes, variables, and the same rules by which inner blocks inherit. This file is printed
from the table of directives in `src/config/directives/`; `cargo test` fails when the two differ,
and `UPSPLICE_UPDATE_DOCS=1 cargo test --test config_docs` writes it anew.

A directive is in one of three groups: it has its meaning here; it is accepted and has nothing to
do, and its row says why; or it is refused by name. Nothing is ignored in silence. A mistake ends
the program with status 1 and all errors at once; `-t` only checks.

Times are numbers with `ms`, `s`, `m`, `h`, `d`, `w`, from long to short (`1h30m`); without a unit
seconds. Sizes are bytes, or with `k`, `m` and, for bodies, `g`.

Relative names of included files start at the folder of the main file; those of logs and of the pid
file start at the prefix (`-p`). Regular expressions are those of the regex crate: without
look-around and back-references, and never slow.

Lists are inherited as a whole: a block with one `proxy_set_header` of its own takes none of the
outer ones, and the same holds for `add_header`, `access_log`, `proxy_hide_header` and
`proxy_pass_header`.
";

/// The whole document.
#[must_use]
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    section(&mut text, "Directives that have a meaning", effective::ROWS);
    section(&mut text, "Directives of the way to the upstream", effective::PROXY_ROWS);
    text.push_str("\n## Directives without effect\n\n");
    text.push_str("Their arguments are checked, so that a typing mistake is not carried on.\n\n");
    text.push_str("| directive | in | why |\n|---|---|---|\n");
    for row in idle::ROWS {
        let usage = row.usage().replace('|', "\\|");
        let _ = writeln!(text, "| `{usage}` | {} | {} |", row.contexts.names(), row.doc);
    }
    variables(&mut text);
    text.push_str("\n## Directives of nginx that are refused\n\n");
    text.push_str("Each gives an error that names it. A name with `…` stands for a family.\n\n");
    for group in refused::GROUPS {
        let names = group.names.iter().map(|name| format!("`{name}`"));
        let families = group.prefixes.iter().map(|prefix| format!("`{prefix}…`"));
        let all: Vec<String> = names.chain(families).collect();
        let line = format!("* **{}** ({}): {}", group.title, group.why, all.join(", "));
        wrap(&mut text, &line, "  ");
    }
    text
}

fn section(text: &mut String, title: &str, rows: &[Row]) {
    let _ = writeln!(text, "\n## {title}");
    for row in rows {
        let default = match row.default {
            "" => "–".to_owned(),
            default => format!("`{} {default};`", row.name),
        };
        let _ = writeln!(text, "\n### {}\n\n`{}`\n", row.name, row.usage());
        let _ = writeln!(text, "In: {}. Default: {default}\n", row.contexts.names());
        wrap(text, row.doc, "");
    }
}

/// Appends a paragraph in lines of at most 100 characters, the further ones indented.
fn wrap(text: &mut String, paragraph: &str, indent: &str) {
    let mut width = 0;
    for word in paragraph.split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > 100 {
            text.push('\n');
            text.push_str(indent);
            width = indent.len();
        } else if width > 0 {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += length;
    }
    text.push('\n');
}

fn variables(text: &mut String) {
    text.push_str("\n## Variables\n\n");
    text.push_str(
        "Also `$NAME` of every `map`, the named groups of the `server_name` and `location` ",
    );
    text.push_str("expressions that matched, and their groups `$1` to `$9`.\n\n");
    text.push_str("| variable | value |\n|---|---|\n");
    for builtin in builtins() {
        let _ = writeln!(text, "| `${}` | {} |", builtin.name, builtin.doc.replace('|', "\\|"));
    }
    for (prefix, doc) in prefixes() {
        let _ = writeln!(text, "| `${prefix}NAME` | {doc} |");
    }
}
