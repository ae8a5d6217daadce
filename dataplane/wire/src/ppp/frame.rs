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

/// A frame whose protocol field is well formed.
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
    /// # Errors
    /// `Truncated` if the protocol field ends early; `Protocol` if its last octet is even, or it begins with 0xFF but is no
    /// address.
    /// # Source
    /// RFC 1661 §2: "All Protocols MUST be odd", and their first octet even.
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
        // RFC 1661 §6.6 reserves 0x00FF, so that an address is never taken for a protocol.
        if protocol.0 & 1 == 0 || protocol.0 == 0x00FF {
            return Err(Malformed::Protocol(protocol.0));
        }
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
