//! Numbers that name rows: inbound SPIs and SA set rows.
//!
//! ```text
//!  inbound SPI   | shard (10 bits) | row (10 bits) | random tag (12 bits) |
//! ```
//! Rows are handed out going round, so that a row that was given back rests as long as the pool allows: a packet of its last owner
//! then meets an empty row or, by the tag, a stranger.

use std::collections::BTreeSet;
use std::ops::Range;

use culvert_wire::id::Spi;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

/// Bits of the tag.
const TAG_BITS: u32 = 12;
/// Bits of a row within its shard.
const ROW_BITS: u32 = 10;

/// Rows of one table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rows {
    range: Range<u32>,
    next: u32,
    taken: BTreeSet<u32>,
}

impl Rows {
    /// All rows of `range`, free.
    pub const fn new(range: Range<u32>) -> Self {
        let next = range.start;
        Self {
            range,
            next,
            taken: BTreeSet::new(),
        }
    }

    /// Takes a free row, the one that has rested longest in the order of going round; `None` if all are taken.
    pub fn take(&mut self) -> Option<u32> {
        let row = self
            .first_free(self.next..self.range.end)
            .or_else(|| self.first_free(self.range.start..self.next))?;
        self.taken.insert(row);
        self.next = if row + 1 < self.range.end {
            row + 1
        } else {
            self.range.start
        };
        Some(row)
    }

    /// Gives a row back.
    pub fn give_back(&mut self, row: u32) {
        self.taken.remove(&row);
    }

    /// Takes one certain row, whether it is free or not.
    pub fn reserve(&mut self, row: u32) {
        self.taken.insert(row);
    }

    /// Number of rows taken.
    pub fn taken(&self) -> usize {
        self.taken.len()
    }

    fn first_free(&self, range: Range<u32>) -> Option<u32> {
        let mut candidate = range.start;
        for &taken in self.taken.range(range.clone()) {
            if taken != candidate {
                break;
            }
            candidate += 1;
        }
        (candidate < range.end).then_some(candidate)
    }
}

/// Inbound SPIs of one core.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spis {
    rows: Rows,
}

impl Spis {
    /// The SPIs of `shards`, each within 0 to 1,023.
    pub fn new(shards: Range<u16>) -> Self {
        let start = u32::from(shards.start) << ROW_BITS;
        let end = u32::from(shards.end.min(1 << 10)) << ROW_BITS;
        // Row 0 of shard 0 is left out: with a small tag its SPIs would be the reserved 0 to 255 (RFC 4303 §2.1).
        Self {
            rows: Rows::new(start.max(1)..end.max(1)),
        }
    }

    /// Takes a row and gives it a random tag; `None` if all rows are taken.
    pub fn take(&mut self, rng: &mut dyn CryptoRng) -> Option<Spi> {
        let row = self.rows.take()?;
        Some(Spi((row << TAG_BITS) | (rng.next_u32() >> (32 - TAG_BITS))))
    }

    /// Gives an SPI's row back.
    pub fn give_back(&mut self, spi: Spi) {
        self.rows.give_back(spi.0 >> TAG_BITS);
    }

    /// Takes the row of one certain SPI, whether it is free or not.
    pub fn reserve(&mut self, spi: Spi) {
        self.rows.reserve(spi.0 >> TAG_BITS);
    }

    /// Number of SPIs taken.
    pub fn taken(&self) -> usize {
        self.rows.taken()
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn a_row_given_back_is_the_last_to_be_taken_again() {
        let mut rows = Rows::new(0..4);
        assert_eq!(rows.take(), Some(0));
        rows.give_back(0);
        let taken: Vec<_> = std::iter::from_fn(|| rows.take()).collect();
        assert_eq!(taken, [1, 2, 3, 0]);
        assert_eq!(rows.take(), None);
        rows.give_back(2);
        assert_eq!(rows.take(), Some(2));
    }

    #[test]
    fn spis_are_of_their_shards_unique_and_never_reserved() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut spis = Spis::new(0..2);
        let taken: BTreeSet<u32> = std::iter::from_fn(|| spis.take(&mut rng))
            .map(|spi| spi.0 >> TAG_BITS)
            .collect();
        assert_eq!(taken.len(), 2_047);
        assert_eq!(taken.first(), Some(&1));
        assert!(taken.iter().all(|index| index >> ROW_BITS < 2));
        let mut spis = Spis::new(5..6);
        assert_eq!(spis.take(&mut rng).unwrap().0 >> 22, 5);
    }

    #[test]
    fn tags_differ_between_owners_of_a_row() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut spis = Spis::new(1_023..1_024);
        let mut tags = BTreeSet::new();
        for _ in 0..64 {
            let spi = spis.take(&mut rng).unwrap();
            tags.insert(spi.0 & 0xFFF);
            spis.give_back(spi);
        }
        assert!(tags.len() > 56);
        assert_eq!(spis.taken(), 0);
    }
}
