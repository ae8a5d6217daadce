//! Expanded keys of an SA with AES-CBC and HMAC: round keys, then hash states.

use std::arch::x86_64::{
    __m128i, _MM_HINT_T0, _mm_aesimc_si128, _mm_loadu_si128, _mm_prefetch, _mm_storeu_si128,
};

use zeroize::{Zeroize, Zeroizing};

use super::super::Tier;
use super::super::aes::{self, Block};
use super::super::sha::{Hash, Midstates, Sha1, Sha256, Sha384, Sha512};
use super::encrypt::Packet;
use crate::suite::{AesKey, Integrity, Suite};

/// Bytes of a cache line.
const LINE: usize = 64;
/// Round keys of AES-256, the most there are.
const ROUND_KEYS: usize = 15;

/// Which keys an SA has. It stands beside them in the context's handle, so that looking at a context does not touch the keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Length of the AES key.
    pub(super) len: AesKey,
    /// The integrity algorithm.
    pub(super) integrity: Integrity,
}

impl Kind {
    /// Keys of these lengths.
    pub(in super::super) const fn new(len: AesKey, integrity: Integrity) -> Self {
        Self { len, integrity }
    }

    /// The suite that has such keys.
    pub(crate) const fn suite(self) -> Suite {
        Suite::AesCbcHmac(self.len, self.integrity)
    }

    /// How many round keys there are: one more than rounds.
    const fn round_keys(self) -> usize {
        self.len.len() / 4 + 7
    }
}

/// Expanded keys of one SA in one direction.
pub(crate) struct Keys(Box<Material>);

/// What the pointer leads to: 384 bytes, of which AES-256 with HMAC-SHA1 touches five lines.
#[repr(C, align(64))]
struct Material {
    /// Those of the SA's direction, in the order of use.
    round_keys: [Block; ROUND_KEYS],
    states: States,
}

enum States {
    Sha1(Midstates<Sha1>),
    Sha256(Midstates<Sha256>),
    Sha384(Midstates<Sha384>),
    Sha512(Midstates<Sha512>),
}

const _: () = assert!(size_of::<Material>() == 384);

impl Drop for Material {
    fn drop(&mut self) {
        self.round_keys.zeroize();
    }
}

/// A hash whose states a context may hold.
pub(super) trait Keyed: Hash {
    /// The states, if they are of this hash.
    fn midstates(keys: &Keys) -> Option<&Midstates<Self>>;
}

macro_rules! keyed {
    ($($hash:ident)*) => {$(
        impl Keyed for $hash {
            fn midstates(keys: &Keys) -> Option<&Midstates<Self>> {
                if let States::$hash(states) = &keys.0.states {
                    Some(states)
                } else {
                    None
                }
            }
        }
    )*};
}

keyed!(Sha1 Sha256 Sha384 Sha512);

impl Keys {
    /// Expands AES key ‖ integrity key for sealing; `None` if `key` is not as long as both.
    pub(in super::super) fn for_sealing(_tier: Tier, kind: Kind, key: &[u8]) -> Option<Self> {
        let (mut keys, aes_key) = Self::without_round_keys(kind, key)?;
        let round_keys = &mut keys.0.round_keys[..kind.round_keys()];
        // SAFETY: a tier exists, so the CPU has AES-NI and SSE4.1.
        unsafe { aes::expand_key(aes_key, round_keys) };
        Some(keys)
    }

    /// The same for opening.
    pub(in super::super) fn for_opening(_tier: Tier, kind: Kind, key: &[u8]) -> Option<Self> {
        let (mut keys, aes_key) = Self::without_round_keys(kind, key)?;
        let mut forward = Zeroizing::new([[0; 16]; ROUND_KEYS]);
        let forward = &mut forward[..kind.round_keys()];
        // SAFETY: a tier exists, so the CPU has AES-NI and SSE4.1.
        unsafe { aes::expand_key(aes_key, forward) };
        // SAFETY: a tier exists, so the CPU has AES-NI.
        unsafe { invert(forward, &mut keys.0.round_keys) };
        Some(keys)
    }

    /// All but the round keys, and the AES key.
    fn without_round_keys(kind: Kind, key: &[u8]) -> Option<(Self, &[u8])> {
        if key.len() != kind.suite().key_len() {
            return None;
        }
        let (aes_key, integrity_key) = key.split_at_checked(kind.len.len())?;
        let states = match kind.integrity {
            Integrity::Sha1_96 => Midstates::new(integrity_key).map(States::Sha1),
            Integrity::Sha256_128 | Integrity::Sha256_96 => {
                Midstates::new(integrity_key).map(States::Sha256)
            }
            Integrity::Sha384_192 => Midstates::new(integrity_key).map(States::Sha384),
            Integrity::Sha512_256 => Midstates::new(integrity_key).map(States::Sha512),
        };
        let material = Box::new(Material {
            round_keys: [[0; 16]; ROUND_KEYS],
            states: states?,
        });
        Some((Self(material), aes_key))
    }

    /// 11, 13 or 15 round keys, if `kind` is theirs.
    pub(super) fn round_keys(&self, kind: Kind) -> &[Block] {
        &self.0.round_keys[..kind.round_keys()]
    }

    /// Asks the CPU to fetch all of them.
    pub(crate) fn prefetch(&self) {
        let start = (&raw const *self.0).cast::<i8>();
        for line in 0..size_of::<Material>() / LINE {
            // SAFETY: the address is within the box; fetching has no other effect.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(line * LINE)) };
        }
    }

    /// The IV for a sequence number: the number as one block, encrypted (NIST SP 800-38A appendix C).
    pub(crate) fn iv(&self, kind: Kind, sequence: u64) -> Block {
        let mut iv = [0; 16];
        let packet = Packet::iv_only(self.round_keys(kind), sequence, &mut iv);
        // SAFETY: keys exist, so the CPU has AES-NI; no block but the IV is written, which is all of `iv`.
        unsafe { super::encrypt_singly(&[packet]) };
        iv
    }
}

/// Makes round keys of the equivalent inverse cipher, in the order of use (FIPS 197 §5.3.5).
#[target_feature(enable = "aes")]
fn invert(forward: &[Block], inverse: &mut [Block; ROUND_KEYS]) {
    let last = forward.len() - 1;
    for (n, (inverse, forward)) in inverse.iter_mut().zip(forward.iter().rev()).enumerate() {
        if n == 0 || n == last {
            *inverse = *forward;
            continue;
        }
        // SAFETY: a block has 16 bytes.
        let key = unsafe { _mm_loadu_si128(forward.as_ptr().cast::<__m128i>()) };
        let key = _mm_aesimc_si128(key);
        // SAFETY: a block has 16 bytes.
        unsafe { _mm_storeu_si128(inverse.as_mut_ptr().cast(), key) };
    }
}
