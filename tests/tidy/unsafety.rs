//! `unsafe`: in two places of the program only, and never without its argument.

use crate::source::{Source, words};
use crate::{Problem, problem};

/// The places that may hold it.
const PLACES: &[&str] = &["src/sys/", "src/engine/uring.rs", "src/engine/uring/"];

/// Files outside the program that may, with the reason.
const TESTS: &[(&str, &str)] = &[(
    "tests/allocations/counter.rs",
    "an allocator is an unsafe trait, and nothing but the global one sees every allocation",
)];

/// `unsafe` code and permissions for it in other places.
pub(crate) fn places(source: &Source) -> Vec<Problem> {
    let is_test = TESTS.iter().any(|&(path, _why)| source.path == path);
    if is_test || PLACES.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let permits = |code: &str| {
        words(code, "unsafe_code").next().is_some() && !code.contains("deny(unsafe_code)")
    };
    let lines = source.code_lines();
    let lines = lines.filter(|(_, code)| words(code, "unsafe").next().is_some() || permits(code));
    lines.map(|(line, _)| problem(source, line, "unsafe outside sys and engine/uring")).collect()
}

/// Blocks and impls without a comment in front that says SAFETY and why.
pub(crate) fn arguments(source: &Source) -> Vec<Problem> {
    let code: Vec<&str> = source.code.lines().collect();
    let text: Vec<&str> = source.text.lines().collect();
    let needs = |line: &str| {
        words(line, "unsafe").any(|at| {
            let next = line[at + "unsafe".len()..].trim_start();
            next.starts_with('{') || next.starts_with("impl") || next.is_empty()
        })
    };
    let lines = (0..code.len()).filter(|&line| needs(code[line]) && !is_argued(&code, &text, line));
    lines.map(|line| problem(source, line, "unsafe without a SAFETY comment")).collect()
}

/// Whether the comment right above the statement that holds the line argues for it.
fn is_argued(code: &[&str], text: &[&str], line: usize) -> bool {
    let mut first = line;
    let ends = |code: &str| code.ends_with([';', '{', '}', ',']) || code.is_empty();
    while first > 0 && !ends(code[first - 1].trim()) {
        first -= 1;
    }
    let above = text[..first].iter().rev();
    let mut comment = above.map(|line| line.trim()).take_while(|line| line.starts_with("//"));
    comment.any(|line| line.contains("SAFETY: ") && line.len() > "// SAFETY: because".len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_seen() {
        let found = |path, text| places(&Source::new(path, text)).len();
        assert_eq!(found("src/worker/mod.rs", "let x = unsafe { y() };"), 1);
        assert_eq!(found("src/worker/mod.rs", "#![allow(unsafe_code)]"), 1);
        assert_eq!(found("src/lib.rs", "#![deny(unsafe_code)] // unsafe"), 0);
        assert_eq!(found("src/sys/a.rs", "let x = unsafe { y() };"), 0);
    }

    #[test]
    fn a_missing_argument_is_seen() {
        let found = |text: &str| arguments(&Source::new("src/sys/a.rs", text)).len();
        assert_eq!(found("fn a() {\n    unsafe { b() }\n}\n"), 1);
        assert_eq!(found("// SAFETY: \nunsafe impl A for B {}\n"), 1);
        assert_eq!(found("// SAFETY: the buffer outlives c.\nlet x =\n    unsafe { b() };\n"), 0);
        assert_eq!(found("// SAFETY: another thing entirely.\nlet y = 1;\nunsafe { b() };\n"), 1);
        assert_eq!(found("unsafe fn a() {}\n"), 0);
    }
}
