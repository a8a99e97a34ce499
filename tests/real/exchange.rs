//! Ordinary requests and their answers.

use std::time::Duration;

use crate::support::{Engine, Scene, pattern, same_bytes};

on_both_engines! {
    any_method_passes,
    a_request_body_with_a_length_passes,
    a_chunked_request_body_passes,
    a_request_body_may_come_in_pieces,
    a_large_body_passes_both_ways,
    a_response_body_with_a_length_passes,
    a_chunked_response_body_passes,
    a_response_without_a_length_ends_with_the_connection,
    a_chunked_response_is_taken_apart_for_http_1_0,
    a_head_request_has_no_body,
    answers_204_and_304_have_no_body,
    interim_answers_are_passed_on,
    a_client_connection_serves_several_requests,
    pipelined_requests_are_answered_in_order,
    connection_close_is_obeyed,
    http_1_0_closes_unless_asked_not_to,
    a_client_that_expects_100_gets_it,
    an_early_answer_reaches_the_client,
    fields_of_one_hop_stay_on_it,
    an_upstream_that_dies_in_the_body_ends_the_answer,
    an_upstream_that_dies_in_chunks_ends_the_answer,
    a_client_that_leaves_frees_the_upstream,
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

fn any_method_passes(engine: Engine) {
    let scene = Scene::on(engine).start();
    for method in ["GET", "DELETE", "OPTIONS", "PUT", "PATCH", "PROPFIND", "BREW"] {
        let request = format!("{method} /path?query=1 HTTP/1.1\r\nHost: h\r\n\r\n");
        let mut client = scene.client_with(request);
        let mut upstream = scene.upstream.accept();
        assert_eq!(upstream.head().line(), format!("{method} /path?query=1 HTTP/1.1"));
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.answer().body, b"ok", "{method}");
    }
}

fn a_request_body_with_a_length_passes(engine: Engine) {
    let scene = Scene::on(engine).start();
    let request = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world";
    let mut client = scene.client_with(request);
    let mut upstream = scene.upstream.accept();
    assert_eq!(upstream.head().field("content-length"), Some("11"));
    upstream.expect("hello world");
    upstream.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status(), 201);
    scene.end().expect_only("done 201 up=11 down=0");
}

fn a_chunked_request_body_passes(engine: Engine) {
    let scene = Scene::on(engine).start();
    let mut client = scene.client_with(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
         5;name=value\r\nhello\r\n6\r\n world\r\n0\r\nX-Check: t\r\n\r\n",
    );
    let mut upstream = scene.upstream.accept();
    let head = upstream.head();
    assert_eq!(head.field("transfer-encoding"), Some("chunked"));
    assert_eq!(head.field("content-length"), None);
    assert_eq!(upstream.chunks(), b"hello world");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status(), 200);
}

fn a_request_body_may_come_in_pieces(engine: Engine) {
    let mut scene = Scene::on(engine).start();
    let body = "4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\n";
    let mut client =
        scene.client_with("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut upstream = scene.upstream.accept();
    upstream.head();
    for byte in body.bytes() {
        client.send([byte]);
        scene.settle();
    }
    assert_eq!(upstream.chunks(), b"Wikipedia");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status(), 200);
    client.send(GET);
    assert_eq!(scene.upstream.accept().head().line(), "GET / HTTP/1.1");
}

fn a_large_body_passes_both_ways(engine: Engine) {
    let scene = Scene::on(engine).location("client_max_body_size 0;").start();
    let body = pattern(5_000_000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut upstream = scene.upstream.accept();
            upstream.head();
            let found = upstream.read(body.len());
            same_bytes(&found, &body);
            upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", found.len()));
            upstream.send(found);
        });
        let length = body.len();
        let mut client = scene
            .client_with(format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"));
        client.send(&body);
        same_bytes(&client.answer().body, &body);
    });
    scene.end().expect_only("done 200 up=5000000 down=5000000");
}

fn a_response_body_with_a_length_passes(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.exchange(GET);
    upstream
        .send("HTTP/1.1 200 Fine\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nhello");
    upstream.send(" world");
    let answer = client.answer();
    assert_eq!(answer.head.line(), "HTTP/1.1 200 Fine");
    assert_eq!(answer.field("content-type"), Some("text/plain"));
    assert_eq!(answer.body, b"hello world");
    upstream.expect_end();
}

fn a_chunked_response_body_passes(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.exchange(GET);
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    upstream.send("6\r\n world\r\n0\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
    assert_eq!(answer.body, b"hello world");
    client.send(GET);
    scene.upstream.accept().head();
}

fn a_response_without_a_length_ends_with_the_connection(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.exchange(GET);
    upstream.send("HTTP/1.1 200 OK\r\n\r\nall of it");
    drop(upstream);
    let answer = client.answer();
    assert_eq!(answer.field("connection"), Some("close"));
    assert_eq!(answer.body, b"all of it");
    scene.end().expect_only("done 200");
}

fn a_chunked_response_is_taken_apart_for_http_1_0(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) =
        scene.exchange("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    upstream.send("6\r\n world\r\n0\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.field("transfer-encoding"), None);
    assert_eq!(answer.body, b"hello world");
}

fn a_head_request_has_no_body(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.exchange("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!(client.head().field("content-length"), Some("1000"));
    client.send("HEAD /nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.head().status(), 404);
    client.send("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer().status(), 404);
}

fn answers_204_and_304_have_no_body(engine: Engine) {
    let scene = Scene::on(engine).start();
    let mut client = scene.client();
    for line in ["204 No Content", "304 Not Modified"] {
        client.send(GET);
        let mut upstream = scene.upstream.accept();
        upstream.head();
        upstream.send(format!("HTTP/1.1 {line}\r\nETag: \"x\"\r\n\r\n"));
        let head = client.head();
        assert_eq!(head.line(), format!("HTTP/1.1 {line}"));
        assert_eq!(head.field("etag"), Some("\"x\""));
        upstream.expect_end();
    }
}

fn interim_answers_are_passed_on(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.exchange(GET);
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n";
    upstream.send(hints);
    let head = client.head();
    assert_eq!((head.status(), head.field("link")), (103, Some("</style.css>")));
    upstream.send(format!(
        "HTTP/1.1 100 Continue\r\n\r\n{hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    ));
    assert_eq!(client.head().status(), 103, "100 was not waited for");
    assert_eq!(client.answer().body, b"ok");
}

fn a_client_connection_serves_several_requests(engine: Engine) {
    let scene = Scene::on(engine).start();
    let mut client = scene.client();
    for number in 0..5 {
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let mut upstream = scene.upstream.accept();
        assert_eq!(upstream.head().line(), format!("GET /{number} HTTP/1.1"));
        upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"));
        assert_eq!(client.answer().body, number.to_string().as_bytes());
    }
    drop(client);
    assert_eq!(scene.end().access.len(), 5);
}

fn pipelined_requests_are_answered_in_order(engine: Engine) {
    let scene = Scene::on(engine).start();
    let mut client = scene.client_with(
        "POST /0 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody\
         GET /1 HTTP/1.1\r\nHost: h\r\n\r\n\
         POST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n\
         GET /3 HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    for number in 0..4 {
        let mut upstream = scene.upstream.accept();
        let head = upstream.head();
        assert!(head.line().contains(&format!("/{number} ")), "{}", head.text());
        match number {
            0 => upstream.expect("body"),
            2 => assert_eq!(upstream.chunks(), b"x"),
            _ => {}
        }
        upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"));
        assert_eq!(client.answer().body, number.to_string().as_bytes());
        upstream.expect_end();
    }
}

fn connection_close_is_obeyed(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) =
        scene.exchange("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let answer = client.answer();
    assert_eq!((answer.field("connection"), &answer.body[..]), (Some("close"), &b"ok"[..]));
    client.expect_end();
}

fn http_1_0_closes_unless_asked_not_to(engine: Engine) {
    let scene = Scene::on(engine).start();
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (mut client, mut upstream) = scene.exchange("GET / HTTP/1.0\r\n\r\n");
    upstream.send(ok);
    assert_eq!(client.answer().body, b"ok");
    client.expect_end();
    let (mut client, mut upstream) =
        scene.exchange("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    upstream.send(ok);
    assert_eq!(client.answer().body, b"ok");
    client.send("GET /nothing HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().status(), 404);
}

fn a_client_that_expects_100_gets_it(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.exchange(
        "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    assert_eq!(client.head().status(), 100);
    upstream.expect_silence(Duration::from_millis(5));
    client.send("hello");
    upstream.expect("hello");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.answer().body, b"ok");
}

fn an_early_answer_reaches_the_client(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) =
        scene.exchange("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nthe beginning");
    upstream.expect("the beginning");
    upstream.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    drop(upstream);
    let answer = client.answer();
    assert_eq!((answer.status(), &answer.body[..]), (403, &b"no"[..]));
    assert_eq!(answer.field("connection"), Some("close"), "the rest of the body was not read");
}

fn fields_of_one_hop_stay_on_it(engine: Engine) {
    let scene = Scene::on(engine).start();
    let mut client = scene.client_with(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n\
         Keep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Authorization: Basic eA==\r\n\r\n",
    );
    let mut upstream = scene.upstream.accept();
    let head = upstream.head();
    assert_eq!(head.field("host"), Some(&*scene.upstream.address().to_string()));
    assert_eq!(head.field("connection"), Some("close"));
    assert_eq!(head.field("x-end"), Some("2"));
    for gone in ["x-hop", "keep-alive", "te", "proxy-authorization"] {
        assert_eq!(head.field(gone), None);
    }
    upstream.send(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n\
         Keep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n",
    );
    let answer = client.answer();
    assert_eq!(answer.field("x-end"), Some("2"));
    assert_eq!(answer.field("x-hop"), None);
    assert_ne!(answer.field("connection"), Some("close"), "that was the upstream's connection");
}

fn an_upstream_that_dies_in_the_body_ends_the_answer(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.exchange(GET);
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
    client.head();
    client.expect("only this");
    drop(upstream);
    assert_eq!(client.expect_gone(), b"");
    let report = scene.end();
    report.expect_only("upstream_truncated 200 up=0 down=9");
    report.expect_error("upstream_truncated");
}

fn an_upstream_that_dies_in_chunks_ends_the_answer(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.exchange(GET);
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n");
    drop(upstream);
    client.head();
    assert_eq!(client.expect_gone(), b"9\r\nonly this\r\n", "no last chunk is made up");
    scene.end().expect_only("upstream_truncated 200");
}

fn a_client_that_leaves_frees_the_upstream(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (client, mut upstream) = scene.exchange(GET);
    client.reset();
    upstream.expect_gone();
    scene.end().expect_only("client_failed:ECONNRESET 499");
}
