//! ESP as nearly all of it comes: untagged, IPv4 without options, not in fragments. Its headers have fixed places, and are read in one piece.
//!
//! ```text
//! 0 Ethernet │ 14 IPv4 │ 34 [UDP from any port to 4500] │ 34 or 42 SPI, sequence number …
//! ```
//! This decides nothing of its own: what it does not take goes the long way, and what it takes would come out the same there.

use std::net::{Ipv4Addr, SocketAddrV4};

use culvert_wire::ipv4::{Ecn, Protocol};
use culvert_wire::udp::Port;
use culvert_wire::{checksum, esp, eth, ipv4, udp};

use super::is_host;
use crate::api::Encapsulation;
use crate::batch::{Layer, Packet};
use crate::frame::HEADROOM;
use crate::table::Here;

/// Ethernet and IPv4, UDP, SPI and sequence number.
const LEN: usize = IP_END + udp::HEADER_LEN + esp::HEADER_LEN;
const IP_END: usize = eth::HEADER_LEN + ipv4::HEADER_LEN;
/// EtherType of IPv4; version 4 and five words of header.
const TYPE_AND_VERSION: [u8; 3] = [0x08, 0x00, 0x45];
/// More fragments, and the offset.
const FRAGMENT_BITS: u16 = 0x3FFF;

/// Takes the headers off, up to the SPI; `None`, and nothing changed, if the packet is not plain.
#[inline]
pub(super) fn take_off(packet: &mut Packet, here: &Here) -> Option<()> {
    let frame_len = packet.frame.len();
    let head: &[u8; LEN] = packet.frame.bytes().first_chunk()?;
    let u16_at = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let ip_len = usize::from(u16_at(16));
    let is_whole = head[12..15] == TYPE_AND_VERSION && u16_at(20) & FRAGMENT_BITS == 0;
    let ip: &[u8; ipv4::HEADER_LEN] = head[eth::HEADER_LEN..].first_chunk()?;
    if !is_whole || eth::HEADER_LEN + ip_len > frame_len || checksum::of(ip) != 0 {
        return None;
    }
    let source = Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]);
    let destination = Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]);
    if !here.is_local(destination) || !is_host(source) {
        return None;
    }
    let payload_len = ip_len.checked_sub(ipv4::HEADER_LEN)?;
    let (at, ports, encapsulation) = match Protocol(ip[9]) {
        Protocol::ESP => (IP_END, (0, 0), Encapsulation::Esp),
        Protocol::UDP => {
            let (from, to) = (u16_at(34), u16_at(36));
            let is_esp = to == Port::NAT_T.0
                && from != 0
                && usize::from(u16_at(38)) == payload_len
                && payload_len >= udp::HEADER_LEN + esp::HEADER_LEN
                && head[42..46] != [0; esp::MARKER_LEN];
            if !is_esp {
                return None;
            }
            let at = IP_END + udp::HEADER_LEN;
            (at, (from, to), Encapsulation::EspInUdp)
        }
        _ => return None,
    };
    let ecn = Ecn::of(ip[1]);
    packet.remote = SocketAddrV4::new(source, ports.0);
    packet.local = SocketAddrV4::new(destination, ports.1);
    (packet.encapsulation, packet.ecn, packet.layer) = (encapsulation, ecn, Layer::Esp);
    packet.set_range(HEADROOM + at, HEADROOM + eth::HEADER_LEN + ip_len);
    Some(())
}

#[cfg(test)]
mod tests {
    use culvert_wire::eth::EtherType;
    use proptest::prelude::*;

    use super::*;
    use crate::api::CoreId;
    use crate::frame::FramePool;
    use crate::stage::classify;
    use crate::verdict::{Origin, Verdict};

    const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);

    fn frame(protocol: Protocol, payload: &[u8]) -> Vec<u8> {
        let ip = ipv4::Header {
            traffic_class: 2,
            total_len: 20 + payload.len() as u16,
            identification: 7,
            dont_fragment: true,
            fragment: ipv4::Fragment::default(),
            ttl: 64,
            protocol,
            source: Ipv4Addr::new(198, 51, 100, 101),
            destination: SERVER,
        };
        let ethernet = eth::untagged(
            eth::MacAddress([2; 6]),
            eth::MacAddress([4; 6]),
            EtherType::IPV4,
        );
        [&ethernet[..], &ip.to_bytes(), payload].concat()
    }

    fn esp_in_udp() -> Vec<u8> {
        let udp = udp::Header {
            source_port: Port(31_000),
            destination_port: Port::NAT_T,
            total_len: 8 + 40,
            checksum: 0,
        };
        frame(Protocol::UDP, &[&udp.to_bytes()[..], &[9; 40]].concat())
    }

    fn packet(pool: &mut FramePool, bytes: &[u8]) -> Packet {
        let mut frame = pool.take().unwrap();
        frame.set_len(bytes.len());
        frame.bytes_mut().copy_from_slice(bytes);
        Packet::new(frame, Origin::Outer)
    }

    /// Everything that later stages look at.
    fn outcome(packet: &mut Packet) -> impl PartialEq + std::fmt::Debug + use<> {
        (
            (packet.verdict, packet.layer, packet.encapsulation),
            (packet.at(), packet.end(), packet.ecn),
            (packet.local, packet.remote),
        )
    }

    /// The short way takes it only if the long way gives the same.
    fn agree(bytes: &[u8]) -> bool {
        let here = Here::at(SERVER);
        let mut pool = FramePool::in_memory(CoreId(0), 2);
        let (mut short, mut long) = (packet(&mut pool, bytes), packet(&mut pool, bytes));
        let is_plain = take_off(&mut short, &here).is_some();
        if is_plain {
            classify::the_long_way(&mut long, &here);
            assert_eq!(long.verdict, Verdict::Forward);
            assert_eq!(outcome(&mut short), outcome(&mut long), "{bytes:02x?}");
        }
        is_plain
    }

    #[test]
    fn esp_with_and_without_udp_is_plain() {
        assert!(agree(&esp_in_udp()));
        assert!(agree(&frame(Protocol::ESP, &[9; 40])));
    }

    #[test]
    fn ike_and_keepalives_are_not() {
        let mut ike = esp_in_udp();
        ike[42..46].fill(0);
        assert!(!agree(&ike));
        let mut keepalive = esp_in_udp();
        keepalive.truncate(43);
        assert!(!agree(&keepalive));
    }

    proptest! {
        #[test]
        fn both_ways_agree_whatever_is_changed(
            changes in proptest::collection::vec((0_usize..60, any::<u8>()), 0..4),
            fix_checksum in any::<bool>(),
            len in 0_usize..90,
            is_udp in any::<bool>(),
        ) {
            let mut bytes = if is_udp { esp_in_udp() } else { frame(Protocol::ESP, &[9; 40]) };
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            if fix_checksum {
                bytes[24..26].fill(0);
                let sum = checksum::of(&bytes[14..34]);
                bytes[24..26].copy_from_slice(&sum.to_be_bytes());
            }
            bytes.truncate(len.max(14));
            agree(&bytes);
        }
    }
}
