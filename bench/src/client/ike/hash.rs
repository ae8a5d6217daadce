//! Hashes of IKEv1 as values: the negotiated hash is also its prf, as HMAC (RFC 2409 §4).

use hmac::{Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha384};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A hash that phase 1 may negotiate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1.
    Sha1,
    /// SHA2-256 (RFC 4868).
    Sha256,
    /// SHA2-384 (RFC 4868).
    Sha384,
}

/// The output of a hash or prf: 20 to 48 bytes, wiped when dropped because it may be a key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Output {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl Output {
    /// The longest output, that of SHA2-384.
    pub const MAX: usize = 48;

    fn new(output: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX];
        let len = output.len().min(Self::MAX);
        for (to, from) in bytes.iter_mut().zip(output) {
            *to = *from;
        }
        Self { bytes, len }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Hash {
    /// Hashes `parts` one after another.
    pub fn digest(self, parts: &[&[u8]]) -> Output {
        match self {
            Self::Sha1 => digest::<Sha1>(parts),
            Self::Sha256 => digest::<Sha256>(parts),
            Self::Sha384 => digest::<Sha384>(parts),
        }
    }

    /// The prf: HMAC of `parts` one after another, under a key of any length.
    pub fn prf(self, key: &[u8], parts: &[&[u8]]) -> Output {
        match self {
            Self::Sha1 => mac(Hmac::<Sha1>::new_from_slice(key), parts),
            Self::Sha256 => mac(Hmac::<Sha256>::new_from_slice(key), parts),
            Self::Sha384 => mac(Hmac::<Sha384>::new_from_slice(key), parts),
        }
    }
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Output {
    let mut hash = D::new();
    for part in parts {
        hash.update(part);
    }
    Output::new(&hash.finalize())
}

fn mac<M: Mac, E: std::fmt::Debug>(mac: Result<M, E>, parts: &[&[u8]]) -> Output {
    let mut mac = mac.expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    Output::new(&mac.finalize().into_bytes())
}
