//! In which order the packets of a burst are worked: by kind, and the longest first, in groups of about equal size.

use arrayvec::ArrayVec;

use super::blocks::BLOCK;
use super::keys::Kind;
use crate::engine::BURST;
use crate::suite::Integrity;

/// Packets of one burst in the order of work.
#[derive(Default)]
pub(super) struct Order(ArrayVec<Entry, BURST>);

/// Kind (8 bits) | 65,535 − blocks (16 bits) | place in the burst (8 bits): its order is the order of work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry(u32);

/// The hash that a packet needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HashKind {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Entry {
    /// The packet's place in the burst.
    pub(super) const fn index(self) -> usize {
        (self.0 & 0xff) as usize
    }

    const fn class(self) -> u32 {
        self.0 >> 24
    }

    /// The hash that it needs.
    pub(super) const fn hash(self) -> HashKind {
        match self.class() & 3 {
            0 => HashKind::Sha1,
            1 => HashKind::Sha256,
            2 => HashKind::Sha384,
            _ => HashKind::Sha512,
        }
    }
}

impl Order {
    /// Adds the packet at `index`, below [`BURST`], with a text of `len` bytes.
    pub(super) fn add(&mut self, index: usize, kind: Kind, len: usize) {
        let hash = match kind.integrity {
            Integrity::Sha1_96 => 0,
            Integrity::Sha256_128 | Integrity::Sha256_96 => 1,
            Integrity::Sha384_192 => 2,
            Integrity::Sha512_256 => 3,
        };
        let class = ((kind.len as u32) << 2) | hash;
        let blocks = u16::try_from(len / BLOCK).unwrap_or(u16::MAX);
        let index = u8::try_from(index).unwrap_or(u8::MAX);
        let place = (u32::from(u16::MAX - blocks) << 8) | u32::from(index);
        // A burst has no more places than that.
        let _ = self.0.try_push(Entry((class << 24) | place));
    }

    /// The packets in groups of the same key length and hash, of at most `size`, each group the longest first.
    pub(super) fn groups(&mut self, size: usize) -> impl Iterator<Item = &[Entry]> {
        self.0.sort_unstable();
        self.0
            .chunk_by(|a, b| a.class() == b.class())
            .flat_map(move |run| run.chunks(evenly(run.len(), size)))
    }
}

/// The size of groups that splits `len` into as few groups of at most `most` as can be, all about equal: a group's time is that of its longest
/// packet, whether it is full or not.
fn evenly(len: usize, most: usize) -> usize {
    len.div_ceil(len.div_ceil(most).max(1)).max(1)
}
