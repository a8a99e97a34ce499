//! nginx's configuration language: text in, one checked [`model`] or every mistake at once out.
//!
//! Pure: files, patterns and host names come through [`Outside`]. The layers, in the order of a
//! load: `lexer` (tokens), `parser` (a tree, includes replaced), `directives` (the table of names),
//! `build` (the tree to the [`model`], with nginx's inheritance), `check` (what only shows when
//! everything is known). Each reports to `diagnostic` and goes on.

use core::net::SocketAddr;

mod build;
mod check;
pub mod diagnostic;
mod directives;
mod lexer;
pub mod model;
mod parser;
pub mod source;
mod value;

pub use diagnostic::{Diagnostic, Severity};
pub use directives::reference;
pub use model::Config;
pub use source::SourceFile;

use diagnostic::Problems;
use directives::Context;
use parser::{Directive, Reading};
use source::Sources;

/// What loading needs from the world. The house implements it with the system, tests with tables.
pub trait Outside {
    /// The bytes of a file.
    ///
    /// # Errors
    /// The reason in the system's words.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// The files that match a shell pattern, sorted; none is not an error.
    ///
    /// # Errors
    /// When the pattern is malformed.
    fn glob(&self, pattern: &str) -> Result<Vec<String>, String>;

    /// The addresses of a host name; at least one.
    ///
    /// # Errors
    /// The resolver's reason.
    fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String>;
}

/// What to load, as the command line says it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// `-c`: the main file. Relative `include`s start at its folder.
    pub path: &'a str,
    /// `-p`: the folder at which relative names of logs and of the pid file start.
    pub prefix: &'a str,
    /// `-g`: directives of the main level, read before the file.
    pub directives: Option<&'a str>,
}

/// A configuration that may be used.
#[derive(Debug)]
pub struct Loaded {
    /// Its meaning.
    pub config: Config,
    /// What `-t` tells all the same; every one is a [`Severity::Warning`].
    pub warnings: Vec<Diagnostic>,
    /// Every file with its text, in the order of reading, for `-T`.
    pub files: Vec<SourceFile>,
}

/// Reads, checks and builds a configuration.
///
/// # Errors
/// Everything that is wrong, warnings included, in the order of the files.
pub fn load(request: Request<'_>, outside: &dyn Outside) -> Result<Loaded, Vec<Diagnostic>> {
    match outside.read(request.path) {
        Ok(text) => load_text(request, text, outside),
        Err(why) => Err(vec![Diagnostic {
            severity: Severity::Error,
            message: format!("cannot read \"{}\": {why}", request.path),
            place: None,
            help: Some("-c FILE names another file".to_owned()),
        }]),
    }
}

/// As [`load`], with the text of the main file at hand; `path` then only names it.
///
/// # Errors
/// Everything that is wrong, warnings included, in the order of the files.
pub fn load_text(
    request: Request<'_>,
    text: Vec<u8>,
    outside: &dyn Outside,
) -> Result<Loaded, Vec<Diagnostic>> {
    let mut sources = Sources::default();
    let mut problems = Problems::default();
    let folder = request.path.rfind('/').map_or("", |slash| &request.path[..=slash]);
    let mut reading = Reading {
        sources: &mut sources,
        problems: &mut problems,
        outside,
        folder,
        is_directive: directives::starts_directive,
    };
    let [main_defaults, http_defaults] = [Context::Main, Context::Http]
        .map(|level| reading.text(BUILT_IN.into(), directives::defaults(level).into_bytes()));
    let mut tree: Vec<Directive> = Vec::new();
    if let Some(directives) = request.directives {
        tree = reading.text("-g".into(), directives.as_bytes().to_vec());
    }
    tree.extend(reading.text(request.path.into(), text));
    let prefix = match request.prefix {
        "" => String::new(),
        folder if folder.ends_with('/') => folder.to_owned(),
        folder => format!("{folder}/"),
    };
    let defaults = [main_defaults.as_slice(), http_defaults.as_slice()];
    let config = build::build(&mut problems, outside, &prefix, defaults, &tree);
    let refused = problems.any_error();
    let diagnostics = problems.finish(&sources);
    if refused {
        return Err(diagnostics);
    }
    let mut files = sources.into_files();
    files.retain(|file| file.name != BUILT_IN && file.name != "-g");
    Ok(Loaded { config, warnings: diagnostics, files })
}

/// The name of the text that the defaults are read from.
const BUILT_IN: &str = "(built-in defaults)";
