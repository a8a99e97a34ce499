//! The habits of this code base, checked by machine: `cargo test` is the whole gate.
//!
//! A check is a plain function from a text to its problems. One test here runs it over the
//! repository, and one beside it shows that it can fail. Nothing but the standard library is used,
//! and nothing is compiled or run.

mod documents;
mod rooms;
mod shape;
mod source;
mod unsafety;
mod words;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use source::Source;

/// Something that does not follow the habits.
#[derive(Debug)]
pub(crate) struct Problem {
    /// The file.
    pub(crate) path: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// What is wrong, in words.
    pub(crate) what: String,
}

/// A problem on a line of a source file (counted from 0).
pub(crate) fn problem(source: &Source, line: usize, what: impl Into<String>) -> Problem {
    Problem { path: source.path.clone(), line: line + 1, what: what.into() }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files under some folders, by their path from the root; hidden files are left out.
fn files(folders: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.map(|entry| entry.expect("the folder can be read").path()) {
            let hidden = entry.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
            if entry.is_dir() {
                open.push(entry);
            } else if !hidden {
                let path = entry.strip_prefix(root()).expect("it lies below the root");
                found.insert(path.to_string_lossy().into_owned());
            }
        }
    }
    found
}

/// Every Rust file of the package.
fn sources() -> Vec<Source> {
    let paths = files(&["src", "tests", "benches", "examples"]);
    let paths = paths.iter().filter(|path| path.ends_with(".rs"));
    paths.map(|path| Source::new(path, &read(path))).collect()
}

/// Runs a check over every Rust file.
fn check(check: fn(&Source) -> Vec<Problem>) {
    report(sources().iter().flat_map(check).collect());
}

fn report(problems: Vec<Problem>) {
    let lines = problems.iter().map(|p| format!("  {}:{}: {}", p.path, p.line, p.what));
    let text: Vec<String> = lines.collect();
    assert!(text.is_empty(), "{} to put right:\n{}", text.len(), text.join("\n"));
}

#[test]
fn rooms_keep_their_walls() {
    check(rooms::walls);
}

#[test]
fn dependencies_stay_at_home() {
    check(rooms::homes);
    assert_eq!(rooms::homeless(&read("Cargo.toml")), [""; 0], "a dependency without a home");
}

#[test]
fn unsafe_code_has_two_places_and_gives_its_argument() {
    check(unsafety::places);
    check(unsafety::arguments);
}

#[test]
fn lines_fit_a_screen() {
    check(shape::columns);
}

#[test]
fn functions_fit_a_screen_and_files_a_sitting() {
    check(shape::lengths);
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    check(shape::opening);
}

#[test]
fn bounds_live_in_limits() {
    check(shape::bounds);
}

#[test]
fn nothing_is_left_unfinished() {
    check(words::unfinished);
}

#[test]
fn nobody_sleeps_to_wait() {
    check(words::sleeps);
}

#[test]
fn workers_speak_through_logs_and_do_not_unwrap_what_came_from_outside() {
    check(words::prints);
    check(words::unwraps);
}

#[test]
fn texts_have_no_notes_no_line_numbers_and_no_paths_of_a_machine() {
    let mut paths = files(&["src", "tests", "benches", "scripts", "docs", ".ci", "examples"]);
    paths.extend(["Cargo.toml", "README.md"].map(str::to_owned));
    let texts = paths.iter().filter_map(|path| {
        std::fs::read_to_string(root().join(path)).ok().map(|text| (path, text))
    });
    report(texts.flat_map(|(path, text)| words::strays(path, &text)).collect());
}

#[test]
fn the_map_names_every_module() {
    let sources: BTreeSet<String> =
        files(&["src", "tests", "benches"]).into_iter().filter(|p| p.ends_with(".rs")).collect();
    let gaps = documents::map_gaps(&read("docs/ARCHITECTURE.md"), &sources);
    assert!(gaps.is_empty(), "docs/ARCHITECTURE.md:\n  {}", gaps.join("\n  "));
}

#[test]
fn the_reference_tells_of_every_directive() {
    let tables = files(&["src/config/directives"]);
    let tables: Vec<String> = tables.iter().map(|path| read(path)).collect();
    let names: Vec<&str> = tables.iter().flat_map(|table| documents::directives(table)).collect();
    assert!(names.len() > 50, "only {} directives were found in the table", names.len());
    let missing = documents::undocumented(&read("docs/CONFIG.md"), &names);
    assert!(missing.is_empty(), "docs/CONFIG.md does not tell of {missing:?}");
}

#[test]
fn what_documents_and_comments_point_at_exists() {
    let mut paths = files(&["src", "docs"]);
    paths.insert("README.md".to_owned());
    let mut dead = Vec::new();
    for path in &paths {
        let Ok(text) = std::fs::read_to_string(root().join(path)) else { continue };
        let names = documents::dead_names(&text, |name| root().join(name).exists());
        dead.extend(names.into_iter().map(|name| format!("{path} names {name}")));
    }
    assert!(dead.is_empty(), "nothing is there:\n  {}", dead.join("\n  "));
}
