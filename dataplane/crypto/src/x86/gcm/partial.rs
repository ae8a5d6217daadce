//! The last block of a text, for registers without masks: fewer than 16 bytes, worked as two words that may overlap.

use std::arch::x86_64::{__m128i, _mm_loadu_si128};

use super::BLOCK;
use super::keys::{number, vector};

/// As many set bytes as a block has, and as many zeros.
const SET_THEN_ZERO: [u8; 2 * BLOCK] = {
    let mut bytes = [0; 2 * BLOCK];
    let mut n = 0;
    while n < BLOCK {
        bytes[n] = 0xff;
        n += 1;
    }
    bytes
};

/// Sets the first `len` bytes, at most 16.
#[inline]
#[target_feature(enable = "sse4.1")]
pub(super) fn mask(len: usize) -> __m128i {
    let place = SET_THEN_ZERO.as_ptr().wrapping_add(BLOCK - len.min(BLOCK));
    // SAFETY: 16 bytes from one of the first 17 places of 32.
    unsafe { _mm_loadu_si128(place.cast()) }
}

/// Loads `len` bytes, fewer than a block, zeros behind them.
///
/// # Safety
/// `source` has `len` readable bytes.
#[inline]
#[target_feature(enable = "sse4.1")]
pub(super) unsafe fn load(source: *const u8, len: usize) -> __m128i {
    let number = match len {
        // SAFETY: of the caller; the words are no longer than the text, here and below.
        8.. => unsafe { load_words::<8>(source, len) },
        // SAFETY: as above.
        4.. => unsafe { load_words::<4>(source, len) },
        // SAFETY: as above.
        2.. => unsafe { load_words::<2>(source, len) },
        // SAFETY: as above.
        1 => unsafe { load_words::<1>(source, len) },
        0 => 0,
    };
    vector(number)
}

/// Stores the first `len` bytes, fewer than a block.
///
/// # Safety
/// `destination` has `len` writable bytes.
#[inline]
#[target_feature(enable = "sse4.1")]
pub(super) unsafe fn store(destination: *mut u8, block: __m128i, len: usize) {
    let number = number(block);
    match len {
        // SAFETY: of the caller; the words are no longer than the text, here and below.
        8.. => unsafe { store_words::<8>(destination, number, len) },
        // SAFETY: as above.
        4.. => unsafe { store_words::<4>(destination, number, len) },
        // SAFETY: as above.
        2.. => unsafe { store_words::<2>(destination, number, len) },
        // SAFETY: as above.
        1 => unsafe { store_words::<1>(destination, number, len) },
        0 => {}
    }
}

/// Loads the first and the last `WORD` of `len` bytes.
///
/// # Safety
/// `source` has `len` readable bytes, at least `WORD`.
#[inline]
unsafe fn load_words<const WORD: usize>(source: *const u8, len: usize) -> u128 {
    let behind = len - WORD;
    // SAFETY: of the caller.
    let first: [u8; WORD] = unsafe { source.cast::<[u8; WORD]>().read() };
    // SAFETY: as above; the word ends with the text.
    let last: [u8; WORD] = unsafe { source.wrapping_add(behind).cast::<[u8; WORD]>().read() };
    extended(first) | (extended(last) << (8 * behind))
}

/// Stores the first and the last `WORD` of `len` bytes.
///
/// # Safety
/// `destination` has `len` writable bytes, at least `WORD`.
#[inline]
unsafe fn store_words<const WORD: usize>(destination: *mut u8, number: u128, len: usize) {
    let behind = len - WORD;
    let last = destination.wrapping_add(behind);
    // SAFETY: of the caller.
    unsafe { destination.cast::<[u8; WORD]>().write(cut(number)) };
    // SAFETY: as above; the word ends with the text.
    unsafe { last.cast::<[u8; WORD]>().write(cut(number >> (8 * behind))) };
}

/// The number of these bytes, the lowest first.
#[inline]
fn extended<const WORD: usize>(word: [u8; WORD]) -> u128 {
    let mut bytes = [0; BLOCK];
    bytes[..WORD].copy_from_slice(&word);
    u128::from_le_bytes(bytes)
}

/// A number's lowest bytes, the lowest first.
#[inline]
fn cut<const WORD: usize>(number: u128) -> [u8; WORD] {
    let bytes = number.to_le_bytes();
    bytes.first_chunk().copied().unwrap_or([0; WORD])
}
