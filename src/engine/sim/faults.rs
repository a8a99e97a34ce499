//! Which faults a run has, and how often each strikes.
//!
//! Swarm style: a seed first draws *which* faults exist at all, then how frequent each is. A run
//! with every fault at once hides as much as a run with none; most bugs need two or three.
//! Probabilities are ratios of integers, so that a seed means the same on every machine.

use crate::limits::EVENTS_PER_TURN;
use crate::prng::Prng;

/// How often something happens: `numerator` times out of `denominator`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ratio {
    numerator: u32,
    denominator: u32,
}

impl Ratio {
    /// It always happens.
    pub const ALWAYS: Self = Self::new(1, 1);

    /// It never happens.
    pub const NEVER: Self = Self::new(0, 1);

    /// # Panics
    /// If `denominator` is zero.
    #[must_use]
    pub const fn new(numerator: u32, denominator: u32) -> Self {
        assert!(denominator > 0, "a ratio needs a denominator");
        Self { numerator, denominator }
    }

    /// Decides once. A ratio of zero draws nothing, so an absent fault does not disturb the rest.
    pub const fn hits(self, prng: &mut Prng) -> bool {
        self.numerator > 0 && prng.chance(self.numerator as u64, self.denominator as u64)
    }

    /// Absent half of the time, else between one in two and one in `rarest`.
    fn draw(prng: &mut Prng, rarest: u64) -> Self {
        if prng.chance(1, 2) {
            return Self::NEVER;
        }
        let denominator = u32::try_from(2 + prng.below(rarest - 1)).unwrap_or(u32::MAX);
        Self::new(1, denominator)
    }
}

/// The faults of one run. All of them stay within the engine's contract, except that late
/// wake-ups stretch its seventh rule, as a suspended machine does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Faults {
    /// A receive brings less than what has arrived.
    pub short_reads: Ratio,
    /// A receive that may bring a chain brings one, of pieces of any length.
    pub chained_reads: Ratio,
    /// A send takes less than there is room for.
    pub short_writes: Ratio,
    /// A send that found too little room waits for more instead of reporting a short write, as a
    /// ring's send with `MSG_WAITALL` does.
    pub whole_sends: Ratio,
    /// A ready operation completes later than it could.
    pub late_completions: Ratio,
    /// How much later, at most, in milliseconds.
    pub completion_delay_ms_max: u64,
    /// What a segment may need from one end to the other, at most, in milliseconds.
    pub latency_ms_max: u64,
    /// One write arrives in several pieces.
    pub split_segments: Ratio,
    /// Happenings of the same millisecond take place in any order.
    pub shuffle: bool,
    /// The network breaks a connection instead of delivering a segment.
    pub broken_connections: Ratio,
    /// An established connection takes this long at most, in milliseconds.
    pub connect_delay_ms_max: u64,
    /// A connect is never answered.
    pub connect_hangs: Ratio,
    /// A connect is refused although somebody listens.
    pub connect_refused: Ratio,
    /// A connect finds no way to the host.
    pub connect_unreachable: Ratio,
    /// A connect finds no free descriptor (`EMFILE`).
    pub connect_no_descriptor: Ratio,
    /// An accept finds no free descriptor (`EMFILE`).
    pub accept_no_descriptor: Ratio,
    /// An accept loses its client (`ECONNABORTED`).
    pub accept_aborted: Ratio,
    /// An operation that could succeed does, although it was cancelled.
    pub cancels_lost: Ratio,
    /// A wait ends later than asked.
    pub late_wakes: Ratio,
    /// How much later, at most, in milliseconds.
    pub late_wake_ms_max: u64,
    /// A wait ends before anything happened.
    pub early_wakes: Ratio,
    /// The mailbox wakes the worker and holds nothing.
    pub false_mail: Ratio,
    /// Receives find no memory while this many chunks are lent.
    pub chunks_out_max: usize,
    /// A receive that would like a pipe finds none, and copies.
    pub no_pipe: Ratio,
    /// What one pipe holds at most.
    pub pipe_bytes: usize,
    /// Bytes one direction of a connection holds before its writer must wait.
    pub socket_buffer_bytes: usize,
    /// Events one wait reports at most.
    pub events_per_turn: usize,
    /// A peer's program notices things this late at most, in milliseconds.
    pub peer_delay_ms_max: u64,
}

impl Faults {
    /// A perfect kernel, network and machine.
    pub const NONE: Self = Self {
        short_reads: Ratio::NEVER,
        chained_reads: Ratio::NEVER,
        short_writes: Ratio::NEVER,
        whole_sends: Ratio::NEVER,
        late_completions: Ratio::NEVER,
        completion_delay_ms_max: 0,
        latency_ms_max: 0,
        split_segments: Ratio::NEVER,
        shuffle: false,
        broken_connections: Ratio::NEVER,
        connect_delay_ms_max: 0,
        connect_hangs: Ratio::NEVER,
        connect_refused: Ratio::NEVER,
        connect_unreachable: Ratio::NEVER,
        connect_no_descriptor: Ratio::NEVER,
        accept_no_descriptor: Ratio::NEVER,
        accept_aborted: Ratio::NEVER,
        cancels_lost: Ratio::NEVER,
        late_wakes: Ratio::NEVER,
        late_wake_ms_max: 0,
        early_wakes: Ratio::NEVER,
        false_mail: Ratio::NEVER,
        chunks_out_max: usize::MAX,
        no_pipe: Ratio::NEVER,
        pipe_bytes: 64 * 1024,
        socket_buffer_bytes: 64 * 1024,
        events_per_turn: EVENTS_PER_TURN,
        peer_delay_ms_max: 0,
    };

    /// Draws which faults a run has.
    #[must_use]
    pub fn draw(prng: &mut Prng) -> Self {
        Self {
            short_reads: Ratio::draw(prng, 8),
            chained_reads: Ratio::draw(prng, 3),
            short_writes: Ratio::draw(prng, 8),
            whole_sends: Ratio::draw(prng, 2),
            late_completions: Ratio::draw(prng, 8),
            completion_delay_ms_max: pick(prng, &[1, 10, 100]),
            latency_ms_max: pick(prng, &[0, 0, 2, 40, 300]),
            split_segments: Ratio::draw(prng, 4),
            shuffle: prng.chance(3, 4),
            broken_connections: Ratio::draw(prng, 256),
            connect_delay_ms_max: pick(prng, &[0, 5, 100, 1_000]),
            connect_hangs: Ratio::draw(prng, 16),
            connect_refused: Ratio::draw(prng, 16),
            connect_unreachable: Ratio::draw(prng, 32),
            connect_no_descriptor: Ratio::draw(prng, 32),
            accept_no_descriptor: Ratio::draw(prng, 16),
            accept_aborted: Ratio::draw(prng, 16),
            cancels_lost: Ratio::draw(prng, 4),
            late_wakes: Ratio::draw(prng, 512),
            late_wake_ms_max: pick(prng, &[20, 1_000, 8_000]),
            early_wakes: Ratio::draw(prng, 16),
            false_mail: Ratio::draw(prng, 32),
            chunks_out_max: pick(prng, &[usize::MAX, usize::MAX, 2, 5]),
            socket_buffer_bytes: pick(prng, &[200, 1_500, 6_000, 64 * 1024, 256 * 1024]),
            events_per_turn: pick(prng, &[1, 3, EVENTS_PER_TURN, EVENTS_PER_TURN]),
            peer_delay_ms_max: pick(prng, &[0, 0, 3, 50]),
            no_pipe: Ratio::draw(prng, 8),
            pipe_bytes: pick(prng, &[50, 1_000, 8 * 1024, 256 * 1024]),
        }
    }

    /// The same machine with nothing going wrong any more: what remains is slowness, small buffers
    /// and odd orders, none of which excuses a program that does not finish.
    #[must_use]
    pub fn calmed(&self) -> Self {
        Self {
            broken_connections: Ratio::NEVER,
            connect_hangs: Ratio::NEVER,
            connect_refused: Ratio::NEVER,
            connect_unreachable: Ratio::NEVER,
            connect_no_descriptor: Ratio::NEVER,
            accept_no_descriptor: Ratio::NEVER,
            accept_aborted: Ratio::NEVER,
            late_wakes: Ratio::NEVER,
            ..self.clone()
        }
    }
}

fn pick<T: Copy>(prng: &mut Prng, choices: &[T]) -> T {
    let index = usize::try_from(prng.below(choices.len() as u64)).unwrap_or(0);
    choices[index]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_fault_never_strikes_and_draws_nothing() {
        let mut prng = Prng::new(3);
        let before = prng.clone().next_u64();
        assert!(!(0..100).any(|_| Ratio::NEVER.hits(&mut prng)));
        assert_eq!(prng.next_u64(), before);
        assert!((0..100).all(|_| Ratio::ALWAYS.hits(&mut prng)));
    }

    #[test]
    fn every_fault_is_absent_in_some_seeds_and_present_in_others() {
        let drawn: Vec<Faults> = (0..64).map(|seed| Faults::draw(&mut Prng::new(seed))).collect();
        for ratio in [
            |f: &Faults| f.short_reads,
            |f: &Faults| f.broken_connections,
            |f: &Faults| f.cancels_lost,
            |f: &Faults| f.late_wakes,
        ] {
            let absent = drawn.iter().filter(|f| ratio(f) == Ratio::NEVER).count();
            assert!((16..48).contains(&absent), "absent in {absent} of 64 seeds");
        }
        assert!(drawn.iter().any(|f| f.chunks_out_max == 2));
    }
}
