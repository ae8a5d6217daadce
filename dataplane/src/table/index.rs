//! A fixed-size map from 64-bit keys to row numbers: open addressing with linear probing, never allocates after it is made.

use crate::mem::prefetch;

/// Marks an empty place; no row has this number.
const EMPTY: u32 = u32::MAX;

/// The map is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Maps keys to rows. Only control inserts, with keys that it chose, so a peer cannot build long probes.
#[derive(Debug)]
pub struct Index {
    places: Box<[Place]>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    key: u64,
    row: u32,
}

impl Index {
    /// Makes room for `capacity` keys at half load.
    pub fn new(capacity: u32) -> Self {
        let places = (capacity as usize)
            .max(4)
            .saturating_mul(2)
            .next_power_of_two();
        Self {
            places: vec![Place { key: 0, row: EMPTY }; places].into_boxed_slice(),
            len: 0,
        }
    }

    /// Asks the CPU for the place where `key` is looked for first.
    #[inline]
    pub fn prefetch(&self, key: u64) {
        if let Some(place) = self.places.get(self.home(key)) {
            prefetch(place);
        }
    }

    /// The row of `key`.
    #[inline]
    pub fn find(&self, key: u64) -> Option<u32> {
        let place = self.places.get(self.probe(key))?;
        (place.row != EMPTY).then_some(place.row)
    }

    /// Maps `key` to `row`, whatever it mapped to before.
    ///
    /// # Errors
    /// [`Full`] at half load.
    pub fn insert(&mut self, key: u64, row: u32) -> Result<(), Full> {
        let at = self.probe(key);
        let is_new = self.places.get(at).is_none_or(|place| place.row == EMPTY);
        if is_new && self.len >= self.places.len() / 2 {
            return Err(Full);
        }
        if let Some(place) = self.places.get_mut(at) {
            *place = Place { key, row };
            self.len += usize::from(is_new);
        }
        Ok(())
    }

    /// Forgets `key` if it maps to `row`.
    pub fn remove(&mut self, key: u64, row: u32) {
        if self.find(key) != Some(row) {
            return;
        }
        let mut hole = self.probe(key);
        let mut at = hole;
        loop {
            at = self.after(at);
            let Some(place) = self.places.get(at).copied() else {
                break;
            };
            if place.row == EMPTY {
                break;
            }
            // A key may fill the hole if its home is not between the hole and where it is now.
            if self.distance(self.home(place.key), at) >= self.distance(hole, at) {
                self.put(hole, place);
                hole = at;
            }
        }
        self.put(hole, Place { key: 0, row: EMPTY });
        self.len -= 1;
    }

    /// The place of `key`, or the empty one where it would go. Half load leaves one always empty.
    #[inline]
    fn probe(&self, key: u64) -> usize {
        let mut at = self.home(key);
        while let Some(place) = self.places.get(at) {
            if place.row == EMPTY || place.key == key {
                break;
            }
            at = self.after(at);
        }
        at
    }

    #[inline]
    const fn home(&self, key: u64) -> usize {
        let mixed = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let folded = mixed ^ (mixed >> 32);
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits matter")]
        let low = folded as usize;
        low & (self.places.len() - 1)
    }

    const fn after(&self, at: usize) -> usize {
        (at + 1) & (self.places.len() - 1)
    }

    const fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.places.len() - 1)
    }

    fn put(&mut self, at: usize, place: Place) {
        if let Some(slot) = self.places.get_mut(at) {
            *slot = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_map_says_so_and_still_finds_everything() {
        let mut index = Index::new(4);
        for key in 0..4 {
            assert_eq!(index.insert(key, 7), Ok(()));
        }
        assert_eq!(index.insert(99, 1), Err(Full));
        assert_eq!(index.insert(3, 8), Ok(()));
        assert_eq!(index.find(3), Some(8));
        assert_eq!(index.find(99), None);
    }

    #[test]
    fn a_key_that_moved_to_another_row_is_not_removed_with_the_old_one() {
        let mut index = Index::new(4);
        index.insert(1, 10).unwrap();
        index.insert(1, 11).unwrap();
        index.remove(1, 10);
        assert_eq!(index.find(1), Some(11));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_tree(steps in proptest::collection::vec((0_u64..40, 0_u32..100, any::<bool>()), 1..300)) {
            let mut index = Index::new(16);
            let mut model = BTreeMap::new();
            for (key, row, add) in steps {
                if add {
                    if index.insert(key, row).is_ok() {
                        model.insert(key, row);
                    } else {
                        prop_assert_eq!(model.len(), 16);
                    }
                } else if let Some(row) = model.remove(&key) {
                    index.remove(key, row);
                }
                for key in 0..40 {
                    prop_assert_eq!(index.find(key), model.get(&key).copied());
                }
            }
        }
    }
}
