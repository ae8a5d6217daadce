//! The registered memory of one worker: chunk numbers to chunks and back.

use std::mem::ManuallyDrop;
use std::num::NonZeroU32;
use std::ptr;

use xsk_rs::config::{QueueSize, UmemConfig};
use xsk_rs::{FrameDesc, Umem};

use super::lent::Returned;
use crate::frame::{CHUNK, HEADROOM};

/// A UMEM that is unmapped only on [`Mapping::release`], and leaked otherwise (R3).
#[derive(Debug)]
pub(crate) struct Mapping {
    umem: ManuallyDrop<Umem>,
    base: usize,
    /// Indexed by chunk number; copied onto rings, never changed.
    descriptors: Box<[FrameDesc]>,
}

impl Mapping {
    /// Registers `total` chunks, on huge pages if there are any, with fill and completion rings of `ring` entries.
    ///
    /// # Errors
    /// The system's error: no privilege, no AF_XDP, or no memory.
    pub(super) fn new(total: NonZeroU32, ring: QueueSize) -> std::io::Result<Self> {
        let config = config(ring)?;
        let (umem, descriptors) = create_on_huge_pages(config, total)
            .map_or_else(|| Umem::new(config, total, false), Ok)
            .map_err(super::bind::io_cause)?;
        let descriptors = descriptors.into_boxed_slice();
        let first = descriptors.first().expect("total is not zero");
        // SAFETY: the descriptor is of this UMEM, and nothing has been lent yet (R8); the slice is empty.
        let headroom = unsafe { umem.headroom(first) };
        let base = headroom.contents().as_ptr().addr();
        Ok(Self {
            umem: ManuallyDrop::new(umem),
            base,
            descriptors,
        })
    }

    /// Unmaps the region; only for the ledger, which knows that no frame is left.
    pub(crate) fn release(self) {
        drop(ManuallyDrop::into_inner(self.umem));
    }

    pub(super) fn umem(&self) -> &Umem {
        &self.umem
    }

    /// Number of the chunk that `chunk` is, or `None` if it lies elsewhere.
    pub(super) fn number(&self, chunk: &[u8; CHUNK]) -> Option<usize> {
        let offset = chunk.as_ptr().addr().checked_sub(self.base)?;
        Some(offset / CHUNK).filter(|number| *number < self.descriptors.len())
    }

    /// The chunk that was taken back, as the only reference to it; `None` if it is not of this UMEM.
    pub(super) fn chunk(&self, returned: Returned) -> Option<&'static mut [u8; CHUNK]> {
        let offset = self
            .descriptors
            .get(returned.number())
            .map(|_| returned.number() * CHUNK)?;
        let chunk = ptr::with_exposed_provenance_mut::<[u8; CHUNK]>(self.base + offset);
        // SAFETY: within the region (R6), owned by nobody now (R1, R5), and mapped while a frame of it is out (R3).
        Some(unsafe { &mut *chunk })
    }

    /// A descriptor for the kernel to fill chunk `number`.
    pub(super) fn to_fill(&self, number: usize) -> Option<FrameDesc> {
        self.descriptors.get(number).copied()
    }

    /// A descriptor for the kernel to send `len` bytes of chunk `number`, whose frame has just been given up.
    pub(super) fn to_send(&self, number: usize, len: usize) -> Option<FrameDesc> {
        let mut descriptor = self.to_fill(number)?;
        // SAFETY: the chunk's frame is given up and the kernel does not have it yet (R1), so this is its only reference.
        let mut data = unsafe { self.umem.data_mut(&mut descriptor) };
        data.cursor().set_pos(len);
        Some(descriptor)
    }
}

/// Chunk number and packet's offset in it.
pub(super) fn locate(descriptor: &FrameDesc) -> (usize, usize) {
    (descriptor.addr() / CHUNK, descriptor.addr() % CHUNK)
}

fn config(ring: QueueSize) -> std::io::Result<UmemConfig> {
    let chunk = u32::try_from(CHUNK).expect("a chunk is a page");
    let config = UmemConfig::builder()
        .frame_size(chunk.try_into().map_err(std::io::Error::other)?)
        .frame_headroom(0)
        .fill_queue_size(ring)
        .comp_queue_size(ring)
        .build()
        .map_err(std::io::Error::other)?;
    debug_assert_eq!(
        config.xdp_headroom() as usize,
        HEADROOM,
        "where the kernel puts packets"
    );
    Ok(config)
}

/// Chunks of one huge page of 2 MiB; a mapping of huge pages must be whole pages long to be unmapped.
const CHUNKS_PER_HUGE_PAGE: u32 = 512;

fn create_on_huge_pages(config: UmemConfig, total: NonZeroU32) -> Option<(Umem, Vec<FrameDesc>)> {
    if !total.get().is_multiple_of(CHUNKS_PER_HUGE_PAGE) {
        return None;
    }
    Umem::new(config, total, true).ok()
}
