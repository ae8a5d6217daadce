//! PPP frames without HDLC: address, control and protocol fields, each compressible (RFC 1661 §2, RFC 1662 §3.1).
//!
//! ```text
//! [ address 0xFF | control 0x03 ] | protocol 2, or 1 if its first octet is odd | payload
//! ```

use crate::malformed::Malformed;
use crate::writer::{Overflow, Writer};

/// Address "all stations" and control "unnumbered information" (RFC 1662 §3.1).
pub const ADDRESS_CONTROL: [u8; 2] = [0xFF, 0x03];
/// Bytes of the longest header.
pub const MAX_HEADER_LEN: usize = 4;

/// Says what a frame carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u16);

impl Protocol {
    /// IPv4 (RFC 1332).
    pub const IPV4: Self = Self(0x0021);
    /// TCP/IP with compressed headers (RFC 1144).
    pub const VJ_COMPRESSED: Self = Self(0x002D);
    /// TCP/IP that compressed headers refer to (RFC 1144).
    pub const VJ_UNCOMPRESSED: Self = Self(0x002F);
    /// Multilink (RFC 1990).
    pub const MULTILINK: Self = Self(0x003D);
    /// IPv6 (RFC 5072).
    pub const IPV6: Self = Self(0x0057);
    /// Compressed or encrypted datagram (RFC 1962).
    pub const COMPRESSED: Self = Self(0x00FD);
    /// IP control (RFC 1332).
    pub const IPCP: Self = Self(0x8021);
    /// IPv6 control (RFC 5072).
    pub const IPV6CP: Self = Self(0x8057);
    /// Compression control (RFC 1962).
    pub const CCP: Self = Self(0x80FD);
    /// Link control (RFC 1661).
    pub const LCP: Self = Self(0xC021);
    /// Password authentication (RFC 1334).
    pub const PAP: Self = Self(0xC023);
    /// Link quality report (RFC 1989).
    pub const LQR: Self = Self(0xC025);
    /// Challenge handshake authentication (RFC 1994).
    pub const CHAP: Self = Self(0xC223);
    /// Extensible authentication (RFC 3748).
    pub const EAP: Self = Self(0xC227);
}

/// What a peer allows to be left out (RFC 1661 §6.5, §6.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compression {
    /// Address and control fields are left out.
    pub address_control: bool,
    /// Protocol numbers below 0x100 take one byte.
    pub protocol: bool,
}

/// A frame whose protocol field is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub protocol: Protocol,
    /// Bytes before the payload: 1 to 4.
    pub header_len: usize,
    /// Everything after the header.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes all of `bytes` as one frame. Compressed fields are accepted whether or not they were negotiated.
    ///
    /// A number that cannot be assigned (its last octet even, or 0x00FF, which a lone address octet reads as) survives: RFC 1661 §2
    /// has such frames "treated as having an unrecognized Protocol", and so rejected by their receiver, not lost on the way.
    /// # Errors
    /// `Truncated` if the protocol field ends early.
    /// # Source
    /// RFC 1661 §2, §6.5, §6.6
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let after = bytes.strip_prefix(&ADDRESS_CONTROL).unwrap_or(bytes);
        let (&first, rest) = after.split_first().ok_or(Malformed::Truncated)?;
        let (protocol, payload) = if first & 1 == 1 {
            (Protocol(u16::from(first)), rest)
        } else {
            let (&second, rest) = rest.split_first().ok_or(Malformed::Truncated)?;
            (Protocol(u16::from_be_bytes([first, second])), rest)
        };
        Ok(Self {
            protocol,
            header_len: bytes.len() - payload.len(),
            payload,
        })
    }
}

/// Bytes of the header of a frame: 1 to 4.
#[inline]
pub fn header_len(protocol: Protocol, compression: Compression) -> usize {
    let address_control = if omits_address_control(protocol, compression) {
        0
    } else {
        ADDRESS_CONTROL.len()
    };
    address_control
        + if fits_one_octet(protocol, compression) {
            1
        } else {
            2
        }
}

/// Writes the header of a frame to the front of `frame` and returns its length. LCP is never compressed.
///
/// # Errors
/// [`Overflow`] if `frame` is shorter.
/// # Source
/// RFC 1661 §6.5, §6.6
#[inline]
pub fn emit(
    frame: &mut [u8],
    protocol: Protocol,
    compression: Compression,
) -> Result<usize, Overflow> {
    let mut writer = Writer::new(frame);
    if !omits_address_control(protocol, compression) {
        writer.put(&ADDRESS_CONTROL)?;
    }
    let [high, low] = protocol.0.to_be_bytes();
    if fits_one_octet(protocol, compression) {
        writer.u8(low)?;
    } else {
        writer.put(&[high, low])?;
    }
    Ok(writer.len())
}

/// RFC 1661 §6.6: "the Address and Control fields MUST NOT be compressed when sending any LCP packet".
#[inline]
fn omits_address_control(protocol: Protocol, compression: Compression) -> bool {
    compression.address_control && protocol != Protocol::LCP
}

#[inline]
const fn fits_one_octet(protocol: Protocol, compression: Compression) -> bool {
    compression.protocol && protocol.0 < 0x0100
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;
    use crate::sample;

    const BOTH: Compression = Compression {
        address_control: true,
        protocol: true,
    };

    #[test]
    fn deconstruct_every_form() {
        for (bytes, protocol, header_len) in [
            (&[0xFF, 0x03, 0xC0, 0x21, 9][..], Protocol::LCP, 4),
            (&[0xFF, 0x03, 0x21, 9], Protocol::IPV4, 3),
            (&[0x00, 0x21, 9], Protocol::IPV4, 2),
            (&[0xC0, 0x21, 9], Protocol::LCP, 2),
            (&[0x57, 9], Protocol::IPV6, 1),
        ] {
            let frame = Frame::parse(bytes).unwrap();
            assert_eq!(
                frame,
                Frame {
                    protocol,
                    header_len,
                    payload: &[9]
                },
                "{bytes:02x?}"
            );
        }
    }

    #[test]
    fn captured_frames_parse() {
        let plaintext = sample::lcp_plaintext();
        let frame = Frame::parse(&plaintext[14..38]).unwrap();
        assert_eq!(
            (frame.protocol, frame.header_len, frame.payload.len()),
            (Protocol::LCP, 4, 20)
        );
        let plaintext = sample::ping_plaintext();
        let frame = Frame::parse(&plaintext[14..102]).unwrap();
        assert_eq!((frame.protocol, frame.payload.len()), (Protocol::IPV4, 84));
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = [0xFF, 0x03, 0xC0, 0x21];
        assert_eq!(Frame::parse(&[]), Err(Malformed::Truncated));
        assert_eq!(Frame::parse(&bytes[..2]), Err(Malformed::Truncated));
        assert_eq!(Frame::parse(&bytes[..3]), Err(Malformed::Truncated));
        assert!(Frame::parse(&bytes).unwrap().payload.is_empty());
    }

    #[test]
    fn numbers_that_cannot_be_assigned_survive_to_be_rejected() {
        for (bytes, protocol, header_len) in [
            (&[0xC0, 0x20, 9][..], 0xC020, 2),
            (&[0xFF, 0x03, 0x00, 0x00, 9], 0x0000, 4),
            (&[0x00, 0xFF, 9], 0x00FF, 2),
            (&[0xFF, 9], 0x00FF, 1),
            (&[0xFF, 0x03, 0xFF, 9], 0x00FF, 3),
        ] {
            let frame = Frame {
                protocol: Protocol(protocol),
                header_len,
                payload: &[9],
            };
            assert_eq!(Frame::parse(bytes), Ok(frame));
        }
    }

    #[test]
    fn construct_with_each_compression() {
        let emitted = |protocol, address_control, protocol_field| {
            let compression = Compression {
                address_control,
                protocol: protocol_field,
            };
            let mut bytes = [0xA5; 5];
            let len = emit(&mut bytes, protocol, compression).unwrap();
            assert_eq!(len, header_len(protocol, compression));
            assert_eq!(bytes[len], 0xA5);
            assert_eq!(
                emit(&mut bytes[..len - 1], protocol, compression),
                Err(Overflow)
            );
            bytes[..len].to_vec()
        };
        assert_eq!(
            emitted(Protocol::IPV4, false, false),
            [0xFF, 0x03, 0x00, 0x21]
        );
        assert_eq!(emitted(Protocol::IPV4, false, true), [0xFF, 0x03, 0x21]);
        assert_eq!(emitted(Protocol::IPV4, true, false), [0x00, 0x21]);
        assert_eq!(emitted(Protocol::IPV4, true, true), [0x21]);
        assert_eq!(emitted(Protocol::IPCP, true, true), [0x80, 0x21]);
        assert_eq!(emitted(Protocol::LCP, true, true), [0xFF, 0x03, 0xC0, 0x21]);
    }

    #[test]
    fn a_lone_03_after_a_compressed_header_is_payload() {
        let frame = Frame::parse(&[0x21, 0x03]).unwrap();
        assert_eq!((frame.protocol, frame.payload), (Protocol::IPV4, &[3][..]));
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_to_the_same(high in 0..0x80_u16, low in 0..0x80_u16, address_control: bool, protocol: bool, payload: Vec<u8>) {
            let number = Protocol(high << 9 | low << 1 | 1);
            prop_assume!(number != Protocol(0x00FF));
            let compression = Compression { address_control, protocol };
            let mut bytes = [0; MAX_HEADER_LEN];
            let len = emit(&mut bytes, number, compression).unwrap();
            let frame = [&bytes[..len], &payload].concat();
            let parsed = Frame::parse(&frame).unwrap();
            prop_assert_eq!(parsed, Frame { protocol: number, header_len: len, payload: &payload });
            prop_assert!(header_len(number, BOTH) <= len);
        }

        #[test]
        fn no_bytes_panic_and_accessors_agree(bytes: Vec<u8>, addressed: bool) {
            let bytes = if addressed { [&ADDRESS_CONTROL[..], &bytes].concat() } else { bytes };
            if let Ok(frame) = Frame::parse(&bytes) {
                prop_assert_eq!(&bytes[frame.header_len..], frame.payload);
                prop_assert!(frame.header_len % 2 == 0 || frame.protocol.0 < 0x0100);
                prop_assert!(frame.header_len <= MAX_HEADER_LEN);
            }
        }
    }
}
