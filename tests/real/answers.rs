//! Answers of our own, and what the logs say about them.

use std::net::TcpListener;

use crate::support::{Engine, Scene, Setup, Upstream};

on_both_engines! {
    an_unknown_path_is_404,
    a_path_without_a_proxy_is_404_and_the_connection_goes_on,
    a_refused_connection_is_502,
    an_upstream_that_resets_is_502,
    an_upstream_that_says_nothing_is_502,
    an_upstream_that_speaks_no_http_is_502,
    an_upstream_head_that_is_too_long_is_502,
    an_upstream_head_that_breaks_off_is_502,
    the_next_server_is_tried_when_one_refuses,
    a_group_without_a_usable_server_is_503,
    a_declared_body_that_is_too_large_is_413,
    a_chunked_body_that_grows_too_large_is_413,
    a_request_line_that_is_too_long_is_414,
    a_field_that_is_too_long_is_431,
    too_many_fields_are_431,
    a_chunked_body_towards_http_1_0_is_411,
    an_answer_is_a_short_page,
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

fn an_unknown_path_is_404(engine: Engine) {
    let mut scene = Scene::on(engine).http("server { listen 127.0.0.1:0; }").start();
    assert_eq!(scene.refusal("GET /nothing/else HTTP/1.1\r\nHost: h\r\n\r\n"), 404);
    scene.expect_upstream_untouched();
}

fn a_path_without_a_proxy_is_404_and_the_connection_goes_on(engine: Engine) {
    let scene = Scene::on(engine).start();
    let mut client = scene.client_with("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer().status(), 404);
    client.send(GET);
    scene.upstream.accept().head();
}

/// An address where nobody listens.
fn deserted() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn a_refused_connection_is_502(engine: Engine) {
    let scene = Scene::on(engine).upstream(deserted()).start();
    assert_eq!(scene.refusal(GET), 502);
    let report = scene.end();
    report.expect_only("connect_failed:ECONNREFUSED 502");
    report.expect_error("ECONNREFUSED");
}

fn an_upstream_that_resets_is_502(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, upstream) = scene.exchange(GET);
    upstream.reset();
    assert_eq!(client.answer().status(), 502);
    scene.end().expect_only("upstream_failed:ECONNRESET 502");
}

fn an_upstream_that_says_nothing_is_502(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, upstream) = scene.exchange(GET);
    drop(upstream);
    assert_eq!(client.answer().status(), 502);
    scene.end().expect_only("upstream_closed 502");
}

#[track_caller]
fn check_bad_head(engine: Engine, answer: impl AsRef<[u8]>, reason: &str) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.exchange(GET);
    // The proxy may hang up before it has all of it.
    let _ = upstream.try_send(answer);
    drop(upstream);
    assert_eq!(client.answer().status(), 502);
    let report = scene.end();
    report.expect_only(&format!("{reason} 502"));
    report.expect_error(reason);
}

fn an_upstream_that_speaks_no_http_is_502(engine: Engine) {
    check_bad_head(engine, "SSH-2.0-OpenSSH_9.2\r\n\r\n", "upstream_fault:bad_status_line");
    check_bad_head(engine, [0; 64], "upstream_fault:bad_status_line");
    let field = "HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc";
    check_bad_head(engine, field, "upstream_fault:bad_field");
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc";
    check_bad_head(engine, both, "upstream_fault:bad_content_length");
}

fn an_upstream_head_that_is_too_long_is_502(engine: Engine) {
    let answer = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(5_000));
    check_bad_head(engine, answer, "upstream_fault:head_too_long");
}

fn an_upstream_head_that_breaks_off_is_502(engine: Engine) {
    check_bad_head(engine, "HTTP/1.1 200 OK\r\nContent-Le", "upstream_truncated");
}

/// A group of these servers takes the place of the scene's own upstream.
fn group(engine: Engine, servers: &str) -> Setup {
    Scene::on(engine)
        .http(&format!("upstream group {{ {servers} }}"))
        .location("location /group { proxy_pass http://group; }")
}

fn the_next_server_is_tried_when_one_refuses(engine: Engine) {
    let other = Upstream::new();
    let servers = format!("server {}; server {} backup;", deserted(), other.address());
    let scene = group(engine, &servers).start();
    let mut client =
        scene.client_with("POST /group HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab");
    let mut upstream = other.accept();
    upstream.head();
    upstream.expect("ab");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status(), 200);
    let report = scene.end();
    report.expect_only("done 200");
    report.expect_error("ECONNREFUSED");
}

fn a_group_without_a_usable_server_is_503(engine: Engine) {
    let scene = group(engine, &format!("server {} down;", deserted())).start();
    let mut client = scene.client_with("GET /group HTTP/1.1\r\nHost: h\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status(), 503);
    assert!(answer.field("retry-after").is_some());
    let report = scene.end();
    report.expect_only("no_upstream 503");
    report.expect_error("no_upstream");
}

fn a_declared_body_that_is_too_large_is_413(engine: Engine) {
    let mut scene = Scene::on(engine).location("client_max_body_size 1k;").start();
    let request = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1025\r\n\r\n";
    assert_eq!(scene.refusal(request), 413);
    scene.expect_upstream_untouched();
    scene.end().expect_only("client_fault:body_too_large 413");
}

fn a_chunked_body_that_grows_too_large_is_413(engine: Engine) {
    let scene = Scene::on(engine).location("client_max_body_size 1k;").start();
    let (mut client, mut upstream) =
        scene.exchange("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..2 {
        client.send(format!("300\r\n{}\r\n", "x".repeat(0x300)));
    }
    assert_eq!(client.answer().status(), 413);
    upstream.expect_gone();
    scene.end().expect_only("client_fault:body_too_large 413");
}

fn a_request_line_that_is_too_long_is_414(engine: Engine) {
    let mut scene = Scene::on(engine).start();
    let request = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(9_000));
    assert_eq!(scene.refusal(request), 414);
    scene.expect_upstream_untouched();
    scene.end().expect_only("client_fault:target_too_long 414");
}

fn a_field_that_is_too_long_is_431(engine: Engine) {
    let mut scene = Scene::on(engine).start();
    let request = format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: {}\r\n\r\n", "x".repeat(9_000));
    assert_eq!(scene.refusal(request), 431);
    scene.expect_upstream_untouched();
    scene.end().expect_only("client_fault:head_too_long 431");
}

fn too_many_fields_are_431(engine: Engine) {
    let mut scene = Scene::on(engine).start();
    let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X-Field: 1\r\n".repeat(200));
    assert_eq!(scene.refusal(request), 431);
    scene.expect_upstream_untouched();
    scene.end().expect_only("client_fault:too_many_fields 431");
}

fn a_chunked_body_towards_http_1_0_is_411(engine: Engine) {
    let scene = Scene::on(engine).location("proxy_http_version 1.0;").start();
    let request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(scene.refusal(request), 411);
    scene.end().expect_only("client_fault:length_required 411");
}

fn an_answer_is_a_short_page(engine: Engine) {
    let scene = Scene::on(engine).http("server_tokens off;").start();
    let mut client = scene.client_with("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.head.line(), "HTTP/1.1 404 Not Found");
    assert_eq!(answer.field("server"), Some("upsplice"));
    assert_eq!(answer.field("content-type"), Some("text/html"));
    assert!(answer.field("date").is_some());
    let page = String::from_utf8(answer.body).unwrap();
    assert!(page.contains("404 Not Found") && page.len() < 500, "{page}");
}
