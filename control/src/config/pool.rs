//! Ranges of client addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Addresses from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Range {
    /// The lowest.
    pub first: Ipv4Addr,
    /// The highest.
    pub last: Ipv4Addr,
}

impl Range {
    /// Whether `address` is among them.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// Whether the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The range as network prefixes (address, bits), in order; 62 at most.
    pub fn prefixes(self) -> Vec<(Ipv4Addr, u8)> {
        let mut prefixes = Vec::new();
        let (mut next, end) = (
            u64::from(self.first.to_bits()),
            u64::from(self.last.to_bits()),
        );
        while next <= end {
            let free = next.trailing_zeros().min(32);
            let fits = (end - next + 1).ilog2();
            let size = free.min(fits);
            let Ok(address) = u32::try_from(next) else {
                break;
            };
            // size is at most 32
            let bits = u8::try_from(32 - size).unwrap_or(0);
            prefixes.push((Ipv4Addr::from_bits(address), bits));
            next += 1 << size;
        }
        prefixes
    }
}

impl FromStr for Range {
    type Err = ();

    /// `first-last`, or `address/bits`: then the network's own address and its broadcast address are left out, as some clients
    /// refuse them.
    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some((first, last)) = text.split_once('-') {
            let first = first.trim().parse().map_err(|_| ())?;
            let last = last.trim().parse().map_err(|_| ())?;
            return if first <= last {
                Ok(Self { first, last })
            } else {
                Err(())
            };
        }
        let (address, bits) = text.split_once('/').ok_or(())?;
        let address: Ipv4Addr = address.parse().map_err(|_| ())?;
        let bits: u32 = bits.parse().map_err(|_| ())?;
        if !(8..=32).contains(&bits) {
            return Err(());
        }
        let host_mask = u32::MAX.checked_shr(bits).unwrap_or(0);
        let first = address.to_bits();
        if first & host_mask != 0 {
            return Err(());
        }
        let last = first | host_mask;
        let margin = u32::from(bits <= 30);
        Ok(Self {
            first: Ipv4Addr::from_bits(first + margin),
            last: Ipv4Addr::from_bits(last - margin),
        })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        text.parse().unwrap()
    }

    #[test]
    fn both_forms_parse() {
        assert_eq!(range("10.0.0.5-10.0.0.9").to_string(), "10.0.0.5-10.0.0.9");
        assert_eq!(range("10.0.0.0/24").to_string(), "10.0.0.1-10.0.0.254");
        assert_eq!(range("10.0.0.4/31").to_string(), "10.0.0.4-10.0.0.5");
        assert_eq!(range("10.0.0.4/32").to_string(), "10.0.0.4-10.0.0.4");
        for text in [
            "",
            "10.0.0.1",
            "10.0.0.9-10.0.0.5",
            "10.0.0.1/24",
            "10.0.0.0/33",
            "0.0.0.0/0",
            "a-b",
        ] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
    }

    #[test]
    fn overlap_is_seen_from_both_sides() {
        let (a, b, c) = (
            range("10.0.0.0/24"),
            range("10.0.0.254-10.0.1.9"),
            range("10.0.1.10-10.0.1.20"),
        );
        assert!(a.overlaps(b) && b.overlaps(a));
        assert!(!b.overlaps(c) && !c.overlaps(b));
    }

    #[test]
    fn prefixes_cover_the_range_and_nothing_else() {
        for text in [
            "10.0.0.0-10.0.0.255",
            "10.0.0.1-10.0.0.254",
            "10.0.0.7-10.0.0.7",
            "10.0.0.250-10.0.1.3",
        ] {
            let range = range(text);
            let covered: Vec<u32> = range
                .prefixes()
                .into_iter()
                .flat_map(|(address, bits)| {
                    let first = address.to_bits();
                    first..=first + (u32::MAX.checked_shr(u32::from(bits)).unwrap_or(0))
                })
                .collect();
            let wanted: Vec<u32> = (range.first.to_bits()..=range.last.to_bits()).collect();
            assert_eq!(covered, wanted, "{text}");
        }
        assert_eq!(
            range("0.0.0.0-255.255.255.255").prefixes(),
            [(Ipv4Addr::UNSPECIFIED, 0)]
        );
    }
}
