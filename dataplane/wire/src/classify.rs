//! Which verdict a frame gets: the one decoder of the XDP program and of user space.
//!
//! ```text
//!              outer side                                       core side
//! steer        UDP 500, 4500, 1701, ESP, and every fragment     IP for a client pool
//!              of UDP or ESP, for an address of ours
//! pass         all else: the kernel's                           all else: the kernel's
//! ```
//! Written for the BPF verifier: no slices, no panics, loops with constant bounds, and every read of the frame checked at its
//! place. What cannot be read to its end is the kernel's, which refuses it by itself.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::eth::{self, EtherType};
use crate::ipv4::Protocol;
use crate::ipv6;
use crate::udp::Port;

/// A frame whose bytes are read at checked places.
///
/// User space reads a slice; the XDP program compares packet pointers, which is the only form the verifier accepts.
pub trait Bytes {
    /// The `LEN` bytes from `at` on; nothing if the frame ends before them.
    fn array<const LEN: usize>(&self, at: usize) -> Option<[u8; LEN]>;
}

impl Bytes for [u8] {
    #[inline]
    fn array<const LEN: usize>(&self, at: usize) -> Option<[u8; LEN]> {
        self.get(at..)?.first_chunk().copied()
    }
}

/// What happens to a frame, and which counter says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// Steered: IKE on UDP 500.
    Ike,
    /// Steered: ESP, IKE or a keepalive on UDP 4500.
    NatT,
    /// Steered: L2TP in the clear on UDP 1701; user space decides whether that is allowed.
    L2tp,
    /// Steered: ESP as an IP protocol of its own.
    Esp,
    /// Steered: a first or later fragment of UDP or ESP.
    Fragment,
    /// Steered: for a client, from the core side.
    Client,
    /// Dropped: to be steered, but no socket is bound to the queue. Never given by the decoder.
    NoSocket,
    /// Passed: neither IPv4 nor IPv6 after at most two VLAN tags.
    NotIp,
    /// Passed: the destination is no address of ours, or in no pool of clients.
    NotOurs,
    /// Passed: for an address of ours, but another protocol or port.
    OtherProtocol,
    /// Passed: ends early, contradicts itself or nests too deeply.
    Malformed,
}

/// What the XDP program does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Into the ring of its RX queue.
    Steer,
    /// Away.
    Drop,
    /// On to the kernel.
    Pass,
}

impl Verdict {
    /// All verdicts in the order of their counters.
    pub const ALL: [Self; 11] = [
        Self::Ike,
        Self::NatT,
        Self::L2tp,
        Self::Esp,
        Self::Fragment,
        Self::Client,
        Self::NoSocket,
        Self::NotIp,
        Self::NotOurs,
        Self::OtherProtocol,
        Self::Malformed,
    ];

    /// Place of its counter: 0 to 10.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// What follows from it.
    #[inline(always)]
    pub const fn action(self) -> Action {
        match self {
            Self::Ike | Self::NatT | Self::L2tp | Self::Esp | Self::Fragment | Self::Client => {
                Action::Steer
            }
            Self::NoSocket => Action::Drop,
            Self::NotIp | Self::NotOurs | Self::OtherProtocol | Self::Malformed => Action::Pass,
        }
    }

    /// Its name in counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ike => "ike",
            Self::NatT => "nat_t",
            Self::L2tp => "l2tp",
            Self::Esp => "esp",
            Self::Fragment => "fragment",
            Self::Client => "client",
            Self::NoSocket => "no_socket",
            Self::NotIp => "not_ip",
            Self::NotOurs => "not_ours",
            Self::OtherProtocol => "other_protocol",
            Self::Malformed => "malformed",
        }
    }
}

/// Decides about a frame from the outer side; `is_ours` says whether an address is one of our own.
#[inline(always)]
pub fn outer(frame: &(impl Bytes + ?Sized), is_ours: impl FnOnce(IpAddr) -> bool) -> Verdict {
    let decided = match link(frame) {
        Some((EtherType::IPV4, at)) => outer_ipv4(frame, at, is_ours),
        Some((EtherType::IPV6, at)) => outer_ipv6(frame, at, is_ours),
        Some(_) => Some(Verdict::NotIp),
        None => None,
    };
    decided.unwrap_or(Verdict::Malformed)
}

/// Decides about a frame from the core side; `is_client` says whether an address lies in a pool of clients.
#[inline(always)]
pub fn core(frame: &(impl Bytes + ?Sized), is_client: impl FnOnce(IpAddr) -> bool) -> Verdict {
    let destination = match link(frame) {
        Some((EtherType::IPV4, at)) => ipv4(frame, at).map(|packet| IpAddr::V4(packet.destination)),
        Some((EtherType::IPV6, at)) => ipv6(frame, at).map(|packet| IpAddr::V6(packet.destination)),
        Some(_) => return Verdict::NotIp,
        None => None,
    };
    match destination {
        Some(destination) if is_client(destination) => Verdict::Client,
        Some(_) => Verdict::NotOurs,
        None => Verdict::Malformed,
    }
}

/// What is known from an IP header alone.
struct Network<A> {
    destination: A,
    upper: Upper,
}

/// What an IP header says of its payload.
struct Upper {
    protocol: Protocol,
    /// Where the payload begins.
    at: usize,
    /// Whether the packet is a part of one.
    part: bool,
}

#[inline(always)]
fn outer_ipv4(
    frame: &(impl Bytes + ?Sized),
    at: usize,
    is_ours: impl FnOnce(IpAddr) -> bool,
) -> Option<Verdict> {
    let Network { destination, upper } = ipv4(frame, at)?;
    if !is_ours(IpAddr::V4(destination)) {
        return Some(Verdict::NotOurs);
    }
    transport(frame, upper)
}

#[inline(always)]
fn outer_ipv6(
    frame: &(impl Bytes + ?Sized),
    at: usize,
    is_ours: impl FnOnce(IpAddr) -> bool,
) -> Option<Verdict> {
    let Network { destination, upper } = ipv6(frame, at)?;
    // An IPv4-mapped destination is nobody's on the wire, but would be found in a map that keeps IPv4 so.
    if destination.to_ipv4_mapped().is_some() || !is_ours(IpAddr::V6(destination)) {
        return Some(Verdict::NotOurs);
    }
    transport(frame, follow_extensions(frame, upper)?)
}

/// Decides about a packet for an address of ours.
#[inline(always)]
fn transport(frame: &(impl Bytes + ?Sized), upper: Upper) -> Option<Verdict> {
    match upper.protocol {
        Protocol::UDP | Protocol::ESP if upper.part => Some(Verdict::Fragment),
        Protocol::ESP => Some(Verdict::Esp),
        Protocol::UDP => udp(frame, upper.at),
        _ => Some(Verdict::OtherProtocol),
    }
}

/// EtherType and end of the Ethernet header behind at most two VLAN tags.
#[inline(always)]
fn link(frame: &(impl Bytes + ?Sized)) -> Option<(EtherType, usize)> {
    let mut at = eth::HEADER_LEN;
    let mut ether_type = ether_type_before(frame, at)?;
    for _ in 0..eth::MAX_TAGS {
        if !ether_type.is_tag() {
            break;
        }
        at += eth::TAG_LEN;
        ether_type = ether_type_before(frame, at)?;
    }
    Some((ether_type, at))
}

#[inline(always)]
fn ether_type_before(frame: &(impl Bytes + ?Sized), at: usize) -> Option<EtherType> {
    frame
        .array(at - 2)
        .map(|bytes| EtherType(u16::from_be_bytes(bytes)))
}

#[inline(always)]
fn ipv4(frame: &(impl Bytes + ?Sized), at: usize) -> Option<Network<Ipv4Addr>> {
    let [
        version_len,
        _,
        _,
        _,
        _,
        _,
        fragment_high,
        fragment_low,
        _,
        protocol,
    ] = frame.array(at)?;
    let destination: [u8; 4] = frame.array(at + 16)?;
    let header_len = usize::from(version_len & 0x0F) * 4;
    if version_len >> 4 != 4 || header_len < crate::ipv4::HEADER_LEN {
        return None;
    }
    // MF and the 13 bits of the offset; not the reserved bit, not DF.
    let part = (fragment_high & 0x3F) | fragment_low != 0;
    let upper = Upper {
        protocol: Protocol(protocol),
        at: at + header_len,
        part,
    };
    Some(Network {
        destination: Ipv4Addr::from(destination),
        upper,
    })
}

#[inline(always)]
fn ipv6(frame: &(impl Bytes + ?Sized), at: usize) -> Option<Network<Ipv6Addr>> {
    let [version, _, _, _, _, _, next_header] = frame.array(at)?;
    let destination: [u8; 16] = frame.array(at + 24)?;
    if version >> 4 != 6 {
        return None;
    }
    let upper = Upper {
        protocol: Protocol(next_header),
        at: at + ipv6::HEADER_LEN,
        part: false,
    };
    Some(Network {
        destination: Ipv6Addr::from(destination),
        upper,
    })
}

/// Follows extension headers to what is none, or to the header of a fragment: what that names decides for every part alike.
/// A fragment header around a whole packet is followed like any other (RFC 6946 §4).
#[inline(always)]
fn follow_extensions(frame: &(impl Bytes + ?Sized), first: Upper) -> Option<Upper> {
    let Upper {
        mut protocol,
        mut at,
        ..
    } = first;
    for _ in 0..=ipv6::MAX_EXTENSIONS {
        if !ipv6::is_extension(protocol) {
            return Some(Upper {
                protocol,
                at,
                part: false,
            });
        }
        let [next, len, fragment_high, fragment_low] = frame.array(at)?;
        let fragment = protocol == Protocol::FRAGMENT;
        protocol = Protocol(next);
        // Offset and M; not the two reserved bits.
        if fragment && fragment_high | (fragment_low & 0xF9) != 0 {
            return Some(Upper {
                protocol,
                at: at + ipv6::FRAGMENT_LEN,
                part: true,
            });
        }
        at += if fragment {
            ipv6::FRAGMENT_LEN
        } else {
            8 + 8 * usize::from(len)
        };
    }
    None
}

#[inline(always)]
fn udp(frame: &(impl Bytes + ?Sized), at: usize) -> Option<Verdict> {
    let [_, _, high, low] = frame.array(at)?;
    Some(match Port(u16::from_be_bytes([high, low])) {
        Port::IKE => Verdict::Ike,
        Port::NAT_T => Verdict::NatT,
        Port::L2TP => Verdict::L2tp,
        _ => Verdict::OtherProtocol,
    })
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::{ipv4 as v4, sample, udp as datagram};

    const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 10));
    const OURS_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1);

    fn is_ours(address: IpAddr) -> bool {
        address == SERVER || address == IpAddr::V6(OURS_V6)
    }

    fn at_server(frame: &[u8]) -> Verdict {
        outer(frame, is_ours)
    }

    #[test]
    fn captured_frames_are_steered_to_their_receiver_only() {
        assert_eq!(at_server(&sample::nat_ike_frame()), Verdict::NatT);
        assert_eq!(at_server(&sample::nat_esp_frame()), Verdict::NatT);
        assert_eq!(at_server(&sample::esp_frame()), Verdict::NotOurs);
        assert_eq!(outer(&sample::esp_frame()[..], |_| true), Verdict::Esp);
    }

    #[test]
    fn every_truncation_of_a_captured_frame_is_malformed_until_its_port() {
        let frame = sample::nat_ike_frame();
        for len in 0..frame.len() {
            let expected = if len < 38 {
                Verdict::Malformed
            } else {
                Verdict::NatT
            };
            assert_eq!(at_server(&frame[..len]), expected, "{len} bytes");
        }
    }

    #[test]
    fn a_later_fragment_is_steered_without_ports() {
        let mut frame = sample::nat_esp_frame();
        v4::set_fragment(
            &mut frame[eth::HEADER_LEN..],
            28,
            v4::Fragment {
                offset: 1480,
                more: false,
            },
        );
        // Where the ports would be stands a stranger's.
        frame[34..38].fill(0x35);
        frame.truncate(34 + 8);
        assert_eq!(at_server(&frame), Verdict::Fragment);
    }

    #[test]
    fn the_core_side_asks_for_nothing_but_the_destination() {
        let frame = sample::nat_esp_frame();
        assert_eq!(
            core(&frame[..], |address| address == SERVER),
            Verdict::Client
        );
        assert_eq!(core(&frame[..], |_| false), Verdict::NotOurs);
        assert_eq!(core(&frame[..33], |_| true), Verdict::Malformed);
    }

    #[test]
    fn the_order_of_all_verdicts_is_that_of_their_indices() {
        for (index, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(verdict.index(), index);
            assert_eq!(
                Verdict::ALL
                    .iter()
                    .filter(|other| other.name() == verdict.name())
                    .count(),
                1
            );
        }
    }

    /// The rules once more, in words of the header views; only for frames that these accept.
    fn by_views(frame: &[u8]) -> Option<Verdict> {
        let header = eth::Header::parse(frame).ok()?;
        let bytes = &frame[header.len()..];
        let (to, protocol, part, payload) = match header.ether_type {
            EtherType::IPV4 => {
                let packet = v4::Packet::parse(bytes).ok()?;
                (
                    IpAddr::V4(packet.destination()),
                    packet.protocol(),
                    packet.is_fragment(),
                    packet.payload(),
                )
            }
            EtherType::IPV6 => {
                let packet = ipv6::Packet::parse(bytes).ok()?;
                let part = packet
                    .fragment()
                    .is_some_and(|part| part.more || part.offset != 0);
                (
                    IpAddr::V6(packet.destination()),
                    packet.protocol(),
                    part,
                    packet.payload(),
                )
            }
            _ => return Some(Verdict::NotIp),
        };
        Some(match protocol {
            _ if !is_ours(to) => Verdict::NotOurs,
            Protocol::UDP | Protocol::ESP if part => Verdict::Fragment,
            Protocol::ESP => Verdict::Esp,
            Protocol::UDP => match datagram::Datagram::parse(payload).ok()?.destination_port() {
                Port(500) => Verdict::Ike,
                Port(4500) => Verdict::NatT,
                Port(1701) => Verdict::L2tp,
                _ => Verdict::OtherProtocol,
            },
            _ => Verdict::OtherProtocol,
        })
    }

    fn protocol() -> impl Strategy<Value = Protocol> {
        prop::sample::select(&[17_u8, 17, 50, 6][..]).prop_map(Protocol)
    }

    prop_compose! {
        fn udp_bytes()(port in prop::sample::select(&[500_u16, 4500, 1701, 53][..])) -> Vec<u8> {
            let header = datagram::Header {
                source_port: Port(9),
                destination_port: Port(port),
                total_len: 12,
                checksum: 0,
            };
            [&header.to_bytes()[..], &[1, 2, 3, 4]].concat()
        }
    }

    prop_compose! {
        fn v4_packet()(
            payload in udp_bytes(),
            protocol in protocol(),
            to in prop::sample::select(&[0x0A00_0001_u32, 0xC633_640A, 0xC633_640A][..]),
            part in prop::sample::select(&[(0, false), (0, false), (0, true), (8, false), (0x800, true)][..]),
        ) -> (EtherType, Vec<u8>) {
            let header = v4::Header {
                traffic_class: 0,
                total_len: 32,
                identification: 1,
                dont_fragment: false,
                fragment: v4::Fragment { offset: part.0, more: part.1 },
                ttl: 3,
                protocol,
                source: Ipv4Addr::LOCALHOST,
                destination: Ipv4Addr::from(to),
            };
            (EtherType::IPV4, [&header.to_bytes()[..], &payload].concat())
        }
    }

    prop_compose! {
        fn v6_packet()(
            chain in prop::collection::vec((prop::sample::select(&[0_u8, 43, 60][..]), 0..3_u8), 0..7),
            fragment in prop::option::of(prop::sample::select(&[0_u8, 1, 6, 8, 9][..])),
            protocol in protocol(),
            ours: bool,
            payload in udp_bytes(),
        ) -> (EtherType, Vec<u8>) {
            let mut headers: Vec<(u8, Vec<u8>)> = chain
                .into_iter()
                .map(|(kind, units)| (kind, std::vec![units; 7 + 8 * usize::from(units)]))
                .collect();
            headers.extend(fragment.map(|word| (44, std::vec![0, 0, word, 1, 2, 3, 4])));
            let mut next = protocol.0;
            let mut bytes = payload;
            for (kind, rest) in headers.into_iter().rev() {
                bytes = [&[next][..], &rest, &bytes].concat();
                next = kind;
            }
            let header = ipv6::Header {
                traffic_class: 0,
                flow_label: 0,
                payload_len: u16::try_from(bytes.len()).unwrap_or(u16::MAX),
                next_header: Protocol(next),
                hop_limit: 9,
                source: Ipv6Addr::LOCALHOST,
                destination: if ours { OURS_V6 } else { Ipv6Addr::LOCALHOST },
            };
            (EtherType::IPV6, [&header.to_bytes()[..], &bytes].concat())
        }
    }

    proptest! {
        #[test]
        fn decoder_and_views_agree(
            (ether_type, packet) in prop_oneof![v4_packet(), v6_packet()],
            tags in 0..3_usize,
            flip in prop::option::of((0..70_usize, 0..8_u8)),
        ) {
            let tag = eth::VlanTag { protocol: EtherType::VLAN, control: 5 };
            let header = eth::Header {
                tags: [(tags > 0).then_some(tag), (tags > 1).then_some(tag)],
                ether_type,
                ..eth::Header::default()
            };
            let mut frame = std::vec![0; header.len()];
            header.emit(&mut frame).unwrap();
            frame.extend(packet);
            prop_assert_eq!(by_views(&frame), Some(at_server(&frame)));
            if let Some((at, bit)) = flip && let Some(byte) = frame.get_mut(at) {
                *byte ^= 1 << bit;
                if let Some(verdict) = by_views(&frame) {
                    prop_assert_eq!(verdict, at_server(&frame));
                }
            }
        }

        #[test]
        fn no_bytes_panic_and_nothing_for_others_is_steered(bytes: Vec<u8>) {
            prop_assert_ne!(outer(&bytes[..], |_| false).action(), Action::Steer);
            prop_assert_ne!(core(&bytes[..], |_| false).action(), Action::Steer);
            let _ = outer(&bytes[..], |_| true);
        }
    }
}
