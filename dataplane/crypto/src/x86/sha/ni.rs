//! SHA-1 and SHA-256 with the SHA instructions: two messages in turn, as one alone would wait for its own rounds.

use std::arch::x86_64::*;

use super::lanes::{Blocks, States};
use super::sha2::Constants;

/// Works the blocks of both messages into their states.
#[target_feature(enable = "sha,sse4.1")]
pub(super) fn sha1_two(states: &mut States<u32, 2>, blocks: &Blocks<'_, 2, 64>) {
    let mut abcd = [0, 1].map(|lane| words(&states.0, lane, [0, 1, 2, 3]));
    let mut e = [0, 1].map(|lane| _mm_set_epi32(states.0[4][lane].cast_signed(), 0, 0, 0));
    let swap = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    for index in 0..blocks.count() {
        let (abcd_before, e_before) = (abcd, e);
        // SAFETY: a whole block lies behind each pointer.
        let mut w = unsafe { load(blocks.at(index), swap) };
        // e as `sha1nexte` takes it: the first word of four rounds ago.
        let mut earlier = e;
        for lane in 0..2 {
            let first = _mm_add_epi32(e[lane], w[lane][0]);
            earlier[lane] = abcd[lane];
            abcd[lane] = _mm_sha1rnds4_epu32::<0>(abcd[lane], first);
        }
        for n in 1..5 {
            four_rounds::<0>(n, &mut abcd, &mut earlier, &mut w);
        }
        for n in 5..10 {
            four_rounds::<1>(n, &mut abcd, &mut earlier, &mut w);
        }
        for n in 10..15 {
            four_rounds::<2>(n, &mut abcd, &mut earlier, &mut w);
        }
        for n in 15..20 {
            four_rounds::<3>(n, &mut abcd, &mut earlier, &mut w);
        }
        for lane in 0..2 {
            abcd[lane] = _mm_add_epi32(abcd[lane], abcd_before[lane]);
            e[lane] = _mm_sha1nexte_epu32(earlier[lane], e_before[lane]);
        }
    }
    for lane in 0..2 {
        set_words(&mut states.0, lane, [0, 1, 2, 3], abcd[lane]);
        states.0[4][lane] = _mm_extract_epi32::<3>(e[lane]).cast_unsigned();
    }
}

/// Rounds 4n to 4n + 3 of both messages, n from 1.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn four_rounds<const FUNCTION: i32>(
    n: usize,
    abcd: &mut [__m128i; 2],
    earlier: &mut [__m128i; 2],
    w: &mut [[__m128i; 4]; 2],
) {
    for lane in 0..2 {
        let w = &mut w[lane];
        if n >= 4 {
            let mixed = _mm_sha1msg1_epu32(w[n % 4], w[(n + 1) % 4]);
            let mixed = _mm_xor_si128(mixed, w[(n + 2) % 4]);
            w[n % 4] = _mm_sha1msg2_epu32(mixed, w[(n + 3) % 4]);
        }
        let input = _mm_sha1nexte_epu32(earlier[lane], w[n % 4]);
        earlier[lane] = abcd[lane];
        abcd[lane] = _mm_sha1rnds4_epu32::<FUNCTION>(abcd[lane], input);
    }
}

/// Works the blocks of both messages into their states.
#[target_feature(enable = "sha,sse4.1")]
pub(super) fn sha256_two(states: &mut States<u32, 2>, blocks: &Blocks<'_, 2, 64>) {
    let mut abef = [0, 1].map(|lane| words(&states.0, lane, [0, 1, 4, 5]));
    let mut cdgh = [0, 1].map(|lane| words(&states.0, lane, [2, 3, 6, 7]));
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    for index in 0..blocks.count() {
        let (abef_before, cdgh_before) = (abef, cdgh);
        // SAFETY: a whole block lies behind each pointer.
        let mut w = unsafe { load(blocks.at(index), swap) };
        for (row, constants) in u32::ROUNDS.iter().enumerate() {
            for n in 0..4 {
                let four = &constants.as_chunks::<4>().0[n];
                // SAFETY: four words are 16 bytes.
                let k = unsafe { _mm_loadu_si128(four.as_ptr().cast()) };
                for lane in 0..2 {
                    let w = &mut w[lane];
                    if row > 0 {
                        let between = _mm_alignr_epi8::<4>(w[(n + 3) % 4], w[(n + 2) % 4]);
                        let mixed = _mm_sha256msg1_epu32(w[n], w[(n + 1) % 4]);
                        let mixed = _mm_add_epi32(mixed, between);
                        w[n] = _mm_sha256msg2_epu32(mixed, w[(n + 3) % 4]);
                    }
                    let input = _mm_add_epi32(w[n], k);
                    cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], input);
                    let input = _mm_shuffle_epi32::<0x0e>(input);
                    abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], input);
                }
            }
        }
        for lane in 0..2 {
            abef[lane] = _mm_add_epi32(abef[lane], abef_before[lane]);
            cdgh[lane] = _mm_add_epi32(cdgh[lane], cdgh_before[lane]);
        }
    }
    for lane in 0..2 {
        set_words(&mut states.0, lane, [0, 1, 4, 5], abef[lane]);
        set_words(&mut states.0, lane, [2, 3, 6, 7], cdgh[lane]);
    }
}

/// Both blocks, four words to a register.
///
/// # Safety
/// 64 bytes must be readable behind each pointer.
#[inline]
#[target_feature(enable = "sse4.1")]
unsafe fn load(pointers: [*const u8; 2], swap: __m128i) -> [[__m128i; 4]; 2] {
    let mut blocks = [[swap; 4]; 2];
    for (block, pointer) in blocks.iter_mut().zip(pointers) {
        for (n, words) in block.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let bytes = unsafe { _mm_loadu_si128(pointer.cast::<__m128i>().wrapping_add(n)) };
            *words = _mm_shuffle_epi8(bytes, swap);
        }
    }
    blocks
}

/// Four words of the state of `lane`, the first in the highest place.
#[inline]
#[target_feature(enable = "sse4.1")]
fn words(states: &[[u32; 2]; 8], lane: usize, [a, b, c, d]: [usize; 4]) -> __m128i {
    let word = |n: usize| states[n][lane].cast_signed();
    _mm_set_epi32(word(a), word(b), word(c), word(d))
}

/// The reverse of [`words`].
#[inline]
#[target_feature(enable = "sse4.1")]
fn set_words(states: &mut [[u32; 2]; 8], lane: usize, places: [usize; 4], words: __m128i) {
    let words = [
        _mm_extract_epi32::<3>(words),
        _mm_extract_epi32::<2>(words),
        _mm_extract_epi32::<1>(words),
        _mm_extract_epi32::<0>(words),
    ];
    for (place, word) in places.into_iter().zip(words) {
        states[place][lane] = word.cast_unsigned();
    }
}
