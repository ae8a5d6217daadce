//! Two blocks a register: AVX2 with VAES.

use std::arch::x86_64::*;

use super::blocks::{BLOCK, Blocks, CHUNK, Lane};

/// Bytes of a register.
const PAIR: usize = 2 * BLOCK;

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

/// The four blocks of each of two lanes, two a register, by number of the block.
#[inline(always)]
fn rows([a, b]: [[Double; 2]; 2]) -> [Double; CHUNK] {
    let [[row0, row1], [row2, row3]] = [a[0].pairs(b[0]), a[1].pairs(b[1])];
    [row0, row1, row2, row3]
}

/// Undoes [`rows`].
#[inline(always)]
fn columns(rows: [Double; CHUNK]) -> [[Double; 2]; 2] {
    let [[a0, b0], [a1, b1]] = [rows[0].pairs(rows[1]), rows[2].pairs(rows[3])];
    [[a0, a1], [b0, b1]]
}

impl Blocks for Double {
    const LANES: usize = 2;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm256_setzero_si256() })
    }

    #[inline(always)]
    unsafe fn broadcast(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(from.cast())) })
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
    unsafe fn gather(lanes: &[Lane], done: usize) -> [Self; CHUNK] {
        let a = lanes[0].source.wrapping_add(done * BLOCK);
        let b = lanes[1].source.wrapping_add(done * BLOCK);
        // SAFETY: the caller's promise.
        unsafe {
            rows([
                [Self::load(a), Self::load(a.wrapping_add(PAIR))],
                [Self::load(b), Self::load(b.wrapping_add(PAIR))],
            ])
        }
    }

    #[inline(always)]
    unsafe fn gather_rest(lanes: &[Lane], done: usize) -> [Self; CHUNK] {
        // SAFETY: the caller's promise.
        let mut read = [[unsafe { Self::zero() }; 2]; 2];
        for (pairs, lane) in read.iter_mut().zip(lanes) {
            for (n, pair) in pairs.iter_mut().enumerate() {
                let at = lane.source.wrapping_add(done * BLOCK + n * PAIR);
                // SAFETY: the caller's promise; no more blocks are read than the lane has.
                *pair = unsafe { Self::load_first(at, lane.left(done + n * 2)) };
            }
        }
        rows(read)
    }

    #[inline(always)]
    unsafe fn scatter(rows: [Self; CHUNK], lanes: &[Lane], done: usize) {
        for (pairs, lane) in columns(rows).iter().zip(lanes) {
            for (n, pair) in pairs.iter().enumerate() {
                let at = lane.destination.wrapping_add(done * BLOCK + n * PAIR);
                // SAFETY: the caller's promise.
                unsafe { pair.store(at) }
            }
        }
    }

    #[inline(always)]
    unsafe fn scatter_rest(rows: [Self; CHUNK], lanes: &[Lane], done: usize) {
        for (pairs, lane) in columns(rows).iter().zip(lanes) {
            for (n, pair) in pairs.iter().enumerate() {
                let at = lane.destination.wrapping_add(done * BLOCK + n * PAIR);
                // SAFETY: the caller's promise; no more blocks are written than the lane has.
                unsafe { pair.store_first(at, lane.left(done + n * 2)) }
            }
        }
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
