//! A worker whose connections are all taken.

use std::time::Duration;

use crate::support::{Engine, SWITCH, Scene, UPGRADE};

on_both_engines! {
    clients_beyond_the_bound_wait_and_are_then_served,
    a_burst_of_upgrades_opens_as_many_tunnels_as_fit_and_then_the_others,
    a_client_that_waits_takes_the_place_of_an_idle_one,
}

const PLAIN: &str = "GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/// A client counts twice, for the upstream it may need; the scene's witness is one, too.
fn clients_beyond_the_bound_wait_and_are_then_served(engine: Engine) {
    let mut scene = Scene::on(engine).connections(7).start();
    let (first, second) = (scene.tunnel(), scene.tunnel());
    let mut waiting: Vec<_> = (0..3).map(|_| scene.client_with(PLAIN)).collect();
    for client in &mut waiting {
        client.expect_silence(Duration::from_millis(5));
    }
    drop(first);
    for client in &mut waiting {
        assert_eq!(client.answer().status(), 404);
    }
    drop((waiting, second));
    scene.settle();
    let (mut client, mut upstream) = scene.tunnel();
    client.send("there is room again");
    upstream.expect("there is room again");
    drop((client, upstream));
    scene.end().expect_error("7 worker_connections are not enough");
}

/// Nobody gets a place without one for its upstream, so nobody is let in to be told 503.
fn a_burst_of_upgrades_opens_as_many_tunnels_as_fit_and_then_the_others(engine: Engine) {
    const FIT: usize = 3;
    let mut scene = Scene::on(engine).connections(2 * (FIT + 1)).start();
    let mut clients: Vec<_> = (0..3 * FIT).map(|_| scene.client_with(UPGRADE)).collect();
    for round in clients.chunks_mut(FIT) {
        let mut upstreams: Vec<_> = round.iter().map(|_| scene.upstream.accept()).collect();
        scene.expect_upstream_untouched();
        for upstream in &mut upstreams {
            upstream.head();
            upstream.send(SWITCH);
        }
        for client in round {
            assert_eq!(client.head().status(), 101);
            client.finish();
        }
        drop(upstreams);
    }
    drop(clients);
    scene.end();
}

fn a_client_that_waits_takes_the_place_of_an_idle_one(engine: Engine) {
    let scene = Scene::on(engine).connections(6).start();
    let mut silent = scene.client();
    let mut kept = scene.client_with("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(kept.answer().status(), 404);
    // The witness, the silent and the kept one hold all places, and none of them has a request.
    let mut waiting = scene.client_with(PLAIN);
    assert_eq!(waiting.answer().status(), 404);
    silent.expect_end();
    kept.expect_end();
    scene.end();
}
