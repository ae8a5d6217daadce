//! SHA-1 of many messages side by side (FIPS 180-4 §6.1.2).

use super::lanes::{Blocks, Lanes, States};

/// The constants of rounds 0–19, 20–39, 40–59 and 60–79 (FIPS 180-4 §4.2.1).
const K: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

/// Works the blocks of each message into its state.
///
/// # Safety
/// The CPU must have the instructions that `L` is made for.
#[inline(always)]
pub(super) unsafe fn compress<L: Lanes<N, Word = u32>, const N: usize, const LEN: usize>(
    states: &mut States<u32, N>,
    blocks: &Blocks<'_, N, LEN>,
) {
    const { assert!(LEN == 64) };
    // SAFETY: the caller's promise.
    let mut state: [L; 5] = std::array::from_fn(|n| unsafe { L::load(&states.0[n]) });
    for index in 0..blocks.count() {
        let pointers = blocks.at(index);
        // SAFETY: the caller's promise; a whole block lies behind each pointer.
        let words = unsafe { L::transpose(&pointers) };
        let worked = rounds(state, words);
        for (sum, lanes) in state.iter_mut().zip(worked) {
            *sum = sum.add(lanes);
        }
    }
    for (lanes, words) in state.iter().zip(&mut states.0) {
        lanes.store(words);
    }
}

/// Calls rounds `$first` to `$first + 15`, each with its number known to the compiler.
macro_rules! sixteen_rounds {
    ($first:literal, $state:ident, $words:ident) => {
        sixteen_rounds!($first, $state, $words, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($first:literal, $state:ident, $words:ident, $($n:literal)*) => {
        $(round::<L, N, { $first + $n }>(&mut $state, &mut $words);)*
    };
}

#[inline(always)]
fn rounds<L: Lanes<N, Word = u32>, const N: usize>(
    mut state: [L; 5],
    mut words: [L; 16],
) -> [L; 5] {
    sixteen_rounds!(0, state, words);
    sixteen_rounds!(16, state, words);
    sixteen_rounds!(32, state, words);
    sixteen_rounds!(48, state, words);
    sixteen_rounds!(64, state, words);
    state
}

#[inline(always)]
fn round<L: Lanes<N, Word = u32>, const N: usize, const T: usize>(
    state: &mut [L; 5],
    words: &mut [L; 16],
) {
    if T >= 16 {
        words[T % 16] = words[(T + 13) % 16]
            .xor3(words[(T + 8) % 16], words[(T + 2) % 16])
            .xor(words[T % 16])
            .rotate_right(31);
    }
    let [a, b, c, d, e] = *state;
    let mixed = match T / 20 {
        0 => b.choose(c, d),
        2 => b.majority(c, d),
        _ => b.xor3(c, d),
    };
    // What waits for nothing first, what waits for the round before last.
    let next = words[T % 16]
        .add_word(K[T / 20])
        .add(e)
        .in_order()
        .add(mixed)
        .in_order()
        .add(a.rotate_right(27));
    *state = [next, a, b.rotate_right(2), c, d];
}
