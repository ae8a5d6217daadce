//! Which kernel works a burst.

use super::lanes::{Blocks, States};
use super::{Hash, Mac, Width, alone, avx2, avx512, burst, ni, sha1, sha2};

/// Declares one kernel: a compression function for registers of one kind.
macro_rules! kernel {
    ($name:ident, $features:literal, $hash:ident, $lanes:ty, $word:ty, $n:literal, $len:literal) => {
        fn $name<H: Hash<Word = $word>>(macs: &mut [Mac<'_, H>]) {
            #[target_feature(enable = $features)]
            fn compress(states: &mut States<$word, $n>, blocks: &Blocks<'_, $n, $len>) {
                // SAFETY: the function's target features.
                unsafe { $hash::compress::<$lanes, $n, $len>(states, blocks) }
            }
            burst::work(macs, |states, blocks| {
                // SAFETY: the CPU has been asked.
                unsafe { compress(states, blocks) }
            });
        }
    };
}

kernel!(sha1_16, "avx512f,avx512bw", sha1, avx512::Words16, u32, 16, 64);
kernel!(sha1_8, "avx2", sha1, avx2::Words8, u32, 8, 64);
kernel!(sha256_16, "avx512f,avx512bw", sha2, avx512::Words16, u32, 16, 64);
kernel!(sha256_8, "avx2", sha2, avx2::Words8, u32, 8, 64);
kernel!(sha512_8, "avx512f,avx512bw", sha2, avx512::Words8, u64, 8, 128);
kernel!(sha512_4, "avx2", sha2, avx2::Words4, u64, 4, 128);

fn sha1_2<H: Hash<Word = u32>>(macs: &mut [Mac<'_, H>]) {
    burst::work(macs, |states, blocks| {
        // SAFETY: the CPU has been asked.
        unsafe { ni::sha1_two(states, blocks) }
    });
}

fn sha256_2<H: Hash<Word = u32>>(macs: &mut [Mac<'_, H>]) {
    burst::work(macs, |states, blocks| {
        // SAFETY: the CPU has been asked.
        unsafe { ni::sha256_two(states, blocks) }
    });
}

/// The fastest kernel for these packets of SHA-1.
pub(super) fn sha1<H: Hash<Word = u32>>(width: Width, macs: &mut [Mac<'_, H>]) {
    if width == Width::Bits512 && fills(macs, 6) && has_avx512() {
        sha1_16(macs);
    } else if fills(macs, 2) && has_sha() {
        sha1_2(macs);
    } else if width != Width::Bits128 && fills(macs, 2) && !has_sha() && has_avx2() {
        sha1_8(macs);
    } else {
        macs.iter_mut().for_each(alone);
    }
}

/// The fastest kernel for these packets of SHA-256.
pub(super) fn sha256<H: Hash<Word = u32>>(width: Width, macs: &mut [Mac<'_, H>]) {
    if width == Width::Bits512 && fills(macs, 8) && has_avx512() {
        sha256_16(macs);
    } else if fills(macs, 2) && has_sha() {
        sha256_2(macs);
    } else if width != Width::Bits128 && fills(macs, 2) && !has_sha() && has_avx2() {
        sha256_8(macs);
    } else {
        macs.iter_mut().for_each(alone);
    }
}

/// The fastest kernel for these packets of SHA-384 or SHA-512.
pub(super) fn sha512<H: Hash<Word = u64>>(width: Width, macs: &mut [Mac<'_, H>]) {
    if width == Width::Bits512 && fills(macs, 2) && has_avx512() {
        sha512_8(macs);
    } else if width != Width::Bits128 && fills(macs, 3) && has_avx2() {
        sha512_4(macs);
    } else {
        macs.iter_mut().for_each(alone);
    }
}

/// Whether all packets together are at least `ratio` times as long as the longest of them.
///
/// A step of a wide kernel takes as long as so many blocks take a narrow one (measured on Zen 5), and the longest packet sets how
/// many steps there are.
fn fills<H: Hash>(macs: &[Mac<'_, H>], ratio: usize) -> bool {
    // First block, last block and outer block come on top of the text.
    let blocks = |mac: &Mac<'_, H>| mac.text.len() / H::BLOCK_LEN + 3;
    let longest = macs.iter().map(blocks).max().unwrap_or(0);
    let all: usize = macs.iter().map(blocks).sum();
    macs.len() >= ratio && all >= longest * ratio
}

fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
}

fn has_sha() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1")
}
