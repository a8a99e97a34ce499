//! Paths and hosts as nginx understands them, so that a location matches what it was written for.
//!
//! A target is split at its first `?`; the path is decoded once, its slashes merged and its dot
//! segments resolved. Bytes that a decoded path may contain (spaces, control bytes) are encoded
//! again by [`encode`] before they are put on a wire.

use std::borrow::Cow;

use crate::reason::Fault;

/// Splits a target in origin form: the path, and the query string behind the first `?`.
#[must_use]
pub fn split(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match target.iter().position(|&b| b == b'?') {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    }
}

/// Decodes and normalises a path that begins with a slash: percent-encoding (once), repeated
/// slashes (nginx's `merge_slashes on`), `.` and `..` segments, encoded or not.
///
/// # Errors
/// [`Fault::BadTarget`] for a path without its slash, an invalid or zero encoded byte, and a path
/// that climbs above its root.
pub fn normalise(path: &[u8]) -> Result<Cow<'_, [u8]>, Fault> {
    if path.first() != Some(&b'/') {
        return Err(Fault::BadTarget);
    }
    let special = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.');
    if !path.contains(&b'%') && !path.windows(2).any(special) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path)?;
    let mut out = Vec::with_capacity(decoded.len());
    let mut segments = decoded[1..].split(|&b| b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b".." => {
                let parent = out.iter().rposition(|&b| b == b'/').ok_or(Fault::BadTarget)?;
                out.truncate(parent);
            }
            b"" | b"." => {}
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
        }
        if last {
            out.push(b'/');
        }
    }
    Ok(Cow::Owned(out))
}

fn decode(path: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (&[high, low], behind) = rest.split_first_chunk().ok_or(Fault::BadTarget)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(Fault::BadTarget);
        let value = digit(high)? << 4 | digit(low)?;
        match u8::try_from(value) {
            Ok(0) | Err(_) => return Err(Fault::BadTarget),
            Ok(value) => out.push(value),
        }
        rest = behind;
    }
    Ok(out)
}

/// Appends a decoded path in a form that is valid in a request line: what could not stand there
/// (spaces, control bytes, `?`, `#`, `%`, bytes above 126) is percent-encoded.
pub fn encode(path: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in path {
        if matches!(byte, 0..=b' ' | b'?' | b'#' | b'%' | 0x7f..) {
            out.extend_from_slice(&[
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        } else {
            out.push(byte);
        }
    }
}

/// Checks a `Host` value or an authority and gives the host alone: lower-case, without the port and
/// one trailing dot (RFC 3986 section 3.2.2; user information is refused).
///
/// # Errors
/// [`Fault::BadHost`] if it is empty, or not a name or an IP literal with an optional port.
pub fn host(value: &[u8]) -> Result<Box<str>, Fault> {
    let literal = value.first() == Some(&b'[');
    let end = match literal {
        true => value.iter().position(|&b| b == b']').map(|bracket| bracket + 1),
        false => Some(value.iter().position(|&b| b == b':').unwrap_or(value.len())),
    };
    let (name, port) = value.split_at(end.ok_or(Fault::BadHost)?);
    let port_is_valid = match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => {
            digits.iter().all(u8::is_ascii_digit)
                && str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u16>().is_ok())
        }
        _ => false,
    };
    let text = str::from_utf8(name).map_err(|_| Fault::BadHost)?;
    let name_is_valid = match literal {
        true => text[1..text.len() - 1].parse::<core::net::Ipv6Addr>().is_ok(),
        false => is_registered_name(name),
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if !port_is_valid || !name_is_valid || name.is_empty() {
        return Err(Fault::BadHost);
    }
    Ok(name.to_ascii_lowercase().into())
}

/// `reg-name` of RFC 3986, without nginx's forbidden empty labels.
fn is_registered_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let valid = match byte {
            b'.' => behind.first() != Some(&b'.'),
            b'%' => behind.len() >= 2 && behind[..2].iter().all(u8::is_ascii_hexdigit),
            b'-' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' => true,
            b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if !valid {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expect: &str) {
        let found =
            normalise(path.as_bytes()).map(|path| String::from_utf8_lossy(&path).into_owned());
        assert_eq!(found.as_deref().unwrap_or("refused"), expect, "{path}");
    }

    #[test]
    fn a_path_is_decoded_once_and_its_segments_resolved() {
        check("/", "/");
        check("/a/b.c", "/a/b.c");
        check("/a//b///", "/a/b/");
        check("//", "/");
        check("/a/./b/.", "/a/b/");
        check("/a/b/../c", "/a/c");
        check("/a/b/..", "/a/");
        check("/a/..", "/");
        check("/a/%2e%2E/b", "/b");
        check("/a%2fb", "/a/b");
        check("/a/..b/...", "/a/..b/...");
        check("/%61%20b", "/a b");
        check("/%2561", "/%61");
        check("/a%3fb%23", "/a?b#");
        check("/a/%2F/b", "/a/b");
    }

    #[test]
    fn a_path_that_escapes_or_cannot_be_decoded_is_refused() {
        for path in ["/..", "/../a", "/a/../..", "/a/../../b", "/%2e%2e/", "/%2e%2e%2fetc"] {
            check(path, "refused");
        }
        for path in ["", "a", "/%", "/%4", "/%zz", "/%+1", "/a%00b"] {
            check(path, "refused");
        }
    }

    #[test]
    fn encoding_gives_a_path_that_decodes_to_the_same() {
        for path in ["/a b", "/\u{7f}\u{1}?#%é\\\"", "/plain-_.~!$&'()*+,;=:@"] {
            let mut wire = Vec::new();
            encode(path.as_bytes(), &mut wire);
            assert!(wire.iter().all(u8::is_ascii_graphic), "{path}");
            assert_eq!(normalise(&wire).unwrap(), path.as_bytes());
        }
    }

    #[track_caller]
    fn check_host(value: &str, expect: &str) {
        let found = host(value.as_bytes());
        assert_eq!(found.as_deref().unwrap_or("refused"), expect, "{value}");
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
        check_host("Example.COM", "example.com");
        check_host("example.com.:8080", "example.com");
        check_host("127.0.0.1:80", "127.0.0.1");
        check_host("[::1]:80", "[::1]");
        check_host("[FE80::1]", "[fe80::1]");
        check_host("a_b:", "a_b");
        for value in
            ["", ".", ":80", "a..b", "a b", "a/b", "u@h", "h:99999", "h:8x", "[::1", "[x]", "[]"]
        {
            check_host(value, "refused");
        }
        for value in ["[::1]x", "h\0", "h\t", "h%2", "é", "h:80:90", "a,b c", "h:+80", "h:-1"] {
            check_host(value, "refused");
        }
    }
}
