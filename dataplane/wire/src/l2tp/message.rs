//! Control messages: their header, types, and result codes (RFC 2661 §3.1, §3.2, §4.4.2).
//!
//! ```text
//! |1|1|0 0|1|0|0|0|0 0 0 0|  2  |            Length             |   C802 or C8x2
//! |          Tunnel ID          |           Session ID          |
//! |             Ns              |              Nr               |
//! |  Message Type AVP, other AVPs; none at all: a ZLB, which only acknowledges
//! ```

use crate::id::{SessionId, TunnelId};
use crate::l2tp::avp::{self, AttributeType, Avp, AvpError, Avps, Need};
use crate::l2tp::header::{self, Header, Sequence};
use crate::malformed::Malformed;
use crate::writer::{Overflow, Writer};

/// Length of a control message's header in bytes.
pub const HEADER_LEN: usize = header::CONTROL_LEN;

/// The type of a control message (RFC 2661 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MessageType(pub u16);

#[allow(missing_docs, reason = "the names are the RFC's")]
impl MessageType {
    pub const SCCRQ: Self = Self(1);
    pub const SCCRP: Self = Self(2);
    pub const SCCCN: Self = Self(3);
    pub const STOP_CCN: Self = Self(4);
    pub const HELLO: Self = Self(6);
    pub const OCRQ: Self = Self(7);
    pub const OCRP: Self = Self(8);
    pub const OCCN: Self = Self(9);
    pub const ICRQ: Self = Self(10);
    pub const ICRP: Self = Self(11);
    pub const ICCN: Self = Self(12);
    pub const CDN: Self = Self(14);
    pub const WEN: Self = Self(15);
    pub const SLI: Self = Self(16);
}

/// Result codes of StopCCN (RFC 2661 §4.4.2).
#[allow(missing_docs, reason = "the names are the RFC's")]
pub mod stop_ccn {
    pub const GENERAL_REQUEST: u16 = 1;
    pub const GENERAL_ERROR: u16 = 2;
    pub const ALREADY_EXISTS: u16 = 3;
    pub const NOT_AUTHORIZED: u16 = 4;
    pub const PROTOCOL_VERSION: u16 = 5;
    pub const SHUTTING_DOWN: u16 = 6;
    pub const STATE_MACHINE: u16 = 7;
}

/// Result codes of CDN (RFC 2661 §4.4.2).
#[allow(missing_docs, reason = "the names are the RFC's")]
pub mod cdn {
    pub const LOST_CARRIER: u16 = 1;
    pub const GENERAL_ERROR: u16 = 2;
    pub const ADMINISTRATIVE: u16 = 3;
    pub const TEMPORARY: u16 = 4;
    pub const PERMANENT: u16 = 5;
    pub const INVALID_DESTINATION: u16 = 6;
    pub const NO_CARRIER: u16 = 7;
    pub const BUSY: u16 = 8;
    pub const NO_DIAL_TONE: u16 = 9;
    pub const TIMEOUT: u16 = 10;
    pub const NO_FRAMING: u16 = 11;
}

/// The header of a control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlHeader {
    /// The receiver's tunnel id; 0 before it has assigned one.
    pub tunnel: TunnelId,
    /// The receiver's session id; 0 if the message is about the tunnel or none is assigned.
    pub session: SessionId,
    /// Sequence number of this message.
    pub ns: u16,
    /// Sequence number that the sender expects next.
    pub nr: u16,
}

/// What is wrong with a control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// It is a data message.
    NotControl,
    /// Its header does not parse.
    Header(Malformed),
    /// Its first AVP does not parse, or is not a plain Message Type.
    NoMessageType,
}

impl From<Malformed> for MessageError {
    fn from(malformed: Malformed) -> Self {
        Self::Header(malformed)
    }
}

/// A control message with its header checked and its AVPs not yet looked at.
#[derive(Clone, Copy, Debug)]
pub struct ControlMessage<'a> {
    /// The header.
    pub header: ControlHeader,
    /// Everything after it, to the header's length: AVPs; nothing in a ZLB.
    pub avps: &'a [u8],
}

impl<'a> ControlMessage<'a> {
    /// Reads the header of `bytes`, a UDP payload; what follows the header's length is ignored.
    ///
    /// # Errors
    /// See [`MessageError`]; [`MessageError::NoMessageType`] is left to [`Self::body`].
    /// # Source
    /// RFC 2661 §3.1
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let header = Header::parse(bytes)?;
        let (true, Some(Sequence { ns, nr })) = (header.is_control(), header.sequence) else {
            return Err(MessageError::NotControl);
        };
        let avps = bytes.get(header.payload_range()).unwrap_or_default();
        let header = ControlHeader {
            tunnel: header.tunnel,
            session: header.session,
            ns,
            nr,
        };
        Ok(Self { header, avps })
    }

    /// Whether it carries nothing and only acknowledges (a ZLB).
    pub const fn is_zlb(&self) -> bool {
        self.avps.is_empty()
    }

    /// The message type and the AVPs after it.
    ///
    /// # Errors
    /// [`MessageError::NoMessageType`] if the first AVP is anything else, hidden, or malformed (RFC 2661 §4.4.1).
    pub fn body(&self) -> Result<Body<'a>, MessageError> {
        let mut avps = Avps::new(self.avps);
        let is_type = |avp: &Avp<'_>| {
            avp.is_known() && !avp.hidden && avp.attribute == AttributeType::MESSAGE_TYPE
        };
        match avps.next() {
            Some(Ok(avp)) if is_type(&avp) => Ok(Body {
                kind: MessageType(
                    avp.u16()
                        .map_err(|_: AvpError| MessageError::NoMessageType)?,
                ),
                mandatory: avp.mandatory,
                avps,
            }),
            Some(_) | None => Err(MessageError::NoMessageType),
        }
    }
}

/// What a control message says.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    /// Its type.
    pub kind: MessageType,
    /// Whether a receiver that does not know the type must give up the tunnel (M bit, RFC 2661 §4.4.1).
    pub mandatory: bool,
    /// The AVPs after the Message Type.
    pub avps: Avps<'a>,
}

/// Writes a control message: header, Message Type and whatever `avps` appends.
///
/// Returns its length in bytes.
/// # Errors
/// [`Overflow`] if it does not fit `buffer`.
pub fn emit(
    buffer: &mut [u8],
    header: ControlHeader,
    kind: MessageType,
    avps: impl FnOnce(&mut Writer<'_>) -> Result<(), Overflow>,
) -> Result<usize, Overflow> {
    let payload = buffer.get_mut(HEADER_LEN..).ok_or(Overflow)?;
    let mut writer = Writer::new(payload);
    let attribute = AttributeType::MESSAGE_TYPE;
    avp::put_u16(&mut writer, Need::Mandatory, attribute, kind.0)?;
    avps(&mut writer)?;
    let payload_len = writer.len();
    Ok(header.emit(buffer, payload_len)? + payload_len)
}

/// Writes a ZLB: a header that acknowledges all before `header.nr`. Returns its bytes.
pub fn zlb(header: ControlHeader) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    let fits = header.emit(&mut bytes, 0);
    debug_assert_eq!(fits, Ok(HEADER_LEN));
    bytes
}

/// Writes `nr` into a ready control message, so that a retransmission acknowledges what came since.
///
/// # Errors
/// [`Overflow`] if `bytes` is no whole header.
pub fn patch_nr(bytes: &mut [u8], nr: u16) -> Result<(), Overflow> {
    let field = bytes.get_mut(10..HEADER_LEN).ok_or(Overflow)?;
    field.copy_from_slice(&nr.to_be_bytes());
    Ok(())
}

impl ControlHeader {
    fn emit(self, message: &mut [u8], payload_len: usize) -> Result<usize, Overflow> {
        let header = header::ControlHeader {
            tunnel: self.tunnel,
            session: self.session,
            sequence: Sequence {
                ns: self.ns,
                nr: self.nr,
            },
        };
        header.emit(message, payload_len)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// ICRP of xl2tpd 1.3.18, captured in `direct-ss-gcm`, frame 15.
    const ICRP: &str = "c802001c32959da600010003800800000000000b80080000000ee0d5";
    const ICRP_HEADER: ControlHeader = ControlHeader {
        tunnel: TunnelId(0x3295),
        session: SessionId(0x9da6),
        ns: 1,
        nr: 3,
    };

    #[test]
    fn deconstruct() {
        let bytes = hex::decode(ICRP).unwrap();
        let message = ControlMessage::parse(&bytes).unwrap();
        assert_eq!(message.header, ICRP_HEADER);
        assert!(!message.is_zlb());
        let mut body = message.body().unwrap();
        assert_eq!(body.kind, MessageType::ICRP);
        assert!(body.mandatory);
        assert_eq!(body.avps.next().unwrap().unwrap().u16(), Ok(0xe0d5));
        assert!(body.avps.next().is_none());
    }

    #[test]
    fn construct() {
        let mut buffer = [0; 64];
        let len = emit(&mut buffer, ICRP_HEADER, MessageType::ICRP, |writer| {
            let attribute = AttributeType::ASSIGNED_SESSION_ID;
            avp::put_u16(writer, Need::Mandatory, attribute, 0xe0d5)
        })
        .unwrap();
        assert_eq!(hex::encode(&buffer[..len]), ICRP);
    }

    #[test]
    fn a_zlb_is_a_bare_header() {
        // Captured in `direct-ss-gcm`, frame 16.
        let header = ControlHeader {
            tunnel: TunnelId(0x3295),
            session: SessionId(0),
            ns: 2,
            nr: 3,
        };
        assert_eq!(hex::encode(zlb(header)), "c802000c3295000000020003");
        let bytes = zlb(header);
        let message = ControlMessage::parse(&bytes).unwrap();
        assert!(message.is_zlb());
        assert_eq!(message.header, header);
        assert_eq!(message.body().err(), Some(MessageError::NoMessageType));
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = hex::decode(ICRP).unwrap();
        for len in 0..bytes.len() {
            let parsed = ControlMessage::parse(&bytes[..len]);
            assert!(matches!(parsed, Err(MessageError::Header(_))), "at {len}");
        }
    }

    #[test]
    fn bytes_after_the_length_are_not_part_of_it() {
        let mut bytes = hex::decode(ICRP).unwrap();
        bytes.extend([0xFF; 5]);
        assert_eq!(ControlMessage::parse(&bytes).unwrap().avps.len(), 16);
    }

    #[test]
    fn flags_that_rule_out_a_control_message_are_refused() {
        let with = |flags: u16| {
            let mut bytes = hex::decode(ICRP).unwrap();
            bytes[..2].copy_from_slice(&flags.to_be_bytes());
            ControlMessage::parse(&bytes).err()
        };
        assert_eq!(with(0x4802), Some(MessageError::NotControl));
        let version = Malformed::Version(3);
        assert_eq!(with(0xC803), Some(MessageError::Header(version)));
        for flags in [0x8802, 0xC002, 0xCA02] {
            let malformed = Malformed::Flags(flags);
            assert_eq!(with(flags), Some(MessageError::Header(malformed)));
        }
        // The priority bit and reserved bits are ignored.
        assert_eq!(with(0xC9F2), None);
    }

    #[test]
    fn a_length_shorter_than_the_header_is_refused() {
        let mut bytes = hex::decode(ICRP).unwrap();
        bytes[3] = 11;
        assert_eq!(
            ControlMessage::parse(&bytes).err(),
            Some(MessageError::Header(Malformed::Length(11)))
        );
    }

    #[test]
    fn the_first_avp_must_be_a_plain_message_type() {
        let body = |first: [u8; 8]| {
            let mut bytes = hex::decode(ICRP).unwrap();
            bytes[12..20].copy_from_slice(&first);
            ControlMessage::parse(&bytes).unwrap().body().err()
        };
        let missing = Some(MessageError::NoMessageType);
        assert_eq!(body([0x80, 8, 0, 0, 0, 9, 0, 11]), missing);
        assert_eq!(body([0xC0, 8, 0, 0, 0, 0, 0, 11]), missing);
        assert_eq!(body([0x80, 8, 0, 9, 0, 0, 0, 11]), missing);
        assert_eq!(body([0x80, 9, 0, 0, 0, 0, 0, 11]), missing);
        assert_eq!(body([0x80, 5, 0, 0, 0, 0, 0, 11]), missing);
        assert_eq!(body([0x00, 8, 0, 0, 0, 0, 0, 11]), None);
    }

    #[test]
    fn a_retransmission_carries_the_newest_nr() {
        let mut bytes = hex::decode(ICRP).unwrap();
        patch_nr(&mut bytes, 0x0102).unwrap();
        assert_eq!(ControlMessage::parse(&bytes).unwrap().header.nr, 0x0102);
        assert_eq!(patch_nr(&mut bytes[..11], 1), Err(Overflow));
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            if let Ok(message) = ControlMessage::parse(&bytes) {
                proptest::prop_assert!(message.avps.len() + HEADER_LEN <= bytes.len());
                let _ = message.body();
            }
        }
    }
}
