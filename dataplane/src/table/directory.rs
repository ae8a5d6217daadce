//! Which core a client's address is on: shared by all workers, read on a miss of a core's own routes, changed by the owner alone.
//!
//! Each entry is one atomic word, so a reader sees all of it or nothing. An entry that lags behind costs a packet or two on their way, which
//! the core they come to drops as unroutable; it never leads a packet to a wrong client.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::index::Full;
use crate::api::CoreId;

/// Never used.
const EMPTY: u64 = 0;
/// Used once; looked past, and used again.
const DELETED: u64 = 1;
/// Bit that tells an entry from the two above.
const TAKEN: u64 = 2;
/// Places looked at for one address. At a quarter of the load, more than a few in a row are taken by bad luck only.
const PROBES: usize = 64;

/// The directory.
#[derive(Debug)]
pub struct Directory(Box<[AtomicU64]>);

impl Directory {
    /// Makes room for `capacity` addresses at a quarter of the load.
    pub fn new(capacity: usize) -> Self {
        let places = capacity.max(PROBES).saturating_mul(4).next_power_of_two();
        Self((0..places).map(|_| AtomicU64::new(EMPTY)).collect())
    }

    /// The core that `address` is on.
    pub fn find(&self, address: Ipv4Addr) -> Option<CoreId> {
        for place in self.places(address) {
            let found = place.load(Ordering::Acquire);
            if found == EMPTY {
                return None;
            }
            if found & TAKEN != 0 && found >> 32 == u64::from(address.to_bits()) {
                return Some(CoreId(found.to_be_bytes()[6]));
            }
        }
        None
    }

    /// Enters `address` as being on `core`.
    ///
    /// # Errors
    /// [`Full`] if there is no place near its own.
    pub fn insert(&self, address: Ipv4Addr, core: CoreId) -> Result<(), Full> {
        let entry = entry(address, core);
        for place in self.places(address) {
            let found = place.load(Ordering::Relaxed);
            let is_free = found == EMPTY || found == DELETED;
            if is_free
                && place
                    .compare_exchange(found, entry, Ordering::Release, Ordering::Relaxed)
                    .is_ok()
            {
                return Ok(());
            }
        }
        Err(Full)
    }

    /// Strikes `address` out, if it is on `core`.
    pub fn remove(&self, address: Ipv4Addr, core: CoreId) {
        let entry = entry(address, core);
        for place in self.places(address) {
            if place
                .compare_exchange(entry, DELETED, Ordering::Release, Ordering::Relaxed)
                .is_ok()
            {
                return;
            }
        }
    }

    fn places(&self, address: Ipv4Addr) -> impl Iterator<Item = &AtomicU64> {
        let mask = self.0.len() - 1;
        let home = (address.to_bits().wrapping_mul(0x9E37_79B1) >> 7) as usize;
        (0..PROBES).filter_map(move |step| self.0.get((home + step) & mask))
    }
}

fn entry(address: Ipv4Addr, core: CoreId) -> u64 {
    (u64::from(address.to_bits()) << 32) | (u64::from(core.0) << 8) | TAKEN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0A00_0000 + n)
    }

    #[test]
    fn an_address_is_found_on_its_core_until_it_is_struck_out() {
        let directory = Directory::new(1_000);
        for n in 0..1_000 {
            directory
                .insert(address(n), CoreId(u8::try_from(n % 7).unwrap()))
                .unwrap();
        }
        for n in 0..1_000 {
            assert_eq!(
                directory.find(address(n)),
                Some(CoreId(u8::try_from(n % 7).unwrap()))
            );
        }
        directory.remove(address(5), CoreId(4));
        assert_eq!(directory.find(address(5)), Some(CoreId(5)));
        directory.remove(address(5), CoreId(5));
        assert_eq!(directory.find(address(5)), None);
        assert_eq!(directory.find(address(2_000)), None);
    }

    #[test]
    fn places_are_used_again() {
        let directory = Directory::new(4);
        for round in 0..10_000 {
            directory.insert(address(round), CoreId(1)).unwrap();
            directory.remove(address(round), CoreId(1));
        }
        assert_eq!(directory.find(address(9_999)), None);
    }

    #[test]
    fn an_address_that_moves_is_found_on_one_core_or_the_other() {
        let directory = Directory::new(16);
        directory.insert(address(1), CoreId(0)).unwrap();
        directory.insert(address(1), CoreId(1)).unwrap();
        directory.remove(address(1), CoreId(0));
        assert_eq!(directory.find(address(1)), Some(CoreId(1)));
    }
}
