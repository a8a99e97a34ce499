//! The world a configuration is read from: files, file name patterns, host names.
//!
//! The system's side of [`Outside`]. Blocking, so only for the main thread: at start, at `-t` and
//! at a reload.

use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, ToSocketAddrs};

use crate::config::Outside;
use crate::limits::CONFIG_BYTES_MAX;

/// The system itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Outside for System {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let read = || {
            let mut bytes = Vec::new();
            // One byte more than is allowed, so that too much is seen as such: a device has no end.
            let most = u64::try_from(CONFIG_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
            File::open(path)?.take(most).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error: io::Error| error.to_string())
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        // As glob(3) with nginx's flags: a leading dot needs a dot, a `*` does not cross a `/`.
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let paths = glob::glob_with(pattern, options).map_err(|error| error.to_string())?;
        let mut names = Vec::new();
        for path in paths {
            let path = path.map_err(|error| error.to_string())?;
            let name = path.into_os_string().into_string();
            names.push(name.map_err(|name| format!("{} is not UTF-8", name.display()))?);
        }
        names.sort();
        Ok(names)
    }

    fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let found = (host, port).to_socket_addrs().map_err(|error| {
            // "failed to lookup address information: Name or service not known"
            let text = error.to_string();
            text.rsplit_once(": ").map_or_else(|| text.clone(), |(_, why)| why.to_owned())
        })?;
        // The resolver repeats an address for each kind of socket it knows.
        let mut addresses = Vec::new();
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err("no address".into()) } else { Ok(addresses) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_files_in_order_and_not_the_hidden_ones() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.conf", "a.conf", ".hidden.conf", "c.txt"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let pattern = format!("{}/*.conf", folder.path().display());
        let found = System.glob(&pattern).unwrap();
        let names: Vec<&str> = found.iter().filter_map(|path| path.rsplit('/').next()).collect();
        assert_eq!(names, ["a.conf", "b.conf"]);
        assert_eq!(System.read(&found[0]).unwrap(), b"a.conf");
        assert!(System.read("/nonexistent/file").unwrap_err().starts_with("No such file"));
        assert!(System.glob("/a/***").is_err());
    }

    #[test]
    fn a_file_without_an_end_is_not_read_for_ever() {
        assert_eq!(System.read("/dev/zero").unwrap().len(), CONFIG_BYTES_MAX + 1);
    }

    #[test]
    fn addresses_need_no_resolver() {
        assert_eq!(System.resolve("127.0.0.1", 80).unwrap(), ["127.0.0.1:80".parse().unwrap()]);
        assert_eq!(System.resolve("::1", 80).unwrap(), ["[::1]:80".parse().unwrap()]);
    }
}
