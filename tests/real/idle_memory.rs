//! What an idle tunnel costs the process, beyond the pools that are there anyway.

use crate::support::{Engine, Peer, Process, Upstream, alone, open_tunnels, room_for};

on_both_engines! {
    an_idle_tunnel_costs_at_most_550_bytes,
    an_idle_tunnel_with_a_log_line_to_come_costs_little_more,
}

const TUNNELS: usize = 5_000;

/// After all of them carried a message both ways at the same moment, an engine may have made room
/// for its own queues: this much more.
const BURST_BYTES_MAX: usize = 512;

fn an_idle_tunnel_costs_at_most_550_bytes(engine: Engine) {
    check(engine, "access_log off;", 550);
}

/// The line of the access log is half rendered when the tunnel opens, and written when it ends.
fn an_idle_tunnel_with_a_log_line_to_come_costs_little_more(engine: Engine) {
    check(engine, "access_log /dev/null combined;", 820);
}

fn check(engine: Engine, log: &str, bytes_max: usize) {
    let _alone = alone();
    let count = room_for(TUNNELS, 2);
    let place = Upstream::new();
    let process = start(engine, &place, count, log);
    // The fixed pools are touched first: by more bytes at once than they hold, and by as many
    // handshakes as there will be at once.
    let mut warm = open_tunnels(process.address(), &place, 150);
    use_at_once(&process, &mut warm, &[7; 64 * 1024]);
    drop(warm);
    process.wait_until_idle();

    let before = process.private_bytes();
    let cost = || process.private_bytes().saturating_sub(before) / count;
    let mut tunnels = open_tunnels(process.address(), &place, count);
    tunnels.chunks_mut(100).for_each(|some| use_at_once(&process, some, b"hello"));
    let idle = cost();
    use_at_once(&process, &mut tunnels, b"hello");
    let after_burst = cost();
    println!(
        "{}, {log} {count} idle tunnels: {idle} bytes each (private dirty); {after_burst} after a \
         message both ways in all of them at once",
        engine.name(),
    );
    assert!(idle <= bytes_max, "{idle} bytes per idle tunnel");
    assert!(after_burst <= bytes_max + BURST_BYTES_MAX, "{after_burst} bytes after a burst");
}

/// A message both ways in each of them, all of which are there when the program looks.
fn use_at_once(process: &Process, tunnels: &mut [(Peer, Peer)], message: &[u8]) {
    process.meanwhile(|| {
        for (client, upstream) in &mut *tunnels {
            client.send(message);
            upstream.send(message);
        }
    });
    for (client, upstream) in tunnels {
        client.read(message.len());
        upstream.read(message.len());
    }
}

fn start(engine: Engine, place: &Upstream, tunnels: usize, log: &str) -> Process {
    let (engine, place, connections) = (engine.name(), place.address(), 2 * tunnels + 10);
    Process::start(&format!(
        "worker_processes 1;
        worker_rlimit_nofile {};
        events {{ use {engine}; worker_connections {connections}; }}
        http {{
            {log}
            server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://{place}; }} }}
        }}",
        connections + 100
    ))
}
