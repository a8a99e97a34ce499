//! Every timer, on the real clock: never early, soon after, and named in the logs.

use std::io::Write;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::{Engine, Peer, Report, SWITCH, Scene, Setup, UPGRADE, is_gone};

on_both_engines! {
    client_header_timeout_ends_a_head_that_does_not_come,
    client_header_timeout_ends_a_silent_client_without_a_word,
    keepalive_timeout_ends_an_idle_client,
    client_body_timeout_ends_a_pausing_body,
    proxy_connect_timeout_ends_a_hanging_connect,
    proxy_read_timeout_ends_a_silent_upstream,
    proxy_read_timeout_starts_anew_within_a_head,
    proxy_read_timeout_ends_a_pausing_body,
    proxy_read_timeout_ends_a_silent_tunnel,
    proxy_read_timeout_starts_anew_with_traffic_of_either_direction,
    proxy_send_timeout_ends_an_upload_nobody_takes,
    proxy_send_timeout_ends_a_tunnel_whose_upstream_does_not_read,
    send_timeout_ends_an_answer_nobody_takes,
    send_timeout_ends_a_tunnel_whose_client_does_not_read,
    tunnel_idle_timeout_ends_a_silent_tunnel,
    tunnel_max_lifetime_ends_a_busy_tunnel,
    tunnel_max_lifetime_takes_jitter_off,
    a_slow_client_is_not_a_silent_upstream,
}

/// The value of the timer under test.
const VALUE: Duration = Duration::from_millis(200);

/// One slot of the wheel.
const TICK: Duration = Duration::from_millis(10);

/// What threads may take to be scheduled. Whoever is later than that is tried again: a busy machine
/// is late now and then, a late timer always.
const SCHEDULING: Duration = Duration::from_millis(15);
const ATTEMPTS: usize = 8;

/// The latest moment at which a timer of that value may be seen to have fired.
fn latest(value: Duration) -> Duration {
    value + value / 10 + TICK + SCHEDULING
}

/// Plays the scene, which returns how long the timer took from its start, until it took no longer
/// than it may.
#[track_caller]
pub(crate) fn check_time(setup: impl Fn() -> Setup, play: impl Fn(&Scene) -> Duration) -> Report {
    check_time_between(VALUE, VALUE, setup, play)
}

#[track_caller]
fn check_time_between(
    earliest: Duration,
    value: Duration,
    setup: impl Fn() -> Setup,
    play: impl Fn(&Scene) -> Duration,
) -> Report {
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let scene = setup().start();
        let took = play(&scene);
        println!("a timer of {value:?} was seen to have fired after {took:?}");
        assert!(took >= earliest, "that is before {earliest:?}");
        if took <= latest(value) {
            return scene.end();
        }
        seen.push(took);
    }
    panic!("a timer of {value:?} fired after {seen:?}");
}

#[track_caller]
fn expect_timeout(report: &Report, timer: &str, status: u16) {
    report.expect_only(&format!("timeout:{timer} {status}"));
    report.expect_error(&format!("timeout:{timer}"));
}

fn client_header_timeout_ends_a_head_that_does_not_come(engine: Engine) {
    let setup = || Scene::on(engine).http("client_header_timeout 200ms;");
    let report = check_time(setup, |scene| {
        let began = Instant::now();
        let mut client = scene.client_with("GET / HTTP/1.1\r\nHo");
        // More bytes are no reason to wait longer: the time is that of the whole head.
        client.expect_silence(VALUE / 2);
        client.send("st: h\r\n");
        assert_eq!(client.answer().status(), 408);
        began.elapsed()
    });
    expect_timeout(&report, "client_header_timeout", 408);
}

fn client_header_timeout_ends_a_silent_client_without_a_word(engine: Engine) {
    let setup = || Scene::on(engine).http("client_header_timeout 200ms;");
    let report = check_time(setup, |scene| {
        let began = Instant::now();
        scene.client().expect_end();
        began.elapsed()
    });
    assert_eq!(report.access, [""; 0], "there was no request");
}

fn keepalive_timeout_ends_an_idle_client(engine: Engine) {
    let setup = || Scene::on(engine).http("keepalive_timeout 200ms;");
    let report = check_time(setup, |scene| {
        let (mut client, mut upstream) = scene.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let began = Instant::now();
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.answer().body, b"ok");
        client.expect_end();
        began.elapsed()
    });
    report.expect_only("done 200");
}

fn client_body_timeout_ends_a_pausing_body(engine: Engine) {
    let setup = || Scene::on(engine).location("client_body_timeout 200ms;");
    let report = check_time(setup, |scene| {
        let request = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc";
        let (mut client, mut upstream) = scene.exchange(request);
        upstream.expect("abc");
        client.expect_silence(VALUE / 2);
        let began = Instant::now();
        client.send("def");
        upstream.expect("def");
        assert_eq!(client.answer().status(), 408);
        upstream.expect_gone();
        began.elapsed()
    });
    expect_timeout(&report, "client_body_timeout", 408);
}

/// A listening socket whose queue is full: the kernel drops further handshakes.
fn full_queue() -> (Socket, Vec<Socket>) {
    let new = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = new();
    listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = new();
        let connected = client.connect_timeout(&address, Duration::from_millis(50)).is_ok();
        waiting.push(client);
        if !connected {
            return (listener, waiting);
        }
    }
}

fn proxy_connect_timeout_ends_a_hanging_connect(engine: Engine) {
    let (listener, _waiting) = full_queue();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let setup = || Scene::on(engine).upstream(address).location("proxy_connect_timeout 200ms;");
    let report = check_time(setup, |scene| {
        let began = Instant::now();
        assert_eq!(scene.refusal("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), 504);
        began.elapsed()
    });
    expect_timeout(&report, "proxy_connect_timeout", 504);
}

fn proxy_read_timeout_ends_a_silent_upstream(engine: Engine) {
    let setup = || Scene::on(engine).location("proxy_read_timeout 200ms;");
    let report = check_time(setup, |scene| {
        let began = Instant::now();
        let (mut client, mut upstream) = scene.exchange(UPGRADE);
        assert_eq!(client.answer().status(), 504);
        upstream.expect_gone();
        began.elapsed()
    });
    expect_timeout(&report, "proxy_read_timeout", 504);
}

fn proxy_read_timeout_starts_anew_within_a_head(engine: Engine) {
    let setup = || Scene::on(engine).location("proxy_read_timeout 200ms;");
    let report = check_time(setup, |scene| {
        let (mut client, mut upstream) = scene.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        client.expect_silence(VALUE / 2);
        let began = Instant::now();
        upstream.send("HTTP/1.1 200 OK\r\n");
        assert_eq!(client.answer().status(), 504);
        began.elapsed()
    });
    expect_timeout(&report, "proxy_read_timeout", 504);
}

fn proxy_read_timeout_ends_a_pausing_body(engine: Engine) {
    let setup = || Scene::on(engine).location("proxy_read_timeout 200ms;");
    let report = check_time(setup, |scene| {
        let (mut client, mut upstream) = scene.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
        client.head();
        client.expect("abc");
        client.expect_silence(VALUE / 2);
        let began = Instant::now();
        upstream.send("def");
        client.expect("def");
        assert_eq!(client.expect_gone(), b"");
        began.elapsed()
    });
    expect_timeout(&report, "proxy_read_timeout", 200);
}

/// A tunnel that nothing passes through, from its first moment.
fn time_of_silent_tunnel(scene: &Scene) -> Duration {
    let (mut client, mut upstream) = scene.exchange(UPGRADE);
    let began = Instant::now();
    upstream.send(SWITCH);
    assert_eq!(client.head().status(), 101);
    assert_eq!(client.expect_gone(), b"");
    let took = began.elapsed();
    assert_eq!(upstream.expect_gone(), b"");
    took
}

fn proxy_read_timeout_ends_a_silent_tunnel(engine: Engine) {
    let setup = || Scene::on(engine).location("proxy_read_timeout 200ms;");
    let report = check_time(setup, time_of_silent_tunnel);
    expect_timeout(&report, "proxy_read_timeout", 101);
}

fn proxy_read_timeout_starts_anew_with_traffic_of_either_direction(engine: Engine) {
    let setup = || Scene::on(engine).location("proxy_read_timeout 200ms;");
    let report = check_time(setup, |scene| {
        let (mut client, mut upstream) = scene.tunnel();
        for _ in 0..2 {
            client.expect_silence(VALUE * 6 / 10);
            client.send("up");
            upstream.expect("up");
            upstream.expect_silence(VALUE * 6 / 10);
            upstream.send("down");
            client.expect("down");
        }
        client.expect_silence(VALUE / 2);
        let began = Instant::now();
        client.send("last");
        upstream.expect("last");
        assert_eq!(client.expect_gone(), b"");
        began.elapsed()
    });
    expect_timeout(&report, "proxy_read_timeout", 101);
}

/// Writes until the other end is gone.
fn write_until_gone(mut peer: Peer) {
    let block = [7; 64 * 1024];
    loop {
        match peer.try_send(block) {
            Ok(()) => {}
            Err(error) if is_gone(&error) => return,
            Err(error) => panic!("the other end should be gone: {error}"),
        }
    }
}

fn proxy_send_timeout_ends_an_upload_nobody_takes(engine: Engine) {
    let setup = || Scene::on(engine).location("proxy_send_timeout 200ms; client_max_body_size 0;");
    let report = check_time(setup, |scene| {
        let began = Instant::now();
        let (client, upstream) =
            scene.exchange("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n");
        let mut writer = client.stream();
        let mut client = client;
        std::thread::scope(|scope| {
            scope.spawn(move || while writer.write_all(&[7; 64 * 1024]).is_ok() {});
            assert_eq!(client.answer().status(), 504);
            let took = began.elapsed();
            client.hang_up();
            drop(upstream);
            took
        })
    });
    expect_timeout(&report, "proxy_send_timeout", 504);
}

fn proxy_send_timeout_ends_a_tunnel_whose_upstream_does_not_read(engine: Engine) {
    let setup = || Scene::on(engine).location("proxy_send_timeout 200ms;");
    let report = check_time(setup, |scene| {
        let (client, _upstream) = scene.tunnel();
        let began = Instant::now();
        write_until_gone(client);
        began.elapsed()
    });
    expect_timeout(&report, "proxy_send_timeout", 101);
}

fn send_timeout_ends_an_answer_nobody_takes(engine: Engine) {
    let setup = || Scene::on(engine).location("send_timeout 200ms;");
    let report = check_time(setup, |scene| {
        let (_client, mut upstream) = scene.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let began = Instant::now();
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        write_until_gone(upstream);
        began.elapsed()
    });
    expect_timeout(&report, "send_timeout", 200);
}

fn send_timeout_ends_a_tunnel_whose_client_does_not_read(engine: Engine) {
    let setup = || Scene::on(engine).location("send_timeout 200ms;");
    let report = check_time(setup, |scene| {
        let (_client, upstream) = scene.tunnel();
        let began = Instant::now();
        write_until_gone(upstream);
        began.elapsed()
    });
    expect_timeout(&report, "send_timeout", 101);
}

fn tunnel_idle_timeout_ends_a_silent_tunnel(engine: Engine) {
    let setup = || Scene::on(engine).location("tunnel_idle_timeout 200ms;");
    let report = check_time(setup, time_of_silent_tunnel);
    expect_timeout(&report, "tunnel_idle_timeout", 101);
}

/// A tunnel through which a byte passes every few milliseconds.
fn time_of_busy_tunnel(scene: &Scene) -> Duration {
    let (mut client, mut upstream) = scene.exchange(UPGRADE);
    let began = Instant::now();
    upstream.send(SWITCH);
    assert_eq!(client.head().status(), 101);
    let mut echo = upstream.stream();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut byte = [0];
            // Pauses are the other side's: it answers each byte as soon as it comes.
            while std::io::Read::read(&mut echo, &mut byte).is_ok_and(|count| count > 0) {
                if echo.write_all(&byte).is_err() {
                    return;
                }
            }
        });
        while client.try_send("x").is_ok() {
            if client.gone_within(TICK / 2) {
                break;
            }
        }
        let took = began.elapsed();
        drop(client);
        took
    })
}

fn tunnel_max_lifetime_ends_a_busy_tunnel(engine: Engine) {
    let setup = || Scene::on(engine).location("tunnel_max_lifetime 200ms;");
    let report = check_time(setup, time_of_busy_tunnel);
    expect_timeout(&report, "tunnel_max_lifetime", 101);
}

fn tunnel_max_lifetime_takes_jitter_off(engine: Engine) {
    let setup = || Scene::on(engine).location("tunnel_max_lifetime 200ms jitter=50%;");
    let report = check_time_between(VALUE / 2, VALUE, setup, |scene| {
        let tunnels: Vec<_> = (0..8).map(|_| scene.tunnel()).collect();
        let began = Instant::now();
        let mut ends = Vec::new();
        for (mut client, mut upstream) in tunnels {
            client.expect_gone();
            upstream.expect_gone();
            ends.push(began.elapsed());
        }
        ends.into_iter().max().unwrap()
    });
    let ages: Vec<u32> = report.access.iter().map(|line| tunnel_ms(line)).collect();
    assert_eq!(ages.len(), 8);
    let (first, last) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
    assert!((100..=235).contains(first) && last - first >= 10, "{ages:?}");
}

/// The age of a tunnel in its line of the access log.
fn tunnel_ms(line: &str) -> u32 {
    // Seconds with three decimals.
    line.rsplit_once("tunnel=").unwrap().1.replace('.', "").parse().unwrap()
}

fn a_slow_client_is_not_a_silent_upstream(engine: Engine) {
    let setup = Scene::on(engine).location("proxy_read_timeout 100ms; send_timeout 300ms;");
    let scene = setup.start();
    let (_client, upstream) = scene.tunnel();
    write_until_gone(upstream);
    expect_timeout(&scene.end(), "send_timeout", 101);
}
