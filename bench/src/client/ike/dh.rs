//! Diffie–Hellman groups of IKEv1: MODP-2048 (RFC 3526 §3) and the NIST curves (RFC 5903).

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U2048};
use p256::elliptic_curve::Generate;
use p256::elliptic_curve::sec1::ToSec1Point;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use zeroize::Zeroizing;

/// A group that phase 1 may negotiate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Group 14.
    Modp2048,
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
    /// Exponent in group 14.
    Modp2048(Box<Zeroizing<U2048>>),
    /// Scalar on P-256.
    Ecp256(Box<p256::SecretKey>),
    /// Scalar on P-384.
    Ecp384(Box<p384::SecretKey>),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

const PRIME: Odd<U2048> = Odd::from_be_hex(concat!(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74",
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437",
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED",
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05",
    "98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB",
    "9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B",
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718",
    "3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF"
));

/// Bits of a MODP-2048 exponent: twice the strength of the group (RFC 3526 §8), rounded up.
const EXPONENT_BYTES: usize = 40;

impl Group {
    /// Draws a private value.
    pub fn generate(self, rng: &mut ChaCha20Rng) -> Secret {
        match self {
            Self::Modp2048 => {
                let mut bytes = Zeroizing::new([0; 256]);
                let at = bytes.len() - EXPONENT_BYTES;
                rng.fill_bytes(bytes.split_at_mut(at).1);
                Secret::Modp2048(Box::new(Zeroizing::new(U2048::from_be_slice(&*bytes))))
            }
            Self::Ecp256 => Secret::Ecp256(Box::new(p256::SecretKey::generate_from_rng(rng))),
            Self::Ecp384 => Secret::Ecp384(Box::new(p384::SecretKey::generate_from_rng(rng))),
        }
    }
}

impl Secret {
    /// The public value as it stands in a KE payload: 256, 64 or 96 bytes.
    pub fn public_value(&self) -> Vec<u8> {
        match self {
            Self::Modp2048(exponent) => power(&U2048::from_u8(2), exponent).to_vec(),
            Self::Ecp256(secret) => {
                coordinates(secret.public_key().to_sec1_point(false).as_bytes())
            }
            Self::Ecp384(secret) => {
                coordinates(secret.public_key().to_sec1_point(false).as_bytes())
            }
        }
    }

    /// The shared secret g^xy: 256, 32 or 48 bytes.
    ///
    /// # Errors
    /// [`BadPublicValue`] if the length is wrong, the point is not on the curve, or the number is not within 2 to p − 2.
    pub fn agree(&self, theirs: &[u8]) -> Result<Zeroizing<Vec<u8>>, BadPublicValue> {
        match self {
            Self::Modp2048(exponent) => agree_modp(exponent, theirs),
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

fn agree_modp(exponent: &U2048, theirs: &[u8]) -> Result<Zeroizing<Vec<u8>>, BadPublicValue> {
    if theirs.len() != 256 {
        return Err(BadPublicValue);
    }
    let public = U2048::from_be_slice(theirs);
    let largest = PRIME.get().wrapping_sub(&U2048::from_u8(2));
    if public < U2048::from_u8(2) || public > largest {
        return Err(BadPublicValue);
    }
    Ok(Zeroizing::new(power(&public, exponent).to_vec()))
}

fn power(base: &U2048, exponent: &U2048) -> [u8; 256] {
    let params = FixedMontyParams::new_vartime(PRIME);
    let raised = FixedMontyForm::new(base, &params).pow(exponent).retrieve();
    let mut bytes = [0; 256];
    bytes.copy_from_slice(raised.to_be_bytes().as_ref());
    bytes
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

    const GROUPS: [Group; 3] = [Group::Modp2048, Group::Ecp256, Group::Ecp384];

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
