//! Ordinary memory cut into chunks, on huge pages where the system has them: what a UMEM is, without the kernel's part in it.

use std::ptr::NonNull;
use std::{io, ptr};

use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::frame::CHUNK;

/// A mapping that is given back only on [`Pages::release`], and leaked otherwise (invariant R3 of `frame`).
#[derive(Debug)]
pub(crate) struct Pages {
    base: NonNull<[u8; CHUNK]>,
    count: usize,
}

// SAFETY: it is an address; the memory is reached only through the chunks that `map` gave out.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps `count` chunks of zeros and returns each of them, once.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn map(count: usize) -> io::Result<(Self, Vec<&'static mut [u8; CHUNK]>)> {
        let len = count * CHUNK;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh private mapping at an address of the kernel's choice.
        let base =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, access, MapFlags::PRIVATE) }?;
        // SAFETY: the range is ours, and this advice does not change contents. A kernel without huge pages does as well.
        let _ = unsafe { rustix::mm::madvise(base, len, Advice::LinuxHugepage) };
        let base = NonNull::new(base.cast::<[u8; CHUNK]>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let chunk = |number| {
            // SAFETY: `number` is below `count`, so the chunk lies within the mapping.
            let at = unsafe { base.add(number) };
            // SAFETY: mapped, of zeros, and this is the only reference to this chunk ever made.
            unsafe { &mut *at.as_ptr() }
        };
        Ok((Self { base, count }, (0..count).map(chunk).collect()))
    }

    /// Unmaps it; only for the ledger, which knows that no frame is left.
    pub(crate) fn release(self) {
        // SAFETY: what `map` mapped, and nothing refers to it any more.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.count * CHUNK) };
        debug_assert!(unmapped.is_ok(), "the range is what mmap gave");
    }
}
