//! nginx's configuration language: text in, one checked [`model`] or every mistake at once out.
//!
//! Pure: files, patterns and host names come through [`Outside`]. The layers, in the order of a
//! load: `lexer` (tokens), `parser` (a tree, includes replaced), `directives` (the table of names),
//! `build` (the tree to the [`model`], with nginx's inheritance), `check` (what only shows when
//! everything is known). Each reports to `diagnostic` and goes on.

use core::net::SocketAddr;

pub mod diagnostic;
mod lexer;
pub mod model;
mod parser;
pub mod source;

pub use diagnostic::{Diagnostic, Severity};
pub use source::SourceFile;

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
