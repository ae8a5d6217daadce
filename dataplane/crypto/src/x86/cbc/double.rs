//! Two blocks a register: AVX2 with VAES.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "an expression of vector instructions needs one thing of the CPU"
)]

use std::arch::x86_64::*;

use super::super::aes::Block;
use super::blocks::{Blocks, CHUNK};

/// A block of each of two packets.
#[derive(Clone, Copy)]
pub(super) struct Double(__m256i);

impl Double {
    /// The first blocks of both, then the second blocks.
    #[inline(always)]
    fn pairs(self, other: Self) -> [Self; 2] {
        // SAFETY: a value of this type exists, so the CPU has AVX2.
        unsafe {
            [
                Self(_mm256_permute2x128_si256::<0x20>(self.0, other.0)),
                Self(_mm256_permute2x128_si256::<0x31>(self.0, other.0)),
            ]
        }
    }
}

impl Blocks for Double {
    const LANES: usize = 2;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm256_setzero_si256() })
    }

    #[inline(always)]
    unsafe fn broadcast(block: &Block) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(block.as_ptr().cast())) })
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm256_loadu_si256(from.cast()) })
    }

    #[inline(always)]
    unsafe fn load_first(from: *const u8, blocks: usize) -> Self {
        // SAFETY: the caller's promise: no more than `blocks` are read.
        unsafe {
            match blocks {
                0 => Self::zero(),
                1 => Self(_mm256_zextsi128_si256(_mm_loadu_si128(from.cast()))),
                _ => Self::load(from),
            }
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_si256(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut u8, blocks: usize) {
        // SAFETY: the caller's promise: no more than `blocks` are written.
        unsafe {
            match blocks {
                0 => {}
                1 => _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(self.0)),
                _ => self.store(to),
            }
        }
    }

    #[inline(always)]
    fn rows([a0, a2, b0, b2]: [Self; CHUNK]) -> [Self; CHUNK] {
        let [row0, row1] = a0.pairs(b0);
        let [row2, row3] = a2.pairs(b2);
        [row0, row1, row2, row3]
    }

    #[inline(always)]
    fn pieces([row0, row1, row2, row3]: [Self; CHUNK]) -> [Self; CHUNK] {
        let [a0, b0] = row0.pairs(row1);
        let [a2, b2] = row2.pairs(row3);
        [a0, a2, b0, b2]
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has AVX2.
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn encrypt_round(self, key: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has VAES.
        Self(unsafe { _mm256_aesenc_epi128(self.0, key.0) })
    }

    #[inline(always)]
    fn encrypt_last(self, key: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has VAES.
        Self(unsafe { _mm256_aesenclast_epi128(self.0, key.0) })
    }

    #[inline(always)]
    fn decrypt_round(self, key: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has VAES.
        Self(unsafe { _mm256_aesdec_epi128(self.0, key.0) })
    }

    #[inline(always)]
    fn decrypt_last(self, key: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has VAES.
        Self(unsafe { _mm256_aesdeclast_epi128(self.0, key.0) })
    }

    #[inline(always)]
    fn shifted_after(self, before: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has AVX2.
        Self(unsafe { _mm256_permute2x128_si256::<0x21>(before.0, self.0) })
    }
}
