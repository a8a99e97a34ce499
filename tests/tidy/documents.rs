//! The documents keep step with the source: the map names every file, the reference every
//! directive, and what they point at exists.

use std::collections::BTreeSet;

/// Source files that the map of the code does not name, and files it names that do not exist.
///
/// The map is a heading for each folder that holds its path in backquotes, and below it each file,
/// in backquotes, by its path within the folder.
pub(crate) fn map_gaps(architecture: &str, files: &BTreeSet<String>) -> Vec<String> {
    let mut folder = None;
    let mut named = BTreeSet::new();
    let mut gaps = Vec::new();
    for line in architecture.lines() {
        if line.starts_with('#') {
            folder = spans(line).find(|span| is_folder(span)).map(str::to_owned);
        }
        let Some(folder) = &folder else { continue };
        named.insert(format!("{folder}mod.rs"));
        for span in spans(line).filter(|span| span.ends_with(".rs") && !span.contains(' ')) {
            let path = format!("{folder}{span}");
            if !files.contains(&path) && !files.contains(span) {
                gaps.push(format!("the map names {path}, which does not exist"));
            }
            named.insert(path);
        }
    }
    let missing = files.iter().filter(|file| file.starts_with("src/") && !named.contains(*file));
    gaps.extend(missing.map(|file| format!("the map does not name {file}")));
    gaps
}

fn is_folder(span: &str) -> bool {
    span.ends_with('/') && ["src/", "tests/", "benches/"].iter().any(|top| span.starts_with(top))
}

/// What stands in backquotes.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The names of directives in the source of the table: the first argument of each row.
pub(crate) fn directives(table: &str) -> Vec<&str> {
    let calls = ["Row::new(", " idle("];
    let mut found: Vec<&str> = Vec::new();
    for call in calls {
        for (at, _) in table.match_indices(call) {
            let rest = table[at + call.len()..].trim_start();
            let name = rest.strip_prefix('"').and_then(|rest| rest.split('"').next());
            found.extend(name);
        }
    }
    found
}

/// Directives that the reference does not tell of.
pub(crate) fn undocumented<'a>(reference: &str, names: &[&'a str]) -> Vec<&'a str> {
    let tells = |name: &str| {
        reference.contains(&format!("`{name} "))
            || reference.contains(&format!("`{name};"))
            || reference.contains(&format!("`{name}`"))
    };
    names.iter().copied().filter(|name| !tells(name)).collect()
}

/// Files of this repository that a text names by their path and that do not exist.
pub(crate) fn dead_names(text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let tops = ["src/", "docs/", "tests/", "benches/", "scripts/", ".ci/"];
    let mut dead = Vec::new();
    let is_path = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
    for word in text.split(|c: char| !is_path(c)) {
        let path = word.trim_end_matches(['.', '-']);
        if tops.iter().any(|top| path.starts_with(top)) && !exists(path) {
            dead.push(path.to_owned());
        }
    }
    dead
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_of_the_map_are_seen_both_ways() {
        let files = ["src/lib.rs", "src/http/mod.rs", "src/http/head.rs", "src/http/a/b.rs"];
        let files = files.map(str::to_owned).into_iter().collect();
        let map = "# `src/`\n`lib.rs`\n## `src/http/`\n`head.rs` and `a/b.rs`\n";
        assert_eq!(map_gaps(map, &files), [""; 0]);
        let gaps = map_gaps("## `src/http/`\n`head.rs`, `gone.rs`\n## Else\n`a/b.rs`\n", &files);
        assert_eq!(gaps.len(), 3, "{gaps:?}");
    }

    #[test]
    fn an_undocumented_directive_is_seen() {
        let names = directives("Row::new(\n  \"user\",\n MAIN) idle(\"include\", x) idle(name)");
        assert_eq!(names, ["user", "include"]);
        assert_eq!(undocumented("`user NAME;` and includes", &names), ["include"]);
        assert_eq!(undocumented("`user;` `include`", &names), [""; 0]);
    }

    #[test]
    fn a_dead_name_is_seen() {
        let exists = |path: &str| path == "docs/A.md";
        assert_eq!(
            dead_names("see docs/A.md. Or docs/B.md, or x/docs/C.md", exists),
            ["docs/B.md"]
        );
    }
}
