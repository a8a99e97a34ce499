//! The part of the script that is about bytes which come while nobody asks: an engine may have read
//! them already, and nobody can tell.

use upsplice::conn::{ConnId, Event, Lane, Op, Want};
use upsplice::limits::{CHUNK_BYTES, READ_AHEAD_BYTES};

use crate::scenarios::{POOL, Scenario};
use crate::stage::Stage;
use crate::world::{Peer, World};

/// The scenarios of this file.
pub(crate) fn all<W: World>() -> Vec<Scenario<W>> {
    let scenario = |name, play| Scenario { name, connections: 16, pool: POOL, play };
    vec![
        scenario("small messages between two asks", many_small::<W>),
        scenario("large messages between two asks", few_large::<W>),
        scenario("what was ahead, piece by piece", piece_by_piece::<W>),
        scenario("the end between two asks", end_behind::<W>),
        scenario("a reset between two asks", reset_behind::<W>),
        scenario("close with bytes ahead", close_with_bytes::<W>),
        scenario("cancel behind the last ask", cancel_behind::<W>),
        Scenario {
            pool: (64, 256),
            ..scenario("an end near the bound on reading ahead", near_bound)
        },
        Scenario { pool: (4, 4), ..scenario("more than the pool between two asks", flood::<W>) },
    ]
}

/// A connection that has received once, so that an engine that reads ahead does.
fn begun<W: World>(stage: &mut Stage<W>) -> (ConnId, Peer) {
    let (conn, peer) = stage.pair("conn");
    stage.push(conn, Op::Recv(Want::Chain));
    stage.peer_writes(peer, b"first");
    stage.expect(conn, Lane::Recv);
    (conn, peer)
}

/// Lets the engine see what has come, without a question.
fn idle<W: World>(stage: &mut Stage<W>) {
    stage.quiet(5);
}

/// Asks until as many bytes are there, and compares.
fn ask_for<W: World>(stage: &mut Stage<W>, conn: ConnId, expected: &[u8], want: Want) {
    let mut got = Vec::new();
    while got.len() < expected.len() {
        stage.push(conn, Op::Recv(want));
        let Event::Received(load) = stage.take(conn, Lane::Recv) else {
            panic!("{} of {} bytes", got.len(), expected.len());
        };
        assert!(!load.is_empty(), "the end after {} of {} bytes", got.len(), expected.len());
        assert!(want != Want::Copy || load.pieces() == 1, "one piece was wanted");
        stage.chunks.pieces(&load).for_each(|piece| got.extend_from_slice(piece));
        stage.chunks.give_load(load);
    }
    assert!(got == expected, "{} bytes, but other ones", got.len());
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 13 + n / 251).to_le_bytes()[0]).collect()
}

fn many_small<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = begun(stage);
    let bytes = pattern(2_000);
    for (number, piece) in bytes.chunks(10).enumerate() {
        stage.peer_writes(peer, piece);
        if number % 8 == 0 {
            stage.turn(1);
        }
    }
    ask_for(stage, conn, &bytes, Want::Chain);
    stage.close(conn, false);
}

fn few_large<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = begun(stage);
    let bytes = pattern(3 * CHUNK_BYTES + 5);
    for piece in bytes.chunks(CHUNK_BYTES + 3) {
        stage.peer_writes(peer, piece);
        idle(stage);
    }
    ask_for(stage, conn, &bytes, Want::Chain);
    stage.close(conn, false);
}

fn piece_by_piece<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = begun(stage);
    let bytes = pattern(3 * CHUNK_BYTES);
    stage.peer_writes(peer, &bytes);
    idle(stage);
    ask_for(stage, conn, &bytes, Want::Copy);
    stage.close(conn, false);
}

fn end_behind<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = begun(stage);
    stage.peer_writes(peer, b"last words");
    stage.world.peer_shutdown(peer);
    idle(stage);
    ask_for(stage, conn, b"last words", Want::Chain);
    stage.ask(conn, Op::Recv(Want::Chain));
    stage.close(conn, false);
}

fn reset_behind<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = begun(stage);
    stage.world.peer_close(peer, true);
    idle(stage);
    stage.ask(conn, Op::Recv(Want::Chain));
    stage.close(conn, false);
}

fn close_with_bytes<W: World>(stage: &mut Stage<W>) {
    for reset in [false, true] {
        for turns in 0..3 {
            let (conn, peer) = begun(stage);
            stage.peer_writes(peer, &pattern(2 * CHUNK_BYTES));
            for _ in 0..turns {
                stage.turn(1);
            }
            stage.close(conn, reset);
            // A close with unread bytes resets on some engines and not on others, so nothing is
            // noted; the peer is let go, and the stage looks at what came home.
            stage.world.peer_close(peer, true);
        }
    }
}

fn cancel_behind<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = begun(stage);
    stage.ask(conn, Op::Cancel);
    idle(stage);
    stage.peer_writes(peer, b"after it");
    ask_for(stage, conn, b"after it", Want::Chain);
    stage.close(conn, false);
}

/// Streams as much as was given, in pieces that are asked for one by one.
fn stream<W: World>(stage: &mut Stage<W>, conn: ConnId, peer: Peer, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece) {
        stage.peer_writes(peer, piece);
        ask_for(stage, conn, piece, Want::Chain);
    }
}

/// A kernel may shorten a buffer that it offers to the last bytes before the bound. Should it leave
/// it so when the stream ends there instead, another connection must not notice.
fn near_bound<W: World>(stage: &mut Stage<W>) {
    let bound = READ_AHEAD_BYTES as usize;
    let (other, other_peer) = begun(stage);
    stream(stage, other, other_peer, &pattern(bound + 1), 40_000);
    for left in [1, 700, 5_000, 16_000] {
        let (conn, peer) = begun(stage);
        stream(stage, conn, peer, &pattern(bound - b"first".len()), 40_000);
        stream(stage, conn, peer, &pattern(bound - left), 10_000);
        stage.world.peer_shutdown(peer);
        stage.ask(conn, Op::Recv(Want::Chain));
        stage.close(conn, false);
        let bytes = pattern(60_000);
        stage.peer_writes(other_peer, &bytes);
        ask_for(stage, other, &bytes, Want::Chain);
    }
    stage.close(other, false);
}

fn flood<W: World>(stage: &mut Stage<W>) {
    let (conn, peer) = begun(stage);
    let (other, other_peer) = begun(stage);
    let bytes = pattern(40 * CHUNK_BYTES);
    let mut written = 0;
    for _ in 0..50 {
        written += stage.world.peer_write(peer, &bytes[written..]);
        stage.turn(1);
    }
    ask_for(stage, conn, &bytes[..written], Want::Chain);
    stage.peer_writes(other_peer, b"my turn");
    ask_for(stage, other, b"my turn", Want::Chain);
    stage.close(conn, true);
    stage.close(other, false);
}
