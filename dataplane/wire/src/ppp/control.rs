//! The packet all PPP control protocols share: code, identifier, length (RFC 1661 §5).
//!
//! ```text
//! |     Code      |  Identifier   |            Length             |
//! |    Data ... (Length - 4 bytes), then perhaps padding
//! ```

use crate::reader::{Reader, Truncated};
use crate::writer::{Overflow, Writer};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 4;

/// The code of a control packet; its meaning depends on the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Code(pub u8);

/// Codes of LCP; 1 to 7 are those of IPCP too (RFC 1661 §5, RFC 1332 §2).
#[allow(missing_docs, reason = "the names are the RFC's")]
impl Code {
    pub const CONFIGURE_REQUEST: Self = Self(1);
    pub const CONFIGURE_ACK: Self = Self(2);
    pub const CONFIGURE_NAK: Self = Self(3);
    pub const CONFIGURE_REJECT: Self = Self(4);
    pub const TERMINATE_REQUEST: Self = Self(5);
    pub const TERMINATE_ACK: Self = Self(6);
    pub const CODE_REJECT: Self = Self(7);
    pub const PROTOCOL_REJECT: Self = Self(8);
    pub const ECHO_REQUEST: Self = Self(9);
    pub const ECHO_REPLY: Self = Self(10);
    pub const DISCARD_REQUEST: Self = Self(11);
    /// RFC 1570 §2.1.
    pub const IDENTIFICATION: Self = Self(12);
    /// RFC 1570 §2.2.
    pub const TIME_REMAINING: Self = Self(13);
}

/// A control packet: what follows the protocol field, without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlPacket<'a> {
    /// What it is.
    pub code: Code,
    /// Pairs requests with replies.
    pub identifier: u8,
    /// Everything the length field covers after the header.
    pub data: &'a [u8],
    /// Header and data as received, to be sent back in a reject.
    pub bytes: &'a [u8],
}

impl<'a> ControlPacket<'a> {
    /// Reads a packet; bytes after its length are padding (RFC 1661 §5).
    ///
    /// # Errors
    /// [`Truncated`] if its length is below 4 or beyond `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Truncated> {
        let mut reader = Reader::new(bytes);
        let code = Code(reader.u8()?);
        let identifier = reader.u8()?;
        let len = usize::from(reader.u16()?);
        Ok(Self {
            code,
            identifier,
            data: reader.take(len.checked_sub(HEADER_LEN).ok_or(Truncated)?)?,
            bytes: bytes.get(..len).ok_or(Truncated)?,
        })
    }
}

/// Appends a packet whose data `data` writes.
///
/// # Errors
/// [`Overflow`] if it does not fit; part of it may then be written.
pub fn put(
    writer: &mut Writer<'_>,
    code: Code,
    identifier: u8,
    data: impl FnOnce(&mut Writer<'_>) -> Result<(), Overflow>,
) -> Result<(), Overflow> {
    let start = writer.len();
    writer.u8(code.0)?;
    writer.u8(identifier)?;
    let field = writer.length_field()?;
    data(writer)?;
    writer.close(field, start)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// LCP Configure-Request of pppd 2.4.9, captured in `direct-ss-gcm`, frame 20.
    const REQUEST: &str = "01010014010405000206000000000506da44e7dc";

    #[test]
    fn deconstruct() {
        let bytes = hex::decode(REQUEST).unwrap();
        let packet = ControlPacket::parse(&bytes).unwrap();
        assert_eq!(packet.code, Code::CONFIGURE_REQUEST);
        assert_eq!(packet.identifier, 1);
        assert_eq!(packet.data, &bytes[4..]);
        assert_eq!(packet.bytes, bytes);
    }

    #[test]
    fn construct() {
        let bytes = hex::decode(REQUEST).unwrap();
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        put(&mut writer, Code::CONFIGURE_REQUEST, 1, |writer| {
            writer.put(&bytes[4..])
        })
        .unwrap();
        assert_eq!(writer.written(), bytes);
    }

    #[test]
    fn padding_is_left_out() {
        let packet = ControlPacket::parse(&[9, 2, 0, 5, 7, 0, 0]).unwrap();
        assert_eq!(packet.data, [7]);
        assert_eq!(packet.bytes, [9, 2, 0, 5, 7]);
    }

    #[test]
    fn every_truncation_and_short_length_is_refused() {
        let bytes = hex::decode(REQUEST).unwrap();
        for len in 0..bytes.len() {
            assert_eq!(ControlPacket::parse(&bytes[..len]), Err(Truncated));
        }
        for len in 0..4 {
            assert_eq!(ControlPacket::parse(&[1, 1, 0, len, 0, 0]), Err(Truncated));
        }
        assert_eq!(ControlPacket::parse(&[1, 1, 0xFF, 0xFF, 0]), Err(Truncated));
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            if let Ok(packet) = ControlPacket::parse(&bytes) {
                proptest::prop_assert_eq!(packet.data.len() + HEADER_LEN, packet.bytes.len());
            }
        }
    }
}
