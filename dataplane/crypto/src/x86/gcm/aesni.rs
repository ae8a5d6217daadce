//! One block in a register: AES-NI and PCLMULQDQ. What is no whole block goes through one on the stack.

use std::arch::x86_64::*;

use zeroize::Zeroize;

use super::algorithm::define_crypt;
use super::keys::{Schedule, vector};
use super::{BLOCK, COUNTER_REVERSED, FOLD, POWERS, Packet, REVERSED};

define_crypt!("aes,pclmulqdq,ssse3,sse4.1");

type Vector = __m128i;

/// Blocks in a register.
const LANES: usize = 1;

/// Registers of a group.
const REGISTERS: usize = 8;

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
    fn lowest_lane(a: Vector) -> __m128i { a }
    fn in_lane(_lane: usize, number: u128) -> Vector { vector(number) }
    fn counters() -> Vector { _mm_set_epi32(1, 0, 0, 0) }
    fn add_counters(a: Vector) -> Vector { _mm_add_epi32(a, _mm_set_epi32(1, 0, 0, 0)) }
    fn sum_of_lanes(a: Vector) -> __m128i { a }
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
unsafe fn load(source: *const u8) -> Vector {
    // SAFETY: of the caller.
    unsafe { _mm_loadu_si128(source.cast()) }
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
unsafe fn store(destination: *mut u8, a: Vector) {
    // SAFETY: of the caller.
    unsafe { _mm_storeu_si128(destination.cast(), a) }
}

/// Loads the bytes from `head` to `end`, zeros around them.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
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
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
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
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
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
