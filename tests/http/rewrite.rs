//! What reaches an upstream, and what reaches a client.

use upsplice::http::answer;
use upsplice::http::framing::{Body, request_body, response_body};
use upsplice::http::head::{ResponseHead, Version};
use upsplice::http::rewrite::{self, Delivery};
use upsplice::http::upgrade;
use upsplice::prng::Prng;
use upsplice::reason::Fault;

use crate::fixture::{World, lines, pick, request, response};

/// What the upstream gets for a request.
fn forward(world: &World, text: &str) -> Result<String, Fault> {
    let head = request(text);
    world.with(&head, |cx| {
        let location = &cx.config.locations[cx.location];
        let settings = &location.settings;
        let proxy = location.proxy.as_ref().expect("the location passes on");
        let body = request_body(&head)?;
        let protocol = upgrade::asked(&head, body, &settings.upgrade_allow)?
            .filter(|protocol| !upgrade::blocked_by_config(cx, settings, protocol));
        let bytes = rewrite::request_head(cx, &head, proxy, body, protocol.as_ref())?;
        Ok(lines(&bytes))
    })
}

#[track_caller]
fn check(server: &str, text: &str, expect: &str) {
    let found = forward(&World::server(server), text);
    assert_eq!(found.as_deref(), Ok(expect), "{server}\n{text}");
}

const UPGRADE: &str = "GET /chat HTTP/1.1\nHost: example.org\nConnection: keep-alive, Upgrade\n\
                       Upgrade: websocket\nSec-WebSocket-Key: k\nOrigin: o";
const UPGRADED: &str = "GET /chat HTTP/1.1\nHost: 127.0.0.1:9\nUpgrade: websocket\n\
                        Connection: upgrade\nSec-WebSocket-Key: k\nOrigin: o";
const ORDINARY: &str = "GET /chat HTTP/1.1\nHost: 127.0.0.1:9\nConnection: close\n\
                        Sec-WebSocket-Key: k\nOrigin: o";

#[test]
fn an_upgrade_needs_no_lines_in_the_file_and_works_with_the_known_recipes() {
    let pass = "proxy_pass http://127.0.0.1:9;";
    check(&format!("location / {{ {pass} }}"), UPGRADE, UPGRADED);
    for recipe in [
        "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
         proxy_set_header Connection \"upgrade\";",
        "proxy_set_header Connection Upgrade;",
        "proxy_set_header Upgrade $http_upgrade;",
        "proxy_set_header Upgrade websocket; proxy_set_header Connection $http_connection;",
    ] {
        check(&format!("location / {{ {pass} {recipe} }}"), UPGRADE, UPGRADED);
    }
}

#[test]
fn the_map_recipes_upgrade_who_asks_and_nobody_else() {
    for map in [
        "map $http_upgrade $c { default upgrade; '' close; }",
        "map $http_upgrade $c { default keep-alive; 'websocket' upgrade; '' close; }",
    ] {
        let world = World::new(&format!(
            "{map} server {{ listen 80; location / {{ proxy_pass http://127.0.0.1:9;
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $c; }} }}"
        ));
        assert_eq!(forward(&world, UPGRADE).as_deref(), Ok(UPGRADED));
        let plain = UPGRADE.replace("\nUpgrade: websocket", "");
        assert_eq!(forward(&world, &plain).as_deref(), Ok(ORDINARY));
    }
}

#[test]
fn lines_that_break_upgrades_in_nginx_make_an_ordinary_request() {
    for broken in [
        "proxy_http_version 1.1; proxy_set_header Connection \"\";",
        "proxy_set_header Connection close; proxy_set_header Upgrade $http_upgrade;",
        "proxy_set_header Connection upgrade; proxy_set_header Upgrade \"\";",
    ] {
        let server = format!("location / {{ proxy_pass http://127.0.0.1:9; {broken} }}");
        check(&server, UPGRADE, ORDINARY);
    }
    let server = "location / { proxy_pass http://127.0.0.1:9; proxy_http_version 1.0; }";
    check(server, UPGRADE, &ORDINARY.replace("HTTP/1.1", "HTTP/1.0"));
}

#[test]
fn the_path_is_replaced_as_nginx_replaces_it() {
    let cases = [
        ("/name/ http://127.0.0.1:9/remote/", "/name/a?b", "/remote/a?b"),
        ("/name/ http://127.0.0.1:9", "/name/a%20b//../c?", "/name/a%20b//../c?"),
        ("/name/ http://127.0.0.1:9/", "/name/a%20b/../c%3f", "/c%3F"),
        ("/name http://127.0.0.1:9/r", "/name-x", "/r-x"),
        ("= /x http://127.0.0.1:9/y", "/x?z", "/y?z"),
        ("/ http://127.0.0.1:9/", "/%C3%A9", "/%C3%A9"),
        ("/ http://127.0.0.1:9", "http://h/abs?q", "/abs?q"),
        ("/ http://127.0.0.1:9", "http://h?q", "/?q"),
    ];
    for (location, target, expect) in cases {
        let (name, pass) = location.rsplit_once(' ').unwrap();
        let server = format!("location {name} {{ proxy_pass {pass}; }}");
        let found = forward(&World::server(&server), &format!("GET {target} HTTP/1.1")).unwrap();
        let line = found.lines().next().unwrap();
        assert_eq!(line, format!("GET {expect} HTTP/1.1"), "{location}");
    }
}

#[test]
fn fields_of_one_hop_end_here_and_the_rest_passes_in_order() {
    check(
        "location / { proxy_pass http://127.0.0.1:9; }",
        "POST /x HTTP/1.1\nA: 1\nConnection: close, X-Hop\nKeep-Alive: 5\nTE: trailers\n\
         Trailer: X\nProxy-Authorization: p\nProxy-Connection: c\nX-Hop: h\nExpect: 100-continue\n\
         Upgrade: h2c\na: 2\nContent-Length: 3\nB:",
        "POST /x HTTP/1.1\nHost: 127.0.0.1:9\nConnection: close\n\
         Content-Length: 3\nA: 1\na: 2\nB: ",
    );
    check(
        "location / { proxy_pass http://127.0.0.1:9; }",
        "PUT /x HTTP/1.1\ntransfer-encoding: CHUNKED",
        "PUT /x HTTP/1.1\nHost: 127.0.0.1:9\nConnection: close\nTransfer-Encoding: chunked",
    );
}

#[test]
fn a_client_cannot_nominate_away_what_upstreams_trust() {
    check(
        "location / { proxy_pass http://127.0.0.1:9; proxy_set_header X-Secret s; }",
        "GET / HTTP/1.1\nConnection: X-Secret, Authorization, X-Forwarded-For, Host, Cookie\n\
         Connection: X-Other\n\
         Authorization: a\nX-Forwarded-For: 1\nCookie: c\nX-Other: o\nX-Secret: forged",
        "GET / HTTP/1.1\nHost: 127.0.0.1:9\nConnection: close\nX-Secret: s\nAuthorization: a\n\
         X-Forwarded-For: 1\nCookie: c",
    );
}

#[test]
fn the_operator_sets_and_removes_fields() {
    check(
        "location / { proxy_pass http://127.0.0.1:9; proxy_set_header Host $host;
         proxy_set_header X-Real-IP $remote_addr; proxy_set_header Accept-Encoding '';
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
         proxy_set_header Origin $http_origin; proxy_set_header X-None $http_none; }",
        "GET / HTTP/1.1\nHost: EXAMPLE.org:8080\nX-Forwarded-For: 1.1.1.1\nOrigin: https://o\n\
         Accept-Encoding: gzip\nX-None-Of-It: 1\nx-forwarded-for: 2.2.2.2",
        "GET / HTTP/1.1\nConnection: close\nHost: example.org\nX-Real-IP: 192.0.2.7\n\
         X-Forwarded-For: 1.1.1.1, 2.2.2.2, 192.0.2.7\nOrigin: https://o\nX-None-Of-It: 1",
    );
}

#[test]
fn a_decoded_path_cannot_add_a_field() {
    check(
        "location / { proxy_pass http://127.0.0.1:9; proxy_set_header X-Path $uri; }",
        "GET /a%0d%0aX-Admin:%201 HTTP/1.1",
        "GET /a%0d%0aX-Admin:%201 HTTP/1.1\nHost: 127.0.0.1:9\nConnection: close\n\
         X-Path: /a%0D%0AX-Admin: 1",
    );
}

#[test]
fn chunks_cannot_go_to_an_upstream_that_speaks_http_1_0() {
    let world =
        World::server("location / { proxy_pass http://127.0.0.1:9; proxy_http_version 1.0; }");
    let found = forward(&world, "POST / HTTP/1.1\nTransfer-Encoding: chunked");
    assert_eq!(found, Err(Fault::LengthRequired));
}

/// What the client gets for a response.
#[track_caller]
fn check_response(server: &str, method: &str, version: Version, text: &str, expect: &str) {
    let world = World::server(server);
    let (request, head) = (request(&format!("{method} / HTTP/1.1")), response(text));
    let found = world.answered(&request, Some(&head), |cx| {
        let body = response_body(&head, method.as_bytes()).unwrap();
        let delivery = Delivery::new(body, version, true);
        lines(&rewrite::response_head(cx, &head, body, delivery))
    });
    assert_eq!(found, expect, "{server}\n{text}");
}

const OURS: &str = concat!(
    "Server: upsplice/",
    env!("CARGO_PKG_VERSION"),
    "\nDate: Fri, 20 Nov 2026 09:05:09 GMT"
);

#[test]
fn a_response_is_framed_for_the_client() {
    use Version::{Http10, Http11};
    let plain = "location / { proxy_pass http://127.0.0.1:9; }";
    check_response(
        plain,
        "GET",
        Http11,
        "HTTP/1.0 200 Fine\nDate: x\nServer: y\nContent-Length: 3\nA: 1\nKeep-Alive: 1\nA: 2",
        &format!(
            "HTTP/1.1 200 Fine\n{OURS}\nA: 1\nA: 2\nContent-Length: 3\nConnection: keep-alive"
        ),
    );
    let chunked = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nConnection: close, A\nA: 1";
    check_response(
        plain,
        "GET",
        Http11,
        chunked,
        &format!("HTTP/1.1 200 OK\n{OURS}\nTransfer-Encoding: chunked\nConnection: keep-alive"),
    );
    let closing = format!("HTTP/1.1 200 OK\n{OURS}\nConnection: close");
    check_response(plain, "GET", Http10, chunked, &closing);
    check_response(plain, "GET", Http11, "HTTP/1.1 200 OK", &closing);
    let empty = format!("HTTP/1.1 304 x\n{OURS}\nContent-Length: 9\nConnection: keep-alive");
    check_response(plain, "GET", Http11, "HTTP/1.1 304 x\nContent-Length: 9", &empty);
    let none = format!("HTTP/1.1 204 x\n{OURS}\nConnection: keep-alive");
    check_response(plain, "GET", Http11, "HTTP/1.1 204 x\nContent-Length: 9", &none);
}

#[test]
fn the_operator_adds_and_hides_fields() {
    let server = "location / { proxy_pass http://127.0.0.1:9; proxy_hide_header X-Powered-By;
        proxy_pass_header Server; server_tokens off; keepalive_timeout 60s 55s;
        add_header A $upstream_http_b; add_header B '' always; add_header C $status always; }";
    let date = "Date: Fri, 20 Nov 2026 09:05:09 GMT";
    check_response(
        server,
        "HEAD",
        Version::Http11,
        "HTTP/1.1 200 OK\nServer: nginx\nX-Powered-By: x\nX-Accel-Expires: 1\nB: 1",
        &format!(
            "HTTP/1.1 200 OK\n{date}\nServer: nginx\nB: 1\nConnection: keep-alive\n\
             Keep-Alive: timeout=55\nA: 1\nC: 000"
        ),
    );
    check_response(
        server,
        "HEAD",
        Version::Http11,
        "HTTP/1.1 404 No\nB: 1",
        &format!(
            "HTTP/1.1 404 No\nServer: upsplice\n{date}\nB: 1\nConnection: keep-alive\n\
             Keep-Alive: timeout=55\nC: 000"
        ),
    );
}

#[test]
fn a_switch_passes_with_what_belongs_to_it() {
    let world = World::server(
        "location / { proxy_pass http://127.0.0.1:9; proxy_hide_header Upgrade; add_header A 1;
         add_header B 2 always; }",
    );
    let head = response(
        "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade\n\
         Sec-WebSocket-Accept: s\nContent-Length: 0",
    );
    let found = world.with(&request(UPGRADE), |cx| lines(&rewrite::switch_head(cx, &head)));
    let expect = format!(
        "HTTP/1.1 101 Switching Protocols\n{OURS}\nConnection: upgrade\nUpgrade: websocket\n\
         Sec-WebSocket-Accept: s\nB: 2"
    );
    assert_eq!(found, expect);
}

#[test]
fn interim_responses_reach_only_who_understands_them() {
    let hints = response("HTTP/1.1 103 Early Hints\nLink: </a>\nConnection: x");
    let found = rewrite::interim_head(Version::Http11, &hints).unwrap();
    assert_eq!(lines(&found), "HTTP/1.1 103 Early Hints\nLink: </a>");
    assert_eq!(rewrite::interim_head(Version::Http10, &hints), None);
    let go_on = response("HTTP/1.1 100 Continue");
    assert_eq!(rewrite::interim_head(Version::Http11, &go_on), None);
    let waiting = request("POST / HTTP/1.1\nExpect: 100-Continue\nContent-Length: 1");
    assert!(rewrite::expects_continue(&waiting, Body::Length(1)));
    assert!(!rewrite::expects_continue(&waiting, Body::Length(0)));
}

#[test]
fn our_own_answers_say_what_happened_and_what_to_do_next() {
    let world = World::server("add_header A 1; add_header B 2 always; location / { }");
    let get = |method: &str, status, keep| {
        let head = request(&format!("{method} /x?y HTTP/1.1"));
        let found = world.with(&head, |cx| answer::answer(cx, status, keep));
        let (head, body) = found.bytes.split_at(found.head_bytes);
        (lines(head), String::from_utf8(body.to_vec()).unwrap())
    };
    let (head, body) = get("GET", 404, true);
    let length = body.len();
    let expect = format!(
        "HTTP/1.1 404 Not Found\n{OURS}\nContent-Type: text/html\nContent-Length: {length}\n\
         Connection: keep-alive\nB: 2"
    );
    assert_eq!(head, expect);
    assert!(body.contains("<h1>404 Not Found</h1>") && body.contains("upsplice/"));
    assert_eq!(get("HEAD", 404, true), (expect, String::new()));
    assert!(get("GET", 503, false).0.contains("Connection: close\nRetry-After: 5"));
    assert!(get("GET", 405, false).0.contains("\nAllow: GET, HEAD,"));
    let (head, _) = get("GET", 426, false);
    assert!(head.contains("Connection: close, upgrade\nUpgrade: websocket"), "{head}");
    let redirect = world.with(&request("GET /a%20b?c HTTP/1.1"), |cx| answer::add_slash(cx, true));
    let head = lines(&redirect.bytes[..redirect.head_bytes]);
    assert!(
        head.starts_with("HTTP/1.1 301 ") && head.contains("\nLocation: /a%20b/?c\n"),
        "{head}"
    );
}

/// Whatever an upstream sends, the client gets a head that a strict reader frames the same way.
#[test]
fn a_mutated_response_reaches_the_client_unambiguous() {
    const TELLING: &[u8] = b"\r\n\0\t :;,/.0159aCT\x7f\x80-\"";
    let heads: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: s\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close, A\r\nA: b\r\n\r\n",
        b"HTTP/1.0 404 Not Found\r\nDate: d\r\nKeep-Alive: 1\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 304 \r\nContent-Length: 7\r\nUpgrade: u\r\n\r\n",
    ];
    let world = World::server("location / { proxy_pass http://127.0.0.1:9; add_header X $uri; }");
    let request = request("GET /a%0ab HTTP/1.1");
    let mut accepted = 0;
    for seed in 0..5000 {
        let mut prng = Prng::new(seed);
        let mut bytes = heads[pick(&mut prng, heads.len())].to_vec();
        for _ in 0..prng.below(3) {
            let at = pick(&mut prng, bytes.len());
            let byte = TELLING[pick(&mut prng, TELLING.len())];
            match prng.below(3) {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let Ok(head) = ResponseHead::parse(&bytes) else { continue };
        let Ok(body) = response_body(&head, b"GET") else { continue };
        accepted += 1;
        for version in [Version::Http10, Version::Http11] {
            let delivery = Delivery::new(body, version, true);
            let sent = world.answered(&request, Some(&head), |cx| {
                rewrite::response_head(cx, &head, body, delivery)
            });
            let shown = sent.escape_ascii();
            let again = ResponseHead::parse(&sent);
            let again = again.unwrap_or_else(|fault| panic!("seed {seed}: {fault:?}: {shown}"));
            let expect = if delivery.dechunk { Body::UntilClose } else { body };
            assert_eq!(response_body(&again, b"GET"), Ok(expect), "seed {seed}: {shown}");
            assert_eq!(again.status(), head.status());
            assert!(again.keeps_alive() == delivery.keep_alive, "seed {seed}: {shown}");
        }
    }
    assert!(accepted > 1000, "the mutations are too wild: {accepted}");
}
