//! Takes off the inner UDP and L2TP headers (RFC 2661 §3.1, RFC 3193) and finds the session in the packet's own set.

use culvert_wire::l2tp::header::Header;
use culvert_wire::udp::{self, Port};

use crate::batch::{Batch, Layer, Packet};
use crate::table::Rows;
use crate::verdict::{PuntKind, Reason, Verdict};

/// Leads each L2TP message to its session or to control.
///
/// Verdicts: Forward; Punt(L2tp); Drop(InnerUdpMalformed, Selector, L2tpMalformed, UnknownSession).
pub fn l2tp_decap(batch: &mut Batch, rows: &mut Rows) {
    for packet in batch.awaiting(Layer::Udp) {
        if let Err(reason) = take_off(packet, rows) {
            packet.drop(reason);
        }
    }
}

/// The UDP checksum is not looked at: the ICV covers more (RFC 3948 §3.1.2), and in the clear it only detects damage.
fn take_off(packet: &mut Packet, rows: &Rows) -> Result<(), Reason> {
    let datagram = udp::Datagram::parse(packet.rest()).map_err(|_| Reason::InnerUdpMalformed)?;
    let (from, to, payload) = (
        datagram.source_port(),
        datagram.destination_port(),
        datagram.payload_range(),
    );
    if to != Port::L2TP || from.0 == 0 {
        return Err(Reason::Selector);
    }
    packet.ports = (to.0, from.0);
    packet.truncate(payload.end);
    packet.advance(payload.start);
    packet.layer = Layer::L2tp;
    let header = Header::parse(packet.rest()).map_err(|_| Reason::L2tpMalformed)?;
    packet.truncate(header.total_len());
    if header.is_control() {
        packet.verdict = Verdict::Punt(PuntKind::L2tp);
        return Ok(());
    }
    packet.session = rows
        .sessions
        .find_ids(packet.set, header.tunnel, header.session)
        .ok_or(Reason::UnknownSession)?;
    // RFC 4301 §5.2: what comes from another port than the tunnel's is not what the SA is for.
    let session = rows.sessions.find(packet.session);
    if session.is_none_or(|session| session.remote_port != from.0) {
        return Err(Reason::Selector);
    }
    packet.advance(header.header_len());
    packet.layer = Layer::Ppp;
    Ok(())
}
