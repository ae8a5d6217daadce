//! Which kernel works a burst.

use super::lanes::{Blocks, States};
use super::two::Two;
use super::{Hash, Mac, Width, alone, avx2, avx512, burst, sha1, sha2};

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

kernel!(sha1_32, "avx512f,avx512bw", sha1, Two<avx512::Words16>, u32, 32, 64);
kernel!(sha1_16, "avx512f,avx512bw", sha1, avx512::Words16, u32, 16, 64);
kernel!(sha1_8, "avx2", sha1, avx2::Words8, u32, 8, 64);
kernel!(sha256_32, "avx512f,avx512bw", sha2, Two<avx512::Words16>, u32, 32, 64);
kernel!(sha256_16, "avx512f,avx512bw", sha2, avx512::Words16, u32, 16, 64);
kernel!(sha256_8, "avx2", sha2, avx2::Words8, u32, 8, 64);
kernel!(sha512_16, "avx512f,avx512bw", sha2, Two<avx512::Words8>, u64, 16, 128);
kernel!(sha512_8, "avx512f,avx512bw", sha2, avx512::Words8, u64, 8, 128);
kernel!(sha512_4, "avx2", sha2, avx2::Words4, u64, 4, 128);

pub(super) fn sha1<H: Hash<Word = u32>>(width: Width, macs: &mut [Mac<'_, H>]) {
    match (width, macs.len()) {
        (Width::Bits512, 17..) if has_avx512() => sha1_32(macs),
        (Width::Bits512, 1..) if has_avx512() => sha1_16(macs),
        (Width::Bits512 | Width::Bits256, _) if has_avx2() => sha1_8(macs),
        _ => macs.iter_mut().for_each(alone),
    }
}

pub(super) fn sha256<H: Hash<Word = u32>>(width: Width, macs: &mut [Mac<'_, H>]) {
    match (width, macs.len()) {
        (Width::Bits512, 17..) if has_avx512() => sha256_32(macs),
        (Width::Bits512, 1..) if has_avx512() => sha256_16(macs),
        (Width::Bits512 | Width::Bits256, _) if has_avx2() => sha256_8(macs),
        _ => macs.iter_mut().for_each(alone),
    }
}

pub(super) fn sha512<H: Hash<Word = u64>>(width: Width, macs: &mut [Mac<'_, H>]) {
    match (width, macs.len()) {
        (Width::Bits512, 9..) if has_avx512() => sha512_16(macs),
        (Width::Bits512, 1..) if has_avx512() => sha512_8(macs),
        (Width::Bits512 | Width::Bits256, _) if has_avx2() => sha512_4(macs),
        _ => macs.iter_mut().for_each(alone),
    }
}

fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
}
