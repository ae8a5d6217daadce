//! Two blocks in a register: AVX2 with VAES and VPCLMULQDQ. What is no whole block at the end is worked as words.

use std::arch::x86_64::*;

use super::algorithm::define_crypt;
use super::burst::define_bursts;
use super::keys::{Schedule, vector};
use super::partial;
use super::{AROUND, BLOCK, COUNTER_REVERSED, FOLD, IV_LEN, POWERS, Packet, REVERSED, is_same};
use crate::context::{OpenForm, SealForm};
use crate::engine::Opened;
use crate::op::{OpenOp, SealOp};
use crate::x86::AHEAD;

define_bursts!("avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1");
define_crypt!("avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1");

type Vector = __m256i;

/// Blocks in a register.
const LANES: usize = 2;

/// Registers of a group.
const REGISTERS: usize = 8;

/// Registers sealed side by side in a long text: 16 registers hold no more than a group.
const SEALED_AT_ONCE: usize = REGISTERS;

macro_rules! vocabulary {
    ($($(#[$doc:meta])* fn $name:ident $(<const $imm:ident: i32>)? ($($arg:ident: $type:ty),*) -> $out:ty { $body:expr })*) => {
        $($(#[$doc])*
        #[inline]
        #[target_feature(enable = "avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1")]
        fn $name$(<const $imm: i32>)?($($arg: $type),*) -> $out { $body })*
    };
}

vocabulary! {
    fn xor(a: Vector, b: Vector) -> Vector { _mm256_xor_si256(a, b) }
    fn xor3(a: Vector, b: Vector, c: Vector) -> Vector { xor(xor(a, b), c) }
    fn shuffle(a: Vector, order: Vector) -> Vector { _mm256_shuffle_epi8(a, order) }
    fn round(a: Vector, key: Vector) -> Vector { _mm256_aesenc_epi128(a, key) }
    fn last_round(a: Vector, key: Vector) -> Vector { _mm256_aesenclast_epi128(a, key) }
    fn carryless<const WORDS: i32>(a: Vector, b: Vector) -> Vector { _mm256_clmulepi64_epi128::<WORDS>(a, b) }
    fn swap_halves(a: Vector) -> Vector { _mm256_shuffle_epi32::<0b01_00_11_10>(a) }
    fn everywhere(block: __m128i) -> Vector { _mm256_broadcastsi128_si256(block) }
    fn first_lane(block: __m128i) -> Vector { _mm256_zextsi128_si256(block) }
    fn counters() -> Vector { _mm256_set_epi32(3, 0, 0, 0, 2, 0, 0, 0) }
    fn add_counters(a: Vector) -> Vector { _mm256_add_epi32(a, _mm256_set_epi32(2, 0, 0, 0, 2, 0, 0, 0)) }
    fn sum_of_lanes(a: Vector) -> __m128i { _mm_xor_si128(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a)) }
}

/// Loads a register.
///
/// # Safety
/// `source` has a register of readable bytes.
#[inline]
#[target_feature(enable = "avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1")]
unsafe fn load(source: *const u8) -> Vector {
    // SAFETY: of the caller.
    unsafe { _mm256_loadu_si256(source.cast()) }
}

/// Stores a register.
///
/// # Safety
/// `destination` has a register of writable bytes.
#[inline]
#[target_feature(enable = "avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1")]
unsafe fn store(destination: *mut u8, a: Vector) {
    // SAFETY: of the caller.
    unsafe { _mm256_storeu_si256(destination.cast(), a) }
}

/// Loads `len` bytes, fewer than a register, zeros behind them.
///
/// # Safety
/// `source` has `len` readable bytes.
#[inline]
#[target_feature(enable = "avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1")]
unsafe fn load_part(source: *const u8, len: usize) -> Vector {
    match len.checked_sub(BLOCK) {
        Some(rest) => {
            // SAFETY: of the caller, and so below.
            let low = unsafe { _mm_loadu_si128(source.cast()) };
            // SAFETY: as above.
            let high = unsafe { partial::load(source.wrapping_add(BLOCK), rest) };
            _mm256_set_m128i(high, low)
        }
        // SAFETY: as above.
        None => first_lane(unsafe { partial::load(source, len) }),
    }
}

/// Stores the first `len` bytes, fewer than a register.
///
/// # Safety
/// `destination` has `len` writable bytes.
#[inline]
#[target_feature(enable = "avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1")]
unsafe fn store_part(destination: *mut u8, a: Vector, len: usize) {
    let (low, high) = (_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
    match len.checked_sub(BLOCK) {
        Some(rest) => {
            // SAFETY: of the caller, and so below.
            unsafe { _mm_storeu_si128(destination.cast(), low) };
            // SAFETY: as above.
            unsafe { partial::store(destination.wrapping_add(BLOCK), high, rest) };
        }
        // SAFETY: as above.
        None => unsafe { partial::store(destination, low, len) },
    }
}

/// The first `len` bytes, fewer than a register, zeros behind them.
#[inline]
#[target_feature(enable = "avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1")]
fn part(a: Vector, len: usize) -> Vector {
    let high = partial::mask(len.saturating_sub(BLOCK));
    _mm256_and_si256(a, _mm256_set_m128i(high, partial::mask(len.min(BLOCK))))
}
