//! ICMP (RFC 792): echo, and the errors a router sends.
//!
//! ```text
//! 0 type | 1 code | 2 checksum | 4 identifier, sequence number (echo) or unused, next-hop MTU (RFC 1191 §4) | 8 data or quote
//! ```

use core::net::Ipv4Addr;

use crate::ipv4::{self, Packet, Protocol};
use crate::writer::{Overflow, Writer};
use crate::{checksum, fixed};

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;
/// Bytes of an error packet at most, IP header included (RFC 1812 §4.3.2.3).
pub const MAX_ERROR_LEN: usize = 576;

mod field {
    use core::ops::Range;

    pub(super) const TYPE: usize = 0;
    pub(super) const CODE: usize = 1;
    pub(super) const TYPE_CODE: Range<usize> = 0..2;
    pub(super) const CHECKSUM: Range<usize> = 2..4;
    pub(super) const IDENTIFIER: Range<usize> = 4..6;
    pub(super) const SEQUENCE: Range<usize> = 6..8;
    pub(super) const NEXT_HOP_MTU: Range<usize> = 6..8;
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Type(pub u8);

impl Type {
    /// Answer to an echo request.
    pub const ECHO_REPLY: Self = Self(0);
    /// The packet could not be delivered.
    pub const UNREACHABLE: Self = Self(3);
    /// A router is congested; no longer sent.
    pub const SOURCE_QUENCH: Self = Self(4);
    /// There is a better way.
    pub const REDIRECT: Self = Self(5);
    /// Asks for an answer.
    pub const ECHO_REQUEST: Self = Self(8);
    /// The packet ran out of hops or its fragments out of time.
    pub const TIME_EXCEEDED: Self = Self(11);
    /// A header field is wrong.
    pub const PARAMETER_PROBLEM: Self = Self(12);

    /// Whether the message reports an error, which no error may answer (RFC 1122 §3.2.2).
    pub const fn is_error(self) -> bool {
        matches!(
            self,
            Self::UNREACHABLE
                | Self::SOURCE_QUENCH
                | Self::REDIRECT
                | Self::TIME_EXCEEDED
                | Self::PARAMETER_PROBLEM
        )
    }
}

/// Whether an echo message asks or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoKind {
    /// It asks.
    Request,
    /// It answers.
    Reply,
}

/// An echo request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    /// Whether it asks or answers.
    pub kind: EchoKind,
    /// Names the asker's process.
    pub identifier: u16,
    /// Counts requests.
    pub sequence: u16,
    /// What the answer repeats.
    pub data: &'a [u8],
}

impl<'a> Echo<'a> {
    /// Takes `message`, an ICMP message from its type to its end, if it is an echo whose checksum holds.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let (header, data) = message.split_first_chunk::<HEADER_LEN>()?;
        let kind = match (Type(header[field::TYPE]), header[field::CODE]) {
            (Type::ECHO_REQUEST, 0) => EchoKind::Request,
            (Type::ECHO_REPLY, 0) => EchoKind::Reply,
            _ => return None,
        };
        let (identifier, sequence) = (
            fixed::u16(header, field::IDENTIFIER),
            fixed::u16(header, field::SEQUENCE),
        );
        (checksum::of(message) == 0).then_some(Self {
            kind,
            identifier,
            sequence,
            data,
        })
    }

    /// Writes the message with its checksum to the front of `message` and returns its length.
    ///
    /// # Errors
    /// [`Overflow`] if `message` is shorter than 8 bytes and the data.
    pub fn emit(&self, message: &mut [u8]) -> Result<usize, Overflow> {
        let kind = match self.kind {
            EchoKind::Request => Type::ECHO_REQUEST,
            EchoKind::Reply => Type::ECHO_REPLY,
        };
        let mut writer = Writer::new(message);
        writer.put(&[kind.0, 0, 0, 0])?;
        writer.u16(self.identifier)?;
        writer.u16(self.sequence)?;
        writer.put(self.data)?;
        let checksum = checksum::of(writer.written());
        writer.patch_u16(field::CHECKSUM.start, checksum)?;
        Ok(writer.len())
    }
}

/// Turns the echo request `message` into its reply; false and nothing changed if it is something else or its checksum is wrong.
///
/// The caller exchanges the addresses: [`ipv4::swap_addresses`].
pub fn answer_echo(message: &mut [u8]) -> bool {
    if Echo::parse(message).is_none_or(|echo| echo.kind != EchoKind::Request) {
        return false;
    }
    let old = fixed::u16(message, field::TYPE_CODE);
    let new = u16::from_be_bytes([Type::ECHO_REPLY.0, 0]);
    let checksum = checksum::update(fixed::u16(message, field::CHECKSUM), old, new);
    fixed::put_u16(message, field::TYPE_CODE, new);
    fixed::put_u16(message, field::CHECKSUM, checksum);
    true
}

/// Why a packet goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is too big for the next link and may not be fragmented (RFC 1191 §4).
    FragmentationNeeded {
        /// The largest packet that would pass, in bytes.
        next_hop_mtu: u16,
    },
    /// No route leads to its destination.
    NetworkUnreachable,
    /// Its destination does not answer on the last link.
    HostUnreachable,
    /// A rule forbids it (RFC 1812 §5.2.7.1).
    Prohibited,
    /// It ran out of hops.
    TimeExceeded,
}

impl Error {
    const fn type_code(self) -> [u8; 2] {
        match self {
            Self::NetworkUnreachable => [Type::UNREACHABLE.0, 0],
            Self::HostUnreachable => [Type::UNREACHABLE.0, 1],
            Self::FragmentationNeeded { .. } => [Type::UNREACHABLE.0, 4],
            Self::Prohibited => [Type::UNREACHABLE.0, 13],
            Self::TimeExceeded => [Type::TIME_EXCEEDED.0, 0],
        }
    }

    const fn next_hop_mtu(self) -> u16 {
        match self {
            Self::FragmentationNeeded { next_hop_mtu } => next_hop_mtu,
            Self::NetworkUnreachable
            | Self::HostUnreachable
            | Self::Prohibited
            | Self::TimeExceeded => 0,
        }
    }
}

/// Whether an error may be sent about `packet`: not about errors, later fragments, or what did not go from one host to one host.
///
/// # Source
/// RFC 1812 §4.3.2.7; RFC 1122 §3.2.2
pub fn permits_error(packet: &Packet<'_>) -> bool {
    let about_error = packet.protocol() == Protocol::ICMP
        && packet
            .payload()
            .first()
            .is_none_or(|kind| Type(*kind).is_error());
    packet.fragment_offset() == 0
        && !about_error
        && is_host(packet.source())
        && is_host(packet.destination())
}

/// Whether `address` names one host: neither unspecified, loopback, multicast nor of the reserved class with broadcast.
const fn is_host(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && address.octets()[0] < 224
}

/// Writes a whole IPv4 packet that tells the source of `about` why it goes no further, and returns its length: up to 576 bytes.
///
/// It quotes the header and as much of the payload as fits. Ask [`permits_error`] first.
///
/// # Errors
/// [`Overflow`] if `packet` is shorter than 576 bytes and than what there is to say.
pub fn emit_error(
    packet: &mut [u8],
    from: Ipv4Addr,
    error: Error,
    about: &Packet<'_>,
) -> Result<usize, Overflow> {
    let room = MAX_ERROR_LEN - ipv4::HEADER_LEN - HEADER_LEN;
    let quote = about.bytes().get(..room).unwrap_or_else(|| about.bytes());
    let total_len = ipv4::HEADER_LEN + HEADER_LEN + quote.len();
    let mut writer = Writer::new(packet);
    let header = ipv4::Header {
        // RFC 1812 §4.3.2.5: errors carry precedence 6.
        traffic_class: 0xC0,
        total_len: u16::try_from(total_len).map_err(|_| Overflow)?,
        identification: 0,
        dont_fragment: false,
        fragment: ipv4::Fragment::default(),
        ttl: 64,
        protocol: Protocol::ICMP,
        source: from,
        destination: about.source(),
    };
    writer.put(&header.to_bytes())?;
    writer.put(&error_header(error, quote))?;
    writer.put(quote)?;
    Ok(writer.len())
}

fn error_header(error: Error, quote: &[u8]) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    fixed::put(&mut header, field::TYPE_CODE, error.type_code());
    fixed::put_u16(&mut header, field::NEXT_HOP_MTU, error.next_hop_mtu());
    let checksum = checksum::Sum::new().bytes(&header).bytes(quote).finish();
    fixed::put_u16(&mut header, field::CHECKSUM, checksum);
    header
}
