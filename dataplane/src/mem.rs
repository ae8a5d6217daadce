//! Memory with a shape of its own: prefetching, and memory shared over restarts of the process.
//!
//! Invariants of the unsafe code here:
//! - **M1** A `Region` maps a whole memfd whose size is sealed, so that no access faults.
//! - **M2** It is mapped once at a time: who maps holds an exclusive lock on the file, through an open file description of its own.
//! - **M3** A `Part` is one of the disjoint pieces into which a region is cut once, and keeps the region mapped.
#![expect(
    unsafe_code,
    reason = "intrinsics and mmap; each block names what holds"
)]

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::{io, slice};

use rustix::fs::{FlockOperation, Mode, OFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags};

pub mod continuity;
pub(crate) mod pages;

/// Asks the CPU to bring the cache line where `at` begins into the first-level cache; does nothing elsewhere than on x86-64.
#[inline]
pub fn prefetch<T: ?Sized>(at: &T) {
    prefetch_line(at, 0);
}

/// Asks the CPU for the cache line that begins `line` lines behind the one where `at` begins; reads nothing of either.
#[inline]
pub fn prefetch_line<T: ?Sized>(at: &T, line: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = std::ptr::from_ref(at).cast::<i8>();
        // SAFETY: a prefetch reads nothing that the program can see, wherever it points to.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.wrapping_add(line * LINE)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (at, line);
}

/// Bytes of a cache line.
pub const LINE: usize = 64;

/// Makes a memfd of `len` bytes of zeros whose size can never change again.
pub(crate) fn sealed_memfd(name: &str, len: u64) -> io::Result<OwnedFd> {
    use rustix::fs::MemfdFlags;
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&fd, len)?;
    rustix::fs::fcntl_add_seals(&fd, SIZE_SEALS | SealFlags::SEAL)?;
    Ok(fd)
}

const SIZE_SEALS: SealFlags = SealFlags::GROW.union(SealFlags::SHRINK);

/// A mapped memfd, kept out of core dumps and of forked children.
#[derive(Debug)]
struct Region {
    base: NonNull<u64>,
    len: usize,
    /// Holds the lock.
    _lock: OwnedFd,
}

// SAFETY: the region is reached through its parts alone, which are disjoint (M3).
unsafe impl Send for Region {}
// SAFETY: as above; `Region` itself reads nothing.
unsafe impl Sync for Region {}

impl Region {
    /// Maps all of `fd`.
    ///
    /// # Errors
    /// `InvalidInput` if its size is not sealed, `WouldBlock` if it is mapped already, or what the system says.
    fn map(fd: &OwnedFd) -> io::Result<Self> {
        if !rustix::fs::fcntl_get_seals(fd)?.contains(SIZE_SEALS) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let lock = reopen(fd)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let len = usize::try_from(rustix::fs::fstat(&lock)?.st_size).map_err(io::Error::other)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice, of a file that nobody else maps (M2).
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                access,
                MapFlags::SHARED,
                &lock,
                0,
            )
        }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let region = Self {
            base,
            len,
            _lock: lock,
        };
        region.advise(Advice::LinuxDontDump)?;
        region.advise(Advice::LinuxDontFork)?;
        // Huge pages spare misses of the address cache; a kernel without them for shared memory does as well.
        let _ = region.advise(Advice::LinuxHugepage);
        Ok(region)
    }

    fn advise(&self, advice: Advice) -> io::Result<()> {
        // SAFETY: none of the advice given above changes contents, and the range is ours (M1).
        Ok(unsafe { rustix::mm::madvise(self.base.as_ptr().cast(), self.len, advice) }?)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: no part is left (M3), so nothing refers to the range.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "the range is what mmap gave");
    }
}

/// Another open file description of the same file: a lock of one that was inherited would be shared with its other holders.
fn reopen(fd: &OwnedFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    Ok(rustix::fs::open(
        path,
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// A piece of a mapped region that has one owner.
#[derive(Debug)]
pub(crate) struct Part {
    words: NonNull<u64>,
    len: usize,
    _region: Arc<Region>,
}

// SAFETY: a part is the only way to its words (M3), and they are integers.
unsafe impl Send for Part {}

impl Part {
    /// Maps `fd` and cuts it into parts of `len` words, from word `skip` on; a shorter rest is left out.
    ///
    /// # Errors
    /// As [`Region::map`].
    fn map_all(fd: &OwnedFd, skip: usize, len: usize) -> io::Result<Vec<Self>> {
        let region = Arc::new(Region::map(fd)?);
        let words = region.len / size_of::<u64>();
        let count = words.saturating_sub(skip).checked_div(len).unwrap_or(0);
        let part = |number: usize| Self {
            // SAFETY: skip + (count − 1) · len + len words are at most the region's.
            words: unsafe { region.base.add(skip + number * len) },
            len,
            _region: Arc::clone(&region),
        };
        Ok((0..count).map(part).collect())
    }

    /// Its words, to look at.
    #[inline]
    fn words(&self) -> &[u64] {
        // SAFETY: mapped and aligned (M1, M3), and any bits are a u64.
        unsafe { slice::from_raw_parts(self.words.as_ptr(), self.len) }
    }

    /// Its words.
    #[inline]
    fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: mapped and aligned (M1, M3), any bits are a u64, and this part is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.words.as_ptr(), self.len) }
    }
}

/// The two halves of a word, in memory order.
#[inline]
fn halves(word: &mut u64) -> &mut [u32; 2] {
    // SAFETY: same size, smaller alignment, and any bits are valid for both.
    unsafe { &mut *std::ptr::from_mut(word).cast() }
}
