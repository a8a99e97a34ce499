//! Twenty thousand tunnels, a thousand at a time, ended in every order of FIN and RST: nothing of
//! them may be left, neither a descriptor nor a slot, a session, a timer or a buffer.
//!
//! The worker runs in a child, so that its descriptors can be counted. The child is this test
//! program again, running [`a_worker_for_another_process`]: it answers each line with its figures.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use upsplice::limits::PIPES_MAX;

use crate::support::{Engine, Peer, Upstream, alone, eventually, open_tunnels, room_for};

on_both_engines! {
    tunnels_leave_nothing_however_they_end,
    tunnels_through_pipes_leave_nothing_but_the_pool,
    connections_that_never_become_tunnels_leave_nothing,
}

/// How many tunnels; for longer runs.
const COUNT_VARIABLE: &str = "UPSPLICE_CHURN_TUNNELS";
const COUNT: usize = 20_000;
const AT_A_TIME: usize = 1_000;

fn tunnels_leave_nothing_however_they_end(engine: Engine) {
    let count = std::env::var(COUNT_VARIABLE).map_or(COUNT, |count| count.parse().unwrap());
    churn(engine, "auto", count);
}

fn tunnels_through_pipes_leave_nothing_but_the_pool(engine: Engine) {
    churn(engine, "pipe", COUNT / 5);
    if engine == Engine::IoUring {
        churn(engine, "linked", COUNT / 5);
    }
}

fn churn(engine: Engine, splice: &str, count: usize) {
    let _alone = alone();
    let began = Instant::now();
    let at_a_time = room_for(AT_A_TIME, 2);
    let place = Upstream::new();
    let mut worker = Worker::start(engine, splice, &place);
    let before = worker.descriptors();
    let orders = orders();
    let mut opened = 0;
    while opened < count {
        let batch = at_a_time.min(count - opened);
        let tunnels = open_tunnels(worker.address, &place, batch);
        let order_of = |number: usize| &orders[(opened + number) % orders.len()];
        end_all(tunnels, order_of);
        opened += batch;
    }
    let pooled = if splice == "auto" { 0 } else { 2 * PIPES_MAX };
    worker.expect_nothing_left(before..=before + pooled);
    println!(
        "{}, splice {splice}: {opened} tunnels in {} orders, {at_a_time} at a time, in {:.1} s: \
         {} descriptors as before, no connection, session, timer, buffer or pipe left",
        engine.name(),
        orders.len(),
        began.elapsed().as_secs_f32(),
        before
    );
}

/// One end's doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Fin,
    Rst,
}

/// How a tunnel ends: bytes on the way or not, the first end by one side, then the second by the
/// same or the other side, which may have seen the first or not.
#[derive(Clone, Copy, Debug)]
struct Order {
    bytes_on_the_way: bool,
    client_first: bool,
    first: End,
    seen: bool,
    same_side_again: bool,
    second: End,
}

fn orders() -> Vec<Order> {
    let mut orders = Vec::new();
    for bits in 0..64_u8 {
        let bit = |n: u8| bits & (1 << n) != 0;
        let end = |n| if bit(n) { End::Rst } else { End::Fin };
        let order = Order {
            bytes_on_the_way: bit(0),
            client_first: bit(1),
            first: end(2),
            seen: bit(3),
            same_side_again: bit(4),
            second: end(5),
        };
        // A side that has reset its connection, or ended its stream, has no such second end.
        let possible =
            !order.same_side_again || (order.first, order.second) == (End::Fin, End::Rst);
        if possible {
            orders.push(order);
        }
    }
    orders
}

/// Ends all tunnels, step by step, so that the worker sees all orders at the same time.
fn end_all<'a>(tunnels: Vec<(Peer, Peer)>, order_of: impl Fn(usize) -> &'a Order) {
    let mut sides: Vec<[Option<Peer>; 2]> = tunnels
        .into_iter()
        .enumerate()
        .map(|(number, (client, upstream))| {
            let client_first = order_of(number).client_first;
            let [first, second] =
                if client_first { [client, upstream] } else { [upstream, client] };
            [Some(first), Some(second)]
        })
        .collect();
    for (number, pair) in sides.iter_mut().enumerate() {
        if order_of(number).bytes_on_the_way {
            pair.iter_mut().flatten().for_each(|side| side.send([7; 1000]));
        }
    }
    for (number, [first, _]) in sides.iter_mut().enumerate() {
        end(first, order_of(number).first);
    }
    for (number, [_, second]) in sides.iter_mut().enumerate() {
        if order_of(number).seen {
            second.as_mut().unwrap().expect_gone();
        }
    }
    for (number, [first, second]) in sides.iter_mut().enumerate() {
        let order = order_of(number);
        end(if order.same_side_again { first } else { second }, order.second);
    }
}

fn end(side: &mut Option<Peer>, how: End) {
    match how {
        End::Fin => side.as_ref().unwrap().try_finish(),
        End::Rst => side.take().unwrap().reset(),
    }
}

fn connections_that_never_become_tunnels_leave_nothing(engine: Engine) {
    const COUNT: usize = 2_000;
    let _alone = alone();
    room_for(COUNT, 1);
    let place = Upstream::new();
    let mut worker = Worker::start(engine, "auto", &place);
    let before = worker.descriptors();
    let pieces = ["", "GET / HT", "nonsense\r\n\r\n", "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n"];
    for round in 0..COUNT / 100 {
        let mut clients: Vec<Peer> = (0..90)
            .map(|number| {
                let mut client = Peer::connect(worker.address);
                client.send(pieces[number % pieces.len()]);
                client
            })
            .collect();
        let mut waiting: Vec<Peer> = (0..10).map(|_| Peer::connect(worker.address)).collect();
        waiting.iter_mut().for_each(|client| client.send(crate::support::UPGRADE));
        let mut upstreams: Vec<Peer> = (0..10).map(|_| place.accept()).collect();
        // Every second client resets; the others just leave, with answers unread or not.
        for (number, client) in clients.drain(..).chain(waiting.drain(..5)).enumerate() {
            if (number + round) % 2 == 0 {
                client.reset();
            }
        }
        upstreams.drain(..5).for_each(Peer::reset);
        upstreams.iter_mut().for_each(|upstream| drop(upstream.head()));
    }
    worker.expect_nothing_left(before..=before);
}

/// The parent's view of the child.
#[derive(Debug)]
struct Worker {
    child: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

impl Worker {
    fn start(engine: Engine, splice: &str, place: &Upstream) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "churn::child::a_worker_for_another_process"])
            .args(["--nocapture", "--test-threads=1"])
            .env(child::ENGINE, engine.name())
            .env(child::SPLICE, splice)
            .env(child::UPSTREAM, place.address().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let questions = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = next_answer(&mut answers).parse().unwrap();
        let mut worker = Self { child, questions, answers, address };
        eventually(|| match worker.figures() {
            figures if figures == child::NOTHING_LEFT => Ok(()),
            figures => Err(format!("not at work: {figures:?}")),
        });
        worker
    }

    fn figures(&mut self) -> String {
        writeln!(self.questions).unwrap();
        next_answer(&mut self.answers)
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    #[track_caller]
    fn expect_nothing_left(&mut self, descriptors: RangeInclusive<usize>) {
        eventually(|| {
            let (figures, open) = (self.figures(), self.descriptors());
            if figures == child::NOTHING_LEFT && descriptors.contains(&open) {
                return Ok(());
            }
            Err(format!("{figures}, {open} descriptors instead of {descriptors:?}"))
        });
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child's lines are marked: the test harness writes to the same stream.
fn next_answer(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    loop {
        let line = lines.next().expect("the child lives").unwrap();
        if let Some(answer) = line.strip_prefix('@') {
            return answer.to_owned();
        }
    }
}

/// The child's side.
mod child {
    use std::sync::{Arc, Mutex};

    use upsplice::config::{self, Request};
    use upsplice::conn::Addr;
    use upsplice::engine::Engine;
    use upsplice::engine::epoll::Epoll;
    use upsplice::engine::probe::SetupError;
    use upsplice::engine::uring::Uring;
    use upsplice::http::facts::Host;
    use upsplice::http::time::LocalTime;
    use upsplice::observe::files::LogFiles;
    use upsplice::observe::log::Logs;
    use upsplice::supervisor::listeners::Listeners;
    use upsplice::supervisor::outside::System;
    use upsplice::sys::socket;
    use upsplice::worker::chunks::Chunks;
    use upsplice::worker::mailbox::Mailbox;
    use upsplice::worker::{Setup, Worker};

    use crate::support::room_for;

    pub(super) const ENGINE: &str = "UPSPLICE_CHURN_ENGINE";
    pub(super) const SPLICE: &str = "UPSPLICE_CHURN_SPLICE";
    pub(super) const UPSTREAM: &str = "UPSPLICE_CHURN_UPSTREAM";
    pub(super) const NOTHING_LEFT: &str = "connections=0 sessions=0 timers=0 buffers=0 pipes=0";

    /// Nothing to do unless this is the child.
    #[test]
    fn a_worker_for_another_process() {
        let Ok(upstream) = std::env::var(UPSTREAM) else { return };
        room_for(2 * super::AT_A_TIME, 2);
        let (mailbox, _sender) = Mailbox::new().unwrap();
        match &*std::env::var(ENGINE).unwrap() {
            "epoll" => serve(&upstream, mailbox, Epoll::new),
            _ => serve(&upstream, mailbox, Uring::new),
        }
    }

    /// Runs a worker in a thread, and answers each line of the standard input with its figures.
    fn serve<E: Engine + 'static>(
        upstream: &str,
        mailbox: Mailbox,
        engine: fn(usize, std::os::fd::BorrowedFd<'_>) -> Result<E, SetupError>,
    ) {
        let splice = std::env::var(SPLICE).unwrap();
        let text = format!(
            "events {{ worker_connections 4000; }}
             http {{ splice {splice}; server {{ listen 127.0.0.1:0 backlog=1000;
               location /nothing {{ }}
               location / {{ proxy_pass http://{upstream}; }} }} }}"
        );
        let request = Request { path: "(churn)", ..Request::default() };
        let config = config::load_text(request, text.into_bytes(), &System).unwrap().config;
        let listeners = Listeners::bind(&config.listens, 1).unwrap();
        let addresses: Vec<Addr> = listeners.addresses().cloned().collect();
        let figures = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&figures);
        std::thread::spawn(move || {
            let slots = config.process.worker_connections + 1;
            let engine = engine(slots, std::os::fd::AsFd::as_fd(&mailbox)).unwrap();
            let name = engine.name();
            let sockets = listeners.of_worker(0).unwrap().into_iter();
            let setup = Setup {
                config,
                host: Host {
                    name: "child".into(),
                    pid: std::process::id(),
                    engine: name,
                    request_seed: 1,
                    time: LocalTime::utc(),
                },
                listeners: sockets.map(|(n, fd)| (n, socket::into_handle(fd))).collect(),
                mailbox,
                logs: Logs::new(Arc::new(LogFiles::open(&[], &[]).unwrap())),
                stats: Arc::default(),
                seed: 1,
                chunks: Chunks::for_connections(slots),
            };
            let mut worker = Worker::new(engine, setup);
            *shown.lock().unwrap() = figures_of(&worker);
            while worker.turn() {
                *shown.lock().unwrap() = figures_of(&worker);
            }
        });
        println!("\n@{}", addresses[0]);
        for _question in std::io::stdin().lines() {
            println!("@{}", figures.lock().unwrap());
        }
    }

    /// What a worker holds besides its listening socket and the buffers it lends to the kernel.
    fn figures_of<E: Engine>(worker: &Worker<E>) -> String {
        format!(
            "connections={} sessions={} timers={} buffers={} pipes={}",
            worker.conns_live() - 1,
            worker.sessions_live(),
            worker.timers_live(),
            worker.chunks().out().saturating_sub(worker.engine().chunks_lent()),
            worker.engine().pipes_lent(),
        )
    }
}
