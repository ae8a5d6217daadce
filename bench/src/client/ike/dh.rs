//! Diffie–Hellman groups of IKEv1: MODP (RFC 2409 §6.2, RFC 3526) and the NIST curves (RFC 5903).

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use p256::elliptic_curve::Generate;
use p256::elliptic_curve::sec1::ToSec1Point;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use zeroize::Zeroizing;

mod primes;

/// A group that phase 1 may negotiate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Group 2.
    Modp1024,
    /// Group 5.
    Modp1536,
    /// Group 14.
    Modp2048,
    /// Group 15.
    Modp3072,
    /// Group 16.
    Modp4096,
    /// Group 19.
    Ecp256,
    /// Group 20.
    Ecp384,
}

/// The other side's public value is not one of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPublicValue;

/// An ephemeral private value.
pub enum Secret {
    /// Exponent in a MODP group.
    Modp(Box<Modp>),
    /// Scalar on P-256.
    Ecp256(Box<p256::SecretKey>),
    /// Scalar on P-384.
    Ecp384(Box<p384::SecretKey>),
}

/// An exponent with the modulus of its group.
pub struct Modp {
    params: BoxedMontyParams,
    exponent: Zeroizing<BoxedUint>,
    len: usize,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Bytes of a MODP exponent: twice the strength of the largest group (RFC 7919 Appendix A), rounded up.
const EXPONENT_BYTES: usize = 48;

impl Group {
    /// Draws a private value.
    pub fn generate(self, rng: &mut ChaCha20Rng) -> Secret {
        match self {
            Self::Modp1024 => Modp::generate(primes::P1024, rng),
            Self::Modp1536 => Modp::generate(primes::P1536, rng),
            Self::Modp2048 => Modp::generate(primes::P2048, rng),
            Self::Modp3072 => Modp::generate(primes::P3072, rng),
            Self::Modp4096 => Modp::generate(primes::P4096, rng),
            Self::Ecp256 => Secret::Ecp256(Box::new(p256::SecretKey::generate_from_rng(rng))),
            Self::Ecp384 => Secret::Ecp384(Box::new(p384::SecretKey::generate_from_rng(rng))),
        }
    }
}

impl Secret {
    /// The public value as it stands in a KE payload: as long as the prime, 64 or 96 bytes.
    pub fn public_value(&self) -> Vec<u8> {
        match self {
            Self::Modp(modp) => modp.power(&number(&[2], modp.len)),
            Self::Ecp256(secret) => {
                coordinates(secret.public_key().to_sec1_point(false).as_bytes())
            }
            Self::Ecp384(secret) => {
                coordinates(secret.public_key().to_sec1_point(false).as_bytes())
            }
        }
    }

    /// The shared secret g^xy: as long as the prime, 32 or 48 bytes.
    ///
    /// # Errors
    /// [`BadPublicValue`] if the length is wrong, the point is not on the curve, or the number is not within 2 to p − 2.
    pub fn agree(&self, theirs: &[u8]) -> Result<Zeroizing<Vec<u8>>, BadPublicValue> {
        match self {
            Self::Modp(modp) => modp.agree(theirs),
            Self::Ecp256(secret) => {
                let point = p256::PublicKey::from_sec1_bytes(&uncompressed(theirs, 64)?);
                let shared = secret.diffie_hellman(&point.map_err(|_| BadPublicValue)?);
                Ok(Zeroizing::new(shared.raw_secret_bytes().to_vec()))
            }
            Self::Ecp384(secret) => {
                let point = p384::PublicKey::from_sec1_bytes(&uncompressed(theirs, 96)?);
                let shared = secret.diffie_hellman(&point.map_err(|_| BadPublicValue)?);
                Ok(Zeroizing::new(shared.raw_secret_bytes().to_vec()))
            }
        }
    }
}

impl Modp {
    fn generate(prime: &str, rng: &mut ChaCha20Rng) -> Secret {
        let len = prime.len() / 2;
        let prime = BoxedUint::from_be_hex(prime, bits(len))
            .into_option()
            .and_then(|prime| Odd::new(prime).into_option())
            .expect("the primes are hexadecimal and odd");
        let mut exponent = Zeroizing::new([0; EXPONENT_BYTES]);
        rng.fill_bytes(exponent.as_mut_slice());
        Secret::Modp(Box::new(Self {
            params: BoxedMontyParams::new_vartime(prime),
            exponent: Zeroizing::new(number(&*exponent, EXPONENT_BYTES)),
            len,
        }))
    }

    fn agree(&self, theirs: &[u8]) -> Result<Zeroizing<Vec<u8>>, BadPublicValue> {
        if theirs.len() != self.len {
            return Err(BadPublicValue);
        }
        let public = number(theirs, self.len);
        let two = number(&[2], self.len);
        let largest = self.params.modulus().as_ref().wrapping_sub(&two);
        if public < two || public > largest {
            return Err(BadPublicValue);
        }
        Ok(Zeroizing::new(self.power(&public)))
    }

    fn power(&self, base: &BoxedUint) -> Vec<u8> {
        let base = BoxedMontyForm::new(base.clone(), &self.params);
        base.pow(&self.exponent).retrieve().to_be_bytes().into_vec()
    }
}

/// A big-endian number with room for `len` bytes.
fn number(bytes: &[u8], len: usize) -> BoxedUint {
    BoxedUint::from_be_slice_truncated(bytes, bits(len))
}

fn bits(bytes: usize) -> u32 {
    u32::try_from(bytes * 8).unwrap_or(u32::MAX)
}

/// x and y without the tag byte of SEC 1 (RFC 5903 §7).
fn coordinates(sec1: &[u8]) -> Vec<u8> {
    sec1.get(1..).unwrap_or_default().to_vec()
}

fn uncompressed(theirs: &[u8], len: usize) -> Result<Vec<u8>, BadPublicValue> {
    if theirs.len() != len {
        return Err(BadPublicValue);
    }
    Ok([&[0x04], theirs].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    const GROUPS: [Group; 7] = [
        Group::Modp1024,
        Group::Modp1536,
        Group::Modp2048,
        Group::Modp3072,
        Group::Modp4096,
        Group::Ecp256,
        Group::Ecp384,
    ];

    #[test]
    fn both_sides_agree_in_every_group() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for group in GROUPS {
            let (a, b) = (group.generate(&mut rng), group.generate(&mut rng));
            let shared = a.agree(&b.public_value()).unwrap();
            assert_eq!(shared, b.agree(&a.public_value()).unwrap());
            assert!(shared.iter().any(|byte| *byte != 0));
        }
    }

    #[test]
    fn public_values_outside_the_group_are_refused() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        for group in GROUPS {
            let secret = group.generate(&mut rng);
            let len = secret.public_value().len();
            for bad in [vec![], vec![0; len], vec![0xFF; len], vec![2; len + 1]] {
                assert_eq!(secret.agree(&bad), Err(BadPublicValue));
            }
        }
    }

    /// RFC 5903 §8.1.
    #[test]
    fn ecp256_agrees_with_the_rfc() {
        let secret = "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433";
        let secret = p256::SecretKey::from_slice(&hex::decode(secret).unwrap()).unwrap();
        let theirs = "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF6356FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB";
        let shared = Secret::Ecp256(Box::new(secret)).agree(&hex::decode(theirs).unwrap());
        let expected = "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de";
        assert_eq!(hex::encode(&*shared.unwrap()), expected);
    }
}
