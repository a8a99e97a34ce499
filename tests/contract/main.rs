//! The engine contract: one script, played on every engine, with equal transcripts.

mod ahead;
mod carriers;
mod scenarios;
mod sim_world;
mod sockets;
mod stage;
mod storm;
mod world;

use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

use sockets::{Real, Sockets};
use stage::Stage;
use upsplice::config::model::{EngineChoice, Spin};
use upsplice::engine::epoll::Epoll;
use upsplice::engine::probe::{Chosen, choose};
use upsplice::engine::uring::{Depth, Uring};
use world::World;

impl Real for Epoll {
    type Engine = Self;

    fn set_up(connections: usize, mailbox: BorrowedFd<'_>) -> Self {
        Self::new(connections, mailbox).unwrap()
    }
}

impl Real for Uring {
    type Engine = Self;

    fn set_up(connections: usize, mailbox: BorrowedFd<'_>) -> Self {
        Self::new(connections, mailbox).unwrap()
    }
}

/// An engine that spins so many microseconds before it sleeps, or never sleeps: 0.
struct Spinning<E, const US: u32>(PhantomData<E>);

const fn spin(us: u32) -> Spin {
    if us == 0 { Spin::Always } else { Spin::For { us } }
}

impl<const US: u32> Real for Spinning<Epoll, US> {
    type Engine = Epoll;

    fn set_up(connections: usize, mailbox: BorrowedFd<'_>) -> Epoll {
        Epoll::with_spin(connections, mailbox, spin(US)).unwrap()
    }
}

impl<const US: u32> Real for Spinning<Uring, US> {
    type Engine = Uring;

    fn set_up(connections: usize, mailbox: BorrowedFd<'_>) -> Uring {
        Uring::with_spin(connections, mailbox, spin(US)).unwrap()
    }
}

/// An io_uring engine as on an older kernel: in bundles, or one buffer at a time.
struct Shallow<const BUNDLES: bool>;

impl<const BUNDLES: bool> Real for Shallow<BUNDLES> {
    type Engine = Uring;

    fn set_up(connections: usize, mailbox: BorrowedFd<'_>) -> Uring {
        let depth = if BUNDLES { Depth::Bundle } else { Depth::Single };
        Uring::with(connections, mailbox, Spin::Off, depth).unwrap()
    }
}

/// Plays every scenario in one world; the transcripts by name.
fn play_all<W: World>() -> Vec<(&'static str, Vec<String>)> {
    scenarios::all::<W>()
        .into_iter()
        .chain(carriers::all())
        .chain(ahead::all())
        .map(|scenario| {
            println!("{}", scenario.name);
            let mut stage = Stage::<W>::new(scenario.connections, scenario.pool);
            (scenario.play)(&mut stage);
            (scenario.name, stage.finish())
        })
        .collect()
}

/// Plays every scenario in two worlds, whose transcripts must be equal.
fn compare<A: World, B: World>() {
    for ((name, one), (_, other)) in play_all::<A>().into_iter().zip(play_all::<B>()) {
        assert_eq!(one, other, "{name}");
    }
}

/// Plays, unless a kernel or a sandbox denies io_uring.
fn where_there_is_io_uring(play: fn()) {
    match choose(EngineChoice::Auto).unwrap() {
        Chosen::Uring => play(),
        other => println!("not played, because this system has {other}"),
    }
}

#[test]
fn epoll_keeps_the_contract() {
    play_all::<Sockets<Epoll>>();
}

#[test]
fn the_simulated_kernel_keeps_the_contract() {
    compare::<sim_world::Simulated, Sockets<Epoll>>();
}

#[test]
fn io_uring_keeps_the_contract() {
    where_there_is_io_uring(compare::<Sockets<Uring>, Sockets<Epoll>>);
}

#[test]
fn spinning_shows_in_nothing_but_time() {
    compare::<Sockets<Spinning<Epoll, 100>>, Sockets<Epoll>>();
    compare::<Sockets<Spinning<Epoll, 0>>, Sockets<Epoll>>();
    where_there_is_io_uring(compare::<Sockets<Spinning<Uring, 100>>, Sockets<Epoll>>);
    where_there_is_io_uring(compare::<Sockets<Spinning<Uring, 0>>, Sockets<Epoll>>);
}

#[test]
fn io_uring_keeps_the_contract_as_on_older_kernels() {
    where_there_is_io_uring(compare::<Sockets<Shallow<true>>, Sockets<Epoll>>);
    where_there_is_io_uring(compare::<Sockets<Shallow<false>>, Sockets<Epoll>>);
}

/// Storms from a few seeds, or as many as the variable `STORMS` says after a change to an engine.
fn storms<W: World>() {
    let count = std::env::var("STORMS").ok().and_then(|count| count.parse().ok()).unwrap_or(8);
    for seed in 100..100 + count {
        println!("seed {seed}");
        let mut stage = Stage::<W>::new(32, (2, 8));
        storm::storm(&mut stage, seed);
        println!("{} turns", stage.turns());
        stage.finish();
    }
}

#[test]
fn epoll_weathers_many_storms() {
    storms::<Sockets<Epoll>>();
}

#[test]
fn io_uring_weathers_many_storms() {
    where_there_is_io_uring(storms::<Sockets<Uring>>);
}

#[test]
fn spinning_engines_weather_many_storms() {
    storms::<Sockets<Spinning<Epoll, 100>>>();
    where_there_is_io_uring(storms::<Sockets<Spinning<Uring, 100>>>);
}

#[test]
fn the_simulated_kernel_weathers_many_storms() {
    storms::<sim_world::Simulated>();
}
