//! Two registers as one: their instructions alternate, and the latency of one is spent on the other.

use super::lanes::Lanes;

/// The lanes of both registers.
#[derive(Clone, Copy)]
pub(super) struct Two<L>([L; 2]);

macro_rules! twice {
    ($half:literal, $whole:literal) => {
        impl<L: Lanes<$half>> Lanes<$whole> for Two<L> {
            type Word = L::Word;

            #[inline(always)]
            unsafe fn load(words: &[L::Word; $whole]) -> Self {
                let [first, second] = halves(words);
                // SAFETY: the caller's promise.
                let first = unsafe { L::load(first) };
                // SAFETY: the caller's promise.
                let second = unsafe { L::load(second) };
                Self([first, second])
            }

            #[inline(always)]
            fn store(self, words: &mut [L::Word; $whole]) {
                let (halves, _) = words.as_chunks_mut();
                for (lanes, half) in self.0.into_iter().zip(halves) {
                    lanes.store(half);
                }
            }

            #[inline(always)]
            unsafe fn transpose(blocks: &[*const u8; $whole]) -> [Self; 16] {
                let [first, second] = halves(blocks);
                // SAFETY: the caller's promise.
                let first = unsafe { L::transpose(first) };
                // SAFETY: the caller's promise.
                let second = unsafe { L::transpose(second) };
                let mut lanes = [Self([first[0], second[0]]); 16];
                for n in 1..16 {
                    lanes[n] = Self([first[n], second[n]]);
                }
                lanes
            }

            #[inline(always)]
            fn joined(self, other: Self) -> [Self; 2] {
                let [first, other_first] = self.0[0].joined(other.0[0]);
                let [second, other_second] = self.0[1].joined(other.0[1]);
                [Self([first, second]), Self([other_first, other_second])]
            }

            #[inline(always)]
            fn in_step(self) -> Self {
                Self(self.0[0].joined(self.0[1]))
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                Self([self.0[0].add(other.0[0]), self.0[1].add(other.0[1])])
            }

            #[inline(always)]
            fn add_word(self, word: L::Word) -> Self {
                Self([self.0[0].add_word(word), self.0[1].add_word(word)])
            }

            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                Self([self.0[0].xor(other.0[0]), self.0[1].xor(other.0[1])])
            }

            #[inline(always)]
            fn xor3(self, second: Self, third: Self) -> Self {
                Self([
                    self.0[0].xor3(second.0[0], third.0[0]),
                    self.0[1].xor3(second.0[1], third.0[1]),
                ])
            }

            #[inline(always)]
            fn rotate_right(self, bits: u32) -> Self {
                Self([self.0[0].rotate_right(bits), self.0[1].rotate_right(bits)])
            }

            #[inline(always)]
            fn shift_right(self, bits: u32) -> Self {
                Self([self.0[0].shift_right(bits), self.0[1].shift_right(bits)])
            }

            #[inline(always)]
            fn choose(self, then: Self, otherwise: Self) -> Self {
                Self([
                    self.0[0].choose(then.0[0], otherwise.0[0]),
                    self.0[1].choose(then.0[1], otherwise.0[1]),
                ])
            }

            #[inline(always)]
            fn majority(self, second: Self, third: Self) -> Self {
                Self([
                    self.0[0].majority(second.0[0], third.0[0]),
                    self.0[1].majority(second.0[1], third.0[1]),
                ])
            }
        }
    };
}

twice!(4, 8);
twice!(8, 16);
twice!(16, 32);

/// The lower and the upper half of the lanes.
#[inline(always)]
fn halves<T, const HALF: usize, const WHOLE: usize>(lanes: &[T; WHOLE]) -> [&[T; HALF]; 2] {
    const { assert!(WHOLE == 2 * HALF) };
    let (halves, _) = lanes.as_chunks();
    [&halves[0], &halves[1]]
}
