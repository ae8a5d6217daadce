//! AES-GCM in ESP (RFC 4106): nonce = salt ‖ IV.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit, Tag};
use zeroize::Zeroizing;

use super::IcvWrong;
use crate::suite::Suite;

/// Bytes of IV on the wire.
const IV_LEN: usize = 8;
/// Bytes of salt behind the AES key.
const SALT_LEN: usize = 4;

/// Expanded key and salt; either direction.
pub(crate) struct Gcm {
    cipher: Cipher,
    salt: Zeroizing<[u8; SALT_LEN]>,
}

enum Cipher {
    Bits128(Aes128Gcm),
    Bits256(Aes256Gcm),
}

impl Gcm {
    /// Expands AES key ‖ salt.
    pub(super) fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        let (key, salt) = key.split_at_checked(suite.cipher_key_len())?;
        let cipher = if key.len() == 16 {
            Cipher::Bits128(Aes128Gcm::new_from_slice(key).ok()?)
        } else {
            Cipher::Bits256(Aes256Gcm::new_from_slice(key).ok()?)
        };
        let salt = Zeroizing::new(salt.try_into().ok()?);
        Some(Self { cipher, salt })
    }

    /// Writes IV ‖ ciphertext ‖ ICV; the op has checked the lengths.
    pub(super) fn seal(&self, aad: &[u8], iv: &[u8; 16], source: &[u8], destination: &mut [u8]) {
        let (iv_out, rest) = destination.split_at_mut(IV_LEN);
        let (ciphertext, icv) = rest.split_at_mut(source.len());
        iv_out.copy_from_slice(&iv[..IV_LEN]);
        let nonce = self.nonce(iv_out);
        let tag = InOutBuf::new(source, ciphertext).map(|buffer| match &self.cipher {
            Cipher::Bits128(aes) => aes.encrypt_inout_detached(&nonce.into(), aad, buffer),
            Cipher::Bits256(aes) => aes.encrypt_inout_detached(&nonce.into(), aad, buffer),
        });
        // The op's lengths leave no way to fail; if there were one, no plaintext and no stale byte may leave.
        match tag {
            Ok(Ok(tag)) => icv.copy_from_slice(&tag),
            Ok(Err(_)) | Err(_) => rest.fill(0),
        }
    }

    /// Verifies, then writes the plaintext; the op has checked the lengths.
    pub(super) fn open(
        &self,
        aad: &[u8],
        source: &[u8],
        destination: &mut [u8],
    ) -> Result<(), IcvWrong> {
        let (iv, rest) = source.split_at(IV_LEN);
        let (ciphertext, icv) = rest.split_at(destination.len());
        let nonce = self.nonce(iv);
        let tag = Tag::try_from(icv).map_err(|_| IcvWrong)?;
        let buffer = InOutBuf::new(ciphertext, destination).map_err(|_| IcvWrong)?;
        match &self.cipher {
            Cipher::Bits128(aes) => aes.decrypt_inout_detached(&nonce.into(), aad, buffer, &tag),
            Cipher::Bits256(aes) => aes.decrypt_inout_detached(&nonce.into(), aad, buffer, &tag),
        }
        .map_err(|_| IcvWrong)
    }

    /// Salt ‖ IV (RFC 4106 §4).
    fn nonce(&self, iv: &[u8]) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..SALT_LEN].copy_from_slice(&*self.salt);
        nonce[SALT_LEN..].copy_from_slice(iv);
        nonce
    }
}
