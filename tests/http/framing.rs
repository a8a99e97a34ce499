//! Bodies in pieces, against a reference that is slow and plain.

use upsplice::http::framing::{Body, BodyReader};
use upsplice::prng::Prng;

use crate::fixture::{pick, pieces};

/// What a chunked body is: its content and how many bytes it took; `None` while it is incomplete.
type Decoded = Result<Option<(Vec<u8>, usize)>, ()>;

/// Decodes a chunked body that is all there, line by line, by the letter of RFC 9112 section 7.1.
fn reference(bytes: &[u8]) -> Decoded {
    let mut content = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = line(&bytes[at..])? else { return Ok(None) };
        at += line.len() + 2;
        let text = str::from_utf8(line).map_err(|_| ())?;
        let (size, extension) = match text.split_once(';') {
            Some((size, extension)) => (size, extension),
            None => (text, ""),
        };
        let size = size.trim_end_matches([' ', '\t']);
        let digits = !size.is_empty() && size.bytes().all(|b| b.is_ascii_hexdigit());
        if !digits || extension.bytes().any(|b| b != b'\t' && (b < b' ' || b == 0x7f)) {
            return Err(());
        }
        let size = usize::from_str_radix(size, 16).map_err(|_| ())?;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at.saturating_add(size)) else { return Ok(None) };
        content.extend_from_slice(chunk);
        at += size;
        match bytes.get(at..) {
            Some([b'\r', b'\n', ..]) => at += 2,
            Some([] | [b'\r']) => return Ok(None),
            _ => return Err(()),
        }
    }
    loop {
        let Some(line) = line(&bytes[at..])? else { return Ok(None) };
        at += line.len() + 2;
        if line.is_empty() {
            return Ok(Some((content, at)));
        }
        let colon = line.iter().position(|&b| b == b':').ok_or(())?;
        let name = &line[..colon];
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        let value = |b: &u8| *b == b'\t' || (*b >= b' ' && *b != 0x7f);
        if name.is_empty() || !name.iter().all(plain) || !line[colon..].iter().all(value) {
            return Err(());
        }
    }
}

/// A line without its CRLF; `None` if its end has not come, an error if it can no longer be a line.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, ()> {
    let Some(end) = bytes.iter().position(|&b| b == b'\r' || b == b'\n') else { return Ok(None) };
    match &bytes[end..] {
        [b'\r', b'\n', ..] => Ok(Some(&bytes[..end])),
        [b'\r'] => Ok(None),
        _ => Err(()),
    }
}

/// The same by the reader, in pieces.
fn read(parts: &[&[u8]]) -> Decoded {
    let mut reader = BodyReader::new(Body::Chunked, 0).map_err(|_| ())?;
    let (mut content, mut total) = (Vec::new(), 0);
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let piece = reader.next(rest).map_err(|_| ())?;
            content.extend_from_slice(&rest[piece.data.clone()]);
            total += piece.used;
            rest = &rest[piece.used..];
            if piece.done {
                assert_eq!(reader.content(), content.len() as u64);
                return Ok(Some((content, total)));
            }
        }
    }
    Ok(None)
}

fn random_body(prng: &mut Prng) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..prng.below(4) {
        let content = vec![b'z'; pick(prng, 40)];
        encode_chunk(&content, &mut body);
    }
    if prng.chance(1, 3) {
        body.extend_from_slice(b"0;last=\"yes\"\r\nX-Sum: 12\r\nY:\r\n\r\n");
    } else {
        body.extend_from_slice(b"0\r\n\r\n");
    }
    body.extend_from_slice(&b"GET / HTTP/1.1\r\n"[..pick(prng, 17)]);
    body
}

#[test]
fn chunks_are_read_as_the_reference_reads_them_in_pieces_of_any_size() {
    const TELLING: &[u8] = b"\r\n;: \t0129afgAz\0-+x";
    let mut complete = 0;
    for seed in 0..30_000 {
        let mut prng = Prng::new(seed);
        let mut body = random_body(&mut prng);
        for _ in 0..prng.below(3) {
            let at = pick(&mut prng, body.len());
            let byte = TELLING[pick(&mut prng, TELLING.len())];
            match prng.below(3) {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => drop(body.remove(at)),
            }
        }
        let shown = body.escape_ascii().to_string();
        let (expect, found) = (reference(&body), read(&[&body]));
        // The reference reads whole lines: it may still wait where the reader refuses already.
        if expect != Ok(None) || found.is_ok() {
            assert_eq!(found, expect, "seed {seed}: {shown}");
        }
        assert_eq!(read(&pieces(&body, &mut prng)), found, "seed {seed}: {shown}");
        complete += usize::from(matches!(found, Ok(Some(_))));
    }
    assert!(complete > 5000, "the mutations are too wild: {complete}");
}

#[test]
fn a_body_is_passed_on_untouched_up_to_its_end() {
    for seed in 0..2000 {
        let mut prng = Prng::new(seed);
        let body = random_body(&mut prng);
        let (_, end) = reference(&body).unwrap().unwrap();
        let mut reader = BodyReader::new(Body::Chunked, 0).unwrap();
        let mut passed = 0;
        for part in pieces(&body, &mut prng) {
            let progress = reader.consume(part).unwrap();
            passed += progress.used;
            if progress.done {
                break;
            }
        }
        assert_eq!((passed, reader.is_done()), (end, true), "seed {seed}");
    }
}

/// Appends content as one chunk; nothing for no content, which would be the last chunk.
fn encode_chunk(content: &[u8], out: &mut Vec<u8>) {
    if content.is_empty() {
        return;
    }
    out.extend_from_slice(format!("{:x}\r\n", content.len()).as_bytes());
    out.extend_from_slice(content);
    out.extend_from_slice(b"\r\n");
}
