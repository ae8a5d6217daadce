//! AES-GCM in ESP (RFC 4106): nonce = salt ‖ IV.

use aes::Aes192;
use aes::cipher::consts::U12;
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm, KeyInit, Tag};
use zeroize::Zeroizing;

use super::IcvWrong;
use crate::op::{OpenOp, SealOp};
use crate::suite::AesKey;

/// Bytes of IV on the wire.
const IV_LEN: usize = 8;
/// Bytes of salt behind the AES key.
const SALT_LEN: usize = 4;

/// Expanded key and salt; either direction.
pub(crate) struct Gcm {
    cipher: Cipher,
    salt: Zeroizing<[u8; SALT_LEN]>,
}

type Aes192Gcm = AesGcm<Aes192, U12>;

enum Cipher {
    Bits128(Aes128Gcm),
    Bits192(Aes192Gcm),
    Bits256(Aes256Gcm),
}

impl Gcm {
    /// Expands AES key ‖ salt.
    pub(super) fn new(len: AesKey, key: &[u8]) -> Option<Self> {
        let (key, salt) = key.split_at_checked(len.len())?;
        let cipher = match len {
            AesKey::Bits128 => Cipher::Bits128(Aes128Gcm::new_from_slice(key).ok()?),
            AesKey::Bits192 => Cipher::Bits192(Aes192Gcm::new_from_slice(key).ok()?),
            AesKey::Bits256 => Cipher::Bits256(Aes256Gcm::new_from_slice(key).ok()?),
        };
        let salt = Zeroizing::new(salt.try_into().ok()?);
        Some(Self { cipher, salt })
    }

    /// Writes IV ‖ ciphertext ‖ ICV.
    pub(super) fn seal(&self, op: &mut SealOp<'_>) {
        let (aad, iv) = (op.aad, op.iv);
        let (iv_out, mut text, icv) = op.parts();
        iv_out.copy_from_slice(&iv[..IV_LEN]);
        let nonce = self.nonce(iv_out).into();
        let tag = match &self.cipher {
            Cipher::Bits128(aes) => aes.encrypt_inout_detached(&nonce, aad, text.reborrow()),
            Cipher::Bits192(aes) => aes.encrypt_inout_detached(&nonce, aad, text.reborrow()),
            Cipher::Bits256(aes) => aes.encrypt_inout_detached(&nonce, aad, text.reborrow()),
        };
        // The op's lengths leave no way to fail; if there were one, no plaintext and no stale byte may leave.
        if let Ok(tag) = tag {
            icv.copy_from_slice(&tag);
        } else {
            text.into_out().fill(0);
            icv.fill(0);
        }
    }

    /// Verifies, then writes the plaintext.
    pub(super) fn open(&self, op: &mut OpenOp<'_>) -> Result<(), IcvWrong> {
        let aad = op.aad;
        let (iv, text, icv) = op.parts();
        let nonce = self.nonce(iv).into();
        let tag = Tag::try_from(icv).map_err(|_| IcvWrong)?;
        match &self.cipher {
            Cipher::Bits128(aes) => aes.decrypt_inout_detached(&nonce, aad, text, &tag),
            Cipher::Bits192(aes) => aes.decrypt_inout_detached(&nonce, aad, text, &tag),
            Cipher::Bits256(aes) => aes.decrypt_inout_detached(&nonce, aad, text, &tag),
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
