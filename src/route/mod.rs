//! Which server and which location take a request.
//!
//! A [`Router`] is an index over a configuration: built once per configuration and worker, then
//! asked for every request. It decides exactly as nginx does. Deliberately absent: parsing of
//! names and paths (`http::uri` normalised them) and whatever happens in the location.

pub mod location;
pub mod server_name;

use crate::config::model::{Config, ServerId};
use crate::http::facts::Captures;

pub use location::Found;

/// What is looked up for each request.
#[derive(Debug)]
pub struct Router {
    /// One for each listener.
    names: Vec<server_name::Names>,
    locations: location::Locations,
}

impl Router {
    /// Indexes a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let names = |listen| server_name::Names::new(config, listen);
        Self {
            names: config.listens.iter().map(names).collect(),
            locations: location::Locations::new(config),
        }
    }

    /// The server for a request that came to a listener (an index into [`Config::listens`]), by
    /// the host it asks for: lower-case, without port and trailing dot, empty if there is none.
    ///
    /// `captures` gets what the groups of an expression matched.
    ///
    /// # Panics
    /// If `config` is not the one that was indexed.
    #[must_use]
    pub fn server(
        &self,
        config: &Config,
        listen: usize,
        host: &[u8],
        captures: &mut Captures,
    ) -> ServerId {
        self.names[listen].find(config, host, captures)
    }

    /// The location of a server for a normalised path.
    ///
    /// # Panics
    /// If `config` is not the one that was indexed.
    #[must_use]
    pub fn location(
        &self,
        config: &Config,
        server: ServerId,
        path: &[u8],
        captures: &mut Captures,
    ) -> Found {
        self.locations.find(config, config.servers[server].root, path, captures)
    }
}
