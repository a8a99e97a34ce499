//! What each variable prints, and that a frozen log line says the same as a late one.

use upsplice::clock::{Instant, Now};
use upsplice::config::model::Escape;
use upsplice::http::variables::{Template, Variable, builtins, prefixes};
use upsplice::reason::{Party, Reason};

use crate::fixture::{UNIX_MS, World, addr, request, response};

fn template(text: &str) -> Template {
    Template::compile(text, &mut |name| Variable::builtin(name)).expect(text)
}

fn world() -> World {
    let mut world = World::new(
        "map $arg_m $never { default x; }
         server { listen 80; server_name ~^(?<user>[a-z]+)\\.test$;
         location ~ ^/room/(\\d+)/(.*)$ { proxy_pass http://127.0.0.1:9; } }",
    );
    let at = |ms| Instant::from_ms(ms);
    world.facts.try_started(addr("127.0.0.1:9"), at(9_800));
    world.facts.try_ended(502, at(9_801));
    world.facts.try_started(addr("127.0.0.2:9"), at(9_801));
    world.facts.try_connected(at(9_803));
    world.facts.try_answered(101, at(9_810));
    world.facts.tally.upstream.sent = 300;
    world.facts.tally.status = 101;
    world.facts.tally.bytes_sent = 200;
    world.facts.tally.head_bytes_sent = 150;
    world
}

const REQUEST: &str = "GET /room/17/a%20b?Token=t%20&x HTTP/1.1\nHost: Ann.test:80\n\
                       Cookie: a=1; B=2\n\
                       Cookie: c=3\nAuthorization: Basic YW5uOnNlY3JldA==\nX-Two: 1\nx-two: 2\n\
                       Empty:\nContent-Type: text/x\nUser-Agent: a\"b\\é";

#[track_caller]
fn check(text: &str, expect: &str) {
    let (world, head) = (world(), request(REQUEST));
    let answer = response("HTTP/1.1 101 S\nUpgrade: websocket\nX-Up: u");
    let found = world.answered(&head, Some(&answer), |cx| {
        let cx = upsplice::http::facts::Context {
            sent: Some(b"HTTP/1.1 101 S\r\nX-A: 1\r\n\r\n"),
            ..*cx
        };
        let mut out = Vec::new();
        template(text).render_escaped(&cx, Escape::Default, &mut out);
        String::from_utf8(out).unwrap()
    });
    assert_eq!(found, expect, "{text}");
}

#[test]
fn variables_of_the_connection() {
    check("$remote_addr $remote_port $server_addr $server_port", "192.0.2.7 51000 198.51.100.1 80");
    check("$connection $connection_requests $connection_time $pipe", "42 1 1.500 .");
    check("$scheme [$https] $hostname $pid $upsplice_engine", "http [] edge 7 sim");
}

#[test]
fn variables_of_the_request() {
    check("$request", "GET /room/17/a%20b?Token=t%20&x HTTP/1.1");
    check("$request_method $server_protocol $host $http_host", "GET HTTP/1.1 ann.test Ann.test:80");
    check(
        "$request_uri|$uri|$document_uri",
        "/room/17/a%20b?Token=t%20&x|/room/17/a b|/room/17/a b",
    );
    check("$args|$query_string|$is_args|$arg_token|$arg_x", "Token=t%20&x|Token=t%20&x|?|t%20|-");
    check("$cookie_a $cookie_b $cookie_c $cookie_d|$http_cookie", "1 2 3 -|a=1; B=2; c=3");
    check("$http_x_two [$http_empty] $http_none", "1, 2 [] -");
    check("$remote_user $content_type $content_length", "ann text/x -");
    check("$http_user_agent", "a\\x22b\\x5C\\xC3\\xA9");
    check("$1 $2 [$3]", "17 a b [-]");
    check("$proxy_host $proxy_port $proxy_add_x_forwarded_for", "127.0.0.1:9 9 192.0.2.7");
    check("$server_name", "~^(?<user>[a-z]+)\\x5C.test$");
}

#[test]
fn variables_of_the_answer_and_of_each_upstream() {
    check("$status $bytes_sent $body_bytes_sent $request_time", "101 200 50 0.250");
    check("$upstream_addr $upstream_status", "127.0.0.1:9, 127.0.0.2:9 502, 101");
    check("$upstream_connect_time $upstream_header_time", "-, 0.002 -, 0.009");
    check("$upstream_response_time $upstream_bytes_sent", "0.001, 0.199 0, 300");
    check(
        "$upstream_http_upgrade $upstream_http_x_up $sent_http_x_a $sent_http_x",
        "websocket u 1 -",
    );
    check("$time_local|$time_iso8601", "20/Nov/2026:09:05:09 +0000|2026-11-20T09:05:09+00:00");
    check("$msec $upsplice_reason $upsplice_tunnel_time", "1795165509.123 - -");
}

#[test]
fn names_are_known_without_case_and_no_others() {
    assert_eq!(Variable::builtin("Remote_Addr"), Variable::builtin("remote_addr"));
    assert_eq!(Variable::builtin("HTTP_X"), Some(Variable::Http("x".into())));
    for name in ["", "http_", "arg_", "nothing", "upstream_", "1", "remote_addr "] {
        assert_eq!(Variable::builtin(name), None, "{name}");
    }
    assert!(builtins().is_sorted_by_key(|builtin| builtin.name));
    for builtin in builtins() {
        assert_eq!(Variable::builtin(builtin.name).as_ref(), Some(&builtin.variable));
        assert!(builtin.doc.ends_with('.') && !builtin.doc.contains('\n'), "{}", builtin.name);
    }
    assert!(
        prefixes().iter().all(|(prefix, _)| Variable::builtin(&format!("{prefix}x")).is_some())
    );
}

#[test]
fn values_are_escaped_as_the_format_says() {
    let (world, head) = (world(), request("GET / HTTP/1.1\nX: a\"\\\té"));
    let log = template("<$http_x|$http_none>");
    for (escape, expect) in [
        (Escape::Default, "<a\\x22\\x5C\\x09\\xC3\\xA9|->"),
        (Escape::Json, "<a\\\"\\\\\\té|>"),
        (Escape::None, "<a\"\\\té|>"),
    ] {
        let mut out = Vec::new();
        world.with(&head, |cx| log.render_escaped(cx, escape, &mut out));
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }
}

#[test]
fn a_refused_request_still_has_a_log_line() {
    let world = world();
    let log = template("$remote_addr \"$request\" $host $uri$is_args $status");
    let mut out = Vec::new();
    world.with(&request("GET / HTTP/1.1"), |cx| {
        let cx = upsplice::http::facts::Context {
            request: None,
            refused: Some(b"\x16\x03\x01 \"\r\nHost"),
            ..*cx
        };
        log.render_escaped(&cx, Escape::Default, &mut out);
    });
    let expect = "192.0.2.7 \"\\x16\\x03\\x01 \\x22\" ~^(?<user>[a-z]+)\\x5C.test$ - 101";
    assert_eq!(String::from_utf8(out).unwrap(), expect);
}

#[test]
fn a_frozen_line_is_small_and_says_what_a_late_one_would() {
    let text = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
                \"$http_referer\" \"$http_user_agent\" $request_time $upstream_addr \
                $upstream_response_time $upstream_bytes_received $upsplice_reason \
                $upsplice_tunnel_time $upsplice_bytes_up/$upsplice_bytes_down $1 $msec $request_id";
    let (mut world, head, log) = (world(), request(REQUEST), template(text));
    let frozen = world.with(&head, |cx| log.freeze(cx, Escape::Default));
    assert!(frozen.memory() < 600, "{} bytes", frozen.memory());
    let mut tally = world.facts.tally;
    tally.tunnel_start = Some(Instant::from_ms(9_812));
    tally.bytes_sent = 5_000;
    tally.bytes_up = 70;
    tally.bytes_down = 4_800;
    tally.upstream.received = 4_900;
    tally.upstream.elapsed_ms = Some(3_600_000);
    tally.reason = Some(Reason::Closed(Party::Client));
    let now = Now { mono: Instant::from_ms(3_609_812), unix_ms: UNIX_MS + 3_599_812 };
    let mut early = Vec::new();
    frozen.render(&tally, &world.host, now, &mut early);
    world.facts.tally = tally;
    world.now = now;
    let mut late = Vec::new();
    world.with(&head, |cx| log.render_escaped(cx, Escape::Default, &mut late));
    let text = String::from_utf8(early).unwrap();
    assert_eq!(text.as_bytes(), late);
    for part in
        ["10:05:08 +0000] \"GET", "3600.062 127.0.0.1:9, 127.0.0.2:9 0.001, 3600.000", "0, 4900"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("client_closed 3600.000 70/4800 17 "), "{text}");
}

#[test]
fn maps_are_looked_up_in_nginx_s_order() {
    let world = World::new(
        "map $http_x $plain { default d; Exact e; '' empty; }
         map $http_x $host_map { hostnames; default d; .a.test suffix; *.b.a.test longer;
           www.* prefix; www.c.* longer-prefix; c.test exact; ~^r(?<rest>.*)$ <$rest|$1>; }
         map $http_x $folded { ~*^abc nocase; ~^abd case; ~. any; }
         map $plain $chained { e from-$plain; default no; }
         server { listen 80; location / { } }",
    );
    let lookup = |name: &str, value: &str| {
        let index = world.config.maps.iter().position(|map| map.name == name).unwrap();
        let log = Template::compile("$m", &mut |_| Some(Variable::Map(index))).unwrap();
        let mut out = Vec::new();
        world.with(&request(&format!("GET / HTTP/1.1\nX: {value}")), |cx| log.render(cx, &mut out));
        String::from_utf8(out).unwrap()
    };
    for (name, value, expect) in [
        ("plain", "eXACT", "e"),
        ("plain", "", "empty"),
        ("plain", "other", "d"),
        ("host_map", "a.test", "suffix"),
        ("host_map", "x.A.test.", "suffix"),
        ("host_map", "x.b.a.test", "longer"),
        ("host_map", "b.a.test", "suffix"),
        ("host_map", "www.x", "prefix"),
        ("host_map", "www.c.x", "longer-prefix"),
        ("host_map", "c.test", "exact"),
        ("host_map", "rest", "<est|est>"),
        ("host_map", "x", "d"),
        ("folded", "ABCd", "nocase"),
        ("folded", "ABD", "any"),
        ("folded", "", ""),
        ("chained", "exact", "from-e"),
        ("chained", "x", "no"),
    ] {
        assert_eq!(lookup(name, value), expect, "{name} of {value:?}");
    }
}

#[test]
fn templates_are_read_as_nginx_reads_them() {
    use upsplice::http::variables::TemplateErrorKind::{NoName, Unclosed, Unknown};
    let compile = |text: &str| Template::compile(text, &mut |name| Variable::builtin(name));
    for (text, name, offset, kind) in [
        ("a$", "", 1, NoName),
        ("$-", "", 0, NoName),
        ("${}", "", 0, NoName),
        ("ab${host", "host", 2, Unclosed),
        ("${ho-st}", "ho", 0, Unclosed),
        ("$host$nope.", "nope", 5, Unknown),
        ("$0", "0", 0, Unknown),
    ] {
        let error = compile(text).unwrap_err();
        assert_eq!((error.name.as_str(), error.offset, error.kind), (name, offset, kind), "{text}");
    }
    assert_eq!(compile("plain").unwrap().constant(), Some(&b"plain"[..]));
    assert_eq!(compile("").unwrap().constant(), Some(&b""[..]));
    assert!(!compile("a${host}b").unwrap().is_constant());
    assert_eq!(compile("$10").unwrap().variables().next(), Some(&Variable::Group(1)));
    assert_eq!(compile("${host}name").unwrap(), compile("${HOST}name").unwrap());
}
