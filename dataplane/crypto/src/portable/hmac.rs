//! HMAC over an ESP packet (RFC 2104), cut to the ICV by the caller.

use ::hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use crate::suite::Integrity;

/// Longest ICV in bytes.
const MAX_ICV: usize = 32;

/// A keyed hash with both pads already worked in.
pub(super) enum KeyedHash {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
}

impl KeyedHash {
    /// Works both pads in; `None` if the library refuses the key.
    pub(super) fn new(integrity: Integrity, key: &[u8]) -> Option<Self> {
        match integrity {
            Integrity::Sha1_96 => Hmac::new_from_slice(key).ok().map(Self::Sha1),
            Integrity::Sha256_128 | Integrity::Sha256_96 => {
                Hmac::new_from_slice(key).ok().map(Self::Sha256)
            }
            Integrity::Sha384_192 => Hmac::new_from_slice(key).ok().map(Self::Sha384),
            Integrity::Sha512_256 => Hmac::new_from_slice(key).ok().map(Self::Sha512),
        }
    }

    /// The first bytes of the hash of one packet, of which the ICV is a prefix; zeros behind a shorter hash.
    pub(super) fn of(&self, aad: &[u8], iv: &[u8], ciphertext: &[u8]) -> [u8; MAX_ICV] {
        match self {
            Self::Sha1(hmac) => mac(hmac.clone(), aad, iv, ciphertext),
            Self::Sha256(hmac) => mac(hmac.clone(), aad, iv, ciphertext),
            Self::Sha384(hmac) => mac(hmac.clone(), aad, iv, ciphertext),
            Self::Sha512(hmac) => mac(hmac.clone(), aad, iv, ciphertext),
        }
    }
}

/// SPI ‖ low half of the sequence number ‖ IV ‖ ciphertext ‖ high half, if extended (RFC 4303 §2.2.1, §3.3.2.1).
fn mac(mut hmac: impl Mac, aad: &[u8], iv: &[u8], ciphertext: &[u8]) -> [u8; MAX_ICV] {
    let (header, high) = match aad {
        [s0, s1, s2, s3, high @ .., l0, l1, l2, l3] => {
            ([*s0, *s1, *s2, *s3, *l0, *l1, *l2, *l3], high)
        }
        _ => ([0; 8], aad),
    };
    hmac.update(&header);
    hmac.update(iv);
    hmac.update(ciphertext);
    hmac.update(high);
    let full = hmac.finalize().into_bytes();
    let mut first = [0; MAX_ICV];
    let len = full.len().min(MAX_ICV);
    first[..len].copy_from_slice(&full[..len]);
    first
}
