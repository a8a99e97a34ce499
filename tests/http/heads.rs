//! Heads that arrive in pieces, hostile heads, and what a mutated head can and cannot do.

use upsplice::http::framing::{Body, request_body};
use upsplice::http::head::RequestHead;
use upsplice::http::rewrite;
use upsplice::http::scanner::{HeadScanner, Scan};
use upsplice::http::upgrade;
use upsplice::prng::Prng;
use upsplice::reason::Fault;

use crate::fixture::{World, pick, pieces};

/// A request, as far as a proxy decides about it, and how many bytes it took.
fn accept(parts: &[&[u8]]) -> Result<Option<(RequestHead, Body, usize)>, Fault> {
    let mut scanner = HeadScanner::request(1024, 4, 8192);
    let mut before = 0;
    for part in parts {
        match scanner.push(part)? {
            Scan::Partial => before += part.len(),
            Scan::Complete { used } => {
                let head = scanner.parse_request()?;
                let body = request_body(&head)?;
                upgrade::asked(&head, body, &["websocket".to_owned()])?;
                return Ok(Some((head, body, before + used)));
            }
        }
    }
    Ok(None)
}

/// The corpus: what is expected, and the bytes.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let text = include_str!("../heads/requests.txt");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let (expect, escaped) = line.split_once('\t').expect(line);
        (expect.to_owned(), unescape(escaped))
    };
    lines.map(entry).collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, behind) = match (byte, behind) {
            (b'\\', [b'r', behind @ ..]) => (b'\r', behind),
            (b'\\', [b'n', behind @ ..]) => (b'\n', behind),
            (b'\\', [b't', behind @ ..]) => (b'\t', behind),
            (b'\\', [b'x', high, low, behind @ ..]) => {
                let digits = [*high, *low];
                (u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap(), behind)
            }
            (byte, behind) => (byte, behind),
        };
        out.push(byte);
        rest = behind;
    }
    out
}

#[test]
fn the_corpus_is_judged_as_it_says_wherever_it_is_split() {
    for (expect, bytes) in corpus() {
        for split in 0..=bytes.len() {
            let (first, second) = bytes.split_at(split);
            let found = match accept(&[first, second]) {
                Err(fault) => format!("{fault:?}"),
                Ok(None) => "incomplete".into(),
                Ok(Some((_, Body::None, _))) => "ok none".into(),
                Ok(Some((_, Body::Length(length), _))) => format!("ok {length}"),
                Ok(Some((_, body, _))) => format!("ok {body:?}").to_lowercase(),
            };
            let shown = bytes.escape_ascii();
            assert_eq!(found, expect, "{shown} split at {split}");
        }
    }
}

#[test]
fn a_head_ends_at_its_empty_line_and_takes_nothing_behind_it() {
    let head = b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let bytes = [&head[..], b"\x81\x05hello"].concat();
    for split in 0..=bytes.len() {
        let (first, second) = bytes.split_at(split);
        let (_, _, used) = accept(&[first, second]).unwrap().expect("a whole head");
        assert_eq!(used, head.len(), "split at {split}");
    }
}

/// A request whose line has `line` bytes, and with fields of the given lengths, all with ends.
fn sized(line: usize, fields: &[usize]) -> Vec<u8> {
    let frame = "GET / HTTP/1.1\r\n".len();
    let mut text = format!("GET /{} HTTP/1.1\r\n", "x".repeat(line - frame));
    for length in fields {
        text += &format!("X: {}\r\n", "y".repeat(length - 5));
    }
    (text + "Host: h\r\n\r\n").into_bytes()
}

#[test]
fn heads_fit_into_nginx_s_buffers_or_are_refused() {
    let check = |line: usize, fields: &[usize], expect: Option<Fault>| {
        let bytes = sized(line, fields);
        assert_eq!(accept(&[&bytes]).err(), expect, "{line} {fields:?}");
        let small: Vec<&[u8]> = bytes.chunks(7).collect();
        assert_eq!(accept(&small).err(), expect, "{line} {fields:?} in pieces");
    };
    check(1024, &[], None);
    check(8192, &[8192, 8192], None);
    check(8193, &[], Some(Fault::TargetTooLong));
    check(100, &[8193], Some(Fault::HeadTooLong));
    check(100, &[8192, 8192, 8192, 8192], Some(Fault::HeadTooLong));
    check(100, &[8192, 8192, 8192, 8192 - 11], None);
    // Two of these do not fit into one buffer, so that each takes its own.
    check(100, &[5000, 5000, 5000, 5000], None);
    check(100, &[5000, 5000, 5000, 5000, 5000], Some(Fault::HeadTooLong));
    check(100, &[4000; 8], None);
    assert_eq!(accept(&[&b"\r\n".repeat(9)]).err(), Some(Fault::BadRequestLine));
}

#[test]
fn a_long_line_is_refused_before_it_has_all_come() {
    let mut scanner = HeadScanner::request(1024, 4, 8192);
    let mut taken = 0;
    let start = scanner.push(b"GET /");
    assert_eq!(start, Ok(Scan::Partial));
    while scanner.push(&[b'x'; 100]).is_ok() {
        taken += 100;
        assert!(taken < 8192);
    }
    assert!(taken > 8000);
}

#[test]
fn an_upstream_s_head_fits_into_one_buffer_and_begins_as_one() {
    let push = |bytes: &[u8]| HeadScanner::response(64).push(bytes);
    assert_eq!(push(b"HTTP/1.1 200 OK\r\n\r\nbody"), Ok(Scan::Complete { used: 19 }));
    assert_eq!(push(b"HTT"), Ok(Scan::Partial));
    for bytes in [&b"\r\nHTTP/1.1"[..], b"HTTP/2", b"I", b"\x15\x03"] {
        assert_eq!(push(bytes), Err(Fault::BadStatusLine), "{}", bytes.escape_ascii());
    }
    let long = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(64));
    assert_eq!(push(long.as_bytes()), Err(Fault::HeadTooLong));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(10));
    assert_eq!(push(many.as_bytes()), Err(Fault::HeadTooLong));
}

/// Changes bytes, lines and lengths at random, mostly into bytes that matter.
fn mutate(bytes: &mut Vec<u8>, prng: &mut Prng) {
    const TELLING: &[u8] = b"\r\n\0\t :;,/?#%*.0159aGTH\x7f\x80_-\"";
    for _ in 0..=prng.below(3) {
        if bytes.is_empty() {
            return;
        }
        let at = pick(prng, bytes.len());
        match prng.below(5) {
            0 => bytes[at] = TELLING[pick(prng, TELLING.len())],
            1 => bytes.insert(at, TELLING[pick(prng, TELLING.len())]),
            2 => drop(bytes.remove(at)),
            3 => {
                let end = at + pick(prng, bytes.len() - at + 1);
                let copy = bytes[at..end].to_vec();
                let to = pick(prng, bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => {
                let names: [&[u8]; 4] = [
                    b"Content-Length: 5\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"Host: h\r\n",
                    b"\r\n",
                ];
                let name = names[pick(prng, names.len())];
                bytes.splice(at..at, name.iter().copied());
            }
        }
    }
}

#[test]
fn a_mutated_head_is_judged_the_same_in_pieces_and_reaches_the_upstream_unambiguous() {
    let world = World::server(
        "location / { proxy_pass http://127.0.0.1:9; proxy_set_header Host $http_host;
         proxy_set_header X-Path $uri; }",
    );
    let corpus = corpus();
    let mut accepted = 0;
    for seed in 0..20_000 {
        let mut prng = Prng::new(seed);
        let mut bytes = corpus[pick(&mut prng, corpus.len())].1.clone();
        mutate(&mut bytes, &mut prng);
        let whole = accept(&[&bytes]);
        let split = accept(&pieces(&bytes, &mut prng));
        let shown = bytes.escape_ascii();
        match (whole, split) {
            (Err(_), Err(_)) | (Ok(None), Ok(None)) => {}
            (Ok(Some(whole)), Ok(Some(split))) => {
                assert_eq!((whole.1, whole.2), (split.1, split.2), "seed {seed}: {shown}");
                assert_eq!(whole.0.fields().bytes(), split.0.fields().bytes());
                assert_ends_right(&bytes, whole.2);
                check_forwarded(&world, &whole.0, whole.1, seed);
                accepted += 1;
            }
            (whole, split) => panic!("seed {seed}: {shown}: {whole:?} or {split:?}"),
        }
    }
    assert!(accepted > 1000, "the mutations are too wild: {accepted}");
}

/// The plainest way to find the end of a head.
fn assert_ends_right(bytes: &[u8], used: usize) {
    let blank = bytes.iter().take_while(|&&b| b == b'\r' || b == b'\n').count();
    let end = (blank..=bytes.len()).find(|&end| {
        let head = &bytes[blank..end];
        head.ends_with(b"\n\n") || head.ends_with(b"\n\r\n")
    });
    assert_eq!(end, Some(used), "{}", bytes.escape_ascii());
}

/// A strict reader of what we send sees the same method, framing and host, and no field twice that
/// decides about them.
fn check_forwarded(world: &World, head: &RequestHead, body: Body, seed: u64) {
    let sent = world.with(head, |cx| {
        let location = &cx.config.locations[cx.location];
        let proxy = location.proxy.as_ref()?;
        rewrite::request_head(cx, head, proxy, body, None).ok()
    });
    let Some(sent) = sent else { return };
    let shown = sent.escape_ascii();
    assert!(!sent.windows(2).any(|two| two[1] == b'\n' && two[0] != b'\r'), "seed {seed}: {shown}");
    let again = match RequestHead::parse(&sent) {
        Ok(again) => again,
        // HTTP/1.0 needs no Host, and gets none if the operator forwards the client's.
        Err(Fault::BadHost) if head.host().is_none() => return,
        Err(fault) => panic!("seed {seed}: {fault:?}: {shown}"),
    };
    assert_eq!(again.method(), head.method());
    assert_eq!(again.path(), head.path(), "seed {seed}: {shown}");
    assert_eq!(request_body(&again), Ok(body), "seed {seed}: {shown}");
    assert_eq!(again.host(), head.host(), "seed {seed}: {shown}");
}
