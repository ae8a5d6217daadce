//! Packet memory: a [`Frame`] is the sole owner of one 4,096-byte chunk, and a [`FramePool`] holds a worker's free ones.
//!
//! ```text
//! chunk   0               256                         256 + len          4,096
//!         ├─── headroom ───┼────────── packet ──────────┼──── tailroom ────┤
//! ```
//! A packet starts at [`HEADROOM`] always, in frames received and in frames to send: AF_XDP receives there, and sends from there.
//! A stage may write into headroom and tailroom of a frame it owns, so that headers put before an inner packet and padding behind it make
//! one contiguous source for the crypto, which writes the result into another frame.
//!
//! Invariants, on which the unsafe code in `ring` stands:
//! - **R1** A chunk has one owner: either one `Frame`, or the kernel. `Frame` is neither `Copy` nor `Clone`, and gives its bytes only by borrow.
//! - **R2** A chunk of a UMEM becomes a `Frame` only where `ring` takes it back from the kernel (or at creation, once), and ceases to be one
//!   where `ring` hands it to the kernel. `ring` keeps a bit per chunk that says which, and refuses what does not fit.
//! - **R3** The mapping outlives its frames: `&'static mut` is honest because a UMEM is unmapped only when no `Frame` of it is left in user
//!   space, as `Ledger` counts them; otherwise it is leaked.
//! - **R4** A frame goes home: pools and rings compare its [`Home`], so that the frame of one UMEM never enters another's rings.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::api::CoreId;

mod batch;
mod pool;

pub use batch::Frames;
pub use pool::FramePool;
pub(crate) use pool::{Ledger, Memory};

/// Bytes of a chunk.
pub const CHUNK: usize = 4_096;
/// Where a packet starts in its chunk, and so the bytes usable before it.
pub const HEADROOM: usize = 256;
/// The longest packet that a frame holds, in bytes.
pub const MAX_LEN: usize = CHUNK - HEADROOM;
/// The most frames that [`Frames`] holds.
pub const BATCH: usize = 64;

/// Which pool a frame belongs to: the core's number in the first byte, the pool's, counted over the process, in the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Home([u8; 4]);

impl Home {
    fn new(core: CoreId) -> Self {
        static POOLS: AtomicU32 = AtomicU32::new(0);
        let [_, high, middle, low] = POOLS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Self([core.0, high, middle, low])
    }

    /// The worker that owns the pool.
    pub const fn core(self) -> CoreId {
        CoreId(self.0[0])
    }
}

/// The sole owner of one chunk, with the packet in it.
pub struct Frame {
    chunk: Chunk,
    len: u16,
    home: Home,
}

/// Where the memory is; both variants are one pointer to it.
enum Chunk {
    Umem(&'static mut [u8; CHUNK]),
    Heap(Box<[u8; CHUNK]>),
}

impl Frame {
    /// Makes a frame of ordinary memory.
    fn in_memory(home: Home) -> Self {
        Self {
            chunk: Chunk::Heap(Box::new([0; CHUNK])),
            len: 0,
            home,
        }
    }

    /// Takes over a chunk that the kernel gave back, with nothing in it.
    pub(crate) const fn from_umem(chunk: &'static mut [u8; CHUNK], home: Home) -> Self {
        Self {
            chunk: Chunk::Umem(chunk),
            len: 0,
            home,
        }
    }

    /// Gives up the chunk for the kernel; `None` if it is ordinary memory, which is then freed.
    pub(crate) fn into_umem(self) -> Option<&'static mut [u8; CHUNK]> {
        match self.chunk {
            Chunk::Umem(chunk) => Some(chunk),
            Chunk::Heap(_) => None,
        }
    }

    /// The packet.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        let end = HEADROOM + self.len();
        self.chunk().get(HEADROOM..end).unwrap_or_default()
    }

    /// The packet, to change in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let end = HEADROOM + self.len();
        self.whole().get_mut(HEADROOM..end).unwrap_or_default()
    }

    /// The whole chunk, and where in it the packet starts: headroom before, tailroom behind.
    #[inline]
    pub fn chunk_mut(&mut self) -> (&mut [u8], usize) {
        (self.whole(), HEADROOM)
    }

    /// Length of the packet in bytes: 0 to [`MAX_LEN`].
    #[inline]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no packet in it.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets the length of the packet, at most [`MAX_LEN`]; bytes that this uncovers are whatever the chunk held.
    #[inline]
    pub fn set_len(&mut self, len: usize) {
        debug_assert!(len <= MAX_LEN, "a packet longer than its frame");
        #[expect(clippy::cast_possible_truncation, reason = "MAX_LEN fits")]
        let len = len.min(MAX_LEN) as u16;
        self.len = len;
    }

    /// The pool it goes back to.
    #[inline]
    pub const fn home(&self) -> Home {
        self.home
    }

    /// Overwrites the whole chunk and forgets the packet.
    pub fn wipe(&mut self) {
        self.whole().fill(0);
        self.len = 0;
    }

    #[inline]
    fn chunk(&self) -> &[u8; CHUNK] {
        match &self.chunk {
            Chunk::Umem(chunk) => chunk,
            Chunk::Heap(chunk) => chunk,
        }
    }

    #[inline]
    fn whole(&mut self) -> &mut [u8; CHUNK] {
        match &mut self.chunk {
            Chunk::Umem(chunk) => chunk,
            Chunk::Heap(chunk) => chunk,
        }
    }
}

/// Prints no packet bytes: they may be a client's plaintext.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("len", &self.len)
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(core: u8) -> FramePool {
        FramePool::in_memory(CoreId(core), 4)
    }

    #[test]
    fn a_packet_lies_between_headroom_and_tailroom() {
        let mut frame = pool(0).take().unwrap();
        frame.set_len(3);
        frame.bytes_mut().copy_from_slice(&[1, 2, 3]);
        let (chunk, start) = frame.chunk_mut();
        assert_eq!((chunk.len(), start), (CHUNK, HEADROOM));
        chunk[start - 1] = 9;
        chunk[start + 3] = 4;
        assert_eq!(frame.bytes(), [1, 2, 3]);
        frame.set_len(4);
        assert_eq!(frame.bytes(), [1, 2, 3, 4]);
    }

    #[test]
    fn the_longest_packet_ends_with_its_chunk() {
        let mut frame = pool(0).take().unwrap();
        frame.set_len(MAX_LEN);
        assert_eq!(frame.bytes().len(), CHUNK - HEADROOM);
    }

    #[test]
    fn a_pool_runs_dry_and_takes_back() {
        let mut pool = pool(0);
        let frames: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((frames.len(), pool.free(), pool.total()), (4, 0, 4));
        frames.into_iter().for_each(|frame| pool.give(frame));
        assert_eq!(pool.free(), 4);
    }

    #[test]
    fn a_wiped_frame_holds_nothing_of_its_packet() {
        let mut pool = pool(0);
        let mut frame = pool.take().unwrap();
        frame.chunk_mut().0.fill(0xAA);
        frame.set_len(100);
        pool.give_wiped(frame);
        let mut frame = pool.take().unwrap();
        assert!(frame.is_empty());
        assert!(frame.chunk_mut().0.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn another_workers_frame_is_kept_apart_for_its_way_home() {
        let (mut ours, mut theirs) = (pool(0), pool(1));
        ours.give(theirs.take().unwrap());
        assert_eq!(ours.free(), 4);
        let stray = ours.take_stray().unwrap();
        assert_eq!(stray.home().core(), CoreId(1));
        theirs.give(stray);
        assert_eq!(theirs.free(), 4);
    }

    #[test]
    fn a_frame_of_an_earlier_pool_does_not_enter_the_new_one() {
        let frame = pool(0).take().unwrap();
        let mut pool = pool(0);
        pool.give(frame);
        assert_eq!(pool.free(), 4);
        assert!(pool.take_stray().is_none());
    }

    #[test]
    fn a_batch_holds_sixty_four_and_gives_from_the_front() {
        let mut pool = FramePool::in_memory(CoreId(0), BATCH + 1);
        let mut frames = Frames::new();
        for len in 0..BATCH {
            let mut frame = pool.take().unwrap();
            frame.set_len(len);
            frames.push(frame).unwrap();
        }
        let refused = frames.push(pool.take().unwrap());
        assert!(refused.is_err());
        let front: Vec<_> = frames.take_front(2).map(|frame| frame.len()).collect();
        assert_eq!(front, [0, 1]);
        assert_eq!((frames.len(), frames.room(), frames[0].len()), (62, 2, 2));
    }
}
