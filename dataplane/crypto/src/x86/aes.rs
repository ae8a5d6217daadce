//! AES key schedule with AES-NI (FIPS 197 §5.2), for keys of 16, 24 and 32 bytes; no table, no branch on the key.

use std::arch::x86_64::{
    _mm_aesenclast_si128, _mm_cvtsi128_si32, _mm_set1_epi32, _mm_setzero_si128,
};

/// One AES block, or one round key.
pub(super) type Block = [u8; 16];

/// Fills `round_keys` with the schedule of `key`: 11, 13 or 15 round keys for 16, 24 or 32 bytes.
#[target_feature(enable = "aes,sse4.1")]
pub(super) fn expand_key(key: &[u8], round_keys: &mut [Block]) {
    let (key_words, _) = key.as_chunks::<4>();
    let period = key_words.len();
    let (words, _) = round_keys.as_flattened_mut().as_chunks_mut::<4>();
    let mut constant = 1_u8;
    for n in 0..words.len() {
        let Some(earlier) = n.checked_sub(period) else {
            words[n] = key_words[n];
            continue;
        };
        let mut last = u32::from_le_bytes(words[n - 1]);
        if n.is_multiple_of(period) {
            last = substitute(last).rotate_right(8) ^ u32::from(constant);
            constant = (constant << 1) ^ ((constant >> 7) * 0x1b);
        } else if period > 6 && n % period == 4 {
            last = substitute(last);
        }
        words[n] = (u32::from_le_bytes(words[earlier]) ^ last).to_le_bytes();
    }
}

/// The S-box on each byte of a word. With four equal columns the shift of rows changes nothing.
#[target_feature(enable = "aes,sse4.1")]
fn substitute(word: u32) -> u32 {
    let columns = _mm_set1_epi32(word.cast_signed());
    _mm_cvtsi128_si32(_mm_aesenclast_si128(columns, _mm_setzero_si128())).cast_unsigned()
}
