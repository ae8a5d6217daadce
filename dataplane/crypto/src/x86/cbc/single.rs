//! One block a register: AES-NI.

use std::arch::x86_64::*;

use super::super::aes::Block;
use super::blocks::{Blocks, CHUNK};

/// A block of one packet.
#[derive(Clone, Copy)]
pub(super) struct Single(__m128i);

impl Blocks for Single {
    const LANES: usize = 1;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm_setzero_si128() })
    }

    #[inline(always)]
    unsafe fn broadcast(block: &Block) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::load(block.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm_loadu_si128(from.cast()) })
    }

    #[inline(always)]
    unsafe fn load_first(from: *const u8, blocks: usize) -> Self {
        if blocks == 0 {
            // SAFETY: the caller's promise.
            return unsafe { Self::zero() };
        }
        // SAFETY: the caller's promise.
        unsafe { Self::load(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { _mm_storeu_si128(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut u8, blocks: usize) {
        if blocks > 0 {
            // SAFETY: the caller's promise.
            unsafe { self.store(to) }
        }
    }

    #[inline(always)]
    fn rows(pieces: [Self; CHUNK]) -> [Self; CHUNK] {
        pieces
    }

    #[inline(always)]
    fn pieces(rows: [Self; CHUNK]) -> [Self; CHUNK] {
        rows
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has SSE2.
        Self(unsafe { _mm_xor_si128(self.0, other.0) })
    }

    #[inline(always)]
    fn encrypt_round(self, key: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has AES-NI.
        Self(unsafe { _mm_aesenc_si128(self.0, key.0) })
    }

    #[inline(always)]
    fn encrypt_last(self, key: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has AES-NI.
        Self(unsafe { _mm_aesenclast_si128(self.0, key.0) })
    }

    #[inline(always)]
    fn decrypt_round(self, key: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has AES-NI.
        Self(unsafe { _mm_aesdec_si128(self.0, key.0) })
    }

    #[inline(always)]
    fn decrypt_last(self, key: Self) -> Self {
        // SAFETY: a value of this type exists, so the CPU has AES-NI.
        Self(unsafe { _mm_aesdeclast_si128(self.0, key.0) })
    }

    #[inline(always)]
    fn shifted_after(self, before: Self) -> Self {
        before
    }
}
