//! CBC mode, of AES (RFC 3602) or Triple DES (RFC 2451), and HMAC over the ciphertext (RFC 2404, RFC 4868).

use aes::cipher::array::ArraySize;
use aes::cipher::inout::InOutBuf;
use aes::cipher::{
    Array, Block, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt,
    InnerIvInit, KeyInit,
};
use aes::{Aes128Dec, Aes128Enc, Aes192Dec, Aes192Enc, Aes256Dec, Aes256Enc};
use des::TdesEde3;
use subtle::ConstantTimeEq;

use super::IcvWrong;
use super::hmac::KeyedHash;
use crate::op::{OpenOp, SealOp};
use crate::suite::{AesKey, Suite};

/// Expanded keys for sealing.
pub(crate) struct CbcHmacSeal {
    cipher: Encrypt,
    hash: KeyedHash,
}

/// Expanded keys for opening.
pub(crate) struct CbcHmacOpen {
    cipher: Decrypt,
    hash: KeyedHash,
}

enum Encrypt {
    Aes128(Aes128Enc),
    Aes192(Aes192Enc),
    Aes256(Aes256Enc),
    TripleDes(TdesEde3),
}

enum Decrypt {
    Aes128(Aes128Dec),
    Aes192(Aes192Dec),
    Aes256(Aes256Dec),
    TripleDes(TdesEde3),
}

impl CbcHmacSeal {
    /// Expands cipher key ‖ integrity key; `None` for another suite or another length.
    pub(super) fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        let (key, hash) = split(suite, key)?;
        let cipher = match suite {
            Suite::AesCbcHmac(AesKey::Bits128, _) => Encrypt::Aes128(expand(key)?),
            Suite::AesCbcHmac(AesKey::Bits192, _) => Encrypt::Aes192(expand(key)?),
            Suite::AesCbcHmac(AesKey::Bits256, _) => Encrypt::Aes256(expand(key)?),
            Suite::TripleDesHmac(_) => Encrypt::TripleDes(expand(key)?),
            Suite::AesGcm(_) => return None,
        };
        Some(Self { cipher, hash })
    }

    /// The sequence number as one encrypted block (NIST SP 800-38A appendix C).
    pub(super) fn iv(&self, sequence: u64) -> [u8; 16] {
        match &self.cipher {
            Encrypt::Aes128(aes) => block_of(aes, sequence),
            Encrypt::Aes192(aes) => block_of(aes, sequence),
            Encrypt::Aes256(aes) => block_of(aes, sequence),
            Encrypt::TripleDes(des) => block_of(des, sequence),
        }
    }

    /// Writes IV ‖ ciphertext ‖ ICV.
    pub(super) fn seal(&self, op: &mut SealOp<'_>) {
        let (aad, iv) = (op.aad, op.iv);
        let (iv_out, mut text, icv) = op.parts();
        iv_out.copy_from_slice(&iv[..iv_out.len()]);
        match &self.cipher {
            Encrypt::Aes128(aes) => encrypt(aes, iv_out, text.reborrow()),
            Encrypt::Aes192(aes) => encrypt(aes, iv_out, text.reborrow()),
            Encrypt::Aes256(aes) => encrypt(aes, iv_out, text.reborrow()),
            Encrypt::TripleDes(des) => encrypt(des, iv_out, text.reborrow()),
        }
        let hash = self.hash.of(aad, iv_out, text.get_out());
        icv.copy_from_slice(&hash[..icv.len()]);
    }
}

impl CbcHmacOpen {
    /// Expands cipher key ‖ integrity key; `None` for another suite or another length.
    pub(super) fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        let (key, hash) = split(suite, key)?;
        let cipher = match suite {
            Suite::AesCbcHmac(AesKey::Bits128, _) => Decrypt::Aes128(expand(key)?),
            Suite::AesCbcHmac(AesKey::Bits192, _) => Decrypt::Aes192(expand(key)?),
            Suite::AesCbcHmac(AesKey::Bits256, _) => Decrypt::Aes256(expand(key)?),
            Suite::TripleDesHmac(_) => Decrypt::TripleDes(expand(key)?),
            Suite::AesGcm(_) => return None,
        };
        Some(Self { cipher, hash })
    }

    /// Verifies, then writes the plaintext.
    pub(super) fn open(&self, op: &mut OpenOp<'_>) -> Result<(), IcvWrong> {
        let aad = op.aad;
        let (iv, text, icv) = op.parts();
        let expected = self.hash.of(aad, iv, text.get_in());
        if !bool::from(expected[..icv.len()].ct_eq(icv)) {
            return Err(IcvWrong);
        }
        match &self.cipher {
            Decrypt::Aes128(aes) => decrypt(aes, iv, text),
            Decrypt::Aes192(aes) => decrypt(aes, iv, text),
            Decrypt::Aes256(aes) => decrypt(aes, iv, text),
            Decrypt::TripleDes(des) => decrypt(des, iv, text),
        }
        Ok(())
    }
}

/// The cipher's key and the keyed hash, if their lengths are the suite's.
fn split(suite: Suite, key: &[u8]) -> Option<(&[u8], KeyedHash)> {
    let (Suite::AesCbcHmac(_, integrity) | Suite::TripleDesHmac(integrity)) = suite else {
        return None;
    };
    if key.len() != suite.key_len() {
        return None;
    }
    let (key, integrity_key) = key.split_at_checked(suite.cipher_key_len())?;
    Some((key, KeyedHash::new(integrity, integrity_key)?))
}

/// Expands the cipher's key.
fn expand<C: KeyInit>(key: &[u8]) -> Option<C> {
    C::new_from_slice(key).ok()
}

/// The number as one big-endian block, encrypted; zeros behind a block of 8 bytes.
fn block_of<C: BlockCipherEncrypt>(cipher: &C, number: u64) -> [u8; 16] {
    let mut block = Block::<C>::default();
    let at = block.len() - 8;
    block[at..].copy_from_slice(&number.to_be_bytes());
    cipher.encrypt_block(&mut block);
    let mut padded = [0; 16];
    padded[..block.len()].copy_from_slice(&block);
    padded
}

/// Encrypts whole blocks.
fn encrypt<C: BlockCipherEncrypt>(cipher: &C, iv: &[u8], text: InOutBuf<'_, '_, u8>) {
    let (blocks, _) = text.into_chunks();
    if let Some(iv) = first_block(iv) {
        cbc::Encryptor::inner_iv_init(cipher, &iv).encrypt_blocks_inout(blocks);
    }
}

/// Decrypts whole blocks.
fn decrypt<C: BlockCipherDecrypt>(cipher: &C, iv: &[u8], text: InOutBuf<'_, '_, u8>) {
    let (blocks, _) = text.into_chunks();
    if let Some(iv) = first_block(iv) {
        cbc::Decryptor::inner_iv_init(cipher, &iv).decrypt_blocks_inout(blocks);
    }
}

/// The IV as a block; it is always one.
fn first_block<N: ArraySize>(iv: &[u8]) -> Option<Array<u8, N>> {
    Array::try_from(iv).ok()
}
