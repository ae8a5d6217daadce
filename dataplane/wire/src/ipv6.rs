//! IPv6 (RFC 8200): the fixed header and a bounded walk over extension headers.
//!
//! ```text
//!  0 version, traffic class, flow label | 4 payload length | 6 next header | 7 hop limit
//!  8 source                             | 24 destination   | 40 extension headers
//! ```

use core::net::Ipv6Addr;

use crate::fixed;
use crate::ipv4::Protocol;
use crate::malformed::Malformed;
use crate::writer::{Overflow, Writer};

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 40;
/// Extension headers that are followed.
pub const MAX_EXTENSIONS: usize = 8;
/// Bytes of a fragment header.
pub const FRAGMENT_LEN: usize = 8;

mod field {
    use core::ops::Range;

    pub(super) const FIRST: Range<usize> = 0..4;
    pub(super) const PAYLOAD_LEN: Range<usize> = 4..6;
    pub(super) const NEXT_HEADER: usize = 6;
    pub(super) const HOP_LIMIT: usize = 7;
    pub(super) const SOURCE: Range<usize> = 8..24;
    pub(super) const DESTINATION: Range<usize> = 24..40;
}

/// Fields of extension headers, all of which begin alike.
mod extension {
    use core::ops::Range;

    pub(super) const NEXT_HEADER: usize = 0;
    /// Length in units of 8 bytes beyond the first 8.
    pub(super) const LEN: usize = 1;
    pub(super) const FRAGMENT: Range<usize> = 2..4;
    pub(super) const IDENTIFICATION: Range<usize> = 4..8;
}

/// An IPv6 packet whose headers fit its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    fixed: &'a [u8; HEADER_LEN],
    /// Headers and payload as the payload length counts them.
    bytes: &'a [u8],
    upper: Upper,
}

/// What stands after the extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Upper {
    protocol: Protocol,
    offset: usize,
    fragment: Option<Fragment>,
}

/// A fragment header (RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Place of the payload in the whole one, in bytes: a multiple of 8 up to 65,528.
    pub offset: u16,
    /// Whether more follow.
    pub more: bool,
    /// Names the packet that fragments belong to.
    pub identification: u32,
}

impl<'a> Packet<'a> {
    /// Takes the packet at the front of `bytes` and walks its extension headers: hop-by-hop, routing, destination options and
    /// fragment. The walk ends at anything else, and behind the header of a later fragment.
    ///
    /// # Errors
    /// `Truncated` if a header ends early; `Version` if not 6; `Length` if the payload length counts more than there is;
    /// `Nesting` with more than 8 extension headers.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let fixed = bytes
            .first_chunk::<HEADER_LEN>()
            .ok_or(Malformed::Truncated)?;
        let version = fixed[0] >> 4;
        if version != 6 {
            return Err(Malformed::Version(version));
        }
        let len = usize::from(fixed::u16(fixed, field::PAYLOAD_LEN));
        let bytes = bytes
            .get(..HEADER_LEN + len)
            .ok_or(Malformed::Length(len))?;
        let upper = walk(bytes, Protocol(fixed[field::NEXT_HEADER]))?;
        Ok(Self {
            fixed,
            bytes,
            upper,
        })
    }

    /// Bytes of the fixed and all extension headers.
    #[inline]
    pub const fn header_len(&self) -> usize {
        self.upper.offset
    }

    /// Bytes of headers and payload.
    #[inline]
    pub const fn total_len(&self) -> usize {
        self.bytes.len()
    }

    /// DSCP and ECN in one byte.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        let [class, ..] = (fixed::u32(self.fixed, field::FIRST) << 4).to_be_bytes();
        class
    }

    /// The flow label: 20 bits.
    pub fn flow_label(&self) -> u32 {
        fixed::u32(self.fixed, field::FIRST) & 0x000F_FFFF
    }

    /// Hops left.
    #[inline]
    pub const fn hop_limit(&self) -> u8 {
        self.fixed[field::HOP_LIMIT]
    }

    /// What the payload is; of a later fragment, what the whole payload begins with.
    #[inline]
    pub const fn protocol(&self) -> Protocol {
        self.upper.protocol
    }

    /// Which part of a packet it is, if it has a fragment header.
    #[inline]
    pub const fn fragment(&self) -> Option<Fragment> {
        self.upper.fragment
    }

    /// Where it says it comes from.
    #[inline]
    pub fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from(fixed::array::<16>(self.fixed, field::SOURCE))
    }

    /// Where it goes.
    #[inline]
    pub fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from(fixed::array::<16>(self.fixed, field::DESTINATION))
    }

    /// What the packet carries after all its headers, bounded by its payload length.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(self.upper.offset..).unwrap_or_default()
    }
}

/// Follows extension headers from the fixed header's `next` on.
fn walk(bytes: &[u8], next: Protocol) -> Result<Upper, Malformed> {
    let mut upper = Upper {
        protocol: next,
        offset: HEADER_LEN,
        fragment: None,
    };
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(upper.protocol) || upper.fragment.is_some_and(|part| part.offset != 0) {
            return Ok(upper);
        }
        let header = bytes
            .get(upper.offset..)
            .and_then(|rest| rest.first_chunk::<8>());
        let header = header.ok_or(Malformed::Truncated)?;
        let len = if upper.protocol == Protocol::FRAGMENT {
            upper.fragment = Some(fragment(header));
            FRAGMENT_LEN
        } else {
            8 + 8 * usize::from(header[extension::LEN])
        };
        upper.protocol = Protocol(header[extension::NEXT_HEADER]);
        upper.offset += len;
        if upper.offset > bytes.len() {
            return Err(Malformed::Truncated);
        }
    }
    if is_extension(upper.protocol) && upper.fragment.is_none_or(|part| part.offset == 0) {
        return Err(Malformed::Nesting);
    }
    Ok(upper)
}

/// Whether `protocol` is a header that says what follows it.
#[inline]
pub const fn is_extension(protocol: Protocol) -> bool {
    matches!(
        protocol,
        Protocol::HOP_BY_HOP
            | Protocol::ROUTING
            | Protocol::FRAGMENT
            | Protocol::DESTINATION_OPTIONS
    )
}

fn fragment(header: &[u8; 8]) -> Fragment {
    let word = fixed::u16(header, extension::FRAGMENT);
    Fragment {
        offset: word & 0xFFF8,
        more: word & 0x0001 != 0,
        identification: fixed::u32(header, extension::IDENTIFICATION),
    }
}

/// A fixed header to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// 20 bits; higher ones are cut off.
    pub flow_label: u32,
    /// Bytes after the fixed header.
    pub payload_len: u16,
    /// What comes next.
    pub next_header: Protocol,
    /// Hops left.
    pub hop_limit: u8,
    /// Where it comes from.
    pub source: Ipv6Addr,
    /// Where it goes.
    pub destination: Ipv6Addr,
}

impl Header {
    /// The header as bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let first =
            0x6000_0000 | u32::from(self.traffic_class) << 20 | self.flow_label & 0x000F_FFFF;
        let mut bytes = [0; HEADER_LEN];
        fixed::put_u32(&mut bytes, field::FIRST, first);
        fixed::put_u16(&mut bytes, field::PAYLOAD_LEN, self.payload_len);
        bytes[field::NEXT_HEADER] = self.next_header.0;
        bytes[field::HOP_LIMIT] = self.hop_limit;
        fixed::put(&mut bytes, field::SOURCE, self.source.octets());
        fixed::put(&mut bytes, field::DESTINATION, self.destination.octets());
        bytes
    }

    /// Writes the header to the front of `packet` and returns its length, 40.
    ///
    /// # Errors
    /// [`Overflow`] if `packet` is shorter.
    pub fn emit(&self, packet: &mut [u8]) -> Result<usize, Overflow> {
        Writer::new(packet).put(&self.to_bytes())?;
        Ok(HEADER_LEN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;
    use crate::checksum::Sum;

    fn header(payload_len: u16, next_header: Protocol) -> Header {
        Header {
            traffic_class: 0xB9,
            flow_label: 0xA_BCDE,
            payload_len,
            next_header,
            hop_limit: 61,
            source: "2001:db8::1".parse().unwrap(),
            destination: "2001:db8::2".parse().unwrap(),
        }
    }

    /// A packet with hop-by-hop options of 16 bytes, a fragment header and 5 bytes of UDP.
    fn chain(fragment_offset: u16) -> Vec<u8> {
        let mut bytes = header(29, Protocol::HOP_BY_HOP).to_bytes().to_vec();
        bytes.extend([44, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let [high, low] = (fragment_offset | 1).to_be_bytes();
        bytes.extend([17, 0xFF, high, low, 0xDE, 0xAD, 0xBE, 0xEF]);
        bytes.extend([1, 2, 3, 4, 5]);
        bytes
    }

    #[test]
    fn deconstruct() {
        let mut bytes = chain(0x0508);
        bytes.extend([0xEE; 3]);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(
            (packet.traffic_class(), packet.flow_label()),
            (0xB9, 0xA_BCDE)
        );
        assert_eq!((packet.header_len(), packet.total_len()), (64, 69));
        assert_eq!((packet.hop_limit(), packet.protocol()), (61, Protocol::UDP));
        assert_eq!(packet.source(), "2001:db8::1".parse::<Ipv6Addr>().unwrap());
        assert_eq!(
            packet.destination(),
            "2001:db8::2".parse::<Ipv6Addr>().unwrap()
        );
        let fragment = Fragment {
            offset: 0x0508,
            more: true,
            identification: 0xDEAD_BEEF,
        };
        assert_eq!(packet.fragment(), Some(fragment));
        assert_eq!(packet.payload(), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn construct() {
        let mut bytes = [0xA5; 41];
        assert_eq!(header(0x1234, Protocol::ESP).emit(&mut bytes), Ok(40));
        assert_eq!(bytes[..8], [0x6B, 0x9A, 0xBC, 0xDE, 0x12, 0x34, 50, 61]);
        assert_eq!(bytes[8..12], [0x20, 0x01, 0x0D, 0xB8]);
        assert_eq!(bytes[39..], [2, 0xA5]);
        assert_eq!(
            header(0, Protocol::ESP).emit(&mut bytes[..39]),
            Err(Overflow)
        );
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = chain(0);
        for len in 0..bytes.len() {
            let error = if len < HEADER_LEN {
                Malformed::Truncated
            } else {
                Malformed::Length(29)
            };
            assert_eq!(
                Packet::parse(&bytes[..len]).unwrap_err(),
                error,
                "{len} bytes"
            );
            // The same cut with a payload length that admits it: only the chain itself can be too short.
            if let Some(payload_len) = len.checked_sub(HEADER_LEN) {
                let mut cut = bytes[..len].to_vec();
                cut[5] = u8::try_from(payload_len).unwrap();
                assert_eq!(Packet::parse(&cut).is_ok(), len >= 64, "{len} bytes");
            }
        }
    }

    #[test]
    fn a_later_fragment_ends_the_walk_and_a_first_one_does_not() {
        let mut later = chain(8);
        later[56] = Protocol::DESTINATION_OPTIONS.0;
        assert_eq!(
            Packet::parse(&later).unwrap().protocol(),
            Protocol::DESTINATION_OPTIONS
        );
        let mut first = chain(0);
        first[56] = Protocol::DESTINATION_OPTIONS.0;
        assert_eq!(Packet::parse(&first).unwrap_err(), Malformed::Truncated);
    }

    #[test]
    fn eight_extension_headers_pass_and_nine_do_not() {
        let chain = |count: u16| {
            let mut bytes = header(count * 8, Protocol::ROUTING).to_bytes().to_vec();
            for left in (0..count).rev() {
                let next = if left == 0 {
                    Protocol::ESP
                } else {
                    Protocol::DESTINATION_OPTIONS
                };
                bytes.extend([next.0, 0, 0, 0, 0, 0, 0, 0]);
            }
            bytes
        };
        assert_eq!(Packet::parse(&chain(8)).unwrap().protocol(), Protocol::ESP);
        assert_eq!(Packet::parse(&chain(9)).unwrap_err(), Malformed::Nesting);
    }

    #[test]
    fn an_ipv4_packet_is_refused() {
        let mut bytes = chain(0);
        bytes[0] = 0x45;
        assert_eq!(Packet::parse(&bytes).unwrap_err(), Malformed::Version(4));
    }

    #[test]
    fn a_captured_packet_parses() {
        let bytes = crate::sample::listener_report();
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(
            (packet.protocol(), packet.hop_limit()),
            (Protocol::ICMPV6, 1)
        );
        assert_eq!(packet.source(), Ipv6Addr::UNSPECIFIED);
        assert_eq!(
            packet.destination(),
            "ff02::16".parse::<Ipv6Addr>().unwrap()
        );
        assert_eq!((packet.header_len(), packet.total_len()), (48, bytes.len()));
        let pseudo =
            Sum::new().pseudo_v6(packet.source(), packet.destination(), Protocol::ICMPV6, 28);
        assert_eq!(pseudo.bytes(packet.payload()).finish(), 0);
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_to_the_same(class: u8, label in 0..0x10_0000_u32, len in 0..99_u16, hops: u8, from: u128, to: u128) {
            let header = Header {
                traffic_class: class,
                flow_label: label,
                payload_len: len,
                next_header: Protocol::UDP,
                hop_limit: hops,
                source: Ipv6Addr::from(from),
                destination: Ipv6Addr::from(to),
            };
            let mut bytes = std::vec![0; HEADER_LEN + usize::from(len)];
            header.emit(&mut bytes).unwrap();
            let packet = Packet::parse(&bytes).unwrap();
            prop_assert_eq!(header, Header {
                traffic_class: packet.traffic_class(),
                flow_label: packet.flow_label(),
                payload_len: u16::try_from(packet.payload().len()).unwrap(),
                next_header: packet.protocol(),
                hop_limit: packet.hop_limit(),
                source: packet.source(),
                destination: packet.destination(),
            });
        }

        #[test]
        fn no_bytes_panic_and_accessors_agree(
            chain in prop::collection::vec((prop::sample::select(&[0_u8, 17, 43, 44, 50, 60][..]), 0..3_u8), 0..12),
            first in prop::sample::select(&[0_u8, 17, 43, 44, 50, 60][..]),
            len in 0..120_u16,
        ) {
            let mut bytes = header(len, Protocol(first)).to_bytes().to_vec();
            for (next, units) in chain {
                bytes.extend([next, units, 0, units]);
                bytes.extend(std::vec![0; 4 + 8 * usize::from(units)]);
            }
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert_eq!(packet.header_len() + packet.payload().len(), packet.total_len());
                prop_assert_eq!(packet.total_len(), HEADER_LEN + usize::from(len));
                let later = packet.fragment().is_some_and(|part| part.offset != 0);
                prop_assert!(later || !is_extension(packet.protocol()));
            }
        }
    }
}
