//! What must survive the data plane's death: each SA's next outbound sequence number and inbound replay window.
//!
//! ```text
//! 0        8         12        16       20                                4,096
//! │ magic  │ version │ window  │ shards │ 0 …                              │ slot 0 │ slot 1 │ …  1,024 · shards slots
//!                     bits
//! slot    0             4              8                16           20    24
//!         │ inbound SPI │ outbound SPI │ next outbound  │ window top │ 0   │ window bits …     │ rounded up to 64 bytes
//! ```
//! The supervisor makes the memory and holds it; it maps nothing. A data plane process maps it, and no two do at once. A slot's number is
//! [`spi::index`] of the inbound SPI. Workers keep exactly these fields, with plain stores; the order of stores
//! that a sudden death needs is theirs to keep (a compiler fence between them suffices: the memory outlives the process, not the machine).

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use super::{Part, halves, prefetch, sealed_memfd};
use crate::api::{Spi, spi};

/// Changes with the layout; memory of another version is refused.
pub const VERSION: u32 = 1;
/// Default width of a replay window, in packets.
pub const WINDOW_BITS: u16 = 1_024;
/// Narrowest and widest replay window; widths are powers of two.
pub const WINDOW_RANGE: std::ops::RangeInclusive<u16> = 64..=8_192;

const MAGIC: [u8; 8] = *b"culvert\0";
const HEADER: usize = 4_096;
const WORD: usize = size_of::<u64>();
/// Words of a slot before the window.
const HEAD_WORDS: usize = 3;
/// Words of a cache line.
const LINE_WORDS: usize = 8;

/// Why continuity memory cannot be used: its SAs must die.
#[derive(Debug)]
pub enum ContinuityError {
    /// It is not ours, of another version, or its size does not fit its header.
    Foreign,
    /// Another process still has it mapped.
    InUse,
    /// What the system says.
    Io(io::Error),
}

impl fmt::Display for ContinuityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str(
                "the continuity memory is not of this version and size: it must be made anew",
            ),
            Self::InUse => f.write_str(
                "the continuity memory is still mapped by another process: wait for its end",
            ),
            Self::Io(error) => write!(f, "continuity memory: {error}"),
        }
    }
}

impl Error for ContinuityError {}

impl From<io::Error> for ContinuityError {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        if kind == io::ErrorKind::WouldBlock {
            Self::InUse
        } else if kind == io::ErrorKind::InvalidInput {
            Self::Foreign
        } else {
            Self::Io(error)
        }
    }
}

/// How many slots there are and how large they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    shards: u16,
    window_bits: u16,
}

impl Layout {
    fn new(shards: u32, window_bits: u32) -> Option<Self> {
        let shards = u16::try_from(shards)
            .ok()
            .filter(|shards| (1..=1_024).contains(shards))?;
        let window_bits = u16::try_from(window_bits).ok()?;
        let legal = WINDOW_RANGE.contains(&window_bits) && window_bits.is_power_of_two();
        legal.then_some(Self {
            shards,
            window_bits,
        })
    }

    const fn window_words(self) -> usize {
        self.window_bits as usize / 64
    }

    const fn slot_words(self) -> usize {
        (HEAD_WORDS + self.window_words()).next_multiple_of(LINE_WORDS)
    }

    const fn shard_words(self) -> usize {
        self.slot_words() * spi::ROWS as usize
    }

    const fn len(self) -> u64 {
        (HEADER + self.shard_words() * self.shards as usize * WORD) as u64
    }

    fn header(self) -> [u8; 20] {
        let mut header = [0; 20];
        let fields = [VERSION, u32::from(self.window_bits), u32::from(self.shards)];
        let (magic, rest) = header.split_at_mut(MAGIC.len());
        magic.copy_from_slice(&MAGIC);
        for (place, field) in rest.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        header
    }

    fn parse(header: &[u8; 20]) -> Option<Self> {
        let (magic, rest) = header.split_first_chunk::<8>()?;
        let mut fields = rest
            .as_chunks::<4>()
            .0
            .iter()
            .copied()
            .map(u32::from_le_bytes);
        let (version, window_bits, shards) = (fields.next()?, fields.next()?, fields.next()?);
        (*magic == MAGIC && version == VERSION)
            .then(|| Self::new(shards, window_bits))
            .flatten()
    }
}

/// The supervisor's part: makes memory for `shards` (1 to 1,024) shards of 1,024 SAs with windows of up to `window_bits` packets.
///
/// `window_bits`: 64 to 8,192, a power of two. All slots are empty. Never map it: hand it to one data plane after another.
///
/// # Errors
/// `InvalidInput` if a number is out of range, or what the system says.
pub fn create(shards: u16, window_bits: u16) -> io::Result<OwnedFd> {
    let layout =
        Layout::new(shards.into(), window_bits.into()).ok_or(io::ErrorKind::InvalidInput)?;
    let fd = sealed_memfd("culvert-continuity", layout.len())?;
    let written = rustix::io::pwrite(&fd, &layout.header(), 0)?;
    if written != layout.header().len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(fd)
}

/// Slots of some shards, as plain memory of one owner.
#[derive(Debug)]
pub struct Continuity {
    layout: Layout,
    /// By shard; `None` where another worker has it.
    shards: Box<[Option<Part>]>,
}

impl Continuity {
    /// Maps what [`create`] made, with whatever an earlier process left in it, and owns all shards.
    ///
    /// # Errors
    /// [`ContinuityError`]; then the SAs it told of must die.
    pub fn open(fd: &OwnedFd) -> Result<Self, ContinuityError> {
        let mut header = [0; 20];
        let read = rustix::io::pread(fd, &mut header, 0).map_err(io::Error::from)?;
        let layout = Layout::parse(&header)
            .filter(|_| read == header.len())
            .ok_or(ContinuityError::Foreign)?;
        let size = rustix::fs::fstat(fd).map_err(io::Error::from)?.st_size;
        if u64::try_from(size) != Ok(layout.len()) {
            return Err(ContinuityError::Foreign);
        }
        let parts = Part::map_all(fd, HEADER / WORD, layout.shard_words())?;
        let shards = parts.into_iter().map(Some).collect();
        Ok(Self { layout, shards })
    }

    /// Moves the shards that `wanted` names, and that are still here, to an owner of their own: a worker.
    pub fn split_off(&mut self, wanted: impl Iterator<Item = u16>) -> Self {
        let mut shards: Box<[Option<Part>]> = (0..self.shards.len()).map(|_| None).collect();
        for shard in wanted.map(usize::from) {
            if let (Some(from), Some(to)) = (self.shards.get_mut(shard), shards.get_mut(shard)) {
                *to = from.take().or_else(|| to.take());
            }
        }
        Self {
            layout: self.layout,
            shards,
        }
    }

    /// The slot `index` ([`spi::index`] of an inbound SPI), if its shard is here.
    #[inline]
    pub fn slot(&mut self, index: u32) -> Option<Slot<'_>> {
        let (shard, row) = ((index / spi::ROWS) as usize, (index % spi::ROWS) as usize);
        let words = self.shards.get_mut(shard)?.as_mut()?.words_mut();
        let len = self.layout.slot_words();
        let slot = words.get_mut(row * len..(row + 1) * len)?;
        Slot::new(slot, self.layout.window_words())
    }

    /// Asks the CPU for what a packet with sequence number `sequence` on inbound SPI `inbound` needs.
    #[inline]
    pub fn prefetch(&self, inbound: Spi, sequence: u32) {
        let word = (sequence / u64::BITS) as usize & (self.layout.window_words() - 1);
        let at = spi::index(inbound) % spi::ROWS;
        let at = at as usize * self.layout.slot_words();
        let Some(Some(part)) = self.shards.get(spi::shard(inbound) as usize) else {
            return;
        };
        let words = part.words();
        if let (Some(head), Some(word)) = (words.get(at), words.get(at + HEAD_WORDS + word)) {
            prefetch(head);
            prefetch(word);
        }
    }

    /// Asks the CPU for the numbers in slot `index`.
    #[inline]
    pub fn prefetch_slot(&self, index: u32) {
        let at = (index % spi::ROWS) as usize * self.layout.slot_words();
        let part = self.shards.get((index / spi::ROWS) as usize);
        if let Some(Some(part)) = part
            && let Some(head) = part.words().get(at)
        {
            prefetch(head);
        }
    }

    /// The slot of an inbound SA that is still in it: its number and the SPI it holds both fit.
    #[inline]
    pub fn find(&mut self, inbound: Spi) -> Option<Slot<'_>> {
        self.slot(spi::index(inbound))
            .filter(|slot| *slot.inbound == inbound.0 && inbound.0 != 0)
    }

    /// Widest replay window that a slot holds, in packets.
    pub const fn window_bits(&self) -> u16 {
        self.layout.window_bits
    }

    /// Number of shards in the memory, here or with other owners.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }
}

/// The fields of one inbound SA and its outbound twin.
#[derive(Debug)]
pub struct Slot<'a> {
    /// Our SPI; 0 if the slot is empty.
    pub inbound: &'a mut u32,
    /// The peer's SPI of the outbound twin; 0 if it has none.
    pub outbound: &'a mut u32,
    /// The next sequence number to seal with: stored before it is used.
    pub next_outbound: &'a mut u64,
    /// The highest sequence number accepted.
    pub window_top: &'a mut u32,
    /// The window's bits, all of them; an SA with a narrower window uses the first ones.
    pub window: &'a mut [u64],
}

impl<'a> Slot<'a> {
    #[inline]
    fn new(words: &'a mut [u64], window_words: usize) -> Option<Self> {
        let ([spis, next_outbound, top], rest) = words.split_first_chunk_mut::<HEAD_WORDS>()?;
        let [inbound, outbound] = halves(spis);
        let [window_top, _] = halves(top);
        let window = rest.get_mut(..window_words)?;
        Some(Self {
            inbound,
            outbound,
            next_outbound,
            window_top,
            window,
        })
    }

    /// Empties the slot.
    pub fn clear(&mut self) {
        (*self.inbound, *self.outbound) = (0, 0);
        *self.next_outbound = 0;
        *self.window_top = 0;
        self.window.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(shards: u16) -> (OwnedFd, Continuity) {
        let fd = create(shards, WINDOW_BITS).unwrap();
        let continuity = Continuity::open(&fd).unwrap();
        (fd, continuity)
    }

    fn refusal(fd: &OwnedFd) -> ContinuityError {
        Continuity::open(fd).unwrap_err()
    }

    #[test]
    fn a_new_process_finds_what_the_old_one_left() {
        let (fd, mut old) = memory(2);
        let spi = spi::compose(1, 1_023, 77);
        let slot = old.slot(spi::index(spi)).unwrap();
        (*slot.inbound, *slot.outbound) = (spi.0, 0xDEAD_BEEF);
        (*slot.next_outbound, *slot.window_top) = (1 << 33, 4_000);
        slot.window[15] = 1 << 63;
        drop(old);
        let mut new = Continuity::open(&fd).unwrap();
        let slot = new.find(spi).unwrap();
        assert_eq!(
            (*slot.outbound, *slot.next_outbound),
            (0xDEAD_BEEF, 1 << 33)
        );
        assert_eq!(
            (*slot.window_top, slot.window[15], slot.window.len()),
            (4_000, 1 << 63, 16)
        );
    }

    #[test]
    fn slots_do_not_overlap() {
        let (_fd, mut memory) = memory(2);
        for index in [0, 1, 1_023, 1_024, 2_047] {
            let slot = memory.slot(index).unwrap();
            *slot.inbound = index + 1;
            *slot.next_outbound = u64::MAX;
            *slot.window_top = u32::MAX;
            slot.window.fill(u64::MAX);
        }
        for index in [0, 1, 1_023, 1_024, 2_047] {
            assert_eq!(*memory.slot(index).unwrap().inbound, index + 1);
        }
        assert_eq!(*memory.slot(2).unwrap().next_outbound, 0);
        assert_eq!(*memory.slot(1_022).unwrap().window_top, 0);
    }

    #[test]
    fn a_slot_is_found_only_by_the_spi_it_holds() {
        let (_fd, mut memory) = memory(1);
        let (ours, other) = (spi::compose(0, 5, 1), spi::compose(0, 5, 2));
        assert!(memory.find(ours).is_none());
        *memory.slot(spi::index(ours)).unwrap().inbound = ours.0;
        assert!(memory.find(other).is_none());
        memory.find(ours).unwrap().clear();
        assert!(memory.find(ours).is_none());
        assert!(memory.slot(1_024).is_none());
    }

    #[test]
    fn workers_own_disjoint_shards() {
        let (_fd, mut all) = memory(4);
        let mut first = all.split_off([0, 2].into_iter());
        let mut second = all.split_off([0, 1, 9].into_iter());
        assert!(first.slot(0).is_some() && first.slot(2 * 1_024).is_some());
        assert!(second.slot(0).is_none() && second.slot(1_024).is_some());
        assert!(all.slot(3 * 1_024).is_some());
        let worker = std::thread::spawn(move || *first.slot(0).unwrap().next_outbound = 9);
        *second.slot(1_024).unwrap().next_outbound = 8;
        worker.join().unwrap();
    }

    #[test]
    fn memory_that_is_mapped_cannot_be_mapped_again() {
        let (fd, memory) = memory(1);
        assert!(matches!(refusal(&fd), ContinuityError::InUse));
        drop(memory);
        assert!(Continuity::open(&fd).is_ok());
    }

    #[test]
    fn memory_of_another_version_or_size_is_refused() {
        let (fd, memory) = memory(1);
        drop(memory);
        rustix::io::pwrite(&fd, &2_u32.to_le_bytes(), 16).unwrap();
        assert!(
            matches!(refusal(&fd), ContinuityError::Foreign),
            "more shards than there is memory"
        );
        rustix::io::pwrite(&fd, &1_u32.to_le_bytes(), 16).unwrap();
        rustix::io::pwrite(&fd, &(VERSION + 1).to_le_bytes(), 8).unwrap();
        assert!(matches!(refusal(&fd), ContinuityError::Foreign));
        let empty = sealed_memfd("empty", 0).unwrap();
        assert!(matches!(refusal(&empty), ContinuityError::Foreign));
    }

    #[test]
    fn memory_whose_size_could_change_is_refused() {
        use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
        let layout = Layout::new(1, 64).unwrap();
        let fd = memfd_create("loose", MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&fd, layout.len()).unwrap();
        rustix::io::pwrite(&fd, &layout.header(), 0).unwrap();
        assert!(matches!(refusal(&fd), ContinuityError::Foreign));
    }

    #[test]
    fn a_window_that_is_no_multiple_of_a_word_is_refused() {
        assert!(create(1, 100).is_err());
        assert!(create(1, 32).is_err());
        assert!(create(0, 64).is_err());
        assert!(create(1_025, 64).is_err());
        assert!(create(1, 8_192).is_ok());
    }
}
