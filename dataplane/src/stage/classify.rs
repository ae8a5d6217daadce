//! What an outer packet is: Ethernet, IPv4 and UDP, down to IKE, ESP or clear L2TP.

use std::net::{Ipv4Addr, SocketAddrV4};

use culvert_wire::esp::EspInUdp;
use culvert_wire::eth::{self, EtherType};
use culvert_wire::ipv4;
use culvert_wire::l2tp::header::Header as L2tpHeader;
use culvert_wire::udp::{self, Port};

use crate::api::Encapsulation;
use crate::batch::{Batch, Layer, Packet};
use crate::table::set::SetTable;
use crate::table::{Here, Rows};
use crate::verdict::{PuntKind, Reason, Verdict};

mod plain;

/// Takes off Ethernet and outer IPv4, and of plain ESP all that is before it.
///
/// Verdicts: Forward; Drop(OuterMalformed, OuterIpv6, NotOurs).
pub fn outer(batch: &mut Batch, rows: &mut Rows) {
    for packet in batch.awaiting(Layer::Ethernet) {
        if plain::take_off(packet, &rows.here).is_some() {
            continue;
        }
        if let Err(reason) = take_off_ip(packet, &rows.here) {
            packet.drop(reason);
        }
    }
}

/// Tells IKE, ESP and clear L2TP apart.
///
/// Verdicts: Forward; Punt(IkeFirst, Ike, ClearL2tp); Drop(OuterMalformed, NotOurs, Keepalive, NatRunt, IkeMalformed, ClearRefused,
/// ClearUnknown, L2tpMalformed).
pub fn transport(batch: &mut Batch, rows: &mut Rows) {
    for packet in batch.awaiting(Layer::Outer) {
        if let Err(reason) = take_off_transport(packet, &rows.here, &rows.sets) {
            packet.drop(reason);
        }
    }
}

fn take_off_transport(packet: &mut Packet, here: &Here, sets: &SetTable) -> Result<(), Reason> {
    match ipv4::Protocol(packet.protocol) {
        ipv4::Protocol::ESP => {
            packet.encapsulation = Encapsulation::Esp;
            packet.layer = Layer::Esp;
            Ok(())
        }
        ipv4::Protocol::UDP => take_off_udp(packet, here, sets),
        _ => Err(Reason::NotOurs),
    }
}

fn take_off_ip(packet: &mut Packet, here: &Here) -> Result<(), Reason> {
    let ethernet = eth::Header::parse(packet.rest()).map_err(|_| Reason::OuterMalformed)?;
    match ethernet.ether_type {
        EtherType::IPV4 => packet.advance(ethernet.len()),
        EtherType::IPV6 => return Err(Reason::OuterIpv6),
        _ => return Err(Reason::NotOurs),
    }
    let ip = ipv4::Packet::parse(packet.rest()).map_err(|_| Reason::OuterMalformed)?;
    if !ip.checksum_ok() {
        return Err(Reason::OuterMalformed);
    }
    if !here.is_local(ip.destination()) {
        return Err(Reason::NotOurs);
    }
    if !is_host(ip.source()) {
        return Err(Reason::OuterMalformed);
    }
    let (local, remote) = (ip.destination(), ip.source());
    let (payload, protocol, ecn) = (ip.payload_range(), ip.protocol(), ip.ecn());
    let (layer, fragment) = if ip.is_fragment() {
        let offset = u16::try_from(ip.fragment_offset()).unwrap_or(u16::MAX);
        (
            Layer::Fragment,
            (ip.identification(), offset, ip.more_fragments()),
        )
    } else {
        (Layer::Outer, packet.fragment)
    };
    packet.truncate(payload.end);
    packet.advance(payload.start);
    packet.local = SocketAddrV4::new(local, 0);
    packet.remote = SocketAddrV4::new(remote, 0);
    (packet.protocol, packet.ecn, packet.fragment, packet.layer) =
        (protocol.0, ecn, fragment, layer);
    Ok(())
}

/// Whether an address can be a peer's: not unspecified, loopback, multicast, reserved or broadcast.
const fn is_host(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && address.octets()[0] < 224
}

fn take_off_udp(packet: &mut Packet, here: &Here, sets: &SetTable) -> Result<(), Reason> {
    let datagram = udp::Datagram::parse(packet.rest()).map_err(|_| Reason::OuterMalformed)?;
    let (from, to) = (datagram.source_port(), datagram.destination_port());
    let payload = datagram.payload_range();
    if from.0 == 0 {
        return Err(Reason::OuterMalformed);
    }
    packet.local.set_port(to.0);
    packet.remote.set_port(from.0);
    packet.truncate(payload.end);
    match to {
        Port::IKE => {
            packet.advance(payload.start);
            ike(packet)
        }
        Port::NAT_T => {
            packet.advance(payload.start);
            nat_traversal(packet)
        }
        Port::L2TP => clear(packet, here, sets),
        _ => Err(Reason::NotOurs),
    }
}

fn nat_traversal(packet: &mut Packet) -> Result<(), Reason> {
    match EspInUdp::parse(packet.rest()) {
        EspInUdp::Keepalive => Err(Reason::Keepalive),
        EspInUdp::Runt => Err(Reason::NatRunt),
        EspInUdp::Ike(_) => {
            packet.advance(culvert_wire::esp::MARKER_LEN);
            ike(packet)
        }
        EspInUdp::Esp(_) => {
            packet.encapsulation = Encapsulation::EspInUdp;
            packet.layer = Layer::Esp;
            Ok(())
        }
    }
}

/// Places in the ISAKMP header (RFC 2408 §3.1, RFC 7296 §3.1).
mod isakmp {
    use std::ops::Range;

    pub(super) const LEN: usize = 28;
    pub(super) const RESPONDER_COOKIE: Range<usize> = 8..16;
    pub(super) const MESSAGE_LEN: Range<usize> = 24..28;
}

/// An initiator cookie that begins with zeros would be taken for a non-ESP marker, so none does.
fn ike(packet: &mut Packet) -> Result<(), Reason> {
    let message = packet.rest();
    let header = message
        .first_chunk::<{ isakmp::LEN }>()
        .ok_or(Reason::IkeMalformed)?;
    let len = header
        .get(isakmp::MESSAGE_LEN)
        .and_then(|field| field.first_chunk::<4>());
    let len = len.map_or(0, |field| u32::from_be_bytes(*field) as usize);
    if !(isakmp::LEN..=message.len()).contains(&len) || header.starts_with(&[0; 4]) {
        return Err(Reason::IkeMalformed);
    }
    let is_first = header.get(isakmp::RESPONDER_COOKIE) == Some(&[0; 8]);
    packet.layer = Layer::Ike;
    packet.verdict = Verdict::Punt(if is_first {
        PuntKind::IkeFirst
    } else {
        PuntKind::Ike
    });
    Ok(())
}

/// Leaves `rest` at the UDP header for a peer that has a set: its L2TP goes the common way.
fn clear(packet: &mut Packet, here: &Here, sets: &SetTable) -> Result<(), Reason> {
    if !here.allows_clear(*packet.local.ip()) {
        return Err(Reason::ClearRefused);
    }
    packet.encapsulation = Encapsulation::Clear;
    if let Some(set) = sets.find_clear(*packet.local.ip(), packet.remote) {
        packet.set = set;
        packet.layer = Layer::Udp;
        return Ok(());
    }
    packet.advance(udp::HEADER_LEN);
    packet.layer = Layer::L2tp;
    let header = L2tpHeader::parse(packet.rest()).map_err(|_| Reason::L2tpMalformed)?;
    if !header.is_control() {
        return Err(Reason::ClearUnknown);
    }
    packet.truncate(header.total_len());
    packet.verdict = Verdict::Punt(PuntKind::ClearL2tp);
    Ok(())
}

/// What becomes of a packet that is taken for anything but plain.
#[cfg(test)]
fn the_long_way(packet: &mut Packet, here: &Here) {
    let sets = SetTable::new(0);
    let taken = take_off_ip(packet, here).and_then(|()| match packet.layer {
        Layer::Outer => take_off_transport(packet, here, &sets),
        _ => Ok(()),
    });
    if let Err(reason) = taken {
        packet.drop(reason);
    }
}
