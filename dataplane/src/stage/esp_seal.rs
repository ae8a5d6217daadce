//! Seals datagrams (RFC 4303 §3.3): choose the SA, number the packets and write their headers; then seal all in one burst.
//!
//! ```text
//! core's frame   … │ UDP │ L2TP │ PPP │ inner IP … │ padding │ pad length │ next header │
//!                    ▼ one burst
//! outer's frame  Ethernet │ IPv4 │ [UDP] │ SPI 4 │ sequence 4 │ IV ‖ ciphertext ‖ ICV │
//! ```
//! The next sequence number is stored in memory that outlives the process before the packet is sealed, so that no number, and with it
//! no IV, is ever used twice with one key (NIST SP 800-38D §8).

use std::sync::atomic::{Ordering, compiler_fence};

use arrayvec::ArrayVec;
use culvert_crypto::{Engine, Iv, SealOp};
use culvert_wire::esp::{self, Trailer};
use culvert_wire::id::Spi;
use culvert_wire::ipv4::Protocol;

use crate::api::{Encapsulation, Event, SetId};
use crate::batch::{Batch, Layer, Packet};
use crate::frame::{BATCH, Frame, HEADROOM, MAX_LEN};
use crate::table::Rows;
use crate::table::sa::{SaRow, SaTable, Told};
use crate::verdict::Reason;

/// Makes frames for the outer port of all datagrams of the batch.
///
/// Verdicts: Forward; Drop(Absent, NoOutbound, SequenceExhausted, NoNextHop, NoFrame, TooBig).
pub fn esp_seal(batch: &mut Batch, rows: &mut Rows) {
    for packet in batch.awaiting(Layer::Udp) {
        if let Err(reason) = locate(packet, rows) {
            packet.drop(reason);
        }
    }
    for packet in batch.awaiting(Layer::Udp) {
        fetch(packet, rows);
    }
    for packet in batch.awaiting(Layer::Udp) {
        if let Err(reason) = prepare(packet, rows) {
            packet.drop(reason);
        }
    }
    let sealed = seal(batch, &rows.sas, rows.engine);
    for (number, packet) in batch.awaiting(Layer::Esp).enumerate() {
        if let Err(reason) = finish(packet, number < sealed) {
            packet.drop(reason);
        }
    }
}

/// Chooses the SA, and has it fetched. A clear set's datagram only gets its headers.
fn locate(packet: &mut Packet, rows: &mut Rows) -> Result<(), Reason> {
    let set = rows.sets.find(packet.set).ok_or(Reason::Absent)?;
    packet.encapsulation = set.encapsulation;
    if set.encapsulation == Encapsulation::Clear {
        return send_clear(packet, rows);
    }
    packet.sa = set.current.ok_or(Reason::NoOutbound)?;
    rows.sas.prefetch_outbound(packet.sa);
    let out = rows.pool.take().ok_or(Reason::NoFrame)?;
    out.prefetch();
    packet.out = Some(out);
    Ok(())
}

/// Has fetched the numbers and keys that the SA leads to.
fn fetch(packet: &Packet, rows: &Rows) {
    if let Some(sa) = rows.sas.outbound(packet.sa) {
        rows.continuity.prefetch_slot(sa.slot);
        sa.context.prefetch(packet.len());
    }
}

/// Numbers the packet, and writes its headers and its trailer.
fn prepare(packet: &mut Packet, rows: &mut Rows) -> Result<(), Reason> {
    let set = rows.sets.find(packet.set).ok_or(Reason::Absent)?;
    let headers_len = set.template.as_ref().ok_or(Reason::NoNextHop)?.len();
    let sa = rows.sas.outbound(packet.sa).ok_or(Reason::NoOutbound)?;
    let suite = sa.context.suite();
    let trailer = Trailer::aligning(packet.len(), suite.alignment(), Protocol::UDP);
    let sealed_len = esp::HEADER_LEN + suite.sealed_len(trailer.plaintext_len());
    if headers_len + sealed_len > MAX_LEN
        || packet.tailroom() < trailer.plaintext_len() - trailer.payload_len
    {
        return Err(Reason::TooBig);
    }
    let (spi, sequence) = number(packet.set, packet.sa, sealed_len, rows)?;
    packet.sequence = sequence;
    put_headers(packet, spi, sealed_len, rows).ok_or(Reason::TooBig)?;
    put_trailer(packet, trailer)?;
    packet.layer = Layer::Esp;
    Ok(())
}

/// Writes all headers in front of `sealed_len` bytes, of which the first are SPI and sequence number.
fn put_headers(packet: &mut Packet, spi: Spi, sealed_len: usize, rows: &mut Rows) -> Option<()> {
    let set = rows.sets.find_mut(packet.set)?;
    let identification = set.next_identification();
    let template = set.template.as_ref()?;
    let out = packet.out.as_mut()?;
    let frame = out.chunk_mut().0.get_mut(HEADROOM..)?;
    template.write(frame, sealed_len, identification, packet.ecn)?;
    let header = frame.get_mut(template.len()..)?.first_chunk_mut()?;
    *header = esp::header(spi, packet.sequence);
    out.set_len(template.len() + sealed_len);
    Some(())
}

/// Takes the SA's next sequence number: 1 to 2^32 − 1, and then none.
fn number(
    set: SetId,
    row: SaRow,
    sealed_len: usize,
    rows: &mut Rows,
) -> Result<(Spi, u32), Reason> {
    let sa = rows.sas.outbound_mut(row).ok_or(Reason::NoOutbound)?;
    let slot = rows
        .continuity
        .slot(sa.slot)
        .filter(|slot| *slot.outbound == sa.spi.0);
    let next = slot.ok_or(Reason::NoOutbound)?.next_outbound;
    let left = END.saturating_sub(*next);
    let told = match left {
        0 => Told::All,
        1..=HALF => Told::Half,
        _ => Told::Nothing,
    };
    if told != sa.told {
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        if rows.events.push(Event::SequenceLow {
            set,
            spi: sa.spi,
            left,
        }) {
            sa.told = told;
        }
    }
    let sequence = u32::try_from(*next).map_err(|_| Reason::SequenceExhausted)?;
    *next += 1;
    compiler_fence(Ordering::SeqCst);
    sa.packets += 1;
    sa.bytes += sealed_len as u64;
    Ok((sa.spi, sequence))
}

/// One more than the last sequence number (RFC 4303 §3.3.3: it must not cycle).
const END: u64 = 1 << 32;
/// Half of all sequence numbers.
const HALF: u64 = 1 << 31;

fn put_trailer(packet: &mut Packet, trailer: Trailer) -> Result<(), Reason> {
    let (at, payload_len) = (packet.at(), trailer.payload_len);
    packet.set_range(at, at + trailer.plaintext_len());
    let tail = packet.rest().get_mut(payload_len..).ok_or(Reason::TooBig)?;
    trailer.emit(tail).map_err(|_| Reason::TooBig)?;
    Ok(())
}

/// One burst. Returns how many packets were sealed.
fn seal(batch: &mut Batch, sas: &SaTable, engine: Engine) -> usize {
    let mut ops = ArrayVec::<SealOp<'_>, BATCH>::new();
    for packet in batch.awaiting(Layer::Esp) {
        let Some(op) = seal_op(packet, sas) else {
            break;
        };
        ops.push(op);
    }
    engine.seal_burst(&mut ops);
    ops.len()
}

/// `None` cannot happen after [`prepare`]; if it did, this packet and those after it would be dropped.
fn seal_op<'a>(packet: &'a mut Packet, sas: &'a SaTable) -> Option<SealOp<'a>> {
    let context = &sas.outbound(packet.sa)?.context;
    let iv = Iv::Sequence(packet.sequence.into());
    let range = packet.at()..packet.end();
    let source = &*packet.frame.chunk_mut().0.get_mut(range)?;
    let sealed_len = context.suite().sealed_len(source.len());
    let frame = packet.out.as_mut()?.bytes_mut();
    let at = frame.len().checked_sub(sealed_len)?;
    let (headers, destination) = frame.split_at_mut_checked(at)?;
    let aad = headers.last_chunk::<{ esp::HEADER_LEN }>()?;
    SealOp::new(context, aad, iv, source, destination).ok()
}

/// The sealed frame takes the place of the one it was read from.
fn finish(packet: &mut Packet, is_sealed: bool) -> Result<(), Reason> {
    if !is_sealed {
        return Err(Reason::NoOutbound);
    }
    let sealed = packet.out.take().ok_or(Reason::NoFrame)?;
    whole_frame(packet, sealed);
    Ok(())
}

fn whole_frame(packet: &mut Packet, frame: Frame) {
    let len = frame.len();
    packet.out = Some(std::mem::replace(&mut packet.frame, frame));
    packet.set_range(HEADROOM, HEADROOM + len);
    packet.layer = Layer::Ethernet;
}

/// The datagram moves to where its headers find room.
fn send_clear(packet: &mut Packet, rows: &mut Rows) -> Result<(), Reason> {
    let set = rows.sets.find_mut(packet.set).ok_or(Reason::Absent)?;
    let template = set.template.ok_or(Reason::NoNextHop)?;
    let identification = set.next_identification();
    let len = packet.len();
    if !packet.move_to(HEADROOM + template.len()) {
        return Err(Reason::TooBig);
    }
    let ecn = packet.ecn;
    let frame = packet.prepend(template.len()).ok_or(Reason::TooBig)?;
    template
        .write(frame, len, identification, ecn)
        .ok_or(Reason::TooBig)?;
    packet.frame.set_len(template.len() + len);
    packet.layer = Layer::Ethernet;
    Ok(())
}
