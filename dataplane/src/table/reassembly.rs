//! Outer datagrams that are not yet whole: a fixed number of them, each in one frame of the pool (RFC 791 §3.2, RFC 815).

use std::net::Ipv4Addr;
use std::time::Duration;

use culvert_wire::ipv4::Ecn;

use crate::frame::{CHUNK, Frame, FramePool};
use crate::moment::Moment;

/// Datagrams held at once.
pub const MAX_HELD: usize = 64;
/// Datagrams held of one source.
pub const SHARE: usize = 8;
/// How long the parts of a datagram may take.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Where a datagram's payload is put together in its frame.
pub const PLACE: usize = crate::batch::IP_PLACE + culvert_wire::ipv4::HEADER_LEN;
/// The longest payload of a datagram in bytes.
pub const MAX_LEN: usize = CHUNK - PLACE;

/// Fragment offsets count units of this many bytes.
const UNIT: usize = 8;
const WORDS: usize = MAX_LEN.div_ceil(UNIT * 64);

/// What the fragments of one datagram share (RFC 791 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where from.
    pub source: Ipv4Addr,
    /// Where to.
    pub destination: Ipv4Addr,
    /// Identification.
    pub identification: u16,
    /// Protocol.
    pub protocol: u8,
}

/// A datagram that is not yet whole.
#[derive(Debug)]
pub struct Held {
    key: Key,
    began: Moment,
    frame: Frame,
    /// One bit for each unit that is there.
    units: [u64; WORDS],
    /// Bytes that are there.
    filled: usize,
    /// Length of the whole, once the last fragment is there.
    total: Option<usize>,
    /// Congested if any fragment was (RFC 3168 §5.3).
    ecn: Ecn,
}

/// Why a fragment does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Offset or length contradict other fragments or RFC 791.
    Malformed,
    /// It covers bytes that are there already.
    Overlap,
    /// The datagram would not fit a frame.
    TooLong,
}

impl Held {
    /// A datagram of which nothing is there.
    pub const fn new(key: Key, began: Moment, frame: Frame, ecn: Ecn) -> Self {
        Self {
            key,
            began,
            frame,
            units: [0; WORDS],
            filled: 0,
            total: None,
            ecn,
        }
    }

    /// Takes in the bytes of one fragment at `offset`.
    ///
    /// # Errors
    /// A [`Misfit`]; nothing is taken in then.
    pub fn add(&mut self, offset: usize, more: bool, bytes: &[u8], ecn: Ecn) -> Result<(), Misfit> {
        check(offset, more, bytes.len())?;
        let end = offset + bytes.len();
        if self.total.is_some_and(|total| end > total || !more) || (!more && self.reaches() > end) {
            return Err(Misfit::Malformed);
        }
        let units = offset / UNIT..end.div_ceil(UNIT);
        if units.clone().any(|unit| self.has(unit)) {
            return Err(Misfit::Overlap);
        }
        let place = self
            .frame
            .chunk_mut()
            .0
            .get_mut(PLACE + offset..PLACE + end)
            .ok_or(Misfit::TooLong)?;
        place.copy_from_slice(bytes);
        for unit in units {
            if let Some(word) = self.units.get_mut(unit / 64) {
                *word |= 1 << (unit % 64);
            }
        }
        self.filled += bytes.len();
        if !more {
            self.total = Some(end);
        }
        if ecn == Ecn::Congested {
            self.ecn = ecn;
        }
        Ok(())
    }

    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        self.total == Some(self.filled)
    }

    /// The frame with the payload at [`PLACE`], its length, and the congestion mark.
    pub fn into_parts(self) -> (Frame, usize, Ecn) {
        (self.frame, self.filled, self.ecn)
    }

    fn has(&self, unit: usize) -> bool {
        self.units
            .get(unit / 64)
            .is_some_and(|word| word & (1 << (unit % 64)) != 0)
    }

    /// End of the last unit that is there, in bytes.
    fn reaches(&self) -> usize {
        let last = (0..WORDS * 64).rev().find(|unit| self.has(*unit));
        last.map_or(0, |unit| (unit + 1) * UNIT)
            .saturating_sub(UNIT - 1)
    }
}

/// What can be said of a fragment alone.
fn check(offset: usize, more: bool, len: usize) -> Result<(), Misfit> {
    if len == 0 || (more && !len.is_multiple_of(UNIT)) || offset + len > usize::from(u16::MAX) {
        return Err(Misfit::Malformed);
    }
    if offset + len > MAX_LEN {
        return Err(Misfit::TooLong);
    }
    Ok(())
}

/// All datagrams that are not yet whole.
#[derive(Debug)]
pub struct Reassembly {
    held: Box<[Option<Held>]>,
    count: usize,
}

impl Reassembly {
    /// Holds nothing.
    pub fn new() -> Self {
        Self {
            held: (0..MAX_HELD).map(|_| None).collect(),
            count: 0,
        }
    }

    /// The place of the datagram that a fragment belongs to.
    pub fn find(&self, key: Key) -> Option<usize> {
        if self.count == 0 {
            return None;
        }
        self.held
            .iter()
            .position(|held| held.as_ref().is_some_and(|held| held.key == key))
    }

    /// The datagram at `place`.
    pub fn at(&mut self, place: usize) -> Option<&mut Held> {
        self.held.get_mut(place)?.as_mut()
    }

    /// Datagrams held of `source`.
    pub fn held_of(&self, source: Ipv4Addr) -> usize {
        self.held
            .iter()
            .flatten()
            .filter(|held| held.key.source == source)
            .count()
    }

    /// Holds a datagram, and returns the oldest one if that had to make room.
    pub fn insert(&mut self, held: Held) -> Option<Held> {
        let empty = self.held.iter().position(Option::is_none);
        let place = empty.or_else(|| self.oldest()).unwrap_or(0);
        let evicted = self.take(place);
        if let Some(slot) = self.held.get_mut(place) {
            *slot = Some(held);
            self.count += 1;
        }
        evicted
    }

    /// Lets go of the datagram at `place`.
    pub fn take(&mut self, place: usize) -> Option<Held> {
        let held = self.held.get_mut(place)?.take()?;
        self.count -= 1;
        Some(held)
    }

    /// Lets go of the oldest datagram of `source`.
    pub fn take_oldest_of(&mut self, source: Ipv4Addr) -> Option<Held> {
        let began = |held: &Held| (held.key.source == source).then_some(held.began);
        let of_source =
            |(place, held): (usize, &Option<Held>)| Some((held.as_ref().and_then(began)?, place));
        let (_, place) = self.held.iter().enumerate().filter_map(of_source).min()?;
        self.take(place)
    }

    /// Gives up datagrams that have waited too long, and returns how many.
    pub fn expire(&mut self, now: Moment, pool: &mut FramePool) -> u64 {
        if self.count == 0 {
            return 0;
        }
        let mut expired = 0;
        for place in 0..self.held.len() {
            if self
                .at(place)
                .is_some_and(|held| now.since(held.began) >= PATIENCE)
                && let Some(held) = self.take(place)
            {
                pool.give(held.frame);
                expired += 1;
            }
        }
        expired
    }

    fn oldest(&self) -> Option<usize> {
        let began = |held: &Option<Held>| held.as_ref().map(|held| held.began);
        (0..self.held.len()).min_by_key(|place| self.held.get(*place).and_then(began))
    }
}

impl Default for Reassembly {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CoreId;

    fn held() -> Held {
        let key = Key {
            source: [1; 4].into(),
            destination: [2; 4].into(),
            identification: 7,
            protocol: 17,
        };
        let frame = FramePool::in_memory(CoreId(0), 1).take().unwrap();
        Held::new(key, Moment::START, frame, Ecn::NotCapable)
    }

    fn payload(held: Held) -> Vec<u8> {
        let (mut frame, len, _) = held.into_parts();
        frame.chunk_mut().0[PLACE..PLACE + len].to_vec()
    }

    #[test]
    fn parts_in_any_order_make_the_whole() {
        let whole: Vec<u8> = (0..=255).cycle().take(61).collect();
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
            let mut held = held();
            for (step, part) in order.into_iter().enumerate() {
                assert!(!held.is_whole(), "{order:?} {step}");
                let range = [0..24, 24..48, 48..61][part].clone();
                held.add(range.start, part != 2, &whole[range], Ecn::NotCapable)
                    .unwrap();
            }
            assert!(held.is_whole());
            assert_eq!(payload(held), whole);
        }
    }

    #[test]
    fn an_overlap_is_refused_whatever_it_holds() {
        let mut held = held();
        held.add(0, true, &[0; 16], Ecn::NotCapable).unwrap();
        assert_eq!(
            held.add(8, true, &[0; 16], Ecn::NotCapable),
            Err(Misfit::Overlap)
        );
        assert_eq!(
            held.add(0, true, &[0; 16], Ecn::NotCapable),
            Err(Misfit::Overlap)
        );
    }

    #[test]
    fn impossible_fragments_are_refused() {
        let mut held = held();
        assert_eq!(
            held.add(0, true, &[0; 15], Ecn::NotCapable),
            Err(Misfit::Malformed)
        );
        assert_eq!(
            held.add(0, true, &[], Ecn::NotCapable),
            Err(Misfit::Malformed)
        );
        assert_eq!(
            held.add(65_528, false, &[0; 8], Ecn::NotCapable),
            Err(Misfit::Malformed)
        );
        assert_eq!(
            held.add(MAX_LEN / 8 * 8, false, &[0; 8], Ecn::NotCapable),
            Err(Misfit::TooLong)
        );
        held.add(32, false, &[0; 8], Ecn::NotCapable).unwrap();
        assert_eq!(
            held.add(40, true, &[0; 8], Ecn::NotCapable),
            Err(Misfit::Malformed)
        );
        assert_eq!(
            held.add(16, false, &[0; 4], Ecn::NotCapable),
            Err(Misfit::Malformed)
        );
    }

    #[test]
    fn a_last_fragment_before_others_ends_is_refused() {
        let mut held = held();
        held.add(32, true, &[0; 8], Ecn::NotCapable).unwrap();
        assert_eq!(
            held.add(8, false, &[0; 8], Ecn::NotCapable),
            Err(Misfit::Malformed)
        );
    }

    #[test]
    fn a_congested_part_marks_the_whole() {
        let mut held = held();
        held.add(0, true, &[0; 8], Ecn::Capable0).unwrap();
        held.add(8, false, &[0; 8], Ecn::Congested).unwrap();
        assert_eq!(held.into_parts().2, Ecn::Congested);
    }
}
