//! Which chunks are lent to the kernel by one ring (R5).

/// A set of chunk numbers below a bound fixed at creation.
#[derive(Debug)]
pub(super) struct Lent {
    bits: Box<[u64]>,
    count: usize,
}

impl Lent {
    /// An empty set for chunks 0 to `total` − 1.
    pub(super) fn new(total: usize) -> Self {
        Self {
            bits: vec![0; total.div_ceil(64)].into_boxed_slice(),
            count: 0,
        }
    }

    /// Adds a chunk; returns whether it was not in the set.
    pub(super) fn lend(&mut self, chunk: usize) -> bool {
        let Some(word) = self.bits.get_mut(chunk / 64) else {
            return false;
        };
        let bit = 1 << (chunk % 64);
        let fresh = *word & bit == 0;
        *word |= bit;
        self.count += usize::from(fresh);
        fresh
    }

    /// Removes a chunk; returns whether it was in the set.
    pub(super) fn take_back(&mut self, chunk: usize) -> bool {
        let Some(word) = self.bits.get_mut(chunk / 64) else {
            return false;
        };
        let bit = 1 << (chunk % 64);
        let lent = *word & bit != 0;
        *word &= !bit;
        self.count -= usize::from(lent);
        lent
    }

    /// How many are in the set.
    pub(super) const fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_comes_back_once() {
        let mut lent = Lent::new(70);
        assert!(lent.lend(69));
        assert!(!lent.lend(69));
        assert_eq!(lent.count(), 1);
        assert!(lent.take_back(69));
        assert!(!lent.take_back(69));
        assert_eq!(lent.count(), 0);
    }

    #[test]
    fn a_chunk_that_was_not_lent_does_not_come_back() {
        let mut lent = Lent::new(64);
        assert!(!lent.take_back(3));
        assert!(!lent.take_back(usize::MAX));
        assert!(!lent.lend(64));
        assert_eq!(lent.count(), 0);
    }
}
