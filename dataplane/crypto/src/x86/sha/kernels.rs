//! Which kernel works a burst.
//!
//! Measured on Zen 5, where a vector instruction takes two cycles: 32 lanes of SHA-1 in two registers save 7 % of the time of 64 equal
//! packets and cost half as much again on mixed lengths, so there is one register of lanes. Prefetching the next blocks saves nothing.

use super::lanes::{Blocks, States};
use super::{Hash, Mac, Width, alone, avx2, avx512, burst, ni, sha1, sha2};

/// Proof that the CPU has the instructions named.
macro_rules! proof {
    ($name:ident, $($feature:tt)*) => {
        #[derive(Clone, Copy)]
        struct $name(());

        impl $name {
            fn present() -> Option<Self> {
                ($(is_x86_feature_detected!($feature))&&*).then_some(Self(()))
            }
        }
    };
}

proof!(Avx512, "avx512f" "avx512bw");
proof!(Avx2, "avx2");
proof!(ShaNi, "sha" "sse4.1");

/// A kernel: the compression function of a hash for registers of one kind.
macro_rules! kernel {
    ($name:ident, $proof:ident, $features:literal, $hash:ident<$lanes:ty>, $word:ty, $n:literal, $len:literal) => {
        fn $name<H: Hash<Word = $word>>(_: $proof, macs: &mut [Mac<'_, H>]) {
            #[target_feature(enable = $features)]
            fn compress(states: &mut States<$word, $n>, blocks: &Blocks<'_, $n, $len>) {
                // SAFETY: the function's target features.
                unsafe { $hash::compress::<$lanes, $n, $len>(states, blocks) }
            }
            burst::work(macs, |states, blocks| {
                // SAFETY: there is a proof.
                unsafe { compress(states, blocks) }
            });
        }
    };
}

kernel!(
    sha1_16,
    Avx512,
    "avx512f,avx512bw",
    sha1<avx512::Words16>,
    u32,
    16,
    64
);
kernel!(sha1_8, Avx2, "avx2", sha1<avx2::Words8>, u32, 8, 64);
kernel!(
    sha256_16,
    Avx512,
    "avx512f,avx512bw",
    sha2<avx512::Words16>,
    u32,
    16,
    64
);
kernel!(sha256_8, Avx2, "avx2", sha2<avx2::Words8>, u32, 8, 64);
kernel!(
    sha512_8,
    Avx512,
    "avx512f,avx512bw",
    sha2<avx512::Words8>,
    u64,
    8,
    128
);
kernel!(sha512_4, Avx2, "avx2", sha2<avx2::Words4>, u64, 4, 128);

fn sha1_2<H: Hash<Word = u32>>(_: ShaNi, macs: &mut [Mac<'_, H>]) {
    burst::work(macs, |states, blocks| {
        // SAFETY: there is a proof.
        unsafe { ni::sha1_two(states, blocks) }
    });
}

fn sha256_2<H: Hash<Word = u32>>(_: ShaNi, macs: &mut [Mac<'_, H>]) {
    burst::work(macs, |states, blocks| {
        // SAFETY: there is a proof.
        unsafe { ni::sha256_two(states, blocks) }
    });
}

/// The fastest kernel for these packets of SHA-1: AVX2 only where the SHA instructions are missing, which are as fast for two packets.
pub(super) fn sha1<H: Hash<Word = u32>>(width: Width, macs: &mut [Mac<'_, H>]) {
    let (wide, sha) = (width != Width::Bits128, ShaNi::present());
    if width == Width::Bits512
        && fills(macs, 6)
        && let Some(proof) = Avx512::present()
    {
        sha1_16(proof, macs);
    } else if macs.len() >= 2
        && let Some(proof) = sha
    {
        sha1_2(proof, macs);
    } else if wide
        && sha.is_none()
        && fills(macs, 2)
        && let Some(proof) = Avx2::present()
    {
        sha1_8(proof, macs);
    } else {
        macs.iter_mut().for_each(alone);
    }
}

/// The fastest kernel for these packets of SHA-256: AVX2 only where the SHA instructions are missing, which are faster.
pub(super) fn sha256<H: Hash<Word = u32>>(width: Width, macs: &mut [Mac<'_, H>]) {
    let (wide, sha) = (width != Width::Bits128, ShaNi::present());
    if width == Width::Bits512
        && fills(macs, 8)
        && let Some(proof) = Avx512::present()
    {
        sha256_16(proof, macs);
    } else if macs.len() >= 2
        && let Some(proof) = sha
    {
        sha256_2(proof, macs);
    } else if wide
        && sha.is_none()
        && fills(macs, 2)
        && let Some(proof) = Avx2::present()
    {
        sha256_8(proof, macs);
    } else {
        macs.iter_mut().for_each(alone);
    }
}

/// The fastest kernel for these packets of SHA-384 or SHA-512.
pub(super) fn sha512<H: Hash<Word = u64>>(width: Width, macs: &mut [Mac<'_, H>]) {
    let wide = width != Width::Bits128;
    if width == Width::Bits512
        && fills(macs, 2)
        && let Some(proof) = Avx512::present()
    {
        sha512_8(proof, macs);
    } else if wide
        && fills(macs, 3)
        && let Some(proof) = Avx2::present()
    {
        sha512_4(proof, macs);
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

/// Every kernel of one hash, to be tested whether it would be chosen here or not.
#[cfg(test)]
pub(super) mod each {
    use super::*;

    /// A way to authenticate a burst; one packet after the other where the CPU lacks the instructions.
    type Kernel<H> = (&'static str, fn(&mut [Mac<'_, H>]));

    macro_rules! if_present {
        ($proof:ident, $kernel:ident) => {
            (stringify!($kernel), |macs| match $proof::present() {
                Some(proof) => $kernel(proof, macs),
                None => macs.iter_mut().for_each(alone),
            })
        };
    }

    pub(in super::super) fn sha1() -> Vec<Kernel<super::super::Sha1>> {
        vec![
            ("alone", |macs| macs.iter_mut().for_each(alone)),
            if_present!(ShaNi, sha1_2),
            if_present!(Avx2, sha1_8),
            if_present!(Avx512, sha1_16),
        ]
    }

    pub(in super::super) fn sha256() -> Vec<Kernel<super::super::Sha256>> {
        vec![
            ("alone", |macs| macs.iter_mut().for_each(alone)),
            if_present!(ShaNi, sha256_2),
            if_present!(Avx2, sha256_8),
            if_present!(Avx512, sha256_16),
        ]
    }

    pub(in super::super) fn sha512<H: Hash<Word = u64>>() -> Vec<Kernel<H>> {
        vec![
            ("alone", |macs| macs.iter_mut().for_each(alone)),
            if_present!(Avx2, sha512_4),
            if_present!(Avx512, sha512_8),
        ]
    }
}
