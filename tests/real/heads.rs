//! Heads in pieces, and bytes that come along with them.

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use crate::support::{Engine, Peer, SWITCH, Scene, UPGRADE, pattern, same_bytes};

on_both_engines! {
    a_request_head_may_be_split_anywhere,
    a_request_head_may_come_byte_by_byte,
    a_101_may_be_split_anywhere,
    a_101_may_come_byte_by_byte,
    what_a_client_sends_early_reaches_the_upstream_after_the_101,
    much_that_a_client_sends_early_reaches_the_upstream_whole,
    what_comes_behind_a_101_reaches_the_client,
    first_frames_of_both_directions_may_come_with_the_heads,
    a_refused_upgrade_keeps_early_bytes_from_the_upstream,
    a_client_that_leaves_before_the_101_takes_the_upstream_along,
}

/// Bytes pass through an open tunnel both ways.
fn check_tunnel(client: &mut Peer, upstream: &mut Peer) {
    client.send("up");
    upstream.expect("up");
    upstream.send("down");
    client.expect("down");
}

fn a_request_head_may_be_split_anywhere(engine: Engine) {
    let mut scene = Scene::on(engine).start();
    for split in 1..UPGRADE.len() {
        let (first, second) = UPGRADE.split_at(split);
        let mut client = scene.client_with(first);
        scene.settle();
        client.send(second);
        let mut upstream = scene.upstream.accept();
        assert_eq!(upstream.head().line(), "GET /chat HTTP/1.1", "split at {split}");
        upstream.send(SWITCH);
        assert_eq!(client.head().status(), 101, "split at {split}");
        check_tunnel(&mut client, &mut upstream);
    }
}

fn a_request_head_may_come_byte_by_byte(engine: Engine) {
    let mut scene = Scene::on(engine).start();
    let mut client = scene.client();
    for byte in UPGRADE.bytes() {
        scene.upstream.expect_nobody(Duration::from_micros(1));
        client.send([byte]);
        scene.settle();
    }
    let mut upstream = scene.upstream.accept();
    assert_eq!(upstream.head().field("upgrade"), Some("websocket"));
    upstream.send(SWITCH);
    assert_eq!(client.head().status(), 101);
    check_tunnel(&mut client, &mut upstream);
}

fn a_101_may_be_split_anywhere(engine: Engine) {
    let mut scene = Scene::on(engine).start();
    for split in 1..SWITCH.len() {
        let (first, second) = SWITCH.split_at(split);
        let (mut client, mut upstream) = scene.exchange(UPGRADE);
        upstream.send(first);
        scene.settle();
        upstream.send(second);
        let head = client.head();
        assert_eq!(head.status(), 101, "split at {split}");
        assert_eq!(head.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        check_tunnel(&mut client, &mut upstream);
    }
}

fn a_101_may_come_byte_by_byte(engine: Engine) {
    let mut scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.exchange(UPGRADE);
    for byte in SWITCH.bytes() {
        client.expect_silence(Duration::from_micros(1));
        upstream.send([byte]);
        scene.settle();
    }
    assert_eq!(client.head().status(), 101);
    check_tunnel(&mut client, &mut upstream);
}

fn what_a_client_sends_early_reaches_the_upstream_after_the_101(engine: Engine) {
    let mut scene = Scene::on(engine).start();
    let mut client = scene.client_with(format!("{UPGRADE}the first frame"));
    let mut upstream = scene.upstream.accept();
    upstream.head();
    client.send(", and the second");
    scene.settle();
    upstream.expect_silence(Duration::from_millis(20));
    upstream.send(SWITCH);
    upstream.expect("the first frame, and the second");
    assert_eq!(client.head().status(), 101);
    check_tunnel(&mut client, &mut upstream);
}

fn much_that_a_client_sends_early_reaches_the_upstream_whole(engine: Engine) {
    let scene = Scene::on(engine).start();
    let bytes = pattern(3_000_000);
    std::thread::scope(|scope| {
        let mut client = scene.client();
        let mut writer = client.stream();
        let all = [UPGRADE.as_bytes(), &bytes].concat();
        scope.spawn(move || {
            writer.write_all(&all).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut upstream = scene.upstream.accept();
        upstream.head();
        upstream.expect_silence(Duration::from_millis(20));
        upstream.send(SWITCH);
        same_bytes(&upstream.rest(), &bytes);
        drop(upstream);
        assert_eq!(client.head().status(), 101);
        client.expect_end();
    });
    scene.end().expect_only("client_closed 101 up=3000000 down=0");
}

fn what_comes_behind_a_101_reaches_the_client(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.exchange(UPGRADE);
    upstream.send(format!("{SWITCH}the first frame"));
    assert_eq!(client.head().status(), 101);
    client.expect("the first frame");
    check_tunnel(&mut client, &mut upstream);
}

fn first_frames_of_both_directions_may_come_with_the_heads(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (up, down) = (pattern(40_000), pattern(50_000));
    let (mut client, mut upstream) = scene.exchange([UPGRADE.as_bytes(), &up].concat());
    upstream.send([SWITCH.as_bytes(), &down].concat());
    same_bytes(&upstream.read(up.len()), &up);
    assert_eq!(client.head().status(), 101);
    same_bytes(&client.read(down.len()), &down);
    check_tunnel(&mut client, &mut upstream);
    drop((client, upstream));
    scene.end().expect_only("");
}

fn a_refused_upgrade_keeps_early_bytes_from_the_upstream(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.exchange(format!("{UPGRADE}GET /smuggled HTTP/1.1\r\n"));
    upstream.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let answer = client.answer();
    assert_eq!((answer.status(), &answer.body[..]), (403, &b"no"[..]));
    assert_eq!(upstream.expect_gone(), b"");
}

fn a_client_that_leaves_before_the_101_takes_the_upstream_along(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (client, mut upstream) = scene.exchange(UPGRADE);
    drop(client);
    upstream.expect_end();
    scene.end().expect_only("client_closed 499 up=0 down=0");
}
