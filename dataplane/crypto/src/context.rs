//! Expanded keys of one SA in one direction: wiped when dropped, never printed.

use std::fmt;

use crate::portable::{OpenKeys, SealKeys};
use crate::suite::Suite;

/// The key material is not [`Suite::key_len`] bytes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLengthWrong {
    /// Its length in bytes.
    pub len: usize,
    /// The length that the suite needs.
    pub needed: usize,
}

impl KeyLengthWrong {
    /// What is wrong with `key` for `suite`.
    const fn of(suite: Suite, key: &[u8]) -> Self {
        Self {
            len: key.len(),
            needed: suite.key_len(),
        }
    }
}

impl fmt::Display for KeyLengthWrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "key material of {} bytes, {} needed",
            self.len, self.needed
        )
    }
}

impl std::error::Error for KeyLengthWrong {}

/// Keys of an outbound SA.
#[repr(align(64))]
pub struct SealContext {
    suite: Suite,
    pub(crate) keys: SealKeys,
}

impl SealContext {
    /// Expands the keys of an outbound SA.
    ///
    /// `key`: AES key, then salt or integrity key, [`Suite::key_len`] bytes. The caller wipes it.
    ///
    /// # Errors
    /// [`KeyLengthWrong`] if `key` has another length.
    pub fn new(suite: Suite, key: &[u8]) -> Result<Self, KeyLengthWrong> {
        let keys = SealKeys::new(suite, key).ok_or_else(|| KeyLengthWrong::of(suite, key))?;
        Ok(Self { suite, keys })
    }

    /// The suite it was made for.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// Makes the IV of the packet with this sequence number; the same number must never be used twice with the same keys.
    ///
    /// AES-GCM: the number itself in the first 8 bytes, zeros behind. AES-CBC: the number encrypted as one block, which nobody
    /// without the key can predict.
    ///
    /// # Source
    /// RFC 4106 §3.1; RFC 3602 §3 and NIST SP 800-38A appendix C, first method.
    pub fn iv(&self, sequence: u64) -> [u8; 16] {
        self.keys.iv(sequence)
    }
}

impl fmt::Debug for SealContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SealContext {{ suite: {:?}, keys: [redacted] }}",
            self.suite
        )
    }
}

/// Keys of an inbound SA.
#[repr(align(64))]
pub struct OpenContext {
    suite: Suite,
    pub(crate) keys: OpenKeys,
}

impl OpenContext {
    /// Expands the keys of an inbound SA.
    ///
    /// `key`: AES key, then salt or integrity key, [`Suite::key_len`] bytes. The caller wipes it.
    ///
    /// # Errors
    /// [`KeyLengthWrong`] if `key` has another length.
    pub fn new(suite: Suite, key: &[u8]) -> Result<Self, KeyLengthWrong> {
        let keys = OpenKeys::new(suite, key).ok_or_else(|| KeyLengthWrong::of(suite, key))?;
        Ok(Self { suite, keys })
    }

    /// The suite it was made for.
    pub const fn suite(&self) -> Suite {
        self.suite
    }
}

impl fmt::Debug for OpenContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "OpenContext {{ suite: {:?}, keys: [redacted] }}",
            self.suite
        )
    }
}
