//! Ready outer headers: Ethernet, IPv4 and, through NAT, UDP. What differs from packet to packet is filled in as one is sent.
//!
//! ```text
//! Ethernet 14 │ IPv4 20: DF clear, TTL 64, DSCP 0 (RFC 4301 §5.1.2.1) │ [UDP 8: checksum zero, RFC 3948 §2.1]
//! ```

use std::net::SocketAddrV4;

use culvert_wire::eth::{self, EtherType, MacAddress};
use culvert_wire::ipv4::{self, Ecn, Protocol};
use culvert_wire::udp::{self, Port};

/// Bytes of a template without UDP.
const BARE_LEN: usize = eth::HEADER_LEN + ipv4::HEADER_LEN;
/// Bytes of the longest template.
const MAX_LEN: usize = eth::HEADER_LEN + ipv4::HEADER_LEN + udp::HEADER_LEN;

/// What stands between IPv4 and the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// Nothing: the packet is of this protocol.
    Bare(Protocol),
    /// A UDP header.
    Udp,
}

/// Headers for one path.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    bytes: [u8; MAX_LEN],
    wrapping: Wrapping,
}

impl Template {
    /// Headers from `local` to `remote`, between two Ethernet addresses.
    pub fn new(
        source: MacAddress,
        next_hop: MacAddress,
        local: SocketAddrV4,
        remote: SocketAddrV4,
        wrapping: Wrapping,
    ) -> Self {
        let ethernet = eth::Header {
            destination: next_hop,
            source,
            tags: [None; eth::MAX_TAGS],
            ether_type: EtherType::IPV4,
        };
        let ip = ipv4::Header {
            traffic_class: 0,
            total_len: 0,
            identification: 0,
            dont_fragment: false,
            fragment: ipv4::Fragment::default(),
            ttl: 64,
            protocol: match wrapping {
                Wrapping::Bare(protocol) => protocol,
                Wrapping::Udp => Protocol::UDP,
            },
            source: *local.ip(),
            destination: *remote.ip(),
        };
        let udp = udp::Header {
            source_port: Port(local.port()),
            destination_port: Port(remote.port()),
            total_len: 0,
            checksum: 0,
        };
        let mut bytes = [0; MAX_LEN];
        let (front, rest) = bytes.split_at_mut(eth::HEADER_LEN);
        let written = ethernet
            .emit(front)
            .and_then(|_| ip.emit(rest))
            .and_then(|len| udp.emit(rest.get_mut(len..).unwrap_or_default()));
        debug_assert!(written.is_ok(), "the array holds all three headers");
        Self { bytes, wrapping }
    }

    /// Bytes of the headers: 34 or 42.
    #[inline]
    pub const fn len(&self) -> usize {
        match self.wrapping {
            Wrapping::Bare(_) => MAX_LEN - udp::HEADER_LEN,
            Wrapping::Udp => MAX_LEN,
        }
    }

    /// Where the frames go first.
    pub fn next_hop(&self) -> MacAddress {
        self.bytes
            .first_chunk::<6>()
            .map_or_else(MacAddress::default, |bytes| MacAddress(*bytes))
    }

    /// Never: there is an Ethernet header at least.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Writes the headers for `payload_len` bytes to the front of `frame`; `None` if it is too short or the packet too long.
    #[inline]
    pub fn write(
        &self,
        frame: &mut [u8],
        payload_len: usize,
        identification: u16,
        ecn: Ecn,
    ) -> Option<()> {
        // Lengths that are known when this is compiled make these copies a few moves.
        match self.wrapping {
            Wrapping::Bare(_) => {
                *frame.first_chunk_mut::<BARE_LEN>()? = *self.bytes.first_chunk()?;
            }
            Wrapping::Udp => *frame.first_chunk_mut()? = self.bytes,
        }
        let ip = frame.get_mut(eth::HEADER_LEN..self.len())?;
        let total_len = self.len() - eth::HEADER_LEN + payload_len;
        let fixed = ip.first_chunk_mut::<{ ipv4::HEADER_LEN }>()?;
        ipv4::set_length(fixed, u16::try_from(total_len).ok()?, identification);
        if ecn != Ecn::NotCapable {
            ipv4::set_traffic_class(ip, ecn.bits());
        }
        if self.wrapping == Wrapping::Udp {
            let len = u16::try_from(udp::HEADER_LEN + payload_len).ok()?;
            let field = ip
                .get_mut(ipv4::HEADER_LEN + UDP_LEN_PLACE..)?
                .first_chunk_mut::<2>()?;
            *field = len.to_be_bytes();
        }
        Some(())
    }
}

/// Place of the length field in the UDP header (RFC 768).
const UDP_LEN_PLACE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_header_parses_to_what_was_asked_for() {
        let local = SocketAddrV4::new([198, 51, 100, 10].into(), 4_500);
        let remote = SocketAddrV4::new([198, 51, 100, 60].into(), 31_000);
        let template = Template::new(
            MacAddress([2; 6]),
            MacAddress([4; 6]),
            local,
            remote,
            Wrapping::Udp,
        );
        let mut frame = [0xAA; 142];
        template
            .write(&mut frame, 100, 0x1234, Ecn::Capable0)
            .unwrap();
        let ethernet = eth::Header::parse(&frame).unwrap();
        assert_eq!(
            (ethernet.destination, ethernet.source),
            (MacAddress([4; 6]), MacAddress([2; 6]))
        );
        let ip = ipv4::Packet::parse(&frame[14..]).unwrap();
        assert!(ip.checksum_ok() && !ip.dont_fragment());
        assert_eq!(
            (ip.total_len(), ip.identification(), ip.ecn()),
            (128, 0x1234, Ecn::Capable0)
        );
        let udp = udp::Datagram::parse(ip.payload()).unwrap();
        assert_eq!(
            (udp.source_port(), udp.destination_port()),
            (Port(4_500), Port(31_000))
        );
        assert_eq!((udp.payload().len(), udp.checksum()), (100, 0));
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let nowhere = SocketAddrV4::new([0; 4].into(), 0);
        let mac = MacAddress::default();
        let template = Template::new(mac, mac, nowhere, nowhere, Wrapping::Bare(Protocol::ESP));
        assert_eq!(template.len(), 34);
        assert!(
            template
                .write(&mut [0; 33], 0, 0, Ecn::NotCapable)
                .is_none()
        );
        assert!(
            template
                .write(&mut [0; 34], 65_536, 0, Ecn::NotCapable)
                .is_none()
        );
    }
}
