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

/// Both indexes.
#[derive(Debug)]
pub struct Router {
    /// One for each listener.
    names: Vec<server_name::Names>,
    locations: location::Locations,
}

/// Where a request belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Route {
    /// The server.
    pub server: ServerId,
    /// The location.
    pub found: Found,
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

    /// Where a request belongs that came to a listener (an index into [`Config::listens`]), for a
    /// host (lower-case, without port and trailing dot) and a normalised path. `captures` gets what
    /// the groups of the expressions matched on the way.
    ///
    /// # Panics
    /// If `config` is not the one that was indexed.
    #[must_use]
    pub fn route(
        &self,
        config: &Config,
        listen: usize,
        host: Option<&str>,
        path: &[u8],
        captures: &mut Captures,
    ) -> Route {
        let server = self.names[listen].find(config, host.unwrap_or_default(), captures);
        let root = config.servers[server].root;
        let found = self.locations.find(config, root, path, captures);
        Route { server, found }
    }
}
