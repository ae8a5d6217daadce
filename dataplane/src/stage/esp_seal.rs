//! Seals datagrams (RFC 4303 §3.3) in three passes: choose the SA and number the packets; seal all in one burst; put the headers on.
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
use culvert_crypto::{Engine, SealOp};
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

/// First pass. A clear set's datagram only gets its headers.
fn prepare(packet: &mut Packet, rows: &mut Rows) -> Result<(), Reason> {
    let set = rows.sets.find(packet.set).ok_or(Reason::Absent)?;
    packet.encapsulation = set.encapsulation;
    if set.encapsulation == Encapsulation::Clear {
        return send_clear(packet, rows);
    }
    let row = set.current.ok_or(Reason::NoOutbound)?;
    let template = set.template.ok_or(Reason::NoNextHop)?;
    let sa = rows.sas.outbound(row).ok_or(Reason::NoOutbound)?;
    let suite = sa.context.as_ref().ok_or(Reason::NoOutbound)?.suite();
    let trailer = Trailer::aligning(packet.len(), suite.alignment(), Protocol::UDP);
    let sealed_len = esp::HEADER_LEN + suite.sealed_len(trailer.plaintext_len());
    if template.len() + sealed_len > MAX_LEN
        || packet.tailroom() < trailer.plaintext_len() - trailer.payload_len
    {
        return Err(Reason::TooBig);
    }
    let mut out = rows.pool.take().ok_or(Reason::NoFrame)?;
    let numbered = number(packet.set, row, sealed_len, rows).and_then(|(spi, sequence)| {
        let identification = rows
            .sets
            .find_mut(packet.set)
            .ok_or(Reason::Absent)?
            .next_identification();
        let frame = out
            .chunk_mut()
            .0
            .get_mut(HEADROOM..)
            .ok_or(Reason::TooBig)?;
        template
            .write(frame, sealed_len, identification, packet.ecn)
            .ok_or(Reason::TooBig)?;
        let header = frame
            .get_mut(template.len()..)
            .and_then(|rest| rest.first_chunk_mut())
            .ok_or(Reason::TooBig)?;
        *header = esp::header(spi, sequence);
        Ok(sequence)
    });
    match numbered {
        Ok(sequence) => packet.sequence = sequence,
        Err(reason) => {
            rows.pool.give(out);
            return Err(reason);
        }
    }
    out.set_len(template.len() + sealed_len);
    put_trailer(packet, trailer)?;
    (packet.sa, packet.out, packet.layer) = (row, Some(out), Layer::Esp);
    Ok(())
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

/// Second pass: one burst. Returns how many packets were sealed.
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
    let context = sas.outbound(packet.sa)?.context.as_deref()?;
    let iv = context.iv(u64::from(packet.sequence));
    let range = packet.at()..packet.end();
    let source = &*packet.frame.chunk_mut().0.get_mut(range)?;
    let sealed_len = context.suite().sealed_len(source.len());
    let frame = packet.out.as_mut()?.bytes_mut();
    let at = frame.len().checked_sub(sealed_len)?;
    let (headers, destination) = frame.split_at_mut_checked(at)?;
    let aad = headers.last_chunk::<{ esp::HEADER_LEN }>()?;
    SealOp::new(context, aad, iv, source, destination).ok()
}

/// Third pass: the sealed frame takes the place of the one it was read from.
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
