//! Four blocks a register: AVX-512F with VAES.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "an expression of vector instructions needs one thing of the CPU"
)]

use std::arch::x86_64::*;

use super::super::aes::Block;
use super::blocks::{Blocks, CHUNK};

/// A block of each of four packets.
#[derive(Clone, Copy)]
pub(super) struct Wide(__m512i);

/// One bit for each half of the first `blocks` blocks, at most four.
#[inline(always)]
fn mask(blocks: usize) -> __mmask8 {
    const MASKS: [__mmask8; CHUNK + 1] = [0, 0x03, 0x0f, 0x3f, 0xff];
    MASKS[blocks.min(CHUNK)]
}

/// Swaps rows and columns of a square of blocks.
#[inline(always)]
fn transposed([Wide(a), Wide(b), Wide(c), Wide(d)]: [Wide; CHUNK]) -> [Wide; CHUNK] {
    // SAFETY: values of the type exist, so the CPU has AVX-512F.
    unsafe {
        let low_ab = _mm512_shuffle_i64x2::<0x44>(a, b);
        let high_ab = _mm512_shuffle_i64x2::<0xee>(a, b);
        let low_cd = _mm512_shuffle_i64x2::<0x44>(c, d);
        let high_cd = _mm512_shuffle_i64x2::<0xee>(c, d);
        [
            Wide(_mm512_shuffle_i64x2::<0x88>(low_ab, low_cd)),
            Wide(_mm512_shuffle_i64x2::<0xdd>(low_ab, low_cd)),
            Wide(_mm512_shuffle_i64x2::<0x88>(high_ab, high_cd)),
            Wide(_mm512_shuffle_i64x2::<0xdd>(high_ab, high_cd)),
        ]
    }
}

impl Blocks for Wide {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm512_setzero_si512() })
    }

    #[inline(always)]
    unsafe fn broadcast(block: &Block) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(block.as_ptr().cast())) })
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm512_loadu_si512(from.cast()) })
    }

    #[inline(always)]
    unsafe fn load_first(from: *const u8, blocks: usize) -> Self {
        // SAFETY: the caller's promise; what is masked out is not read.
        Self(unsafe { _mm512_maskz_loadu_epi64(mask(blocks), from.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_si512(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut u8, blocks: usize) {
        // SAFETY: the caller's promise; what is masked out is not written.
        unsafe { _mm512_mask_storeu_epi64(to.cast(), mask(blocks), self.0) }
    }

    #[inline(always)]
    fn rows(pieces: [Self; CHUNK]) -> [Self; CHUNK] {
        transposed(pieces)
    }

    #[inline(always)]
    fn pieces(rows: [Self; CHUNK]) -> [Self; CHUNK] {
        transposed(rows)
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has AVX-512F.
        Self(unsafe { _mm512_xor_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn encrypt_round(self, key: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has VAES.
        Self(unsafe { _mm512_aesenc_epi128(self.0, key.0) })
    }

    #[inline(always)]
    fn encrypt_last(self, key: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has VAES.
        Self(unsafe { _mm512_aesenclast_epi128(self.0, key.0) })
    }

    #[inline(always)]
    fn decrypt_round(self, key: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has VAES.
        Self(unsafe { _mm512_aesdec_epi128(self.0, key.0) })
    }

    #[inline(always)]
    fn decrypt_last(self, key: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has VAES.
        Self(unsafe { _mm512_aesdeclast_epi128(self.0, key.0) })
    }

    #[inline(always)]
    fn shifted_after(self, before: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has AVX-512F.
        Self(unsafe { _mm512_alignr_epi64::<6>(self.0, before.0) })
    }
}
