//! One block in a register: AES-NI and PCLMULQDQ. What is no whole block at the end is worked as words.

use std::arch::x86_64::*;

use super::algorithm::define_crypt;
use super::burst::define_bursts;
use super::keys::{Schedule, vector};
use super::partial::{self, load as load_part, store as store_part};
use super::{AROUND, BLOCK, COUNTER_REVERSED, FOLD, IV_LEN, POWERS, Packet, REVERSED, is_same};
use crate::context::{OpenForm, SealForm};
use crate::engine::Opened;
use crate::op::{OpenOp, SealOp};
use crate::x86::AHEAD;

define_bursts!("aes,pclmulqdq,ssse3,sse4.1");
define_crypt!("aes,pclmulqdq,ssse3,sse4.1");

type Vector = __m128i;

/// Blocks in a register.
const LANES: usize = 1;

/// Registers of a group.
const REGISTERS: usize = 8;

/// Registers sealed side by side in a long text: 16 registers hold no more than a group.
const SEALED_AT_ONCE: usize = REGISTERS;

macro_rules! vocabulary {
    ($($(#[$doc:meta])* fn $name:ident $(<const $imm:ident: i32>)? ($($arg:ident: $type:ty),*) -> $out:ty { $body:expr })*) => {
        $($(#[$doc])*
        #[inline]
        #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
        fn $name$(<const $imm: i32>)?($($arg: $type),*) -> $out { $body })*
    };
}

vocabulary! {
    fn xor(a: Vector, b: Vector) -> Vector { _mm_xor_si128(a, b) }
    fn xor3(a: Vector, b: Vector, c: Vector) -> Vector { xor(xor(a, b), c) }
    fn shuffle(a: Vector, order: Vector) -> Vector { _mm_shuffle_epi8(a, order) }
    fn round(a: Vector, key: Vector) -> Vector { _mm_aesenc_si128(a, key) }
    fn last_round(a: Vector, key: Vector) -> Vector { _mm_aesenclast_si128(a, key) }
    fn carryless<const WORDS: i32>(a: Vector, b: Vector) -> Vector { _mm_clmulepi64_si128::<WORDS>(a, b) }
    fn swap_halves(a: Vector) -> Vector { _mm_shuffle_epi32::<0b01_00_11_10>(a) }
    fn everywhere(block: __m128i) -> Vector { block }
    fn first_lane(block: __m128i) -> Vector { block }
    fn counters() -> Vector { _mm_set_epi32(2, 0, 0, 0) }
    fn add_counters(a: Vector) -> Vector { _mm_add_epi32(a, _mm_set_epi32(1, 0, 0, 0)) }
    fn sum_of_lanes(a: Vector) -> __m128i { a }
    fn part(a: Vector, len: usize) -> Vector { _mm_and_si128(a, partial::mask(len)) }
}

/// Loads a register.
///
/// # Safety
/// `source` has a register of readable bytes.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
unsafe fn load(source: *const u8) -> Vector {
    // SAFETY: of the caller.
    unsafe { _mm_loadu_si128(source.cast()) }
}

/// Stores a register.
///
/// # Safety
/// `destination` has a register of writable bytes.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
unsafe fn store(destination: *mut u8, a: Vector) {
    // SAFETY: of the caller.
    unsafe { _mm_storeu_si128(destination.cast(), a) }
}
