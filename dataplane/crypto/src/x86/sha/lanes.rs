//! What the round functions need of a vector register.

use zeroize::Zeroize;

use super::Word;

/// One word of each of `N` messages, in one register.
///
/// A value is proof that the CPU has the instructions: only [`Lanes::load`] and [`Lanes::transpose`] make one from nothing, and
/// whoever calls them has checked.
pub(super) trait Lanes<const N: usize>: Copy {
    /// 4 or 8 bytes.
    type Word: Word;

    /// Takes word n for message n.
    ///
    /// # Safety
    /// The CPU must have the instructions that the type is made for.
    unsafe fn load(words: &[Self::Word; N]) -> Self;

    /// Gives word n of message n.
    fn store(self, words: &mut [Self::Word; N]);

    /// Reads one block of each message, 16 big-endian words: register n holds word n of all of them.
    ///
    /// # Safety
    /// As for [`Lanes::load`]; and 16 words must be readable behind each pointer, however aligned.
    unsafe fn transpose(blocks: &[*const u8; N]) -> [Self; 16];

    fn add(self, other: Self) -> Self;
    fn add_word(self, word: Self::Word) -> Self;
    fn xor(self, other: Self) -> Self;
    fn xor3(self, second: Self, third: Self) -> Self;

    /// Unchanged, but the compiler moves no addition across, and so keeps the shortest way through a round.
    fn in_order(self) -> Self;

    fn rotate_right(self, bits: u32) -> Self;
    fn shift_right(self, bits: u32) -> Self;

    /// The bits of `then` where this has ones, those of `otherwise` where it has zeros: Ch (FIPS 180-4 §4.1).
    fn choose(self, then: Self, otherwise: Self) -> Self;

    /// The bits that at least two have: Maj (FIPS 180-4 §4.1).
    fn majority(self, second: Self, third: Self) -> Self;
}

/// States of `N` messages: row n holds word n of all of them; SHA-1 uses five rows.
#[repr(align(64))]
pub(super) struct States<W: Word, const N: usize>(pub(super) [[W; N]; 8]);

impl<W: Word, const N: usize> States<W, N> {
    pub(super) fn new() -> Self {
        Self([[W::default(); N]; 8])
    }

    /// Sets the state of message `lane`.
    pub(super) fn set(&mut self, lane: usize, state: &[W]) {
        for (row, word) in self.0.iter_mut().zip(state) {
            row[lane] = *word;
        }
    }

    /// Copies the state of message `lane` out.
    pub(super) fn get(&self, lane: usize, state: &mut [W]) {
        for (row, word) in self.0.iter().zip(state) {
            *word = row[lane];
        }
    }
}

impl<W: Word, const N: usize> Drop for States<W, N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Equally many blocks of `LEN` bytes of each of `N` messages.
pub(super) struct Blocks<'a, const N: usize, const LEN: usize> {
    messages: [&'a [[u8; LEN]]; N],
    count: usize,
}

impl<'a, const N: usize, const LEN: usize> Blocks<'a, N, LEN> {
    /// As many blocks as the shortest message has.
    pub(super) fn new(messages: [&'a [[u8; LEN]]; N]) -> Self {
        let lengths = messages.iter().map(|message| message.len());
        let count = lengths.min().unwrap_or(0);
        Self { messages, count }
    }

    /// How many each has.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Where block `index` of each begins.
    pub(super) fn at(&self, index: usize) -> [*const u8; N] {
        let mut pointers = [std::ptr::null(); N];
        for (pointer, message) in pointers.iter_mut().zip(&self.messages) {
            *pointer = message.as_ptr().wrapping_add(index).cast();
        }
        pointers
    }
}
