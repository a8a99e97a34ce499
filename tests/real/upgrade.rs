//! Who may switch protocols, and what of a request reaches the upstream.

use std::process::{Command, Stdio};

use crate::support::{Engine, Head, SWITCH, Scene, Setup, UPGRADE};

on_both_engines! {
    an_upgrade_needs_no_header_lines_in_the_file,
    the_literal_recipe_carries_an_upgrade,
    the_map_recipe_carries_an_upgrade,
    the_map_recipe_with_keep_alive_carries_an_upgrade,
    a_recipe_that_blocks_upgrades_makes_an_ordinary_request,
    http_1_0_towards_the_upstream_makes_an_ordinary_request,
    an_upgrade_field_alone_asks_for_nothing,
    a_connection_field_alone_asks_for_nothing,
    a_protocol_that_is_not_allowed_is_not_asked_for,
    a_protocol_that_is_allowed_is_asked_for,
    upgrades_may_be_switched_off,
    a_post_is_no_upgrade,
    an_upgrade_with_a_body_is_refused,
    http_1_0_has_no_upgrade,
    nominated_fields_stay_here_and_cannot_take_others_along,
    an_answer_other_than_101_is_relayed,
    a_101_that_nobody_asked_for_is_refused,
    a_101_for_another_protocol_is_refused,
    a_101_without_its_fields_is_refused,
    a_hidden_upgrade_field_still_reaches_the_client,
    the_command_of_the_tutorials_gets_its_101,
    curl_gets_its_101,
}

const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

/// The head that the upstream gets for a request, and what becomes of it when the upstream
/// switches: the status for the client.
fn switched(setup: Setup, request: &str) -> (Head, u16) {
    let scene = setup.start();
    let mut client = scene.client_with(request);
    let mut upstream = scene.upstream.accept();
    let head = upstream.head();
    upstream.send(SWITCH);
    let status = client.head().status();
    if status == 101 {
        client.send("up");
        upstream.expect("up");
        upstream.send("down");
        client.expect("down");
    } else {
        upstream.expect_gone();
    }
    (head, status)
}

#[track_caller]
fn check_carried(setup: Setup) {
    let (head, status) = switched(setup, UPGRADE);
    assert_eq!(status, 101);
    assert_eq!(head.field("upgrade"), Some("websocket"));
    assert_eq!(head.field("connection").map(str::to_ascii_lowercase).as_deref(), Some("upgrade"));
    assert_eq!(head.field("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(head.field("sec-websocket-version"), Some("13"));
}

/// The request arrives as an ordinary one, and a 101 to it is not believed.
#[track_caller]
fn check_ordinary(setup: Setup, request: &str) {
    let (head, status) = switched(setup, request);
    assert_eq!(status, 502);
    assert_eq!(head.field("upgrade"), None, "{}", head.text());
    assert_eq!(head.field("connection"), Some("close"));
}

fn an_upgrade_needs_no_header_lines_in_the_file(engine: Engine) {
    check_carried(Scene::on(engine));
}

fn the_literal_recipe_carries_an_upgrade(engine: Engine) {
    check_carried(Scene::on(engine).location(
        "proxy_http_version 1.1;
         proxy_set_header Upgrade $http_upgrade;
         proxy_set_header Connection \"upgrade\";",
    ));
}

fn with_map(engine: Engine, lines: &str) -> Setup {
    Scene::on(engine)
        .http(&format!("map $http_upgrade $connection_upgrade {{ {lines} }}"))
        .location(
            "proxy_set_header Upgrade $http_upgrade;
         proxy_set_header Connection $connection_upgrade;",
        )
}

fn the_map_recipe_carries_an_upgrade(engine: Engine) {
    check_carried(with_map(engine, "default upgrade; '' close;"));
}

fn the_map_recipe_with_keep_alive_carries_an_upgrade(engine: Engine) {
    let lines = "default keep-alive; 'websocket' upgrade;";
    check_carried(with_map(engine, lines));
    check_ordinary(with_map(engine, lines), "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
}

fn a_recipe_that_blocks_upgrades_makes_an_ordinary_request(engine: Engine) {
    let setup = Scene::on(engine).location("proxy_set_header Connection keep-alive;");
    check_ordinary(setup, UPGRADE);
    let setup = Scene::on(engine).location("proxy_set_header Upgrade '';");
    check_ordinary(setup, UPGRADE);
}

fn http_1_0_towards_the_upstream_makes_an_ordinary_request(engine: Engine) {
    check_ordinary(Scene::on(engine).location("proxy_http_version 1.0;"), UPGRADE);
}

fn an_upgrade_field_alone_asks_for_nothing(engine: Engine) {
    check_ordinary(Scene::on(engine), "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n");
}

fn a_connection_field_alone_asks_for_nothing(engine: Engine) {
    let request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n\r\n";
    check_ordinary(Scene::on(engine), request);
}

fn a_protocol_that_is_not_allowed_is_not_asked_for(engine: Engine) {
    let request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    check_ordinary(Scene::on(engine), request);
}

fn a_protocol_that_is_allowed_is_asked_for(engine: Engine) {
    let scene = Scene::on(engine).location("upgrade_allow chat/2;").start();
    let (mut client, mut upstream) = scene
        .exchange("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: chat/2\r\n\r\n");
    upstream.send("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: chat/2\r\n\r\n");
    let head = client.head();
    assert_eq!((head.status(), head.field("upgrade")), (101, Some("chat/2")));
}

fn upgrades_may_be_switched_off(engine: Engine) {
    check_ordinary(Scene::on(engine).location("upgrade_allow off;"), UPGRADE);
}

fn a_post_is_no_upgrade(engine: Engine) {
    let request = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n{WEBSOCKET}\r\n");
    check_ordinary(Scene::on(engine), &request);
}

fn an_upgrade_with_a_body_is_refused(engine: Engine) {
    let mut scene = Scene::on(engine).start();
    for body in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{WEBSOCKET}{body}\r\n5\r\nhello");
        assert_eq!(scene.refusal(request), 400, "{body}");
    }
    scene.expect_upstream_untouched();
    scene.end().expect("client_fault:upgrade_with_body 400");
}

fn http_1_0_has_no_upgrade(engine: Engine) {
    check_ordinary(Scene::on(engine), &format!("GET / HTTP/1.0\r\nHost: h\r\n{WEBSOCKET}\r\n"));
}

fn nominated_fields_stay_here_and_cannot_take_others_along(engine: Engine) {
    let setup = Scene::on(engine).location(
        "proxy_set_header X-Real-IP $remote_addr;
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
    );
    let request = UPGRADE.replace(
        "Connection: Upgrade\r\n",
        "Connection: Upgrade, X-Private, X-Real-IP, X-Forwarded-For, Sec-WebSocket-Key\r\n\
         X-Private: secret\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: close\r\n",
    );
    let (head, status) = switched(setup, &request);
    assert_eq!(status, 101);
    for gone in ["x-private", "keep-alive", "te", "proxy-connection"] {
        assert_eq!(head.field(gone), None);
    }
    assert_eq!(head.field("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(head.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.field("connection"), Some("upgrade"));
}

fn an_answer_other_than_101_is_relayed(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.exchange(UPGRADE);
    upstream.send(
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nContent-Length: 8\r\n\r\ntry 13.\n",
    );
    let answer = client.answer();
    assert_eq!((answer.status(), &answer.body[..]), (426, &b"try 13.\n"[..]));
    assert_eq!(answer.field("sec-websocket-version"), Some("13"));
    assert_eq!(answer.field("upgrade"), Some("websocket"));
    scene.expect_alive();
    scene.end().expect("done 426");
}

fn a_101_that_nobody_asked_for_is_refused(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    upstream.send(format!("{SWITCH}bytes that nobody understands"));
    assert_eq!(client.answer().status(), 502);
    upstream.expect_gone();
    let report = scene.end();
    report.expect_only("upstream_fault:bad_switch 502");
    report.expect_error("upstream_fault:bad_switch");
}

#[track_caller]
fn check_bad_switch(engine: Engine, answer: &str) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.exchange(UPGRADE);
    upstream.send(answer);
    assert_eq!(client.answer().status(), 502, "{answer:?}");
    upstream.expect_gone();
    scene.end().expect_only("upstream_fault:bad_switch 502");
}

fn a_101_for_another_protocol_is_refused(engine: Engine) {
    check_bad_switch(engine, &SWITCH.replace("websocket", "h2c"));
}

fn a_101_without_its_fields_is_refused(engine: Engine) {
    check_bad_switch(engine, &SWITCH.replace("Upgrade: websocket\r\n", ""));
    check_bad_switch(engine, &SWITCH.replace("Connection: Upgrade\r\n", ""));
}

fn a_hidden_upgrade_field_still_reaches_the_client(engine: Engine) {
    let scene = Scene::on(engine).location("proxy_hide_header Upgrade;").start();
    let (mut client, mut upstream) = scene.exchange(UPGRADE);
    upstream.send(SWITCH);
    assert_eq!(client.head().field("upgrade"), Some("websocket"));
}

/// What `curl --include --no-buffer -H "Connection: Upgrade" -H "Upgrade: websocket" …` sends.
fn the_command_of_the_tutorials_gets_its_101(engine: Engine) {
    let request = "GET /socket HTTP/1.1\r\nHost: echo.example.com\r\nUser-Agent: curl/7.88.1\r\n\
        Accept: */*\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Origin: http://example.com\r\nSec-WebSocket-Key: SGVsbG8sIHdvcmxkIQ==\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";
    let (head, status) = switched(Scene::on(engine), request);
    assert_eq!((status, head.line()), (101, "GET /socket HTTP/1.1"));
    for (name, value) in [
        ("user-agent", "curl/7.88.1"),
        ("accept", "*/*"),
        ("origin", "http://example.com"),
        ("sec-websocket-key", "SGVsbG8sIHdvcmxkIQ=="),
    ] {
        assert_eq!(head.field(name), Some(value));
    }
}

fn curl_gets_its_101(engine: Engine) {
    let scene = Scene::on(engine).start();
    let curl = Command::new("curl")
        .args(["--silent", "--include", "--no-buffer", "--http1.1", "--max-time", "20"])
        .args(["-H", "Connection: Upgrade", "-H", "Upgrade: websocket"])
        .args(["-H", "Sec-WebSocket-Key: SGVsbG8sIHdvcmxkIQ=="])
        .args(["-H", "Sec-WebSocket-Version: 13", "--noproxy", "*"])
        .arg(format!("http://{}/socket", scene.address()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(curl) = curl else {
        println!("skipped: curl is not installed; its bytes are sent by the test before this one");
        return;
    };
    let mut upstream = scene.upstream.accept();
    assert_eq!(upstream.head().field("upgrade"), Some("websocket"));
    upstream.send(format!("{SWITCH}hello through the tunnel"));
    drop(upstream);
    let output = curl.wait_with_output().unwrap().stdout;
    let text = String::from_utf8(output).unwrap();
    assert!(text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\nhello through the tunnel"), "{text}");
}
