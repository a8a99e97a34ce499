//! A reader that does not read holds the writer back, and costs the proxy no memory.

use std::time::Duration;

use crate::support::{
    Engine, Peer, Process, SWITCH, Scene, UPGRADE, Upstream, alone, pattern, room_for, same_bytes,
};

on_both_engines! {
    a_slow_client_costs_less_than_a_megabyte,
    a_slow_upstream_costs_less_than_a_megabyte,
    a_slow_client_behind_a_pipe_costs_less_than_a_megabyte,
    clients_that_do_not_read_do_not_starve_the_others,
}

const MEGABYTE: usize = 1 << 20;
const TOTAL: usize = 64 * MEGABYTE;

fn a_slow_client_costs_less_than_a_megabyte(engine: Engine) {
    check(engine, "splice off;", "client", |(client, upstream)| (upstream, client));
}

fn a_slow_upstream_costs_less_than_a_megabyte(engine: Engine) {
    check(engine, "", "upstream", |(client, upstream)| (client, upstream));
}

fn a_slow_client_behind_a_pipe_costs_less_than_a_megabyte(engine: Engine) {
    check(engine, "splice pipe;", "client", |(client, upstream)| (upstream, client));
}

/// `roles` says who of client and upstream is the source and who the sink.
fn check(engine: Engine, settings: &str, who: &str, roles: fn((Peer, Peer)) -> (Peer, Peer)) {
    let place = Upstream::new();
    let process = start(engine, settings, &place);
    let bytes = pattern(TOTAL);
    // First a quick transfer: the buffers of the pool are touched, and belong to it from now on.
    let (mut source, mut sink) = roles(tunnel(&process, &place));
    transfer(&mut source, &mut sink, &bytes[..16 * MEGABYTE]);
    drop((source, sink));

    let (mut source, mut sink) = roles(tunnel(&process, &place));
    let before = process.peak_bytes();
    let taken = source.send_until_stuck(&bytes, Duration::from_millis(100));
    assert!(taken < TOTAL / 2, "the writer must be held back, and got rid of {taken}");
    let stuck = process.peak_bytes();
    // The rest in small sips: each lets a little through, and the writer is stuck again.
    let rest = &bytes[taken..];
    std::thread::scope(|scope| {
        scope.spawn(|| source.send(rest));
        for piece in bytes.chunks(100_000) {
            same_bytes(&sink.read(piece.len()), piece);
        }
    });
    let after = process.peak_bytes();
    let grown = after - before;
    println!(
        "{}: a slow {who} against 64 MB: {} KB more while stuck, {} KB more at most",
        engine.name(),
        (stuck - before) / 1024,
        grown / 1024
    );
    assert!(grown < MEGABYTE, "the peak grew by {grown} bytes, from {before} to {after}");
}

/// More of them than the pool has buffers at the start.
fn clients_that_do_not_read_do_not_starve_the_others(engine: Engine) {
    const DEAF: usize = 270;
    let _alone = alone();
    let count = room_for(DEAF, 2);
    let mut scene = Scene::on(engine).connections(2 * DEAF + 100).start();
    let mut deaf: Vec<(Peer, Peer)> = (0..count)
        .map(|_| {
            let mut client = Peer::connect_deaf(scene.address());
            client.send(UPGRADE);
            let mut upstream = scene.upstream.accept();
            upstream.keep_little();
            upstream.head();
            upstream.send(SWITCH);
            assert_eq!(client.head().status(), 101);
            (client, upstream)
        })
        .collect();
    let flood = vec![7; MEGABYTE];
    let takes = |(_, upstream): &mut (Peer, Peer)| upstream.send_without_waiting(&flood);
    while deaf.iter_mut().map(takes).sum::<usize>() > 0 {
        scene.settle();
    }
    let bytes = pattern(MEGABYTE);
    let (mut client, mut upstream) = scene.tunnel();
    transfer(&mut client, &mut upstream, &bytes);
    transfer(&mut upstream, &mut client, &bytes);
    // And the deaf ones lose nothing: what was sent to them arrives when they read.
    let (first, _upstream) = &mut deaf[0];
    same_bytes(&first.read(50_000), &flood[..50_000]);
}

fn start(engine: Engine, settings: &str, upstream: &Upstream) -> Process {
    let (engine, upstream) = (engine.name(), upstream.address());
    Process::start(&format!(
        "worker_processes 1;
        events {{ use {engine}; worker_connections 64; }}
        http {{ {settings}
            server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://{upstream}; }} }} }}"
    ))
}

fn tunnel(process: &Process, place: &Upstream) -> (Peer, Peer) {
    let mut client = process.client();
    client.send(UPGRADE);
    let mut upstream = place.accept();
    upstream.head();
    upstream.send(SWITCH);
    assert_eq!(client.head().status(), 101);
    (client, upstream)
}

fn transfer(source: &mut Peer, sink: &mut Peer, bytes: &[u8]) {
    std::thread::scope(|scope| {
        scope.spawn(|| source.send(bytes));
        same_bytes(&sink.read(bytes.len()), bytes);
    });
}
