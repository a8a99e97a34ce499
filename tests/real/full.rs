//! A worker whose connections are all taken.

use std::time::Duration;

use crate::support::{Engine, Scene, UPGRADE};

on_both_engines! {
    clients_beyond_the_bound_wait_and_are_then_served,
    a_client_without_a_slot_for_its_upstream_gets_503,
}

/// The scene's witness is one connection, each tunnel is two.
fn clients_beyond_the_bound_wait_and_are_then_served(engine: Engine) {
    let mut scene = Scene::on(engine).connections(5).start();
    let (first, second) = (scene.tunnel(), scene.tunnel());
    let mut waiting: Vec<_> =
        (0..3).map(|_| scene.client_with("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
    for client in &mut waiting {
        client.expect_silence(Duration::from_millis(5));
    }
    drop(first);
    for client in &mut waiting[..2] {
        assert_eq!(client.answer().status(), 404);
    }
    waiting[2].expect_silence(Duration::from_millis(5));
    drop(second);
    assert_eq!(waiting[2].answer().status(), 404);
    drop(waiting);
    scene.settle();
    let (mut client, mut upstream) = scene.tunnel();
    client.send("there is room again");
    upstream.expect("there is room again");
    scene.end().expect_error("5 worker_connections are not enough");
}

fn a_client_without_a_slot_for_its_upstream_gets_503(engine: Engine) {
    let scene = Scene::on(engine).connections(4).start();
    let (mut client, mut upstream) = scene.tunnel();
    let mut unlucky = scene.client_with(UPGRADE);
    let answer = unlucky.answer();
    assert_eq!(answer.status(), 503);
    assert!(answer.field("retry-after").is_some());
    // Kept alive, it would hold the slot that is missing.
    assert_eq!(answer.field("connection"), Some("close"));
    client.send("still there");
    upstream.expect("still there");
    drop((client, upstream));
    let report = scene.end();
    report.expect("worker_full 503");
    report.expect_error("worker_full");
}
