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

/// A register with one block of each of [`Self::LANES`] packets.
///
/// ```text
/// gather:   lane 0:  a0 a1 a2 a3      rows[0] = a0 b0 c0 d0
///           lane 1:  b0 b1 b2 b3  ──► rows[1] = a1 b1 c1 d1     row n holds block n of every lane,
///           lane 2:  c0 c1 c2 c3  ◄── rows[2] = a2 b2 c2 d2     so that the chains run side by side
///           lane 3:  d0 d1 d2 d3      rows[3] = a3 b3 c3 d3
///                              scatter
/// ```
pub(super) trait Blocks: Copy {
    /// How many packets.
    const LANES: usize;

    /// Zeros.
    ///
    /// # Safety
    /// The CPU has the type's instructions.
    unsafe fn zero() -> Self;

    /// The same block in every place.
    ///
    /// # Safety
    /// The CPU has the type's instructions; 16 bytes at `from` can be read.
    unsafe fn broadcast(from: *const u8) -> Self;

    /// [`Self::LANES`] blocks in a row.
    ///
    /// # Safety
    /// The CPU has the type's instructions; as many blocks at `from` can be read.
    unsafe fn load(from: *const u8) -> Self;

    /// The first `blocks` of [`Self::LANES`] blocks in a row, zeros behind.
    ///
    /// # Safety
    /// The CPU has the type's instructions; as many blocks at `from` can be read.
    unsafe fn load_first(from: *const u8, blocks: usize) -> Self;

    /// Writes the first `blocks`, if it has as many.
    ///
    /// # Safety
    /// As many blocks at `to` can be written.
    unsafe fn store_first(self, to: *mut u8, blocks: usize);

    /// Writes what [`Self::load`] reads.
    ///
    /// # Safety
    /// [`Self::LANES`] blocks at `to` can be written.
    unsafe fn store(self, to: *mut u8);

    /// Reads four blocks of each lane, from block `done` on; each lane has as many left.
    ///
    /// # Safety
    /// The CPU has the type's instructions; `lanes` are [`Self::LANES`] whose blocks can be read.
    unsafe fn gather(lanes: &[Lane], done: usize) -> [Self; CHUNK];

    /// As [`Self::gather`], but blocks that a lane does not have are zeros and are not read.
    ///
    /// # Safety
    /// As for [`Self::gather`].
    unsafe fn gather_rest(lanes: &[Lane], done: usize) -> [Self; CHUNK];

    /// Writes four blocks of each lane, from block `done` on; each lane has as many left.
    ///
    /// # Safety
    /// `lanes` are [`Self::LANES`] whose blocks can be written.
    unsafe fn scatter(rows: [Self; CHUNK], lanes: &[Lane], done: usize);

    /// As [`Self::scatter`], but blocks that a lane does not have are not written.
    ///
    /// # Safety
    /// As for [`Self::scatter`].
    unsafe fn scatter_rest(rows: [Self; CHUNK], lanes: &[Lane], done: usize);

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

/// Whether every lane has all four blocks of the chunk at `done`.
#[inline(always)]
fn are_whole(lanes: &[Lane], done: usize) -> bool {
    lanes.iter().all(|lane| lane.blocks >= done + CHUNK)
}

/// [`Blocks::gather`] or, where blocks are missing, [`Blocks::gather_rest`].
///
/// # Safety
/// As for [`Blocks::gather`].
#[inline(always)]
pub(super) unsafe fn gather<V: Blocks>(lanes: &[Lane], done: usize) -> [V; CHUNK] {
    if are_whole(lanes, done) {
        // SAFETY: the caller's promise; every lane has four blocks left.
        unsafe { V::gather(lanes, done) }
    } else {
        // SAFETY: the caller's promise.
        unsafe { V::gather_rest(lanes, done) }
    }
}

/// [`Blocks::scatter`] or, where blocks are missing, [`Blocks::scatter_rest`].
///
/// # Safety
/// As for [`Blocks::scatter`].
#[inline(always)]
pub(super) unsafe fn scatter<V: Blocks>(rows: [V; CHUNK], lanes: &[Lane], done: usize) {
    if are_whole(lanes, done) {
        // SAFETY: the caller's promise; every lane has four blocks left.
        unsafe { V::scatter(rows, lanes, done) }
    } else {
        // SAFETY: the caller's promise.
        unsafe { V::scatter_rest(rows, lanes, done) }
    }
}
