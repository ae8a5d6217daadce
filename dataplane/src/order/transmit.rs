//! Packets of control's own: written into a frame at the layer where they join the way down.

use std::net::SocketAddrV4;

use culvert_wire::esp::MARKER_LEN;
use culvert_wire::eth::MacAddress;
use culvert_wire::ipv4::Ecn;
use culvert_wire::udp::Port;

use super::v4;
use crate::api::{Destination, Refusal, Transmit};
use crate::batch::{Batch, Layer, Packet};
use crate::frame::{HEADROOM, MAX_LEN};
use crate::table::Rows;
use crate::table::template::{Template, Wrapping};
use crate::verdict::Origin;

/// Where the bytes of control's own packets go in their frame: the headers of every layer find room before them.
const TRANSMIT_PLACE: usize = HEADROOM + 128;

/// Writes a packet of control's own into a frame and appends it to `batch`, which has room.
///
/// # Errors
/// `TooLong` if no frame holds it; `Absent` without set, session or next hop; `Exhausted` without a free frame.
pub fn transmit(
    order: &Transmit,
    next_hop: Option<MacAddress>,
    rows: &mut Rows,
    batch: &mut Batch,
) -> Result<(), Refusal> {
    if order.bytes.len() > MAX_LEN - 2 * (TRANSMIT_PLACE - HEADROOM) {
        return Err(Refusal::TooLong);
    }
    let frame = rows.pool.take().ok_or(Refusal::Exhausted)?;
    let mut packet = Packet::new(frame, Origin::Control);
    packet.set_range(TRANSMIT_PLACE, TRANSMIT_PLACE + order.bytes.len());
    packet.rest().copy_from_slice(&order.bytes);
    if let Err(refusal) = address(&mut packet, order.to, next_hop, rows) {
        rows.pool.give(packet.frame);
        return Err(refusal);
    }
    match batch.push(packet) {
        Ok(()) => {
            rows.counters.control.originated += 1;
            Ok(())
        }
        Err(packet) => {
            rows.pool.give(packet.frame);
            Err(Refusal::Exhausted)
        }
    }
}

fn address(
    packet: &mut Packet,
    to: Destination,
    next_hop: Option<MacAddress>,
    rows: &Rows,
) -> Result<(), Refusal> {
    match to {
        Destination::Ike { local, remote } => {
            if Port(local.port()) == Port::NAT_T {
                let front = packet.prepend(MARKER_LEN).ok_or(Refusal::TooLong)?;
                front.get_mut(..MARKER_LEN).ok_or(Refusal::TooLong)?.fill(0);
            }
            envelope(packet, v4(local)?, v4(remote)?, next_hop, rows)
        }
        Destination::ClearL2tp { local, remote } => {
            envelope(packet, v4(local)?, v4(remote)?, next_hop, rows)
        }
        Destination::L2tp {
            set,
            local_port,
            remote_port,
        } => {
            rows.sets.find(set).ok_or(Refusal::Absent)?;
            (packet.set, packet.ports, packet.layer) =
                (set, (local_port, remote_port), Layer::L2tp);
            Ok(())
        }
        Destination::Ppp(row) => {
            rows.sessions.find(row).ok_or(Refusal::Absent)?;
            let protocol = packet
                .rest()
                .first_chunk::<2>()
                .copied()
                .ok_or(Refusal::Invalid)?;
            packet.advance(protocol.len());
            (packet.session, packet.ppp, packet.layer) =
                (row, u16::from_be_bytes(protocol), Layer::PppPayload);
            Ok(())
        }
    }
}

/// Puts UDP, IPv4 and Ethernet headers on.
fn envelope(
    packet: &mut Packet,
    local: SocketAddrV4,
    remote: SocketAddrV4,
    next_hop: Option<MacAddress>,
    rows: &Rows,
) -> Result<(), Refusal> {
    let next_hop = next_hop.ok_or(Refusal::Absent)?;
    let template = Template::new(rows.here.outer_mac, next_hop, local, remote, Wrapping::Udp);
    let len = packet.len();
    if !packet.move_to(HEADROOM + template.len()) {
        return Err(Refusal::TooLong);
    }
    // Nothing else names these packets; the time does well enough for fragments of one peer.
    #[expect(clippy::cast_possible_truncation, reason = "any 16 bits do")]
    let identification =
        (rows.now.as_micros() ^ rows.counters.control.originated.wrapping_mul(0x9E37)) as u16;
    let frame = packet.prepend(template.len()).ok_or(Refusal::TooLong)?;
    template
        .write(frame, len, identification, Ecn::NotCapable)
        .ok_or(Refusal::TooLong)?;
    packet.frame.set_len(template.len() + len);
    packet.layer = Layer::Ethernet;
    Ok(())
}
