//! The Internet checksum (RFC 1071), whole and incremental (RFC 1624).

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::ipv4::Protocol;

/// A ones' complement sum under way.
///
/// Parts are added in any order; each has an even number of bytes but the last.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Sum(u64);

impl Sum {
    /// Starts at zero.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds `bytes`; an odd one at the end counts as if a zero followed it.
    #[inline]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        // RFC 1071 §2 (B): the sum does not depend on byte order, so words are added as the machine reads them. 2^32 words
        // of 32 bits cannot overflow 64.
        let (words, rest) = bytes.as_chunks::<4>();
        let sum = words.iter().fold(self.0, |sum, word| {
            sum.wrapping_add(u64::from(u32::from_ne_bytes(*word)))
        });
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        Self(sum.wrapping_add(u64::from(u32::from_ne_bytes(last))))
    }

    /// Adds a 16-bit number.
    #[inline]
    pub fn u16(self, value: u16) -> Self {
        Self(self.0.wrapping_add(u64::from(value.to_be())))
    }

    /// Adds the IPv4 pseudo-header of a packet with `len` bytes after its IP header.
    ///
    /// # Source
    /// RFC 768, RFC 9293 §3.1
    pub fn pseudo_v4(
        self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: Protocol,
        len: u16,
    ) -> Self {
        self.bytes(&source.octets())
            .bytes(&destination.octets())
            .u16(u16::from(protocol.0))
            .u16(len)
    }

    /// Adds the IPv6 pseudo-header of a packet with `len` bytes in its upper layer.
    ///
    /// # Source
    /// RFC 8200 §8.1
    pub fn pseudo_v6(
        self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        protocol: Protocol,
        len: u32,
    ) -> Self {
        self.bytes(&source.octets())
            .bytes(&destination.octets())
            .bytes(&len.to_be_bytes())
            .u16(u16::from(protocol.0))
    }

    /// The checksum: complement of the sum. Zero if what was added contained its own correct checksum.
    #[inline]
    pub fn finish(self) -> u16 {
        !u16::from_be(fold(self.0))
    }
}

/// Checksum of `bytes` alone.
#[inline]
pub fn of(bytes: &[u8]) -> u16 {
    Sum::new().bytes(bytes).finish()
}

/// The checksum after one 16-bit word that it covers changed from `old` to `new`.
///
/// # Source
/// RFC 1624 §3, equation 3
#[inline]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u64 + !old as u64 + new as u64)
}

/// Adds the carries back in until 16 bits are left.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the last step leaves 16 bits"
)]
const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xFFFF_FFFF);
    let sum = (sum >> 32) + (sum & 0xFFFF_FFFF);
    let sum = (sum >> 16) + (sum & 0xFFFF);
    let sum = (sum >> 16) + (sum & 0xFFFF);
    let sum = (sum >> 16) + (sum & 0xFFFF);
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn the_example_of_rfc_1071_adds_up() {
        // RFC 1071 §3: sum ddf2.
        assert_eq!(
            !of(&[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]),
            0xDDF2
        );
    }

    #[test]
    fn the_example_of_rfc_1624_comes_out_as_0000() {
        // RFC 1624 §4: HC 0xDD2F, a field goes from 0x5555 to 0x3285.
        assert_eq!(update(0xDD2F, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn an_odd_byte_counts_as_the_upper_half_of_a_word() {
        assert_eq!(of(&[0x12]), !0x1200);
        assert_eq!(of(&[1, 2, 3]), of(&[1, 2, 3, 0]));
        assert_eq!(of(&[]), 0xFFFF);
    }

    #[test]
    fn a_packet_of_all_ones_carries_through() {
        assert_eq!(of(&[0xFF; 65_535]), 0x00FF);
        assert_eq!(of(&[0xFF; 65_534]), 0x0000);
    }

    /// The definition, word by word.
    fn plain(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    proptest! {
        #[test]
        fn the_wide_sum_agrees_with_the_definition(bytes: Vec<u8>, split: usize) {
            prop_assert_eq!(of(&bytes), plain(&bytes));
            let split = (split % (bytes.len() + 1)) & !1;
            let (front, back) = bytes.split_at(split);
            prop_assert_eq!(Sum::new().bytes(front).bytes(back).finish(), plain(&bytes));
        }

        #[test]
        fn an_update_agrees_with_a_new_sum(mut words in prop::collection::vec(any::<u16>(), 1..20), at: usize, new: u16) {
            // The all-zero message is the one case where the two zeros of ones' complement differ.
            prop_assume!(words.iter().any(|word| *word != 0));
            let bytes = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
            let before = of(&bytes(&words));
            let at = at % words.len();
            let old = core::mem::replace(&mut words[at], new);
            prop_assume!(words.iter().any(|word| *word != 0));
            prop_assert_eq!(update(before, old, new), of(&bytes(&words)));
        }
    }
}
