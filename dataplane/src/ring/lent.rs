//! Which chunks are lent to the kernel by one ring (R5).

/// The number of a chunk that has just been taken back: the right to make one frame of it.
///
/// Not `Copy`, and made by [`Lent::take_back`] alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Returned(usize);

impl Returned {
    pub(super) const fn number(&self) -> usize {
        self.0
    }
}

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

    /// The set of all chunks of a new UMEM, which no frame owns yet.
    pub(super) fn of_new_umem(total: usize) -> Self {
        let mut lent = Self::new(total);
        for chunk in 0..total {
            lent.lend(chunk);
        }
        lent
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

    /// Removes a chunk, if it was in the set.
    pub(super) fn take_back(&mut self, chunk: usize) -> Option<Returned> {
        let word = self.bits.get_mut(chunk / 64)?;
        let bit = 1 << (chunk % 64);
        if *word & bit == 0 {
            return None;
        }
        *word &= !bit;
        self.count -= 1;
        Some(Returned(chunk))
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
        assert_eq!(lent.take_back(69), Some(Returned(69)));
        assert_eq!(lent.take_back(69), None);
        assert_eq!(lent.count(), 0);
    }

    #[test]
    fn a_chunk_that_was_not_lent_does_not_come_back() {
        let mut lent = Lent::new(64);
        assert_eq!(lent.take_back(3), None);
        assert_eq!(lent.take_back(usize::MAX), None);
        assert!(!lent.lend(64));
        assert_eq!(lent.count(), 0);
    }

    #[test]
    fn of_a_new_umem_each_chunk_is_taken_once() {
        let mut lent = Lent::of_new_umem(65);
        assert_eq!(lent.count(), 65);
        assert!((0..65).all(|chunk| lent.take_back(chunk).is_some()));
        assert_eq!(lent.take_back(64), None);
        assert_eq!(lent.take_back(65), None);
    }
}
