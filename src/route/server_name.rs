//! The choice among the servers of a listener by the name that a request asks for.
//!
//! nginx's order: the exact name, the longest `*.name`, the longest `name.*`, the first regular
//! expression in the file, the listener's default. Of equal names the first in the file counts.

use std::collections::HashMap;

use crate::config::model::{Config, Listen, ServerId, ServerName};
use crate::http::facts::Captures;

/// The names of one listener's servers.
#[derive(Debug)]
pub struct Names {
    exact: HashMap<Box<[u8]>, ServerId>,
    /// Keys like `.example.com`.
    suffixes: HashMap<Box<[u8]>, ServerId>,
    /// Keys like `www.example.`.
    prefixes: HashMap<Box<[u8]>, ServerId>,
    /// Server and index of the name, in the order of the file.
    patterns: Vec<(ServerId, usize)>,
    default: ServerId,
}

impl Names {
    /// Indexes the names of a listener's servers.
    #[must_use]
    pub fn new(config: &Config, listen: &Listen) -> Self {
        let mut names = Self {
            exact: HashMap::new(),
            suffixes: HashMap::new(),
            prefixes: HashMap::new(),
            patterns: Vec::new(),
            default: listen.default,
        };
        for &server in &listen.servers {
            let list = &config.servers[server].names;
            if list.is_empty() {
                // A server without a name is one with the empty name, as in nginx.
                names.exact.entry([].into()).or_insert(server);
            }
            for (index, name) in list.iter().enumerate() {
                let (map, key) = match name {
                    ServerName::Exact(name) => (&mut names.exact, name),
                    ServerName::Suffix(tail) => (&mut names.suffixes, tail),
                    ServerName::Prefix(start) => (&mut names.prefixes, start),
                    ServerName::Regex(_) => {
                        names.patterns.push((server, index));
                        continue;
                    }
                };
                map.entry(key.as_bytes().into()).or_insert(server);
            }
        }
        names
    }

    /// The server for a host: lower-case, without port and trailing dot; empty if there is none.
    pub fn find(&self, config: &Config, host: &[u8], captures: &mut Captures) -> ServerId {
        if let Some(&server) = self.exact.get(host) {
            return server;
        }
        if let Some(server) = self.find_suffix(host).or_else(|| self.find_prefix(host)) {
            return server;
        }
        if !host.is_empty() {
            for &(server, index) in &self.patterns {
                let name = &config.servers[server].names[index];
                if let ServerName::Regex(pattern) = name
                    && captures.capture(pattern, host)
                {
                    return server;
                }
            }
        }
        self.default
    }

    /// One look-up for each label: the first dot gives the longest tail.
    fn find_suffix(&self, host: &[u8]) -> Option<ServerId> {
        if self.suffixes.is_empty() {
            return None;
        }
        let mut dots = (1..host.len()).filter(|&at| host[at] == b'.');
        dots.find_map(|dot| self.suffixes.get(&host[dot..]).copied())
    }

    /// The last dot gives the longest beginning.
    fn find_prefix(&self, host: &[u8]) -> Option<ServerId> {
        if self.prefixes.is_empty() {
            return None;
        }
        let dots = (1..host.len()).filter(|&behind| host[behind - 1] == b'.');
        dots.rev().find_map(|behind| self.prefixes.get(&host[..behind]).copied())
    }
}
