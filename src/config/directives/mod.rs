//! The table of directives: one row each, with all that is said of it anywhere.
//!
//! The builder dispatches by it, diagnostics quote it, `docs/CONFIG.md` is printed from it, and the
//! defaults of the model are its `default` texts, read as if they stood in front of the file.

mod docs;
mod effective;
mod idle;
mod refused;

pub use docs::reference;

use super::build::{Builder, Draft};
use super::parser::Directive;

/// The kinds of block a directive can stand in; `Main` is the file itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Context {
    #[default]
    Main,
    Events,
    Http,
    Server,
    Location,
    Upstream,
}

impl Context {
    const ALL: [Self; 6] =
        [Self::Main, Self::Events, Self::Http, Self::Server, Self::Location, Self::Upstream];

    /// The name in prose.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Events => "events",
            Self::Http => "http",
            Self::Server => "server",
            Self::Location => "location",
            Self::Upstream => "upstream",
        }
    }
}

/// A set of contexts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contexts(u8);

const MAIN: Contexts = Contexts(1 << Context::Main as u8);
const EVENTS: Contexts = Contexts(1 << Context::Events as u8);
const HTTP: Contexts = Contexts(1 << Context::Http as u8);
const SERVER: Contexts = Contexts(1 << Context::Server as u8);
const LOCATION: Contexts = Contexts(1 << Context::Location as u8);
const UPSTREAM: Contexts = Contexts(1 << Context::Upstream as u8);
const ANYWHERE: Contexts = Contexts(u8::MAX);
/// http, server: what is decided before a location is known.
const HS: Contexts = HTTP.or(SERVER);
/// http, server, location: what inner levels inherit.
const HSL: Contexts = HS.or(LOCATION);

impl Contexts {
    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn contains(self, context: Context) -> bool {
        self.0 & 1 << context as u8 != 0
    }

    /// The names, separated by commas.
    pub(super) fn names(self) -> String {
        let names: Vec<&str> = Context::ALL
            .into_iter()
            .filter(|&context| self.contains(context))
            .map(Context::name)
            .collect();
        names.join(", ")
    }
}

/// Where a simple value is kept.
pub(super) type Slot<T> = fn(&mut Draft) -> &mut Option<T>;
/// Takes in a directive that needs more than a slot.
pub(super) type Setter = fn(&mut Builder<'_>, &Directive, &mut Draft);

/// What a directive does.
#[derive(Clone, Copy)]
pub(super) enum Action {
    /// `on` or `off` into a slot.
    Flag(Slot<bool>),
    /// A time in milliseconds into a slot.
    Time(Slot<u64>),
    /// A size in bytes into a slot; within the bounds.
    Size(Slot<u64>, u64, u64),
    /// A number into a slot; within the bounds.
    Number(Slot<u64>, u64, u64),
    /// Whatever the setter does.
    Call(Setter),
    /// The setter walks a block.
    Block(Setter),
    /// Arguments are checked; there is nothing to do. The row's text says why.
    Idle(Shape),
}

/// The arguments of a directive that does nothing here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    /// `on` or `off`.
    Flag,
    /// One of some words.
    Word(&'static [&'static str]),
    /// A time.
    Time,
    /// A size.
    Size,
    /// A number.
    Number,
    /// Anything, a number of times within the row's bounds.
    Any,
    /// A block, not looked into.
    Block,
}

/// One directive, in one group of contexts.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) contexts: Contexts,
    /// The fewest and the most arguments.
    pub(super) arity: (usize, usize),
    pub(super) action: Action,
    /// The arguments, for people.
    pub(super) syntax: &'static str,
    /// The arguments that hold where nothing is written; empty if there are none.
    pub(super) default: &'static str,
    /// True exactly when the directive may come more than once in a block.
    pub(super) repeats: bool,
    /// One paragraph of documentation.
    pub(super) doc: &'static str,
}

impl Row {
    const fn new(
        name: &'static str,
        contexts: Contexts,
        arity: (usize, usize),
        syntax: &'static str,
        action: Action,
        doc: &'static str,
    ) -> Self {
        Self { name, contexts, arity, action, syntax, default: "", repeats: false, doc }
    }

    const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    const fn repeats(self) -> Self {
        Self { repeats: true, ..self }
    }

    /// Whether a block follows the arguments.
    pub(super) const fn is_block(&self) -> bool {
        matches!(self.action, Action::Block(_) | Action::Idle(Shape::Block))
    }

    /// `name ARGUMENTS;` for a message.
    pub(super) fn usage(&self) -> String {
        let end = if self.is_block() { " { … }" } else { ";" };
        match self.syntax {
            "" => format!("{}{end}", self.name),
            syntax => format!("{} {syntax}{end}", self.name),
        }
    }
}

/// Every row, in the order of the documentation.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    effective::ROWS.iter().chain(effective::PROXY_ROWS).chain(idle::ROWS)
}

/// The rows of one name: several when it means something else in other contexts.
pub(super) fn rows_of(name: &str) -> impl Iterator<Item = &'static Row> {
    rows().filter(move |row| row.name == name)
}

/// What is said of a directive that nginx has and this program does not.
pub(super) use refused::refusal;

/// Whether nginx or this program knows the name.
pub(super) fn is_known(name: &str) -> bool {
    name == "include" || rows_of(name).next().is_some() || refusal(name).is_some()
}

/// Whether a word at the start of a line can only be a directive: the sign of a missing semicolon
/// on the line before. Names of hosts and the like never look so.
pub(super) fn starts_directive(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && is_known(word)
}

/// The names to suggest in a context: what is allowed there first, then all others of ours.
pub(super) fn names_for(context: Context) -> impl Iterator<Item = &'static str> {
    let here = rows().filter(move |row| row.contexts.contains(context));
    here.chain(rows()).map(|row| row.name).chain(core::iter::once("include"))
}

/// The defaults of the contexts that `level` stands for, as configuration text.
pub(super) fn defaults(level: Context) -> String {
    use core::fmt::Write as _;
    let wanted = |row: &&Row| {
        let first = Context::ALL.into_iter().find(|&context| row.contexts.contains(context));
        // `main` and `events` fill one draft, and so do http, server and location.
        let group = match first {
            Some(Context::Main | Context::Events) => Context::Main,
            Some(Context::Http | Context::Server | Context::Location) => Context::Http,
            _ => Context::Upstream,
        };
        !row.default.is_empty() && group == level && !matches!(row.action, Action::Idle(_))
    };
    let mut text = String::new();
    for row in rows().filter(wanted) {
        let _ = writeln!(text, "{} {};", row.name, row.default);
    }
    text
}
