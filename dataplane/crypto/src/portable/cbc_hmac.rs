//! AES-CBC (RFC 3602) with HMAC-SHA1-96 (RFC 2404) or HMAC-SHA2-256-128 (RFC 4868), encrypt-then-MAC.

use aes::cipher::array::Array;
use aes::cipher::{
    Block, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit,
    KeyInit, consts::U16,
};
use aes::{Aes128Dec, Aes128Enc, Aes256Dec, Aes256Enc};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::IcvWrong;
use crate::suite::Suite;

/// Bytes of an AES block, and of IV on the wire.
const BLOCK_LEN: usize = 16;

/// Expanded keys for sealing.
pub(crate) struct CbcHmacSeal {
    cipher: Encrypt,
    integrity: Integrity,
}

/// Expanded keys for opening.
pub(crate) struct CbcHmacOpen {
    cipher: Decrypt,
    integrity: Integrity,
    icv_len: usize,
}

enum Encrypt {
    Bits128(Aes128Enc),
    Bits256(Aes256Enc),
}

enum Decrypt {
    Bits128(Aes128Dec),
    Bits256(Aes256Dec),
}

/// The keyed hash with both pads already worked in.
enum Integrity {
    HmacSha1(Hmac<Sha1>),
    HmacSha256(Hmac<Sha256>),
}

impl CbcHmacSeal {
    /// Expands AES key ‖ integrity key.
    pub(super) fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        let (key, integrity_key) = split(suite, key)?;
        let cipher = if key.len() == 16 {
            Encrypt::Bits128(Aes128Enc::new_from_slice(key).ok()?)
        } else {
            Encrypt::Bits256(Aes256Enc::new_from_slice(key).ok()?)
        };
        let integrity = Integrity::new(suite, integrity_key)?;
        Some(Self { cipher, integrity })
    }

    /// The sequence number as one encrypted block (NIST SP 800-38A appendix C).
    pub(super) fn iv(&self, sequence: u64) -> [u8; BLOCK_LEN] {
        let mut block = [0; BLOCK_LEN];
        block[8..].copy_from_slice(&sequence.to_be_bytes());
        let mut block = Array(block);
        match &self.cipher {
            Encrypt::Bits128(aes) => aes.encrypt_block(&mut block),
            Encrypt::Bits256(aes) => aes.encrypt_block(&mut block),
        }
        block.0
    }

    /// Writes IV ‖ ciphertext ‖ ICV; the op has checked the lengths.
    pub(super) fn seal(&self, aad: &[u8], iv: &[u8; 16], source: &[u8], destination: &mut [u8]) {
        let (covered, icv) = destination.split_at_mut(BLOCK_LEN + source.len());
        let (iv_out, ciphertext) = covered.split_at_mut(BLOCK_LEN);
        iv_out.copy_from_slice(iv);
        match &self.cipher {
            Encrypt::Bits128(aes) => encrypt(aes, iv, source, ciphertext),
            Encrypt::Bits256(aes) => encrypt(aes, iv, source, ciphertext),
        }
        icv.copy_from_slice(&self.integrity.of(aad, covered)[..icv.len()]);
    }
}

impl CbcHmacOpen {
    /// Expands AES key ‖ integrity key.
    pub(super) fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        let (key, integrity_key) = split(suite, key)?;
        let cipher = if key.len() == 16 {
            Decrypt::Bits128(Aes128Dec::new_from_slice(key).ok()?)
        } else {
            Decrypt::Bits256(Aes256Dec::new_from_slice(key).ok()?)
        };
        let integrity = Integrity::new(suite, integrity_key)?;
        let icv_len = suite.icv_len();
        Some(Self {
            cipher,
            integrity,
            icv_len,
        })
    }

    /// Verifies, then writes the plaintext; the op has checked the lengths.
    pub(super) fn open(
        &self,
        aad: &[u8],
        source: &[u8],
        destination: &mut [u8],
    ) -> Result<(), IcvWrong> {
        let (covered, icv) = source.split_at(source.len() - self.icv_len);
        let expected = self.integrity.of(aad, covered);
        if !bool::from(expected[..icv.len()].ct_eq(icv)) {
            return Err(IcvWrong);
        }
        let (iv, ciphertext) = covered.split_first_chunk().ok_or(IcvWrong)?;
        match &self.cipher {
            Decrypt::Bits128(aes) => decrypt(aes, iv, ciphertext, destination),
            Decrypt::Bits256(aes) => decrypt(aes, iv, ciphertext, destination),
        }
        Ok(())
    }
}

impl Integrity {
    /// Works both pads in; `None` if the key is not as long as the hash (RFC 2404 §2, RFC 4868 §2.1.1).
    fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        match suite {
            Suite::AesCbc128HmacSha1 | Suite::AesCbc256HmacSha1 => {
                Hmac::new_from_slice(key).ok().map(Self::HmacSha1)
            }
            Suite::AesCbc128HmacSha256 | Suite::AesCbc256HmacSha256 => {
                Hmac::new_from_slice(key).ok().map(Self::HmacSha256)
            }
            Suite::AesGcm128 | Suite::AesGcm256 => None,
        }
    }

    /// The first 16 bytes of the hash of one packet, of which the ICV is a prefix.
    fn of(&self, aad: &[u8], covered: &[u8]) -> [u8; 16] {
        match self {
            Self::HmacSha1(hmac) => mac(hmac.clone(), aad, covered),
            Self::HmacSha256(hmac) => mac(hmac.clone(), aad, covered),
        }
    }
}

/// AES key and integrity key, if their lengths are the suite's.
fn split(suite: Suite, key: &[u8]) -> Option<(&[u8], &[u8])> {
    if key.len() != suite.key_len() {
        return None;
    }
    key.split_at_checked(suite.cipher_key_len())
}

/// SPI ‖ low half of the sequence number ‖ IV ‖ ciphertext ‖ high half, if extended (RFC 4303 §2.2.1, §3.3.2.1).
fn mac(mut hmac: impl Mac, aad: &[u8], covered: &[u8]) -> [u8; 16] {
    let (header, high) = match aad {
        [s0, s1, s2, s3, high @ .., l0, l1, l2, l3] => {
            ([*s0, *s1, *s2, *s3, *l0, *l1, *l2, *l3], high)
        }
        _ => ([0; 8], aad),
    };
    hmac.update(&header);
    hmac.update(covered);
    hmac.update(high);
    let full = hmac.finalize().into_bytes();
    let mut first = [0; 16];
    first.copy_from_slice(&full[..16]);
    first
}

/// Encrypts whole blocks from `source` to `destination`.
fn encrypt<C>(aes: &C, iv: &[u8; BLOCK_LEN], source: &[u8], destination: &mut [u8])
where
    C: BlockCipherEncrypt<BlockSize = U16>,
{
    let (from, _) = Block::<C>::slice_as_chunks(source);
    let (to, _) = Block::<C>::slice_as_chunks_mut(destination);
    let done = cbc::Encryptor::inner_iv_init(aes, &Array(*iv)).encrypt_blocks_b2b(from, to);
    // The op's lengths leave no way to fail; if there were one, no stale byte may leave.
    if done.is_err() {
        destination.fill(0);
    }
}

/// Decrypts whole blocks from `source` to `destination`.
fn decrypt<C>(aes: &C, iv: &[u8; BLOCK_LEN], source: &[u8], destination: &mut [u8])
where
    C: BlockCipherDecrypt<BlockSize = U16>,
{
    let (from, _) = Block::<C>::slice_as_chunks(source);
    let (to, _) = Block::<C>::slice_as_chunks_mut(destination);
    let done = cbc::Decryptor::inner_iv_init(aes, &Array(*iv)).decrypt_blocks_b2b(from, to);
    if done.is_err() {
        destination.fill(0);
    }
}
