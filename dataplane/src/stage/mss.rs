//! Keeps TCP segments within the path (RFC 9293 §3.7.1, RFC 6691), in both directions.

use culvert_wire::ipv4::{self, Protocol};
use culvert_wire::tcp;

/// Lowers the maximum segment size in a SYN to what an inner packet of `mtu` bytes takes.
pub fn clamp(packet: &mut [u8], mtu: u16) {
    let Ok(ip) = ipv4::Packet::parse(packet) else {
        return;
    };
    if ip.protocol() != Protocol::TCP || ip.fragment_offset() != 0 {
        return;
    }
    let payload = ip.payload_range();
    #[expect(clippy::cast_possible_truncation, reason = "20 and 20")]
    let limit = mtu.saturating_sub((ipv4::HEADER_LEN + tcp::HEADER_LEN) as u16);
    if let Some(segment) = packet.get_mut(payload) {
        tcp::clamp_mss(segment, limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syn(mss: u16) -> Vec<u8> {
        let mut packet = ipv4::Header {
            traffic_class: 0,
            total_len: 44,
            identification: 0,
            dont_fragment: true,
            fragment: ipv4::Fragment::default(),
            ttl: 64,
            protocol: Protocol::TCP,
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
        }
        .to_bytes()
        .to_vec();
        packet.extend([0; 12]);
        packet.extend([0x60, 0x02, 0, 0, 0, 0, 0, 0, 2, 4]);
        packet.extend(mss.to_be_bytes());
        packet
    }

    #[test]
    fn a_syn_announces_no_more_than_fits() {
        let mut packet = syn(1_460);
        clamp(&mut packet, 1_400);
        assert_eq!(tcp::announced_mss(&packet[20..]), Some(1_360));
    }

    #[test]
    fn a_syn_that_asks_for_less_is_left_alone() {
        let mut packet = syn(536);
        let before = packet.clone();
        clamp(&mut packet, 1_400);
        assert_eq!(packet, before);
    }
}
