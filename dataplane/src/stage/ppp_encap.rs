//! Writes the PPP header in front of what goes to a client (RFC 1661 §2, §6.5, §6.6).

use culvert_wire::ppp::frame::{self, Compression, Protocol};

use crate::api::Sequencing;
use crate::batch::{Batch, Layer, Packet};
use crate::table::Rows;
use crate::table::session::SessionTable;
use crate::verdict::Reason;

/// Makes PPP frames of inner packets and of control's own messages; most inner packets become whole datagrams here.
///
/// Verdicts: Forward; Drop(Absent).
pub fn ppp_encap(batch: &mut Batch, rows: &mut Rows) {
    for packet in batch.packets() {
        if packet.awaits(Layer::Inner) && whole_header(packet, &rows.sessions).is_none() {
            packet.ppp = Protocol::IPV4.0;
            packet.layer = Layer::PppPayload;
        }
        if packet.awaits(Layer::PppPayload) && put_on(packet, rows).is_none() {
            packet.drop(Reason::Absent);
        }
    }
}

/// UDP, L2TP with its length, PPP uncompressed: what most sessions want in front of an inner packet, written in one piece.
///
/// `None`, and nothing changed, if the session wants something else.
#[inline]
fn whole_header(packet: &mut Packet, sessions: &SessionTable) -> Option<()> {
    const LEN: usize = 20;
    let session = sessions.find(packet.session)?;
    let framing = session.framing;
    let is_usual = session.sequencing == Sequencing::Off
        && !framing.address_control_compressed
        && !framing.protocol_compressed;
    let total_len = u16::try_from(packet.len() + LEN).ok()?;
    let room = packet.at() >= LEN;
    if !is_usual || !room {
        return None;
    }
    let header: &mut [u8; LEN] = packet.prepend(LEN)?.first_chunk_mut()?;
    let words = [
        session.local_port,
        session.remote_port,
        total_len,
        // No UDP checksum.
        0,
        // L2TP version 2 with a length.
        0x4002,
        total_len - 8,
        session.peer_tunnel.0,
        session.peer_session.0,
        0xFF03,
        Protocol::IPV4.0,
    ];
    for (to, word) in header.as_chunks_mut().0.iter_mut().zip(words) {
        *to = word.to_be_bytes();
    }
    packet.set = session.set;
    packet.layer = Layer::Udp;
    Some(())
}

fn put_on(packet: &mut Packet, rows: &Rows) -> Option<()> {
    let session = rows.sessions.find(packet.session)?;
    let protocol = Protocol(packet.ppp);
    let compression = Compression {
        address_control: session.framing.address_control_compressed,
        protocol: session.framing.protocol_compressed,
    };
    let front = packet.prepend(frame::header_len(protocol, compression))?;
    frame::emit(front, protocol, compression).ok()?;
    packet.layer = Layer::Ppp;
    Some(())
}

#[cfg(test)]
mod tests {
    use culvert_wire::l2tp::header::{DataHeader, Length};
    use culvert_wire::udp::{Header, Port};

    use super::*;
    use crate::api::{
        CoreId, Phase, PppFraming, SessionId, SessionRow, SessionSpec, SetId, TunnelId,
    };
    use crate::frame::FramePool;
    use crate::table::session::SessionTable;
    use crate::verdict::Origin;

    /// The header as the three writers make it one after the other.
    fn by_parts(payload_len: usize) -> Vec<u8> {
        let l2tp = DataHeader {
            tunnel: TunnelId(0x1234),
            session: SessionId(0x5678),
            length: Length::Present,
            sequence: None,
        };
        let mut bytes = vec![0; 20];
        let udp = Header {
            source_port: Port(1_701),
            destination_port: Port(31_701),
            total_len: u16::try_from(20 + payload_len).unwrap(),
            checksum: 0,
        };
        udp.emit(&mut bytes).unwrap();
        l2tp.emit(&mut bytes[8..], payload_len + 4).unwrap();
        frame::emit(&mut bytes[16..], Protocol::IPV4, Compression::default()).unwrap();
        bytes
    }

    #[test]
    fn in_one_piece_it_is_what_the_parts_make() {
        let mut sessions = SessionTable::new(1);
        let spec = SessionSpec {
            row: SessionRow(0),
            set: SetId(3),
            local_port: 1_701,
            remote_port: 31_701,
            local_tunnel: TunnelId(7),
            local_session: SessionId(9),
            peer_tunnel: TunnelId(0x1234),
            peer_session: SessionId(0x5678),
            sequencing: Sequencing::Off,
            framing: PppFraming::default(),
            phase: Phase::Negotiating,
        };
        sessions.open(&spec, None).unwrap();
        let mut frame = FramePool::in_memory(CoreId(0), 1).take().unwrap();
        frame.set_len(100);
        let mut packet = Packet::new(frame, Origin::Core);
        packet.layer = Layer::Inner;
        whole_header(&mut packet, &sessions).unwrap();
        assert_eq!((packet.layer, packet.set), (Layer::Udp, SetId(3)));
        assert_eq!(packet.rest()[..20], by_parts(100));
    }
}
