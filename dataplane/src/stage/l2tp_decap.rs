//! Takes off the inner UDP and L2TP headers (RFC 2661 §3.1, RFC 3193) and finds the session in the packet's own set.

use culvert_wire::l2tp::header::Header;
use culvert_wire::udp::{self, Port};

use crate::api::{Encapsulation, SessionRow};
use crate::batch::{Batch, Layer, Packet};
use crate::table::Rows;
use crate::verdict::{PuntKind, Reason, Verdict};

/// Leads each L2TP message to its session or to control; an IPv4 packet whose headers are as foreseen loses PPP's too.
///
/// Verdicts: Forward; Punt(L2tp); Drop(InnerUdpMalformed, Selector, L2tpMalformed, UnknownSession).
pub fn l2tp_decap(batch: &mut Batch, rows: &mut Rows) {
    for packet in batch.awaiting(Layer::Udp) {
        if predicted(packet, rows).is_some() {
            continue;
        }
        if let Err(reason) = take_off(packet, rows) {
            packet.drop(reason);
        }
    }
}

/// UDP, L2TP with its length, PPP uncompressed: the longest header of an IPv4 packet that is foreseen.
const PREDICTED_LEN: usize = 20;
/// Flags and version of a data message: with a length, and with nothing optional.
const WITH_LENGTH: [u8; 2] = [0x40, 2];
const SHORT: [u8; 2] = [0, 2];
/// Address, control and IPv4's protocol number (RFC 1661 §2, RFC 1332 §2).
const IPV4_FRAME: [u8; 4] = [0xFF, 3, 0, 0x21];

/// Most packets carry the same headers as the SA's last one but for lengths: these are compared as they stand, PPP's too.
///
/// `None`, and nothing changed, if it is otherwise; the long way then finds out what the packet is.
#[inline]
fn predicted(packet: &mut Packet, rows: &Rows) -> Option<()> {
    let session = rows.sessions.find(packet.session)?;
    let len = packet.len();
    let head: &[u8; PREDICTED_LEN] = packet.rest().first_chunk()?;
    let [s0, s1] = session.remote_port.to_be_bytes();
    let [d0, d1] = Port::L2TP.0.to_be_bytes();
    let is_len =
        |at: usize, len: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]])) == len;
    let at = match [head[8], head[9]] {
        WITH_LENGTH if is_len(10, len - udp::HEADER_LEN) => 12,
        SHORT => 10,
        _ => return None,
    };
    let [t0, t1] = session.local_tunnel.0.to_be_bytes();
    let [i0, i1] = session.local_session.0.to_be_bytes();
    let is_expected = head[..4] == [s0, s1, d0, d1]
        && is_len(4, len)
        && head[at..at + 4] == [t0, t1, i0, i1]
        && head[at + 4..at + 8] == IPV4_FRAME
        && session.set == packet.set
        && session.address.is_some();
    if !is_expected {
        return None;
    }
    packet.advance(at + 8);
    packet.layer = Layer::Inner;
    Some(())
}

/// The UDP checksum is not looked at: the ICV covers more (RFC 3948 §3.1.2), and in the clear it only detects damage.
fn take_off(packet: &mut Packet, rows: &mut Rows) -> Result<(), Reason> {
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
    let (likely, set) = (packet.session, packet.set);
    let row = rows
        .sessions
        .find_ids_near(likely, set, header.tunnel, header.session)
        .ok_or(Reason::UnknownSession)?;
    if row != likely {
        remember(packet, row, rows);
    }
    // RFC 4301 §5.2: what comes from another port than the tunnel's is not what the SA is for.
    let session = rows.sessions.find(row);
    if session.is_none_or(|session| session.remote_port != from.0) {
        return Err(Reason::Selector);
    }
    packet.advance(header.header_len());
    packet.layer = Layer::Ppp;
    Ok(())
}

/// The SA's next packet is most likely of the same session.
fn remember(packet: &mut Packet, row: SessionRow, rows: &mut Rows) {
    packet.session = row;
    if packet.encapsulation != Encapsulation::Clear
        && let Some(sa) = rows.sas.inbound_mut(packet.sa)
    {
        sa.session = row;
    }
}
