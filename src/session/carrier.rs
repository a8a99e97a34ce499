//! Which carrier a direction of a tunnel asks for: the operator's word, or what the stream has
//! proven to be.
//!
//! Copying is cheapest for messages, a pipe for bulk (`docs/DECISIONS.md` has the table). With
//! `splice auto` a direction begins with copies, is promoted to pipes when large receives prevail,
//! and demoted after receives in a row that were small. A carrier is only what the
//! *next* receive is asked to use: what is in hand is written first, in whatever it came, so a
//! switch can neither lose nor reorder a byte. Deliberately absent: how a carrier moves anything
//! (the engine knows), and clocks.

use crate::config::model::{Bulk, Settings, Splice};
use crate::conn::{ConnId, Want};

/// The settings that decide.
#[derive(Clone, Copy, Debug)]
pub(super) struct CarrierPolicy {
    splice: Splice,
    bulk: Bulk,
}

impl CarrierPolicy {
    /// Takes what a tunnel needs of the settings.
    #[must_use]
    pub(super) const fn of(settings: &Settings) -> Self {
        Self { splice: settings.splice, bulk: settings.bulk }
    }
}

/// What one direction has proven to be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Carrier {
    /// True exactly while the stream counts as bulk.
    bulk: bool,
    /// Receives that spoke for the other state, less those that did not; in a row, for messages.
    run: u8,
}

impl Carrier {
    /// How the next receive should bring its bytes to `sink`.
    #[must_use]
    pub(super) const fn want(self, policy: CarrierPolicy, sink: ConnId) -> Want {
        match policy.splice {
            Splice::Off => Want::Chain,
            Splice::Auto if !self.bulk => Want::Chain,
            Splice::Auto | Splice::Pipe => Want::Pipe,
            Splice::Linked => Want::Linked(sink),
        }
    }

    /// Takes note of a receive of `len` bytes.
    pub(super) const fn received(&mut self, len: usize, policy: CarrierPolicy) {
        let Bulk { bytes, proof, small, quiet } = policy.bulk;
        // Two thresholds: a pipe that is drained faster than it fills brings less at a time than a
        // copy did, and the stream is bulk none the less.
        let (speaks, enough) = match self.bulk {
            false => (len >= bytes as usize, proof),
            true => (len < small as usize, quiet),
        };
        self.run = match (speaks, self.bulk) {
            (true, _) => self.run + 1,
            // One that is cut short, by the bound on reading ahead or by chance, is no proof to the
            // contrary: it takes one step back.
            (false, false) => self.run.saturating_sub(1),
            (false, true) => 0,
        };
        if self.run >= enough {
            *self = Self { bulk: !self.bulk, run: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINK: ConnId = ConnId::new(3, 1);
    const AUTO: CarrierPolicy = CarrierPolicy {
        splice: Splice::Auto,
        bulk: Bulk { bytes: 100, proof: 3, small: 50, quiet: 2 },
    };

    /// The wants after each of these receives.
    fn wants(policy: CarrierPolicy, lens: &[usize]) -> Vec<Want> {
        let mut carrier = Carrier::default();
        let after = lens.iter().map(|&len| {
            carrier.received(len, policy);
            carrier.want(policy, SINK)
        });
        after.collect()
    }

    #[test]
    fn bulk_is_promoted_and_quiet_is_demoted() {
        let (copy, pipe) = (Want::Chain, Want::Pipe);
        assert_eq!(Carrier::default().want(AUTO, SINK), copy);
        assert_eq!(wants(AUTO, &[100, 99, 100, 99, 100, 99]), [copy; 6], "never three more");
        assert_eq!(wants(AUTO, &[100, 100, 99, 100, 100]), [copy, copy, copy, copy, pipe]);
        assert_eq!(wants(AUTO, &[100, 100, 500]), [copy, copy, pipe]);
        assert_eq!(
            wants(AUTO, &[100, 100, 100, 1, 50, 1, 1, 100]),
            [copy, copy, pipe, pipe, pipe, pipe, copy, copy],
            "two small ones in a row, not two in all"
        );
    }

    #[test]
    fn the_operators_word_is_not_argued_with() {
        let of = |splice| CarrierPolicy { splice, ..AUTO };
        assert_eq!(wants(of(Splice::Off), &[100; 5]), [Want::Chain; 5]);
        assert_eq!(wants(of(Splice::Pipe), &[1; 5]), [Want::Pipe; 5]);
        assert_eq!(wants(of(Splice::Linked), &[1; 5]), [Want::Linked(SINK); 5]);
    }
}
