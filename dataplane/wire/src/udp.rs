//! UDP (RFC 768).
//!
//! ```text
//! 0 source port | 2 destination port | 4 length | 6 checksum | 8 payload
//! ```

use core::ops::Range;

use crate::checksum::Sum;
use crate::fixed;
use crate::malformed::Malformed;
use crate::writer::{Overflow, Writer};

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;

mod field {
    use core::ops::Range;

    pub(super) const SOURCE_PORT: Range<usize> = 0..2;
    pub(super) const DESTINATION_PORT: Range<usize> = 2..4;
    pub(super) const LEN: Range<usize> = 4..6;
    pub(super) const CHECKSUM: Range<usize> = 6..8;
}

/// A UDP port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(pub u16);

impl Port {
    /// IKE.
    pub const IKE: Self = Self(500);
    /// IKE and ESP through NAT (RFC 3947, RFC 3948).
    pub const NAT_T: Self = Self(4500);
    /// L2TP.
    pub const L2TP: Self = Self(1701);
}

/// A datagram whose length fits its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    fixed: &'a [u8; HEADER_LEN],
    /// Header and payload as the length field counts them.
    bytes: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Takes the datagram at the front of `bytes`; what follows its length is left out.
    ///
    /// # Errors
    /// `Truncated` below 8 bytes; `Length` if the length field counts fewer than 8 or more than there are.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let fixed = bytes
            .first_chunk::<HEADER_LEN>()
            .ok_or(Malformed::Truncated)?;
        let len = usize::from(fixed::u16(fixed, field::LEN));
        if len < HEADER_LEN {
            return Err(Malformed::Length(len));
        }
        let bytes = bytes.get(..len).ok_or(Malformed::Length(len))?;
        Ok(Self { fixed, bytes })
    }

    /// Port of the sender.
    #[inline]
    pub fn source_port(&self) -> Port {
        Port(fixed::u16(self.fixed, field::SOURCE_PORT))
    }

    /// Port of the receiver.
    #[inline]
    pub fn destination_port(&self) -> Port {
        Port(fixed::u16(self.fixed, field::DESTINATION_PORT))
    }

    /// Bytes of header and payload: 8 to 65,535.
    #[inline]
    pub const fn total_len(&self) -> usize {
        self.bytes.len()
    }

    /// The checksum field; 0 says that none was computed.
    #[inline]
    pub fn checksum(&self) -> u16 {
        fixed::u16(self.fixed, field::CHECKSUM)
    }

    /// Whether the checksum holds over `pseudo_header` and the datagram, or is absent.
    ///
    /// Over IPv6 only tunnels may leave it out (RFC 8200 §8.1, RFC 6935): there the caller asks for [`Datagram::checksum`] too.
    pub fn checksum_ok(&self, pseudo_header: Sum) -> bool {
        self.checksum() == 0 || pseudo_header.bytes(self.bytes).finish() == 0
    }

    /// What the datagram carries.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    /// Place of the payload in the parsed bytes.
    #[inline]
    pub const fn payload_range(&self) -> Range<usize> {
        HEADER_LEN..self.bytes.len()
    }
}

/// A header to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Port of the sender.
    pub source_port: Port,
    /// Port of the receiver.
    pub destination_port: Port,
    /// Bytes of header and payload.
    pub total_len: u16,
    /// 0 for none; see [`fill_checksum`].
    pub checksum: u16,
}

impl Header {
    /// The header as bytes.
    #[inline]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        fixed::put_u16(&mut bytes, field::SOURCE_PORT, self.source_port.0);
        fixed::put_u16(&mut bytes, field::DESTINATION_PORT, self.destination_port.0);
        fixed::put_u16(&mut bytes, field::LEN, self.total_len);
        fixed::put_u16(&mut bytes, field::CHECKSUM, self.checksum);
        bytes
    }

    /// Writes the header to the front of `datagram` and returns its length, 8.
    ///
    /// # Errors
    /// [`Overflow`] if `datagram` is shorter.
    #[inline]
    pub fn emit(&self, datagram: &mut [u8]) -> Result<usize, Overflow> {
        Writer::new(datagram).put(&self.to_bytes())?;
        Ok(HEADER_LEN)
    }
}

/// Computes the checksum of all of `datagram` with `pseudo_header` and writes it; without a header it does nothing.
///
/// # Source
/// RFC 768: a checksum that comes out as zero is sent as all ones.
pub fn fill_checksum(datagram: &mut [u8], pseudo_header: Sum) {
    fixed::put_u16(datagram, field::CHECKSUM, 0);
    let checksum = match pseudo_header.bytes(datagram).finish() {
        0 => 0xFFFF,
        checksum => checksum,
    };
    fixed::put_u16(datagram, field::CHECKSUM, checksum);
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;
    use crate::ipv4::{self, Protocol};
    use crate::{eth, sample};

    const DATAGRAM: [u8; 12] = [0xDC, 0x02, 0x06, 0xA5, 0, 10, 0xAB, 0xCD, 1, 2, 0xEE, 0xEE];

    #[test]
    fn deconstruct() {
        let datagram = Datagram::parse(&DATAGRAM).unwrap();
        assert_eq!(datagram.source_port(), Port(56_322));
        assert_eq!(datagram.destination_port(), Port::L2TP);
        assert_eq!((datagram.total_len(), datagram.checksum()), (10, 0xABCD));
        assert_eq!(datagram.payload(), [1, 2]);
        assert_eq!(DATAGRAM[datagram.payload_range()], [1, 2]);
    }

    #[test]
    fn construct() {
        let header = Header {
            source_port: Port(56_322),
            destination_port: Port::L2TP,
            total_len: 10,
            checksum: 0xABCD,
        };
        let mut bytes = [0xA5; 9];
        assert_eq!(header.emit(&mut bytes), Ok(8));
        assert_eq!(bytes[..8], DATAGRAM[..8]);
        assert_eq!(bytes[8], 0xA5);
        assert_eq!(header.emit(&mut bytes[..7]), Err(Overflow));
    }

    #[test]
    fn every_truncation_is_refused() {
        for len in 0..10 {
            let error = if len < 8 {
                Malformed::Truncated
            } else {
                Malformed::Length(10)
            };
            assert_eq!(
                Datagram::parse(&DATAGRAM[..len]).unwrap_err(),
                error,
                "{len} bytes"
            );
        }
    }

    #[test]
    fn a_length_below_the_header_is_refused() {
        let mut bytes = DATAGRAM;
        bytes[5] = 7;
        assert_eq!(Datagram::parse(&bytes).unwrap_err(), Malformed::Length(7));
        bytes[5] = 8;
        assert!(Datagram::parse(&bytes).unwrap().payload().is_empty());
    }

    #[test]
    fn a_captured_datagram_parses_and_its_checksum_holds() {
        let frame = sample::nat_ike_frame();
        let packet = ipv4::Packet::parse(&frame[eth::HEADER_LEN..]).unwrap();
        let mut bytes = packet.payload().to_vec();
        let len = u16::try_from(bytes.len()).unwrap();
        let pseudo =
            Sum::new().pseudo_v4(packet.source(), packet.destination(), Protocol::UDP, len);
        let datagram = Datagram::parse(&bytes).unwrap();
        assert_eq!(
            (datagram.source_port(), datagram.destination_port()),
            (Port::NAT_T, Port::NAT_T)
        );
        assert_eq!(datagram.checksum(), 0xB16C);
        assert!(datagram.checksum_ok(pseudo));
        assert!(!datagram.checksum_ok(pseudo.u16(1)));
        bytes[6..8].fill(0x77);
        fill_checksum(&mut bytes, pseudo);
        assert_eq!(Datagram::parse(&bytes).unwrap().checksum(), 0xB16C);
    }

    #[test]
    fn an_absent_checksum_passes_and_a_computed_zero_is_sent_as_ones() {
        let mut bytes = [0, 0, 0, 0, 0, 8, 0, 0];
        assert!(
            Datagram::parse(&bytes)
                .unwrap()
                .checksum_ok(Sum::new().u16(0x1234))
        );
        fill_checksum(&mut bytes, Sum::new().u16(!8));
        assert_eq!(bytes[6..], [0xFF, 0xFF]);
        assert!(
            Datagram::parse(&bytes)
                .unwrap()
                .checksum_ok(Sum::new().u16(!8))
        );
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_to_the_same(from: u16, to: u16, payload in prop::collection::vec(any::<u8>(), 0..60), source: u128, destination: u128) {
            let total_len = u16::try_from(HEADER_LEN + payload.len()).unwrap();
            let header = Header { source_port: Port(from), destination_port: Port(to), total_len, checksum: 0 };
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend(&payload);
            let v6 = Sum::new().pseudo_v6(Ipv6Addr::from(source), Ipv6Addr::from(destination), Protocol::UDP, u32::from(total_len));
            fill_checksum(&mut bytes, v6);
            let datagram = Datagram::parse(&bytes).unwrap();
            prop_assert!(datagram.checksum() != 0 && datagram.checksum_ok(v6));
            prop_assert_eq!((datagram.source_port(), datagram.destination_port()), (Port(from), Port(to)));
            prop_assert_eq!(datagram.payload(), &payload[..]);
        }

        #[test]
        fn no_bytes_panic_and_accessors_agree(mut bytes: Vec<u8>, len in 0..60_u16) {
            fixed::put_u16(&mut bytes, 4..6, len);
            if let Ok(datagram) = Datagram::parse(&bytes) {
                prop_assert_eq!(datagram.total_len(), usize::from(len));
                prop_assert_eq!(datagram.payload().len() + HEADER_LEN, datagram.total_len());
                let source = Ipv4Addr::UNSPECIFIED;
                let _ = datagram.checksum_ok(Sum::new().pseudo_v4(source, source, Protocol::UDP, len));
            }
        }
    }
}
