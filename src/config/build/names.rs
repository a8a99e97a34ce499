//! The variables that a configuration defines itself: maps and the named groups of its regular
//! expressions.
//!
//! nginx allows a variable to be used before it is defined, so the names are collected from the
//! whole tree before anything is compiled.

use regex::bytes::{Regex, RegexBuilder};

use crate::config::lexer::Word;
use crate::config::model::Pattern;
use crate::config::parser::Directive;
use crate::http::variables::{Variable, builtins};

use super::Builder;

/// The names, without `$`.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// In the order of the file: the position is the index of the map.
    maps: Vec<String>,
    /// Of `server_name` and `location`.
    groups: Vec<String>,
}

impl Names {
    /// Finds all definitions below `tree`.
    pub(super) fn collect(tree: &[Directive]) -> Self {
        let mut names = Self::default();
        names.add(tree);
        names
    }

    fn add(&mut self, directives: &[Directive]) {
        for directive in directives {
            let Directive { name, args, block } = directive;
            match (name.text.as_str(), args.as_slice(), block) {
                ("map", [_, variable], Some(_)) => {
                    let name = variable.text.trim_start_matches('$').to_ascii_lowercase();
                    if !self.maps.contains(&name) {
                        self.maps.push(name);
                    }
                    continue;
                }
                ("server_name", ..) => {
                    for word in args {
                        self.add_groups(word.text.strip_prefix('~'));
                    }
                }
                ("location", ..) => self.add_groups(args.last().map(|word| word.text.as_str())),
                _ => {}
            }
            if let Some(block) = block {
                self.add(&block.directives);
            }
        }
    }

    fn add_groups(&mut self, pattern: Option<&str>) {
        // Only a regular expression can have a group, and this is how one with a name begins.
        let Some(pattern) = pattern.filter(|text| text.contains("(?")) else { return };
        if let Ok(regex) = compile(pattern, false) {
            self.groups.extend(group_names(&regex));
        }
    }

    /// The position of a map by its variable's name.
    pub(super) fn map(&self, name: &str) -> Option<usize> {
        self.maps.iter().position(|map| map.eq_ignore_ascii_case(name))
    }

    /// What a template asks for every name in it. The configuration's own names come first: nginx
    /// lets a map replace a built-in header variable.
    pub(super) fn lookup(&self, name: &str, groups: &[String]) -> Option<Variable> {
        if let Some(index) = self.map(name) {
            return Some(Variable::Map(index));
        }
        let mut known = groups.iter().chain(&self.groups);
        if let Some(group) = known.find(|group| group.eq_ignore_ascii_case(name)) {
            return Some(Variable::NamedGroup(group.as_str().into()));
        }
        Variable::builtin(name)
    }

    /// The names to suggest for an unknown one.
    pub(super) fn known(&self) -> impl Iterator<Item = &str> {
        let own = self.maps.iter().chain(&self.groups).map(String::as_str);
        own.chain(builtins().iter().map(|builtin| builtin.name))
    }
}

/// Whether nginx has a variable of this name, which this program has not: its user did not mistype
/// it.
pub(super) fn is_nginxs(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "ancient_browser",
        "binary_remote_addr",
        "bytes_received",
        "date_gmt",
        "date_local",
        "document_root",
        "gzip_ratio",
        "http2",
        "http3",
        "invalid_referer",
        "limit_conn_status",
        "limit_rate",
        "limit_req_status",
        "memcached_key",
        "modern_browser",
        "msie",
        "realpath_root",
        "request_body",
        "request_body_file",
        "request_completion",
        "request_filename",
        "secure_link",
        "secure_link_expires",
        "session_time",
        "slice_range",
        "upstream_cache_status",
        "upstream_last_server_name",
        "upstream_queue_time",
    ];
    const FAMILIES: &[&str] = &[
        "connections_",
        "fastcgi_",
        "geoip_",
        "jwt_",
        "proxy_protocol_",
        "realip_",
        "sent_trailer_",
        "ssl_",
        "tcpinfo_",
        "uid_",
        "upstream_cookie_",
        "upstream_trailer_",
    ];
    let name = name.to_ascii_lowercase();
    NAMES.contains(&name.as_str()) || FAMILIES.iter().any(|family| name.starts_with(family))
}

/// The names of a regular expression's groups.
pub(super) fn group_names(regex: &Regex) -> impl Iterator<Item = String> + '_ {
    regex.capture_names().flatten().map(str::to_owned)
}

/// Compiles an expression as nginx uses them: on bytes, `\w` and the like mean ASCII.
fn compile(text: &str, any_case: bool) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text)
        .case_insensitive(any_case)
        // Without Unicode a letter beyond ASCII is refused, so such an expression gets it.
        .unicode(!text.is_ascii())
        .build()
}

impl Builder<'_> {
    /// Compiles a regular expression, or says what is wrong with it.
    pub(super) fn pattern(&mut self, text: &str, any_case: bool, word: &Word) -> Option<Pattern> {
        if text.is_empty() {
            self.problems.error(word.span, "empty regular expression");
            return None;
        }
        match compile(text, any_case) {
            Ok(regex) => Some(Pattern { text: text.to_owned(), regex }),
            Err(error) => {
                // The library shows the expression with a caret first and the reason last.
                let shown = error.to_string();
                let reason = shown.lines().last().unwrap_or_default().trim();
                let reason = reason.trim_start_matches("error: ");
                self.problems.error(word.span, format!("bad regular expression: {reason}"));
                if reason.contains("look-") || reason.contains("backreference") {
                    self.problems.help("expressions here never backtrack, so they are never slow");
                }
                None
            }
        }
    }
}
