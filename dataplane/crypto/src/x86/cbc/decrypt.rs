//! CBC decryption of one packet: its blocks do not wait for each other, so eight registers of them are in flight.
//!
//! Packets follow each other without interleaving; out-of-order execution overlaps the end of one with the start of the next.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the arms of a match do the same for different numbers of registers"
)]

use super::super::aes::Block;
use super::blocks::{BLOCK, Blocks, Lane};

/// Registers in flight.
const REGISTERS: usize = 8;

/// Decrypts one packet.
///
/// `round_keys`: 11, 13 or 15 of the equivalent inverse cipher, in the order of use.
///
/// # Safety
/// The CPU has the instructions of `V`. The lane's source and the IV, which is the 16 bytes before it, can be read; its destination can
/// be written; source and destination are apart or the same bytes.
#[inline(always)]
pub(super) unsafe fn decrypt<V: Blocks>(round_keys: &[Block], lane: Lane) {
    // SAFETY: the caller's promise.
    let iv = unsafe { lane.source.wrapping_sub(BLOCK).cast::<Block>().read() };
    // SAFETY: the caller's promise.
    let mut before = unsafe { V::broadcast(&iv) };
    let mut rest = lane;
    while rest.blocks > 0 {
        let packet = Rest {
            round_keys,
            before,
            lane: rest,
        };
        // SAFETY: the caller's promise; the registers are no more than the blocks fill.
        before = unsafe {
            match rest.blocks.div_ceil(V::LANES) {
                1 => packet.decrypt::<1>(),
                2 => packet.decrypt::<2>(),
                3 => packet.decrypt::<3>(),
                4 => packet.decrypt::<4>(),
                5 => packet.decrypt::<5>(),
                6 => packet.decrypt::<6>(),
                7 => packet.decrypt::<7>(),
                _ => packet.decrypt::<REGISTERS>(),
            }
        };
        let done = rest.blocks.min(REGISTERS * V::LANES);
        rest = Lane {
            source: rest.source.wrapping_add(done * BLOCK),
            destination: rest.destination.wrapping_add(done * BLOCK),
            blocks: rest.blocks - done,
        };
    }
}

/// What is left of a packet.
struct Rest<'a, V> {
    round_keys: &'a [Block],
    /// Its last block is the ciphertext block before: in place, it is no longer in memory.
    before: V,
    lane: Lane,
}

impl<V: Blocks> Rest<'_, V> {
    /// Decrypts the next `N` registers, the last of which may be filled in part; returns the ciphertext of the last.
    ///
    /// # Safety
    /// As for [`decrypt`]; more than `N − 1` registers of blocks are left.
    #[inline(always)]
    unsafe fn decrypt<const N: usize>(&self) -> V {
        let mut state = [self.before; N];
        for (n, state) in state.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *state = unsafe { self.load::<N>(n, 0) };
        }
        let (first, last) = (state[0], state[N - 1]);
        // SAFETY: the caller's promise.
        unsafe { self.run_rounds(&mut state) };
        // All is read before anything is written: source and destination may be the same bytes.
        for (n, state) in state.iter_mut().enumerate() {
            *state = state.xor(match n {
                0 => first.shifted_after(self.before),
                // SAFETY: the caller's promise.
                _ => unsafe { self.load::<N>(n, BLOCK) },
            });
        }
        for (n, state) in state.iter().enumerate() {
            let to = self.lane.destination.wrapping_add(n * V::LANES * BLOCK);
            // SAFETY: the caller's promise; no more is written than the lane has.
            unsafe {
                match n {
                    _ if n + 1 < N => state.store(to),
                    _ => state.store_first(to, self.lane.left(n * V::LANES)),
                }
            }
        }
        last
    }

    /// Register `n` of the ciphertext that begins `back` bytes earlier.
    ///
    /// # Safety
    /// As for [`Self::decrypt`].
    #[inline(always)]
    unsafe fn load<const N: usize>(&self, n: usize, back: usize) -> V {
        let from = self.lane.source.wrapping_add(n * V::LANES * BLOCK - back);
        // SAFETY: the caller's promise; no more is read than the lane has.
        unsafe {
            match n {
                _ if n + 1 < N => V::load(from),
                _ => V::load_first(from, self.lane.left(n * V::LANES)),
            }
        }
    }

    /// The cipher itself.
    ///
    /// # Safety
    /// As for [`decrypt`].
    #[inline(always)]
    unsafe fn run_rounds<const N: usize>(&self, state: &mut [V; N]) {
        let [whitening, between @ .., last] = self.round_keys else {
            return;
        };
        // SAFETY: the caller's promise.
        let whitening = unsafe { V::broadcast(whitening) };
        for state in state.iter_mut() {
            *state = state.xor(whitening);
        }
        for key in between {
            // SAFETY: the caller's promise.
            let key = unsafe { V::broadcast(key) };
            for state in state.iter_mut() {
                *state = state.decrypt_round(key);
            }
        }
        // SAFETY: the caller's promise.
        let last = unsafe { V::broadcast(last) };
        for state in state.iter_mut() {
            *state = state.decrypt_last(last);
        }
    }
}
