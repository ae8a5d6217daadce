//! Frames whose verdicts are known, put together by hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use culvert_ebpf::Side;
use culvert_wire::classify::{self, Verdict};

/// Our own addresses on the outer side.
pub(crate) const OUR_ADDRESSES: [IpAddr; 2] = [IpAddr::V4(OURS_V4), IpAddr::V6(OURS_V6)];
pub(crate) const OURS_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
pub(crate) const OURS_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 0x10);
/// The pool of clients on the core side, and how many bits of it count.
pub(crate) const POOL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 128, 0));
pub(crate) const POOL_PREFIX: u32 = 17;
/// An address in the pool, and the first one beyond it.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 99, 255, 255);
pub(crate) const NO_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 99, 127, 255);

/// The verdict of user space, with the same addresses and pool as the kernel's maps.
pub(crate) fn classify(side: Side, frame: &[u8]) -> Verdict {
    match side {
        Side::Outer => classify::outer(frame, |address| OUR_ADDRESSES.contains(&address)),
        Side::Core => classify::core(frame, is_client),
    }
}

fn is_client(address: IpAddr) -> bool {
    let (IpAddr::V4(address), IpAddr::V4(pool)) = (address, POOL) else {
        return false;
    };
    (address.to_bits() ^ pool.to_bits()).leading_zeros() >= POOL_PREFIX
}

/// A frame and what must become of it.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) frame: Vec<u8>,
    pub(crate) side: Side,
    pub(crate) verdict: Verdict,
    /// Bytes after which nothing can change the verdict any more.
    pub(crate) decided_at: usize,
}

const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88A8;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86DD;

const MORE_FRAGMENTS: u16 = 0x2000;
const DONT_FRAGMENT: u16 = 0x4000;
const RESERVED: u16 = 0x8000;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ESP: u8 = 50;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const OPTIONS: u8 = 60;

/// Ethernet addresses, tags and EtherType before `payload`.
pub(crate) fn ethernet(types: &[u16], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    let (ether_type, tags) = types.split_last().unwrap();
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 7]);
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An IPv4 packet: header with `words` words of options, then `payload`.
pub(crate) fn ipv4(
    to: Ipv4Addr,
    protocol: u8,
    fragment: u16,
    words: u8,
    payload: &[u8],
) -> Vec<u8> {
    let len = u16::try_from(20 + 4 * usize::from(words) + payload.len()).unwrap();
    let mut packet = vec![0x45 + words, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([0xBE, 0xEF]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 203, 0, 113, 5]);
    packet.extend(to.octets());
    packet.extend(vec![1; 4 * usize::from(words)]);
    packet.extend(payload);
    packet
}

/// An IPv6 packet: fixed header, then `payload`.
pub(crate) fn ipv6(to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 5).octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// An extension header of 8 + 8 · `units` bytes.
pub(crate) fn extension(next: u8, units: u8) -> Vec<u8> {
    let mut header = vec![next, units, 1, 4, 0, 0, 0, 0];
    header.resize(8 + 8 * usize::from(units), 0);
    header
}

/// A fragment header: offset, two reserved bits and M as they stand in the packet.
pub(crate) fn fragment(next: u8, word: u16) -> Vec<u8> {
    let [high, low] = word.to_be_bytes();
    vec![next, 0xFF, high, low, 1, 2, 3, 4]
}

/// A UDP datagram to `port` with four bytes of payload.
pub(crate) fn udp(port: u16) -> Vec<u8> {
    let mut datagram = vec![0x11, 0x94];
    datagram.extend(port.to_be_bytes());
    datagram.extend([0, 12, 0, 0, 0, 0, 0, 0]);
    datagram
}

/// All samples of both sides.
pub(crate) fn samples() -> Vec<Sample> {
    let mut samples = outer_ipv4();
    samples.extend(outer_ipv4_fragments());
    samples.extend(outer_ipv6());
    samples.extend(outer_ipv6_fragments());
    samples.extend(links());
    samples.extend(core());
    samples
}

fn outer(name: &'static str, frame: Vec<u8>, verdict: Verdict, decided_at: usize) -> Sample {
    Sample {
        name,
        frame,
        side: Side::Outer,
        verdict,
        decided_at,
    }
}

fn outer_ipv4() -> Vec<Sample> {
    let frame = |to, protocol, words, payload: &[u8]| {
        ethernet(&[IPV4], &ipv4(to, protocol, DONT_FRAGMENT, words, payload))
    };
    let to_port = |port| frame(OURS_V4, UDP, 0, &udp(port));
    let mut wrong_version = to_port(500);
    wrong_version[14] = 0x65;
    let mut short_header = to_port(500);
    short_header[14] = 0x44;
    vec![
        outer("IKE", to_port(500), Verdict::Ike, 38),
        outer("NAT-T", to_port(4500), Verdict::NatT, 38),
        outer("L2TP", to_port(1701), Verdict::L2tp, 38),
        outer(
            "IKE behind 40 bytes of options",
            frame(OURS_V4, UDP, 10, &udp(500)),
            Verdict::Ike,
            78,
        ),
        outer("ESP", frame(OURS_V4, ESP, 0, &[0; 40]), Verdict::Esp, 34),
        outer("DNS", to_port(53), Verdict::OtherProtocol, 38),
        outer(
            "ssh",
            frame(OURS_V4, TCP, 0, &[0; 20]),
            Verdict::OtherProtocol,
            34,
        ),
        outer(
            "AH",
            frame(OURS_V4, AUTHENTICATION, 0, &[0; 24]),
            Verdict::OtherProtocol,
            34,
        ),
        outer(
            "IKE to another",
            frame(Ipv4Addr::new(198, 51, 100, 11), UDP, 0, &udp(500)),
            Verdict::NotOurs,
            34,
        ),
        outer(
            "ESP to another",
            frame(Ipv4Addr::BROADCAST, ESP, 0, &[0; 8]),
            Verdict::NotOurs,
            34,
        ),
        outer("version 6 in IPv4", wrong_version, Verdict::Malformed, 14),
        outer("header length 16", short_header, Verdict::Malformed, 14),
    ]
}

fn outer_ipv4_fragments() -> Vec<Sample> {
    let frame = |protocol, word, payload: &[u8]| {
        ethernet(&[IPV4], &ipv4(OURS_V4, protocol, word, 0, payload))
    };
    vec![
        outer(
            "first fragment of UDP",
            frame(UDP, MORE_FRAGMENTS, &udp(4500)),
            Verdict::Fragment,
            34,
        ),
        outer(
            "first fragment of other UDP",
            frame(UDP, MORE_FRAGMENTS, &udp(53)),
            Verdict::Fragment,
            34,
        ),
        outer(
            "middle fragment of UDP",
            frame(UDP, MORE_FRAGMENTS | 1, &[0; 8]),
            Verdict::Fragment,
            34,
        ),
        outer(
            "last fragment of UDP, without ports",
            frame(UDP, 0x1FFF, &[0]),
            Verdict::Fragment,
            34,
        ),
        outer(
            "later fragment at a high offset",
            frame(UDP, 0x0100, &[]),
            Verdict::Fragment,
            34,
        ),
        outer(
            "first fragment of ESP",
            frame(ESP, MORE_FRAGMENTS, &[0; 8]),
            Verdict::Fragment,
            34,
        ),
        outer(
            "last fragment of ESP",
            frame(ESP, 185, &[0; 8]),
            Verdict::Fragment,
            34,
        ),
        outer(
            "fragment of TCP",
            frame(TCP, 185, &[0; 8]),
            Verdict::OtherProtocol,
            34,
        ),
        outer(
            "the reserved bit is no fragment",
            frame(UDP, RESERVED | DONT_FRAGMENT, &udp(500)),
            Verdict::Ike,
            38,
        ),
    ]
}

fn outer_ipv6() -> Vec<Sample> {
    let frame = |to, next, parts: &[Vec<u8>]| ethernet(&[IPV6], &ipv6(to, next, &parts.concat()));
    let chain = |count: usize| {
        let mut parts = vec![extension(OPTIONS, 0); count];
        *parts.last_mut().unwrap() = extension(UDP, 1);
        parts.push(udp(1701));
        frame(OURS_V6, OPTIONS, &parts)
    };
    let mut wrong_version = frame(OURS_V6, UDP, &[udp(500)]);
    wrong_version[14] = 0x40;
    let nobody = Ipv6Addr::LOCALHOST;
    vec![
        outer(
            "IKE over IPv6",
            frame(OURS_V6, UDP, &[udp(500)]),
            Verdict::Ike,
            58,
        ),
        outer(
            "NAT-T over IPv6",
            frame(OURS_V6, UDP, &[udp(4500)]),
            Verdict::NatT,
            58,
        ),
        outer(
            "ESP over IPv6",
            frame(OURS_V6, ESP, &[vec![0; 40]]),
            Verdict::Esp,
            54,
        ),
        outer(
            "ESP behind hop-by-hop options and routing",
            frame(
                OURS_V6,
                HOP_BY_HOP,
                &[extension(ROUTING, 1), extension(ESP, 2), vec![0; 40]],
            ),
            Verdict::Esp,
            // The routing header's length is read, not its end.
            54 + 16 + 4,
        ),
        outer(
            "L2TP behind eight headers",
            chain(8),
            Verdict::L2tp,
            54 + 7 * 8 + 16 + 4,
        ),
        outer("L2TP behind nine headers", chain(9), Verdict::Malformed, 14),
        outer(
            "AH over IPv6",
            frame(OURS_V6, AUTHENTICATION, &[vec![0; 24]]),
            Verdict::OtherProtocol,
            54,
        ),
        outer(
            "neighbour solicitation",
            frame(OURS_V6, 58, &[vec![135, 0]]),
            Verdict::OtherProtocol,
            54,
        ),
        outer(
            "DNS over IPv6",
            frame(OURS_V6, UDP, &[udp(53)]),
            Verdict::OtherProtocol,
            58,
        ),
        outer(
            "IKE over IPv6 to another",
            frame(nobody, UDP, &[udp(500)]),
            Verdict::NotOurs,
            54,
        ),
        outer(
            "IKE to our IPv4 address over IPv6",
            frame(OURS_V4.to_ipv6_mapped(), UDP, &[udp(500)]),
            Verdict::NotOurs,
            54,
        ),
        outer("version 4 in IPv6", wrong_version, Verdict::Malformed, 14),
    ]
}

fn outer_ipv6_fragments() -> Vec<Sample> {
    let frame = |next, parts: &[Vec<u8>]| ethernet(&[IPV6], &ipv6(OURS_V6, next, &parts.concat()));
    let part = |next, word| frame(FRAGMENT, &[fragment(next, word), udp(500)]);
    vec![
        outer(
            "first fragment of UDP over IPv6",
            part(UDP, 0x0001),
            Verdict::Fragment,
            58,
        ),
        outer(
            "last fragment of UDP over IPv6",
            part(UDP, 0x0008),
            Verdict::Fragment,
            58,
        ),
        outer(
            "later fragment at a high offset over IPv6",
            part(UDP, 0x0100),
            Verdict::Fragment,
            58,
        ),
        outer(
            "middle fragment of ESP over IPv6",
            part(ESP, 0xFFF9),
            Verdict::Fragment,
            58,
        ),
        outer(
            "fragment of TCP over IPv6",
            part(TCP, 0x0009),
            Verdict::OtherProtocol,
            58,
        ),
        outer(
            "fragment of something with options",
            part(OPTIONS, 0x0001),
            Verdict::OtherProtocol,
            58,
        ),
        outer(
            "whole packet with a fragment header",
            part(UDP, 0x0000),
            Verdict::Ike,
            66,
        ),
        outer(
            "reserved bits are no fragment",
            part(UDP, 0x0006),
            Verdict::Ike,
            66,
        ),
        outer(
            "fragment of ESP behind options",
            frame(
                OPTIONS,
                &[extension(FRAGMENT, 0), fragment(ESP, 0x0010), vec![0; 8]],
            ),
            Verdict::Fragment,
            66,
        ),
    ]
}

fn links() -> Vec<Sample> {
    let ike = ipv4(OURS_V4, UDP, 0, 0, &udp(500));
    let esp = ipv6(OURS_V6, ESP, &[0; 8]);
    vec![
        outer(
            "one VLAN tag",
            ethernet(&[VLAN, IPV4], &ike),
            Verdict::Ike,
            42,
        ),
        outer(
            "two VLAN tags",
            ethernet(&[SERVICE_VLAN, VLAN, IPV6], &esp),
            Verdict::Esp,
            62,
        ),
        outer(
            "three VLAN tags",
            ethernet(&[VLAN, VLAN, VLAN, IPV4], &ike),
            Verdict::NotIp,
            22,
        ),
        outer("ARP", ethernet(&[0x0806], &[0; 28]), Verdict::NotIp, 14),
        outer(
            "ARP with a tag",
            ethernet(&[VLAN, 0x0806], &[0; 28]),
            Verdict::NotIp,
            18,
        ),
        outer(
            "an 802.3 length",
            ethernet(&[0x0026], &[0; 38]),
            Verdict::NotIp,
            14,
        ),
    ]
}

fn core() -> Vec<Sample> {
    let sample = |name, frame, verdict, decided_at| Sample {
        name,
        frame,
        side: Side::Core,
        verdict,
        decided_at,
    };
    let to = |address| ipv4(address, TCP, 0, 0, &[0; 20]);
    let mut wrong_version = ethernet(&[IPV4], &to(CLIENT));
    wrong_version[14] = 0x55;
    vec![
        sample(
            "TCP to a client",
            ethernet(&[IPV4], &to(CLIENT)),
            Verdict::Client,
            34,
        ),
        sample(
            "TCP to a client with two tags",
            ethernet(&[VLAN, VLAN, IPV4], &to(CLIENT)),
            Verdict::Client,
            42,
        ),
        sample(
            "fragment to a client",
            ethernet(&[IPV4], &ipv4(CLIENT, UDP, 185, 0, &[0; 8])),
            Verdict::Client,
            34,
        ),
        sample(
            "options to a client",
            ethernet(&[IPV4], &ipv4(CLIENT, UDP, 0, 3, &[])),
            Verdict::Client,
            34,
        ),
        sample(
            "TCP beyond the pool",
            ethernet(&[IPV4], &to(NO_CLIENT)),
            Verdict::NotOurs,
            34,
        ),
        sample(
            "IKE to the gateway",
            ethernet(&[IPV4], &ipv4(OURS_V4, UDP, 0, 0, &udp(500))),
            Verdict::NotOurs,
            34,
        ),
        sample(
            "IPv6",
            ethernet(&[IPV6], &ipv6(OURS_V6, TCP, &[0; 20])),
            Verdict::NotOurs,
            54,
        ),
        sample(
            "ARP on the core side",
            ethernet(&[0x0806], &[0; 28]),
            Verdict::NotIp,
            14,
        ),
        sample("version 5", wrong_version, Verdict::Malformed, 14),
    ]
}
