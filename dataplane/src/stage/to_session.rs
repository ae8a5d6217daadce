//! Leads packets from the core to their sessions by inner address, and sees to it that they fit (RFC 1812 §5.2, RFC 1191).

use std::net::Ipv4Addr;

use culvert_wire::eth::{self, EtherType};
use culvert_wire::ipv4::{self, Ecn, Protocol};
use culvert_wire::{checksum, icmp};

use super::icmp::tell_core;
use super::mss;
use crate::api::SessionRow;
use crate::batch::{Batch, IP_PLACE, Layer, Packet};
use crate::table::Rows;
use crate::verdict::{Reason, Verdict};

/// Finds the session of each packet, in passes that fetch what the next one touches.
///
/// Verdicts: Forward; Split if it must be fragmented; HandOff if another core has its session; Drop(CoreMalformed, NoRoute, NoOutbound,
/// TtlExpired, TooBig).
pub fn to_session(batch: &mut Batch, rows: &mut Rows) {
    for packet in batch.awaiting(Layer::Ethernet) {
        match take_off(packet) {
            Ok(()) => rows.sessions.prefetch_route(packet.destination),
            Err(reason) => packet.drop(reason),
        }
    }
    for packet in batch.awaiting(Layer::FromCore) {
        match route(packet, rows) {
            Ok(session) => rows.sessions.prefetch(session),
            Err(verdict) => packet.verdict = verdict,
        }
    }
    for packet in batch.awaiting(Layer::FromCore) {
        if let Some(session) = rows.sessions.find(packet.session) {
            packet.set = session.set;
            rows.sets.prefetch_down(session.set);
        }
    }
    for packet in batch.awaiting(Layer::FromCore) {
        packet.verdict = match enter(packet, rows) {
            Ok(verdict) => verdict,
            Err(reason) => Verdict::Drop(reason),
        };
    }
}

/// Untagged IPv4 without options, which nearly all packets are: all in one piece. `None`, and nothing changed, if it is otherwise.
#[inline]
fn plain(packet: &mut Packet) -> Option<()> {
    const LEN: usize = eth::HEADER_LEN + ipv4::HEADER_LEN;
    /// EtherType of IPv4; version 4 and five words of header.
    const TYPE_AND_VERSION: [u8; 3] = [0x08, 0x00, 0x45];
    let frame_len = packet.frame.len();
    let head: &[u8; LEN] = packet.frame.bytes().first_chunk()?;
    let ip: &[u8; ipv4::HEADER_LEN] = head[eth::HEADER_LEN..].first_chunk()?;
    let ip_len = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let is_whole = (ipv4::HEADER_LEN..=frame_len - eth::HEADER_LEN).contains(&ip_len);
    if head[12..15] != TYPE_AND_VERSION || !is_whole || checksum::of(ip) != 0 {
        return None;
    }
    let destination = Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]);
    let ecn = Ecn::of(ip[1]);
    packet.set_range(IP_PLACE, IP_PLACE + ip_len);
    (packet.destination, packet.ecn, packet.layer) = (destination, ecn, Layer::FromCore);
    Some(())
}

fn take_off(packet: &mut Packet) -> Result<(), Reason> {
    if plain(packet).is_some() {
        return Ok(());
    }
    the_long_way(packet)
}

fn the_long_way(packet: &mut Packet) -> Result<(), Reason> {
    let ethernet = eth::Header::parse(packet.rest()).map_err(|_| Reason::CoreMalformed)?;
    if ethernet.ether_type != EtherType::IPV4 {
        return Err(Reason::CoreMalformed);
    }
    packet.advance(ethernet.len());
    let ip = ipv4::Packet::parse(packet.rest()).map_err(|_| Reason::CoreMalformed)?;
    if !ip.checksum_ok() {
        return Err(Reason::CoreMalformed);
    }
    let (destination, total_len, ecn) = (ip.destination(), ip.total_len(), ip.ecn());
    packet.truncate(total_len);
    (packet.destination, packet.ecn, packet.layer) = (destination, ecn, Layer::FromCore);
    Ok(())
}

fn route(packet: &mut Packet, rows: &Rows) -> Result<SessionRow, Verdict> {
    let Some(row) = rows.sessions.route(packet.destination) else {
        return Err(elsewhere(packet, rows));
    };
    packet.session = row;
    Ok(row)
}

/// What becomes of a packet to no session of ours; a packet is handed on once only.
#[cold]
fn elsewhere(packet: &Packet, rows: &Rows) -> Verdict {
    rows.whereabouts
        .directory
        .find(packet.destination)
        .filter(|_| !packet.is_handed)
        .map_or(Verdict::Drop(Reason::NoRoute), |core| {
            Verdict::HandOff(core.0)
        })
}

fn enter(packet: &mut Packet, rows: &mut Rows) -> Result<Verdict, Reason> {
    packet.layer = Layer::Inner;
    if ipv4::decrement_ttl(packet.rest()).is_err() {
        tell_core(packet, rows, icmp::Error::TimeExceeded);
        return Err(Reason::TtlExpired);
    }
    let (verdict, mtu) = fit(packet, rows)?;
    if verdict == Verdict::Drop(Reason::TooBig) {
        tell_core(
            packet,
            rows,
            icmp::Error::FragmentationNeeded { next_hop_mtu: mtu },
        );
    }
    if packet.ip_protocol() == Some(Protocol::TCP) {
        mss::clamp(packet.rest(), mtu);
    }
    Ok(verdict)
}

/// Sees whether an inner packet fits its session, and returns what does, in bytes.
///
/// Verdicts: Forward; Split; Drop(TooBig).
/// # Errors
/// `Absent` without session or set; `NoOutbound` if the set has nothing to seal with.
pub fn fit(packet: &mut Packet, rows: &Rows) -> Result<(Verdict, u16), Reason> {
    let session = rows.sessions.find(packet.session).ok_or(Reason::Absent)?;
    let room = rows.sets.find(session.set).ok_or(Reason::Absent)?.room;
    if room == 0 {
        return Err(Reason::NoOutbound);
    }
    let mtu = session.inner_mtu(room);
    if packet.len() <= usize::from(mtu) {
        return Ok((Verdict::Forward, mtu));
    }
    let ip = ipv4::Packet::parse(packet.rest()).map_err(|_| Reason::CoreMalformed)?;
    let verdict = if ip.dont_fragment() {
        Verdict::Drop(Reason::TooBig)
    } else {
        Verdict::Split
    };
    Ok((verdict, mtu))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::CoreId;
    use crate::frame::FramePool;
    use crate::verdict::Origin;

    fn frame() -> Vec<u8> {
        let ip = ipv4::Header {
            traffic_class: 1,
            total_len: 60,
            identification: 7,
            dont_fragment: true,
            fragment: ipv4::Fragment::default(),
            ttl: 64,
            protocol: Protocol::UDP,
            source: [192, 0, 2, 1].into(),
            destination: [10, 0, 0, 2].into(),
        };
        let (to, from) = (eth::MacAddress([2; 6]), eth::MacAddress([4; 6]));
        let ethernet = eth::untagged(to, from, EtherType::IPV4);
        [&ethernet[..], &ip.to_bytes(), &[9; 50]].concat()
    }

    fn packet(pool: &mut FramePool, bytes: &[u8]) -> Packet {
        let mut frame = pool.take().unwrap();
        frame.set_len(bytes.len());
        frame.bytes_mut().copy_from_slice(bytes);
        Packet::new(frame, Origin::Core)
    }

    fn agree(bytes: &[u8]) -> bool {
        let mut pool = FramePool::in_memory(CoreId(0), 2);
        let (mut short, mut long) = (packet(&mut pool, bytes), packet(&mut pool, bytes));
        let is_plain = plain(&mut short).is_some();
        if is_plain {
            assert_eq!(the_long_way(&mut long), Ok(()));
            let outcome = |packet: &Packet| {
                let range = (packet.at(), packet.end());
                (range, packet.destination, packet.ecn, packet.layer)
            };
            assert_eq!(outcome(&short), outcome(&long), "{bytes:02x?}");
        }
        is_plain
    }

    #[test]
    fn an_ordinary_packet_is_plain() {
        assert!(agree(&frame()));
    }

    proptest! {
        #[test]
        fn both_ways_agree_whatever_is_changed(
            changes in proptest::collection::vec((0_usize..40, any::<u8>()), 0..4),
            fix_checksum in any::<bool>(),
            len in 14_usize..84,
        ) {
            let mut bytes = frame();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            if fix_checksum {
                bytes[24..26].fill(0);
                let sum = checksum::of(&bytes[14..34]);
                bytes[24..26].copy_from_slice(&sum.to_be_bytes());
            }
            bytes.truncate(len);
            agree(&bytes);
        }
    }
}
