//! The hashes: sizes, initial states, and what one packet alone is compressed with.

use zeroize::Zeroize;

use super::{Mac, Width, kernels};

/// A hash of the SHA family, as HMAC uses it.
pub(crate) trait Hash: Sized {
    /// Its unit of computation: 4 or 8 bytes.
    type Word: Word;
    /// 5 or 8 words.
    type State: Copy + Zeroize + AsRef<[Self::Word]> + AsMut<[Self::Word]>;

    /// The state before the first block.
    const INITIAL: Self::State;
    /// Bytes of a block: 64 or 128.
    const BLOCK_LEN: usize;
    /// Bytes of a digest: 20 to 64.
    const DIGEST_LEN: usize;

    /// Works whole blocks into the state; bytes behind the last whole block are left out.
    fn compress(state: &mut Self::State, blocks: &[u8]);

    /// As [`super::authenticate`].
    fn authenticate(width: Width, macs: &mut [Mac<'_, Self>]);
}

/// A word of a state, big-endian on the wire.
pub(crate) trait Word: Copy + Default + Zeroize {
    /// Writes it to the first 4 or 8 bytes.
    fn write(self, bytes: &mut [u8]);
}

impl Word for u32 {
    fn write(self, bytes: &mut [u8]) {
        bytes[..4].copy_from_slice(&self.to_be_bytes());
    }
}

impl Word for u64 {
    fn write(self, bytes: &mut [u8]) {
        bytes[..8].copy_from_slice(&self.to_be_bytes());
    }
}

/// SHA-1 (FIPS 180-4 §6.1).
pub(crate) struct Sha1;

impl Hash for Sha1 {
    type Word = u32;
    type State = [u32; 5];

    const INITIAL: [u32; 5] = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    const BLOCK_LEN: usize = 64;
    const DIGEST_LEN: usize = 20;

    fn compress(state: &mut [u32; 5], blocks: &[u8]) {
        ::sha1::block_api::compress(state, blocks.as_chunks().0);
    }

    fn authenticate(width: Width, macs: &mut [Mac<'_, Self>]) {
        kernels::sha1(width, macs);
    }
}

/// SHA-256 (FIPS 180-4 §6.2).
pub(crate) struct Sha256;

impl Hash for Sha256 {
    type Word = u32;
    type State = [u32; 8];

    const INITIAL: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    const BLOCK_LEN: usize = 64;
    const DIGEST_LEN: usize = 32;

    fn compress(state: &mut [u32; 8], blocks: &[u8]) {
        ::sha2::block_api::compress256(state, blocks.as_chunks().0);
    }

    fn authenticate(width: Width, macs: &mut [Mac<'_, Self>]) {
        kernels::sha256(width, macs);
    }
}

/// SHA-384 (FIPS 180-4 §6.5): SHA-512 from another initial state, cut short.
pub(crate) struct Sha384;

impl Hash for Sha384 {
    type Word = u64;
    type State = [u64; 8];

    const INITIAL: [u64; 8] = [
        0xcbbb_9d5d_c105_9ed8,
        0x629a_292a_367c_d507,
        0x9159_015a_3070_dd17,
        0x152f_ecd8_f70e_5939,
        0x6733_2667_ffc0_0b31,
        0x8eb4_4a87_6858_1511,
        0xdb0c_2e0d_64f9_8fa7,
        0x47b5_481d_befa_4fa4,
    ];
    const BLOCK_LEN: usize = 128;
    const DIGEST_LEN: usize = 48;

    fn compress(state: &mut [u64; 8], blocks: &[u8]) {
        ::sha2::block_api::compress512(state, blocks.as_chunks().0);
    }

    fn authenticate(width: Width, macs: &mut [Mac<'_, Self>]) {
        kernels::sha512(width, macs);
    }
}

/// SHA-512 (FIPS 180-4 §6.4).
pub(crate) struct Sha512;

impl Hash for Sha512 {
    type Word = u64;
    type State = [u64; 8];

    const INITIAL: [u64; 8] = [
        0x6a09_e667_f3bc_c908,
        0xbb67_ae85_84ca_a73b,
        0x3c6e_f372_fe94_f82b,
        0xa54f_f53a_5f1d_36f1,
        0x510e_527f_ade6_82d1,
        0x9b05_688c_2b3e_6c1f,
        0x1f83_d9ab_fb41_bd6b,
        0x5be0_cd19_137e_2179,
    ];
    const BLOCK_LEN: usize = 128;
    const DIGEST_LEN: usize = 64;

    fn compress(state: &mut [u64; 8], blocks: &[u8]) {
        ::sha2::block_api::compress512(state, blocks.as_chunks().0);
    }

    fn authenticate(width: Width, macs: &mut [Mac<'_, Self>]) {
        kernels::sha512(width, macs);
    }
}
