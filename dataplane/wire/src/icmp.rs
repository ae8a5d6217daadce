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
        // RFC 6864 §4.1: what is never fragmented needs no identification of its own.
        identification: 0,
        dont_fragment: true,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;
    use crate::sample;

    /// IPv4 in the captured L2TP data message: after UDP (8), L2TP (6) and PPP (4).
    fn ping() -> Vec<u8> {
        sample::ping_plaintext()[18..102].to_vec()
    }

    fn icmp_of(packet: &[u8]) -> &[u8] {
        Packet::parse(packet).unwrap().payload()
    }

    #[test]
    fn a_captured_echo_request_parses() {
        let packet = ping();
        let echo = Echo::parse(icmp_of(&packet)).unwrap();
        assert_eq!(
            (echo.kind, echo.identifier, echo.sequence),
            (EchoKind::Request, 0x03D0, 1)
        );
        assert_eq!(echo.data.len(), 56);
    }

    #[test]
    fn construct() {
        let echo = Echo {
            kind: EchoKind::Reply,
            identifier: 0x1234,
            sequence: 7,
            data: &[1, 2, 3],
        };
        let mut bytes = [0xA5; 12];
        assert_eq!(echo.emit(&mut bytes), Ok(11));
        assert_eq!(bytes, [0, 0, 0xE9, 0xC2, 0x12, 0x34, 0, 7, 1, 2, 3, 0xA5]);
        assert_eq!(Echo::parse(&bytes[..11]), Some(echo));
        assert_eq!(echo.emit(&mut bytes[..10]), Err(Overflow));
    }

    #[test]
    fn every_truncation_is_refused() {
        let packet = ping();
        let message = icmp_of(&packet);
        for len in 0..message.len() {
            // A cut of whole zero words would leave the checksum as it was; this payload has none at its end.
            assert_eq!(Echo::parse(&message[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn a_request_becomes_its_reply() {
        let mut packet = ping();
        let request = packet.clone();
        ipv4::swap_addresses(&mut packet);
        assert!(answer_echo(&mut packet[20..]));
        let (reply, was) = (
            Packet::parse(&packet).unwrap(),
            Packet::parse(&request).unwrap(),
        );
        assert!(reply.checksum_ok());
        assert_eq!(
            (reply.source(), reply.destination()),
            (was.destination(), was.source())
        );
        let (reply, was) = (
            Echo::parse(reply.payload()).unwrap(),
            Echo::parse(was.payload()).unwrap(),
        );
        assert_eq!(
            reply,
            Echo {
                kind: EchoKind::Reply,
                ..was
            }
        );
        assert!(!answer_echo(&mut packet[20..]), "a reply is not answered");
    }

    #[test]
    fn a_request_with_a_wrong_checksum_is_not_answered() {
        let mut packet = ping();
        packet[40] ^= 1;
        let before = packet.clone();
        assert!(!answer_echo(&mut packet[20..]));
        assert_eq!(packet, before);
    }

    #[test]
    fn too_big_tells_the_mtu_and_quotes_the_packet() {
        let packet = ping();
        let about = Packet::parse(&packet).unwrap();
        let mut bytes = [0; MAX_ERROR_LEN];
        let from = Ipv4Addr::new(10, 99, 0, 1);
        let error = Error::FragmentationNeeded {
            next_hop_mtu: 1_280,
        };
        let len = emit_error(&mut bytes, from, error, &about).unwrap();
        let answer = Packet::parse(&bytes[..len]).unwrap();
        assert!(answer.checksum_ok());
        assert_eq!(
            (answer.source(), answer.destination()),
            (from, about.source())
        );
        assert_eq!(
            (answer.protocol(), answer.traffic_class()),
            (Protocol::ICMP, 0xC0)
        );
        let message = answer.payload();
        assert_eq!(checksum::of(message), 0);
        assert_eq!(message[..2], [3, 4]);
        assert_eq!(message[4..8], [0, 0, 0x05, 0x00]);
        assert_eq!(&message[8..], about.bytes());
        assert!(!permits_error(&answer));
    }

    #[test]
    fn an_error_is_576_bytes_at_most() {
        let mut packet = std::vec![0x5A; 1_400];
        ipv4::Header {
            traffic_class: 0,
            total_len: 1_400,
            identification: 1,
            dont_fragment: true,
            fragment: ipv4::Fragment::default(),
            ttl: 1,
            protocol: Protocol::UDP,
            source: Ipv4Addr::new(10, 0, 0, 1),
            destination: Ipv4Addr::new(10, 0, 0, 2),
        }
        .emit(&mut packet)
        .unwrap();
        let about = Packet::parse(&packet).unwrap();
        let mut bytes = [0; MAX_ERROR_LEN];
        assert_eq!(
            emit_error(&mut bytes, Ipv4Addr::LOCALHOST, Error::TimeExceeded, &about),
            Ok(MAX_ERROR_LEN)
        );
        let message = icmp_of(&bytes);
        assert_eq!((message[0], message[1], checksum::of(message)), (11, 0, 0));
        assert_eq!(message[8..], packet[..548]);
        let short = &mut bytes[..MAX_ERROR_LEN - 1];
        assert_eq!(
            emit_error(short, Ipv4Addr::LOCALHOST, Error::TimeExceeded, &about),
            Err(Overflow)
        );
    }

    #[test]
    fn errors_are_sent_only_about_packets_between_hosts() {
        let header = ipv4::Header {
            traffic_class: 0,
            total_len: 28,
            identification: 1,
            dont_fragment: true,
            fragment: ipv4::Fragment::default(),
            ttl: 9,
            protocol: Protocol::UDP,
            source: Ipv4Addr::new(10, 0, 0, 1),
            destination: Ipv4Addr::new(10, 0, 0, 2),
        };
        let permitted = |header: ipv4::Header| {
            let mut bytes = [3; 28];
            header.emit(&mut bytes).unwrap();
            permits_error(&Packet::parse(&bytes).unwrap())
        };
        assert!(permitted(header));
        assert!(permitted(ipv4::Header {
            fragment: ipv4::Fragment {
                offset: 0,
                more: true
            },
            ..header
        }));
        assert!(!permitted(ipv4::Header {
            fragment: ipv4::Fragment {
                offset: 8,
                more: false
            },
            ..header
        }));
        assert!(!permitted(ipv4::Header {
            protocol: Protocol::ICMP,
            ..header
        }));
        for address in [
            "224.0.0.1",
            "255.255.255.255",
            "0.0.0.0",
            "127.0.0.1",
            "240.0.0.1",
        ] {
            let address = address.parse().unwrap();
            assert!(
                !permitted(ipv4::Header {
                    source: address,
                    ..header
                }),
                "from {address}"
            );
            assert!(
                !permitted(ipv4::Header {
                    destination: address,
                    ..header
                }),
                "to {address}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_to_the_same(identifier: u16, sequence: u16, data: Vec<u8>) {
            let echo = Echo { kind: EchoKind::Request, identifier, sequence, data: &data };
            let mut bytes = std::vec![0; 8 + data.len()];
            echo.emit(&mut bytes).unwrap();
            prop_assert_eq!(Echo::parse(&bytes), Some(echo));
            prop_assert!(answer_echo(&mut bytes));
            prop_assert_eq!(Echo::parse(&bytes), Some(Echo { kind: EchoKind::Reply, ..echo }));
        }

        #[test]
        fn no_bytes_panic(mut bytes: Vec<u8>) {
            let before = bytes.clone();
            let asked = Echo::parse(&bytes).is_some_and(|echo| echo.kind == EchoKind::Request);
            prop_assert_eq!(answer_echo(&mut bytes), asked);
            prop_assert_eq!(bytes == before, !asked);
        }
    }
}
