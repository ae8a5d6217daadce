//! Two blocks in a register: AVX2 with VAES and VPCLMULQDQ. What is no whole register goes through one on the stack.

use std::arch::x86_64::*;

use zeroize::Zeroize;

use super::algorithm::define_crypt;
use super::keys::{Schedule, vector};
use super::{BLOCK, COUNTER_REVERSED, FOLD, POWERS, Packet, REVERSED};

define_crypt!("avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1");

type Vector = __m256i;

/// Blocks in a register.
const LANES: usize = 2;

/// Registers of a group.
const REGISTERS: usize = 8;

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
    fn lowest_lane(a: Vector) -> __m128i { _mm256_castsi256_si128(a) }
    fn in_lane(lane: usize, number: u128) -> Vector {
        if lane == 0 {
            first_lane(vector(number))
        } else {
            _mm256_inserti128_si256::<1>(_mm256_setzero_si256(), vector(number))
        }
    }
    fn counters() -> Vector { _mm256_set_epi32(2, 0, 0, 0, 1, 0, 0, 0) }
    fn add_counters(a: Vector) -> Vector { _mm256_add_epi32(a, _mm256_set_epi32(2, 0, 0, 0, 2, 0, 0, 0)) }
    fn sum_of_lanes(a: Vector) -> __m128i { _mm_xor_si128(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a)) }
}

#[inline]
#[target_feature(enable = "avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1")]
unsafe fn load(source: *const u8) -> Vector {
    // SAFETY: of the caller.
    unsafe { _mm256_loadu_si256(source.cast()) }
}

#[inline]
#[target_feature(enable = "avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1")]
unsafe fn store(destination: *mut u8, a: Vector) {
    // SAFETY: of the caller.
    unsafe { _mm256_storeu_si256(destination.cast(), a) }
}

/// Loads the bytes from `head` to `end`, zeros around them.
#[inline]
#[target_feature(enable = "avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1")]
unsafe fn load_part(source: *const u8, head: usize, end: usize) -> Vector {
    if head == 0 && end == WIDTH {
        // SAFETY: of the caller.
        return unsafe { load(source) };
    }
    if head >= end {
        return first_lane(vector(0));
    }
    let mut bytes = [0; WIDTH];
    let place = bytes.as_mut_ptr().wrapping_add(head);
    // SAFETY: of the caller; the array is as long as a register.
    unsafe { place.copy_from_nonoverlapping(source.wrapping_add(head), end - head) };
    // SAFETY: an array as long as a register.
    let a = unsafe { load(bytes.as_ptr()) };
    bytes.zeroize();
    a
}

/// Stores the bytes from `head` to `end`.
#[inline]
#[target_feature(enable = "avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1")]
unsafe fn store_part(destination: *mut u8, a: Vector, head: usize, end: usize) {
    if head == 0 && end == WIDTH {
        // SAFETY: of the caller.
        return unsafe { store(destination, a) };
    }
    if head >= end {
        return;
    }
    let mut bytes = [0; WIDTH];
    // SAFETY: an array as long as a register.
    unsafe { store(bytes.as_mut_ptr(), a) };
    let place = destination.wrapping_add(head);
    // SAFETY: of the caller; the array is as long as a register.
    unsafe { place.copy_from_nonoverlapping(bytes.as_ptr().wrapping_add(head), end - head) };
    bytes.zeroize();
}

/// The bytes from `head` to `end`, zeros around them.
#[inline]
#[target_feature(enable = "avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1")]
fn part(a: Vector, head: usize, end: usize) -> Vector {
    if head == 0 && end == WIDTH {
        return a;
    }
    if head >= end {
        return first_lane(vector(0));
    }
    let mut bytes = [0; WIDTH];
    // SAFETY: an array as long as a register.
    unsafe { store(bytes.as_mut_ptr(), a) };
    let (text, behind) = bytes.split_at_mut(end);
    text[..head].fill(0);
    behind.fill(0);
    // SAFETY: an array as long as a register.
    let a = unsafe { load(bytes.as_ptr()) };
    bytes.zeroize();
    a
}
