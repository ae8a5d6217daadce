//! AES-GCM in ESP (RFC 4106) with AES and carry-less multiplication instructions, at three widths: 1, 2 or 4 blocks in a register.
//!
//! Every width works a packet alike, here one of n blocks in registers of four lanes. The tag mask is counter 1 encrypted (J0, NIST SP 800-38D
//! §7.1). The hash begins with the additional data A and ends with the lengths L, a block each, so they are multiplied for themselves:
//!
//! ```text
//! counter    1  |  2    3    4    5  |  6    7   …  n+1  |
//! text       –  |  P1   P2   P3   P4 |  P5   P6  …  Pn   |  –
//! hash       A  |  C1   C2   C3   C4 |  C5   C6  …  Cn   |  L
//!          × H^(n+2)  H^(n+1)     …           H³    H²      H
//! ```
//!
//! Up to 14 blocks of text the powers suffice for one reduction. A longer text is worked in groups, for which the hash is carried along, and what
//! is left is worked as above with the hash in the place of A. Within the groups each lane carries a hash of its own:
//!
//! ```text
//! lane          0        1        2        3
//! register 1    C1       C2       C3       C4        × H¹⁶, all lanes
//! register 2    C5       C6       C7       C8        × H¹²
//! register 3    C9       C10      C11      C12       × H⁸
//! register 4    C13      C14      C15      C16       × H⁴       last group: × H¹⁶ H¹⁵ … H, and the lanes summed
//!               ↓        ↓        ↓        ↓
//! next group    C17 ^ …  C18 ^ …  C19 ^ …  C20 ^ …
//! ```
//!
//! **GHASH.** NIST writes the polynomial's bits in reverse order. Each block's bytes are reversed, so that a block is a little-endian number whose
//! bit 127−i is the coefficient of xⁱ. Carry-less products of such numbers come out one bit too low; H is stored shifted by one bit for that
//! (multiplied by x, as POLYVAL does in RFC 8452 appendix A). Products are summed as three parts of 128 bits, low, middle and high:
//!
//! ```text
//! a × b  =  high·2¹²⁸ ^ middle·2⁶⁴ ^ low        low = a₀b₀   middle = (a₀ ^ a₁)(b₀ ^ b₁) ^ low ^ high   high = a₁b₁
//! ```
//!
//! **Reduction** takes 64 bits away at the low end, twice: the modulus is 2¹²⁸ + [`FOLD`]·2⁶⁴ + 1 in this order of bits, so a low word w may be
//! replaced by w·2¹²⁸ ^ w·`FOLD`·2⁶⁴. Of `low`, its low word goes to the high half and the product joins the middle; then the same with the
//! middle's low word, and what is left stands in the place of `high`.

mod aesni;
mod algorithm;
mod avx512;
mod burst;
mod keys;
mod partial;
mod vaes;

use std::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8};

pub(crate) use keys::Schedule;

use super::{Level, Tier};
use crate::engine::Opened;
use crate::op::{OpenOp, SealOp};

/// Powers of H in a context, and most blocks with one reduction.
const POWERS: usize = 16;

/// Bytes of a block, and of the ICV.
const BLOCK: usize = 16;

/// Bytes of IV on the wire.
const IV_LEN: usize = 8;

/// Bytes of IV and ICV.
const AROUND: usize = IV_LEN + BLOCK;

/// Upper word of the reduction polynomial x¹²⁸ + x¹²⁷ + x¹²⁶ + x¹²¹ + 1.
const FOLD: u64 = 0xc200_0000_0000_0000;

/// Puts the bytes of a block in reverse order.
const REVERSED: Order = Order([15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);

/// Puts the last four bytes of a block, its counter, in reverse order.
const COUNTER_REVERSED: Order = Order([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 14, 13, 12]);

/// Where each byte of a block comes from.
struct Order([u8; BLOCK]);

impl Order {
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn vector(&self) -> __m128i {
        load_block(&self.0)
    }
}

#[inline]
fn load_block(block: &[u8; BLOCK]) -> __m128i {
    // SAFETY: 16 bytes of an array of 16; every x86-64 CPU has the instruction.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}

/// One packet, whichever the direction.
#[derive(Clone, Copy)]
struct Packet<'a> {
    aad: &'a [u8],
    /// The first 8 bytes of the IV as they are sent.
    iv: u64,
    /// `len` readable bytes.
    source: *const u8,
    /// `len` writable bytes.
    destination: *mut u8,
    len: usize,
}

impl Packet<'_> {
    /// The lengths as they are hashed, in bits.
    const fn lengths(&self) -> u128 {
        ((self.aad.len() as u128 * 8) << 64) | (self.len as u128 * 8)
    }

    /// Additional data of one block as a number, or none; `None` if there are more.
    fn short_aad(&self) -> Option<u128> {
        match self.aad.len() {
            8 => {
                let low: [u8; 8] = self.aad.try_into().ok()?;
                Some(u128::from(u64::from_be_bytes(low)) << 64)
            }
            12 => {
                let (high, low) = self.aad.split_first_chunk::<8>()?;
                let low: [u8; 4] = low.try_into().ok()?;
                let high = u128::from(u64::from_be_bytes(*high)) << 64;
                Some(high | (u128::from(u32::from_be_bytes(low)) << 32))
            }
            _ => None,
        }
    }
}

/// Seals the packets of a burst that are AES-GCM's; whether there are others.
pub(super) fn seal_burst(tier: Tier, ops: &mut [SealOp<'_>]) -> bool {
    match tier.0 {
        // SAFETY: 1: of this tier.
        Level::AesNi => unsafe { aesni::seal_burst(ops) },
        // SAFETY: as above.
        Level::Vaes => unsafe { vaes::seal_burst(ops) },
        // SAFETY: as above.
        Level::Avx512 => unsafe { avx512::seal_burst(ops) },
    }
}

/// Verifies and opens the packets of a burst that are AES-GCM's; whether there are others.
pub(super) fn open_burst(tier: Tier, ops: &mut [OpenOp<'_>], opened: &mut Opened) -> bool {
    match tier.0 {
        // SAFETY: 1: of this tier.
        Level::AesNi => unsafe { aesni::open_burst(ops, opened) },
        // SAFETY: as above.
        Level::Vaes => unsafe { vaes::open_burst(ops, opened) },
        // SAFETY: as above.
        Level::Avx512 => unsafe { avx512::open_burst(ops, opened) },
    }
}

/// Compares all 16 bytes at once.
#[inline]
#[target_feature(enable = "sse2")]
fn is_same(tag: __m128i, icv: __m128i) -> bool {
    _mm_movemask_epi8(_mm_cmpeq_epi8(tag, icv)) == 0xffff
}
