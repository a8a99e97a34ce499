//! The tree to the model.
//!
//! A [`Builder`] walks the tree by the table of directives: every block becomes a [`Draft`], filled
//! by the setters in this folder. When all is read, `assemble` lets inner levels inherit, resolves
//! references and makes the [`Config`](super::model::Config).

mod address;
mod assemble;
mod draft;
pub(super) mod group;
pub(super) mod header;
pub(super) mod listen;
pub(super) mod location;
pub(super) mod log;
pub(super) mod map;
mod names;
pub(super) mod process;
pub(super) mod proxy;
mod settings;
pub(super) mod tunnel;

pub(super) use draft::{Draft, Scope};

use crate::http::variables::{Template, TemplateErrorKind, Variable};

use super::diagnostic::{Problems, nearest};
use super::directives::{Action, Context, Row, Shape, is_known, names_for, refusal, rows_of};
use super::lexer::Word;
use super::model::{Config, LogFormat, Map, Upstream};
use super::parser::Directive;
use super::source::Span;
use super::{Outside, value};
use names::{Names, is_nginxs};

/// What building works with, and what belongs to no single block.
pub(super) struct Builder<'a> {
    pub(super) problems: &'a mut Problems,
    outside: &'a dyn Outside,
    /// The folder for relative names of logs and the pid file; empty or ending in `/`.
    prefix: &'a str,
    /// The kind of the block that is being walked.
    context: Context,
    /// The variables that the configuration defines.
    names: Names,
    maps: Vec<Map>,
    upstreams: Vec<Upstream>,
    log_formats: Vec<LogFormat>,
    access_files: Vec<String>,
    /// The one `http` block.
    http: Option<Draft>,
    /// Where `splice linked` is asked for, which not every engine can do.
    linked: Vec<Span>,
    /// Warnings that are given once: the names of the directives.
    warned: Vec<&'static str>,
}

/// Builds the model of `defaults` (for main and http) and the tree. Only sound if no problem is an
/// error.
pub(super) fn build<'a>(
    problems: &'a mut Problems,
    outside: &'a dyn Outside,
    prefix: &'a str,
    [main_defaults, http_defaults]: [&[Directive]; 2],
    tree: &[Directive],
) -> Config {
    let mut builder = Builder {
        problems,
        outside,
        prefix,
        context: Context::Main,
        names: Names::collect(tree),
        maps: Vec::new(),
        upstreams: Vec::new(),
        log_formats: Vec::new(),
        access_files: Vec::new(),
        http: None,
        linked: Vec::new(),
        warned: Vec::new(),
    };
    log::predefine(&mut builder);
    let mut main = Draft::default();
    builder.walk_as(Context::Main, tree, &mut main);
    let mut main_default = Draft::default();
    builder.walk_default(Context::Main, main_defaults, &mut main_default);
    let mut http_default = Draft::default();
    builder.walk_default(Context::Http, http_defaults, &mut http_default);
    assemble::assemble(builder, main, main_default.process, http_default)
}

impl Builder<'_> {
    /// Walks a block of the given kind.
    fn walk_as(&mut self, context: Context, directives: &[Directive], draft: &mut Draft) {
        let outer = core::mem::replace(&mut self.context, context);
        let mut seen: Vec<&'static str> = Vec::new();
        for directive in directives {
            if self.problems.is_full() {
                break;
            }
            let Some(row) = self.row(directive) else { continue };
            if !self.fits(directive, row) {
                continue;
            }
            if seen.contains(&row.name) && !row.repeats {
                let message = format!("\"{}\" directive is duplicate", row.name);
                self.problems.error(directive.head(), message);
                continue;
            }
            seen.push(row.name);
            self.apply(directive, row, draft);
        }
        self.context = outer;
    }

    /// Walks defaults, where every directive of the level stands in the first context it knows.
    fn walk_default(&mut self, level: Context, directives: &[Directive], draft: &mut Draft) {
        for directive in directives {
            let row = rows_of(&directive.name.text).find(|row| !row.default.is_empty());
            if let Some(row) = row {
                self.context = level;
                self.apply(directive, row, draft);
            }
        }
    }

    /// The row of a directive in this context, or a message. A block under a wrong name or in a
    /// wrong place has a row all the same, so that what is in it is checked too.
    fn row(&mut self, directive: &Directive) -> Option<&'static Row> {
        let Word { text: name, span, .. } = &directive.name;
        if let Some(row) = rows_of(name).find(|row| row.contexts.contains(self.context)) {
            return Some(row);
        }
        let block = |row: &&Row| row.is_block() && directive.block.is_some();
        if rows_of(name).next().is_some() {
            self.misplaced(directive);
            return rows_of(name).find(block);
        }
        if let Some(why) = refusal(name) {
            let message = format!("nginx's \"{name}\" is not supported by upsplice yet");
            self.problems.error(*span, message).help(why);
            return None;
        }
        self.problems.error(*span, format!("unknown directive \"{name}\""));
        let meant = nearest(name, names_for(self.context))?;
        self.problems.help(format!("did you mean \"{meant}\"?"));
        rows_of(meant).find(block)
    }

    /// Says where a directive is allowed that is not allowed here.
    fn misplaced(&mut self, directive: &Directive) {
        let name = &directive.name.text;
        let same_kind = |row: &&Row| row.is_block() == directive.block.is_some();
        let any_kind = rows_of(name).all(|row| !same_kind(&row));
        let contexts: Vec<String> = rows_of(name)
            .filter(|row| any_kind || same_kind(row))
            .map(|row| row.contexts.names())
            .collect();
        let here = match self.context {
            Context::Main => "the main level".to_owned(),
            context => format!("a block of \"{}\"", context.name()),
        };
        let message = format!("\"{name}\" directive is not allowed here");
        let allowed = contexts.join(", ");
        self.problems
            .error(directive.name.span, message)
            .help(format!("this is {here}; \"{name}\" is allowed in: {allowed}"));
    }

    /// Whether a block is there or not as the row wants it, and the number of arguments is right.
    fn fits(&mut self, directive: &Directive, row: &Row) -> bool {
        let Row { name, arity: (fewest, most), .. } = *row;
        if row.is_block() != directive.block.is_some() {
            let message = if row.is_block() {
                format!("directive \"{name}\" has no opening \"{{\"")
            } else {
                format!("directive \"{name}\" is not terminated by \";\"")
            };
            self.problems.error(directive.head(), message).help(format!("usage: {}", row.usage()));
            return false;
        }
        let count = directive.args.len();
        if (fewest..=most).contains(&count) {
            return true;
        }
        // A semicolon that is missing inside a line shows as the name of another directive.
        let mut arguments = directive.args.iter().skip(fewest);
        let swallowed = arguments.find(|word| !word.quoted && is_known(&word.text));
        let message = format!("invalid number of arguments in \"{name}\" directive");
        let usage = format!("usage: {}", row.usage());
        match swallowed {
            Some(word) => self
                .problems
                .error(directive.head(), message)
                .help(format!("is a \";\" missing before \"{}\"? {usage}", word.text)),
            None => self.problems.error(directive.head(), message).help(usage),
        };
        false
    }

    fn apply(&mut self, directive: &Directive, row: &Row, draft: &mut Draft) {
        match row.action {
            Action::Call(setter) | Action::Block(setter) => setter(self, directive, draft),
            Action::Idle(shape) => self.check_idle(directive, shape),
            Action::Flag(slot) => {
                if let Some(flag) = self.flag(directive, &directive.args[0]) {
                    *slot(draft) = Some(flag);
                }
            }
            Action::Time(slot) => {
                if let Some(time) = self.time(directive, &directive.args[0]) {
                    *slot(draft) = Some(time);
                }
            }
            Action::Size(slot, least, most) => {
                let size = value::size(&directive.args[0].text);
                let form = "a size: a number of bytes, or with k or m, such as 8k";
                if let Some(size) = self.bounded(directive, size, form, least, most) {
                    *slot(draft) = Some(size);
                }
            }
            Action::Number(slot, least, most) => {
                let number = value::number(&directive.args[0].text);
                if let Some(number) = self.bounded(directive, number, "a number", least, most) {
                    *slot(draft) = Some(number);
                }
            }
        }
    }

    /// Checks the arguments of a directive that does nothing.
    fn check_idle(&mut self, directive: &Directive, shape: Shape) {
        let Some(first) = directive.args.first() else { return };
        match shape {
            Shape::Flag => {
                self.flag(directive, first);
            }
            Shape::Time => {
                self.time(directive, first);
            }
            Shape::Word(words) => {
                if !words.contains(&first.text.as_str()) {
                    self.invalid(directive, first, &format!("accepted: {}", words.join(", ")));
                }
            }
            Shape::Size if value::offset(&first.text).is_none() => {
                self.invalid(directive, first, "a size: a number of bytes, or with k, m or g");
            }
            Shape::Number if value::number(&first.text).is_none() => {
                self.invalid(directive, first, "a number");
            }
            Shape::Size | Shape::Number | Shape::Any | Shape::Block => {}
        }
    }

    /// Reports an argument that is not of the form the help describes.
    fn invalid(&mut self, directive: &Directive, argument: &Word, help: &str) {
        let Word { text, span, .. } = argument;
        let message = format!("invalid value \"{text}\" in \"{}\" directive", directive.name.text);
        self.problems.error(*span, message).help(help);
    }

    fn flag(&mut self, directive: &Directive, argument: &Word) -> Option<bool> {
        let flag = value::flag(&argument.text);
        if flag.is_none() {
            self.invalid(directive, argument, "it must be \"on\" or \"off\"");
        }
        flag
    }

    /// A time in milliseconds.
    fn time(&mut self, directive: &Directive, argument: &Word) -> Option<u64> {
        let time = value::milliseconds(&argument.text);
        if time.is_none() {
            self.invalid(
                directive,
                argument,
                "a time: a number of seconds, or with ms, s, m, h, d or w, such as 500ms or 1h30m",
            );
        }
        time
    }

    /// A number that was read from the first argument, if it lies within the bounds.
    fn bounded(
        &mut self,
        directive: &Directive,
        number: Option<u64>,
        form: &str,
        least: u64,
        most: u64,
    ) -> Option<u64> {
        let inside = number.filter(|number| (least..=most).contains(number));
        if inside.is_none() {
            let help = match (number, most) {
                (None, _) => format!("expected {form}"),
                (Some(_), u64::MAX) => format!("it must be at least {least}"),
                (Some(_), _) => format!("it must be from {least} to {most}"),
            };
            self.invalid(directive, &directive.args[0], &help);
        }
        inside
    }

    /// Compiles a text with variables; an unknown one is an error.
    fn template(&mut self, word: &Word) -> Template {
        self.template_with(&word.text, word.span, &[])
    }

    /// As [`template`](Self::template), where the named groups of a map's pattern are known too.
    fn template_with(&mut self, text: &str, span: Span, groups: &[String]) -> Template {
        let names = &self.names;
        let mut unknown = Vec::new();
        // Any variable in the place of an unknown one, so that all unknown ones are found.
        let compiled = Template::compile(text, &mut |name| {
            names.lookup(name, groups).or_else(|| {
                unknown.push(name.to_owned());
                Some(Variable::Group(0))
            })
        });
        for name in &unknown {
            self.unknown_variable(name, span);
        }
        let error = match compiled {
            Ok(template) if unknown.is_empty() => return template,
            Ok(_) => return Template::default(),
            Err(error) => error,
        };
        match error.kind {
            TemplateErrorKind::Unknown => self.unknown_variable(&error.name, span),
            TemplateErrorKind::NoName => {
                self.problems.error(span, "invalid variable name: a \"$\" without a name");
            }
            TemplateErrorKind::Unclosed => {
                let message = format!("\"${{{}\" has no closing \"}}\"", error.name);
                self.problems.error(span, message);
            }
        }
        Template::default()
    }

    fn unknown_variable(&mut self, name: &str, span: Span) {
        if is_nginxs(name) {
            let message = format!("nginx's variable \"${name}\" is not supported by upsplice yet");
            self.problems.error(span, message);
            return;
        }
        let message = format!("unknown \"{name}\" variable");
        self.problems.error(span, message).suggest(name, self.names.known());
    }

    /// Gives a warning the first time it is called for this name.
    fn warn_once(&mut self, name: &'static str, span: Span, message: &str, help: &str) {
        if !self.warned.contains(&name) {
            self.warned.push(name);
            self.problems.warn(span, message).help(help);
        }
    }
}
