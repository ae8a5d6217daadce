//! TCP (RFC 9293), as much as clamping the maximum segment size needs.
//!
//! ```text
//!  0 source port | 2 destination port | 4 sequence | 8 acknowledgement
//! 12 data offset | 13 flags | 14 window | 16 checksum | 18 urgent pointer | 20 options
//! ```

use core::ops::Range;

use crate::{checksum, fixed};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

mod field {
    use core::ops::Range;

    pub(super) const DATA_OFFSET: usize = 12;
    pub(super) const FLAGS: usize = 13;
    pub(super) const CHECKSUM: Range<usize> = 16..18;
}

mod flag {
    pub(super) const SYN: u8 = 0x02;
}

/// Kinds of options (RFC 9293 §3.1).
mod option {
    pub(super) const END: u8 = 0;
    pub(super) const NO_OPERATION: u8 = 1;
    pub(super) const MAXIMUM_SEGMENT_SIZE: u8 = 2;
    pub(super) const MAXIMUM_SEGMENT_SIZE_LEN: u8 = 4;
}

/// Lowers the maximum segment size that a SYN announces to `limit` and corrects the checksum.
///
/// `segment`: from the TCP header on. Returns the old value if it was higher. Anything that is not a SYN, does not parse or
/// announces nothing is left alone: the receiver then assumes 536 (RFC 9293 §3.7.1).
#[inline]
pub fn clamp_mss(segment: &mut [u8], limit: u16) -> Option<u16> {
    let flags = *segment.get(field::FLAGS)?;
    if flags & flag::SYN == 0 {
        return None;
    }
    let place = mss_place(segment)?;
    let old = fixed::u16(segment, place.clone());
    if old <= limit {
        return None;
    }
    let aligned = place.start % 2 == 0;
    fixed::put_u16(segment, place, limit);
    let checksum = fixed::u16(segment, field::CHECKSUM);
    // A value at an odd place lies across two words: each byte counts in the other half (RFC 1071 §2 (B)).
    let checksum = if aligned {
        checksum::update(checksum, old, limit)
    } else {
        checksum::update(checksum, old.swap_bytes(), limit.swap_bytes())
    };
    fixed::put_u16(segment, field::CHECKSUM, checksum);
    Some(old)
}

/// The maximum segment size that a SYN announces.
pub fn announced_mss(segment: &[u8]) -> Option<u16> {
    let flags = *segment.get(field::FLAGS)?;
    if flags & flag::SYN == 0 {
        return None;
    }
    mss_place(segment).map(|place| fixed::u16(segment, place))
}

/// Finds the value of the first maximum segment size option in a header that fits `segment`.
fn mss_place(segment: &[u8]) -> Option<Range<usize>> {
    let header_len = usize::from(segment.get(field::DATA_OFFSET)? >> 4) * 4;
    let header = segment.get(..header_len)?;
    let mut at = HEADER_LEN;
    while let Some(&kind) = header.get(at) {
        if kind == option::END {
            return None;
        }
        if kind == option::NO_OPERATION {
            at += 1;
            continue;
        }
        let len = *header.get(at + 1)?;
        let place = at + 2..at + 4;
        if kind == option::MAXIMUM_SEGMENT_SIZE {
            let whole = len == option::MAXIMUM_SEGMENT_SIZE_LEN && place.end <= header_len;
            return whole.then_some(place);
        }
        if len < 2 {
            return None;
        }
        at += usize::from(len);
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    /// A SYN with `options`, padded with end-of-list, its checksum right without a pseudo-header.
    fn segment(flags: u8, options: &[u8]) -> Vec<u8> {
        let words = options.len().div_ceil(4);
        let mut bytes = std::vec![0x11; HEADER_LEN];
        bytes[field::DATA_OFFSET] = u8::try_from(5 + words).unwrap() << 4;
        bytes[field::FLAGS] = flags;
        bytes.extend(options);
        bytes.resize(HEADER_LEN + words * 4, 0);
        bytes.extend(b"data");
        bytes[field::CHECKSUM].fill(0);
        let checksum = checksum::of(&bytes);
        fixed::put_u16(&mut bytes, field::CHECKSUM, checksum);
        bytes
    }

    const SYN_ACK: u8 = 0x12;

    #[test]
    fn a_high_mss_is_lowered_wherever_it_stands() {
        for front in 0..5 {
            let mut options = std::vec![option::NO_OPERATION; front];
            options.extend([3, 3, 7, 2, 4, 0x05, 0xB4]);
            let mut bytes = segment(SYN_ACK, &options);
            assert_eq!(announced_mss(&bytes), Some(1460));
            assert_eq!(
                clamp_mss(&mut bytes, 1300),
                Some(1460),
                "after {front} bytes"
            );
            options.truncate(front + 5);
            options.extend(1300_u16.to_be_bytes());
            assert_eq!(bytes, segment(SYN_ACK, &options));
        }
    }

    #[test]
    fn what_is_low_enough_or_no_syn_is_left_alone() {
        for mut bytes in [
            segment(flag::SYN, &[2, 4, 5, 0x14]),
            segment(0x10, &[2, 4, 5, 0xB4]),
            segment(flag::SYN, &[]),
        ] {
            let before = bytes.clone();
            assert_eq!(clamp_mss(&mut bytes, 1300), None);
            assert_eq!(bytes, before);
        }
    }

    #[test]
    fn options_that_do_not_parse_are_left_alone() {
        for options in [
            &[2, 3, 5, 0xB4][..],
            &[2, 4, 5],
            &[3, 0, 2, 4, 5, 0xB4],
            &[3, 1, 2, 4, 5, 0xB4],
            &[0, 2, 4, 5, 0xB4],
            &[1, 1, 1, 2],
            &[1, 1, 2, 4],
        ] {
            let mut bytes = segment(flag::SYN, options);
            if options == [2, 4, 5] {
                // Padding completes the option: the announced value is 0x0500.
                assert_eq!(announced_mss(&bytes), Some(0x0500));
                continue;
            }
            assert_eq!(clamp_mss(&mut bytes, 100), None, "{options:?}");
        }
        let mut short_header = segment(flag::SYN, &[2, 4, 5, 0xB4]);
        short_header[field::DATA_OFFSET] = 0x40;
        assert_eq!(clamp_mss(&mut short_header, 100), None);
    }

    #[test]
    fn every_truncation_of_the_header_is_left_alone() {
        let bytes = segment(flag::SYN, &[1, 2, 4, 0x05, 0xB4]);
        for len in 0..28 {
            assert_eq!(
                clamp_mss(&mut bytes[..len].to_vec(), 536),
                None,
                "{len} bytes"
            );
        }
        assert_eq!(clamp_mss(&mut bytes[..28].to_vec(), 536), Some(1460));
    }

    #[test]
    fn a_captured_syn_is_clamped() {
        let mut bytes = crate::sample::tcp_syn();
        assert_eq!(announced_mss(&bytes), Some(65_495));
        let before = checksum::of(&bytes);
        assert_eq!(clamp_mss(&mut bytes, 1240), Some(65_495));
        assert_eq!(checksum::of(&bytes), before);
        assert_eq!(announced_mss(&bytes), Some(1240));
    }

    proptest! {
        #[test]
        fn no_options_panic_and_the_checksum_follows(options in prop::collection::vec(0..6_u8, 0..40), limit: u16) {
            let mut bytes = segment(flag::SYN, &options);
            let announced = announced_mss(&bytes);
            let clamped = clamp_mss(&mut bytes, limit);
            prop_assert_eq!(clamped, announced.filter(|mss| *mss > limit));
            prop_assert_eq!(checksum::of(&bytes), 0);
            prop_assert_eq!(announced_mss(&bytes), announced.map(|mss| mss.min(limit)));
        }

        #[test]
        fn no_bytes_panic(mut bytes: Vec<u8>, limit: u16) {
            let len = bytes.len();
            if let Some(old) = clamp_mss(&mut bytes, limit) {
                prop_assert!(old > limit);
            }
            prop_assert_eq!(bytes.len(), len);
        }
    }
}
