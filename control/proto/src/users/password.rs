//! Passwords in memory, and the work of checking one.

use std::fmt;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use serde::{Deserialize, Deserializer, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::crypto::mschapv2::NtHash;
use crate::users::Credential;

/// A password or secret: wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// It as text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<&[u8]> for Password {
    fn from(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Reads an optional password that a file gives as text.
///
/// # Errors
/// What the format's reader reports.
pub(super) fn from_text<'de, D: Deserializer<'de>>(
    reader: D,
) -> Result<Option<Password>, D::Error> {
    let text = Option::<Zeroizing<String>>::deserialize(reader)?;
    Ok(text.map(|text| Password::from(text.as_str())))
}

/// The work of comparing a password with what is stored: up to a tenth of a second.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordCheck {
    stored: Stored,
    /// A hash to compute for nothing, so that every user costs the same.
    decoy: Option<String>,
    password: Password,
}

/// What a password is compared with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Stored {
    /// There is no such user.
    Nothing,
    Argon2(String),
    NtHash(Password),
    Secret(Password),
}

impl PasswordCheck {
    /// Prepares to compare `password` with `credential`; whatever that is, one Argon2 hash is computed if there is a `decoy`.
    pub(super) fn new(
        credential: Option<&Credential>,
        decoy: Option<&String>,
        password: Password,
    ) -> Self {
        let stored = match credential {
            None => Stored::Nothing,
            Some(Credential::Argon2(hash)) => Stored::Argon2(hash.clone()),
            Some(Credential::NtHash(hash)) => Stored::NtHash(Password::from(&hash.expose()[..])),
            Some(Credential::Secret(secret)) => Stored::Secret(secret.clone()),
        };
        let decoy = match stored {
            Stored::Argon2(_) => None,
            Stored::Nothing | Stored::NtHash(_) | Stored::Secret(_) => decoy.cloned(),
        };
        Self {
            stored,
            decoy,
            password,
        }
    }

    /// Does the work: whether the password is right.
    pub fn run(&self) -> bool {
        let password = self.password.as_bytes();
        if let Some(decoy) = &self.decoy {
            std::hint::black_box(is_hash_of(decoy, password));
        }
        match &self.stored {
            Stored::Nothing => false,
            Stored::Argon2(hash) => is_hash_of(hash, password),
            Stored::NtHash(hash) => {
                let given = self.password.as_str().map(NtHash::of_password);
                given.is_some_and(|given| given.expose().ct_eq(hash.as_bytes()).into())
            }
            Stored::Secret(secret) => secret.as_bytes().ct_eq(password).into(),
        }
    }

    /// Number of Argon2 hashes that [`Self::run`] computes.
    #[cfg(test)]
    pub(super) fn hashes(&self) -> usize {
        usize::from(matches!(self.stored, Stored::Argon2(_))) + usize::from(self.decoy.is_some())
    }
}

impl fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordCheck([redacted])")
    }
}

fn is_hash_of(hash: &str, password: &[u8]) -> bool {
    Argon2::default().verify_password(password, hash).is_ok()
}

/// A PHC string for `password`, cheap enough for tests.
#[cfg(test)]
pub(super) fn hash_for_tests(password: &str) -> String {
    use argon2::password_hash::PasswordHasher;
    use argon2::password_hash::phc::PasswordHash;
    use argon2::{Algorithm, Params, Version};
    let params = Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash = argon2
        .hash_password_with_salt(password.as_bytes(), b"saltsaltsalt")
        .unwrap();
    hash.to_string()
}
