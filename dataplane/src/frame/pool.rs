//! The free frames of one worker, and the count of those in user space.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{BATCH, Frame, Home};
use crate::api::CoreId;
use crate::mem::pages::Pages;
use crate::ring::Mapping;

/// The free frames of one worker, last in first out, so that the next one taken is likely still in the cache.
#[derive(Debug)]
pub struct FramePool {
    free: Vec<Frame>,
    strays: Vec<Frame>,
    ledger: Arc<Ledger>,
}

impl FramePool {
    /// Makes a pool of `total` frames of ordinary memory, for the in-memory port.
    pub fn in_memory(core: CoreId, total: usize) -> Self {
        let mut pool = Self::empty(Arc::new(Ledger::new(core, total, None)));
        let home = pool.home();
        pool.free.extend((0..total).map(|_| Frame::in_memory(home)));
        pool.ledger.taken_back(total);
        pool
    }

    /// Makes a pool of `total` frames that lie as in a UMEM: page beside page, on huge pages if there are any.
    ///
    /// # Errors
    /// What the system says when it has no memory.
    pub fn on_pages(core: CoreId, total: usize) -> io::Result<Self> {
        let (pages, chunks) = Pages::map(total)?;
        let ledger = Ledger::new(core, total, Some(Memory::Pages(pages)));
        let mut pool = Self::empty(Arc::new(ledger));
        let home = pool.home();
        let frames = chunks
            .into_iter()
            .map(|chunk| Frame::from_umem(chunk, home));
        pool.free.extend(frames);
        pool.ledger.taken_back(total);
        Ok(pool)
    }

    /// Makes a pool with room for every frame that `ledger` knows, and none in it yet.
    pub(crate) fn empty(ledger: Arc<Ledger>) -> Self {
        Self {
            free: Vec::with_capacity(ledger.total),
            strays: Vec::with_capacity(BATCH),
            ledger,
        }
    }

    /// Takes a free frame; its length is 0 and its bytes are whatever they were.
    #[inline]
    pub fn take(&mut self) -> Option<Frame> {
        self.free.pop()
    }

    /// Takes a frame back, or keeps another worker's for [`FramePool::take_stray`].
    #[inline]
    pub fn give(&mut self, mut frame: Frame) {
        if frame.home != self.ledger.home {
            return self.keep_stray(frame);
        }
        frame.len = 0;
        self.free.push(frame);
    }

    /// Takes a frame back after overwriting it: for plaintext whose ICV failed.
    pub fn give_wiped(&mut self, mut frame: Frame) {
        frame.wipe();
        self.give(frame);
    }

    /// Takes a frame that was given here but belongs to another worker: hand it back to `frame.home().core()`.
    pub fn take_stray(&mut self) -> Option<Frame> {
        self.strays.pop()
    }

    /// Others' frames that wait to go home.
    pub fn strays(&self) -> usize {
        self.strays.len()
    }

    /// Frames that can be taken now.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Frames there are in all: free, in rings, and in stages.
    pub fn total(&self) -> usize {
        self.ledger.total
    }

    /// What its frames carry.
    pub fn home(&self) -> Home {
        self.ledger.home
    }

    /// A frame of this worker's earlier pool can serve no ring any more, so it is dropped.
    #[cold]
    fn keep_stray(&mut self, frame: Frame) {
        if frame.home.core() != self.ledger.home.core() {
            self.strays.push(frame);
        }
    }
}

impl Drop for FramePool {
    fn drop(&mut self) {
        self.ledger.lent(self.free.len());
    }
}

/// Counts the frames of one UMEM that user space holds, and keeps the UMEM for as long as pool or ports need it (R3).
#[derive(Debug)]
pub(crate) struct Ledger {
    home: Home,
    total: usize,
    out: AtomicUsize,
    memory: Option<Memory>,
}

/// Where the frames of a ledger lie, if it is not the heap.
#[derive(Debug)]
pub(crate) enum Memory {
    /// Registered with the kernel.
    Umem(Mapping),
    /// Ours alone.
    Pages(Pages),
}

impl Ledger {
    pub(crate) fn new(core: CoreId, total: usize, memory: Option<Memory>) -> Self {
        Self {
            home: Home::new(core),
            total,
            out: AtomicUsize::new(0),
            memory,
        }
    }

    pub(crate) const fn home(&self) -> Home {
        self.home
    }

    pub(crate) const fn total(&self) -> usize {
        self.total
    }

    pub(crate) const fn mapping(&self) -> Option<&Mapping> {
        match &self.memory {
            Some(Memory::Umem(mapping)) => Some(mapping),
            Some(Memory::Pages(_)) | None => None,
        }
    }

    /// `count` chunks became frames.
    pub(crate) fn taken_back(&self, count: usize) {
        self.out.fetch_add(count, Ordering::Relaxed);
    }

    /// `count` frames ceased to be: they went to the kernel, or with their pool.
    pub(crate) fn lent(&self, count: usize) {
        self.out.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let Some(memory) = self.memory.take() else {
            return;
        };
        match (*self.out.get_mut(), memory) {
            (0, Memory::Umem(mapping)) => mapping.release(),
            (0, Memory::Pages(pages)) => pages.release(),
            (frames, _) => tracing::warn!(
                frames,
                "packet memory stays mapped: frames of it are in use"
            ),
        }
    }
}
