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
