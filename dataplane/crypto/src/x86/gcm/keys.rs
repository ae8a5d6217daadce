//! Expanded keys: powers of H, then round keys, in as few cache lines as possible.

use std::arch::x86_64::{
    __m128i, _MM_HINT_T0, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_clmulepi64_si128,
    _mm_cvtsi128_si64, _mm_extract_epi64, _mm_prefetch, _mm_set_epi64x, _mm_shuffle_epi32,
    _mm_xor_si128,
};

use zeroize::Zeroize;

use super::{FOLD, POWERS, Tier, load_block};
use crate::suite::AesKey;
use crate::x86::aes::{Block, expand_key};

/// Bytes of salt behind the AES key.
const SALT_LEN: usize = 4;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Cache lines of the powers above H⁸, which short texts do not need.
const LINES_OF_HIGH_POWERS: usize = POWERS / 2 * 16 / LINE;

/// Expanded keys of one SA, either direction, with `N` round keys.
///
/// 448 bytes for AES-128, 512 for the longer keys; a packet of 64 bytes touches five lines of them.
#[repr(C, align(64))]
pub(crate) struct Schedule<const N: usize> {
    /// H¹⁶ to H, each as a little-endian number.
    pub(super) powers: [Block; POWERS],
    /// Round keys; the salt is worked into the first four bytes of the first.
    pub(super) round_keys: [Block; N],
}

const _: () = assert!(size_of::<Schedule<11>>() == 448 && size_of::<Schedule<15>>() == 512);

impl<const N: usize> Schedule<N> {
    /// Expands AES key ‖ salt, if it is of this length, on a CPU of `_tier`.
    pub(in crate::x86) fn new(_tier: Tier, len: AesKey, key: &[u8]) -> Option<Box<Self>> {
        let (key, salt) = key.split_at_checked(len.len())?;
        let salt = salt.try_into().ok()?;
        // The schedule is made in its box, so that no copy is left elsewhere.
        let mut schedule = Box::new(Self {
            powers: [[0; 16]; POWERS],
            round_keys: [[0; 16]; N],
        });
        // SAFETY: 1: there is a tier, and each has these instructions.
        unsafe { schedule.fill(key, salt) };
        Some(schedule)
    }

    /// Expands the key, then H and its powers, then works the salt in.
    #[target_feature(enable = "aes,pclmulqdq,sse4.1")]
    fn fill(&mut self, key: &[u8], salt: [u8; SALT_LEN]) {
        expand_key(key, &mut self.round_keys);
        let h = times_x(u128::from_be_bytes(self.encrypt([0; 16])));
        let mut power = h;
        for place in self.powers.iter_mut().rev() {
            *place = power.to_le_bytes();
            power = multiply(power, h);
        }
        for (byte, salt) in self.round_keys[0].iter_mut().zip(salt) {
            *byte ^= salt;
        }
    }

    /// One AES block.
    #[target_feature(enable = "aes,pclmulqdq,sse4.1")]
    fn encrypt(&self, block: Block) -> Block {
        let (last, others) = self.round_keys.split_last().unwrap_or((&block, &[]));
        let mut state = vector(u128::from_le_bytes(block));
        for (round, key) in others.iter().enumerate() {
            let key = vector(u128::from_le_bytes(*key));
            state = if round == 0 {
                _mm_xor_si128(state, key)
            } else {
                _mm_aesenc_si128(state, key)
            };
        }
        let key = vector(u128::from_le_bytes(*last));
        number(_mm_aesenclast_si128(state, key)).to_le_bytes()
    }

    /// Hash of additional data of any length: what stands in block 0.
    #[cold]
    #[inline(never)]
    #[target_feature(enable = "aes,pclmulqdq,sse4.1")]
    pub(super) fn hash_of(&self, aad: &[u8]) -> u128 {
        let h = u128::from_le_bytes(self.powers[POWERS - 1]);
        let (blocks, rest) = aad.as_chunks::<16>();
        let mut padded = [0; 16];
        padded[..rest.len()].copy_from_slice(rest);
        let last = (!rest.is_empty()).then_some(&padded);
        let mut blocks = blocks.iter().chain(last);
        let first = blocks.next().map_or(0, |block| u128::from_be_bytes(*block));
        blocks.fold(first, |hash, block| {
            multiply(hash, h) ^ u128::from_be_bytes(*block)
        })
    }

    /// Round key `n`.
    #[inline]
    pub(super) fn round_key(&self, n: usize) -> __m128i {
        load_block(&self.round_keys[n])
    }

    /// H to the power `n`, from 1 to 16.
    #[inline]
    pub(super) fn power(&self, n: usize) -> __m128i {
        load_block(&self.powers[POWERS - n])
    }

    /// Where H to the power `n` lies, from 1 to 16; those below follow, then round keys.
    #[inline]
    pub(super) const fn powers(&self, n: usize) -> *const u8 {
        std::ptr::from_ref(self)
            .cast::<u8>()
            .wrapping_add((POWERS - n) * 16)
    }

    /// The block of counter 1, encrypted, which masks the tag; `base` is the first round key with the nonce worked in.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,sse4.1")]
    pub(super) fn encrypt_first_counter(&self, base: __m128i) -> __m128i {
        let mut state = _mm_xor_si128(base, vector(1_u128.swap_bytes()));
        for n in 1..N - 1 {
            state = _mm_aesenc_si128(state, self.round_key(n));
        }
        _mm_aesenclast_si128(state, self.round_key(N - 1))
    }

    /// Asks the CPU to fetch the round keys and the powers for `len` bytes.
    #[inline]
    pub(crate) fn prefetch(&self, len: usize) {
        let blocks = len.div_ceil(16) + 2;
        if blocks > POWERS / 2 {
            self.prefetch_lines(0, LINES_OF_HIGH_POWERS);
        }
        self.prefetch_lines(LINES_OF_HIGH_POWERS, size_of::<Self>() / LINE);
    }

    #[inline]
    fn prefetch_lines(&self, first: usize, end: usize) {
        let start = std::ptr::from_ref(self).cast::<i8>();
        for line in first..end {
            // SAFETY: a hint, which reads nothing as far as the program can tell.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(line * LINE)) };
        }
    }
}

impl<const N: usize> Drop for Schedule<N> {
    fn drop(&mut self) {
        self.powers.zeroize();
        self.round_keys.zeroize();
    }
}

/// H shifted by the bit that products are too low.
const fn times_x(h: u128) -> u128 {
    let carry = h >> 127;
    (h << 1) ^ (carry * (((FOLD as u128) << 64) | 1))
}

/// Product in the field, of numbers as the module describes.
#[target_feature(enable = "aes,pclmulqdq,sse4.1")]
fn multiply(a: u128, b: u128) -> u128 {
    let (a, b) = (vector(a), vector(b));
    let fold = vector(u128::from(FOLD));
    let low = _mm_clmulepi64_si128::<0x00>(a, b);
    let high = _mm_clmulepi64_si128::<0x11>(a, b);
    let middle = _mm_xor_si128(
        _mm_clmulepi64_si128::<0x01>(a, b),
        _mm_clmulepi64_si128::<0x10>(a, b),
    );
    let middle = _mm_xor_si128(middle, reduce_word(low, fold));
    number(_mm_xor_si128(high, reduce_word(middle, fold)))
}

/// Takes the low word away: what it and the high word are worth one word higher.
#[target_feature(enable = "aes,pclmulqdq,sse4.1")]
fn reduce_word(part: __m128i, fold: __m128i) -> __m128i {
    _mm_xor_si128(
        _mm_shuffle_epi32::<0b01_00_11_10>(part),
        _mm_clmulepi64_si128::<0x00>(part, fold),
    )
}

/// The number in a register.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn vector(number: u128) -> __m128i {
    let [low, high] = halves(number);
    _mm_set_epi64x(high.cast_signed(), low.cast_signed())
}

/// Its low and high word.
#[expect(clippy::cast_possible_truncation, reason = "halves are meant")]
const fn halves(number: u128) -> [u64; 2] {
    [number as u64, (number >> 64) as u64]
}

/// The register's number.
#[inline]
#[target_feature(enable = "sse4.1")]
pub(super) fn number(vector: __m128i) -> u128 {
    let low = _mm_cvtsi128_si64(vector).cast_unsigned();
    let high = _mm_extract_epi64::<1>(vector).cast_unsigned();
    (u128::from(high) << 64) | u128::from(low)
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use super::*;

    #[test]
    fn a_dropped_schedule_is_zero() {
        for tier in Tier::available() {
            let schedule = Schedule::<11>::new(tier, AesKey::Bits128, &[7; 20]).unwrap();
            let mut place = MaybeUninit::new(*schedule);
            let bytes = place
                .as_ptr()
                .cast::<[u8; size_of::<[Block; POWERS + 11]>()]>();
            // SAFETY: the place holds a schedule, and its powers and round keys are the bytes at its beginning.
            let before = unsafe { bytes.read() };
            // SAFETY: it is dropped once.
            unsafe { place.assume_init_drop() };
            // SAFETY: the place is still there, and the drop left it written.
            let after = unsafe { bytes.read() };
            assert!(
                before
                    .as_chunks::<16>()
                    .0
                    .iter()
                    .all(|block| *block != [0; 16])
            );
            assert!(after.iter().all(|byte| *byte == 0));
        }
    }
}
