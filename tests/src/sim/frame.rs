//! Packets as the simulated hosts put them on a wire: Ethernet, IPv4, UDP, TCP SYN, fragments.

use std::net::Ipv4Addr;

use culvert_wire::checksum::Sum;
use culvert_wire::eth::{self, EtherType, MacAddress};
use culvert_wire::icmp::{self, Echo, EchoKind};
use culvert_wire::ipv4::{self, Fragment, Packet, Protocol};
use culvert_wire::{tcp, udp};

/// TCP as an IP protocol.
const TCP: Protocol = Protocol(6);

/// UDP port whose datagrams nobody answers (RFC 863).
const DISCARD: u16 = 9;

/// Whether routers may cut a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// They may.
    Allowed,
    /// They may not.
    Forbidden,
}

/// Where a packet comes from and goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Its source address.
    pub source: Ipv4Addr,
    /// Its destination address.
    pub destination: Ipv4Addr,
}

impl Ends {
    /// The way back.
    #[must_use]
    pub const fn swapped(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
        }
    }

    /// Those of a packet.
    pub fn of(packet: &Packet<'_>) -> Self {
        Self {
            source: packet.source(),
            destination: packet.destination(),
        }
    }
}

/// An Ethernet frame with an IPv4 packet.
pub fn ethernet(source: MacAddress, destination: MacAddress, packet: &[u8]) -> Vec<u8> {
    let header = eth::Header {
        destination,
        source,
        tags: [None; eth::MAX_TAGS],
        ether_type: EtherType::IPV4,
    };
    let mut frame = vec![0; eth::HEADER_LEN];
    header
        .emit(&mut frame)
        .expect("a header without tags has this length");
    frame.extend(packet);
    frame
}

/// An IPv4 packet; `identification` matters only where it is cut.
pub fn ip(
    ends: Ends,
    protocol: Protocol,
    cut: Cut,
    identification: u16,
    payload: &[u8],
) -> Vec<u8> {
    let header = ipv4::Header {
        traffic_class: 0,
        total_len: length(ipv4::HEADER_LEN + payload.len()),
        identification,
        dont_fragment: cut == Cut::Forbidden,
        fragment: Fragment::default(),
        ttl: 64,
        protocol,
        source: ends.source,
        destination: ends.destination,
    };
    [&header.to_bytes()[..], payload].concat()
}

/// A UDP datagram without checksum.
pub fn udp(source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let header = udp::Header {
        source_port: udp::Port(source_port),
        destination_port: udp::Port(destination_port),
        total_len: length(udp::HEADER_LEN + payload.len()),
        checksum: 0,
    };
    [&header.to_bytes()[..], payload].concat()
}

/// A datagram of `len` bytes, IP header included, to the discard port; no two with different marks are equal.
///
/// # Panics
/// If there is no room for the mark.
pub fn probe(ends: Ends, mark: u32, len: usize) -> Vec<u8> {
    let data_len = len - ipv4::HEADER_LEN - udp::HEADER_LEN;
    let mut data: Vec<u8> = mark
        .to_be_bytes()
        .into_iter()
        .cycle()
        .take(data_len)
        .collect();
    assert!(data.len() >= 4, "room for the mark");
    data[4..]
        .iter_mut()
        .zip(0_u8..=255)
        .for_each(|(byte, place)| *byte ^= place);
    ip(
        ends,
        Protocol::UDP,
        Cut::Allowed,
        0,
        &udp(4_711, DISCARD, &data),
    )
}

/// An ICMP echo request.
pub fn echo_request(ends: Ends, sequence: u16, data: &[u8]) -> Vec<u8> {
    let echo = Echo {
        kind: EchoKind::Request,
        identifier: 0x1D,
        sequence,
        data,
    };
    let mut message = vec![0; icmp::HEADER_LEN + data.len()];
    echo.emit(&mut message)
        .expect("room for a header and the data");
    ip(ends, Protocol::ICMP, Cut::Allowed, sequence, &message)
}

/// A TCP SYN that announces `mss`.
pub fn syn(ends: Ends, mss: u16) -> Vec<u8> {
    let [high, low] = mss.to_be_bytes();
    let mut segment = vec![
        0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 0x02, 0xFF, 0xFF, 0, 0, 0, 0,
    ];
    segment.extend([2, 4, high, low]);
    let sum = pseudo(ends, TCP, segment.len()).bytes(&segment).finish();
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    ip(ends, TCP, Cut::Forbidden, 0, &segment)
}

/// The MSS that a packet announces, if it is a SYN whose checksum holds.
pub fn announced_mss(packet: &[u8]) -> Option<u16> {
    let packet = Packet::parse(packet)
        .ok()
        .filter(|packet| packet.protocol() == TCP)?;
    let segment = packet.payload();
    let sum = pseudo(Ends::of(&packet), TCP, segment.len()).bytes(segment);
    (sum.finish() == 0).then(|| tcp::announced_mss(segment))?
}

fn pseudo(ends: Ends, protocol: Protocol, len: usize) -> Sum {
    Sum::new().pseudo_v4(ends.source, ends.destination, protocol, length(len))
}

/// Cuts `packet` for a link of `mtu` bytes as its sender would, whatever its DF bit says.
pub fn fragments(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    if packet.len() <= mtu {
        return vec![packet.to_vec()];
    }
    let step = (mtu - ipv4::HEADER_LEN) / 8 * 8;
    let (header, payload) = packet.split_at(ipv4::HEADER_LEN);
    let parts = payload.chunks(step).enumerate();
    parts
        .map(|(number, part)| {
            let mut piece = [header, part].concat();
            let fragment = Fragment {
                offset: length(number * step),
                more: (number + 1) * step < payload.len(),
            };
            ipv4::set_fragment(&mut piece, length(ipv4::HEADER_LEN + part.len()), fragment);
            piece
        })
        .collect()
}

/// Payload of the datagram whose fragments are all in `pieces`, in any order; `None` if a byte is missing or there twice.
pub fn reassembled(pieces: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut parts: Vec<_> = pieces
        .iter()
        .map(|piece| Packet::parse(piece).ok())
        .collect::<Option<_>>()?;
    parts.sort_by_key(Packet::fragment_offset);
    let mut payload = Vec::new();
    for part in &parts {
        if part.fragment_offset() != payload.len() {
            return None;
        }
        payload.extend(part.payload());
    }
    parts
        .last()
        .is_some_and(|part| !part.more_fragments())
        .then_some(payload)
}

/// `packet` as it is behind one router.
pub fn routed(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    ipv4::decrement_ttl(&mut packet).expect("a packet of a host has a TTL of 64");
    packet
}

fn length(len: usize) -> u16 {
    u16::try_from(len).expect("simulated hosts send nothing longer than an IP packet")
}
