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
    pub const fn len(&self) -> usize {
        let length = match self.length {
            Length::Absent => 0,
            Length::Present => 2,
        };
        6 + length + if self.sequence.is_some() { 4 } else { 0 }
    }

    /// Never: a header has bytes.
    pub const fn is_empty(&self) -> bool {
        false
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
            writer.u16(u16::try_from(self.len() + payload_len).map_err(|_| Overflow)?)?;
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
        writer.u16(u16::try_from(CONTROL_LEN + payload_len).map_err(|_| Overflow)?)?;
        writer.u16(self.tunnel.0)?;
        writer.u16(self.session.0)?;
        writer.u16(self.sequence.ns)?;
        writer.u16(self.sequence.nr)?;
        Ok(writer.len())
    }
}
