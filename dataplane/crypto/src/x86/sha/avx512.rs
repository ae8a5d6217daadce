//! Lanes in 512-bit registers: 16 words of 4 bytes, or 8 of 8.

use std::arch::asm;
use std::arch::x86_64::*;

use super::lanes::Lanes;

/// 16 words of 4 bytes; needs AVX-512 F and BW.
#[derive(Clone, Copy)]
pub(super) struct Words16(__m512i);

/// 8 words of 8 bytes; needs AVX-512 F and BW.
#[derive(Clone, Copy)]
pub(super) struct Words8(__m512i);

/// Truth tables of three operands for `vpternlog`: bit 4a + 2b + c.
const XOR3: i32 = 0x96;
const CHOOSE: i32 = 0xca;
const MAJORITY: i32 = 0xe8;

/// The operations that are alike but for the width of a word.
macro_rules! operations {
    ($word:ty, $signed:ty, $add:ident, $set:ident, $rotate:ident, $shift:ident) => {
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            // SAFETY: a value is proof of AVX-512 F.
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
            Self(unsafe { _mm512_xor_si512(self.0, other.0) })
        }

        #[inline(always)]
        fn xor3(self, second: Self, third: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_ternarylogic_epi64::<XOR3>(self.0, second.0, third.0) })
        }

        #[inline(always)]
        fn rotate_right(self, bits: u32) -> Self {
            // SAFETY: as above.
            let bits = unsafe { $set(<$signed>::from(bits.cast_signed())) };
            // SAFETY: as above.
            Self(unsafe { $rotate(self.0, bits) })
        }

        #[inline(always)]
        fn shift_right(self, bits: u32) -> Self {
            // SAFETY: as above.
            let bits = unsafe { $set(<$signed>::from(bits.cast_signed())) };
            // SAFETY: as above.
            Self(unsafe { $shift(self.0, bits) })
        }

        #[inline(always)]
        fn choose(self, then: Self, otherwise: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_ternarylogic_epi64::<CHOOSE>(self.0, then.0, otherwise.0) })
        }

        #[inline(always)]
        fn majority(self, second: Self, third: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_ternarylogic_epi64::<MAJORITY>(self.0, second.0, third.0) })
        }
    };
}

impl Lanes<16> for Words16 {
    type Word = u32;

    operations!(
        u32,
        i32,
        _mm512_add_epi32,
        _mm512_set1_epi32,
        _mm512_rorv_epi32,
        _mm512_srlv_epi32
    );

    #[inline(always)]
    unsafe fn load(words: &[u32; 16]) -> Self {
        // SAFETY: the array is 64 bytes long; the caller has checked the CPU.
        Self(unsafe { _mm512_loadu_si512(words.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, words: &mut [u32; 16]) {
        // SAFETY: the array is 64 bytes long; a value is proof of AVX-512 F.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn transpose(blocks: &[*const u8; 16]) -> [Self; 16] {
        // SAFETY: the caller has checked the CPU; 64 bytes are readable behind each pointer.
        let words = unsafe { transpose_words16(blocks) };
        let mut lanes = [Self(words[0]); 16];
        for n in 1..16 {
            lanes[n] = Self(words[n]);
        }
        lanes
    }
}

impl Lanes<8> for Words8 {
    type Word = u64;

    operations!(
        u64,
        i64,
        _mm512_add_epi64,
        _mm512_set1_epi64,
        _mm512_rorv_epi64,
        _mm512_srlv_epi64
    );

    #[inline(always)]
    unsafe fn load(words: &[u64; 8]) -> Self {
        // SAFETY: the array is 64 bytes long; the caller has checked the CPU.
        Self(unsafe { _mm512_loadu_si512(words.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, words: &mut [u64; 8]) {
        // SAFETY: the array is 64 bytes long; a value is proof of AVX-512 F.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn transpose(blocks: &[*const u8; 8]) -> [Self; 16] {
        // SAFETY: the caller has checked the CPU; 128 bytes are readable behind each pointer.
        let a = unsafe { transpose_words8(blocks, 0) };
        // SAFETY: as above.
        let b = unsafe { transpose_words8(blocks, 64) };
        let mut lanes = [Self(a[0]); 16];
        for n in 0..8 {
            (lanes[n], lanes[n + 8]) = (Self(a[n]), Self(b[n]));
        }
        lanes
    }
}

/// # Safety
/// 64 bytes must be readable behind each pointer.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn transpose_words16(blocks: &[*const u8; 16]) -> [__m512i; 16] {
    let swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
    let zero = _mm512_setzero_si512();
    let mut rows = [zero; 16];
    for (row, block) in rows.iter_mut().zip(blocks) {
        // SAFETY: the caller's promise.
        let bytes = unsafe { _mm512_loadu_si512(block.cast()) };
        *row = _mm512_shuffle_epi8(bytes, swap);
    }
    let mut fours = [[zero; 4]; 4];
    for (four, row) in fours.iter_mut().zip(rows.as_chunks().0) {
        *four = transpose_fours(*row);
    }
    let mut words = [zero; 16];
    for n in 0..4 {
        let four = [fours[0][n], fours[1][n], fours[2][n], fours[3][n]];
        [words[n], words[n + 4], words[n + 8], words[n + 12]] = transpose_quarters(four);
    }
    words
}

/// Within each quarter of the registers: register n of the result holds words n of the four registers.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose_fours([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (low_ab, high_ab) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (low_cd, high_cd) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(low_ab, low_cd),
        _mm512_unpackhi_epi64(low_ab, low_cd),
        _mm512_unpacklo_epi64(high_ab, high_cd),
        _mm512_unpackhi_epi64(high_ab, high_cd),
    ]
}

/// # Safety
/// 64 bytes must be readable at `offset` behind each pointer.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn transpose_words8(blocks: &[*const u8; 8], offset: usize) -> [__m512i; 8] {
    let swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0809_0a0b_0c0d_0e0f, 0x0001_0203_0405_0607));
    let mut rows = [_mm512_setzero_si512(); 8];
    for (row, block) in rows.iter_mut().zip(blocks) {
        // SAFETY: the caller's promise.
        let bytes = unsafe { _mm512_loadu_si512(block.wrapping_add(offset).cast()) };
        *row = _mm512_shuffle_epi8(bytes, swap);
    }
    let [a, b, c, d, e, f, g, h] = rows;
    let low = transpose_quarters([
        _mm512_unpacklo_epi64(a, b),
        _mm512_unpacklo_epi64(c, d),
        _mm512_unpacklo_epi64(e, f),
        _mm512_unpacklo_epi64(g, h),
    ]);
    let high = transpose_quarters([
        _mm512_unpackhi_epi64(a, b),
        _mm512_unpackhi_epi64(c, d),
        _mm512_unpackhi_epi64(e, f),
        _mm512_unpackhi_epi64(g, h),
    ]);
    [
        low[0], high[0], low[1], high[1], low[2], high[2], low[3], high[3],
    ]
}

/// Register n of the result holds quarter n of each register.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose_quarters([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (low_ab, high_ab) = (
        _mm512_shuffle_i32x4::<0x44>(a, b),
        _mm512_shuffle_i32x4::<0xee>(a, b),
    );
    let (low_cd, high_cd) = (
        _mm512_shuffle_i32x4::<0x44>(c, d),
        _mm512_shuffle_i32x4::<0xee>(c, d),
    );
    [
        _mm512_shuffle_i32x4::<0x88>(low_ab, low_cd),
        _mm512_shuffle_i32x4::<0xdd>(low_ab, low_cd),
        _mm512_shuffle_i32x4::<0x88>(high_ab, high_cd),
        _mm512_shuffle_i32x4::<0xdd>(high_ab, high_cd),
    ]
}

/// No instruction, but the compiler takes the result for another value.
#[inline]
#[target_feature(enable = "avx512f")]
fn hold(mut register: __m512i) -> __m512i {
    // SAFETY: a comment changes nothing.
    unsafe {
        asm!("/* {0} */", inout(zmm_reg) register,
            options(pure, nomem, nostack, preserves_flags));
    }
    register
}
