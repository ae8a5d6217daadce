//! The algorithm suites of ESP and the sizes that follow from them.

use serde::{Deserialize, Serialize};

/// Cipher and integrity algorithm of an ESP SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Suite {
    /// AES-GCM with a 16-byte ICV (RFC 4106).
    AesGcm(AesKey),
    /// AES-CBC (RFC 3602) with HMAC.
    AesCbcHmac(AesKey, Integrity),
    /// Triple DES in CBC mode with a 192-bit key (RFC 2451) and HMAC.
    TripleDesHmac(Integrity),
}

/// Length of an AES key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AesKey {
    /// 16 bytes, 10 rounds.
    Bits128,
    /// 24 bytes, 12 rounds.
    Bits192,
    /// 32 bytes, 14 rounds.
    Bits256,
}

/// HMAC by its hash, and how many bits of it are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Integrity {
    /// HMAC-SHA1-96 (RFC 2404).
    Sha1_96,
    /// HMAC-SHA2-256-128 (RFC 4868).
    Sha256_128,
    /// HMAC-SHA2-256 cut to 96 bits, as early Linux and Android do (draft-ietf-ipsec-ciph-sha-256-00).
    Sha256_96,
    /// HMAC-SHA2-384-192 (RFC 4868).
    Sha384_192,
    /// HMAC-SHA2-512-256 (RFC 4868).
    Sha512_256,
}

/// Pad length and next header: the two bytes that end every ESP plaintext (RFC 4303 §2.4, §2.6).
const TRAILER_LEN: usize = 2;

#[expect(
    clippy::len_without_is_empty,
    reason = "the length that the key has, not how many things are in it"
)]
impl AesKey {
    /// Every length, the shortest first.
    pub const ALL: [Self; 3] = [Self::Bits128, Self::Bits192, Self::Bits256];

    /// Bytes of the key: 16, 24 or 32.
    pub const fn len(self) -> usize {
        match self {
            Self::Bits128 => 16,
            Self::Bits192 => 24,
            Self::Bits256 => 32,
        }
    }
}

impl Integrity {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [
        Self::Sha1_96,
        Self::Sha256_128,
        Self::Sha256_96,
        Self::Sha384_192,
        Self::Sha512_256,
    ];

    /// Bytes of the key, as many as the hash has: 20 to 64.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Sha1_96 => 20,
            Self::Sha256_128 | Self::Sha256_96 => 32,
            Self::Sha384_192 => 48,
            Self::Sha512_256 => 64,
        }
    }

    /// Bytes of the hash that are sent: 12 to 32.
    pub const fn icv_len(self) -> usize {
        match self {
            Self::Sha1_96 | Self::Sha256_96 => 12,
            Self::Sha256_128 => 16,
            Self::Sha384_192 => 24,
            Self::Sha512_256 => 32,
        }
    }
}

impl Suite {
    /// Every suite.
    pub const ALL: [Self; 23] = every_suite();

    /// Bytes of the cipher's key: 16, 24 or 32.
    pub const fn cipher_key_len(self) -> usize {
        match self {
            Self::AesGcm(key) | Self::AesCbcHmac(key, _) => key.len(),
            Self::TripleDesHmac(_) => 24,
        }
    }

    /// Bytes of all key material of one direction: the cipher's key, then the 4-byte salt (AES-GCM) or the integrity key. 20 to 96.
    pub const fn key_len(self) -> usize {
        self.cipher_key_len()
            + match self {
                Self::AesGcm(_) => 4,
                Self::AesCbcHmac(_, integrity) | Self::TripleDesHmac(integrity) => {
                    integrity.key_len()
                }
            }
    }

    /// Bytes of IV in each packet: 16 (AES-CBC) or 8.
    pub const fn iv_len(self) -> usize {
        match self {
            Self::AesGcm(_) | Self::TripleDesHmac(_) => 8,
            Self::AesCbcHmac(..) => 16,
        }
    }

    /// Bytes of ICV in each packet: 12 to 32.
    pub const fn icv_len(self) -> usize {
        match self {
            Self::AesGcm(_) => 16,
            Self::AesCbcHmac(_, integrity) | Self::TripleDesHmac(integrity) => integrity.icv_len(),
        }
    }

    /// What the length of an ESP plaintext, trailer included, is a multiple of: 4 (AES-GCM), 8 (Triple DES) or 16 bytes.
    pub const fn alignment(self) -> usize {
        match self {
            Self::AesGcm(_) => 4,
            Self::AesCbcHmac(..) => 16,
            Self::TripleDesHmac(_) => 8,
        }
    }

    /// Fewest padding bytes between a payload of `payload_len` bytes and the two trailer bytes: 0 to 3, 7 or 15.
    ///
    /// # Source
    /// RFC 4303 §2.4.
    pub const fn pad_len(self, payload_len: usize) -> usize {
        let alignment = self.alignment();
        (alignment - (payload_len % alignment + TRAILER_LEN) % alignment) % alignment
    }

    /// Bytes of IV, ciphertext and ICV for `plaintext_len` bytes of plaintext, padding and trailer included.
    pub const fn sealed_len(self, plaintext_len: usize) -> usize {
        self.iv_len() + plaintext_len + self.icv_len()
    }

    /// Bytes of plaintext in `sealed_len` bytes of IV, ciphertext and ICV.
    ///
    /// `None` if that is no length of a sealed payload: shorter than IV and ICV, or, in CBC mode, not whole blocks, at least one.
    pub const fn opened_len(self, sealed_len: usize) -> Option<usize> {
        let Some(len) = sealed_len.checked_sub(self.iv_len() + self.icv_len()) else {
            return None;
        };
        if self.is_whole_text(len) {
            Some(len)
        } else {
            None
        }
    }

    /// Whether the cipher can work a text of `len` bytes: in CBC mode only whole blocks, at least one.
    pub(crate) const fn is_whole_text(self, len: usize) -> bool {
        !self.is_cbc() || (len != 0 && len.is_multiple_of(self.alignment()))
    }

    /// Whether the cipher works whole blocks only.
    pub(crate) const fn is_cbc(self) -> bool {
        !matches!(self, Self::AesGcm(_))
    }
}

/// AES-GCM first, then AES-CBC by key and integrity, then Triple DES.
const fn every_suite() -> [Suite; 23] {
    let mut all = [Suite::AesGcm(AesKey::Bits128); 23];
    let mut n = 0;
    while n < 3 {
        all[n] = Suite::AesGcm(AesKey::ALL[n]);
        n += 1;
    }
    while n < 18 {
        all[n] = Suite::AesCbcHmac(AesKey::ALL[(n - 3) / 5], Integrity::ALL[(n - 3) % 5]);
        n += 1;
    }
    while n < 23 {
        all[n] = Suite::TripleDesHmac(Integrity::ALL[n - 18]);
        n += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_suite_is_listed_once() {
        assert_eq!(HashSet::from(Suite::ALL).len(), 23);
    }

    #[test]
    fn padding_makes_payload_and_trailer_whole_blocks_and_is_never_longer_than_needed() {
        for suite in Suite::ALL {
            for payload_len in 0..200 {
                let pad_len = suite.pad_len(payload_len);
                assert!(pad_len < suite.alignment());
                assert!((payload_len + pad_len + 2).is_multiple_of(suite.alignment()));
            }
        }
    }

    #[test]
    fn opened_len_undoes_sealed_len() {
        for suite in Suite::ALL {
            for blocks in 1..100 {
                let len = blocks * suite.alignment();
                assert_eq!(suite.opened_len(suite.sealed_len(len)), Some(len));
            }
        }
    }

    #[test]
    fn a_length_without_room_for_iv_block_and_icv_is_refused() {
        let gcm = Suite::AesGcm(AesKey::Bits128);
        assert_eq!(gcm.opened_len(23), None);
        assert_eq!(gcm.opened_len(24), Some(0));
        let cbc = Suite::AesCbcHmac(AesKey::Bits128, Integrity::Sha1_96);
        assert_eq!(cbc.opened_len(27), None);
        assert_eq!(cbc.opened_len(28), None);
        assert_eq!(cbc.opened_len(43), None);
        assert_eq!(cbc.opened_len(44), Some(16));
        let cbc = Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha256_128);
        assert_eq!(cbc.opened_len(48), Some(16));
        assert_eq!(cbc.opened_len(49), None);
        let triple_des = Suite::TripleDesHmac(Integrity::Sha512_256);
        assert_eq!(triple_des.opened_len(40), None);
        assert_eq!(triple_des.opened_len(47), None);
        assert_eq!(triple_des.opened_len(48), Some(8));
    }
}
