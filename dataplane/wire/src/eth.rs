//! Ethernet II with up to two VLAN tags (IEEE 802.1Q).
//!
//! ```text
//! destination 6 | source 6 | { TPID 2 | TCI 2 } × 0–2 | EtherType 2 | payload
//! ```

use core::fmt;

use crate::fixed;
use crate::malformed::Malformed;
use crate::writer::{Overflow, Writer};

/// Bytes of a header without VLAN tags.
pub const HEADER_LEN: usize = 14;
/// Bytes of one VLAN tag.
pub const TAG_LEN: usize = 4;
/// Tags that are followed.
pub const MAX_TAGS: usize = 2;

mod field {
    use core::ops::Range;

    pub(super) const DESTINATION: Range<usize> = 0..6;
    pub(super) const SOURCE: Range<usize> = 6..12;
    pub(super) const ETHER_TYPE: Range<usize> = 12..14;
    /// In the four bytes after a TPID.
    pub(super) const TAG_CONTROL: Range<usize> = 0..2;
    /// In the four bytes after a TPID.
    pub(super) const TAG_ETHER_TYPE: Range<usize> = 2..4;
}

/// A hardware address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// All ones: everybody on the link.
    pub const BROADCAST: Self = Self([0xFF; 6]);

    /// Whether it names a group.
    pub const fn is_multicast(&self) -> bool {
        self.0[0] & 0x01 != 0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Says what a frame carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// IPv6.
    pub const IPV6: Self = Self(0x86DD);
    /// A customer VLAN tag follows.
    pub const VLAN: Self = Self(0x8100);
    /// A service VLAN tag follows (IEEE 802.1ad).
    pub const SERVICE_VLAN: Self = Self(0x88A8);

    /// Whether a VLAN tag follows.
    #[inline]
    pub const fn is_tag(self) -> bool {
        matches!(self, Self::VLAN | Self::SERVICE_VLAN)
    }
}

/// One VLAN tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VlanTag {
    /// [`EtherType::VLAN`] or [`EtherType::SERVICE_VLAN`].
    pub protocol: EtherType,
    /// Priority (3 bits), drop eligibility (1) and VLAN id (12).
    pub control: u16,
}

impl VlanTag {
    /// The VLAN id: 0 to 4,095.
    pub const fn id(&self) -> u16 {
        self.control & 0x0FFF
    }
}

/// An Ethernet header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Where the frame goes.
    pub destination: MacAddress,
    /// Where it comes from.
    pub source: MacAddress,
    /// VLAN tags, outermost first; the second only after the first.
    pub tags: [Option<VlanTag>; MAX_TAGS],
    /// What follows the header; never that of a tag after `parse`.
    pub ether_type: EtherType,
}

/// A header without tags, to be sent.
#[inline]
pub fn untagged(
    destination: MacAddress,
    source: MacAddress,
    ether_type: EtherType,
) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    fixed::put(&mut header, field::DESTINATION, destination.0);
    fixed::put(&mut header, field::SOURCE, source.0);
    fixed::put_u16(&mut header, field::ETHER_TYPE, ether_type.0);
    header
}

impl Header {
    /// Reads the header at the front of `frame`; the payload starts at [`Header::len`].
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if the frame ends before its EtherType; [`Malformed::Nesting`] with three or more tags.
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<Self, Malformed> {
        let (fixed, mut rest) = frame
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(Malformed::Truncated)?;
        let mut ether_type = EtherType(fixed::u16(fixed, field::ETHER_TYPE));
        let mut tags = [None; MAX_TAGS];
        for slot in &mut tags {
            if !ether_type.is_tag() {
                break;
            }
            let (tag, after) = rest
                .split_first_chunk::<TAG_LEN>()
                .ok_or(Malformed::Truncated)?;
            *slot = Some(VlanTag {
                protocol: ether_type,
                control: fixed::u16(tag, field::TAG_CONTROL),
            });
            ether_type = EtherType(fixed::u16(tag, field::TAG_ETHER_TYPE));
            rest = after;
        }
        if ether_type.is_tag() {
            return Err(Malformed::Nesting);
        }
        Ok(Self {
            destination: MacAddress(fixed::array(fixed, field::DESTINATION)),
            source: MacAddress(fixed::array(fixed, field::SOURCE)),
            tags,
            ether_type,
        })
    }

    /// Bytes of the header: 14, 18 or 22.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a header has bytes")]
    pub fn len(&self) -> usize {
        HEADER_LEN + TAG_LEN * self.tags.iter().flatten().count()
    }

    /// The header of an answer on the same link: addresses exchanged.
    pub const fn reply(&self) -> Self {
        Self {
            destination: self.source,
            source: self.destination,
            ..*self
        }
    }

    /// Writes the header to the front of `frame` and returns its length.
    ///
    /// # Errors
    /// [`Overflow`] if `frame` is shorter than [`Header::len`].
    #[inline]
    pub fn emit(&self, frame: &mut [u8]) -> Result<usize, Overflow> {
        let mut writer = Writer::new(frame);
        writer.put(&self.destination.0)?;
        writer.put(&self.source.0)?;
        for tag in self.tags.iter().flatten() {
            writer.u16(tag.protocol.0)?;
            writer.u16(tag.control)?;
        }
        writer.u16(self.ether_type.0)?;
        Ok(writer.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample;

    const TAGGED: [u8; 22] = [
        0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x88, 0xA8, 0x00, 0x07, 0x81, 0x00, 0xE0, 0x64,
        0x86, 0xDD,
    ];

    fn tagged() -> Header {
        Header {
            destination: MacAddress([2, 0, 0, 0, 0, 1]),
            source: MacAddress([2, 0, 0, 0, 0, 2]),
            tags: [
                Some(VlanTag {
                    protocol: EtherType::SERVICE_VLAN,
                    control: 0x0007,
                }),
                Some(VlanTag {
                    protocol: EtherType::VLAN,
                    control: 0xE064,
                }),
            ],
            ether_type: EtherType::IPV6,
        }
    }

    #[test]
    fn deconstruct() {
        let header = Header::parse(&TAGGED).unwrap();
        assert_eq!(header, tagged());
        assert_eq!(header.len(), 22);
        assert_eq!(header.tags[1].unwrap().id(), 100);
    }

    #[test]
    fn construct() {
        let mut frame = [0xA5; 30];
        assert_eq!(tagged().emit(&mut frame), Ok(22));
        assert_eq!(frame[..22], TAGGED);
        assert_eq!(frame[22..], [0xA5; 8]);
        assert_eq!(tagged().emit(&mut frame[..21]), Err(Overflow));
    }

    #[test]
    fn every_truncation_is_refused() {
        for len in 0..TAGGED.len() {
            assert_eq!(
                Header::parse(&TAGGED[..len]),
                Err(Malformed::Truncated),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn a_third_tag_is_refused() {
        let mut frame = TAGGED;
        frame[20..].copy_from_slice(&EtherType::VLAN.0.to_be_bytes());
        assert_eq!(Header::parse(&frame), Err(Malformed::Nesting));
    }

    #[test]
    fn a_captured_frame_parses() {
        let frame = sample::esp_frame();
        let header = Header::parse(&frame).unwrap();
        assert_eq!(std::format!("{}", header.destination), "3a:d3:e8:08:38:c9");
        assert_eq!(header.ether_type, EtherType::IPV4);
        assert_eq!(header.len(), HEADER_LEN);
        assert_eq!(header.reply().destination, header.source);
    }

    proptest! {
        #[test]
        fn what_parses_is_written_back_the_same(mut frame in prop::collection::vec(any::<u8>(), 0..40), tags in 0..4_usize) {
            for at in [12, 16, 20].into_iter().take(tags) {
                if let Some(slot) = frame.get_mut(at..at + 2) {
                    slot.copy_from_slice(&EtherType::VLAN.0.to_be_bytes());
                }
            }
            if let Ok(header) = Header::parse(&frame) {
                let mut written = std::vec![0; header.len()];
                prop_assert_eq!(header.emit(&mut written), Ok(header.len()));
                prop_assert_eq!(&frame[..header.len()], &written[..]);
            }
        }
    }
}
