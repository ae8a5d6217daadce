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
