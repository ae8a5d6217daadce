//! Writes the L2TP data header (RFC 2661 §3.1) and the inner UDP header, whose checksum is zero over IPv4 (RFC 768, RFC 3948 §3.1.2).

use culvert_wire::l2tp::header::{DataHeader, Length, Sequence};
use culvert_wire::udp::{self, Port};

use crate::api::Sequencing;
use crate::batch::{Batch, Layer, Packet};
use crate::table::Rows;
use crate::verdict::Reason;

/// Makes L2TP datagrams of PPP frames and of control's own messages.
///
/// Verdicts: Forward; Drop(Absent).
pub fn l2tp_encap(batch: &mut Batch, rows: &mut Rows) {
    for packet in batch.packets() {
        if packet.awaits(Layer::Ppp) && put_on_l2tp(packet, rows).is_none() {
            packet.drop(Reason::Absent);
        }
        if packet.awaits(Layer::L2tp) && put_on_udp(packet).is_none() {
            packet.drop(Reason::Absent);
        }
    }
}

fn put_on_l2tp(packet: &mut Packet, rows: &mut Rows) -> Option<()> {
    let session = rows.sessions.find_mut(packet.session)?;
    let sequence = match session.sequencing {
        Sequencing::Off => None,
        Sequencing::On => {
            let ns = session.next_sequence;
            session.next_sequence = ns.wrapping_add(1);
            Some(Sequence { ns, nr: 0 })
        }
    };
    let header = DataHeader {
        tunnel: session.peer_tunnel,
        session: session.peer_session,
        length: Length::Present,
        sequence,
    };
    packet.set = session.set;
    packet.ports = (session.local_port, session.remote_port);
    let payload_len = packet.len();
    let front = packet.prepend(header.len())?;
    header.emit(front, payload_len).ok()?;
    packet.layer = Layer::L2tp;
    Some(())
}

fn put_on_udp(packet: &mut Packet) -> Option<()> {
    let (local, remote) = packet.ports;
    let header = udp::Header {
        source_port: Port(local),
        destination_port: Port(remote),
        total_len: u16::try_from(packet.len() + udp::HEADER_LEN).ok()?,
        checksum: 0,
    };
    let front = packet.prepend(udp::HEADER_LEN)?;
    header.emit(front).ok()?;
    packet.layer = Layer::Udp;
    Some(())
}
