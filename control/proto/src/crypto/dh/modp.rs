//! Diffie-Hellman over the MODP groups: RFC 2409 §6.2, RFC 3526 §2 to §5. Generator 2, modulus p a safe prime.
//!
//! Powers take the same time for every exponent of one length. Our public value is a product of powers of fixed bases, one for each limb
//! of the exponent: the bases share their squarings, so that it costs about half of a power of the peer's value.

use std::array;
use std::sync::OnceLock;

use crypto_bigint::modular::{ConstMontyForm, ConstMontyParams};
use crypto_bigint::{
    Limb, MultiExponentiateBoundedExp, U64, U512, U1024, U1536, U2048, U3072, U4096, Uint,
    const_monty_params,
};
use zeroize::Zeroizing;

use super::DhError;

/// Fewest bytes of a private exponent: twice the 80 bits of strength of group 2.
const MIN_EXPONENT_LEN: usize = 20;
/// Most bytes of a private exponent.
const MAX_EXPONENT_LEN: usize = 64;

/// Most limbs of a private exponent.
const EXPONENT_LIMBS: usize = U512::LIMBS;

/// Powers of the generator, one for each limb of an exponent: 2^(2^(64 i)).
type Bases<P, const LIMBS: usize> = [ConstMontyForm<P, LIMBS>; EXPONENT_LIMBS];

/// A MODP group by its modulus.
pub(super) trait Modulus<const LIMBS: usize>: ConstMontyParams<LIMBS> {
    /// Powers of the generator, computed when first wanted.
    fn bases() -> &'static Bases<Self, LIMBS>;
}

macro_rules! group {
    ($name:ident, $uint:ty, $p:expr, $doc:expr) => {
        const_monty_params!($name, $uint, $p, $doc);

        impl Modulus<{ <$uint>::LIMBS }> for $name {
            fn bases() -> &'static Bases<Self, { <$uint>::LIMBS }> {
                static BASES: OnceLock<Bases<$name, { <$uint>::LIMBS }>> = OnceLock::new();
                BASES.get_or_init(bases)
            }
        }
    };
}

group!(
    P1024,
    U1024,
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a0879\
     8e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b\
     0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece65381ffffffffffffffff",
    "p of group 2 (RFC 2409 §6.2)."
);

group!(
    P1536,
    U1536,
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a0879\
     8e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b\
     0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da4836\
     1c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804\
     f1746c08ca237327ffffffffffffffff",
    "p of group 5 (RFC 3526 §2)."
);

group!(
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

group!(
    P3072,
    U3072,
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a0879\
     8e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b\
     0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da4836\
     1c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804\
     f1746c08ca18217c32905e462e36ce3be39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6\
     955817183995497cea956ae515d2261898fa051015728e5a8aaac42dad33170d04507a33a85521abdf1cba64\
     ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7abf5ae8cdb0933d71e8c94e04a25619dcee3d226\
     1ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200cbbe117577a615d6c770988c0bad946e2\
     08e24fa074e5ab3143db5bfce0fd108e4b82d120a93ad2caffffffffffffffff",
    "p of group 15 (RFC 3526 §4)."
);

group!(
    P4096,
    U4096,
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a0879\
     8e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b\
     0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da4836\
     1c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804\
     f1746c08ca18217c32905e462e36ce3be39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6\
     955817183995497cea956ae515d2261898fa051015728e5a8aaac42dad33170d04507a33a85521abdf1cba64\
     ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7abf5ae8cdb0933d71e8c94e04a25619dcee3d226\
     1ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200cbbe117577a615d6c770988c0bad946e2\
     08e24fa074e5ab3143db5bfce0fd108e4b82d120a92108011a723c12a787e6d788719a10bdba5b2699c32718\
     6af4e23c1a946834b6150bda2583e9ca2ad44ce8dbbbc2db04de8ef92e8efc141fbecaa6287c59474e6bc05d\
     99b2964fa090c3a2233ba186515be7ed1f612970cee2d7afb81bdd762170481cd0069127d5b05aa993b4ea98\
     8d8fddc186ffb7dc90a6c08f4df435c934063199ffffffffffffffff",
    "p of group 16 (RFC 3526 §5)."
);

/// Whether the exponent is in range.
pub(super) fn check(exponent: &[u8]) -> Result<(), DhError> {
    parse(exponent).map(drop)
}

/// 2^x mod p.
pub(super) fn public<P, const LIMBS: usize>(exponent: &[u8]) -> Result<Vec<u8>, DhError>
where
    P: Modulus<LIMBS>,
{
    let (bits, exponent) = parse(exponent)?;
    // The number of limbs is no secret: it follows from the encoding's length. Arrays, because slices would be copied to the heap.
    let power = match bits.div_ceil(Limb::BITS) {
        ..=4 => power_of_two::<P, LIMBS, 4>(&exponent),
        5..=6 => power_of_two::<P, LIMBS, 6>(&exponent),
        _ => power_of_two::<P, LIMBS, EXPONENT_LIMBS>(&exponent),
    };
    Ok(to_bytes(&power.retrieve()).to_vec())
}

/// 2^x mod p for an exponent of at most `N` limbs: the product of each base to the power of its limb.
fn power_of_two<P, const LIMBS: usize, const N: usize>(exponent: &U512) -> ConstMontyForm<P, LIMBS>
where
    P: Modulus<LIMBS>,
{
    let limbs = exponent.as_limbs();
    let powers: Zeroizing<[_; N]> =
        Zeroizing::new(array::from_fn(|at| (P::bases()[at], U64::from(limbs[at]))));
    ConstMontyForm::multi_exponentiate_bounded_exp(&*powers, Limb::BITS)
}

/// Each base is the one before it, squared 64 times.
fn bases<P, const LIMBS: usize>() -> Bases<P, LIMBS>
where
    P: ConstMontyParams<LIMBS>,
{
    let mut base = ConstMontyForm::new(&Uint::from_u8(2));
    array::from_fn(|_| {
        let this = base;
        base = base.square_repeat_vartime(Limb::BITS);
        this
    })
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
    let (bits, exponent) = parse(exponent)?;
    let peer = ConstMontyForm::<P, LIMBS>::new(&peer);
    let power = Zeroizing::new(peer.pow_bounded_exp(&exponent, bits));
    Ok(to_bytes(&Zeroizing::new(power.retrieve())))
}

/// Big-endian, as long as p.
fn to_bytes<const LIMBS: usize>(residue: &Uint<LIMBS>) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(Uint::<LIMBS>::BYTES));
    for limb in residue.as_limbs().iter().rev() {
        bytes.extend_from_slice(&limb.0.to_be_bytes());
    }
    bytes
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
