//! The suites measured, and RustCrypto as the reference of what they give.

use aes_gcm::aead::{AeadInOut, Nonce, inout::InOutBuf};
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};

use super::traffic::AAD_LEN;

/// Cipher and integrity algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// AES-GCM with a 16-byte ICV and the bits of the key.
    Gcm(KeyBits),
}

/// Bits of an AES key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyBits {
    Aes128,
    Aes256,
}

impl KeyBits {
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }
}

impl Algorithm {
    pub(super) const ALL: [Self; 2] = [Self::Gcm(KeyBits::Aes128), Self::Gcm(KeyBits::Aes256)];

    pub(super) const QUICK: [Self; 1] = [Self::Gcm(KeyBits::Aes128)];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gcm(KeyBits::Aes128) => "aes-gcm-128",
            Self::Gcm(KeyBits::Aes256) => "aes-gcm-256",
        }
    }

    /// Bytes of the AES key and of the salt or integrity key behind it.
    pub(super) const fn key_len(self) -> usize {
        match self {
            Self::Gcm(bits) => bits.bytes() + 4,
        }
    }

    pub(super) const fn iv_len(self) -> usize {
        match self {
            Self::Gcm(_) => 8,
        }
    }

    pub(super) const fn icv_len(self) -> usize {
        match self {
            Self::Gcm(_) => 16,
        }
    }

    /// Seals with RustCrypto. `packet` is header and IV, room for the ciphertext and for the ICV; false if the key does not fit.
    pub(super) fn seal(self, key: &[u8], plaintext: &[u8], packet: &mut [u8]) -> bool {
        match self {
            Self::Gcm(KeyBits::Aes128) => seal_gcm::<Aes128Gcm>(key, plaintext, packet),
            Self::Gcm(KeyBits::Aes256) => seal_gcm::<Aes256Gcm>(key, plaintext, packet),
        }
    }
}

fn seal_gcm<C: AeadInOut + KeyInit>(key: &[u8], plaintext: &[u8], packet: &mut [u8]) -> bool {
    let (key, salt) = key.split_at(key.len() - 4);
    let (header, body) = packet.split_at_mut(AAD_LEN);
    let (iv, body) = body.split_at_mut(8);
    let (ciphertext, icv) = body.split_at_mut(plaintext.len());
    let nonce = [salt, iv].concat();
    let Ok(nonce) = Nonce::<C>::try_from(&nonce[..]) else {
        return false;
    };
    let sealed = C::new_from_slice(key).ok().and_then(|cipher| {
        let text = InOutBuf::new(plaintext, ciphertext).ok()?;
        cipher.encrypt_inout_detached(&nonce, header, text).ok()
    });
    sealed.is_some_and(|tag| {
        icv.copy_from_slice(&tag);
        true
    })
}
