//! Bytes that mean no good: refused, nothing reaches the upstream, and the next client is served.

use crate::support::{Engine, Scene};

on_both_engines! {
    a_tls_hello_is_400,
    garbage_is_400,
    an_http_2_preface_is_refused,
    a_giant_head_is_refused,
    an_endless_line_is_refused,
    heads_that_two_parties_read_differently_are_refused,
    bodies_that_two_parties_read_differently_are_refused,
    bad_hosts_are_refused,
    bad_targets_are_refused,
    a_connect_is_405,
    other_versions_are_505,
    a_bad_chunk_ends_the_request,
    a_smuggled_request_behind_a_refused_one_is_not_seen,
    a_client_that_never_reads_its_refusal_does_no_harm,
    a_hostile_upstream_does_no_harm,
}

/// Sent whole, each of them gets that status and the end of the connection; the upstream sees
/// nothing, and an honest client is served afterwards.
#[track_caller]
fn check_refused<B: AsRef<[u8]>>(engine: Engine, status: u16, requests: &[B]) {
    let mut scene = Scene::on(engine).start();
    for request in requests {
        let request = request.as_ref();
        let shown = request[..request.len().min(120)].escape_ascii();
        let mut client = scene.client();
        // It may be refused before all of it is sent.
        let _ = client.try_send(request);
        let answer = client.answer();
        assert_eq!(answer.status(), status, "{shown}");
        assert_eq!(answer.field("connection"), Some("close"), "{shown}");
        client.finish();
        client.expect_gone();
    }
    scene.expect_upstream_untouched();
    scene.expect_alive();
    let report = scene.end();
    assert_eq!(report.access.len(), requests.len() + 1, "{report:#?}");
}

fn a_tls_hello_is_400(engine: Engine) {
    let mut hello = vec![0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
    hello.extend((0..196).map(|n| n ^ 0x5a));
    check_refused(engine, 400, &[hello]);
}

fn garbage_is_400(engine: Engine) {
    let high: Vec<u8> = (128..=255).cycle().take(2_000).chain(*b"\r\n\r\n").collect();
    let requests: [&[u8]; 8] = [
        &[0; 100],
        &high,
        b"\0\r\n\r\n",
        b"hello\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\rHost: h\r\r\n\r\n",
    ];
    check_refused(engine, 400, &requests);
}

fn an_http_2_preface_is_refused(engine: Engine) {
    check_refused(engine, 505, &["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]);
}

fn a_giant_head_is_refused(engine: Engine) {
    let fields = format!("X-Field: {}\r\n", "x".repeat(7_000)).repeat(100);
    check_refused(engine, 431, &[format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")]);
}

fn an_endless_line_is_refused(engine: Engine) {
    check_refused(engine, 414, &["G".repeat(1_000_000)]);
}

fn heads_that_two_parties_read_differently_are_refused(engine: Engine) {
    let fields = [
        "Content-Length : 5",
        " Content-Length: 5",
        "X-Folded: a\r\n b",
        "X: a\rContent-Length: 5",
        "X\0: a",
        ": nameless",
        "No colon",
        "Content\x0bLength: 5",
    ];
    let requests =
        fields.map(|field| format!("POST / HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\nhello"));
    check_refused(engine, 400, &requests);
}

fn bodies_that_two_parties_read_differently_are_refused(engine: Engine) {
    let with =
        |fields: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n0\r\n\r\nGET /");
    let lengths = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 99999999999999999999999",
        "Content-Length: ",
    ];
    check_refused(engine, 400, &lengths.map(with));
    let codings = [
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: ",
    ];
    check_refused(engine, 501, &codings.map(with));
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    check_refused(engine, 501, &[old]);
}

fn bad_hosts_are_refused(engine: Engine) {
    let fields = [
        "",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: a@b\r\n",
        "Host: a:port\r\n",
    ];
    check_refused(engine, 400, &fields.map(|host| format!("GET / HTTP/1.1\r\n{host}\r\n")));
}

fn bad_targets_are_refused(engine: Engine) {
    let targets = ["no-slash", "*", "ftp://h/", "/a b", "/../../etc/passwd", "/%zz", "/%00"];
    let requests = targets.map(|target| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
    check_refused(engine, 400, &requests);
}

fn a_connect_is_405(engine: Engine) {
    check_refused(engine, 405, &["CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n"]);
}

fn other_versions_are_505(engine: Engine) {
    let requests = ["2.0", "1.2", "0.9", "3.0"]
        .map(|version| format!("GET / HTTP/{version}\r\nHost: h\r\n\r\n"));
    check_refused(engine, 505, &requests);
}

fn a_bad_chunk_ends_the_request(engine: Engine) {
    for body in ["x\r\n", "-1\r\n", "5\r\nhelloworld\r\n", "10000000000000000\r\n", "5 5\r\nhello"]
    {
        let scene = Scene::on(engine).start();
        let (mut client, mut upstream) =
            scene.exchange("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(body);
        let answer = client.answer();
        assert_eq!((answer.status(), answer.field("connection")), (400, Some("close")), "{body:?}");
        assert_eq!(upstream.expect_gone(), b"", "{body:?}");
        scene.end().expect_only("client_fault:bad_chunk 400");
    }
}

fn a_smuggled_request_behind_a_refused_one_is_not_seen(engine: Engine) {
    let mut scene = Scene::on(engine).start();
    let mut client = scene.client_with(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    assert_eq!(client.answer().status(), 400);
    client.send("GET /also-smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    client.finish();
    assert_eq!(client.expect_gone(), b"", "one answer and no other");
    scene.expect_upstream_untouched();
}

fn a_client_that_never_reads_its_refusal_does_no_harm(engine: Engine) {
    let scene = Scene::on(engine).start();
    let clients: Vec<_> = (0..50).map(|_| scene.client_with("nonsense\r\n\r\n")).collect();
    scene.expect_alive();
    drop(clients);
    scene.expect_alive();
}

fn a_hostile_upstream_does_no_harm(engine: Engine) {
    let scene = Scene::on(engine).start();
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\nBare: newline\n\0\n\n",
        "HTTP/1.1 99 Too low\r\n\r\n",
        "HTTP/1.1 1000 Too high\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "\r\n\r\n\r\n",
    ];
    for answer in answers {
        let (mut client, mut upstream) = scene.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        upstream.send(answer);
        assert_eq!(client.answer().status(), 502, "{answer:?}");
        upstream.expect_gone();
    }
    scene.expect_alive();
}
