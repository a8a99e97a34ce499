//! Carriers on real sockets: bulk through pipes and links, both ways, under every kind of end.

use std::time::Duration;

use upsplice::limits::PIPES_MAX;

use crate::support::{
    Engine, Peer, Process, SWITCH, Scene, UPGRADE, Upstream, eventually, pattern, same_bytes,
};

on_both_engines! {
    bulk_passes_both_ways_at_once,
    messages_and_bulk_take_turns,
    last_words_are_delivered_by_every_carrier,
    an_urgent_byte_stops_no_pipe,
    a_reset_in_the_middle_of_bulk_ends_the_tunnel,
    pipes_that_slow_readers_hold_are_not_missed,
    idle_tunnels_hold_no_pipe,
}

#[test]
fn links_without_io_uring_are_pipes_and_the_log_says_so() {
    // `use epoll;` beside it would be an error; an embedder's word for the engine is no directive.
    let engine = upsplice::config::model::EngineChoice::Epoll;
    let upstream = Upstream::new();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("error.log");
    let config = format!(
        "error_log {} info;
        http {{ server {{ listen 127.0.0.1:0; splice linked;
            location / {{ proxy_pass http://{}; }} }} }}",
        log.display(),
        upstream.address()
    );
    let proxy = upsplice::proxy::Proxy::from_config_text(&config).unwrap().engine(engine);
    let running = proxy.start().unwrap();
    let upsplice::conn::Addr::Inet(address) = running.addresses()[0] else { unreachable!() };
    let (mut client, mut server) = tunnel(Peer::connect(address), &upstream);
    both_ways(&mut client, &mut server, &pattern(MEGABYTE));
    drop((client, server));
    let summary = running.stop_and_join();
    assert_eq!(summary.panics, 0);
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("\"splice pipe\" takes its place"), "{log}");
}

const MEGABYTE: usize = 1 << 20;

/// What `splice` may say on an engine.
fn words(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Epoll => &["auto", "off", "pipe"],
        Engine::IoUring => &["auto", "off", "pipe", "linked"],
    }
}

/// A tunnel's two ends, on a scene whose tunnels are carried like this.
fn scene(engine: Engine, word: &str) -> Scene {
    println!("splice {word}");
    Scene::on(engine).location(&format!("splice {word};")).start()
}

/// A tunnel's two ends, made of a client that has not said anything yet.
fn tunnel(mut client: Peer, place: &Upstream) -> (Peer, Peer) {
    client.send(UPGRADE);
    let mut upstream = place.accept();
    upstream.head();
    upstream.send(SWITCH);
    assert_eq!(client.head().status(), 101);
    (client, upstream)
}

/// Sends the same bytes in both directions at once, and wants them.
fn both_ways(client: &mut Peer, upstream: &mut Peer, bytes: &[u8]) {
    let (mut client_out, mut upstream_out) = (client.another(), upstream.another());
    std::thread::scope(|scope| {
        scope.spawn(|| client_out.send(bytes));
        scope.spawn(|| upstream_out.send(bytes));
        scope.spawn(|| same_bytes(&client.read(bytes.len()), bytes));
        same_bytes(&upstream.read(bytes.len()), bytes);
    });
}

fn bulk_passes_both_ways_at_once(engine: Engine) {
    const TOTAL: usize = 24 * MEGABYTE;
    let bytes = pattern(TOTAL);
    for word in words(engine) {
        let scene = scene(engine, word);
        let (mut client, mut upstream) = scene.tunnel();
        both_ways(&mut client, &mut upstream, &bytes);
        client.finish();
        upstream.expect_end();
        upstream.finish();
        client.expect_end();
        scene.end().expect_only(&format!("client_closed 101 up={TOTAL} down={TOTAL}"));
    }
}

fn messages_and_bulk_take_turns(engine: Engine) {
    let bytes = pattern(4 * MEGABYTE);
    for word in words(engine) {
        let scene = scene(engine, word);
        let (mut client, mut upstream) = scene.tunnel();
        let mut total = 0;
        for round in 0..4 {
            both_ways(&mut client, &mut upstream, &bytes);
            // Enough of them that a direction counts as quiet again.
            for number in 0..40 {
                let text = format!("round {round}, message {number}");
                client.send(&text);
                upstream.expect(&text);
                upstream.send(&text);
                client.expect(&text);
                total += text.len();
            }
            total += bytes.len();
        }
        client.finish();
        upstream.expect_end();
        upstream.finish();
        client.expect_end();
        scene.end().expect_only(&format!("client_closed 101 up={total} down={total}"));
    }
}

fn last_words_are_delivered_by_every_carrier(engine: Engine) {
    let bytes = pattern(3 * MEGABYTE);
    for word in words(engine) {
        for half_close in ["on", "off"] {
            let settings = format!("splice {word}; tunnel_half_close {half_close};");
            let scene = Scene::on(engine).location(&settings).start();
            let (mut client, mut upstream) = scene.tunnel();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    client.send(&bytes);
                    client.finish();
                });
                same_bytes(&upstream.rest(), &bytes);
            });
            if half_close == "on" {
                upstream.send("an answer to the end");
                upstream.finish();
                assert_eq!(client.rest(), b"an answer to the end");
            }
            let down = if half_close == "on" { 20 } else { 0 };
            let total = bytes.len();
            scene.end().expect_only(&format!("client_closed 101 up={total} down={down}"));
        }
    }
}

/// `splice(2)` does not pass one and says that nothing is there; a tunnel goes on all the same.
fn an_urgent_byte_stops_no_pipe(engine: Engine) {
    for word in words(engine) {
        let scene = scene(engine, word);
        let (mut client, mut upstream) = scene.tunnel();
        let raw = socket2::Socket::from(client.stream());
        for round in 0..3 {
            client.send("before");
            raw.send_out_of_band(b"!").unwrap();
            client.send("behind");
            let text = upstream.read(12);
            assert_eq!(text, b"beforebehind", "round {round}: {:?}", text.escape_ascii());
        }
    }
}

fn a_reset_in_the_middle_of_bulk_ends_the_tunnel(engine: Engine) {
    let bytes = pattern(64 * MEGABYTE);
    for word in words(engine) {
        let mut scene = scene(engine, word);
        for client_resets in [true, false] {
            let (client, upstream) = scene.tunnel();
            let (mut sender, mut reader) =
                if client_resets { (upstream, client) } else { (client, upstream) };
            let mut out = sender.another();
            std::thread::scope(|scope| {
                let sending = scope.spawn(|| out.try_send(&bytes));
                same_bytes(&reader.read(5 * MEGABYTE), &bytes[..5 * MEGABYTE]);
                reader.reset();
                assert!(sending.join().unwrap().is_err(), "64 MB went nowhere");
            });
            sender.expect_gone();
            scene.settle();
        }
        scene.expect_alive();
        let report = scene.end();
        assert_eq!(report.access.len(), 3, "{:#?}", report.access);
    }
}

/// Readers that stop keep pipes with bytes in them, all there are; the others copy.
fn pipes_that_slow_readers_hold_are_not_missed(engine: Engine) {
    let flood = vec![7; MEGABYTE];
    let mut scene = scene(engine, "pipe");
    let mut deaf: Vec<(Peer, Peer)> = (0..PIPES_MAX + 8).map(|_| scene.tunnel()).collect();
    let takes = |(_, upstream): &mut (Peer, Peer)| upstream.send_without_waiting(&flood);
    while deaf.iter_mut().map(takes).sum::<usize>() > 0 {
        scene.settle();
    }
    let (mut client, mut upstream) = scene.tunnel();
    both_ways(&mut client, &mut upstream, &pattern(MEGABYTE));
    // What the deaf ones were sent is there when they read.
    for (client, _) in &mut deaf {
        assert!(client.read(50_000).iter().all(|&byte| byte == 7));
    }
    drop(deaf);
    both_ways(&mut client, &mut upstream, &pattern(MEGABYTE));
}

fn idle_tunnels_hold_no_pipe(engine: Engine) {
    const TUNNELS: usize = 4 * PIPES_MAX;
    let place = Upstream::new();
    let (name, upstream) = (engine.name(), place.address());
    let process = Process::start(&format!(
        "worker_processes 1;
        events {{ use {name}; worker_connections 1024; }}
        http {{ splice pipe;
            server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://{upstream}; }} }} }}"
    ));
    let before = process.open_descriptors();
    let mut tunnels: Vec<(Peer, Peer)> =
        (0..TUNNELS).map(|_| tunnel(process.client(), &place)).collect();
    let bytes = pattern(100_000);
    for (client, upstream) in &mut tunnels {
        both_ways(client, upstream, &bytes);
        both_ways(client, upstream, b"and a little more");
    }
    let open = process.open_descriptors();
    assert!(open <= before + 2 * (TUNNELS + PIPES_MAX), "{open} descriptors, {before} at first");
    drop(tunnels);
    eventually(|| match process.open_descriptors() {
        open if open <= before + 2 * PIPES_MAX => Ok(()),
        open => Err(format!("{open} descriptors, {before} at first")),
    });
    // The pool is what the first of them made, and serves the next ones.
    let (mut client, mut upstream) = tunnel(process.client(), &place);
    both_ways(&mut client, &mut upstream, &bytes);
    client.expect_silence(Duration::from_millis(20));
}
