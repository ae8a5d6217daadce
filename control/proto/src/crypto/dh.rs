//! Diffie-Hellman of IKE: RFC 2409 §6.2 and RFC 3526 (MODP), RFC 5903 (ECP).
//!
//! ```text
//! group             public value on the wire     shared secret     private scalar
//! MODP 2, 5, 14     128, 192, 256 bytes          as long as p      32 random bytes
//! MODP 15, 16       384, 512 bytes               as long as p      36, 42 random bytes
//! ECP 19, 20        x ‖ y: 64, 96 bytes          x: 32, 48 bytes   1 to order − 1: 32, 48 bytes
//! ```
//! Numbers are big-endian and keep leading zeros. A peer's public value is checked before it is used: 0, 1, p − 1 and everything from p on,
//! points off the curve, and other lengths are refused. Computing takes milliseconds: it is work for a [`crate::job`].

mod ecp;
mod modp;

use std::fmt;

use aws_lc_rs::agreement::{ECDH_P256, ECDH_P384};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::rows::KeyMaterial;

/// A Diffie-Hellman group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Group {
    /// Group 2; only behind the legacy gate.
    Modp1024,
    /// Group 5; only behind the legacy gate.
    Modp1536,
    /// Group 14.
    Modp2048,
    /// Group 15.
    Modp3072,
    /// Group 16.
    Modp4096,
    /// Group 19: NIST P-256.
    Ecp256,
    /// Group 20: NIST P-384.
    Ecp384,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 7] = [
        Self::Modp1024,
        Self::Modp1536,
        Self::Modp2048,
        Self::Modp3072,
        Self::Modp4096,
        Self::Ecp256,
        Self::Ecp384,
    ];

    /// The group with this number in IANA's registry; `None` if it is not ours.
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            2 => Some(Self::Modp1024),
            5 => Some(Self::Modp1536),
            14 => Some(Self::Modp2048),
            15 => Some(Self::Modp3072),
            16 => Some(Self::Modp4096),
            19 => Some(Self::Ecp256),
            20 => Some(Self::Ecp384),
            _ => None,
        }
    }

    /// Its number in IANA's registry.
    pub const fn number(self) -> u16 {
        match self {
            Self::Modp1024 => 2,
            Self::Modp1536 => 5,
            Self::Modp2048 => 14,
            Self::Modp3072 => 15,
            Self::Modp4096 => 16,
            Self::Ecp256 => 19,
            Self::Ecp384 => 20,
        }
    }

    /// Bytes of a public value.
    pub const fn public_len(self) -> usize {
        match self {
            Self::Modp1024 => 128,
            Self::Modp1536 => 192,
            Self::Modp2048 => 256,
            Self::Modp3072 => 384,
            Self::Modp4096 => 512,
            Self::Ecp256 => 64,
            Self::Ecp384 => 96,
        }
    }

    /// Bytes of a shared secret.
    pub const fn shared_len(self) -> usize {
        match self {
            Self::Ecp256 | Self::Ecp384 => self.public_len() / 2,
            Self::Modp1024 | Self::Modp1536 | Self::Modp2048 | Self::Modp3072 | Self::Modp4096 => {
                self.public_len()
            }
        }
    }

    /// Bytes of a private scalar that we draw.
    ///
    /// Not less than what NIST SP 800-56A rev. 3 (224, 256 and 304 bits for groups 14, 15 and 16) and RFC 7919 Appendix A (225, 275 and
    /// 325 for primes of their lengths) ask for: an exponent has twice as many bits as the group has strength.
    const fn scalar_len(self) -> usize {
        match self {
            Self::Modp1024 | Self::Modp1536 | Self::Modp2048 | Self::Ecp256 => 32,
            Self::Modp3072 => 36,
            Self::Modp4096 => 42,
            Self::Ecp384 => 48,
        }
    }
}

/// Why there is no public value or shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DhError {
    /// Malformed: the peer's public value has another length than its group's.
    Length {
        /// Its length in bytes.
        len: usize,
        /// The group's.
        needed: usize,
    },
    /// Misbehaved: the peer's public value is no element of the group, or one that makes the secret guessable.
    Public,
    /// Our own private scalar is zero, out of range or of a wrong length.
    Private,
}

impl fmt::Display for DhError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { len, needed } => {
                write!(f, "public value of {len} bytes, {needed} needed")
            }
            Self::Public => f.write_str("public value outside the group"),
            Self::Private => f.write_str("private scalar out of range"),
        }
    }
}

impl std::error::Error for DhError {}

/// Our half of an exchange.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Private {
    group: Group,
    scalar: KeyMaterial,
}

/// What both ends computed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SharedSecret(KeyMaterial);

/// Draws a private scalar and computes its public value, [`Group::public_len`] bytes.
pub fn generate(group: Group, rng: &mut dyn CryptoRng) -> (Private, Vec<u8>) {
    loop {
        let private = Private::draw(group, rng);
        // Zero, or not below the order of the curve: fewer than one draw in 2³².
        if let Ok(public) = private.public() {
            return (private, public);
        }
    }
}

/// Checks the peer's public value and computes the shared secret, [`Group::shared_len`] bytes.
///
/// # Errors
/// [`DhError::Length`] or [`DhError::Public`] if the peer's value is to be refused; [`DhError::Private`] if ours is damaged.
///
/// # Source
/// NIST SP 800-56A rev. 3 §5.6.2.3 (partial validation for MODP, full for ECP); RFC 5903 §7, §9.
pub fn agree(private: &Private, peer_public: &[u8]) -> Result<SharedSecret, DhError> {
    let (len, needed) = (peer_public.len(), private.group.public_len());
    if len != needed {
        return Err(DhError::Length { len, needed });
    }
    let scalar = private.scalar.expose();
    match private.group {
        Group::Modp1024 => modp::agree::<modp::P1024, _>(scalar, peer_public),
        Group::Modp1536 => modp::agree::<modp::P1536, _>(scalar, peer_public),
        Group::Modp2048 => modp::agree::<modp::P2048, _>(scalar, peer_public),
        Group::Modp3072 => modp::agree::<modp::P3072, _>(scalar, peer_public),
        Group::Modp4096 => modp::agree::<modp::P4096, _>(scalar, peer_public),
        Group::Ecp256 => ecp::agree(&ECDH_P256, scalar, peer_public),
        Group::Ecp384 => ecp::agree(&ECDH_P384, scalar, peer_public),
    }
    .map(|secret| SharedSecret(KeyMaterial::new(secret)))
}

impl Private {
    /// Takes a given scalar, big-endian: as long as the order (ECP), or 20 to 64 bytes (MODP).
    ///
    /// # Errors
    /// [`DhError::Private`] if it is zero, out of range or of another length.
    pub fn from_bytes(group: Group, scalar: &[u8]) -> Result<Self, DhError> {
        let scalar = KeyMaterial::new(Zeroizing::new(scalar.to_vec()));
        match group {
            Group::Ecp256 => ecp::check(&ECDH_P256, scalar.expose()),
            Group::Ecp384 => ecp::check(&ECDH_P384, scalar.expose()),
            Group::Modp1024
            | Group::Modp1536
            | Group::Modp2048
            | Group::Modp3072
            | Group::Modp4096 => modp::check(scalar.expose()),
        }?;
        Ok(Self { group, scalar })
    }

    /// The group.
    pub const fn group(&self) -> Group {
        self.group
    }

    /// Computes the public value, [`Group::public_len`] bytes.
    ///
    /// # Errors
    /// [`DhError::Private`] if the scalar is damaged, which only restored state can be.
    pub fn public(&self) -> Result<Vec<u8>, DhError> {
        let scalar = self.scalar.expose();
        match self.group {
            Group::Modp1024 => modp::public::<modp::P1024, _>(scalar),
            Group::Modp1536 => modp::public::<modp::P1536, _>(scalar),
            Group::Modp2048 => modp::public::<modp::P2048, _>(scalar),
            Group::Modp3072 => modp::public::<modp::P3072, _>(scalar),
            Group::Modp4096 => modp::public::<modp::P4096, _>(scalar),
            Group::Ecp256 => ecp::public(&ECDH_P256, scalar),
            Group::Ecp384 => ecp::public(&ECDH_P384, scalar),
        }
    }

    /// Draws a scalar that may still be out of range.
    fn draw(group: Group, rng: &mut dyn CryptoRng) -> Self {
        let mut scalar = Zeroizing::new(vec![0; group.scalar_len()]);
        rng.fill_bytes(&mut scalar);
        Self {
            group,
            scalar: KeyMaterial::new(scalar),
        }
    }
}

impl SharedSecret {
    /// Takes over a secret that was computed elsewhere.
    pub const fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(KeyMaterial::new(bytes))
    }

    /// g^xy: the whole residue (MODP) or the x coordinate (ECP).
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}
