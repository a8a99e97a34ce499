//! A configuration, a request and a moment: what every test here needs.

use std::net::SocketAddr;

use upsplice::clock::{Instant, Now};
use upsplice::config::{self, Config, Outside, Request};
use upsplice::conn::{Addr, Ends};
use upsplice::http::facts::{Captures, Context, Facts, Host};
use upsplice::http::head::{RequestHead, ResponseHead};
use upsplice::http::time::LocalTime;
use upsplice::prng::Prng;
use upsplice::route::{Found, Router};

/// A world without files, in which every name has one address.
struct Nowhere;

impl Outside for Nowhere {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(format!("{path} does not exist"))
    }

    fn glob(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    fn resolve(&self, _: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }
}

/// A worker with one configuration.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) router: Router,
    pub(crate) host: Host,
    pub(crate) facts: Facts,
    pub(crate) now: Now,
}

/// Friday, 20 November 2026, 09:05:09.123 UTC.
pub(crate) const UNIX_MS: u64 = 1_795_165_509_123;

impl World {
    /// From what would stand in an `http` block.
    #[track_caller]
    pub(crate) fn new(http: &str) -> Self {
        let text = format!("events {{}} http {{ {http} }}");
        let request = Request { path: "test.conf", ..Request::default() };
        let loaded = config::load_text(request, text.into_bytes(), &Nowhere);
        let config = match loaded {
            Ok(loaded) => loaded.config,
            Err(problems) => panic!("{problems:?}\n{http}"),
        };
        let ends = Ends { peer: addr("192.0.2.7:51000"), local: addr("198.51.100.1:80") };
        let now = Now { mono: Instant::from_ms(10_000), unix_ms: UNIX_MS };
        let mut facts = Facts::new(ends, 42, Instant::from_ms(8_500));
        facts.begin_request(false, Instant::from_ms(9_750));
        let host = Host {
            name: "edge".into(),
            pid: 7,
            engine: "sim",
            request_seed: 1,
            time: LocalTime::utc(),
        };
        Self { router: Router::new(&config), config, host, facts, now }
    }

    /// A world with one server that is as given inside.
    #[track_caller]
    pub(crate) fn server(inside: &str) -> Self {
        Self::new(&format!("server {{ listen 80; {inside} }}"))
    }

    /// Routes a request and gives what is known of it to `then`.
    pub(crate) fn with<T>(&self, request: &RequestHead, then: impl FnOnce(&Context<'_>) -> T) -> T {
        self.answered(request, None, then)
    }

    /// The same with the upstream's response.
    pub(crate) fn answered<T>(
        &self,
        request: &RequestHead,
        response: Option<&ResponseHead>,
        then: impl FnOnce(&Context<'_>) -> T,
    ) -> T {
        let mut captures = Captures::default();
        let host = request.host().unwrap_or_default().as_bytes();
        let server = self.router.server(&self.config, 0, host, &mut captures);
        let found = self.router.location(&self.config, server, request.path(), &mut captures);
        then(&Context {
            host: &self.host,
            now: self.now,
            facts: &self.facts,
            request: Some(request),
            refused: None,
            response,
            sent: None,
            config: &self.config,
            server,
            location: found.location(),
            captures: &captures,
        })
    }

    /// Which server takes a request, by its first name, and which location, as it is written.
    pub(crate) fn route(&self, host: &str, path: &str) -> String {
        let mut captures = Captures::default();
        let server = self.router.server(&self.config, 0, host.as_bytes(), &mut captures);
        let found = self.router.location(&self.config, server, path.as_bytes(), &mut captures);
        let location = written(&self.config, found.location());
        match found {
            Found::Location(_) => location,
            Found::AddSlash(_) => format!("slash {location}"),
        }
    }
}

/// A location as it is written in a file.
fn written(config: &Config, location: usize) -> String {
    use upsplice::config::model::LocationMatch;
    match &config.locations[location].matches {
        LocationMatch::Server => "server".into(),
        LocationMatch::Exact(path) => format!("= {path}"),
        LocationMatch::Prefix { path, stop: false } => path.clone(),
        LocationMatch::Prefix { path, stop: true } => format!("^~ {path}"),
        LocationMatch::Regex(pattern) => format!("~ {}", pattern.text),
    }
}

pub(crate) fn addr(text: &str) -> Addr {
    Addr::Inet(text.parse().expect("a test writes a valid address"))
}

/// A request from lines; `Host: h` is added if there is no other.
#[track_caller]
pub(crate) fn request(lines: &str) -> RequestHead {
    let host = if lines.to_ascii_lowercase().contains("\nhost:") { "" } else { "\nHost: h" };
    let text = format!("{lines}{host}\n\n").replace('\n', "\r\n");
    RequestHead::parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{fault:?}: {lines}"))
}

/// A response from lines.
#[track_caller]
pub(crate) fn response(lines: &str) -> ResponseHead {
    let text = format!("{lines}\n\n").replace('\n', "\r\n");
    ResponseHead::parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{fault:?}: {lines}"))
}

/// Lines without their CRs and without the empty one at the end, for comparing.
pub(crate) fn lines(head: &[u8]) -> String {
    let text = String::from_utf8_lossy(head).replace("\r\n", "\n");
    text.strip_suffix("\n\n").expect("a head ends with an empty line").to_owned()
}

/// A number below `bound`, which is not zero.
pub(crate) fn pick(prng: &mut Prng, bound: usize) -> usize {
    usize::try_from(prng.below(bound as u64)).expect("below a usize")
}

/// The same bytes in pieces of random sizes, mostly small.
pub(crate) fn pieces<'a>(bytes: &'a [u8], prng: &mut Prng) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let bound = if prng.chance(1, 2) { 4.min(rest.len()) } else { rest.len() };
        let (part, behind) = rest.split_at(1 + pick(prng, bound));
        parts.push(part);
        rest = behind;
    }
    parts
}
