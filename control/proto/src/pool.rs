//! Addresses for clients: each is given to one session at a time, and to the same user again if it is free.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// Users whose last address is remembered.
const REMEMBERED: usize = 65_536;

/// Addresses from `first` to `last`, both included; none if `first` is above `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The lowest.
    pub first: Ipv4Addr,
    /// The highest.
    pub last: Ipv4Addr,
}

impl Range {
    fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Why a pool cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError {
    /// Two ranges share addresses.
    Overlap(Range, Range),
    /// Nothing is left to give out.
    Empty,
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap(one, other) => write!(f, "{one} and {other} overlap"),
            Self::Empty => f.write_str("no address is left to give out"),
        }
    }
}

impl std::error::Error for PoolError {}

/// The addresses of one or more ranges, without gateway and excluded addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Never given out.
    excluded: BTreeSet<Ipv4Addr>,
    /// Given only to the user they belong to; they may lie outside the ranges.
    fixed: BTreeSet<Ipv4Addr>,
    /// First and last address of each run of free addresses.
    free: BTreeMap<u32, u32>,
    taken: BTreeSet<Ipv4Addr>,
    /// Where the search for a free address goes on, so that an address rests as long as possible.
    next: u32,
    previous: BTreeMap<String, Ipv4Addr>,
}

impl Pool {
    /// Makes a pool; `fixed` addresses are kept for [`Self::allocate_fixed`].
    ///
    /// # Errors
    /// [`PoolError`] if ranges overlap or hold no address to give out.
    pub fn new(
        ranges: &[Range],
        gateway: Ipv4Addr,
        excluded: &[Ipv4Addr],
        fixed: &[Ipv4Addr],
    ) -> Result<Self, PoolError> {
        for (index, &one) in ranges.iter().enumerate() {
            let mut rest = ranges.iter().skip(index + 1).copied();
            if let Some(other) = rest.find(|other| one.overlaps(*other)) {
                return Err(PoolError::Overlap(one, other));
            }
        }
        let mut pool = Self {
            excluded: excluded.iter().copied().chain([gateway]).collect(),
            fixed: fixed.iter().copied().collect(),
            free: BTreeMap::new(),
            taken: BTreeSet::new(),
            next: 0,
            previous: BTreeMap::new(),
        };
        for range in ranges.iter().filter(|range| range.first <= range.last) {
            pool.free
                .insert(range.first.to_bits(), range.last.to_bits());
        }
        let reserved: Vec<_> = pool.excluded.union(&pool.fixed).copied().collect();
        for address in reserved {
            pool.cut(address.to_bits());
        }
        match pool.free.is_empty() && pool.fixed.is_empty() {
            true => Err(PoolError::Empty),
            false => Ok(pool),
        }
    }

    /// Gives `user` an address: its previous one if that is free. `None` if all are taken.
    pub fn allocate(&mut self, user: &str) -> Option<Ipv4Addr> {
        let previous = self.previous.get(user).map(|address| address.to_bits());
        let address = previous
            .filter(|&address| self.is_free(address))
            .or_else(|| self.next_free())?;
        self.cut(address);
        self.next = address.wrapping_add(1);
        let address = Ipv4Addr::from_bits(address);
        self.taken.insert(address);
        if self.previous.len() < REMEMBERED || self.previous.contains_key(user) {
            self.previous.insert(user.to_owned(), address);
        }
        Some(address)
    }

    /// Gives out the fixed address of a user. `None` if it is taken or not one of the fixed ones.
    pub fn allocate_fixed(&mut self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        let grantable = self.fixed.contains(&address) && !self.excluded.contains(&address);
        (grantable && self.taken.insert(address)).then_some(address)
    }

    /// Takes an address that somebody already has; one that would not be given out anyway is ignored.
    pub fn reserve(&mut self, address: Ipv4Addr) {
        if self.is_free(address.to_bits()) || self.fixed.contains(&address) {
            self.cut(address.to_bits());
            self.taken.insert(address);
        }
    }

    /// Takes an address back; one that is not taken is ignored.
    pub fn release(&mut self, address: Ipv4Addr) {
        if self.taken.remove(&address) && !self.fixed.contains(&address) {
            self.join(address.to_bits());
        }
    }

    /// Whether the address is given out.
    pub fn is_taken(&self, address: Ipv4Addr) -> bool {
        self.taken.contains(&address)
    }

    /// Number of addresses given out.
    pub fn taken_count(&self) -> usize {
        self.taken.len()
    }

    /// Number of addresses that [`Self::allocate`] can still give out.
    pub fn free_count(&self) -> u64 {
        let sizes = self
            .free
            .iter()
            .map(|(&first, &last)| u64::from(last - first) + 1);
        sizes.sum()
    }

    fn run_of(&self, address: u32) -> Option<(u32, u32)> {
        let (&first, &last) = self.free.range(..=address).next_back()?;
        (address <= last).then_some((first, last))
    }

    fn is_free(&self, address: u32) -> bool {
        self.run_of(address).is_some()
    }

    fn next_free(&self) -> Option<u32> {
        if self.is_free(self.next) {
            return Some(self.next);
        }
        let after = self.free.range(self.next..).next();
        after
            .or_else(|| self.free.first_key_value())
            .map(|(&first, _)| first)
    }

    /// Takes an address out of the run it is in.
    fn cut(&mut self, address: u32) {
        let Some((first, last)) = self.run_of(address) else {
            return;
        };
        self.free.remove(&first);
        if first < address {
            self.free.insert(first, address - 1);
        }
        if address < last {
            self.free.insert(address + 1, last);
        }
    }

    /// Puts an address back, joining the runs beside it.
    fn join(&mut self, address: u32) {
        let before = address
            .checked_sub(1)
            .and_then(|before| self.run_of(before));
        let after = address.checked_add(1).and_then(|after| self.run_of(after));
        let first = before.map_or(address, |(first, _)| first);
        let last = after.map_or(address, |(_, last)| last);
        if let Some((start, _)) = after {
            self.free.remove(&start);
        }
        self.free.insert(first, last);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pool(last: u8, excluded: &[Ipv4Addr], fixed: &[Ipv4Addr]) -> Pool {
        Pool::new(&[range(at(1), at(last))], at(1), excluded, fixed).unwrap()
    }

    const fn range(first: Ipv4Addr, last: Ipv4Addr) -> Range {
        Range { first, last }
    }

    const fn at(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 1, last)
    }

    #[test]
    fn every_host_but_the_gateway_is_given_out_once() {
        let mut pool = pool(6, &[at(3)], &[at(5)]);
        assert_eq!(pool.free_count(), 3);
        let all: Vec<_> = (0..4)
            .map(|user| pool.allocate(&format!("user{user}")))
            .collect();
        assert_eq!(all, [Some(at(2)), Some(at(4)), Some(at(6)), None]);
        assert_eq!(pool.taken_count(), 3);
    }

    #[test]
    fn a_user_gets_its_previous_address_if_it_is_free() {
        let mut pool = pool(254, &[], &[]);
        let first = pool.allocate("alice").unwrap();
        pool.release(first);
        assert_ne!(pool.allocate("bob"), Some(first));
        assert_eq!(pool.allocate("alice"), Some(first));
        assert_ne!(pool.allocate("alice"), Some(first));
    }

    #[test]
    fn an_address_rests_as_long_as_possible() {
        let mut pool = pool(6, &[], &[]);
        let mut given = Vec::new();
        for user in ["a", "b", "c", "d", "e", "f"] {
            let address = pool.allocate(user).unwrap();
            pool.release(address);
            given.push(address);
        }
        assert_eq!(given, [at(2), at(3), at(4), at(5), at(6), at(2)]);
    }

    #[test]
    fn a_fixed_address_is_given_to_one_session_and_never_to_others() {
        let outside = Ipv4Addr::new(192, 0, 2, 7);
        let mut pool = pool(6, &[], &[at(4), outside]);
        assert_eq!(pool.allocate_fixed(at(4)), Some(at(4)));
        assert_eq!(pool.allocate_fixed(at(4)), None);
        assert_eq!(pool.allocate_fixed(at(2)), None);
        assert_eq!(pool.allocate_fixed(outside), Some(outside));
        let dynamic: Vec<_> = std::iter::from_fn(|| pool.allocate("x")).collect();
        assert_eq!(dynamic, [at(2), at(3), at(5), at(6)]);
        pool.release(at(4));
        assert_eq!(pool.allocate("x"), None);
        assert_eq!(pool.allocate_fixed(at(4)), Some(at(4)));
    }

    #[test]
    fn a_fixed_address_that_is_the_gateways_is_never_given_out() {
        assert_eq!(pool(6, &[], &[at(1)]).allocate_fixed(at(1)), None);
    }

    #[test]
    fn a_reserved_address_is_given_out_only_after_its_release() {
        let mut pool = pool(3, &[], &[]);
        pool.reserve(at(2));
        assert_eq!(pool.allocate("alice"), Some(at(3)));
        assert_eq!(pool.allocate("bob"), None);
        pool.release(at(2));
        assert_eq!(pool.allocate("bob"), Some(at(2)));
    }

    #[test]
    fn a_reserved_address_that_is_not_the_pools_does_not_become_so() {
        let mut pool = pool(3, &[at(3)], &[]);
        for foreign in [at(1), at(3), at(9), Ipv4Addr::new(192, 0, 2, 7)] {
            pool.reserve(foreign);
            pool.release(foreign);
        }
        assert_eq!(pool.allocate("alice"), Some(at(2)));
        assert_eq!(pool.allocate("bob"), None);
    }

    #[test]
    fn overlapping_and_empty_pools_are_refused() {
        let (wide, narrow) = (range(at(1), at(9)), range(at(9), at(9)));
        let made = Pool::new(&[wide, narrow], at(1), &[], &[]);
        assert_eq!(made, Err(PoolError::Overlap(wide, narrow)));
        for empty in [range(at(1), at(1)), range(at(3), at(2))] {
            assert_eq!(Pool::new(&[empty], at(1), &[], &[]), Err(PoolError::Empty));
        }
        assert_eq!(Pool::new(&[], at(1), &[], &[]), Err(PoolError::Empty));
    }

    #[test]
    fn the_edges_of_the_address_space_do_not_overflow() {
        let (low, high) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        for (first, last) in [
            (low, low),
            (high, high),
            (Ipv4Addr::new(255, 255, 255, 0), high),
        ] {
            let mut pool = Pool::new(&[range(first, last)], at(1), &[], &[]).unwrap();
            let all: Vec<_> = std::iter::from_fn(|| pool.allocate("x")).collect();
            all.iter().rev().for_each(|&address| pool.release(address));
            assert_eq!(pool.free_count(), u64::try_from(all.len()).unwrap());
            assert_eq!(pool.free.len(), 1);
        }
    }

    proptest! {
        #[test]
        fn no_address_is_ever_given_out_twice(operations in prop::collection::vec((0..4_u8, 0..40_u8), 0..8_000)) {
            let mut pool = pool(30, &[at(9), at(10)], &[at(20), at(21)]);
            let whole = pool.free_count();
            let mut held: Vec<Ipv4Addr> = Vec::new();
            for (step, (operation, choice)) in operations.into_iter().enumerate() {
                let got = match operation {
                    0 | 1 => pool.allocate(&format!("user{choice}")),
                    2 => pool.allocate_fixed(at(choice)),
                    _ => {
                        if !held.is_empty() {
                            pool.release(held.swap_remove(usize::from(choice) % held.len()));
                        }
                        // Releasing what was not given out changes nothing.
                        if !held.contains(&at(choice)) {
                            pool.release(at(choice));
                        }
                        None
                    }
                };
                if let Some(address) = got {
                    prop_assert!(!held.contains(&address));
                    prop_assert!(![at(0), at(1), at(9), at(10), at(31)].contains(&address));
                    held.push(address);
                }
                if step % 500 == 0 {
                    let saved = postcard::to_stdvec(&pool).unwrap();
                    pool = postcard::from_bytes(&saved).unwrap();
                }
                let fixed = held.iter().filter(|held| [at(20), at(21)].contains(held)).count();
                let dynamic = u64::try_from(held.len() - fixed).unwrap();
                prop_assert_eq!(pool.free_count() + dynamic, whole);
            }
            held.into_iter().for_each(|address| pool.release(address));
            prop_assert_eq!(pool.free_count(), whole);
            prop_assert_eq!(pool.taken_count(), 0);
        }
    }
}
