//! Names for connections and for the operations in flight on them.
//!
//! A [`Token`] is what an engine gives the kernel with an operation and gets back with its
//! completion. The generation in it makes a completion of an earlier tenant of the same slot
//! recognisable: such a completion returns its memory and touches nothing else.

/// A connection: an index into the worker's table and the generation of its tenant.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnId {
    index: u32,
    generation: u32,
}

impl ConnId {
    /// The eventfd through which other threads wake a worker; never in the table.
    pub const MAILBOX: Self = Self { index: u32::MAX, generation: 0 };

    /// How many generations there are before they wrap; 24 bits fit beside a lane in a token.
    pub const GENERATIONS: u32 = 1 << 24;

    /// Makes an id; the generation is taken modulo [`Self::GENERATIONS`].
    #[must_use]
    pub const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation: generation % Self::GENERATIONS }
    }

    /// The slot in the connection table.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// Which tenant of the slot is meant.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// A connection has at most one operation in flight per lane.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Lane {
    /// `Accept` and `Recv`.
    Recv = 0,
    /// `Connect`, `Send` and `Shutdown`.
    Send = 1,
    /// `Cancel` and `Close`.
    Control = 2,
}

/// A connection and a lane, packed into the 64 bits that travel with a kernel operation.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Token(u64);

impl Token {
    /// Packs: index in the high 32 bits, generation in the next 24, lane in the low 8.
    #[must_use]
    pub const fn new(conn: ConnId, lane: Lane) -> Self {
        Self((conn.index as u64) << 32 | (conn.generation as u64) << 8 | lane as u64)
    }

    /// The 64 bits for the kernel.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Reads what [`Self::bits`] gave; `None` if the lane byte is not one of ours.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the fields are cut out on purpose")]
    pub const fn unpack(bits: u64) -> Option<(ConnId, Lane)> {
        let lane = match bits & 0xff {
            0 => Lane::Recv,
            1 => Lane::Send,
            2 => Lane::Control,
            _ => return None,
        };
        let index = (bits >> 32) as u32;
        let generation = (bits >> 8) as u32 & (ConnId::GENERATIONS - 1);
        Some((ConnId { index, generation }, lane))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_back_what_went_in() {
        for index in [0, 1, 77, u32::MAX] {
            for generation in [0, 1, ConnId::GENERATIONS - 1] {
                for lane in [Lane::Recv, Lane::Send, Lane::Control] {
                    let id = ConnId::new(index, generation);
                    assert_eq!(Token::unpack(Token::new(id, lane).bits()), Some((id, lane)));
                }
            }
        }
        assert_eq!(Token::unpack(0xff), None);
    }
}
