//! Writes the PPP header in front of what goes to a client (RFC 1661 §2, §6.5, §6.6).

use culvert_wire::ppp::frame::{self, Compression, Protocol};

use crate::batch::{Batch, Layer, Packet};
use crate::table::Rows;
use crate::verdict::Reason;

/// Makes PPP frames of inner packets and of control's own messages.
///
/// Verdicts: Forward; Drop(Absent).
pub fn ppp_encap(batch: &mut Batch, rows: &mut Rows) {
    for packet in batch.packets() {
        if packet.awaits(Layer::Inner) {
            packet.ppp = Protocol::IPV4.0;
            packet.layer = Layer::PppPayload;
        }
        if packet.awaits(Layer::PppPayload) && put_on(packet, rows).is_none() {
            packet.drop(Reason::Absent);
        }
    }
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
