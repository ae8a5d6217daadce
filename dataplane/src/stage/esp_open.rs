//! Opens ESP packets (RFC 4303 §3.4): look up and check the window; verify and decrypt all in one burst; mark the window.
//!
//! Looking up goes in passes over the batch, and each has fetched what the next one touches, so that the memory of many tunnels is waited
//! for once a batch and not once a packet.
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

use crate::api::{Encapsulation, Event, Spi};
use crate::batch::{Batch, IP_PLACE, Layer, Packet, place};
use crate::frame::{BATCH, CHUNK};
use crate::table::replay::{Marked, Refusal};
use crate::table::sa::{SaRow, SaTable};
use crate::table::{Rows, window};
use crate::verdict::{Reason, Verdict};

/// Opens all ESP packets of the batch.
///
/// Verdicts: Forward; HandOff if another core owns the SPI's shard; Drop(EspMalformed, UnknownSpi, WrongEncapsulation, SequenceZero,
/// ReplayDuplicate, ReplayTooOld, NoFrame, Forged, BadPadding, Dummy, Selector).
pub fn esp_open(batch: &mut Batch, rows: &mut Rows) {
    for packet in batch.awaiting(Layer::Esp) {
        if let Err(verdict) = locate(packet, rows) {
            packet.verdict = verdict;
        }
    }
    for packet in batch.awaiting(Layer::Esp) {
        if let Err(reason) = fetch(packet, rows) {
            packet.drop(reason);
        }
    }
    for packet in batch.awaiting(Layer::Esp) {
        if let Err(reason) = admit(packet, rows) {
            packet.drop(reason);
        }
    }
    let opened = verify(batch, &rows.sas, rows.engine);
    let mut number = 0;
    batch.each_foreseen(prefetch_trailer, |packet| {
        if packet.awaits(Layer::Esp) {
            let is_good = opened & (1 << number) != 0;
            number += 1;
            if let Err(reason) = accept(packet, rows, is_good) {
                packet.drop(reason);
            }
        }
    });
}

/// Finds out which row the packet names, and has it fetched.
fn locate(packet: &mut Packet, rows: &Rows) -> Result<(), Verdict> {
    let esp = esp::Packet::parse(packet.rest()).map_err(|_| Verdict::Drop(Reason::EspMalformed))?;
    let (spi, sequence) = (esp.spi, esp.sequence);
    let Some(row) = rows.sas.row(spi) else {
        return Err(elsewhere(packet, spi, rows));
    };
    rows.sas.prefetch_inbound(row);
    rows.continuity.prefetch(spi, sequence);
    (packet.spi, packet.sa, packet.sequence) = (spi, row, sequence);
    Ok(())
}

/// What becomes of a packet whose shard is not ours; a packet is handed on once only.
#[cold]
fn elsewhere(packet: &Packet, spi: Spi, rows: &Rows) -> Verdict {
    rows.whereabouts
        .owner_elsewhere(spi)
        .filter(|_| !packet.is_handed)
        .map_or(Verdict::Drop(Reason::UnknownSpi), |core| {
            Verdict::HandOff(core.0)
        })
}

/// Has all fetched that the SA leads to: set, session, keys, and the frame to write to.
fn fetch(packet: &mut Packet, rows: &mut Rows) -> Result<(), Reason> {
    let sa = rows.sas.inbound(packet.sa);
    let sa = sa
        .filter(|sa| sa.spi == packet.spi)
        .ok_or(Reason::UnknownSpi)?;
    (packet.set, packet.session) = (sa.set, sa.session);
    rows.sets.prefetch(sa.set);
    rows.sessions.prefetch(sa.session);
    sa.context.prefetch(packet.len());
    let out = rows.pool.take().ok_or(Reason::NoFrame)?;
    out.prefetch();
    packet.out = Some(out);
    Ok(())
}

/// Sees that the packet came as its SA's packets come and was not accepted before.
fn admit(packet: &mut Packet, rows: &mut Rows) -> Result<(), Reason> {
    let sa = rows.sas.inbound(packet.sa).ok_or(Reason::UnknownSpi)?;
    let set = rows.sets.find(packet.set).ok_or(Reason::UnknownSpi)?;
    let from_elsewhere =
        set.remote.ip() != packet.remote.ip() && set.encapsulation == Encapsulation::Esp;
    if set.encapsulation != packet.encapsulation
        || from_elsewhere
        || set.local.ip() != packet.local.ip()
    {
        return Err(Reason::WrongEncapsulation);
    }
    let opened_len = sa
        .context
        .suite()
        .opened_len(packet.len() - esp::HEADER_LEN);
    let opened_len = opened_len.ok_or(Reason::EspMalformed)?;
    let at = IP_PLACE - usize::from(sa.place);
    if at + opened_len > CHUNK {
        return Err(Reason::EspMalformed);
    }
    packet.opened = (place(at), place(at + opened_len));
    window(&mut rows.continuity, sa.spi, sa.window_words)
        .ok_or(Reason::UnknownSpi)?
        .check(packet.sequence)
        .map_err(refused)
}

/// One burst over all packets that are left. Bit n of the result is set if the n-th of them verified.
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

/// `None` cannot happen after [`admit`]; if it did, this packet and those after it would count as forged.
fn open_op<'a>(packet: &'a mut Packet, sas: &'a SaTable) -> Option<OpenOp<'a>> {
    let sa = sas.inbound(packet.sa)?;
    let range = packet.at()..packet.end();
    let opened = usize::from(packet.opened.0)..usize::from(packet.opened.1);
    let source = &*packet.frame.chunk_mut().0.get_mut(range)?;
    let (aad, sealed) = source.split_at_checked(esp::HEADER_LEN)?;
    let destination = packet.out.as_mut()?.chunk_mut().0.get_mut(opened)?;
    OpenOp::new(&sa.context, aad, sealed, destination).ok()
}

fn prefetch_trailer(packet: &Packet) {
    if let Some(out) = &packet.out {
        out.prefetch_at(usize::from(packet.opened.1).saturating_sub(1));
    }
}

/// What a good ICV moves (window, liveness, endpoint), then the trailer.
fn accept(packet: &mut Packet, rows: &mut Rows, is_good: bool) -> Result<(), Reason> {
    if !is_good {
        return Err(Reason::Forged);
    }
    mark(packet, rows)?;
    // The rx frame stays in `out` until the packet's end.
    let opened = packet.out.take().ok_or(Reason::NoFrame)?;
    packet.out = Some(std::mem::replace(&mut packet.frame, opened));
    packet.set_range(packet.opened.0.into(), packet.opened.1.into());
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

/// Marks the window, counts, tells control of the first packet, and follows the peer to a new place.
fn mark(packet: &Packet, rows: &mut Rows) -> Result<(), Reason> {
    let sa = rows.sas.inbound_mut(packet.sa).ok_or(Reason::UnknownSpi)?;
    let mut window =
        window(&mut rows.continuity, sa.spi, sa.window_words).ok_or(Reason::UnknownSpi)?;
    let marked = window.mark(packet.sequence).map_err(refused)?;
    sa.last_used = rows.now;
    sa.packets += 1;
    sa.bytes += packet.len() as u64;
    let is_first = !sa.is_used;
    let set = rows.sets.find_mut(packet.set).ok_or(Reason::UnknownSpi)?;
    set.last_used = rows.now;
    let has_moved = set.encapsulation == Encapsulation::EspInUdp && set.remote != packet.remote;
    if has_moved && marked == Marked::Newest {
        follow(packet, rows);
    }
    if is_first {
        first_use(packet.sa, rows);
    }
    Ok(())
}

/// The peer of a set behind NAT has another address or port.
#[cold]
fn follow(packet: &Packet, rows: &mut Rows) {
    let Some(set) = rows.sets.find_mut(packet.set) else {
        return;
    };
    if !set.may_move(rows.now) {
        return;
    }
    let event = Event::EndpointMoved {
        set: packet.set,
        remote: packet.remote.into(),
    };
    if rows.events.push(event) {
        set.move_to(packet.remote, rows.now, &rows.here);
    }
}

#[cold]
fn first_use(row: SaRow, rows: &mut Rows) {
    let Some(sa) = rows.sas.inbound_mut(row) else {
        return;
    };
    if !rows.events.push(Event::InboundUsed(sa.spi)) {
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
