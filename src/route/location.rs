//! The choice among the locations of a server by the path of a request.
//!
//! nginx's order, on each level of nesting: an `=` location ends the search; the longest prefix is
//! remembered, and its nested locations are searched; then, unless that prefix has `^~` or a nested
//! expression has matched, the first regular expression of the level takes the request.

use std::collections::HashMap;

use crate::config::model::{Config, LocationId, LocationMatch};
use crate::http::facts::Captures;

/// The outcome of a search.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// This location takes the request; the server's root if no other does.
    Location(LocationId),
    /// The path lacks only the slash at the end of this location's prefix, which passes requests
    /// on: nginx redirects (301) to the path with the slash.
    AddSlash(LocationId),
}

impl Found {
    /// The location, for its settings.
    #[must_use]
    pub const fn location(self) -> LocationId {
        match self {
            Self::Location(id) | Self::AddSlash(id) => id,
        }
    }
}

/// The locations of all servers.
#[derive(Debug)]
pub struct Locations {
    /// By the location whose children these are; a server's own are its root's.
    levels: HashMap<LocationId, Level>,
}

/// Locations that are beside each other.
#[derive(Debug, Default)]
struct Level {
    exact: HashMap<Box<[u8]>, LocationId>,
    /// Sorted, so that the longest prefix of a path is the entry before the path, or one of the
    /// shorter entries that this one begins with.
    prefixes: Vec<Prefix>,
    patterns: Vec<LocationId>,
}

#[derive(Debug)]
struct Prefix {
    path: Box<[u8]>,
    id: LocationId,
    /// `^~`.
    stop: bool,
    /// The longest other entry that this one begins with.
    shorter: Option<usize>,
}

/// What the exact locations and the prefixes of a level say about a path.
enum Plain<'a> {
    Exact(LocationId),
    AddSlash(LocationId),
    Prefix(&'a Prefix),
    Nothing,
}

impl Locations {
    /// Indexes all locations of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let of_servers = config.servers.iter().map(|server| (server.root, &server.locations));
        let nested = config.locations.iter().enumerate();
        let nested = nested.map(|(id, location)| (id, &location.children));
        let levels = of_servers
            .chain(nested)
            .filter(|(_, children)| !children.is_empty())
            .map(|(parent, children)| (parent, Level::new(config, children)))
            .collect();
        Self { levels }
    }

    /// The location for a normalised path, among those below `root`.
    pub fn find(
        &self,
        config: &Config,
        root: LocationId,
        path: &[u8],
        captures: &mut Captures,
    ) -> Found {
        let mut best = Found::Location(root);
        self.search(config, root, path, captures, &mut best);
        best
    }

    /// Searches one level and those below what it finds. True if the search is over: expressions of
    /// the levels above have no say any more.
    fn search(
        &self,
        config: &Config,
        parent: LocationId,
        path: &[u8],
        captures: &mut Captures,
        best: &mut Found,
    ) -> bool {
        let Some(level) = self.levels.get(&parent) else { return false };
        let mut stop = false;
        match level.plain(config, path) {
            Plain::Exact(id) => {
                *best = Found::Location(id);
                return true;
            }
            Plain::AddSlash(id) => {
                *best = Found::AddSlash(id);
                return true;
            }
            Plain::Prefix(prefix) => {
                *best = Found::Location(prefix.id);
                stop = prefix.stop;
                if self.search(config, prefix.id, path, captures, best) {
                    return true;
                }
            }
            Plain::Nothing => {}
        }
        if stop {
            return false;
        }
        for &id in &level.patterns {
            if let LocationMatch::Regex(pattern) = &config.locations[id].matches
                && captures.capture(pattern, path)
            {
                *best = Found::Location(id);
                self.search(config, id, path, captures, best);
                return true;
            }
        }
        false
    }
}

impl Level {
    fn new(config: &Config, ids: &[LocationId]) -> Self {
        let mut level = Self::default();
        for &id in ids {
            match &config.locations[id].matches {
                LocationMatch::Exact(path) => {
                    level.exact.entry(path.as_bytes().into()).or_insert(id);
                }
                LocationMatch::Prefix { path, stop } => {
                    let path = path.as_bytes().into();
                    level.prefixes.push(Prefix { path, id, stop: *stop, shorter: None });
                }
                LocationMatch::Regex(_) => level.patterns.push(id),
                LocationMatch::Server => {}
            }
        }
        level.prefixes.sort_by(|a, b| a.path.cmp(&b.path));
        for index in 1..level.prefixes.len() {
            let path = level.prefixes[index].path.clone();
            level.prefixes[index].shorter = level.longest_from(Some(index - 1), &path);
        }
        level
    }

    /// The longest entry that `path` begins with: the given one, or one that this begins with.
    fn longest_from(&self, mut from: Option<usize>, path: &[u8]) -> Option<usize> {
        while let Some(index) = from {
            let prefix = &self.prefixes[index];
            if path.starts_with(&prefix.path) {
                return from;
            }
            from = prefix.shorter;
        }
        None
    }

    fn plain(&self, config: &Config, path: &[u8]) -> Plain<'_> {
        if let Some(&id) = self.exact.get(path) {
            return Plain::Exact(id);
        }
        let behind = self.prefixes.partition_point(|prefix| *prefix.path <= *path);
        let longest = self.longest_from(behind.checked_sub(1), path);
        let longest = longest.map(|index| &self.prefixes[index]);
        if longest.is_none_or(|prefix| prefix.path.len() < path.len()) {
            let slashed = |prefix: &Prefix| prefix.path.iter().cmp(path.iter().chain(b"/"));
            let lacking = self.prefixes.binary_search_by(slashed);
            let lacking = lacking.ok().map(|index| self.prefixes[index].id);
            if let Some(id) = lacking.filter(|&id| config.locations[id].proxy.is_some()) {
                return Plain::AddSlash(id);
            }
        }
        longest.map_or(Plain::Nothing, Plain::Prefix)
    }
}
