//! Diffie-Hellman over NIST curves as IKE carries it: RFC 5903 §7.
//!
//! The library would draw private scalars itself; here they are drawn by the caller and handed over, so that a run repeats from its seed.

use aws_lc_rs::agreement::{self, Algorithm, PrivateKey, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::DhError;

/// Tag of an uncompressed point (SEC 1 §2.3.3); IKE leaves it out.
const UNCOMPRESSED: u8 = 0x04;

/// Whether the scalar is one of the curve's.
pub(super) fn check(curve: &'static Algorithm, scalar: &[u8]) -> Result<(), DhError> {
    private_key(curve, scalar).map(drop)
}

/// x ‖ y of our public point.
pub(super) fn public(curve: &'static Algorithm, scalar: &[u8]) -> Result<Vec<u8>, DhError> {
    let point = private_key(curve, scalar)?
        .compute_public_key()
        .map_err(|_| DhError::Private)?;
    match point.as_ref() {
        [UNCOMPRESSED, coordinates @ ..] => Ok(coordinates.to_vec()),
        _ => Err(DhError::Private),
    }
}

/// x of the common point.
pub(super) fn agree(
    curve: &'static Algorithm,
    scalar: &[u8],
    peer_public: &[u8],
) -> Result<Zeroizing<Vec<u8>>, DhError> {
    let tagged = [&[UNCOMPRESSED], peer_public].concat();
    let own = private_key(curve, scalar)?;
    // RFC 5903 §7: the receiver checks that the point is on the curve, which the library does. The order is prime, so that any such point
    // but the identity, which has no encoding here, makes a good secret.
    let peer = UnparsedPublicKey::new(curve, &tagged);
    agreement::agree(&own, peer, DhError::Public, |secret| {
        Ok(Zeroizing::new(secret.to_vec()))
    })
}

/// 1 to order − 1.
fn private_key(curve: &'static Algorithm, scalar: &[u8]) -> Result<PrivateKey, DhError> {
    PrivateKey::from_private_key(curve, scalar).map_err(|_| DhError::Private)
}
