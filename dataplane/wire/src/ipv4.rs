//! IPv4 (RFC 791): a view for what arrives, a header for what is sent, and the changes a router makes in place.
//!
//! ```text
//!  0 version, header length | 1 DSCP, ECN | 2 total length
//!  4 identification         | 6 flags, fragment offset / 8
//!  8 TTL                    | 9 protocol  | 10 checksum
//! 12 source                 | 16 destination | 20 options
//! ```

use core::fmt;
use core::net::Ipv4Addr;
use core::ops::Range;

use crate::malformed::Malformed;
use crate::writer::{Overflow, Writer};
use crate::{checksum, fixed};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

mod field {
    use core::ops::Range;

    pub(super) const VERSION: usize = 0;
    pub(super) const TRAFFIC_CLASS: usize = 1;
    pub(super) const TOTAL_LEN: Range<usize> = 2..4;
    pub(super) const IDENTIFICATION: Range<usize> = 4..6;
    pub(super) const FRAGMENT: Range<usize> = 6..8;
    pub(super) const TTL: usize = 8;
    pub(super) const PROTOCOL: usize = 9;
    /// TTL and protocol: the word of the checksum that a change of TTL touches.
    pub(super) const TTL_PROTOCOL: Range<usize> = 8..10;
    /// Version and traffic class: the word that a change of ECN or DSCP touches.
    pub(super) const FIRST: Range<usize> = 0..2;
    pub(super) const CHECKSUM: Range<usize> = 10..12;
    pub(super) const SOURCE: Range<usize> = 12..16;
    pub(super) const DESTINATION: Range<usize> = 16..20;
}

mod fragment {
    pub(super) const DONT: u16 = 0x4000;
    pub(super) const MORE: u16 = 0x2000;
    pub(super) const OFFSET: u16 = 0x1FFF;
}

/// Says what an IP packet carries; the numbers are those of IPv6 next headers too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: Self = Self(0);
    /// ICMP.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// IPv6 routing header.
    pub const ROUTING: Self = Self(43);
    /// IPv6 fragment header.
    pub const FRAGMENT: Self = Self(44);
    /// ESP.
    pub const ESP: Self = Self(50);
    /// ICMPv6.
    pub const ICMPV6: Self = Self(58);
    /// Nothing follows.
    pub const NO_NEXT_HEADER: Self = Self(59);
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: Self = Self(60);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Congestion notification of a packet (RFC 3168 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ecn {
    /// The transport does not take part.
    #[default]
    NotCapable,
    /// The transport takes part, codepoint 01.
    Capable1,
    /// The transport takes part, codepoint 10.
    Capable0,
    /// A router was congested.
    Congested,
}

impl Ecn {
    /// The codepoint in the low two bits of a traffic class.
    pub const fn of(traffic_class: u8) -> Self {
        match traffic_class & 0x03 {
            0 => Self::NotCapable,
            1 => Self::Capable1,
            2 => Self::Capable0,
            _ => Self::Congested,
        }
    }

    /// The two bits: 0 to 3.
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

/// An IPv4 packet whose header fits its bytes and itself.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    fixed: &'a [u8; HEADER_LEN],
    /// Header and payload as total length counts them.
    bytes: &'a [u8],
    header_len: usize,
}

impl<'a> Packet<'a> {
    /// Takes the packet at the front of `bytes`; what follows its total length (Ethernet padding) is left out.
    ///
    /// The header checksum is not verified: see [`Packet::checksum_ok`].
    /// # Errors
    /// `Truncated` below 20 bytes or the header length; `Version` if not 4; `HeaderLength` below 20; `Length` if the total length
    /// is less than the header or more than there is.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let fixed = bytes
            .first_chunk::<HEADER_LEN>()
            .ok_or(Malformed::Truncated)?;
        let version = fixed[field::VERSION] >> 4;
        if version != 4 {
            return Err(Malformed::Version(version));
        }
        let header_len = usize::from(fixed[field::VERSION] & 0x0F) * 4;
        if header_len < HEADER_LEN {
            return Err(Malformed::HeaderLength(header_len));
        }
        if header_len > bytes.len() {
            return Err(Malformed::Truncated);
        }
        let total_len = usize::from(fixed::u16(fixed, field::TOTAL_LEN));
        if total_len < header_len {
            return Err(Malformed::Length(total_len));
        }
        let bytes = bytes.get(..total_len).ok_or(Malformed::Length(total_len))?;
        Ok(Self {
            fixed,
            bytes,
            header_len,
        })
    }

    /// Bytes of the header with its options: 20 to 60.
    #[inline]
    pub const fn header_len(&self) -> usize {
        self.header_len
    }

    /// Bytes of header and payload.
    #[inline]
    pub const fn total_len(&self) -> usize {
        self.bytes.len()
    }

    /// Header and payload, without what followed them.
    #[inline]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// DSCP and ECN in one byte.
    #[inline]
    pub const fn traffic_class(&self) -> u8 {
        self.fixed[field::TRAFFIC_CLASS]
    }

    /// Differentiated services code point: 0 to 63.
    pub const fn dscp(&self) -> u8 {
        self.traffic_class() >> 2
    }

    /// Congestion notification.
    pub const fn ecn(&self) -> Ecn {
        Ecn::of(self.traffic_class())
    }

    /// Names the packet that fragments belong to.
    #[inline]
    pub fn identification(&self) -> u16 {
        fixed::u16(self.fixed, field::IDENTIFICATION)
    }

    /// Whether routers may not fragment it.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.fragment_word() & fragment::DONT != 0
    }

    /// Whether it is a fragment and not the last.
    #[inline]
    pub fn more_fragments(&self) -> bool {
        self.fragment_word() & fragment::MORE != 0
    }

    /// Where its payload belongs in the whole one, in bytes: a multiple of 8 up to 65,528.
    #[inline]
    pub fn fragment_offset(&self) -> usize {
        usize::from(self.fragment_word() & fragment::OFFSET) * 8
    }

    /// Whether it is a part of a packet, first or later.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.fragment_word() & (fragment::MORE | fragment::OFFSET) != 0
    }

    /// Hops left.
    #[inline]
    pub const fn ttl(&self) -> u8 {
        self.fixed[field::TTL]
    }

    /// What the payload is.
    #[inline]
    pub const fn protocol(&self) -> Protocol {
        Protocol(self.fixed[field::PROTOCOL])
    }

    /// Whether the header's checksum holds.
    #[inline]
    pub fn checksum_ok(&self) -> bool {
        if self.header_len == HEADER_LEN {
            return checksum::of(self.fixed) == 0;
        }
        checksum::of(self.header()) == 0
    }

    /// Where it says it comes from.
    #[inline]
    pub fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from(fixed::array::<4>(self.fixed, field::SOURCE))
    }

    /// Where it goes.
    #[inline]
    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from(fixed::array::<4>(self.fixed, field::DESTINATION))
    }

    /// Fixed header and options.
    #[inline]
    pub fn header(&self) -> &'a [u8] {
        self.bytes.get(..self.header_len).unwrap_or_default()
    }

    /// The options, padded to a multiple of 4: 0 to 40 bytes.
    pub fn options(&self) -> &'a [u8] {
        self.bytes
            .get(HEADER_LEN..self.header_len)
            .unwrap_or_default()
    }

    /// What the packet carries, bounded by its total length.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(self.header_len..).unwrap_or_default()
    }

    /// Place of the payload in the parsed bytes.
    #[inline]
    pub const fn payload_range(&self) -> Range<usize> {
        self.header_len..self.bytes.len()
    }

    #[inline]
    fn fragment_word(&self) -> u16 {
        fixed::u16(self.fixed, field::FRAGMENT)
    }
}

/// Which part of a packet a fragment is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Place of the payload in the whole one, in bytes; a multiple of 8, lower bits are cut off.
    pub offset: u16,
    /// Whether more follow.
    pub more: bool,
}

/// A header of 20 bytes to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Bytes of header and payload.
    pub total_len: u16,
    /// Names the packet that fragments belong to.
    pub identification: u16,
    /// Whether routers may not fragment it.
    pub dont_fragment: bool,
    /// Which part of a packet it is; the default is the whole.
    pub fragment: Fragment,
    /// Hops left.
    pub ttl: u8,
    /// What the payload is.
    pub protocol: Protocol,
    /// Where it comes from.
    pub source: Ipv4Addr,
    /// Where it goes.
    pub destination: Ipv4Addr,
}

impl Header {
    /// The header as bytes, checksum filled in.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[field::VERSION] = 0x45;
        bytes[field::TRAFFIC_CLASS] = self.traffic_class;
        fixed::put_u16(&mut bytes, field::TOTAL_LEN, self.total_len);
        fixed::put_u16(&mut bytes, field::IDENTIFICATION, self.identification);
        fixed::put_u16(
            &mut bytes,
            field::FRAGMENT,
            fragment_word(self.dont_fragment, self.fragment),
        );
        bytes[field::TTL] = self.ttl;
        bytes[field::PROTOCOL] = self.protocol.0;
        fixed::put(&mut bytes, field::SOURCE, self.source.octets());
        fixed::put(&mut bytes, field::DESTINATION, self.destination.octets());
        let checksum = checksum::of(&bytes);
        fixed::put_u16(&mut bytes, field::CHECKSUM, checksum);
        bytes
    }

    /// Writes the header to the front of `packet` and returns its length, 20.
    ///
    /// # Errors
    /// [`Overflow`] if `packet` is shorter.
    pub fn emit(&self, packet: &mut [u8]) -> Result<usize, Overflow> {
        Writer::new(packet).put(&self.to_bytes())?;
        Ok(HEADER_LEN)
    }
}

const fn fragment_word(dont_fragment: bool, part: Fragment) -> u16 {
    let dont = if dont_fragment { fragment::DONT } else { 0 };
    let more = if part.more { fragment::MORE } else { 0 };
    dont | more | (part.offset / 8)
}

/// The hop count ends here: the packet must not be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired;

/// Takes one hop off the packet at the front of `packet`, which [`Packet::parse`] has accepted, and corrects its checksum.
///
/// # Errors
/// [`Expired`] if no hop would be left (RFC 1812 §5.3.1) or there is no header; then nothing is changed.
#[inline]
pub fn decrement_ttl(packet: &mut [u8]) -> Result<(), Expired> {
    let header = packet.first_chunk_mut::<HEADER_LEN>().ok_or(Expired)?;
    if header[field::TTL] <= 1 {
        return Err(Expired);
    }
    let word = fixed::u16(header, field::TTL_PROTOCOL);
    replace(header, field::TTL_PROTOCOL, word.wrapping_sub(0x0100));
    Ok(())
}

/// Sets DSCP and ECN of the packet at the front of `packet` and corrects its checksum; without a header it does nothing.
#[inline]
pub fn set_traffic_class(packet: &mut [u8], traffic_class: u8) {
    if let Some(header) = packet.first_chunk_mut::<HEADER_LEN>() {
        let word = u16::from_be_bytes([header[field::VERSION], traffic_class]);
        replace(header, field::FIRST, word);
    }
}

/// Sets total length and identification in a ready header and corrects its checksum; the rest of a template stays.
#[inline]
pub fn set_length(header: &mut [u8; HEADER_LEN], total_len: u16, identification: u16) {
    replace(header, field::TOTAL_LEN, total_len);
    replace(header, field::IDENTIFICATION, identification);
}

/// Turns the packet at the front of `packet` into the part `fragment` of `total_len` bytes, keeping all other fields and
/// correcting the checksum; without a header it does nothing.
pub fn set_fragment(packet: &mut [u8], total_len: u16, fragment: Fragment) {
    if let Some(header) = packet.first_chunk_mut::<HEADER_LEN>() {
        let dont = fixed::u16(header, field::FRAGMENT) & fragment::DONT != 0;
        replace(header, field::TOTAL_LEN, total_len);
        replace(header, field::FRAGMENT, fragment_word(dont, fragment));
    }
}

/// Exchanges source and destination of the packet at the front of `packet`; no checksum changes by it.
pub fn swap_addresses(packet: &mut [u8]) {
    if let Some(header) = packet.first_chunk_mut::<HEADER_LEN>() {
        let source: [u8; 4] = fixed::array(header, field::SOURCE);
        let destination: [u8; 4] = fixed::array(header, field::DESTINATION);
        fixed::put(header, field::SOURCE, destination);
        fixed::put(header, field::DESTINATION, source);
    }
}

/// Writes a word of the header and corrects the checksum.
#[inline]
fn replace(header: &mut [u8; HEADER_LEN], field: Range<usize>, new: u16) {
    let old = fixed::u16(header, field.clone());
    let checksum = fixed::u16(header, field::CHECKSUM);
    fixed::put_u16(header, field, new);
    fixed::put_u16(
        header,
        field::CHECKSUM,
        checksum::update(checksum, old, new),
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;
    use crate::{eth, sample};

    /// Header with one option word and four bytes of payload, then two bytes of Ethernet padding.
    const OPTIONS: [u8; 30] = [
        0x46, 0xB9, 0, 28, 0xBE, 0xEF, 0x20, 0x05, 9, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x94,
        4, 0, 0, 1, 2, 3, 4, 0xEE, 0xEE,
    ];

    fn header() -> Header {
        Header {
            traffic_class: 0,
            total_len: 104,
            identification: 0x9CE1,
            dont_fragment: false,
            fragment: Fragment::default(),
            ttl: 64,
            protocol: Protocol::ESP,
            source: Ipv4Addr::new(198, 51, 100, 10),
            destination: Ipv4Addr::new(198, 51, 100, 101),
        }
    }

    #[test]
    fn deconstruct() {
        let packet = Packet::parse(&OPTIONS).unwrap();
        assert_eq!((packet.header_len(), packet.total_len()), (24, 28));
        assert_eq!((packet.dscp(), packet.ecn()), (0x2E, Ecn::Capable1));
        assert_eq!(packet.identification(), 0xBEEF);
        assert!(!packet.dont_fragment() && packet.more_fragments() && packet.is_fragment());
        assert_eq!(packet.fragment_offset(), 40);
        assert_eq!((packet.ttl(), packet.protocol()), (9, Protocol::UDP));
        assert_eq!(packet.source(), Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(packet.destination(), Ipv4Addr::new(192, 0, 2, 2));
        assert_eq!(packet.options(), [0x94, 4, 0, 0]);
        assert_eq!(packet.payload(), [1, 2, 3, 4]);
        assert_eq!(OPTIONS[packet.payload_range()], [1, 2, 3, 4]);
        assert!(!packet.checksum_ok());
    }

    #[test]
    fn construct() {
        let mut bytes = [0xA5; 22];
        assert_eq!(header().emit(&mut bytes), Ok(20));
        let frame = sample::esp_frame();
        assert_eq!(bytes[..20], frame[eth::HEADER_LEN..eth::HEADER_LEN + 20]);
        assert_eq!(bytes[20..], [0xA5; 2]);
        assert_eq!(header().emit(&mut bytes[..19]), Err(Overflow));
    }

    #[test]
    fn every_truncation_is_refused() {
        for len in 0..28 {
            let error = if len < 24 {
                Malformed::Truncated
            } else {
                Malformed::Length(28)
            };
            assert_eq!(
                Packet::parse(&OPTIONS[..len]).unwrap_err(),
                error,
                "{len} bytes"
            );
        }
    }

    #[test]
    fn a_header_that_contradicts_itself_is_refused() {
        let with = |at: usize, value: u8| {
            let mut bytes = OPTIONS;
            bytes[at] = value;
            Packet::parse(&bytes).map(|_| ())
        };
        assert_eq!(with(0, 0x66), Err(Malformed::Version(6)));
        assert_eq!(with(0, 0x44), Err(Malformed::HeaderLength(16)));
        assert_eq!(with(0, 0x4F), Err(Malformed::Truncated));
        assert_eq!(with(3, 23), Err(Malformed::Length(23)));
        assert_eq!(with(3, 31), Err(Malformed::Length(31)));
        assert_eq!(with(3, 30), Ok(()));
    }

    #[test]
    fn a_captured_packet_parses() {
        let frame = sample::esp_frame();
        let packet = Packet::parse(&frame[eth::HEADER_LEN..]).unwrap();
        assert!(packet.checksum_ok() && !packet.is_fragment());
        assert_eq!(packet.protocol(), Protocol::ESP);
        assert_eq!(packet.payload().len(), 84);
    }

    #[test]
    fn the_last_hop_is_not_taken() {
        let mut bytes = Header { ttl: 2, ..header() }.to_bytes();
        assert_eq!(decrement_ttl(&mut bytes), Ok(()));
        assert_eq!(bytes, Header { ttl: 1, ..header() }.to_bytes());
        assert_eq!(decrement_ttl(&mut bytes), Err(Expired));
        assert_eq!(bytes, Header { ttl: 1, ..header() }.to_bytes());
        assert_eq!(decrement_ttl(&mut bytes[..19]), Err(Expired));
    }

    prop_compose! {
        fn any_header()(
            (traffic_class, total_len, identification) in any::<(u8, u16, u16)>(),
            (dont_fragment, offset, more) in (any::<bool>(), 0..0x2000_u16, any::<bool>()),
            (ttl, protocol, source, destination) in any::<(u8, u8, [u8; 4], [u8; 4])>(),
        ) -> Header {
            Header {
                traffic_class,
                total_len,
                identification,
                dont_fragment,
                fragment: Fragment { offset: offset * 8, more },
                ttl,
                protocol: Protocol(protocol),
                source: Ipv4Addr::from(source),
                destination: Ipv4Addr::from(destination),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_to_the_same(header in any_header(), len in 20..200_u16) {
            let header = Header { total_len: len, ..header };
            let mut bytes = std::vec![0; usize::from(len)];
            header.emit(&mut bytes).unwrap();
            let packet = Packet::parse(&bytes).unwrap();
            prop_assert!(packet.checksum_ok());
            let fragment = Fragment {
                offset: u16::try_from(packet.fragment_offset()).unwrap(),
                more: packet.more_fragments(),
            };
            prop_assert_eq!(header, Header {
                traffic_class: packet.traffic_class(),
                total_len: u16::try_from(packet.total_len()).unwrap(),
                identification: packet.identification(),
                dont_fragment: packet.dont_fragment(),
                fragment,
                ttl: packet.ttl(),
                protocol: packet.protocol(),
                source: packet.source(),
                destination: packet.destination(),
            });
        }

        #[test]
        fn a_change_in_place_equals_a_new_header(header in any_header(), class: u8, len: u16, id: u16, part in 0..0x2000_u16) {
            let mut bytes = header.to_bytes();
            let fragment = Fragment { offset: part * 8, more: part & 1 == 0 };
            set_traffic_class(&mut bytes, class);
            set_fragment(&mut bytes, 77, fragment);
            set_length(&mut bytes, len, id);
            swap_addresses(&mut bytes);
            let new = Header {
                traffic_class: class,
                total_len: len,
                identification: id,
                fragment,
                source: header.destination,
                destination: header.source,
                ..header
            };
            prop_assert_eq!(bytes, new.to_bytes());
        }

        #[test]
        fn no_bytes_panic_and_accessors_agree(mut bytes: Vec<u8>, ihl in 0..16_u8, len in 0..120_u16) {
            if bytes.len() > 3 {
                bytes[0] = 0x40 | ihl;
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
            }
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert_eq!(packet.header().len() + packet.payload().len(), packet.total_len());
                prop_assert_eq!(packet.options().len() + HEADER_LEN, packet.header_len());
                prop_assert_eq!(&bytes[packet.payload_range()], packet.payload());
                prop_assert_eq!(packet.is_fragment(), packet.more_fragments() || packet.fragment_offset() > 0);
                prop_assert_eq!(packet.dscp() << 2 | packet.ecn().bits(), packet.traffic_class());
            }
        }
    }
}
