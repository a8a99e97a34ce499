//! Rust source as the checks see it: text, code without comments and strings, functions, test code.
//!
//! A hand-made scanner, not a parser: it knows comments, literals and braces, which is all that the
//! checks need, and it has to agree with the compiler on well-formed files only.

use std::ops::Range;
use std::path::Path;

/// One source file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path from the root of the repository, with slashes.
    pub(crate) path: String,
    /// The file.
    pub(crate) text: String,
    /// The file with the insides of comments and literals turned into spaces; lines are kept.
    pub(crate) code: String,
    /// The lines (from 0) of `#[cfg(test)]` modules.
    tests: Vec<Range<usize>>,
}

/// A function with a body.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// The line (from 0) of the word `fn`.
    pub(crate) line: usize,
    /// Lines from the word `fn` to the closing brace, both counted.
    pub(crate) length: usize,
}

impl Source {
    /// Scans a file.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = mask(text);
        let tests = test_modules(&code);
        Self { path: path.to_owned(), text: text.to_owned(), code, tests }
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test_file(&self) -> bool {
        self.path.starts_with("tests/")
            || Path::new(&self.path).file_name().is_some_and(|name| name == "tests.rs")
    }

    /// Whether a line (from 0) is test code.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test_file() || self.tests.iter().any(|lines| lines.contains(&line))
    }

    /// How many lines are not test code.
    pub(crate) fn product_lines(&self) -> usize {
        let all = self.text.lines().count();
        (0..all).filter(|&line| !self.is_test_line(line)).count()
    }

    /// The lines of the code, numbered from 0.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate()
    }

    /// As [`Self::code_lines`], without test code.
    pub(crate) fn product_code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code_lines().filter(|&(line, _)| !self.is_test_line(line))
    }

    /// Every function that has a body.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for start in words(&self.code, "fn") {
            let rest = self.code[start + 2..].trim_start();
            let name: String = rest.chars().take_while(|&c| is_word(c)).collect();
            let Some(end) = body_end(&self.code[start..]) else { continue };
            if !name.is_empty() {
                let line = line_of(&self.code, start);
                let length = line_of(&self.code, start + end) - line + 1;
                found.push(Function { name, line, length });
            }
        }
        found
    }

    /// Every path of this crate that the file names, `use` groups taken apart: the line (from 0)
    /// and the segments behind `root`, for example `crate::`.
    pub(crate) fn paths(&self, root: &str) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(at) = self.code[from..].find(root).map(|at| from + at) {
            from = at + root.len();
            let whole = !self.code[..at].ends_with(|c| is_word(c) || c == ':');
            if whole {
                let mut paths = Vec::new();
                expand(&self.code[from..], &mut Vec::new(), &mut paths);
                let line = line_of(&self.code, at);
                found.extend(paths.into_iter().map(|path| (line, path)));
            }
        }
        found
    }
}

/// Takes apart `a::{b, c::d}`; returns how many bytes it read.
fn expand(code: &str, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    let mut at = code.len() - code.trim_start().len();
    if code[at..].starts_with('{') {
        at += 1;
        loop {
            at += expand(&code[at..], &mut prefix.clone(), paths);
            at += code[at..].find([',', '}']).unwrap_or(code.len() - at);
            if !code[at..].starts_with(',') {
                return (at + 1).min(code.len());
            }
            at += 1;
        }
    }
    let word: String = code[at..].chars().take_while(|&c| is_word(c) || c == '*').collect();
    if word.is_empty() {
        return at;
    }
    at += word.len();
    prefix.push(word);
    if code[at..].starts_with("::") {
        return at + 2 + expand(&code[at + 2..], prefix, paths);
    }
    paths.push(prefix.clone());
    at
}

/// Whether a character can be part of a name.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where a whole word stands in a text.
pub(crate) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        !text[..at].ends_with(is_word) && !text[at + word.len()..].starts_with(is_word)
    })
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count()
}

/// Where the body of an item ends (its closing brace), counted from the item's beginning; `None`
/// for an item without one.
fn body_end(code: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut braces = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            ';' if depth == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 && depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn test_modules(code: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, mark) in code.match_indices("#[cfg(test)]") {
        let item = at + mark.len();
        let is_module = code[item..].trim_start().starts_with("mod ");
        if let Some(end) = body_end(&code[item..]).filter(|_| is_module) {
            found.push(line_of(code, at)..line_of(code, item + end) + 1);
        }
    }
    found
}

/// Turns the insides of comments, strings and characters into spaces.
fn mask(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => end_of_line(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => end_of_comment(bytes, at),
            b'"' => end_of_string(bytes, at),
            b'r' | b'b' | b'c' if !text[..at].ends_with(is_word) => match raw_string(bytes, at) {
                Some(end) => end,
                None => {
                    at += 1;
                    continue;
                }
            },
            b'\'' => end_of_char(text, at),
            _ => {
                at += 1;
                continue;
            }
        };
        blank(&mut code[at..end]);
        at = end;
    }
    String::from_utf8(code).expect("whole characters become spaces")
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn end_of_line(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |end| at + end)
}

fn end_of_comment(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut here) = (0_usize, at);
    while here < bytes.len() {
        if bytes[here..].starts_with(b"/*") {
            depth += 1;
            here += 2;
        } else if bytes[here..].starts_with(b"*/") {
            depth -= 1;
            here += 2;
            if depth == 0 {
                return here;
            }
        } else {
            here += 1;
        }
    }
    here
}

fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut here = at + 1;
    while here < bytes.len() && bytes[here] != b'"' {
        here += if bytes[here] == b'\\' { 2 } else { 1 };
    }
    (here + 1).min(bytes.len())
}

/// The end of a raw string that begins here, if one does.
fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let letters = bytes[at..].iter().take_while(|b| matches!(b, b'r' | b'b' | b'c')).count();
    let hashes = bytes[at + letters..].iter().take_while(|&&b| b == b'#').count();
    let open = at + letters + hashes;
    if letters > 2 || !bytes[at..at + letters].ends_with(b"r") || bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let length = bytes[open + 1..].windows(close.len()).position(|window| window == close);
    Some(length.map_or(bytes.len(), |length| open + 1 + length + close.len()))
}

/// The end of a character literal; a lifetime ends where it begins.
fn end_of_char(text: &str, at: usize) -> usize {
    let rest = &text[at + 1..];
    if let Some(escaped) = rest.strip_prefix('\\') {
        // The escaped character may itself be a quote.
        let first = escaped.chars().next().map_or(0, char::len_utf8);
        let end = escaped[first..].find('\'').map_or(rest.len(), |end| first + end + 2);
        return at + 1 + end;
    }
    let first = rest.chars().next().map_or(0, char::len_utf8);
    if rest[first..].starts_with('\'') { at + first + 2 } else { at + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_are_masked_and_lifetimes_are_not() {
        let text = "a(\"x{\\\"\", r#\"y\"{\"#, b'{', '\\'', 'z') /* { /* { */ */ // {\n&'a str";
        let code = mask(text);
        assert_eq!(code.len(), text.len());
        assert!(!code.contains(['{', 'x', 'y', 'z', '"']), "{code}");
        assert!(code.ends_with("a str"), "{code}");
    }

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let text = "fn a();\nconst fn b(x: [u8; 2]) {\n  c(|| {\n 1 });\n}\nfn c() {}\n";
        let found = Source::new("src/a.rs", text).functions();
        let lengths: Vec<_> = found.iter().map(|f| (&*f.name, f.line, f.length)).collect();
        assert_eq!(lengths, [("b", 1, 4), ("c", 5, 1)]);
    }

    #[test]
    fn test_modules_are_told_from_the_product() {
        let source = Source::new("src/a.rs", "a\n#[cfg(test)]\nmod tests {\n x\n}\nb\n");
        let product: Vec<usize> = (0..6).filter(|&line| !source.is_test_line(line)).collect();
        assert_eq!((product, source.product_lines()), (vec![0, 5], 2));
        assert!(Source::new("src/a/tests.rs", "").is_test_line(0));
    }

    #[test]
    fn groups_of_imports_are_taken_apart() {
        let source = Source::new("src/a.rs", "use crate::{a::{B, c::D}, e};\nxcrate::f");
        let paths = source.paths("crate::");
        let paths: Vec<String> = paths.into_iter().map(|(_, path)| path.join("/")).collect();
        assert_eq!(paths, ["a/B", "a/c/D", "e"]);
    }
}
