//! Tokens to a tree of directives, with `include` replaced by what it names.
//!
//! Knows the shape of the language and nothing of any directive's meaning, apart from `include`.
//! After a mistake it goes on with the most probable reading, so that one forgotten semicolon does
//! not hide the next mistake and does not invent others.

use crate::limits::{BLOCK_DEPTH_MAX, CONFIG_BYTES_MAX, CONFIG_FILES_MAX, INCLUDE_DEPTH_MAX};

use super::Outside;
use super::diagnostic::Problems;
use super::lexer::{Kind, Token, Word, lex};
use super::source::{Sources, Span};

/// `name args… ;` or `name args… { … }`.
#[derive(Clone, Debug)]
pub(super) struct Directive {
    pub(super) name: Word,
    pub(super) args: Vec<Word>,
    pub(super) block: Option<Block>,
}

impl Directive {
    /// The directive without its block.
    pub(super) fn head(&self) -> Span {
        self.args.last().map_or(self.name.span, |last| self.name.span.to(last.span))
    }
}

/// `{ … }`
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) directives: Vec<Directive>,
}

/// What a parse works with.
pub(super) struct Reading<'a> {
    pub(super) sources: &'a mut Sources,
    pub(super) problems: &'a mut Problems,
    pub(super) outside: &'a dyn Outside,
    /// The folder of the main file, for relative names; empty or ending in `/`.
    pub(super) folder: &'a str,
    /// Whether a word is the name of a directive: tells a forgotten semicolon.
    pub(super) is_directive: fn(&str) -> bool,
}

impl Reading<'_> {
    /// Takes in a text that is already there, with everything it includes.
    pub(super) fn text(&mut self, name: String, text: Vec<u8>) -> Vec<Directive> {
        self.file(name, text, &mut Vec::new(), 0)
    }

    /// Parses one file; `stack` holds the names of the files that are being read.
    fn file(
        &mut self,
        name: String,
        text: Vec<u8>,
        stack: &mut Vec<String>,
        depth: usize,
    ) -> Vec<Directive> {
        stack.push(name.clone());
        let file = self.sources.add(name, text);
        let tokens = lex(file, &self.sources.file(file).text, self.problems);
        let mut parser = Parser { reading: self, stack, tokens: tokens.into_iter() };
        let mut directives = Vec::new();
        loop {
            let (found, close) = parser.directives(depth, false);
            directives.extend(found);
            // A `}` too many is reported and skipped.
            let Some(close) = close else { break };
            parser.reading.problems.error(close, "unexpected \"}\"").help("no block is open here");
        }
        stack.pop();
        directives
    }

    /// The files an `include` names.
    fn included(&mut self, argument: &Word) -> Vec<String> {
        let path = absolute(self.folder, &argument.text);
        if !argument.text.contains(['*', '?', '[']) {
            return vec![path];
        }
        self.outside.glob(&path).unwrap_or_else(|why| {
            self.problems.error(argument.span, format!("bad file name pattern: {why}"));
            Vec::new()
        })
    }

    fn include(
        &mut self,
        directive: &Directive,
        stack: &mut Vec<String>,
        depth: usize,
    ) -> Vec<Directive> {
        let [argument] = directive.args.as_slice() else {
            self.problems
                .error(directive.head(), "invalid number of arguments in \"include\" directive")
                .help("usage: include FILE;");
            return Vec::new();
        };
        if stack.len() >= INCLUDE_DEPTH_MAX {
            self.problems.error(
                argument.span,
                format!("includes nest deeper than {INCLUDE_DEPTH_MAX} files"),
            );
            return Vec::new();
        }
        let mut directives = Vec::new();
        for path in self.included(argument) {
            if stack.contains(&path) {
                let message = format!("\"{path}\" includes itself");
                self.problems.error(argument.span, message);
                continue;
            }
            if self.sources.len() >= CONFIG_FILES_MAX || self.problems.is_full() {
                self.problems
                    .error(argument.span, format!("more than {CONFIG_FILES_MAX} files included"));
                return directives;
            }
            match self.outside.read(&path) {
                Ok(text) if self.sources.total_bytes() + text.len() > CONFIG_BYTES_MAX => {
                    self.problems.error(
                        argument.span,
                        format!("the configuration is larger than {CONFIG_BYTES_MAX} bytes"),
                    );
                    return directives;
                }
                Ok(text) => directives.extend(self.file(path, text, stack, depth)),
                Err(why) => self.unreadable(argument, &path, &why),
            }
        }
        directives
    }

    fn unreadable(&mut self, argument: &Word, path: &str, why: &str) {
        // Nearly every nginx.conf has this line, and nothing here depends on the file: media types
        // matter to files served from disk. An operator who brings nginx.conf alone may go on.
        if argument.text.rsplit('/').next() == Some("mime.types") {
            self.problems
                .warn(argument.span, format!("cannot read \"{path}\" ({why}): taken as empty"))
                .help("nginx would refuse this; here media types have no effect");
            return;
        }
        self.problems.error(argument.span, format!("cannot read \"{path}\": {why}"));
    }
}

/// A file name as nginx completes it: relative ones start at `folder`.
pub(super) fn absolute(folder: &str, name: &str) -> String {
    if name.starts_with('/') { name.to_owned() } else { format!("{folder}{name}") }
}

/// Blocks whose lines are data, not directives.
fn holds_data(name: &str) -> bool {
    matches!(name, "map" | "types" | "geo" | "split_clients" | "charset_map")
}

struct Parser<'p, 'a> {
    reading: &'p mut Reading<'a>,
    stack: &'p mut Vec<String>,
    tokens: std::vec::IntoIter<Token>,
}

impl Parser<'_, '_> {
    /// Reads directives up to a `}`, whose place it returns, or the end of the file. In a block of
    /// `data` the words that start a line are not looked at.
    fn directives(&mut self, depth: usize, data: bool) -> (Vec<Directive>, Option<Span>) {
        let mut directives = Vec::new();
        let mut words: Vec<Word> = Vec::new();
        while let Some(Token { kind, span }) = self.tokens.next() {
            if self.reading.problems.is_full() {
                return (directives, None);
            }
            match kind {
                Kind::Word(word) => {
                    let names_directive =
                        !data && word.starts_line && (self.reading.is_directive)(&word.text);
                    if !words.is_empty() && names_directive && !word.quoted {
                        self.unterminated(&words);
                        self.finish(&mut words, None, depth, &mut directives);
                    }
                    words.push(word);
                }
                Kind::End if words.is_empty() => {
                    self.reading.problems.error(span, "unexpected \";\"");
                }
                Kind::End => self.finish(&mut words, None, depth, &mut directives),
                Kind::Open => {
                    if words.is_empty() {
                        self.reading.problems.error(span, "unexpected \"{\"");
                    }
                    let block = self.block(&words, span, depth + 1);
                    self.finish(&mut words, Some(block), depth, &mut directives);
                }
                Kind::Close => {
                    if !words.is_empty() {
                        self.unterminated(&words);
                        self.finish(&mut words, None, depth, &mut directives);
                    }
                    return (directives, Some(span));
                }
            }
        }
        if let Some(last) = words.last() {
            self.reading
                .problems
                .error(last.span.after(), "unexpected end of file, expecting \";\" or \"}\"");
            self.finish(&mut words, None, depth, &mut directives);
        }
        (directives, None)
    }

    fn block(&mut self, words: &[Word], open: Span, depth: usize) -> Block {
        if depth > BLOCK_DEPTH_MAX {
            self.reading
                .problems
                .error(open, format!("blocks nest deeper than {BLOCK_DEPTH_MAX} levels"));
            return self.skip_block();
        }
        let data = words.first().is_some_and(|name| holds_data(&name.text));
        let (directives, close) = self.directives(depth, data);
        if close.is_none() {
            let name = words.first().map_or("{", |word| word.text.as_str());
            let message = format!("the block of \"{name}\" is not closed");
            self.reading
                .problems
                .error(open, message)
                .help("unexpected end of file, expecting \"}\"");
        }
        Block { directives }
    }

    fn skip_block(&mut self) -> Block {
        let mut depth = 1;
        for token in self.tokens.by_ref() {
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth -= 1,
                Kind::Word(_) | Kind::End => {}
            }
            if depth == 0 {
                break;
            }
        }
        Block { directives: Vec::new() }
    }

    /// Makes a directive of `words`, or of an `include` all the directives it stands for.
    fn finish(
        &mut self,
        words: &mut Vec<Word>,
        block: Option<Block>,
        depth: usize,
        directives: &mut Vec<Directive>,
    ) {
        let mut words = core::mem::take(words).into_iter();
        let Some(name) = words.next() else { return };
        let directive = Directive { name, args: words.collect(), block };
        if directive.name.text == "include" && directive.block.is_none() {
            directives.extend(self.reading.include(&directive, self.stack, depth));
        } else {
            directives.push(directive);
        }
    }

    fn unterminated(&mut self, words: &[Word]) {
        let (Some(name), Some(last)) = (words.first(), words.last()) else { return };
        self.reading
            .problems
            .error(
                last.span.after(),
                format!("directive \"{}\" is not terminated by \";\"", name.text),
            )
            .help("put a \";\" here");
    }
}
