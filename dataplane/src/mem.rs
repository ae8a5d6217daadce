//! Memory with a shape of its own: prefetching, and mappings.
#![expect(
    unsafe_code,
    reason = "intrinsics and mmap; each block names what holds"
)]

/// Asks the CPU to bring the cache line where `at` begins into the first-level cache; does nothing elsewhere than on x86-64.
#[inline]
pub fn prefetch<T: ?Sized>(at: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program can see, and `at` is a valid reference besides.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(at).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
