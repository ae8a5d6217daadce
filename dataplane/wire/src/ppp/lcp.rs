//! Options of the Link Control Protocol (RFC 1661 §6, RFC 1570, RFC 1990).

use crate::ppp::frame::Protocol;
use crate::ppp::option::{self, RawOption};
use crate::reader::Reader;
use crate::writer::{Overflow, Writer};

/// The MRU of a peer that names none, in bytes (RFC 1661 §6.1).
pub const DEFAULT_MRU: u16 = 1_500;

/// Type of an LCP option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

#[allow(missing_docs, reason = "the names are the RFCs'")]
impl Kind {
    pub const MRU: Self = Self(1);
    pub const ACCM: Self = Self(2);
    pub const AUTHENTICATION: Self = Self(3);
    pub const QUALITY: Self = Self(4);
    pub const MAGIC_NUMBER: Self = Self(5);
    pub const PROTOCOL_COMPRESSION: Self = Self(7);
    pub const ADDRESS_CONTROL_COMPRESSION: Self = Self(8);
    pub const CALLBACK: Self = Self(13);
    pub const MRRU: Self = Self(17);
    pub const SHORT_SEQUENCE: Self = Self(18);
    pub const ENDPOINT_DISCRIMINATOR: Self = Self(19);
}

/// Algorithm of a CHAP authentication option (RFC 1994 §3, RFC 2759 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ChapAlgorithm(pub u8);

#[allow(missing_docs, reason = "the names are the RFCs'")]
impl ChapAlgorithm {
    pub const MD5: Self = Self(0x05);
    pub const MS_CHAP: Self = Self(0x80);
    pub const MS_CHAP_V2: Self = Self(0x81);
}

/// How one end wants the other to authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// PAP (RFC 1334).
    Pap,
    /// CHAP with the algorithm (RFC 1994).
    Chap(ChapAlgorithm),
    /// Anything else, EAP for one: protocol and the rest of the option.
    Other(Protocol, &'a [u8]),
}

/// An option whose length fits its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LcpOption<'a> {
    /// Longest packet the sender takes, in bytes.
    Mru(u16),
    /// Characters to escape on asynchronous lines; means nothing inside L2TP.
    Accm(u32),
    /// How the receiver shall authenticate.
    Authentication(Authentication<'a>),
    /// Detects a looped-back link.
    MagicNumber(u32),
    /// The sender takes one-byte protocol fields.
    ProtocolCompression,
    /// The sender takes frames without address and control fields.
    AddressControlCompression,
    /// Every other type, and known types with a wrong length.
    Other(RawOption<'a>),
}

impl<'a> From<RawOption<'a>> for LcpOption<'a> {
    fn from(raw: RawOption<'a>) -> Self {
        let other = Self::Other(raw);
        match (Kind(raw.kind), raw.data) {
            (Kind::MRU, &[a, b]) => Self::Mru(u16::from_be_bytes([a, b])),
            (Kind::ACCM, &[a, b, c, d]) => Self::Accm(u32::from_be_bytes([a, b, c, d])),
            (Kind::AUTHENTICATION, data) => {
                authentication(data).map_or(other, Self::Authentication)
            }
            (Kind::MAGIC_NUMBER, &[a, b, c, d]) => {
                Self::MagicNumber(u32::from_be_bytes([a, b, c, d]))
            }
            (Kind::PROTOCOL_COMPRESSION, []) => Self::ProtocolCompression,
            (Kind::ADDRESS_CONTROL_COMPRESSION, []) => Self::AddressControlCompression,
            _ => other,
        }
    }
}

fn authentication(data: &[u8]) -> Option<Authentication<'_>> {
    let mut reader = Reader::new(data);
    let protocol = Protocol(reader.u16().ok()?);
    Some(match (protocol, reader.rest()) {
        (Protocol::PAP, []) => Authentication::Pap,
        (Protocol::CHAP, &[algorithm]) => Authentication::Chap(ChapAlgorithm(algorithm)),
        (protocol, rest) => Authentication::Other(protocol, rest),
    })
}

impl LcpOption<'_> {
    /// Appends the option.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit.
    pub fn put(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        match *self {
            Self::Mru(mru) => option::put(writer, Kind::MRU.0, &mru.to_be_bytes()),
            Self::Accm(map) => option::put(writer, Kind::ACCM.0, &map.to_be_bytes()),
            Self::Authentication(authentication) => put_authentication(writer, authentication),
            Self::MagicNumber(magic) => {
                option::put(writer, Kind::MAGIC_NUMBER.0, &magic.to_be_bytes())
            }
            Self::ProtocolCompression => option::put(writer, Kind::PROTOCOL_COMPRESSION.0, &[]),
            Self::AddressControlCompression => {
                option::put(writer, Kind::ADDRESS_CONTROL_COMPRESSION.0, &[])
            }
            Self::Other(raw) => option::put(writer, raw.kind, raw.data),
        }
    }
}

fn put_authentication(
    writer: &mut Writer<'_>,
    authentication: Authentication<'_>,
) -> Result<(), Overflow> {
    let (protocol, rest) = match &authentication {
        Authentication::Pap => (Protocol::PAP, &[][..]),
        Authentication::Chap(algorithm) => (Protocol::CHAP, core::slice::from_ref(&algorithm.0)),
        Authentication::Other(protocol, rest) => (*protocol, *rest),
    };
    let len = u8::try_from(4 + rest.len()).map_err(|_| Overflow)?;
    writer.u8(Kind::AUTHENTICATION.0)?;
    writer.u8(len)?;
    writer.u16(protocol.0)?;
    writer.put(rest)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::ppp::option::Options;

    /// Options of the server's Configure-Request of pppd 2.4.9, captured in `direct-ss-gcm`, frame 19.
    const REQUEST: &str = "010405000206000000000305c223810506c8384ecb";

    fn parsed(data: &[u8]) -> Vec<LcpOption<'_>> {
        Options::new(data).map(|raw| raw.unwrap().into()).collect()
    }

    #[test]
    fn deconstruct() {
        let data = hex::decode(REQUEST).unwrap();
        assert_eq!(
            parsed(&data),
            [
                LcpOption::Mru(1_280),
                LcpOption::Accm(0),
                LcpOption::Authentication(Authentication::Chap(ChapAlgorithm::MS_CHAP_V2)),
                LcpOption::MagicNumber(0xc838_4ecb),
            ]
        );
    }

    #[test]
    fn options_round_trip() {
        let long = [1; 251];
        let raw = RawOption {
            kind: 13,
            data: &[6],
        };
        let all = [
            LcpOption::Mru(1_400),
            LcpOption::Accm(7),
            LcpOption::Authentication(Authentication::Pap),
            LcpOption::Authentication(Authentication::Chap(ChapAlgorithm::MD5)),
            LcpOption::Authentication(Authentication::Other(Protocol::EAP, &[])),
            LcpOption::Authentication(Authentication::Other(Protocol::CHAP, &long)),
            LcpOption::MagicNumber(9),
            LcpOption::ProtocolCompression,
            LcpOption::AddressControlCompression,
            LcpOption::Other(raw),
        ];
        let mut buffer = [0; 512];
        let mut writer = Writer::new(&mut buffer);
        for option in all {
            option.put(&mut writer).unwrap();
        }
        assert_eq!(parsed(writer.written()), all);
    }

    #[test]
    fn captured_options_round_trip() {
        let data = hex::decode(REQUEST).unwrap();
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        for option in parsed(&data) {
            option.put(&mut writer).unwrap();
        }
        assert_eq!(writer.written(), data);
    }

    #[test]
    fn a_wrong_length_makes_an_option_unknown() {
        for data in [&[1, 3, 5][..], &[5, 5, 0, 0, 0], &[7, 3, 0], &[3, 3, 0xC0]] {
            assert!(matches!(parsed(data)[..], [LcpOption::Other(_)]));
        }
    }
}
