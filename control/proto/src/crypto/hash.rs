//! Hashes of IKE and the pseudo-random function made of them.
//!
//! RFC 2409 §4 and §5: the prf is the HMAC (RFC 2104) of the negotiated hash. Inputs are given in parts, which are concatenated.

use std::fmt;

use hmac::{EagerHash, Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A hash that IKE negotiates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Hash {
    /// SHA-1: 20 bytes.
    Sha1,
    /// SHA2-256: 32 bytes.
    Sha2_256,
    /// SHA2-384: 48 bytes.
    Sha2_384,
    /// SHA2-512: 64 bytes.
    Sha2_512,
}

impl Hash {
    /// Every hash.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha2_256, Self::Sha2_384, Self::Sha2_512];

    /// Bytes of output: 20 to 64.
    pub const fn output_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha2_256 => 32,
            Self::Sha2_384 => 48,
            Self::Sha2_512 => 64,
        }
    }

    /// Hashes the concatenation of `parts`.
    pub fn digest(self, parts: &[&[u8]]) -> Output {
        match self {
            Self::Sha1 => digest::<Sha1>(parts),
            Self::Sha2_256 => digest::<Sha256>(parts),
            Self::Sha2_384 => digest::<Sha384>(parts),
            Self::Sha2_512 => digest::<Sha512>(parts),
        }
    }

    /// prf(`key`, concatenation of `parts`); `key` has any length.
    pub fn prf(self, key: &[u8], parts: &[&[u8]]) -> Output {
        match self {
            Self::Sha1 => hmac::<Sha1>(key, parts),
            Self::Sha2_256 => hmac::<Sha256>(key, parts),
            Self::Sha2_384 => hmac::<Sha384>(key, parts),
            Self::Sha2_512 => hmac::<Sha512>(key, parts),
        }
    }
}

/// Output of a hash or prf, [`Hash::output_len`] bytes: wiped when dropped, never printed.
#[derive(Clone)]
pub struct Output {
    bytes: Zeroizing<[u8; 64]>,
    len: usize,
}

impl Output {
    /// Copies at most 64 bytes.
    fn new(bytes: &[u8]) -> Self {
        let mut output = Self {
            bytes: Zeroizing::new([0; 64]),
            len: bytes.len().min(64),
        };
        output.bytes[..output.len].copy_from_slice(&bytes[..output.len]);
        output
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The first 16 bytes; every hash has them.
    pub(super) fn head(&self) -> [u8; 16] {
        let mut head = [0; 16];
        head.copy_from_slice(&self.bytes[..16]);
        head
    }

    /// Whether `received` is the same, found in constant time; a wrong length is a mismatch.
    pub fn matches(&self, received: &[u8]) -> bool {
        self.as_bytes().ct_eq(received).into()
    }
}

impl AsRef<[u8]> for Output {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn digest<D: sha1::Digest>(parts: &[&[u8]]) -> Output {
    let mut hash = D::new();
    for part in parts {
        hash.update(part);
    }
    Output::new(&hash.finalize())
}

fn hmac<D: EagerHash>(key: &[u8], parts: &[&[u8]]) -> Output {
    let mut hmac =
        <Hmac<D> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        hmac.update(part);
    }
    Output::new(&hmac.finalize().into_bytes())
}
