//! Opens ESP packets (RFC 4303 §3.4) in three passes: look up and check the window; verify and decrypt all; mark the window.
//!
//! ```text
//! rx frame   … │ SPI 4 │ sequence 4 │ IV ‖ ciphertext ‖ ICV │
//!                                            ▼ one burst
//! tx frame   … │ UDP │ L2TP │ PPP │ inner IP …    so placed that the inner IP header stands right behind the Ethernet header
//!                                 ▲ IP_PLACE      if it is where the SA's last one was
//! ```

use arrayvec::ArrayVec;
use culvert_crypto::{Engine, OpenOp};
use culvert_wire::esp::{self, Trailer};
use culvert_wire::ipv4::Protocol;

use crate::api::{Encapsulation, Event};
use crate::batch::{Batch, IP_PLACE, Layer, Packet};
use crate::frame::{BATCH, CHUNK};
use crate::table::replay::{Marked, Refusal};
use crate::table::sa::{SaRow, SaTable};
use crate::table::{Rows, window};
use crate::verdict::{Reason, Verdict};

/// Opens all ESP packets of the batch.
///
/// Verdicts: Forward; HandOff if another core owns the SPI's shard; Drop(EspMalformed, UnknownSpi, WrongEncapsulation, SequenceZero, ReplayDuplicate, ReplayTooOld, NoFrame, Forged,
/// BadPadding, Dummy, Selector).
pub fn esp_open(batch: &mut Batch, rows: &mut Rows) {
    for packet in batch.awaiting(Layer::Esp) {
        if let Err(verdict) = look_up(packet, rows) {
            packet.verdict = verdict;
        }
    }
    let opened = verify(batch, &rows.sas, rows.engine);
    for (number, packet) in batch.awaiting(Layer::Esp).enumerate() {
        let is_good = opened & (1 << number) != 0;
        if let Err(reason) = accept(packet, rows, is_good) {
            packet.drop(reason);
        }
    }
}

/// First pass: finds the row, checks the window, and takes a frame to write to.
fn look_up(packet: &mut Packet, rows: &mut Rows) -> Result<(), Verdict> {
    let esp = esp::Packet::parse(packet.rest()).map_err(|_| Verdict::Drop(Reason::EspMalformed))?;
    let (spi, sequence, sealed_len) = (esp.spi, esp.sequence, esp.body.len());
    if let Some(core) = rows
        .whereabouts
        .owner_elsewhere(spi)
        .filter(|_| !packet.is_handed)
    {
        return Err(Verdict::HandOff(core.0));
    }
    let row = rows
        .sas
        .find(spi)
        .ok_or(Verdict::Drop(Reason::UnknownSpi))?;
    admit(packet, row, sequence, sealed_len, rows).map_err(Verdict::Drop)
}

/// Sees that the packet came as its SA's packets come and was not accepted before.
fn admit(
    packet: &mut Packet,
    row: SaRow,
    sequence: u32,
    sealed_len: usize,
    rows: &mut Rows,
) -> Result<(), Reason> {
    let sa = rows.sas.inbound(row).ok_or(Reason::UnknownSpi)?;
    let set = rows.sets.find(sa.set).ok_or(Reason::UnknownSpi)?;
    let from_elsewhere =
        set.remote.ip() != packet.remote.ip() && set.encapsulation == Encapsulation::Esp;
    if set.encapsulation != packet.encapsulation
        || from_elsewhere
        || set.local.ip() != packet.local.ip()
    {
        return Err(Reason::WrongEncapsulation);
    }
    let suite = sa.context.as_ref().ok_or(Reason::UnknownSpi)?.suite();
    let opened_len = suite.opened_len(sealed_len).ok_or(Reason::EspMalformed)?;
    let at = IP_PLACE - usize::from(sa.place);
    if at + opened_len > CHUNK {
        return Err(Reason::EspMalformed);
    }
    let (spi, words) = (sa.spi, sa.window_words);
    (packet.sa, packet.set, packet.sequence) = (row, sa.set, sequence);
    let window = window(&mut rows.continuity, spi, words).ok_or(Reason::UnknownSpi)?;
    window.check(sequence).map_err(refused)?;
    packet.out = Some(rows.pool.take().ok_or(Reason::NoFrame)?);
    Ok(())
}

/// Second pass: one burst over all packets that are left. Bit n of the result is set if the n-th of them verified.
fn verify(batch: &mut Batch, sas: &SaTable, engine: Engine) -> u64 {
    let mut ops = ArrayVec::<OpenOp<'_>, BATCH>::new();
    for packet in batch.awaiting(Layer::Esp) {
        let Some(op) = open_op(packet, sas) else {
            break;
        };
        ops.push(op);
    }
    engine.open_burst(&mut ops).bits()
}

/// `None` cannot happen after [`look_up`]; if it did, this packet and those after it would count as forged.
fn open_op<'a>(packet: &'a mut Packet, sas: &'a SaTable) -> Option<OpenOp<'a>> {
    let sa = sas.inbound(packet.sa)?;
    let context = sa.context.as_deref()?;
    let range = packet.at()..packet.end();
    let source = &*packet.frame.chunk_mut().0.get_mut(range)?;
    let (aad, sealed) = source.split_at_checked(esp::HEADER_LEN)?;
    let len = context.suite().opened_len(sealed.len())?;
    let at = IP_PLACE - usize::from(sa.place);
    let destination = packet.out.as_mut()?.chunk_mut().0.get_mut(at..at + len)?;
    OpenOp::new(context, aad, sealed, destination).ok()
}

/// Third pass: what a good ICV moves (window, liveness, endpoint), then the trailer.
fn accept(packet: &mut Packet, rows: &mut Rows, is_good: bool) -> Result<(), Reason> {
    if !is_good {
        return Err(Reason::Forged);
    }
    let newest = mark(packet, rows)?;
    revive(packet, rows, newest);
    let sa = rows.sas.inbound(packet.sa).ok_or(Reason::UnknownSpi)?;
    let context = sa.context.as_ref().ok_or(Reason::UnknownSpi)?;
    let len = context
        .suite()
        .opened_len(packet.len() - esp::HEADER_LEN)
        .ok_or(Reason::EspMalformed)?;
    let at = IP_PLACE - usize::from(sa.place);
    // The rx frame stays in `out` until the packet's end.
    let opened = packet.out.take().ok_or(Reason::NoFrame)?;
    packet.out = Some(std::mem::replace(&mut packet.frame, opened));
    packet.set_range(at, at + len);
    packet.opened_at = at;
    let trailer = Trailer::parse(packet.rest()).map_err(|_| Reason::BadPadding)?;
    match trailer.next_header {
        Protocol::UDP => {}
        Protocol::NO_NEXT_HEADER => return Err(Reason::Dummy),
        _ => return Err(Reason::Selector),
    }
    packet.truncate(trailer.payload_len);
    packet.layer = Layer::Udp;
    Ok(())
}

fn mark(packet: &Packet, rows: &mut Rows) -> Result<Marked, Reason> {
    let sa = rows.sas.inbound_mut(packet.sa).ok_or(Reason::UnknownSpi)?;
    let mut window =
        window(&mut rows.continuity, sa.spi, sa.window_words).ok_or(Reason::UnknownSpi)?;
    let marked = window.mark(packet.sequence).map_err(refused)?;
    sa.last_used = rows.now;
    sa.packets += 1;
    sa.bytes += packet.len() as u64;
    Ok(marked)
}

/// Tells control of the first packet, lets the twin seal, and follows the peer to a new place.
fn revive(packet: &Packet, rows: &mut Rows, marked: Marked) {
    let Some(set) = rows.sets.find_mut(packet.set) else {
        return;
    };
    set.last_used = rows.now;
    let has_moved = set.remote != packet.remote && set.encapsulation == Encapsulation::EspInUdp;
    if has_moved && marked == Marked::Newest && set.may_move(rows.now) {
        let event = Event::EndpointMoved {
            set: packet.set,
            remote: packet.remote.into(),
        };
        if rows.events.push(event) {
            set.move_to(packet.remote, rows.now, &rows.here);
        }
    }
    first_use(packet.sa, rows);
}

fn first_use(row: SaRow, rows: &mut Rows) {
    let Some(sa) = rows.sas.inbound_mut(row) else {
        return;
    };
    if sa.is_used || !rows.events.push(Event::InboundUsed(sa.spi)) {
        return;
    }
    sa.is_used = true;
    let set = sa.set;
    rows.activate_if_newer(set, row);
}

const fn refused(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::Zero => Reason::SequenceZero,
        Refusal::Duplicate => Reason::ReplayDuplicate,
        Refusal::TooOld => Reason::ReplayTooOld,
    }
}
