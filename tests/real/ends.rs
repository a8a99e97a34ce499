//! How tunnels end: one direction, both, in order, and not.

use std::io::Write;
use std::net::Shutdown;

use crate::support::{Engine, Peer, Report, Scene, pattern, same_bytes};

on_both_engines! {
    the_end_of_the_clients_stream_leaves_the_other_direction_open,
    the_end_of_the_upstreams_stream_leaves_the_other_direction_open,
    both_streams_may_end_at_once,
    without_half_close_the_clients_end_is_the_tunnels,
    without_half_close_the_upstreams_end_is_the_tunnels,
    a_reset_of_the_client_ends_the_tunnel,
    a_reset_of_the_upstream_ends_the_tunnel,
    what_was_sent_before_an_end_is_delivered,
    what_was_sent_before_an_end_is_delivered_without_half_close,
    a_reset_while_bytes_wait_ends_the_tunnel,
    a_stop_ends_tunnels,
}

/// Opens a tunnel with these settings, plays it, and returns what the proxy wrote.
fn play(engine: Engine, settings: &str, script: impl FnOnce(Peer, Peer)) -> Report {
    let scene = Scene::on(engine).location(settings).start();
    let (client, upstream) = scene.tunnel();
    script(client, upstream);
    scene.end()
}

fn the_end_of_the_clients_stream_leaves_the_other_direction_open(engine: Engine) {
    let report = play(engine, "", |mut client, mut upstream| {
        client.send("last words");
        client.finish();
        assert_eq!(upstream.rest(), b"last words");
        for number in 0..3 {
            upstream.send(format!("answer {number}"));
            client.expect(format!("answer {number}"));
        }
        upstream.finish();
        client.expect_end();
    });
    report.expect_only("client_closed 101 up=10 down=24");
}

fn the_end_of_the_upstreams_stream_leaves_the_other_direction_open(engine: Engine) {
    let report = play(engine, "", |mut client, mut upstream| {
        upstream.send("last words");
        upstream.finish();
        assert_eq!(client.rest(), b"last words");
        for number in 0..3 {
            client.send(format!("message {number}"));
            upstream.expect(format!("message {number}"));
        }
        client.finish();
        upstream.expect_end();
    });
    report.expect_only("upstream_closed 101 up=27 down=10");
}

fn both_streams_may_end_at_once(engine: Engine) {
    let report = play(engine, "", |mut client, mut upstream| {
        client.send("up");
        upstream.send("down");
        client.finish();
        upstream.finish();
        assert_eq!(client.rest(), b"down");
        assert_eq!(upstream.rest(), b"up");
    });
    let line = &report.access[0];
    assert!(line.ends_with(|c: char| c.is_ascii_digit()), "{line}");
    assert!(line.contains("_closed 101 up=2 down=4 "), "{line}");
}

fn without_half_close_the_clients_end_is_the_tunnels(engine: Engine) {
    let report = play(engine, "tunnel_half_close off;", |mut client, mut upstream| {
        client.send("last words");
        client.finish();
        assert_eq!(upstream.rest(), b"last words");
        client.expect_end();
    });
    report.expect_only("client_closed 101 up=10 down=0");
}

fn without_half_close_the_upstreams_end_is_the_tunnels(engine: Engine) {
    let report = play(engine, "tunnel_half_close off;", |mut client, mut upstream| {
        upstream.send("last words");
        upstream.finish();
        assert_eq!(client.rest(), b"last words");
        upstream.expect_end();
    });
    report.expect_only("upstream_closed 101 up=0 down=10");
}

fn a_reset_of_the_client_ends_the_tunnel(engine: Engine) {
    let report = play(engine, "", |client, mut upstream| {
        client.reset();
        assert_eq!(upstream.expect_gone(), b"");
    });
    report.expect_only("client_failed:ECONNRESET 101 up=0 down=0");
}

fn a_reset_of_the_upstream_ends_the_tunnel(engine: Engine) {
    let report = play(engine, "", |mut client, upstream| {
        upstream.reset();
        assert_eq!(client.expect_gone(), b"");
    });
    report.expect_only("upstream_failed:ECONNRESET 101 up=0 down=0");
    report.expect_error("upstream_failed:ECONNRESET");
}

/// A peer sends far more than all buffers on the way hold, and ends; the other one starts to read
/// only then.
fn flood(source: &Peer, sink: &mut Peer, bytes: &[u8]) {
    std::thread::scope(|scope| {
        let mut writer = source.stream();
        let (ready, full) = std::sync::mpsc::channel();
        scope.spawn(move || {
            let (first, rest) = bytes.split_at(100_000);
            writer.write_all(first).unwrap();
            ready.send(()).unwrap();
            writer.write_all(rest).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        full.recv().unwrap();
        same_bytes(&sink.rest(), bytes);
    });
}

fn check_unsent_data(engine: Engine, settings: &str) {
    let bytes = pattern(8_000_000);
    let report = play(engine, settings, |client, mut upstream| {
        flood(&client, &mut upstream, &bytes);
    });
    report.expect_only("client_closed 101 up=8000000 down=0");
    let report = play(engine, settings, |mut client, upstream| {
        flood(&upstream, &mut client, &bytes);
    });
    report.expect_only("upstream_closed 101 up=0 down=8000000");
}

fn what_was_sent_before_an_end_is_delivered(engine: Engine) {
    check_unsent_data(engine, "");
}

fn what_was_sent_before_an_end_is_delivered_without_half_close(engine: Engine) {
    check_unsent_data(engine, "tunnel_half_close off;");
}

fn a_reset_while_bytes_wait_ends_the_tunnel(engine: Engine) {
    let report = play(engine, "", |client, upstream| {
        std::thread::scope(|scope| {
            let mut writer = upstream.stream();
            let bytes = vec![7; 64_000_000];
            let writing = scope.spawn(move || writer.write_all(&bytes));
            let mut client = client;
            client.read(1_000_000);
            client.reset();
            assert!(writing.join().unwrap().is_err(), "nobody took all of it");
        });
    });
    report.expect_only("client_failed:");
}

fn a_stop_ends_tunnels(engine: Engine) {
    let scene = Scene::on(engine).start();
    let (mut client, mut upstream) = scene.tunnel();
    let report = scene.end();
    client.expect_gone();
    upstream.expect_gone();
    report.expect_only("shutdown 101 up=0 down=0");
}
