//! What a real engine takes from the system: nothing while it waits, and nothing after its end.
//!
//! One test, because it counts the descriptors of its process.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike;
use upsplice::config::model::{EngineChoice, Spin};
use upsplice::conn::{Addr, Completion, ConnId, ConnectTo, Event, Lane, Load, Op, Want};
use upsplice::engine::Engine;
use upsplice::engine::epoll::Epoll;
use upsplice::engine::probe::{Chosen, choose};
use upsplice::engine::uring::Uring;
use upsplice::sys::listen::{ListenOptions, bound, listen};
use upsplice::sys::{clock, socket};
use upsplice::worker::chunks::Chunks;
use upsplice::worker::mailbox::Mailbox;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// CPU time of this thread, in milliseconds.
fn cpu_ms() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds()
}

/// Waits until `enough` events are there, within two seconds.
fn wait_for(engine: &mut impl Engine, chunks: &mut Chunks, enough: usize) -> Vec<Completion> {
    let until = clock::now().mono.plus_ms(2_000);
    let mut events = Vec::new();
    while events.len() < enough && clock::ns_until(until) > 0 {
        engine.wait(Some(until), chunks, &mut events);
    }
    assert!(events.len() >= enough, "{events:?}");
    events
}

/// A client of the listener, accepted into a slot.
fn client<E: Engine>(
    engine: &mut E,
    chunks: &mut Chunks,
    listener: ConnId,
    addr: &Addr,
    slot: u32,
) -> (ConnId, TcpStream) {
    let Addr::Inet(addr) = addr else { panic!("an inet listener") };
    let stream = TcpStream::connect(addr).unwrap();
    engine.push(listener, Op::Accept, chunks);
    let Some(Completion { event: Event::Accepted(handle), .. }) = wait_for(engine, chunks, 1).pop()
    else {
        panic!("nobody came")
    };
    let conn = ConnId::new(slot, 1);
    engine.adopt(conn, handle).unwrap();
    (conn, stream)
}

/// Everything in flight that can be, then the engine is dropped.
fn drop_in_full_flight<E: Engine>(set_up: fn(usize, BorrowedFd<'_>) -> E) {
    let (mailbox, _sender) = Mailbox::new().unwrap();
    let mut chunks = Chunks::new(4, 4);
    let mut engine = set_up(8, mailbox.as_fd());
    let any = Addr::Inet("127.0.0.1:0".parse().unwrap());
    let fd = listen(&any, &ListenOptions::default()).unwrap();
    let addr = bound(&fd).unwrap();
    let listener = ConnId::new(0, 1);
    engine.adopt(listener, socket::into_handle(fd)).unwrap();
    let (receiving, mut idle) = client(&mut engine, &mut chunks, listener, &addr, 1);
    let (sending, _full) = client(&mut engine, &mut chunks, listener, &addr, 2);
    engine.push(receiving, Op::Recv(Want::Copy), &mut chunks);
    loop {
        // Until one send stays out.
        engine.push(sending, Op::Send(Load::owned(vec![0; 1 << 20])), &mut chunks);
        let until = clock::now().mono.plus_ms(200);
        let mut events = Vec::new();
        engine.wait(Some(until), &mut chunks, &mut events);
        if events.is_empty() {
            break;
        }
        assert!(events.iter().all(|event| event.lane == Lane::Send));
    }
    engine.push(listener, Op::Accept, &mut chunks);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = Addr::Inet(silent.local_addr().unwrap());
    let to = ConnectTo { addr: to, keepalive: false, nodelay: false };
    engine.push(ConnId::new(3, 1), Op::Connect(Box::new(to)), &mut chunks);
    drop(engine);
    drop(chunks);
    // The listener is gone at once, and the idle client hears of it.
    drop(listen(&addr, &ListenOptions::default()).unwrap());
    idle.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    match idle.read(&mut [0; 1]) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

/// A receive that has bytes but no chunk must sleep, not turn.
fn starve_quietly<E: Engine>(set_up: fn(usize, BorrowedFd<'_>) -> E) {
    let (mailbox, _sender) = Mailbox::new().unwrap();
    let mut chunks = Chunks::new(1, 1);
    let mut engine = set_up(8, mailbox.as_fd());
    let any = Addr::Inet("127.0.0.1:0".parse().unwrap());
    let fd = listen(&any, &ListenOptions::default()).unwrap();
    let addr = bound(&fd).unwrap();
    let listener = ConnId::new(0, 1);
    engine.adopt(listener, socket::into_handle(fd)).unwrap();
    let mut streams = Vec::new();
    let mut kept = Vec::new();
    for slot in 1..5 {
        let (conn, mut stream) = client(&mut engine, &mut chunks, listener, &addr, slot);
        stream.write_all(b"hungry").unwrap();
        engine.push(conn, Op::Recv(Want::Copy), &mut chunks);
        streams.push(stream);
        if kept.is_empty() {
            kept = wait_for(&mut engine, &mut chunks, 1);
        }
    }
    let before = cpu_ms();
    let mut events = Vec::new();
    let until = clock::now().mono.plus_ms(200);
    engine.wait(Some(until), &mut chunks, &mut events);
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(clock::ns_until(until), 0, "a wait ended early");
    assert!(cpu_ms() - before < 60, "{} ms of CPU in 200 ms of waiting", cpu_ms() - before);
    for _ in 0..4 {
        let Some(Completion { event: Event::Received(load), .. }) = kept.pop() else {
            panic!("not received")
        };
        chunks.give_load(load);
        if streams.len() > 1 {
            kept = wait_for(&mut engine, &mut chunks, 1);
            streams.pop();
        }
    }
}

/// When descriptors run out, accepting and connecting fail, say so, and work again afterwards.
fn run_out_of_descriptors<E: Engine>(set_up: fn(usize, BorrowedFd<'_>) -> E) {
    let (mailbox, _sender) = Mailbox::new().unwrap();
    let mut chunks = Chunks::new(2, 2);
    let mut engine = set_up(8, mailbox.as_fd());
    let any = Addr::Inet("127.0.0.1:0".parse().unwrap());
    let fd = listen(&any, &ListenOptions::default()).unwrap();
    let addr = bound(&fd).unwrap();
    let listener = ConnId::new(0, 1);
    engine.adopt(listener, socket::into_handle(fd)).unwrap();
    let Addr::Inet(inet) = addr else { panic!("an inet listener") };
    let waiting = TcpStream::connect(inet).unwrap();

    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
    setrlimit(Resource::RLIMIT_NOFILE, u64::try_from(next).unwrap(), hard).unwrap();
    let upstream = ConnId::new(1, 1);
    let to = ConnectTo { addr, keepalive: false, nodelay: false };
    engine.push(listener, Op::Accept, &mut chunks);
    engine.push(upstream, Op::Connect(Box::new(to)), &mut chunks);
    for completion in wait_for(&mut engine, &mut chunks, 2) {
        let event = completion.event;
        assert!(matches!(event, Event::Failed { errno: libc::EMFILE, load: None }), "{event:?}");
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();

    engine.push(upstream, Op::Close { reset: false }, &mut chunks);
    engine.push(listener, Op::Accept, &mut chunks);
    for completion in wait_for(&mut engine, &mut chunks, 2) {
        match completion.event {
            Event::Accepted(handle) => engine.discard(handle),
            event => assert!(matches!(event, Event::Closed), "{event:?}"),
        }
    }
    drop(waiting);
}

fn play<E: Engine>(set_up: fn(usize, BorrowedFd<'_>) -> E) {
    // The first time may open what the process keeps.
    drop_in_full_flight(set_up);
    starve_quietly(set_up);
    let before = descriptors();
    for _ in 0..2 {
        drop_in_full_flight(set_up);
        starve_quietly(set_up);
        run_out_of_descriptors(set_up);
    }
    assert_eq!(descriptors(), before, "descriptors are left over");
}

/// A kernel before 6.9 does not know it; what it says then is no reason for anything but a line.
fn network_cards_are_polled_or_not_there() {
    let (mailbox, _sender) = Mailbox::new().unwrap();
    for spin in [Spin::Off, Spin::Always, Spin::For { us: 100 }] {
        let epoll = Epoll::with_spin(8, mailbox.as_fd(), spin).unwrap().poll_cards();
        let known = match choose(EngineChoice::Auto) {
            Ok(Chosen::Uring) => Uring::with_spin(8, mailbox.as_fd(), spin).unwrap().poll_cards(),
            _ => epoll,
        };
        println!("{spin:?}: polling cards: epoll {epoll:?}, io_uring {known:?}");
        for outcome in [epoll, known] {
            let absent = Err(libc::ENOTTY) == outcome
                || matches!(outcome, Err(libc::EINVAL | libc::EOPNOTSUPP | libc::EPERM));
            assert!(outcome == Ok(()) || (absent && matches!(spin, Spin::For { .. })));
        }
    }
}

#[test]
fn waiting_is_free_and_dropping_gives_everything_back() {
    // What spins while traffic is recent waits for free, too.
    const SPIN: Spin = Spin::For { us: 500 };
    play(|connections, mailbox| Epoll::new(connections, mailbox).unwrap());
    play(|connections, mailbox| Epoll::with_spin(connections, mailbox, SPIN).unwrap());
    if choose(EngineChoice::Auto) == Ok(Chosen::Uring) {
        play(|connections, mailbox| Uring::new(connections, mailbox).unwrap());
        play(|connections, mailbox| Uring::with_spin(connections, mailbox, SPIN).unwrap());
    }
    network_cards_are_polled_or_not_there();
}
