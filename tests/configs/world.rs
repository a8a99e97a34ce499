//! What the configuration tests share: a world in a table, and diagnostics as short texts.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use upsplice::config::{Diagnostic, Loaded, Outside, Request, load, load_text};

/// Files and hosts that exist.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) files: BTreeMap<String, String>,
}

impl Outside for Table {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match self.files.get(path) {
            Some(text) => Ok(text.clone().into_bytes()),
            None => Err("No such file or directory".into()),
        }
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        let pattern = glob::Pattern::new(pattern).map_err(|error| error.to_string())?;
        Ok(self.files.keys().filter(|path| pattern.matches(path)).cloned().collect())
    }

    fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        match host {
            "localhost" => Ok(vec![
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
                SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port),
            ]),
            "app.internal" => Ok(vec![SocketAddr::new(Ipv4Addr::new(10, 0, 0, 7).into(), port)]),
            _ => Err("Name or service not known".into()),
        }
    }
}

impl Table {
    /// Adds a file.
    #[must_use]
    pub(crate) fn with(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.into());
        self
    }

    /// Loads a text as `/etc/t.conf`, with the prefix `/srv`.
    pub(crate) fn load(&self, text: &str) -> Result<Loaded, Vec<Diagnostic>> {
        let request = Request { path: "/etc/t.conf", prefix: "/srv", directives: None };
        load_text(request, text.as_bytes().to_vec(), self)
    }

    /// Loads a file of `tests/configs/`.
    pub(crate) fn load_corpus(mut self, name: &str) -> Result<Loaded, Vec<Diagnostic>> {
        self.files.insert(format!("/etc/{name}"), corpus(name));
        load(Request { path: &format!("/etc/{name}"), prefix: "/srv", directives: None }, &self)
    }
}

/// A file of `tests/configs/`.
pub(crate) fn corpus(name: &str) -> String {
    let path = format!("{}/tests/configs/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// Diagnostics as `line:column severity: message (help)`, or without a place.
pub(crate) fn messages(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics
        .iter()
        .map(|Diagnostic { severity, message, place, help }| {
            let place = place.as_ref().map_or(String::new(), |place| {
                let file = place.file.strip_prefix("/etc/").unwrap_or(&place.file);
                let file = if file == "t.conf" { String::new() } else { format!("{file}:") };
                format!("{file}{}:{} ", place.line, place.column)
            });
            let help = help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
            format!("{place}{severity}: {message}{help}")
        })
        .collect()
}

/// Where a snippet stands.
#[derive(Clone, Copy)]
pub(crate) enum In {
    /// The whole file.
    Main,
    /// In `http`, beside a server.
    Http,
    /// In a server.
    Server,
    /// In `location /`.
    Location,
}

/// Compares all that is said of a snippet with what should be.
pub(crate) fn check(place: In, snippet: &str, expected: &[&str]) {
    let text = match place {
        In::Main => snippet.to_owned(),
        In::Http => format!("http {{\n{snippet}\nserver {{ listen 8099; }} }}"),
        In::Server => format!("http {{ server {{\n{snippet}\n}} }}"),
        In::Location => format!("http {{ server {{ location / {{\n{snippet}\n}} }} }}"),
    };
    let table = Table::default()
        .with("/etc/t.conf", &text)
        .with("/etc/loop.conf", "include loop2.conf;")
        .with("/etc/loop2.conf", "include loop.conf;")
        .with("/etc/bad.conf", "user a b c;\nevents { oops; }\n");
    let found = match table.load(&text) {
        Ok(loaded) => loaded.warnings,
        Err(diagnostics) => diagnostics,
    };
    assert_eq!(messages(&found), expected, "{snippet}");
}
