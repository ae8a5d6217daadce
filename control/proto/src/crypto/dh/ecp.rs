//! Diffie-Hellman over NIST curves as IKE carries it: RFC 5903 §7.

use p256::elliptic_curve::ecdh::diffie_hellman;
use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, Sec1Point, ToSec1Point};
use p256::elliptic_curve::{AffinePoint, CurveArithmetic, FieldBytesSize, PublicKey, SecretKey};
use zeroize::Zeroizing;

use super::DhError;

/// Tag of an uncompressed point (SEC 1 §2.3.3); IKE leaves it out.
const UNCOMPRESSED: u8 = 0x04;

/// Whether the scalar is one of the curve's.
pub(super) fn check<C: CurveArithmetic>(scalar: &[u8]) -> Result<(), DhError> {
    secret_key::<C>(scalar).map(drop)
}

/// x ‖ y of our public point.
pub(super) fn public<C>(scalar: &[u8]) -> Result<Vec<u8>, DhError>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let point = secret_key::<C>(scalar)?
        .public_key()
        .as_affine()
        .to_sec1_point(false);
    Ok(point.as_bytes()[1..].to_vec())
}

/// x of the common point.
pub(super) fn agree<C>(scalar: &[u8], peer_public: &[u8]) -> Result<Zeroizing<Vec<u8>>, DhError>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let tagged = [&[UNCOMPRESSED], peer_public].concat();
    let point = Sec1Point::<C>::from_bytes(&tagged).map_err(|_| DhError::Public)?;
    // RFC 5903 §7: the receiver checks that the point is on the curve. The order is prime, so that any such point but the identity, which
    // has no encoding here, makes a good secret.
    let peer = PublicKey::<C>::from_sec1_point(&point)
        .into_option()
        .ok_or(DhError::Public)?;
    let secret = diffie_hellman(
        secret_key::<C>(scalar)?.to_nonzero_scalar(),
        peer.as_affine(),
    );
    Ok(Zeroizing::new(secret.raw_secret_bytes().to_vec()))
}

/// 1 to order − 1.
fn secret_key<C: CurveArithmetic>(scalar: &[u8]) -> Result<SecretKey<C>, DhError> {
    let scalar = scalar.try_into().map_err(|_| DhError::Private)?;
    SecretKey::from_bytes(scalar).map_err(|_| DhError::Private)
}
