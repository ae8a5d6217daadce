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
