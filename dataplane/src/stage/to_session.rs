//! Leads packets from the core to their sessions by inner address, and sees to it that they fit (RFC 1812 §5.2, RFC 1191).

use std::net::Ipv4Addr;

use culvert_wire::eth::{self, EtherType};
use culvert_wire::icmp;
use culvert_wire::ipv4;

use super::icmp::tell_core;
use super::mss;
use crate::api::SessionRow;
use crate::batch::{Batch, Layer, Packet};
use crate::table::Rows;
use crate::verdict::{Reason, Verdict};

/// Finds the session of each packet, in passes that fetch what the next one touches.
///
/// Verdicts: Forward; Split if it must be fragmented; HandOff if another core has its session; Drop(CoreMalformed, NoRoute, NoOutbound,
/// TtlExpired, TooBig).
pub fn to_session(batch: &mut Batch, rows: &mut Rows) {
    for packet in batch.awaiting(Layer::Ethernet) {
        match take_off(packet) {
            Ok(destination) => rows.sessions.prefetch_route(destination),
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

/// Returns the destination.
fn take_off(packet: &mut Packet) -> Result<Ipv4Addr, Reason> {
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
    (packet.ecn, packet.layer) = (ecn, Layer::FromCore);
    Ok(destination)
}

fn route(packet: &mut Packet, rows: &Rows) -> Result<SessionRow, Verdict> {
    let ip =
        ipv4::Packet::parse(packet.rest()).map_err(|_| Verdict::Drop(Reason::CoreMalformed))?;
    let destination = ip.destination();
    let Some(row) = rows.sessions.route(destination) else {
        return Err(elsewhere(destination, packet, rows));
    };
    packet.session = row;
    Ok(row)
}

/// What becomes of a packet to no session of ours; a packet is handed on once only.
#[cold]
fn elsewhere(destination: Ipv4Addr, packet: &Packet, rows: &Rows) -> Verdict {
    rows.whereabouts
        .directory
        .find(destination)
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
    mss::clamp(packet.rest(), mtu);
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
    let ip = ipv4::Packet::parse(packet.rest()).map_err(|_| Reason::CoreMalformed)?;
    let verdict = match (ip.total_len() <= usize::from(mtu), ip.dont_fragment()) {
        (true, _) => Verdict::Forward,
        (false, true) => Verdict::Drop(Reason::TooBig),
        (false, false) => Verdict::Split,
    };
    Ok((verdict, mtu))
}
