//! What is stored about a user's secret.

use std::fmt;

use argon2::Params;
use argon2::password_hash::phc::PasswordHash;

use crate::crypto::mschapv2::NtHash;
use crate::users::{Entry, Method, Password};

/// Memory that one check may use, in KiB: what an operator cannot have meant is refused.
const MAX_MEMORY_KIB: u32 = 1 << 20;

/// What is stored about a user's secret.
#[derive(Clone)]
pub enum Credential {
    /// An Argon2 hash in PHC form: serves PAP only.
    Argon2(String),
    /// An NT hash: serves PAP and MS-CHAPv2.
    NtHash(NtHash),
    /// The secret itself: serves every method.
    Secret(Password),
}

/// Why a secret is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialError {
    /// There is not exactly one.
    NotOne,
    /// It is not an Argon2 hash in PHC form with a cost that we bear.
    Argon2,
    /// It has not 32 hex digits.
    NtHash,
}

impl Credential {
    /// Takes the one secret of an entry.
    pub(super) fn read(entry: &Entry) -> Result<Self, CredentialError> {
        match (&entry.argon2, &entry.nt_hash, &entry.secret) {
            (Some(hash), None, None) => {
                let hash = hash.as_str().filter(|hash| cost(hash).is_some());
                let hash = hash.ok_or(CredentialError::Argon2)?;
                Ok(Self::Argon2(hash.to_owned()))
            }
            (None, Some(digits), None) => nt_hash(digits).map(Self::NtHash),
            (None, None, Some(secret)) => Ok(Self::Secret(secret.clone())),
            _ => Err(CredentialError::NotOne),
        }
    }

    /// Whether a user with it can use the method.
    pub const fn serves(&self, method: Method) -> bool {
        match (self, method) {
            (Self::Secret(_), _) | (_, Method::Pap) | (Self::NtHash(_), Method::MsChapV2) => true,
            (Self::Argon2(_), Method::ChapMd5 | Method::MsChapV2)
            | (Self::NtHash(_), Method::ChapMd5) => false,
        }
    }

    /// The NT hash, if it is known.
    pub fn nt_hash(&self) -> Option<NtHash> {
        match self {
            Self::Argon2(_) => None,
            Self::NtHash(hash) => Some(hash.clone()),
            Self::Secret(secret) => Some(NtHash::of_password(secret.as_str()?)),
        }
    }

    /// The secret itself, if it is known.
    pub fn secret(&self) -> Option<&[u8]> {
        match self {
            Self::Argon2(_) | Self::NtHash(_) => None,
            Self::Secret(secret) => Some(secret.as_bytes()),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argon2(_) => "Argon2([redacted])",
            Self::NtHash(_) => "NtHash([redacted])",
            Self::Secret(_) => "Secret([redacted])",
        })
    }
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOne => "expected exactly one of argon2, nt-hash and secret",
            Self::Argon2 => "expected an Argon2 hash in PHC form that needs at most 1 GiB",
            Self::NtHash => "expected an NT hash of 32 hex digits",
        })
    }
}

impl std::error::Error for CredentialError {}

/// The hash that costs most to check.
pub(super) fn costliest<'a>(credentials: impl Iterator<Item = &'a Credential>) -> Option<String> {
    let hashes = credentials.filter_map(|credential| match credential {
        Credential::Argon2(hash) => Some(hash),
        Credential::NtHash(_) | Credential::Secret(_) => None,
    });
    hashes.max_by_key(|hash| cost(hash)).cloned()
}

/// Memory times passes; `None` if it is no hash that we check.
fn cost(hash: &str) -> Option<u64> {
    let hash = PasswordHash::new(hash).ok()?;
    let known = ["argon2id", "argon2i", "argon2d"].contains(&hash.algorithm.as_str());
    let complete = hash.hash.is_some() && hash.salt.is_some();
    let params = Params::try_from(&hash).ok()?;
    let bearable = params.m_cost() <= MAX_MEMORY_KIB && params.t_cost() <= 64;
    (known && complete && bearable).then(|| u64::from(params.m_cost()) * u64::from(params.t_cost()))
}

fn nt_hash(digits: &Password) -> Result<NtHash, CredentialError> {
    let mut hash = [0; 16];
    if digits.as_bytes().len() != 2 * hash.len() {
        return Err(CredentialError::NtHash);
    }
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let nibble = |digit: u8| char::from(digit).to_digit(16);
        let value = pair
            .iter()
            .try_fold(0, |value, &digit| Some(value * 16 + nibble(digit)?));
        *byte = value
            .and_then(|value| u8::try_from(value).ok())
            .ok_or(CredentialError::NtHash)?;
    }
    Ok(NtHash::new(hash))
}
