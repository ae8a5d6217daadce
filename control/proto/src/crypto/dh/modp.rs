//! Diffie-Hellman over the MODP groups: RFC 2409 §6.2, RFC 3526 §2 and §3. Generator 2, modulus p a safe prime.
//!
//! Powers take the same time for every exponent of one length.

use crypto_bigint::modular::{ConstMontyForm, ConstMontyParams};
use crypto_bigint::{U512, U1024, U1536, U2048, Uint, const_monty_params};
use zeroize::Zeroizing;

use super::DhError;

/// Fewest bytes of a private exponent: twice the 80 bits of strength of group 2.
const MIN_EXPONENT_LEN: usize = 20;
/// Most bytes of a private exponent.
const MAX_EXPONENT_LEN: usize = 64;

const_monty_params!(
    P1024,
    U1024,
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a0879\
     8e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b\
     0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece65381ffffffffffffffff",
    "p of group 2 (RFC 2409 §6.2)."
);

const_monty_params!(
    P1536,
    U1536,
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a0879\
     8e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b\
     0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da4836\
     1c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804\
     f1746c08ca237327ffffffffffffffff",
    "p of group 5 (RFC 3526 §2)."
);

const_monty_params!(
    P2048,
    U2048,
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a0879\
     8e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b\
     0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da4836\
     1c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804\
     f1746c08ca18217c32905e462e36ce3be39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6\
     955817183995497cea956ae515d2261898fa051015728e5a8aacaa68ffffffffffffffff",
    "p of group 14 (RFC 3526 §3)."
);

/// Whether the exponent is in range.
pub(super) fn check(exponent: &[u8]) -> Result<(), DhError> {
    parse(exponent).map(drop)
}

/// 2^x mod p.
pub(super) fn public<P, const LIMBS: usize>(exponent: &[u8]) -> Result<Vec<u8>, DhError>
where
    P: ConstMontyParams<LIMBS>,
{
    power::<P, LIMBS>(&Uint::from_u8(2), exponent).map(|public| public.to_vec())
}

/// The peer's public value to the power of x, mod p; `peer_public` is as long as p.
pub(super) fn agree<P, const LIMBS: usize>(
    exponent: &[u8],
    peer_public: &[u8],
) -> Result<Zeroizing<Vec<u8>>, DhError>
where
    P: ConstMontyParams<LIMBS>,
{
    let peer = Uint::<LIMBS>::from_be_slice(peer_public);
    let p_minus_1 = P::PARAMS.modulus().as_ref().wrapping_sub(&Uint::ONE);
    if peer <= Uint::ONE || peer >= p_minus_1 {
        return Err(DhError::Public);
    }
    power::<P, LIMBS>(&peer, exponent)
}

/// base^exponent mod p, as long as p.
fn power<P, const LIMBS: usize>(
    base: &Uint<LIMBS>,
    exponent: &[u8],
) -> Result<Zeroizing<Vec<u8>>, DhError>
where
    P: ConstMontyParams<LIMBS>,
{
    let (bits, exponent) = parse(exponent)?;
    let base = ConstMontyForm::<P, LIMBS>::new(base);
    let power = Zeroizing::new(base.pow_bounded_exp(&exponent, bits));
    let residue = Zeroizing::new(power.retrieve());
    let mut bytes = Zeroizing::new(Vec::with_capacity(Uint::<LIMBS>::BYTES));
    for limb in residue.as_limbs().iter().rev() {
        bytes.extend_from_slice(&limb.0.to_be_bytes());
    }
    Ok(bytes)
}

/// The exponent with the bits of its encoding, which set the time that a power takes.
fn parse(exponent: &[u8]) -> Result<(u32, Zeroizing<U512>), DhError> {
    let len = exponent.len();
    if !(MIN_EXPONENT_LEN..=MAX_EXPONENT_LEN).contains(&len) {
        return Err(DhError::Private);
    }
    let mut padded = Zeroizing::new([0; MAX_EXPONENT_LEN]);
    padded[MAX_EXPONENT_LEN - len..].copy_from_slice(exponent);
    let number = Zeroizing::new(U512::from_be_slice(&*padded));
    if *number == U512::ZERO {
        return Err(DhError::Private);
    }
    let bits = u32::try_from(len * 8).map_err(|_| DhError::Private)?;
    Ok((bits, number))
}
