//! The ISAKMP header (RFC 2408 §3.1).
//!
//! ```text
//!  0                8               16   17   18   19   20            24           28
//!  | initiator cookie | responder cookie |next|vers|exch|flag| message id | length |
//! ```

use core::fmt;

use super::{ExchangeType, Malformed, PayloadType};
use crate::reader::Reader;
use crate::writer::{Overflow, Writer};

/// One side's name for an ISAKMP SA; zero only in the responder's place of the first message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cookie(pub [u8; 8]);

impl Cookie {
    /// Not yet chosen.
    pub const ZERO: Self = Self([0; 8]);
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// Names an exchange under an ISAKMP SA; zero in phase 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MessageId(pub u32);

impl MessageId {
    /// The id of phase 1.
    pub const PHASE_1: Self = Self(0);
}

/// Major version in the high, minor in the low four bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u8);

impl Version {
    /// IKEv1.
    pub const V1_0: Self = Self(0x10);

    /// The major version: 1 for IKEv1, 2 for IKEv2.
    pub const fn major(self) -> u8 {
        self.0 >> 4
    }
}

/// Flags of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// Everything behind the header is encrypted.
    pub const ENCRYPTED: Self = Self(0x01);
    /// The sender waits for a CONNECTED notification.
    pub const COMMIT: Self = Self(0x02);
    /// Authenticated but not encrypted.
    pub const AUTHENTICATION_ONLY: Self = Self(0x04);

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A parsed header: 28 bytes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Chosen by the initiator.
    pub initiator: Cookie,
    /// Chosen by the responder.
    pub responder: Cookie,
    /// Kind of the first payload.
    pub next: PayloadType,
    /// Protocol version.
    pub version: Version,
    /// Exchange that the message belongs to.
    pub exchange: ExchangeType,
    /// Flags.
    pub flags: Flags,
    /// Names the exchange.
    pub message_id: MessageId,
}

impl Header {
    /// Bytes of a header.
    pub const LEN: usize = 28;

    /// Splits a datagram (without non-ESP marker) into its header and everything behind it.
    ///
    /// # Errors
    /// `Truncated` below 28 bytes; `Length` unless the length field is exactly the datagram's.
    pub fn split(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut reader = Reader::new(bytes);
        let header = Self {
            initiator: Cookie(reader.array()?),
            responder: Cookie(reader.array()?),
            next: PayloadType(reader.u8()?),
            version: Version(reader.u8()?),
            exchange: ExchangeType(reader.u8()?),
            flags: Flags(reader.u8()?),
            message_id: MessageId(reader.u32()?),
        };
        let len = reader.u32()?;
        if usize::try_from(len) != Ok(bytes.len()) {
            return Err(Malformed::Length);
        }
        Ok((header, reader.rest()))
    }

    /// Writes the header with a length of zero, which [`MessageWriter`](super::MessageWriter) fills in.
    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        writer.put(&self.initiator.0)?;
        writer.put(&self.responder.0)?;
        writer.u8(self.next.0)?;
        writer.u8(self.version.0)?;
        writer.u8(self.exchange.0)?;
        writer.u8(self.flags.0)?;
        writer.u32(self.message_id.0)?;
        writer.u32(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 29] = [
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 8, 0x10, 32, 1, 0xAA, 0xBB, 0xCC,
        0xDD, 0, 0, 0, 29, 0x55,
    ];

    #[test]
    fn deconstruct() {
        let (header, body) = Header::split(&BYTES).unwrap();
        assert_eq!(header.initiator, Cookie([1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!(header.responder, Cookie([9, 10, 11, 12, 13, 14, 15, 16]));
        assert_eq!(header.next, PayloadType::HASH);
        assert_eq!(header.version, Version::V1_0);
        assert_eq!(header.exchange, ExchangeType::QUICK_MODE);
        assert!(header.flags.contains(Flags::ENCRYPTED));
        assert_eq!(header.message_id, MessageId(0xAABB_CCDD));
        assert_eq!(body, [0x55]);
    }

    #[test]
    fn every_short_input_is_refused() {
        for len in 0..Header::LEN {
            assert_eq!(Header::split(&BYTES[..len]), Err(Malformed::Truncated));
        }
        assert_eq!(Header::split(&BYTES[..28]), Err(Malformed::Length));
    }

    #[test]
    fn construct() {
        let (header, _) = Header::split(&BYTES).unwrap();
        let mut buffer = [0; Header::LEN];
        let mut writer = Writer::new(&mut buffer);
        header.emit(&mut writer).unwrap();
        assert_eq!(buffer[..24], BYTES[..24]);
    }
}
