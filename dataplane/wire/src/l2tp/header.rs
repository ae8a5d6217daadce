//! The L2TP header in all its legal forms (RFC 2661 §3.1).
//!
//! ```text
//! T L x x S x O P x x x x version | [length] | tunnel id | session id | [Ns | Nr] | [offset size | offset pad …] | payload
//! T control · L length present · S Ns and Nr present · O offset present · P priority; each field 16 bits
//! ```

use core::ops::Range;

use crate::id::{SessionId, TunnelId};
use crate::malformed::Malformed;
use crate::reader::{Reader, Truncated};
use crate::writer::{Overflow, Writer};

/// The version of this header; 1 is L2F, 3 is RFC 3931.
pub const VERSION: u8 = 2;
/// Bytes of a control header.
pub const CONTROL_LEN: usize = 12;
/// Bytes of the longest data header that [`DataHeader`] writes.
pub const MAX_DATA_LEN: usize = 12;

/// The first 16 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// T: a control message.
    pub const CONTROL: Self = Self(0x8000);
    /// L: the length field is there.
    pub const LENGTH: Self = Self(0x4000);
    /// S: Ns and Nr are there.
    pub const SEQUENCE: Self = Self(0x0800);
    /// O: the offset size field is there.
    pub const OFFSET: Self = Self(0x0200);
    /// P: a data message to be preferred in queues.
    pub const PRIORITY: Self = Self(0x0100);

    /// Whether all bits of `flag` are set.
    #[inline]
    pub const fn contains(self, flag: Self) -> bool {
        self.0 & flag.0 == flag.0
    }

    /// Bits of both.
    #[inline]
    pub const fn with(self, flag: Self) -> Self {
        Self(self.0 | flag.0)
    }

    /// The version in the low four bits.
    #[inline]
    pub const fn version(self) -> u8 {
        (self.0 & 0x000F) as u8
    }
}

/// Sequence numbers of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// Number of this message.
    pub ns: u16,
    /// Number of the control message expected next; without meaning in data messages.
    pub nr: u16,
}

/// The header of a received message; it fits the message and itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The first 16 bits, reserved ones as received.
    pub flags: Flags,
    /// The receiver's name for the tunnel.
    pub tunnel: TunnelId,
    /// The receiver's name for the session; 0 in control messages of the tunnel itself.
    pub session: SessionId,
    /// Ns and Nr, always there in control messages.
    pub sequence: Option<Sequence>,
    /// Bytes before the payload, offset pad included.
    header_len: usize,
    /// Bytes of header and payload: the length field, or all there was.
    total_len: usize,
}

impl Header {
    /// Reads the header at the front of `message`, the payload of a UDP datagram. Reserved bits are ignored.
    ///
    /// # Errors
    /// `Truncated` if the header ends early; `Version` if not 2; `Flags` for a control message without L or S or with O;
    /// `Length` if the length field counts less than the header or more than there is; `HeaderLength` if the offset does.
    /// # Source
    /// RFC 2661 §3.1. P in a control message is ignored.
    #[inline]
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        let flags = Flags(reader.u16()?);
        if flags.version() != VERSION {
            return Err(Malformed::Version(flags.version()));
        }
        if flags.contains(Flags::CONTROL) && !is_control_form(flags) {
            return Err(Malformed::Flags(flags.0));
        }
        let length = optional(flags, Flags::LENGTH, || reader.u16())?;
        let tunnel = TunnelId(reader.u16()?);
        let session = SessionId(reader.u16()?);
        let sequence = optional(flags, Flags::SEQUENCE, || sequence(&mut reader))?;
        let offset = optional(flags, Flags::OFFSET, || reader.u16())?;
        let total_len = length.map_or(message.len(), usize::from);
        let header_len = message.len() - reader.len() + offset.map_or(0, usize::from);
        if total_len > message.len() || total_len < message.len() - reader.len() {
            return Err(Malformed::Length(total_len));
        }
        if header_len > total_len {
            return Err(Malformed::HeaderLength(header_len));
        }
        Ok(Self {
            flags,
            tunnel,
            session,
            sequence,
            header_len,
            total_len,
        })
    }

    /// Whether it is a control message.
    #[inline]
    pub const fn is_control(&self) -> bool {
        self.flags.contains(Flags::CONTROL)
    }

    /// Bytes before the payload: 6 to 65,535, offset pad included.
    #[inline]
    pub const fn header_len(&self) -> usize {
        self.header_len
    }

    /// Bytes of header and payload.
    #[inline]
    pub const fn total_len(&self) -> usize {
        self.total_len
    }

    /// Place of the payload in the parsed message.
    #[inline]
    pub const fn payload_range(&self) -> Range<usize> {
        self.header_len..self.total_len
    }
}

/// RFC 2661 §3.1: control messages have length and sequence numbers and no offset.
const fn is_control_form(flags: Flags) -> bool {
    flags.contains(Flags::LENGTH.with(Flags::SEQUENCE)) && !flags.contains(Flags::OFFSET)
}

/// Reads a field whose presence a flag tells.
#[inline]
fn optional<T>(
    flags: Flags,
    flag: Flags,
    read: impl FnOnce() -> Result<T, Truncated>,
) -> Result<Option<T>, Truncated> {
    if flags.contains(flag) {
        read().map(Some)
    } else {
        Ok(None)
    }
}

#[inline]
fn sequence(reader: &mut Reader<'_>) -> Result<Sequence, Truncated> {
    Ok(Sequence {
        ns: reader.u16()?,
        nr: reader.u16()?,
    })
}

/// Whether a data message says how long it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Length {
    /// It ends where the datagram ends.
    #[default]
    Absent,
    /// It carries a length field.
    Present,
}

/// The header of a data message to be sent: 6 to 12 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataHeader {
    /// The receiver's name for the tunnel.
    pub tunnel: TunnelId,
    /// The receiver's name for the session.
    pub session: SessionId,
    /// Whether the length field is written.
    pub length: Length,
    /// Ns and Nr, if the session is sequenced.
    pub sequence: Option<Sequence>,
}

impl DataHeader {
    /// Bytes of the header: 6, 8, 10 or 12.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a header has bytes")]
    pub const fn len(&self) -> usize {
        let length = match self.length {
            Length::Absent => 0,
            Length::Present => 2,
        };
        6 + length + if self.sequence.is_some() { 4 } else { 0 }
    }

    /// Writes the header for `payload_len` bytes to the front of `message` and returns its length.
    ///
    /// # Errors
    /// [`Overflow`] if `message` is shorter than the header, or a length field is wanted and the whole exceeds 65,535 bytes.
    #[inline]
    pub fn emit(&self, message: &mut [u8], payload_len: usize) -> Result<usize, Overflow> {
        let mut flags = Flags(u16::from(VERSION));
        if self.length == Length::Present {
            flags = flags.with(Flags::LENGTH);
        }
        if self.sequence.is_some() {
            flags = flags.with(Flags::SEQUENCE);
        }
        let mut writer = Writer::new(message);
        writer.u16(flags.0)?;
        if self.length == Length::Present {
            writer.u16(
                u16::try_from(self.len().saturating_add(payload_len)).map_err(|_| Overflow)?,
            )?;
        }
        writer.u16(self.tunnel.0)?;
        writer.u16(self.session.0)?;
        if let Some(sequence) = self.sequence {
            writer.u16(sequence.ns)?;
            writer.u16(sequence.nr)?;
        }
        Ok(writer.len())
    }
}

/// The header of a control message to be sent: 12 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlHeader {
    /// The receiver's name for the tunnel; 0 until it has told us.
    pub tunnel: TunnelId,
    /// The receiver's name for the session; 0 for the tunnel itself.
    pub session: SessionId,
    /// Ns and Nr.
    pub sequence: Sequence,
}

impl ControlHeader {
    /// Writes the header for `payload_len` bytes of AVPs to the front of `message` and returns its length, 12.
    ///
    /// # Errors
    /// [`Overflow`] if `message` is shorter than the header or the whole exceeds 65,535 bytes.
    pub fn emit(&self, message: &mut [u8], payload_len: usize) -> Result<usize, Overflow> {
        let flags = Flags(u16::from(VERSION))
            .with(Flags::CONTROL)
            .with(Flags::LENGTH)
            .with(Flags::SEQUENCE);
        let mut writer = Writer::new(message);
        writer.u16(flags.0)?;
        writer
            .u16(u16::try_from(CONTROL_LEN.saturating_add(payload_len)).map_err(|_| Overflow)?)?;
        writer.u16(self.tunnel.0)?;
        writer.u16(self.session.0)?;
        writer.u16(self.sequence.ns)?;
        writer.u16(self.sequence.nr)?;
        Ok(writer.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;
    use crate::sample;

    /// Every field: length 18, offset 2, payload of 2.
    const FULL: [u8; 20] = [
        0x4B, 0x02, 0, 18, 0x91, 0x71, 0x5D, 0xBF, 0, 7, 0, 9, 0, 2, 0xEE, 0xEE, 0xC0, 0x21, 0xDD,
        0xDD,
    ];

    #[test]
    fn deconstruct() {
        let header = Header::parse(&FULL).unwrap();
        assert!(!header.is_control() && header.flags.contains(Flags::PRIORITY));
        assert_eq!(
            (header.tunnel, header.session),
            (TunnelId(0x9171), SessionId(0x5DBF))
        );
        assert_eq!(header.sequence, Some(Sequence { ns: 7, nr: 9 }));
        assert_eq!((header.header_len(), header.total_len()), (16, 18));
        assert_eq!(FULL[header.payload_range()], [0xC0, 0x21]);
    }

    #[test]
    fn captured_messages_parse() {
        let data = &sample::lcp_plaintext()[8..38];
        let header = Header::parse(data).unwrap();
        assert_eq!(
            (header.tunnel, header.session),
            (TunnelId(37_233), SessionId(23_999))
        );
        assert_eq!((header.sequence, header.payload_range()), (None, 6..30));

        let acknowledgement = &sample::zlb_plaintext()[8..20];
        let header = Header::parse(acknowledgement).unwrap();
        assert!(header.is_control());
        assert_eq!(
            (header.tunnel, header.session),
            (TunnelId(37_233), SessionId(0))
        );
        assert_eq!(header.sequence, Some(Sequence { ns: 1, nr: 2 }));
        assert!(header.payload_range().is_empty());
    }

    #[test]
    fn construct() {
        let control = ControlHeader {
            tunnel: TunnelId(37_233),
            session: SessionId(0),
            sequence: Sequence { ns: 1, nr: 2 },
        };
        let mut bytes = [0xA5; 13];
        assert_eq!(control.emit(&mut bytes, 0), Ok(12));
        assert_eq!(bytes[..12], sample::zlb_plaintext()[8..20]);
        assert_eq!(bytes[12], 0xA5);
        assert_eq!(control.emit(&mut bytes[..11], 0), Err(Overflow));
        assert_eq!(control.emit(&mut bytes, 65_524), Err(Overflow));

        let data = DataHeader {
            tunnel: TunnelId(37_233),
            session: SessionId(23_999),
            ..DataHeader::default()
        };
        assert_eq!(data.emit(&mut bytes, 24), Ok(6));
        assert_eq!(bytes[..6], sample::lcp_plaintext()[8..14]);
        let data = DataHeader {
            length: Length::Present,
            sequence: Some(Sequence { ns: 3, nr: 4 }),
            ..data
        };
        assert_eq!(data.emit(&mut bytes, 1), Ok(12));
        assert_eq!(
            bytes[..12],
            [0x48, 0x02, 0, 13, 0x91, 0x71, 0x5D, 0xBF, 0, 3, 0, 4]
        );
        assert_eq!(data.emit(&mut bytes[..11], 1), Err(Overflow));
        assert_eq!(data.emit(&mut bytes, 65_524), Err(Overflow));
    }

    #[test]
    fn every_truncation_is_refused() {
        for len in 0..18 {
            let error = if len < 14 {
                Malformed::Truncated
            } else {
                Malformed::Length(18)
            };
            assert_eq!(Header::parse(&FULL[..len]), Err(error), "{len} bytes");
        }
        let mut without_length = FULL[..2].to_vec();
        without_length[0] = 0x0B;
        without_length.extend(&FULL[4..18]);
        for len in 0..without_length.len() {
            let error = if len < 12 {
                Malformed::Truncated
            } else {
                Malformed::HeaderLength(14)
            };
            let parsed = Header::parse(&without_length[..len]);
            assert_eq!(parsed.err(), (len < 14).then_some(error), "{len} bytes");
        }
    }

    #[test]
    fn other_versions_are_refused() {
        for (byte, version) in [(0x00, 0), (0x01, 1), (0x03, 3), (0xF3, 3)] {
            let mut bytes = FULL;
            bytes[1] = byte;
            assert_eq!(Header::parse(&bytes), Err(Malformed::Version(version)));
        }
    }

    #[test]
    fn reserved_bits_are_ignored() {
        let mut bytes = FULL;
        bytes[0] |= 0x34;
        bytes[1] |= 0xF0;
        let (plain, odd) = (
            Header::parse(&FULL).unwrap(),
            Header::parse(&bytes).unwrap(),
        );
        assert_eq!(
            odd,
            Header {
                flags: odd.flags,
                ..plain
            }
        );
    }

    #[test]
    fn a_control_message_has_length_and_sequence_and_no_offset() {
        let with = |flags: u16| {
            let mut bytes = [0; 16];
            bytes[..2].copy_from_slice(&flags.to_be_bytes());
            bytes[3] = 12;
            Header::parse(&bytes).map(|header| header.is_control())
        };
        assert_eq!(with(0xC802), Ok(true));
        assert_eq!(with(0xC902), Ok(true), "priority is ignored");
        for flags in [0x8802, 0xC002, 0x8002, 0xCA02] {
            assert_eq!(with(flags), Err(Malformed::Flags(flags)));
        }
    }

    /// macOS floods the server with these before its SCCRQ.
    #[test]
    fn a_hello_on_tunnel_zero_parses() {
        let mut bytes = std::vec![0xC8, 0x02, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([0x80, 8, 0, 0, 0, 0, 0, 6]);
        let header = Header::parse(&bytes).unwrap();
        assert!(header.is_control());
        assert_eq!((header.tunnel, header.session), (TunnelId(0), SessionId(0)));
        assert_eq!(header.payload_range(), 12..20);
    }

    #[test]
    fn length_and_offset_stay_within_the_message() {
        let with = |length: u8, offset: [u8; 2]| {
            let mut bytes = FULL;
            bytes[3] = length;
            bytes[12..14].copy_from_slice(&offset);
            Header::parse(&bytes).map(|header| header.payload_range())
        };
        assert_eq!(with(13, [0, 0]), Err(Malformed::Length(13)));
        assert_eq!(with(14, [0, 0]), Ok(14..14));
        assert_eq!(with(20, [0, 6]), Ok(20..20));
        assert_eq!(with(20, [0, 7]), Err(Malformed::HeaderLength(21)));
        assert_eq!(with(20, [0xFF, 0xFF]), Err(Malformed::HeaderLength(65_549)));
        assert_eq!(with(21, [0, 0]), Err(Malformed::Length(21)));
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_to_the_same(tunnel: u16, session: u16, length: bool, numbers: Option<(u16, u16)>, payload in 0..50_usize) {
            let data = DataHeader {
                tunnel: TunnelId(tunnel),
                session: SessionId(session),
                length: if length { Length::Present } else { Length::Absent },
                sequence: numbers.map(|(ns, nr)| Sequence { ns, nr }),
            };
            let mut bytes = std::vec![0; data.len() + payload];
            prop_assert_eq!(data.emit(&mut bytes, payload), Ok(data.len()));
            let header = Header::parse(&bytes).unwrap();
            prop_assert_eq!((header.tunnel, header.session, header.sequence), (data.tunnel, data.session, data.sequence));
            prop_assert_eq!(header.payload_range(), data.len()..bytes.len());

            let control = ControlHeader { tunnel: data.tunnel, session: data.session, sequence: data.sequence.unwrap_or_default() };
            let mut bytes = std::vec![0; CONTROL_LEN + payload];
            control.emit(&mut bytes, payload).unwrap();
            let header = Header::parse(&bytes).unwrap();
            prop_assert!(header.is_control());
            prop_assert_eq!((header.tunnel, header.session, header.sequence), (control.tunnel, control.session, Some(control.sequence)));
            prop_assert_eq!(header.payload_range(), CONTROL_LEN..bytes.len());
        }

        #[test]
        fn no_bytes_panic_and_accessors_agree(flags: u8, rest: Vec<u8>, small in prop::collection::vec(0..24_u8, 0..24)) {
            for tail in [rest, small] {
                let mut bytes = std::vec![flags, 0x02];
                bytes.extend(tail);
                if let Ok(header) = Header::parse(&bytes) {
                    prop_assert!(header.header_len() <= header.total_len() && header.total_len() <= bytes.len());
                    prop_assert!(bytes.get(header.payload_range()).is_some());
                    prop_assert_eq!(header.sequence.is_some(), header.flags.contains(Flags::SEQUENCE));
                }
            }
        }
    }
}
