//! The anti-replay window of an inbound SA (RFC 4303 §3.4.3, appendix A without extended sequence numbers).
//!
//! ```text
//!            seen or not: one bit each, at sequence mod width
//!   too old │◄───────────── width ─────────────►│ right of the window: accepted, and moves it
//! ──────────┴───────────────────────────────────┴──────────────►  sequence number
//!                                              top
//! ```
//! The bits and `top` live in memory that outlives the process, so the order of stores matters: `top` moves before bits are
//! cleared, so that a process that dies in between has refused too much, never too little.

use std::sync::atomic::{Ordering, compiler_fence};

/// Narrowest window in packets (RFC 4303 §3.4.3).
pub const MIN_WIDTH: u16 = 64;
/// Widest window in packets.
pub const MAX_WIDTH: u16 = 8_192;

/// Why a sequence number is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Zero is never sent.
    Zero,
    /// It was accepted before.
    Duplicate,
    /// It is left of the window.
    TooOld,
}

/// Where an accepted sequence number stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// It is the highest so far.
    Newest,
    /// It is within the window.
    Late,
}

/// A view of a window's memory: 64 packets for each of its words.
#[derive(Debug)]
pub struct Window<'a> {
    top: &'a mut u32,
    words: &'a mut [u64],
}

impl<'a> Window<'a> {
    /// Views `words`, 1 to 128 and a power of two, as a window of `64 · words.len()` packets whose highest accepted sequence number is `top`.
    pub const fn new(top: &'a mut u32, words: &'a mut [u64]) -> Self {
        Self { top, words }
    }

    /// Whether `sequence` may still be accepted; changes nothing.
    ///
    /// # Errors
    /// A [`Refusal`] says why not.
    #[inline]
    pub fn check(&self, sequence: u32) -> Result<(), Refusal> {
        if sequence == 0 {
            return Err(Refusal::Zero);
        }
        if sequence > *self.top {
            return Ok(());
        }
        if *self.top - sequence >= self.width() {
            return Err(Refusal::TooOld);
        }
        let (word, bit) = self.place(sequence);
        match self.words.get(word) {
            Some(bits) if bits & bit == 0 => Ok(()),
            Some(_) | None => Err(Refusal::Duplicate),
        }
    }

    /// Accepts `sequence` for good; to be called only after its ICV verified.
    ///
    /// # Errors
    /// As [`Window::check`], which a packet of the same burst may have made out of date.
    #[inline]
    pub fn mark(&mut self, sequence: u32) -> Result<Marked, Refusal> {
        self.check(sequence)?;
        let marked = if sequence > *self.top {
            let before = *self.top;
            *self.top = sequence;
            compiler_fence(Ordering::SeqCst);
            self.clear_after(before, sequence - before);
            Marked::Newest
        } else {
            Marked::Late
        };
        let (word, bit) = self.place(sequence);
        if let Some(bits) = self.words.get_mut(word) {
            *bits |= bit;
        }
        Ok(marked)
    }

    #[inline]
    const fn width(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "at most 128 words")]
        let words = self.words.len() as u32;
        words * 64
    }

    /// The width is a power of two, so this is the remainder.
    #[inline]
    const fn place(&self, sequence: u32) -> (usize, u64) {
        let at = sequence & self.width().wrapping_sub(1);
        ((at / 64) as usize, 1 << (at % 64))
    }

    /// Clears the bits of the `count` sequence numbers after `before`.
    fn clear_after(&mut self, before: u32, count: u32) {
        let width = self.width();
        if count >= width {
            self.words.fill(0);
            return;
        }
        let mut at = before.wrapping_add(1) & (width - 1);
        let mut left = count;
        while left > 0 {
            let in_word = (64 - at % 64).min(left);
            let mask = (u64::MAX >> (64 - in_word)) << (at % 64);
            if let Some(bits) = self.words.get_mut((at / 64) as usize) {
                *bits &= !mask;
            }
            at = (at + in_word) & (width - 1);
            left -= in_word;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    struct Memory {
        top: u32,
        words: Vec<u64>,
    }

    impl Memory {
        fn new(width: u32) -> Self {
            Self {
                top: 0,
                words: vec![0; (width / 64) as usize],
            }
        }

        fn mark(&mut self, sequence: u32) -> Result<Marked, Refusal> {
            Window::new(&mut self.top, &mut self.words).mark(sequence)
        }

        fn check(&mut self, sequence: u32) -> Result<(), Refusal> {
            Window::new(&mut self.top, &mut self.words).check(sequence)
        }
    }

    /// THREATS E1, as a table: what each sequence number gets after those before it.
    #[test]
    fn the_table_of_e1_holds_for_narrow_and_wide_windows() {
        for width in [64, 1_024, 8_192] {
            let start = 3 * width;
            let table = [
                (0, Err(Refusal::Zero)),
                (1, Ok(Marked::Newest)),
                (1, Err(Refusal::Duplicate)),
                (2, Ok(Marked::Newest)),
                (start, Ok(Marked::Newest)),
                (2, Err(Refusal::TooOld)),
                (start - width, Err(Refusal::TooOld)),
                (start - width + 1, Ok(Marked::Late)),
                (start - width + 1, Err(Refusal::Duplicate)),
                (start + 1, Ok(Marked::Newest)),
                (start - width + 1, Err(Refusal::TooOld)),
                (start + 1 + (width - 1), Ok(Marked::Newest)),
                (start + 1, Err(Refusal::Duplicate)),
                (start + 2, Ok(Marked::Late)),
                (start + 2 * width, Ok(Marked::Newest)),
                (start + width, Err(Refusal::TooOld)),
                (start + width + 1, Ok(Marked::Late)),
                (start + 3 * width + 1, Ok(Marked::Newest)),
                (start + 2 * width + 2, Ok(Marked::Late)),
                (1 << 31, Ok(Marked::Newest)),
                (start, Err(Refusal::TooOld)),
                (u32::MAX, Ok(Marked::Newest)),
                (u32::MAX, Err(Refusal::Duplicate)),
                (u32::MAX - 1, Ok(Marked::Late)),
                (0, Err(Refusal::Zero)),
                (1, Err(Refusal::TooOld)),
            ];
            let mut memory = Memory::new(width);
            for (step, (sequence, expected)) in table.into_iter().enumerate() {
                assert_eq!(
                    memory.mark(sequence),
                    expected,
                    "width {width}, step {step}"
                );
            }
        }
    }

    #[test]
    fn reverse_order_is_accepted_once_over_the_whole_width() {
        let mut memory = Memory::new(1_024);
        assert_eq!(memory.mark(1_024), Ok(Marked::Newest));
        for sequence in (1..1_024).rev() {
            assert_eq!(memory.mark(sequence), Ok(Marked::Late));
            assert_eq!(memory.mark(sequence), Err(Refusal::Duplicate));
        }
    }

    #[test]
    fn a_check_alone_changes_nothing() {
        let mut memory = Memory::new(64);
        assert_eq!(memory.check(9), Ok(()));
        assert_eq!(memory.check(9), Ok(()));
        assert_eq!((memory.top, memory.words[0]), (0, 0));
    }

    proptest! {
        /// Against a set of everything accepted and the highest of it.
        #[test]
        fn the_window_agrees_with_a_plain_model(
            words in (0_u32..=5).prop_map(|power| 1 << power),
            steps in proptest::collection::vec((any::<u16>(), 0_u8..8), 1..400),
        ) {
            let width = 64 * words;
            let mut memory = Memory::new(width);
            let (mut seen, mut top) = (HashSet::new(), 0_u32);
            for (value, kind) in steps {
                let sequence = match kind {
                    0 => u32::from(value),
                    1 => top.wrapping_add(u32::from(value) % (3 * width)),
                    _ => (top + 8).saturating_sub(u32::from(value) % (width + 16)),
                };
                let expected = if sequence == 0 {
                    Err(Refusal::Zero)
                } else if sequence + width <= top {
                    Err(Refusal::TooOld)
                } else if !seen.insert(sequence) {
                    Err(Refusal::Duplicate)
                } else if sequence > top {
                    top = sequence;
                    Ok(Marked::Newest)
                } else {
                    Ok(Marked::Late)
                };
                prop_assert_eq!(memory.mark(sequence), expected);
            }
        }
    }
}
