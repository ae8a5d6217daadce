//! Expanded keys of one SA in one direction, made for an engine: wiped when dropped, never printed.
//!
//! A context is a handle of 16 bytes: what kind of keys, the suite, and a box of exactly the size that this kind needs. An engine works an
//! op by the kind its context has, so an op whose context was made for another engine is worked all the same.

use std::fmt;

use crate::engine::Engine;
use crate::portable;
#[cfg(target_arch = "x86_64")]
use crate::suite::AesKey;
use crate::suite::Suite;
#[cfg(target_arch = "x86_64")]
use crate::x86::{cbc, gcm::Schedule};

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
pub struct SealContext(pub(crate) SealForm);

/// The kinds of keys for sealing.
pub(crate) enum SealForm {
    Portable(Suite, Box<portable::SealKeys>),
    #[cfg(target_arch = "x86_64")]
    Gcm128(Box<Schedule<11>>),
    #[cfg(target_arch = "x86_64")]
    Gcm192(Box<Schedule<13>>),
    #[cfg(target_arch = "x86_64")]
    Gcm256(Box<Schedule<15>>),
    #[cfg(target_arch = "x86_64")]
    Cbc(cbc::Kind, cbc::Keys),
}

impl SealContext {
    /// Expands the keys of an outbound SA for `engine`.
    ///
    /// `key`: cipher key, then salt or integrity key, [`Suite::key_len`] bytes. The caller wipes it.
    ///
    /// # Errors
    /// [`KeyLengthWrong`] if `key` has another length.
    pub fn new(engine: Engine, suite: Suite, key: &[u8]) -> Result<Self, KeyLengthWrong> {
        engine
            .seal_form(suite, key)
            .map(Self)
            .ok_or_else(|| KeyLengthWrong::of(suite, key))
    }

    /// The suite it was made for.
    pub const fn suite(&self) -> Suite {
        match &self.0 {
            SealForm::Portable(suite, _) => *suite,
            #[cfg(target_arch = "x86_64")]
            SealForm::Gcm128(_) => Suite::AesGcm(AesKey::Bits128),
            #[cfg(target_arch = "x86_64")]
            SealForm::Gcm192(_) => Suite::AesGcm(AesKey::Bits192),
            #[cfg(target_arch = "x86_64")]
            SealForm::Gcm256(_) => Suite::AesGcm(AesKey::Bits256),
            #[cfg(target_arch = "x86_64")]
            SealForm::Cbc(kind, _) => kind.suite(),
        }
    }

    /// Makes the IV of the packet with this sequence number; the same number must never be used twice with the same keys.
    ///
    /// AES-GCM: the number itself in the first 8 bytes, zeros behind. CBC mode: the number encrypted as one block, which nobody
    /// without the key can predict.
    ///
    /// # Source
    /// RFC 4106 §3.1; RFC 3602 §3 and NIST SP 800-38A appendix C, first method.
    pub fn iv(&self, sequence: u64) -> [u8; 16] {
        match &self.0 {
            SealForm::Portable(_, keys) => keys.iv(sequence),
            #[cfg(target_arch = "x86_64")]
            SealForm::Gcm128(_) | SealForm::Gcm192(_) | SealForm::Gcm256(_) => {
                portable::counter_iv(sequence)
            }
            #[cfg(target_arch = "x86_64")]
            SealForm::Cbc(kind, keys) => keys.iv(*kind, sequence),
        }
    }

    /// Whether the engine encrypts the sequence number on its way, with other packets' beside it.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const fn engine_makes_ivs(&self) -> bool {
        matches!(self.0, SealForm::Cbc(..))
    }

    /// Asks the CPU to fetch the keys that a plaintext of `len` bytes needs, a burst or so before it is sealed.
    #[inline]
    pub fn prefetch(&self, len: usize) {
        match &self.0 {
            SealForm::Portable(..) => {}
            #[cfg(target_arch = "x86_64")]
            SealForm::Gcm128(keys) => keys.prefetch(len),
            #[cfg(target_arch = "x86_64")]
            SealForm::Gcm192(keys) => keys.prefetch(len),
            #[cfg(target_arch = "x86_64")]
            SealForm::Gcm256(keys) => keys.prefetch(len),
            #[cfg(target_arch = "x86_64")]
            SealForm::Cbc(_, keys) => keys.prefetch(),
        }
    }
}

impl fmt::Debug for SealContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suite = self.suite();
        write!(f, "SealContext {{ suite: {suite:?}, keys: [redacted] }}")
    }
}

/// Keys of an inbound SA.
pub struct OpenContext(pub(crate) OpenForm);

/// The kinds of keys for opening.
pub(crate) enum OpenForm {
    Portable(Suite, Box<portable::OpenKeys>),
    #[cfg(target_arch = "x86_64")]
    Gcm128(Box<Schedule<11>>),
    #[cfg(target_arch = "x86_64")]
    Gcm192(Box<Schedule<13>>),
    #[cfg(target_arch = "x86_64")]
    Gcm256(Box<Schedule<15>>),
    #[cfg(target_arch = "x86_64")]
    Cbc(cbc::Kind, cbc::Keys),
}

impl OpenContext {
    /// Expands the keys of an inbound SA for `engine`.
    ///
    /// `key`: cipher key, then salt or integrity key, [`Suite::key_len`] bytes. The caller wipes it.
    ///
    /// # Errors
    /// [`KeyLengthWrong`] if `key` has another length.
    pub fn new(engine: Engine, suite: Suite, key: &[u8]) -> Result<Self, KeyLengthWrong> {
        engine
            .open_form(suite, key)
            .map(Self)
            .ok_or_else(|| KeyLengthWrong::of(suite, key))
    }

    /// The suite it was made for.
    pub const fn suite(&self) -> Suite {
        match &self.0 {
            OpenForm::Portable(suite, _) => *suite,
            #[cfg(target_arch = "x86_64")]
            OpenForm::Gcm128(_) => Suite::AesGcm(AesKey::Bits128),
            #[cfg(target_arch = "x86_64")]
            OpenForm::Gcm192(_) => Suite::AesGcm(AesKey::Bits192),
            #[cfg(target_arch = "x86_64")]
            OpenForm::Gcm256(_) => Suite::AesGcm(AesKey::Bits256),
            #[cfg(target_arch = "x86_64")]
            OpenForm::Cbc(kind, _) => kind.suite(),
        }
    }

    /// Asks the CPU to fetch the keys that a plaintext of `len` bytes needs, a burst or so before it is opened.
    #[inline]
    pub fn prefetch(&self, len: usize) {
        match &self.0 {
            OpenForm::Portable(..) => {}
            #[cfg(target_arch = "x86_64")]
            OpenForm::Gcm128(keys) => keys.prefetch(len),
            #[cfg(target_arch = "x86_64")]
            OpenForm::Gcm192(keys) => keys.prefetch(len),
            #[cfg(target_arch = "x86_64")]
            OpenForm::Gcm256(keys) => keys.prefetch(len),
            #[cfg(target_arch = "x86_64")]
            OpenForm::Cbc(_, keys) => keys.prefetch(),
        }
    }
}

impl fmt::Debug for OpenContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suite = self.suite();
        write!(f, "OpenContext {{ suite: {suite:?}, keys: [redacted] }}")
    }
}

/// A row of a table holds a context, and a burst touches many: it stays small.
#[cfg(target_arch = "x86_64")]
const _: () = assert!(size_of::<SealContext>() == 16 && size_of::<OpenContext>() == 16);
