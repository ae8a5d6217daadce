//! The algorithm suites of ESP and the sizes that follow from them.

use serde::{Deserialize, Serialize};

/// Cipher and integrity algorithm of an ESP SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Suite {
    /// AES-128-GCM with a 16-byte ICV (RFC 4106).
    AesGcm128,
    /// AES-256-GCM with a 16-byte ICV (RFC 4106).
    AesGcm256,
    /// AES-128-CBC (RFC 3602) with HMAC-SHA1-96 (RFC 2404).
    AesCbc128HmacSha1,
    /// AES-256-CBC with HMAC-SHA1-96.
    AesCbc256HmacSha1,
    /// AES-128-CBC with HMAC-SHA2-256-128 (RFC 4868).
    AesCbc128HmacSha256,
    /// AES-256-CBC with HMAC-SHA2-256-128.
    AesCbc256HmacSha256,
}

/// Pad length and next header: the two bytes that end every ESP plaintext (RFC 4303 §2.4, §2.6).
const TRAILER_LEN: usize = 2;

impl Suite {
    /// Every suite.
    pub const ALL: [Self; 6] = [
        Self::AesGcm128,
        Self::AesGcm256,
        Self::AesCbc128HmacSha1,
        Self::AesCbc256HmacSha1,
        Self::AesCbc128HmacSha256,
        Self::AesCbc256HmacSha256,
    ];

    /// Bytes of the AES key: 16 or 32.
    pub const fn cipher_key_len(self) -> usize {
        match self {
            Self::AesGcm128 | Self::AesCbc128HmacSha1 | Self::AesCbc128HmacSha256 => 16,
            Self::AesGcm256 | Self::AesCbc256HmacSha1 | Self::AesCbc256HmacSha256 => 32,
        }
    }

    /// Bytes of all key material of one direction: the AES key, then the 4-byte salt (AES-GCM) or the integrity key. 20 to 64.
    pub const fn key_len(self) -> usize {
        self.cipher_key_len()
            + match self {
                Self::AesGcm128 | Self::AesGcm256 => 4,
                Self::AesCbc128HmacSha1 | Self::AesCbc256HmacSha1 => 20,
                Self::AesCbc128HmacSha256 | Self::AesCbc256HmacSha256 => 32,
            }
    }

    /// Bytes of IV in each packet: 8 (AES-GCM) or 16.
    pub const fn iv_len(self) -> usize {
        match self {
            Self::AesGcm128 | Self::AesGcm256 => 8,
            Self::AesCbc128HmacSha1
            | Self::AesCbc256HmacSha1
            | Self::AesCbc128HmacSha256
            | Self::AesCbc256HmacSha256 => 16,
        }
    }

    /// Bytes of ICV in each packet: 16, or 12 with HMAC-SHA1-96.
    pub const fn icv_len(self) -> usize {
        match self {
            Self::AesCbc128HmacSha1 | Self::AesCbc256HmacSha1 => 12,
            Self::AesGcm128
            | Self::AesGcm256
            | Self::AesCbc128HmacSha256
            | Self::AesCbc256HmacSha256 => 16,
        }
    }

    /// What the length of an ESP plaintext, trailer included, is a multiple of: 4 (AES-GCM) or 16 bytes.
    pub const fn alignment(self) -> usize {
        match self {
            Self::AesGcm128 | Self::AesGcm256 => 4,
            Self::AesCbc128HmacSha1
            | Self::AesCbc256HmacSha1
            | Self::AesCbc128HmacSha256
            | Self::AesCbc256HmacSha256 => 16,
        }
    }

    /// Fewest padding bytes between a payload of `payload_len` bytes and the two trailer bytes: 0 to 3, or 0 to 15.
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
    /// `None` if that is no length of a sealed payload: shorter than IV and ICV, or, with AES-CBC, not whole blocks, at least one.
    pub const fn opened_len(self, sealed_len: usize) -> Option<usize> {
        let Some(len) = sealed_len.checked_sub(self.iv_len() + self.icv_len()) else {
            return None;
        };
        if self.is_cbc() && (len == 0 || !len.is_multiple_of(16)) {
            return None;
        }
        Some(len)
    }

    /// Whether the cipher works whole blocks only.
    pub(crate) const fn is_cbc(self) -> bool {
        match self {
            Self::AesGcm128 | Self::AesGcm256 => false,
            Self::AesCbc128HmacSha1
            | Self::AesCbc256HmacSha1
            | Self::AesCbc128HmacSha256
            | Self::AesCbc256HmacSha256 => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(Suite::AesGcm128.opened_len(23), None);
        assert_eq!(Suite::AesGcm128.opened_len(24), Some(0));
        assert_eq!(Suite::AesCbc128HmacSha1.opened_len(27), None);
        assert_eq!(Suite::AesCbc128HmacSha1.opened_len(28), None);
        assert_eq!(Suite::AesCbc128HmacSha1.opened_len(43), None);
        assert_eq!(Suite::AesCbc128HmacSha1.opened_len(44), Some(16));
        assert_eq!(Suite::AesCbc256HmacSha256.opened_len(48), Some(16));
        assert_eq!(Suite::AesCbc256HmacSha256.opened_len(49), None);
    }
}
