//! Lanes in 256-bit registers: 8 words of 4 bytes, or 4 of 8.

use std::arch::asm;
use std::arch::x86_64::*;

use super::lanes::Lanes;

/// 8 words of 4 bytes; needs AVX2.
#[derive(Clone, Copy)]
pub(super) struct Words8(__m256i);

/// 4 words of 8 bytes; needs AVX2.
#[derive(Clone, Copy)]
pub(super) struct Words4(__m256i);

/// The operations that are alike but for the width of a word.
macro_rules! operations {
    ($word:ty, $signed:ty, $add:ident, $set:ident, $left:ident, $right:ident) => {
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            // SAFETY: a value is proof of AVX2.
            Self(unsafe { $add(self.0, other.0) })
        }

        #[inline(always)]
        fn add_word(self, word: $word) -> Self {
            // SAFETY: as above.
            self.add(Self(unsafe { $set(word.cast_signed()) }))
        }

        #[inline(always)]
        fn in_order(self) -> Self {
            // SAFETY: as above.
            Self(unsafe { hold(self.0) })
        }

        #[inline(always)]
        fn xor(self, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_xor_si256(self.0, other.0) })
        }

        #[inline(always)]
        fn xor3(self, second: Self, third: Self) -> Self {
            self.xor(second).xor(third)
        }

        #[inline(always)]
        fn rotate_right(self, bits: u32) -> Self {
            // SAFETY: as above.
            let back = unsafe { $set(<$signed>::from((<$word>::BITS - bits).cast_signed())) };
            // SAFETY: as above.
            let left = Self(unsafe { $left(self.0, back) });
            self.shift_right(bits).xor(left)
        }

        #[inline(always)]
        fn shift_right(self, bits: u32) -> Self {
            // SAFETY: as above.
            let bits = unsafe { $set(<$signed>::from(bits.cast_signed())) };
            // SAFETY: as above.
            Self(unsafe { $right(self.0, bits) })
        }

        #[inline(always)]
        fn choose(self, then: Self, otherwise: Self) -> Self {
            // SAFETY: as above.
            let differ = Self(unsafe { _mm256_and_si256(self.0, then.xor(otherwise).0) });
            differ.xor(otherwise)
        }

        #[inline(always)]
        fn majority(self, second: Self, third: Self) -> Self {
            // Where the first two differ the third decides.
            self.xor(second).choose(third, second)
        }
    };
}

impl Lanes<8> for Words8 {
    type Word = u32;

    operations!(
        u32,
        i32,
        _mm256_add_epi32,
        _mm256_set1_epi32,
        _mm256_sllv_epi32,
        _mm256_srlv_epi32
    );

    #[inline(always)]
    unsafe fn load(words: &[u32; 8]) -> Self {
        // SAFETY: the array is 32 bytes long; the caller has checked the CPU.
        Self(unsafe { _mm256_loadu_si256(words.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, words: &mut [u32; 8]) {
        // SAFETY: the array is 32 bytes long; a value is proof of AVX2.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn transpose(blocks: &[*const u8; 8]) -> [Self; 16] {
        // SAFETY: the caller has checked the CPU; 64 bytes are readable behind each pointer.
        let a = unsafe { transpose_words8(blocks, 0) };
        // SAFETY: as above.
        let b = unsafe { transpose_words8(blocks, 32) };
        let mut lanes = [Self(a[0]); 16];
        for n in 0..8 {
            (lanes[n], lanes[n + 8]) = (Self(a[n]), Self(b[n]));
        }
        lanes
    }
}

impl Lanes<4> for Words4 {
    type Word = u64;

    operations!(
        u64,
        i64,
        _mm256_add_epi64,
        _mm256_set1_epi64x,
        _mm256_sllv_epi64,
        _mm256_srlv_epi64
    );

    #[inline(always)]
    unsafe fn load(words: &[u64; 4]) -> Self {
        // SAFETY: the array is 32 bytes long; the caller has checked the CPU.
        Self(unsafe { _mm256_loadu_si256(words.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, words: &mut [u64; 4]) {
        // SAFETY: the array is 32 bytes long; a value is proof of AVX2.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn transpose(blocks: &[*const u8; 4]) -> [Self; 16] {
        // SAFETY: the caller has checked the CPU; 128 bytes are readable behind each pointer.
        let a = unsafe { transpose_words4(blocks, 0) };
        // SAFETY: as above.
        let b = unsafe { transpose_words4(blocks, 32) };
        // SAFETY: as above.
        let c = unsafe { transpose_words4(blocks, 64) };
        // SAFETY: as above.
        let d = unsafe { transpose_words4(blocks, 96) };
        let mut lanes = [Self(a[0]); 16];
        for n in 0..4 {
            (lanes[n], lanes[n + 4]) = (Self(a[n]), Self(b[n]));
            (lanes[n + 8], lanes[n + 12]) = (Self(c[n]), Self(d[n]));
        }
        lanes
    }
}

/// # Safety
/// 32 bytes must be readable at `offset` behind each pointer.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transpose_words8(blocks: &[*const u8; 8], offset: usize) -> [__m256i; 8] {
    let swap =
        _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
    let zero = _mm256_setzero_si256();
    let mut rows = [zero; 8];
    for (row, block) in rows.iter_mut().zip(blocks) {
        // SAFETY: the caller's promise.
        let bytes = unsafe { _mm256_loadu_si256(block.wrapping_add(offset).cast()) };
        *row = _mm256_shuffle_epi8(bytes, swap);
    }
    let [a, b, c, d, e, f, g, h] = rows;
    let (upper, lower) = (transpose_fours([a, b, c, d]), transpose_fours([e, f, g, h]));
    let mut words = [zero; 8];
    for n in 0..4 {
        [words[n], words[n + 4]] = transpose_halves(upper[n], lower[n]);
    }
    words
}

/// Within each half of the registers: register n of the result holds words n of the four registers.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_fours([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
    let (low_ab, high_ab) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let (low_cd, high_cd) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(low_ab, low_cd),
        _mm256_unpackhi_epi64(low_ab, low_cd),
        _mm256_unpacklo_epi64(high_ab, high_cd),
        _mm256_unpackhi_epi64(high_ab, high_cd),
    ]
}

/// # Safety
/// 32 bytes must be readable at `offset` behind each pointer.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transpose_words4(blocks: &[*const u8; 4], offset: usize) -> [__m256i; 4] {
    let swap =
        _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0809_0a0b_0c0d_0e0f, 0x0001_0203_0405_0607));
    let mut rows = [_mm256_setzero_si256(); 4];
    for (row, block) in rows.iter_mut().zip(blocks) {
        // SAFETY: the caller's promise.
        let bytes = unsafe { _mm256_loadu_si256(block.wrapping_add(offset).cast()) };
        *row = _mm256_shuffle_epi8(bytes, swap);
    }
    let [a, b, c, d] = rows;
    let even = transpose_halves(_mm256_unpacklo_epi64(a, b), _mm256_unpacklo_epi64(c, d));
    let odd = transpose_halves(_mm256_unpackhi_epi64(a, b), _mm256_unpackhi_epi64(c, d));
    [even[0], odd[0], even[1], odd[1]]
}

/// Register n of the result holds half n of each register.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_halves(a: __m256i, b: __m256i) -> [__m256i; 2] {
    [
        _mm256_permute2x128_si256::<0x20>(a, b),
        _mm256_permute2x128_si256::<0x31>(a, b),
    ]
}

/// No instruction, but the compiler takes the result for another value.
#[inline]
#[target_feature(enable = "avx2")]
fn hold(mut register: __m256i) -> __m256i {
    // SAFETY: a comment changes nothing.
    unsafe {
        asm!("/* {0} */", inout(ymm_reg) register,
            options(pure, nomem, nostack, preserves_flags));
    }
    register
}
