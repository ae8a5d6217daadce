//! Checks what a client sends and makes it a frame for the core side (RFC 1812 §5.2, §5.3).

use std::net::Ipv4Addr;

use culvert_wire::eth::{self, EtherType, MacAddress};
use culvert_wire::icmp;
use culvert_wire::ipv4::{self, Ecn, Protocol};

use super::icmp::tell_client;
use super::mss;
use crate::batch::{Batch, IP_PLACE, Layer, Packet};
use crate::frame::HEADROOM;
use crate::table::Rows;
use crate::verdict::{Reason, Verdict};

/// Checks each inner packet and writes its Ethernet header.
///
/// Verdicts: Forward; Answer; Drop(InnerMalformed, InnerSource, InnerDestination, ClientToClient, GatewayRefused, TtlExpired, EcnDrop,
/// TooBig, NoNeighbour, Absent).
pub fn to_network(batch: &mut Batch, rows: &mut Rows) {
    for packet in batch.awaiting(Layer::Inner) {
        match check(packet, rows) {
            Ok(destination) => rows.sessions.prefetch_route(destination),
            Err(reason) => packet.drop(reason),
        }
    }
    for packet in batch.awaiting(Layer::Inner) {
        if let Err(reason) = to_core(packet, rows) {
            packet.drop(reason);
        }
    }
}

/// Cuts what follows the packet's length, and returns its destination if it may go there from this session.
fn check(packet: &mut Packet, rows: &Rows) -> Result<Ipv4Addr, Reason> {
    let session = rows.sessions.find(packet.session).ok_or(Reason::Absent)?;
    let ip = ipv4::Packet::parse(packet.rest()).map_err(|_| Reason::InnerMalformed)?;
    let (source, destination, total_len) = (ip.source(), ip.destination(), ip.total_len());
    if !ip.checksum_ok() || ip.ttl() == 0 {
        return Err(Reason::InnerMalformed);
    }
    if session.address != Some(source) {
        return Err(Reason::InnerSource);
    }
    if is_martian(destination) || rows.here.is_local(destination) {
        return Err(Reason::InnerDestination);
    }
    packet.truncate(total_len);
    packet.destination = destination;
    Ok(destination)
}

fn to_core(packet: &mut Packet, rows: &mut Rows) -> Result<(), Reason> {
    let destination = packet.destination;
    if packet.ecn != Ecn::NotCapable {
        mark_congestion(packet)?;
    }
    if destination == rows.here.gateway {
        return answer_ping(packet);
    }
    if rows.is_client(destination) {
        return Err(Reason::ClientToClient);
    }
    if ipv4::decrement_ttl(packet.rest()).is_err() {
        tell_client(packet, rows, icmp::Error::TimeExceeded);
        return Err(Reason::TtlExpired);
    }
    if packet.len() > usize::from(rows.here.core_mtu) {
        fit(packet, rows)?;
    }
    if protocol(packet) == Some(Protocol::TCP) {
        clamp(packet, rows);
    }
    let next_hop = rows.next_hop(destination).ok_or(Reason::NoNeighbour)?;
    settle(packet, rows);
    write_ethernet(packet, next_hop, rows.here.core_mac)
}

#[inline]
fn protocol(packet: &mut Packet) -> Option<Protocol> {
    let header: &[u8; ipv4::HEADER_LEN] = packet.rest().first_chunk()?;
    Some(Protocol(header[PROTOCOL]))
}

/// Place of the protocol in an IPv4 header (RFC 791 §3.1).
const PROTOCOL: usize = 9;

/// Whether nothing may be sent there: this network, loopback, link-local, multicast, reserved, broadcast (RFC 1812 §5.3.7, RFC 6890).
const fn is_martian(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first == 0 || first >= 224 || address.is_loopback() || address.is_link_local()
}

/// RFC 6040 §4.2: a congestion mark reaches the inner header, or the packet ends where that cannot carry one.
fn mark_congestion(packet: &mut Packet) -> Result<(), Reason> {
    let outer = packet.ecn;
    let rest = packet.rest();
    let Some(traffic_class) = rest.get(1).copied() else {
        return Err(Reason::InnerMalformed);
    };
    let inner = Ecn::of(traffic_class);
    let marked = match (inner, outer) {
        (Ecn::NotCapable, Ecn::Congested) => return Err(Reason::EcnDrop),
        (Ecn::Capable0 | Ecn::Capable1, Ecn::Congested) => Ecn::Congested,
        (Ecn::Capable0, Ecn::Capable1) => Ecn::Capable1,
        (Ecn::NotCapable | Ecn::Capable0 | Ecn::Capable1 | Ecn::Congested, _) => inner,
    };
    if marked != inner {
        ipv4::set_traffic_class(rest, (traffic_class & 0xFC) | marked.bits());
    }
    Ok(())
}

/// The gateway answers echo requests to its own address, and nothing else.
fn answer_ping(packet: &mut Packet) -> Result<(), Reason> {
    let ip = ipv4::Packet::parse(packet.rest()).map_err(|_| Reason::InnerMalformed)?;
    let payload = ip.payload_range();
    if ip.protocol() != Protocol::ICMP || ip.is_fragment() {
        return Err(Reason::GatewayRefused);
    }
    let message = packet
        .rest()
        .get_mut(payload)
        .ok_or(Reason::InnerMalformed)?;
    if !icmp::answer_echo(message) {
        return Err(Reason::GatewayRefused);
    }
    ipv4::swap_addresses(packet.rest());
    packet.verdict = Verdict::Answer;
    Ok(())
}

/// What the core link does not carry is cut on its way to the port, unless that is forbidden.
#[cold]
fn fit(packet: &mut Packet, rows: &mut Rows) -> Result<(), Reason> {
    let ip = ipv4::Packet::parse(packet.rest()).map_err(|_| Reason::InnerMalformed)?;
    if !ip.dont_fragment() {
        return Ok(());
    }
    let next_hop_mtu = rows.here.core_mtu;
    tell_client(
        packet,
        rows,
        icmp::Error::FragmentationNeeded { next_hop_mtu },
    );
    Err(Reason::TooBig)
}

/// A set that cannot answer yet has no path to measure.
fn clamp(packet: &mut Packet, rows: &Rows) {
    if let Some(session) = rows.sessions.find(packet.session)
        && let Some(set) = rows.sets.find(session.set)
        && set.room > 0
    {
        mss::clamp(packet.rest(), session.inner_mtu(set.room));
    }
}

/// Moves the packet to where its Ethernet header finds room, and learns the place for the SA's next one.
fn settle(packet: &mut Packet, rows: &mut Rows) {
    let at = packet.at();
    if at == IP_PLACE || !packet.move_to(IP_PLACE) {
        return;
    }
    if let Some(sa) = rows
        .sas
        .inbound_mut(packet.sa)
        .filter(|_| packet.out.is_some())
    {
        // Not where the SA's next packet would begin: one before this in the batch may have changed that.
        let place = at.saturating_sub(packet.opened.0.into());
        sa.place = u8::try_from(place).unwrap_or(sa.place);
    }
}

fn write_ethernet(
    packet: &mut Packet,
    destination: MacAddress,
    source: MacAddress,
) -> Result<(), Reason> {
    let front = packet
        .prepend(eth::HEADER_LEN)
        .and_then(<[u8]>::first_chunk_mut);
    *front.ok_or(Reason::InnerMalformed)? = eth::untagged(destination, source, EtherType::IPV4);
    packet.layer = Layer::Ethernet;
    packet.frame.set_len(packet.end() - HEADROOM);
    Ok(())
}
