//! Takes off the PPP header, compressed or not (RFC 1661 §2, §6.5, §6.6); what is not IPv4 goes to control.

use culvert_wire::ppp::frame::{Frame, Protocol};

use crate::batch::{Layer, Packet};
use crate::table::Rows;
use crate::verdict::{PuntKind, Reason, Verdict};

/// Lets IPv4 of an open session on, and gives everything else to control.
///
/// Verdicts: Forward; Punt(Ppp); Drop(PppMalformed, NotOpen, Absent).
pub fn ppp_decap(packet: &mut Packet, rows: &Rows) {
    if packet.awaits(Layer::Ppp)
        && let Err(reason) = take_off(packet, rows)
    {
        packet.drop(reason);
    }
}

/// A punted frame keeps its protocol number in the packet, where it is uncompressed.
fn take_off(packet: &mut Packet, rows: &Rows) -> Result<(), Reason> {
    let frame = Frame::parse(packet.rest()).map_err(|_| Reason::PppMalformed)?;
    let (protocol, header_len) = (frame.protocol, frame.header_len);
    packet.ppp = protocol.0;
    packet.advance(header_len);
    packet.layer = Layer::PppPayload;
    if protocol != Protocol::IPV4 {
        packet.verdict = Verdict::Punt(PuntKind::Ppp);
        return Ok(());
    }
    let session = rows.sessions.find(packet.session).ok_or(Reason::Absent)?;
    if session.address.is_none() {
        return Err(Reason::NotOpen);
    }
    packet.layer = Layer::Inner;
    Ok(())
}
