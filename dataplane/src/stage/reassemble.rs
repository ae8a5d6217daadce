//! Puts outer IPv4 fragments together, within the bounds of [`Reassembly`](crate::table::reassembly::Reassembly).

use crate::batch::{Batch, Layer, Packet};
use crate::table::Rows;
use crate::table::reassembly::{Held, Key, MAX_LEN, Misfit, PLACE, SHARE};
use crate::verdict::{Reason, Verdict};

/// Takes in each fragment; the one that makes a datagram whole becomes it.
///
/// Verdicts: Forward; Held; Merged; Drop(FragmentMalformed, FragmentOverlap, FragmentTooLong, NoFrame). A datagram that is given up is
/// counted as FragmentTimeout, FragmentShare, FragmentEvicted, or as the fragment that spoilt it.
pub fn reassemble(batch: &mut Batch, rows: &mut Rows) {
    for _ in 0..rows.reassembly.expire(rows.now, &mut rows.pool) {
        give_up(rows, Reason::FragmentTimeout);
    }
    for packet in batch.awaiting(Layer::Fragment) {
        packet.verdict = match take_in(packet, rows) {
            Ok(verdict) => verdict,
            Err(reason) => Verdict::Drop(reason),
        };
    }
}

fn take_in(packet: &mut Packet, rows: &mut Rows) -> Result<Verdict, Reason> {
    let key = Key {
        source: *packet.remote.ip(),
        destination: *packet.local.ip(),
        identification: packet.fragment.0,
        protocol: packet.protocol,
    };
    let (place, verdict) = match rows.reassembly.find(key) {
        Some(place) => (place, Verdict::Merged),
        None => (begin(key, packet, rows)?, Verdict::Held),
    };
    let (_, offset, more) = packet.fragment;
    let offset = usize::from(offset);
    let ecn = packet.ecn;
    let held = rows.reassembly.at(place).ok_or(Reason::NoFrame)?;
    if let Err(misfit) = held.add(offset, more, packet.rest(), ecn) {
        let reason = spoilt(misfit);
        discard(place, rows, reason, verdict);
        return Err(reason);
    }
    if !held.is_whole() {
        return Ok(verdict);
    }
    resume(packet, place, rows);
    Ok(Verdict::Forward)
}

/// Makes a place for a new datagram.
fn begin(key: Key, packet: &Packet, rows: &mut Rows) -> Result<usize, Reason> {
    let (_, offset, _) = packet.fragment;
    if usize::from(offset) + packet.len() > MAX_LEN {
        return Err(Reason::FragmentTooLong);
    }
    // The oldest goes, not the newest: what repeated or forged fragments began would else shut the source out until it expires.
    if rows.reassembly.held_of(key.source) >= SHARE
        && let Some(oldest) = rows.reassembly.take_oldest_of(key.source)
    {
        rows.pool.give(oldest.into_parts().0);
        give_up(rows, Reason::FragmentShare);
    }
    let frame = rows.pool.take().ok_or(Reason::NoFrame)?;
    let held = Held::new(key, rows.now, frame, packet.ecn);
    rows.counters.outer.in_flight += 1;
    if let Some(evicted) = rows.reassembly.insert(held) {
        rows.pool.give(evicted.into_parts().0);
        give_up(rows, Reason::FragmentEvicted);
    }
    rows.reassembly.find(key).ok_or(Reason::NoFrame)
}

/// The fragment that spoils a datagram ends with it; the first one of all was not yet counted as held.
fn discard(place: usize, rows: &mut Rows, reason: Reason, verdict: Verdict) {
    if let Some(held) = rows.reassembly.take(place) {
        rows.pool.give(held.into_parts().0);
    }
    if verdict == Verdict::Held {
        rows.counters.outer.in_flight -= 1;
    } else {
        give_up(rows, reason);
    }
}

/// A datagram that was held ends.
fn give_up(rows: &mut Rows, reason: Reason) {
    rows.counters.outer.in_flight -= 1;
    rows.counters.outer.drop(reason);
}

/// The packet goes on as the whole datagram: this fragment is merged, and the one held resumes its way.
fn resume(packet: &mut Packet, place: usize, rows: &mut Rows) {
    let Some(held) = rows.reassembly.take(place) else {
        return;
    };
    let (frame, len, ecn) = held.into_parts();
    rows.pool.give(std::mem::replace(&mut packet.frame, frame));
    packet.set_range(PLACE, PLACE + len);
    (packet.layer, packet.ecn) = (Layer::Outer, ecn);
    rows.counters.outer.in_flight -= 1;
    rows.counters.outer.merged += 1;
}

const fn spoilt(misfit: Misfit) -> Reason {
    match misfit {
        Misfit::Malformed => Reason::FragmentMalformed,
        Misfit::Overlap => Reason::FragmentOverlap,
        Misfit::TooLong => Reason::FragmentTooLong,
    }
}
