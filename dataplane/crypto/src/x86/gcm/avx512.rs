//! Four blocks in a register: AVX-512 with VAES and VPCLMULQDQ. A mask leaves out the bytes that are no text.

use std::arch::x86_64::*;

use super::algorithm::define_crypt;
use super::burst::define_bursts;
use super::keys::{Schedule, vector};
use super::{AROUND, BLOCK, COUNTER_REVERSED, FOLD, IV_LEN, POWERS, Packet, REVERSED, is_same};
use crate::context::{OpenForm, SealForm};
use crate::engine::Opened;
use crate::op::{OpenOp, SealOp};
use crate::x86::AHEAD;

define_bursts!(
    "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,bmi2,avx2,ssse3,sse4.1"
);
define_crypt!(
    "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,bmi2,avx2,ssse3,sse4.1"
);

type Vector = __m512i;

/// Blocks in a register.
const LANES: usize = 4;

/// Registers of a group.
const REGISTERS: usize = 4;

/// Registers sealed side by side in a long text; there are 32 to hold them.
const SEALED_AT_ONCE: usize = 8;

macro_rules! vocabulary {
    ($($(#[$doc:meta])* fn $name:ident $(<const $imm:ident: i32>)? ($($arg:ident: $type:ty),*) -> $out:ty { $body:expr })*) => {
        $($(#[$doc])*
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,avx2,bmi2")]
        fn $name$(<const $imm: i32>)?($($arg: $type),*) -> $out { $body })*
    };
}

vocabulary! {
    fn xor(a: Vector, b: Vector) -> Vector { _mm512_xor_si512(a, b) }
    fn xor3(a: Vector, b: Vector, c: Vector) -> Vector { _mm512_ternarylogic_epi64::<0x96>(a, b, c) }
    fn shuffle(a: Vector, order: Vector) -> Vector { _mm512_shuffle_epi8(a, order) }
    fn round(a: Vector, key: Vector) -> Vector { _mm512_aesenc_epi128(a, key) }
    fn last_round(a: Vector, key: Vector) -> Vector { _mm512_aesenclast_epi128(a, key) }
    fn carryless<const WORDS: i32>(a: Vector, b: Vector) -> Vector { _mm512_clmulepi64_epi128::<WORDS>(a, b) }
    fn swap_halves(a: Vector) -> Vector { _mm512_shuffle_epi32::<0b01_00_11_10>(a) }
    fn everywhere(block: __m128i) -> Vector { _mm512_broadcast_i32x4(block) }
    fn first_lane(block: __m128i) -> Vector { _mm512_zextsi128_si512(block) }
    fn counters() -> Vector { _mm512_set_epi32(5, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0) }
    fn add_counters(a: Vector) -> Vector { _mm512_add_epi32(a, _mm512_set_epi32(4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0)) }
    /// The first `len` bytes.
    fn mask(len: usize) -> u64 { _bzhi_u64(!0, u32::from(len.to_le_bytes()[0])) }
    /// The first `len` bytes, zeros behind them.
    fn part(a: Vector, len: usize) -> Vector { _mm512_maskz_mov_epi8(mask(len), a) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sum_of_lanes(a: Vector) -> __m128i {
    let half = _mm256_xor_si256(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64::<1>(a));
    _mm_xor_si128(
        _mm256_castsi256_si128(half),
        _mm256_extracti128_si256::<1>(half),
    )
}

/// Loads a register.
///
/// # Safety
/// `source` has a register of readable bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load(source: *const u8) -> Vector {
    // SAFETY: of the caller.
    unsafe { _mm512_loadu_epi8(source.cast()) }
}

/// Stores a register.
///
/// # Safety
/// `destination` has a register of writable bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn store(destination: *mut u8, a: Vector) {
    // SAFETY: of the caller.
    unsafe { _mm512_storeu_epi8(destination.cast(), a) }
}

/// Loads `len` bytes, fewer than a register, zeros behind them.
///
/// # Safety
/// `source` has `len` readable bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,avx2,bmi2")]
unsafe fn load_part(source: *const u8, len: usize) -> Vector {
    let mask = mask(len);
    // SAFETY: of the caller; what the mask leaves out is not touched.
    unsafe { _mm512_maskz_loadu_epi8(mask, source.cast()) }
}

/// Stores the first `len` bytes, fewer than a register.
///
/// # Safety
/// `destination` has `len` writable bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,avx2,bmi2")]
unsafe fn store_part(destination: *mut u8, a: Vector, len: usize) {
    let mask = mask(len);
    // SAFETY: of the caller; what the mask leaves out is not touched.
    unsafe { _mm512_mask_storeu_epi8(destination.cast(), mask, a) }
}
