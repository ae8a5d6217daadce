//! The network behind the gateway: one host that has every address there, answers pings, and sends back what comes to its echo port.

use std::net::Ipv4Addr;

use culvert_wire::eth::{self, MacAddress};
use culvert_wire::icmp;
use culvert_wire::ipv4::{self, Packet, Protocol};
use culvert_wire::udp::{self, Datagram, Port};

use super::frame::{self, Cut, Ends};

/// The address that tests send to.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 10);
/// The kernel's end of the veth pair.
pub const KERNEL_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 3]);
/// The gateway's end of it.
pub const CORE_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
/// UDP port whose datagrams come back (RFC 862).
pub const ECHO_PORT: u16 = 7;

/// The host.
#[derive(Debug, Default)]
pub struct Lan {
    received: Vec<Vec<u8>>,
}

impl Lan {
    /// IP packets that reached the host.
    pub fn received(&self) -> &[Vec<u8>] {
        &self.received
    }

    /// Forgets what has been received.
    pub fn clear(&mut self) {
        self.received.clear();
    }

    /// Takes a frame from the gateway; returns the frame that answers it.
    ///
    /// # Panics
    /// If it is not an IPv4 packet with a good checksum between the right Ethernet addresses.
    pub fn receive(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let header = eth::Header::parse(bytes).expect("the gateway sends Ethernet");
        assert_eq!((header.destination, header.source), (KERNEL_MAC, CORE_MAC));
        let packet = Packet::parse(&bytes[eth::HEADER_LEN..]).expect("the gateway sends IPv4");
        assert!(packet.checksum_ok(), "{packet:?}");
        self.received.push(packet.bytes().to_vec());
        Some(outgoing(&answer(&packet)?))
    }
}

/// A frame of the host's to the gateway.
pub fn outgoing(packet: &[u8]) -> Vec<u8> {
    frame::ethernet(KERNEL_MAC, CORE_MAC, packet)
}

fn answer(packet: &Packet<'_>) -> Option<Vec<u8>> {
    if packet.is_fragment() {
        return None;
    }
    let back = Ends::of(packet).swapped();
    let cut = if packet.dont_fragment() {
        Cut::Forbidden
    } else {
        Cut::Allowed
    };
    let mut payload = packet.payload().to_vec();
    if packet.protocol() == Protocol::ICMP {
        return icmp::answer_echo(&mut payload)
            .then(|| frame::ip(back, Protocol::ICMP, cut, packet.identification(), &payload));
    }
    let datagram = Datagram::parse(&payload).ok()?;
    if packet.protocol() != Protocol::UDP || datagram.destination_port() != Port(ECHO_PORT) {
        return None;
    }
    let data = payload.get(udp::HEADER_LEN..)?;
    let payload = frame::udp(ECHO_PORT, datagram.source_port().0, data);
    debug_assert!(payload.len() + ipv4::HEADER_LEN == packet.total_len());
    Some(frame::ip(
        back,
        Protocol::UDP,
        cut,
        packet.identification(),
        &payload,
    ))
}
