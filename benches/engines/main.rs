//! What the engines cost on the same traffic, beside two relays that anybody could write.
//!
//! `cargo bench --bench engines` measures, `-- carriers` a part of it, `-- --test` runs everything
//! once. A relay has a thread and a CPU of its own; the load, which is both ends of every tunnel,
//! has another. The figures are the relay's CPU time, kernel threads on its behalf included; where
//! a group says "wall" they are time that passed. Tunnels are opened before anything is measured.
//!
//! Criterion measures one relay after the other, so small differences are the machine's mood:
//! `scripts/bench`, where peers take turns, is the judge. This is a quick look at a change.

mod load;
mod relay;

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use nix::time::ClockId;

use load::{Flow, Load};
use relay::{Engine, Relay};

/// Message sizes at which carriers are compared.
const SIZES: [(&str, usize); 5] =
    [("128 B", 128), ("1 KB", 1024), ("16 KB", 16 * 1024), ("64 KB", KB_64), ("1 MB", MB)];

const KB_64: usize = 64 * 1024;
const MB: usize = 1024 * 1024;

/// A carrier's name and the directive that asks for it.
const CARRIERS: [(&str, &str); 4] = [
    ("auto", "splice auto;"),
    ("copy", "splice off;"),
    ("pipe", "splice pipe;"),
    ("linked", "splice linked;"),
];

/// What the figures of a group are.
#[derive(Clone, Copy)]
enum Figure {
    /// CPU time of everything in this process but the load.
    Cpu,
    Wall,
}

impl Figure {
    fn of(self, load: &mut Load, flow: Flow, messages: u64) -> Duration {
        let (wall, cpu) = (Instant::now(), relay_cpu());
        load.run(flow, messages);
        match self {
            Self::Cpu => relay_cpu().saturating_sub(cpu),
            Self::Wall => wall.elapsed(),
        }
    }
}

/// CPU time of this process without the calling thread's. The kernel's workers of a ring are
/// threads of the process that made it, so they are in it.
fn relay_cpu() -> Duration {
    let now = |clock: ClockId| Duration::from(clock.now().expect("these clocks are always there"));
    let all = now(ClockId::CLOCK_PROCESS_CPUTIME_ID);
    all.saturating_sub(now(ClockId::CLOCK_THREAD_CPUTIME_ID))
}

/// Measures one relay under one load, which is set up when it is really asked for.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    relay: Relay,
    shape: (usize, usize, Flow),
    figure: Figure,
) {
    let (connections, size, flow) = shape;
    let mut scene = None;
    group.bench_function(relay.name(), |bench| {
        let scene = scene.get_or_insert_with(|| relay.start(connections));
        let load = scene.load(size);
        bench.iter_custom(|messages| figure.of(load, flow, messages));
    });
}

fn group<'a>(
    criterion: &'a mut Criterion,
    name: String,
    throughput: Throughput,
) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).sample_size(10).throughput(throughput);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group
}

/// The engines and the baselines on the same traffic.
fn engines(criterion: &mut Criterion) {
    let each = Throughput::Elements(1);
    let bytes = |size: usize| Throughput::Bytes(size as u64);
    let groups = [
        (
            "round trip, 1 connection, 128 B, wall",
            (1, 128, Flow::PingPong),
            Figure::Wall,
            each.clone(),
        ),
        ("round trip, 64 connections, 128 B", (64, 128, Flow::PingPong), Figure::Cpu, each),
        ("bulk up, 8 connections, 64 KB", (8, KB_64, Flow::Up), Figure::Cpu, bytes(KB_64)),
        ("bulk down, 8 connections, 1 MB", (8, MB, Flow::Down), Figure::Cpu, bytes(MB)),
    ];
    for (name, shape, figure, throughput) in groups {
        let mut group = group(criterion, format!("engines/{name}"), throughput);
        for relay in Relay::all() {
            measure(&mut group, relay, shape, figure);
        }
        group.finish();
    }
}

/// How the bytes move, by the size of messages.
fn carriers(criterion: &mut Criterion) {
    for (name, size) in SIZES {
        let throughput = Throughput::Bytes(2 * size as u64);
        let name = format!("carriers/round trip, 16 connections, {name}");
        let mut group = group(criterion, name, throughput);
        for (carrier, directive) in CARRIERS {
            let engines = Engine::granted().into_iter();
            // Linked operations are io_uring's own.
            for engine in engines.filter(|&engine| carrier != "linked" || engine == Engine::Uring) {
                let relay = Relay::Upsplice { engine, carrier, directive };
                measure(&mut group, relay, (16, size, Flow::PingPong), Figure::Cpu);
            }
        }
        group.finish();
    }
}

fn main() {
    if relay::pin(relay::LOAD_CPU).is_err() {
        // Relay and load would take turns on one CPU, and one of them spins.
        println!("engines: two CPUs are needed, nothing is measured");
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    engines(&mut criterion);
    carriers(&mut criterion);
    criterion.final_summary();
}
