//! What is wrong with a configuration, and where: all of it at once.
//!
//! The phases of loading push into one [`Problems`]; nothing here stops at the first mistake. At
//! the end each problem becomes a [`Diagnostic`] that no longer needs the files, sorted as a reader
//! meets them.

use core::fmt;

use crate::limits::{CONFIG_PROBLEMS_MAX, DIAGNOSTIC_LINE_CHARS_MAX, DIAGNOSTIC_MESSAGE_CHARS_MAX};

use super::source::{Place, Sources, Span};

/// Whether the configuration can be used all the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is accepted, and probably not what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One problem, ready to print: `file:line:column`, the line, a caret under the argument, help.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where; absent for a problem of the configuration as a whole.
    pub place: Option<Place>,
    /// What to do about it.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, message, place, help } = self;
        let message = printable(message);
        let Some(place) = place else {
            write!(f, "{severity}: {message}")?;
            return help.as_ref().map_or(Ok(()), |help| write!(f, "\n      = help: {help}"));
        };
        let Place { file, line, column, .. } = place;
        writeln!(f, "{file}:{line}:{column}: {severity}: {message}")?;
        let (text, caret) = shown(place);
        writeln!(f, "{line:5} | {text}")?;
        write!(f, "      | {caret}")?;
        help.as_ref().map_or(Ok(()), |help| write!(f, "\n      = help: {help}"))
    }
}

/// A message without what its quotation of a file could do to a terminal or to a screenful.
fn printable(message: &str) -> String {
    let mut characters = message.chars().map(|c| if c.is_control() { '?' } else { c });
    let mut text: String = characters.by_ref().take(DIAGNOSTIC_MESSAGE_CHARS_MAX).collect();
    if characters.next().is_some() {
        text.push('…');
    }
    text
}

/// The line and the caret line below it. Of a long line only the part around the caret is shown;
/// control characters become `?`, except tabs, which the caret line repeats to stay below.
fn shown(place: &Place) -> (String, String) {
    let characters: Vec<char> = place.text.chars().collect();
    let at = (place.column - 1).min(characters.len());
    let first = if characters.len() > DIAGNOSTIC_LINE_CHARS_MAX {
        at.saturating_sub(DIAGNOSTIC_LINE_CHARS_MAX / 2)
    } else {
        0
    };
    let last = characters.len().min(first + DIAGNOSTIC_LINE_CHARS_MAX);
    let clean = |&c: &char| if c.is_control() && c != '\t' { '?' } else { c };
    let (mut text, mut caret) = (String::new(), String::new());
    if first > 0 {
        text.push('…');
        caret.push(' ');
    }
    text.extend(characters[first..last].iter().map(clean));
    if last < characters.len() {
        text.push('…');
    }
    caret.extend(characters[first..at].iter().map(|&c| if c == '\t' { '\t' } else { ' ' }));
    let width = place.width.min(last.saturating_sub(at)).max(1);
    caret.extend(core::iter::repeat_n('^', width));
    (text, caret)
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    errors: usize,
}

#[derive(Debug)]
struct Problem {
    severity: Severity,
    span: Option<Span>,
    message: String,
    help: Option<String>,
}

impl Problems {
    /// Records an error.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Self {
        self.push(Severity::Error, Some(span), message.into())
    }

    /// Records a warning.
    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>) -> &mut Self {
        self.push(Severity::Warning, Some(span), message.into())
    }

    /// Records an error of the configuration as a whole.
    pub(super) fn error_overall(&mut self, message: impl Into<String>) -> &mut Self {
        self.push(Severity::Error, None, message.into())
    }

    /// Adds advice to the problem recorded last.
    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        if let Some(last) = self.found.last_mut() {
            last.help = Some(help.into());
        }
        self
    }

    /// Adds a did-you-mean to the problem recorded last, if `wrong` resembles one of `known`.
    pub(super) fn suggest<'k>(
        &mut self,
        wrong: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> &mut Self {
        match nearest(wrong, known) {
            Some(meant) => self.help(format!("did you mean \"{meant}\"?")),
            None => self,
        }
    }

    /// Whether anything was recorded that refuses the configuration.
    pub(super) const fn any_error(&self) -> bool {
        self.errors > 0
    }

    /// How many were recorded.
    pub(super) const fn count(&self) -> usize {
        self.found.len()
    }

    /// Whether so much is wrong that more would not help; the phases that loop over a file's text
    /// stop at it.
    pub(super) const fn is_full(&self) -> bool {
        self.found.len() >= CONFIG_PROBLEMS_MAX
    }

    fn push(&mut self, severity: Severity, span: Option<Span>, message: String) -> &mut Self {
        self.errors += usize::from(severity == Severity::Error);
        if !self.is_full() {
            self.found.push(Problem { severity, span, message, help: None });
        }
        self
    }

    /// Ends the collection: in the order of the files, problems without a place last.
    pub(super) fn finish(mut self, sources: &Sources) -> Vec<Diagnostic> {
        self.found.sort_by_key(|problem| (problem.span.is_none(), problem.span));
        // The same mistake, met on two paths (an included file read twice), is told once.
        self.found.dedup_by(|a, b| a.span == b.span && a.message == b.message);
        let mut diagnostics: Vec<Diagnostic> = Vec::with_capacity(self.found.len());
        for Problem { severity, span, message, help } in self.found {
            let place = span.map(|span| sources.place(span));
            let diagnostic = Diagnostic { severity, message, place, help };
            if !diagnostics.contains(&diagnostic) {
                diagnostics.push(diagnostic);
            }
        }
        diagnostics
    }
}

/// The member of `known` that `wrong` was probably meant to be: within one edit for each three
/// characters, the fewest edits first, then the first in the list.
pub(super) fn nearest<'k>(
    wrong: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let allowed = (wrong.chars().count() / 3).clamp(1, 4);
    let wrong = wrong.to_ascii_lowercase();
    known
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(wrong.len()) <= allowed)
        .map(|candidate| (edits(&wrong, candidate), candidate))
        .filter(|&(edits, _)| edits <= allowed)
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, candidate)| candidate)
}

/// How many insertions, deletions, replacements and swaps of neighbours lead from `a` to `b`
/// (optimal string alignment, three rows of the table).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1; b.len() + 1];
        for j in 0..b.len() {
            row[j + 1] = (last[j] + usize::from(a[i] != b[j])).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = core::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_count_swaps_as_one() {
        assert_eq!(edits("proxy_pass", "proxy_pass"), 0);
        assert_eq!(edits("porxy_pass", "proxy_pass"), 1);
        assert_eq!(edits("prxy_pas", "proxy_pass"), 2);
        assert_eq!(edits("", "abc"), 3);
    }

    #[test]
    fn the_nearest_name_wins_and_a_far_one_is_not_offered() {
        let known = ["listen", "location", "server", "server_name"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("servername", known), Some("server_name"));
        assert_eq!(nearest("Listen", known), Some("listen"));
        assert_eq!(nearest("gzip", known), None);
    }

    #[test]
    fn a_quotation_is_neither_endless_nor_alive() {
        let mut problems = Problems::default();
        problems.error_overall(format!("unknown \"\u{1b}[2J{}\"", "x".repeat(5000)));
        let shown = problems.finish(&Sources::default())[0].to_string();
        assert!(shown.starts_with("error: unknown \"?[2Jxxx") && shown.ends_with("x…"), "{shown}");
        assert_eq!(shown.chars().count(), "error: ".len() + DIAGNOSTIC_MESSAGE_CHARS_MAX + 1);
    }

    #[test]
    fn the_caret_stands_below_its_argument_behind_tabs_and_in_long_lines() {
        let mut sources = Sources::default();
        let file = sources.add("a.conf".into(), b"\tlisten \xff8x0;\n".to_vec());
        let mut problems = Problems::default();
        problems.error(Span::new(file, 8, 12), "bad port").help("use a number");
        let shown = problems.finish(&sources)[0].to_string();
        assert_eq!(
            shown,
            "a.conf:1:9: error: bad port\n    1 | \tlisten \u{fffd}8x0;\n      | \t       \
             ^^^^\n      = help: use a number"
        );

        let file = sources.add("b.conf".into(), "x".repeat(1000).into_bytes());
        let mut problems = Problems::default();
        problems.warn(Span::new(file, 600, 602), "odd");
        let shown = problems.finish(&sources)[0].to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].chars().count() < 250, "{shown}");
        assert!(lines[2].ends_with(" ^^"), "{shown}");
    }
}
