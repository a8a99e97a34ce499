//! A worker that spins before it sleeps: everything as without, only sooner; and no work, no CPU.

use std::time::{Duration, Instant};

use upsplice::observe::stats::Counter;

use crate::support::{Engine, Scene, Setup};
use crate::timers::check_time;

on_both_engines! {
    messages_are_echoed_while_the_worker_spins,
    the_worker_of_a_silent_tunnel_sleeps,
    a_timer_fires_in_the_middle_of_a_spin,
    a_spinning_worker_hears_that_it_shall_finish,
}

/// Both kinds of spinning, on however few CPUs.
const SPINS: [&str; 2] = ["spin 500us force;", "spin always force;"];

fn spinning(engine: Engine, spin: &str) -> Setup {
    Scene::on(engine).events(spin)
}

fn messages_are_echoed_while_the_worker_spins(engine: Engine) {
    for spin in SPINS {
        let mut scene = spinning(engine, spin).start();
        let (mut client, mut upstream) = scene.tunnel();
        for n in 0..200 {
            let message = format!("message {n}");
            client.send(&message);
            upstream.expect(&message);
            upstream.send(&message);
            client.expect(&message);
        }
        scene.settle();
        let stats = scene.stats();
        assert!(stats.get(Counter::SpinsWon) + stats.get(Counter::SpinsVain) > 0, "{spin}");
        drop((client, upstream));
        scene.end().expect("client_closed 101");
    }
}

/// Turns are counted, and spins within them: a worker that does neither does nothing.
fn the_worker_of_a_silent_tunnel_sleeps(engine: Engine) {
    let mut scene = spinning(engine, SPINS[0]).start();
    let (mut client, mut upstream) = scene.tunnel();
    client.send("hello");
    upstream.expect("hello");
    scene.settle();
    let before = scene.stats();
    client.expect_silence(Duration::from_millis(200));
    scene.settle();
    let after = scene.stats();
    let more = |counter| after.get(counter) - before.get(counter);
    // Twice a request and its answer, each of which may need a turn, and a tick of the wheel.
    assert!(more(Counter::Turns) <= 10, "{} turns", more(Counter::Turns));
    assert!(more(Counter::SpinsVain) <= more(Counter::Turns), "{}", more(Counter::SpinsVain));
    drop((client, upstream));
    scene.end();
}

fn a_timer_fires_in_the_middle_of_a_spin(engine: Engine) {
    for spin in ["spin 1000ms force;", "spin always force;"] {
        let setup = || spinning(engine, spin).location("proxy_read_timeout 200ms;");
        let report = check_time(setup, |scene| {
            let began = Instant::now();
            let (mut client, _upstream) = scene.tunnel();
            client.expect_end();
            began.elapsed()
        });
        report.expect_only("timeout:proxy_read_timeout 101");
    }
}

fn a_spinning_worker_hears_that_it_shall_finish(engine: Engine) {
    for spin in ["spin 1000ms force;", "spin always force;"] {
        let scene = spinning(engine, spin).start();
        let (mut client, mut upstream) = scene.tunnel();
        let report = scene.finish(|| {
            client.send("the last word");
            upstream.expect("the last word");
            drop(client);
            upstream.expect_end();
            drop(upstream);
        });
        report.expect("client_closed 101");
    }
}
