//! nginx's tokens: words, `;`, `{` and `}`, each with its place.
//!
//! Follows nginx's reader to the character: a word ends at white space, `;` or `{` (never at `}`
//! or `#`), a backslash takes the next character along, only `\" \' \\ \t \r \n` are replaced, a
//! quote opens only at the start of a word and what follows the closing one must be white space,
//! `;`, `{` or `)`. Unlike nginx it goes on after a mistake.

use crate::limits::CONFIG_WORD_BYTES_MAX;

use super::diagnostic::Problems;
use super::source::{FileId, Span};

/// One token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// The place, quotes included.
    pub(super) span: Span,
}

/// What a token is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A name or an argument.
    Word(Word),
    /// `;`
    End,
    /// `{`
    Open,
    /// `}`
    Close,
}

/// A name or an argument, with its escapes replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Word {
    /// The text without quotes.
    pub(super) text: String,
    /// The place, quotes included.
    pub(super) span: Span,
    /// True exactly when it was written in quotes.
    pub(super) quoted: bool,
    /// True exactly when only white space stands before it on its line.
    pub(super) starts_line: bool,
}

/// Splits one file. Mistakes go to `problems`, and the tokens are then a best guess.
pub(super) fn lex(file: FileId, text: &[u8], problems: &mut Problems) -> Vec<Token> {
    let mut lexer =
        Lexer { file, text, at: 0, tokens: Vec::new(), words: 0, blank: true, problems };
    // A byte order mark is what some editors put first; nginx would take it for a part of a name.
    if text.starts_with(b"\xef\xbb\xbf") {
        lexer.at = 3;
    }
    while !lexer.problems.is_full() && lexer.token() {}
    lexer.tokens
}

struct Lexer<'a> {
    file: FileId,
    text: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
    /// Words since the last `;`, `{` or `}`.
    words: usize,
    /// True exactly when nothing but white space came since the start of the line.
    blank: bool,
    problems: &'a mut Problems,
}

impl Lexer<'_> {
    /// Reads one token; false at the end. Always moves forward.
    fn token(&mut self) -> bool {
        let Some(&byte) = self.text.get(self.at) else { return false };
        let start = self.at;
        match byte {
            b' ' | b'\t' | b'\r' => self.at += 1,
            b'\n' => {
                self.at += 1;
                self.blank = true;
            }
            b'#' => self.at = self.line_end(start),
            b';' => self.mark(Kind::End),
            b'{' => {
                let lua = self.opens_lua();
                self.mark(Kind::Open);
                if lua {
                    self.skip_code();
                }
            }
            b'}' => self.mark(Kind::Close),
            b'"' | b'\'' => self.quoted(byte),
            _ => self.bare(),
        }
        true
    }

    fn mark(&mut self, kind: Kind) {
        let span = Span::new(self.file, self.at, self.at + 1);
        self.at += 1;
        self.words = 0;
        self.blank = false;
        self.tokens.push(Token { kind, span });
    }

    /// A word without quotes: up to white space, `;` or `{`, but `${` does not end it.
    fn bare(&mut self) {
        let start = self.at;
        let mut variable = false;
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'{' if variable => {}
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' => break,
                b'\\' => self.at += 1,
                _ => {}
            }
            variable = byte == b'$' || (variable && byte == b'{');
            self.at += 1;
        }
        self.at = self.at.min(self.text.len());
        self.word(start, start, self.at, false);
    }

    /// A quoted word: up to the next quote of the same kind that no backslash precedes.
    fn quoted(&mut self, quote: u8) {
        let start = self.at;
        let mut end = start + 1;
        while end < self.text.len() && self.text[end] != quote {
            end += if self.text[end] == b'\\' { 2 } else { 1 };
        }
        if end >= self.text.len() {
            let span = Span::new(self.file, start, start + 1);
            let quote = char::from(quote);
            self.problems.error(span, format!("no closing {quote} for this quoted argument"));
            return self.resume_on_line(start);
        }
        let follower = self.text.get(end + 1).copied();
        if matches!(follower, None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' | b')')) {
            self.at = end + 1;
            return self.word(start, start + 1, end, true);
        }
        let shown = self.character(end + 1);
        let lines = self.text[start..end].iter().filter(|&&byte| byte == b'\n').count();
        if lines > 0 {
            // The usual cause is a quote that was never closed, so that all quotes from there on
            // are taken the wrong way round. Guess that it should have ended on its own line.
            let span = Span::new(self.file, start, start + 1);
            self.problems.error(span, "this quoted argument runs over several lines").help(
                format!(
                    "is its closing {} missing? It ends {lines} line{} below, directly before \
                     \"{shown}\"",
                    char::from(quote),
                    if lines == 1 { "" } else { "s" }
                ),
            );
            return self.resume_on_line(start);
        }
        let span = Span::new(self.file, end + 1, end + 1 + shown.len_utf8());
        self.problems
            .error(span, format!("unexpected \"{shown}\""))
            .help("after a closing quote there must be white space, \";\" or \"{\"");
        // What clings to the quote belongs to the mistake and not to the next argument.
        let rest = &self.text[end + 1..];
        let clings = |&byte: &u8| !byte.is_ascii_whitespace() && byte != b';' && byte != b'{';
        self.at = end + 1 + rest.iter().position(|byte| !clings(byte)).unwrap_or(rest.len());
        self.word(start, start + 1, end, true);
    }

    /// After an unclosed quote: takes the rest of its line, up to a `;`, as the word.
    fn resume_on_line(&mut self, start: usize) {
        let line_end = self.line_end(start);
        let end = self.text[start..line_end]
            .iter()
            .position(|&byte| byte == b';')
            .map_or(line_end, |semicolon| start + semicolon);
        self.at = end.max(start + 1);
        self.word(start, (start + 1).min(end), end, true);
    }

    /// Pushes the word that spans `start..self.at` and whose raw text is `from..to`.
    fn word(&mut self, start: usize, from: usize, to: usize, quoted: bool) {
        let span = Span::new(self.file, start, self.at);
        let raw = &self.text[from..to];
        if raw.len() > CONFIG_WORD_BYTES_MAX {
            self.problems
                .error(Span::new(self.file, start, start + 1), "too long argument")
                .help(format!("an argument has at most {CONFIG_WORD_BYTES_MAX} bytes"));
        }
        let text = String::from_utf8(unescaped(raw)).unwrap_or_else(|error| {
            self.problems.error(span, "this argument is not UTF-8");
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        });
        self.words += 1;
        let starts_line = core::mem::replace(&mut self.blank, false);
        let word = Word { text, span, quoted, starts_line };
        self.tokens.push(Token { kind: Kind::Word(word), span });
    }

    /// Whether the `{` to come opens a block of Lua code, which follows Lua's rules and not ours.
    fn opens_lua(&self) -> bool {
        let Some(first) = self.tokens.len().checked_sub(self.words) else { return false };
        match self.tokens.get(first) {
            Some(Token { kind: Kind::Word(word), .. }) => word.text.ends_with("_by_lua_block"),
            _ => false,
        }
    }

    /// Skips to the `}` that closes a block of foreign code, by counting braces.
    fn skip_code(&mut self) {
        let mut depth = 1;
        while let Some(&byte) = self.text.get(self.at) {
            depth = match byte {
                b'{' => depth + 1,
                b'}' => depth - 1,
                _ => depth,
            };
            if depth == 0 {
                return;
            }
            self.at += 1;
        }
    }

    fn line_end(&self, from: usize) -> usize {
        self.text[from..]
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(self.text.len(), |newline| from + newline)
    }

    /// The character at an offset; U+FFFD where the bytes are not UTF-8.
    fn character(&self, at: usize) -> char {
        let end = self.text.len().min(at + 4);
        String::from_utf8_lossy(&self.text[at..end]).chars().next().unwrap_or('\u{fffd}')
    }
}

/// Replaces the six escapes nginx knows; any other backslash stays, as regular expressions need it.
fn unescaped(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        let mut ahead = bytes.clone();
        let replaced = match ahead.next() {
            Some(quoted @ (b'"' | b'\'' | b'\\')) => Some(quoted),
            Some(b't') => Some(b'\t'),
            Some(b'r') => Some(b'\r'),
            Some(b'n') => Some(b'\n'),
            _ => None,
        };
        text.push(replaced.unwrap_or(b'\\'));
        if replaced.is_some() {
            bytes = ahead;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Sources;

    /// Lexes `input` and compares words (in brackets), marks and messages.
    fn check(input: &str, expected: &str, messages: &[&str]) {
        let mut sources = Sources::default();
        let file = sources.add("t".into(), input.as_bytes().to_vec());
        let mut problems = Problems::default();
        let tokens = lex(file, input.as_bytes(), &mut problems);
        let shown: Vec<String> = tokens
            .iter()
            .map(|token| match &token.kind {
                Kind::Word(word) => format!("[{}]", word.text),
                Kind::End => ";".into(),
                Kind::Open => "{".into(),
                Kind::Close => "}".into(),
            })
            .collect();
        assert_eq!(shown.join(""), expected, "{input:?}");
        let found: Vec<String> = problems
            .finish(&sources)
            .into_iter()
            .map(|diagnostic| {
                let place = diagnostic.place.unwrap();
                format!("{}:{}: {}", place.line, place.column, diagnostic.message)
            })
            .collect();
        assert_eq!(found, messages, "{input:?}");
    }

    #[test]
    fn words_marks_and_comments() {
        check("a b;c{d;}", "[a][b];[c]{[d];}", &[]);
        check("a # ; {\nb;", "[a][b];", &[]);
        check("a b#c;", "[a][b#c];", &[]);
        check("\u{feff}a;", "[a];", &[]);
    }

    #[test]
    fn a_closing_brace_does_not_end_a_word_but_an_opening_one_does() {
        check("a b}c;", "[a][b}c];", &[]);
        check("a b{c;}", "[a][b]{[c];}", &[]);
        check("a ${b}c;", "[a][${b}c];", &[]);
        check("a x${b}$c{", "[a][x${b}$c]{", &[]);
        check("location ~ ^/a{", "[location][~][^/a]{", &[]);
        check(r"a b\{2\};", r"[a][b\{2\}];", &[]);
    }

    #[test]
    fn quotes_and_escapes() {
        check(r#"a "b ; {c}" 'd "e"';"#, r#"[a][b ; {c}][d "e"];"#, &[]);
        check(r#"a "b\"c\n\t\\" 'd\'';"#, "[a][b\"c\n\t\\][d'];", &[]);
        check(r"a \.php$ \d+;", r"[a][\.php$][\d+];", &[]);
        check(r"a b\ c;", r"[a][b\ c];", &[]);
        check(r#"a b"c d"e;"#, r#"[a][b"c][d"e];"#, &[]);
        check(r#"a "";"#, "[a][];", &[]);
        check(r#"if ("a") {"#, r#"[if][("a")]{"#, &[]);
    }

    #[test]
    fn unclosed_quotes_are_reported_and_reading_goes_on() {
        check("a \"b;\nc d;", "[a][b];[c][d];", &["1:3: no closing \" for this quoted argument"]);
        check(
            "a \"b;\nc \"d\";\ne 'f'g;\n",
            "[a][b];[c][d];[e][f];",
            &["1:3: this quoted argument runs over several lines", "3:6: unexpected \"g\""],
        );
    }

    #[test]
    fn lua_code_is_skipped() {
        check(
            "x_by_lua_block { local t = {1} ; print([[;]] .. 'it) } b;",
            "[x_by_lua_block]{}[b];",
            &[],
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_fine_in_comments_only() {
        let mut sources = Sources::default();
        let text = b"# caf\xe9\na b\xe9;\n".to_vec();
        let file = sources.add("t".into(), text.clone());
        let mut problems = Problems::default();
        lex(file, &text, &mut problems);
        let found = problems.finish(&sources);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place.as_ref().unwrap().line, 2);
    }
}
