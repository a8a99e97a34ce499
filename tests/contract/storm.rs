//! A scenario drawn by dice: many connections, every operation, every kind of end, too few chunks.
//!
//! The stage holds each event against the contract; the storm checks that no stream loses,
//! repeats or mixes up a byte, and that afterwards everything is home.

use upsplice::conn::{Addr, ConnId, Event, Lane, Load, Op, Want};
use upsplice::prng::Prng;

use crate::stage::Stage;
use crate::world::{Family, Peer, PeerRead, World};

/// Steps of one storm.
const STEPS: usize = 2_000;

/// Most guests at a time.
const GUESTS_MAX: usize = 20;

/// Most received loads that the storm keeps from the pool.
const KEPT_MAX: usize = 6;

/// A connection in the storm, and how far its two streams have come.
struct Guest {
    conn: ConnId,
    peer: Peer,
    /// Bytes the peer wrote and the engine received.
    written: usize,
    received: usize,
    /// Bytes the engine sent and the peer read.
    sent: usize,
    read: usize,
    sending: usize,
    peer_gone: bool,
    peer_ended: bool,
    we_ended: bool,
    /// An operation failed or the stream ended: only closing is left.
    over: bool,
}

/// The bytes of a stream from one position on; each guest's and each direction's are different.
fn stream(salt: usize, from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|n| (n * 7 + (n >> 8) + salt).to_le_bytes()[0]).collect()
}

/// Plays a storm.
pub(crate) fn storm<W: World>(stage: &mut Stage<W>, seed: u64) {
    let (listener, addr) = stage.listener("listener", Family::Tcp);
    let mut storm = Storm { dice: Prng::new(seed), listener, addr, guests: vec![], kept: vec![] };
    for _ in 0..STEPS {
        storm.step(stage);
        let ms = u64::from(storm.dice.chance(1, 8));
        stage.turn(ms);
        storm.hear(stage);
    }
    storm.end(stage);
}

struct Storm {
    dice: Prng,
    listener: ConnId,
    addr: Addr,
    guests: Vec<Guest>,
    kept: Vec<Event>,
}

impl Storm {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.dice.below(bound as u64)).expect("small")
    }

    /// Does one thing, to a random guest if there is one.
    fn step<W: World>(&mut self, stage: &mut Stage<W>) {
        let thing = self.below(16);
        if thing == 0 && self.guests.len() < GUESTS_MAX {
            return self.welcome(stage);
        }
        if self.guests.is_empty() {
            return;
        }
        let index = self.below(self.guests.len());
        // As often a few bytes as many.
        let magnitude = 1 + self.below(18);
        let size = 1 + self.below(1 << magnitude);
        let rarely = self.dice.chance(1, 20);
        let guest = &mut self.guests[index];
        let conn = guest.conn;
        match thing {
            1..=4 if !guest.over && !stage.busy(conn, Lane::Recv) => {
                let want = if size.is_multiple_of(2) { Want::Chain } else { Want::Copy };
                stage.push(conn, Op::Recv(want));
            }
            5..=7 if !guest.over && !guest.we_ended && !stage.busy(conn, Lane::Send) => {
                guest.sending = size;
                let bytes = stream(guest.peer.0 + 100, guest.sent, size);
                stage.push(conn, Op::Send(Load::owned(bytes)));
            }
            8..=10 if !guest.peer_gone && !guest.peer_ended => {
                let bytes = stream(guest.peer.0, guest.written, size);
                guest.written += stage.world.peer_write(guest.peer, &bytes);
            }
            11 | 12 => guest.peer_reads(stage, size),
            13 if rarely && !guest.over && !guest.we_ended && !stage.busy(conn, Lane::Send) => {
                guest.we_ended = true;
                stage.push(conn, Op::Shutdown);
            }
            13 if !guest.over && !stage.busy(conn, Lane::Control) => stage.push(conn, Op::Cancel),
            14 if rarely && !guest.peer_gone && !guest.peer_ended => {
                guest.peer_ended = true;
                stage.world.peer_shutdown(guest.peer);
            }
            14 if rarely && !guest.peer_gone => {
                guest.peer_gone = true;
                let reset = self.dice.chance(1, 2);
                stage.world.peer_close(guest.peer, reset);
            }
            15 if (rarely || guest.over) && !stage.busy(conn, Lane::Control) => {
                let guest = self.guests.swap_remove(index);
                let reset = self.dice.chance(1, 2);
                stage.close(guest.conn, reset);
            }
            15 => {
                if let Some(event) = self.kept.pop() {
                    stage.home(event);
                }
            }
            _ => {}
        }
    }

    fn welcome<W: World>(&mut self, stage: &mut Stage<W>) {
        let peer = stage.world.peer_connect(&self.addr);
        let conn = stage.accept(self.listener, &format!("guest {}", peer.0));
        self.guests.push(Guest {
            conn,
            peer,
            written: 0,
            received: 0,
            sent: 0,
            read: 0,
            sending: 0,
            peer_gone: false,
            peer_ended: false,
            we_ended: false,
            over: false,
        });
    }

    /// Takes what arrived.
    fn hear<W: World>(&mut self, stage: &mut Stage<W>) {
        for guest in &mut self.guests {
            if let Some(event) = stage.arrived(guest.conn, Lane::Recv)
                && let Some(event) = guest.heard_recv(stage, event)
            {
                self.kept.push(event);
            }
            if let Some(event) = stage.arrived(guest.conn, Lane::Send) {
                guest.heard_send(event);
            }
            let _ = stage.arrived(guest.conn, Lane::Control);
        }
        while self.kept.len() > KEPT_MAX {
            stage.home(self.kept.remove(0));
        }
    }

    /// Closes all that is left.
    fn end<W: World>(mut self, stage: &mut Stage<W>) {
        self.kept.drain(..).for_each(|event| stage.home(event));
        for guest in self.guests.drain(..) {
            stage.close(guest.conn, false);
        }
        stage.close(self.listener, false);
    }
}

impl Guest {
    /// Checks the outcome of a receive; gives back one that holds a chunk.
    fn heard_recv<W: World>(&mut self, stage: &Stage<W>, event: Event) -> Option<Event> {
        match &event {
            Event::Received(load) if load.is_empty() => {
                assert!(self.peer_ended || self.peer_gone, "an end that nobody made");
                if self.peer_ended && !self.peer_gone {
                    assert_eq!(self.received, self.written, "the end came before the last byte");
                }
                self.over = true;
                None
            }
            Event::Received(load) => {
                let bytes: Vec<u8> = stage.chunks.pieces(load).flatten().copied().collect();
                assert_eq!(bytes, stream(self.peer.0, self.received, bytes.len()));
                self.received += bytes.len();
                assert!(self.received <= self.written);
                Some(event)
            }
            Event::Failed { errno: libc::ECANCELED, .. } => None,
            Event::Failed { .. } => {
                assert!(self.peer_gone, "{event:?} out of nothing");
                self.over = true;
                None
            }
            other => panic!("{other:?}"),
        }
    }

    fn heard_send(&mut self, event: Event) {
        match event {
            Event::Sent(rest) => self.sent += self.sending - rest.len(),
            Event::Failed { errno, load: Some(rest) } => {
                self.sent += self.sending - rest.len();
                assert!(errno == libc::ECANCELED || self.peer_gone, "errno {errno}");
                self.over |= errno != libc::ECANCELED;
            }
            Event::Shut => {}
            Event::Failed { .. } => {
                assert!(self.peer_gone, "{event:?}");
                self.over = true;
            }
            other => panic!("{other:?}"),
        }
    }

    fn peer_reads<W: World>(&mut self, stage: &mut Stage<W>, limit: usize) {
        if self.peer_gone {
            return;
        }
        match stage.world.peer_read(self.peer, limit) {
            PeerRead::Bytes(bytes) => {
                assert_eq!(bytes, stream(self.peer.0 + 100, self.read, bytes.len()));
                self.read += bytes.len();
            }
            PeerRead::Nothing => {}
            PeerRead::End => assert!(self.we_ended, "an end that we did not make"),
            PeerRead::Reset => panic!("a reset that nobody sent"),
        }
    }
}
