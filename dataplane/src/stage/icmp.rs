//! Tells senders why their packets go no further (RFC 1812 §4.3, RFC 1191 §4), at a bounded rate.

use culvert_wire::eth::{self, EtherType};
use culvert_wire::icmp::{self, Error};
use culvert_wire::ipv4;

use crate::batch::{IP_PLACE, Layer, Packet};
use crate::frame::Frame;
use crate::table::Rows;

/// Writes an error about `packet`, an inner one of a client, and queues it for the client's session.
pub fn tell_client(packet: &mut Packet, rows: &mut Rows, error: Error) {
    let Some(frame) = write(packet, rows, error) else {
        return;
    };
    let mut reply = Packet::new(frame, packet.origin);
    reply.set_range(IP_PLACE, reply.end());
    (reply.layer, reply.session) = (Layer::Inner, packet.session);
    rows.originate(reply);
}

/// Writes an error about `packet`, an inner one from the core, and queues it for the core port.
///
/// It goes back to the Ethernet address that the packet came from: whoever forwarded it has the way back.
pub fn tell_core(packet: &mut Packet, rows: &mut Rows, error: Error) {
    let Some(mut frame) = write(packet, rows, error) else {
        return;
    };
    let came = eth::Header::parse(packet.frame.bytes()).map(|header| header.source);
    let header = eth::Header {
        destination: came.unwrap_or_default(),
        source: rows.here.core_mac,
        tags: [None; eth::MAX_TAGS],
        ether_type: EtherType::IPV4,
    };
    if header.emit(frame.bytes_mut()).is_err() {
        return rows.pool.give(frame);
    }
    let mut reply = Packet::new(frame, packet.origin);
    reply.layer = Layer::Ethernet;
    rows.originate(reply);
}

/// A frame with room for Ethernet and the error behind it; `None` if none is due.
fn write(packet: &mut Packet, rows: &mut Rows, error: Error) -> Option<Frame> {
    let from = rows.here.gateway;
    let about = ipv4::Packet::parse(packet.rest())
        .ok()
        .filter(icmp::permits_error)?;
    if !rows.may_originate() {
        return None;
    }
    let mut frame = rows.pool.take()?;
    let (chunk, _) = frame.chunk_mut();
    let len = chunk
        .get_mut(IP_PLACE..)
        .and_then(|to| icmp::emit_error(to, from, error, &about).ok());
    let Some(len) = len else {
        rows.pool.give(frame);
        return None;
    };
    frame.set_len(eth::HEADER_LEN + len);
    Some(frame)
}
