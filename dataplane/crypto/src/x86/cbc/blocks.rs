//! A register of AES blocks: one block of each of 1, 2 or 4 packets.
//!
//! A value of these types is only made by functions whose caller promises that the CPU has the instructions. Whoever holds one may
//! therefore use them: that is why arithmetic is safe, and only making, reading and writing are not.

use super::super::aes::Block;

/// Bytes of an AES block.
pub(super) const BLOCK: usize = 16;
/// Blocks of one packet that are read or written at once.
pub(super) const CHUNK: usize = 4;

/// Where a packet's blocks are read and written.
#[derive(Clone, Copy)]
pub(super) struct Lane {
    pub(super) source: *const u8,
    pub(super) destination: *mut u8,
    /// Whole blocks at both places.
    pub(super) blocks: usize,
}

impl Lane {
    /// A lane without a packet, for a place that must be filled. It points at what the CPU may touch even through an empty mask:
    /// with an invalid address such an access would be harmless but very slow.
    pub(super) const fn idle(like: Self) -> Self {
        Self { blocks: 0, ..like }
    }

    /// A lane of `blocks` blocks.
    pub(super) const fn new(source: *const u8, destination: *mut u8, blocks: usize) -> Self {
        Self {
            source,
            destination,
            blocks,
        }
    }

    /// A lane that is only read.
    pub(super) const fn reading(blocks: &[Block]) -> Self {
        Self::new(blocks.as_ptr().cast(), std::ptr::null_mut(), blocks.len())
    }

    /// Where block `done` is read, or the end of the source.
    #[inline(always)]
    pub(super) fn from(&self, done: usize) -> *const u8 {
        self.source.wrapping_add(done.min(self.blocks) * BLOCK)
    }

    /// Where block `done` is written, or the end of the destination.
    #[inline(always)]
    pub(super) fn to(&self, done: usize) -> *mut u8 {
        self.destination.wrapping_add(done.min(self.blocks) * BLOCK)
    }

    /// How many blocks it has from block `done` on.
    #[inline(always)]
    pub(super) const fn left(&self, done: usize) -> usize {
        self.blocks.saturating_sub(done)
    }
}

/// A register of [`Self::LANES`] blocks: one of each of as many packets, or as many in a row of one packet.
pub(super) trait Blocks: Copy {
    /// How many.
    const LANES: usize;

    /// Zeros.
    ///
    /// # Safety
    /// The CPU has the type's instructions.
    unsafe fn zero() -> Self;

    /// The same block in every place.
    ///
    /// # Safety
    /// The CPU has the type's instructions.
    unsafe fn broadcast(block: &Block) -> Self;

    /// Blocks in a row.
    ///
    /// # Safety
    /// The CPU has the type's instructions; [`Self::LANES`] blocks at `from` can be read.
    unsafe fn load(from: *const u8) -> Self;

    /// The first `blocks` of what [`Self::load`] reads, zeros behind.
    ///
    /// # Safety
    /// The CPU has the type's instructions; as many blocks at `from` can be read.
    unsafe fn load_first(from: *const u8, blocks: usize) -> Self;

    /// Writes what [`Self::load`] reads.
    ///
    /// # Safety
    /// [`Self::LANES`] blocks at `to` can be written.
    unsafe fn store(self, to: *mut u8);

    /// Writes the first `blocks` of what [`Self::store`] writes.
    ///
    /// # Safety
    /// As many blocks at `to` can be written.
    unsafe fn store_first(self, to: *mut u8, blocks: usize);

    /// Turns pieces, blocks in a row of one packet after the other, into rows, one block of each packet.
    fn rows(pieces: [Self; CHUNK]) -> [Self; CHUNK];

    /// Undoes [`Self::rows`].
    fn pieces(rows: [Self; CHUNK]) -> [Self; CHUNK];

    /// Sum of blocks.
    fn xor(self, other: Self) -> Self;

    /// One round of encryption.
    fn encrypt_round(self, key: Self) -> Self;

    /// The last round of encryption.
    fn encrypt_last(self, key: Self) -> Self;

    /// One round of decryption with the equivalent inverse cipher (FIPS 197 §5.3.5).
    fn decrypt_round(self, key: Self) -> Self;

    /// The last round of decryption.
    fn decrypt_last(self, key: Self) -> Self;

    /// The last block of `before`, then all of `self` but its last: what CBC adds to the blocks of `self`.
    fn shifted_after(self, before: Self) -> Self;
}

/// Reads four blocks of each of [`Blocks::LANES`] packets, from block `done` on; zeros for what a packet does not have.
///
/// ```text
/// lane 0:  a0 a1 a2 a3             row 0 = a0 b0 c0 d0
/// lane 1:  b0 b1 b2 b3   gather ►  row 1 = a1 b1 c1 d1     row n holds block n of every lane,
/// lane 2:  c0 c1 c2 c3  ◄ scatter  row 2 = a2 b2 c2 d2     so that the chains run side by side
/// lane 3:  d0 d1 d2 d3             row 3 = a3 b3 c3 d3
/// ```
/// # Safety
/// The CPU has the instructions of `V`; the lanes can be read.
#[inline(always)]
pub(super) unsafe fn gather<V: Blocks>(lanes: &[Lane], done: usize) -> [V; CHUNK] {
    // SAFETY: the caller's promise.
    let mut pieces = [unsafe { V::zero() }; CHUNK];
    let of_lanes = pieces.chunks_exact_mut(CHUNK / V::LANES).zip(lanes);
    if are_whole(lanes, done) {
        for (pieces, lane) in of_lanes {
            let start = lane.source.wrapping_add(done * BLOCK);
            for (n, piece) in pieces.iter_mut().enumerate() {
                let from = start.wrapping_add(n * V::LANES * BLOCK);
                // SAFETY: the caller's promise; the lane has four blocks from `done` on.
                *piece = unsafe { V::load(from) };
            }
        }
    } else {
        for (pieces, lane) in of_lanes {
            for (n, piece) in pieces.iter_mut().enumerate() {
                let block = done + n * V::LANES;
                // SAFETY: the caller's promise; no more blocks are read than the lane has.
                *piece = unsafe { V::load_first(lane.from(block), lane.left(block)) };
            }
        }
    }
    V::rows(pieces)
}

/// Writes four blocks of each of [`Blocks::LANES`] packets, from block `done` on; what a packet does not have is not written.
///
/// # Safety
/// The lanes can be written.
#[inline(always)]
pub(super) unsafe fn scatter<V: Blocks>(rows: [V; CHUNK], lanes: &[Lane], done: usize) {
    let pieces = V::pieces(rows);
    let of_lanes = pieces.chunks_exact(CHUNK / V::LANES).zip(lanes);
    if are_whole(lanes, done) {
        for (pieces, lane) in of_lanes {
            let start = lane.destination.wrapping_add(done * BLOCK);
            for (n, piece) in pieces.iter().enumerate() {
                let to = start.wrapping_add(n * V::LANES * BLOCK);
                // SAFETY: the caller's promise; the lane has four blocks from `done` on.
                unsafe { piece.store(to) }
            }
        }
    } else {
        for (pieces, lane) in of_lanes {
            for (n, piece) in pieces.iter().enumerate() {
                let block = done + n * V::LANES;
                // SAFETY: the caller's promise; no more blocks are written than the lane has.
                unsafe { piece.store_first(lane.to(block), lane.left(block)) }
            }
        }
    }
}

/// Whether every lane has all four blocks of the chunk at `done`.
#[inline(always)]
fn are_whole(lanes: &[Lane], done: usize) -> bool {
    lanes.iter().all(|lane| lane.blocks >= done + CHUNK)
}
