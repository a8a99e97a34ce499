//! The shape of files: width, length, the doc comment that opens them, numbers in their one home.

use crate::source::Source;
use crate::{Problem, problem};

/// Characters of a line.
const COLUMNS: usize = 100;
/// Lines of a function, from `fn` to the closing brace: a screen.
const FUNCTION_LINES: usize = 75;
/// Lines of a file without its tests: a sitting.
const FILE_LINES: usize = 650;
/// The same two for test code, where a scenario is better told in one piece.
const TEST_FUNCTION_LINES: usize = 120;
const TEST_FILE_LINES: usize = 1000;

/// Lines wider than a screen.
pub(crate) fn columns(source: &Source) -> Vec<Problem> {
    let wide = |line: &&str| line.chars().count() > COLUMNS;
    let lines = source.text.lines().enumerate().filter(|(_, line)| wide(line));
    lines.map(|(line, _)| problem(source, line, format!("wider than {COLUMNS} columns"))).collect()
}

/// Functions and files that are too long.
pub(crate) fn lengths(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    for function in source.functions() {
        let is_test = source.is_test_line(function.line);
        let bound = if is_test { TEST_FUNCTION_LINES } else { FUNCTION_LINES };
        if function.length > bound {
            let text = format!("{} has {} lines of {bound}", function.name, function.length);
            problems.push(problem(source, function.line, text));
        }
    }
    let all = source.text.lines().count();
    let (lines, bound) = match source.is_test_file() {
        true => (all, TEST_FILE_LINES),
        false => (source.product_lines(), FILE_LINES),
    };
    if lines > bound {
        problems.push(problem(source, 0, format!("{lines} lines of {bound}")));
    }
    problems
}

/// Files that do not open by saying what they are.
pub(crate) fn opening(source: &Source) -> Vec<Problem> {
    let first = source.text.lines().next().unwrap_or_default();
    // A script-like first line, or nothing at all, says nothing.
    let says = first.strip_prefix("//! ").is_some_and(|words| words.len() > 10);
    if says { Vec::new() } else { vec![problem(source, 0, "does not open with a //! sentence")] }
}

/// What the name of a bound ends with or holds: `limits.rs` is where such a constant lives.
const UNITS: &[&str] = &["_MS", "_S", "_BYTES", "_MAX", "_MIN", "_COUNT", "_LIMIT"];

/// Constants outside `limits.rs` that look like bounds and are none of the program's behaviour.
const NOT_BOUNDS: &[(&str, &str, &str)] = &[
    ("src/config/directives/effective.rs", "SIZE_MAX", "the syntax of sizes, beside its table"),
    ("src/cli/echo.rs", "*", "the example's upstream is no part of the proxy"),
    ("src/http/chunked.rs", "SIZE_MAX", "the grammar of a chunk size, far from any overflow"),
    ("src/http/answer.rs", "RETRY_AFTER_S", "a word of the protocol, beside the answer it is in"),
    (
        "src/http/scanner.rs",
        "LEADING_BLANK_BYTES_MAX",
        "how many CRLF RFC 9112 section 2.2 lets pass",
    ),
    ("src/http/chunked.rs", "NAME_BYTES", "the width of a table of names"),
    ("src/engine/sim/", "*", "the simulated kernel is test machinery with faults of its own"),
];

/// Numeric bounds that are not in `limits.rs`.
pub(crate) fn bounds(source: &Source) -> Vec<Problem> {
    if source.path == "src/limits.rs" || !source.path.starts_with("src/") {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (line, code) in source.product_code_lines() {
        let Some(name) = bound_name(code) else { continue };
        let is_excused = |&(path, known, _why): &(&str, &str, &str)| {
            source.path.starts_with(path) && (known == "*" || known == name)
        };
        if !NOT_BOUNDS.iter().any(is_excused) {
            problems.push(problem(source, line, format!("{name} belongs into limits.rs")));
        }
    }
    problems
}

/// The name of a constant that is a literal number and whose name has a unit.
fn bound_name(code: &str) -> Option<&str> {
    let rest = code.trim_start();
    let rest = rest
        .split_once("const ")
        .filter(|(before, _)| before.is_empty() || before.trim_start().starts_with("pub"))?;
    let (name, rest) = rest.1.split_once(':')?;
    let (kind, value) = rest.split_once('=')?;
    let is_number = ["u8", "u16", "u32", "u64", "usize", "i32", "i64"].contains(&kind.trim());
    let is_literal = value.trim_start().starts_with(|c: char| c.is_ascii_digit() || c == '(');
    let has_unit =
        UNITS.iter().any(|unit| name.ends_with(unit) || name.contains(&[unit, "_"].concat()));
    let is_conversion = name.contains("_PER_");
    (is_number && is_literal && has_unit && !is_conversion).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_line_is_seen() {
        let found = |width| columns(&Source::new("src/a.rs", &"–".repeat(width))).len();
        assert_eq!((found(100), found(101)), (0, 1));
    }

    #[test]
    fn long_functions_and_files_are_seen() {
        let function = |lines: usize| format!("fn a() {{\n{}}}\n", "b();\n".repeat(lines - 2));
        let found = |path, text: &str| lengths(&Source::new(path, text)).len();
        assert_eq!(found("src/a.rs", &function(75)), 0);
        assert_eq!(found("src/a.rs", &function(76)), 1);
        assert_eq!(found("tests/a.rs", &function(76)), 0);
        let in_test = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(76));
        assert_eq!(found("src/a.rs", &in_test), 0);
        assert_eq!(found("src/a.rs", &"\n".repeat(650)), 0);
        assert_eq!(found("src/a.rs", &"\n".repeat(651)), 1);
        assert_eq!(found("src/a.rs", &format!("{}{in_test}", "\n".repeat(650))), 0);
    }

    #[test]
    fn a_silent_opening_is_seen() {
        let found = |text| opening(&Source::new("src/a.rs", text)).len();
        assert_eq!(found("//! What this file is about.\n"), 0);
        assert_eq!(found("use std::mem;\n"), 1);
        assert_eq!(found("//!\n"), 1);
        assert_eq!(found(""), 1);
    }

    #[test]
    fn a_stray_bound_is_seen() {
        let found = |path, text| bounds(&Source::new(path, text)).len();
        assert_eq!(found("src/session/a.rs", "const LINGER_MS: u64 = 5_000;"), 1);
        assert_eq!(found("src/session/a.rs", "pub(crate) const HEAD_BYTES_MAX: usize = 9;"), 1);
        assert_eq!(found("src/limits.rs", "pub const LINGER_MS: u64 = 5_000;"), 0);
        assert_eq!(found("src/session/a.rs", "const LINGER_MS: u64 = limits::LINGER_MS;"), 0);
        assert_eq!(found("src/session/a.rs", "const SLOTS: usize = 64;"), 0);
        assert_eq!(found("src/session/a.rs", "fn f<const N_MAX: usize>() {}"), 0);
        assert_eq!(found("src/engine/sim/a.rs", "pub const CPUS_MAX: usize = 1024;"), 0);
    }
}
