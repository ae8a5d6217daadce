//! AES-CBC (RFC 3602) with HMAC (RFC 2404, RFC 4868): many packets of different keys side by side.
//!
//! ```text
//! seal   burst ─ sorted ─►  group of up to 32 ─►  encrypt, a lane each ─►  HMAC, a lane each ─►  ICVs
//! open   burst ─ sorted ─►  group of up to 32 ─►  HMAC, a lane each ─►  compare ─►  decrypt each that verified
//! ```
//! A group has one length of AES key and one hash; its packets may have any lengths. One after the other the two steps work the same
//! group, so that a packet that was just encrypted is authenticated from the cache. Padding is not looked at: whether a packet is good
//! is known before its first block is decrypted.

mod blocks;
mod decrypt;
mod double;
mod encrypt;
mod keys;
mod open;
mod order;
mod seal;
mod single;
mod wide;

pub(crate) use keys::{Keys, Kind};
pub(super) use open::open_burst;
pub(super) use seal::seal_burst;

use super::aes::Block;
use super::sha::{Mac, Width};
use super::{Level, Tier};
use blocks::{Blocks, Lane};
use double::Double;
use encrypt::{Packet, REGISTERS};
use keys::Keyed;
use single::Single;
use wide::Wide;

/// Fewest packets for which wide registers pay.
const FEW: usize = 4;

/// What is authenticated around the text: SPI and low half of the sequence number before, the high half, if extended, behind
/// (RFC 4303 §2.2.1, §3.3.2.1).
struct Header<'a> {
    head: [u8; 8],
    tail: &'a [u8],
}

impl<'a> Header<'a> {
    /// From SPI ‖ high half, if extended ‖ low half.
    fn of(aad: &'a [u8]) -> Self {
        match aad {
            [s0, s1, s2, s3, tail @ .., l0, l1, l2, l3] => Self {
                head: [*s0, *s1, *s2, *s3, *l0, *l1, *l2, *l3],
                tail,
            },
            _ => Self {
                head: [0; 8],
                tail: aad,
            },
        }
    }

    /// The work for the hash; `None` if the keys are for another.
    fn mac<'b, H: Keyed>(&'b self, keys: &'b Keys, text: &'b [u8]) -> Option<Mac<'b, H>> {
        H::midstates(keys).map(|midstates| Mac {
            midstates,
            head: &self.head,
            text,
            tail: self.tail,
            digest: [0; 64],
        })
    }
}

/// Vectors that the hash may use.
const fn width(tier: Tier) -> Width {
    match tier.0 {
        Level::AesNi => Width::Bits128,
        Level::Vaes => Width::Bits256,
        Level::Avx512 => Width::Bits512,
    }
}

/// Most packets that are encrypted side by side.
const fn lanes(tier: Tier) -> usize {
    REGISTERS
        * match tier.0 {
            Level::AesNi => Single::LANES,
            Level::Vaes => Double::LANES,
            Level::Avx512 => Wide::LANES,
        }
}

/// Encrypts packets, at most [`lanes`], the longest first, and writes their IVs.
///
/// # Safety
/// Each packet's source can be read, its destination and the 16 bytes before can be written; no destination overlaps anything of another
/// packet. All have as many round keys.
unsafe fn encrypt(tier: Tier, packets: &[Packet<'_>]) {
    match tier.0 {
        Level::Vaes if packets.len() > FEW => {
            // SAFETY: the tier says that the CPU has VAES; the caller's promise for the rest.
            unsafe { encrypt_doubly(packets) }
        }
        Level::Avx512 if packets.len() > FEW => {
            // SAFETY: the tier says that the CPU has VAES and AVX-512; the caller's promise for the rest.
            unsafe { encrypt_widely(packets) }
        }
        Level::AesNi | Level::Vaes | Level::Avx512 => {
            // SAFETY: every tier says that the CPU has AES-NI; the caller's promise for the rest.
            unsafe { encrypt_singly(packets) }
        }
    }
}

/// # Safety
/// As for [`encrypt`].
#[target_feature(enable = "aes,sse4.1")]
unsafe fn encrypt_singly(packets: &[Packet<'_>]) {
    // SAFETY: the caller's promise.
    unsafe { encrypt::encrypt::<Single>(packets) }
}

/// # Safety
/// As for [`encrypt`].
#[target_feature(enable = "aes,avx2,vaes")]
unsafe fn encrypt_doubly(packets: &[Packet<'_>]) {
    // SAFETY: the caller's promise.
    unsafe { encrypt::encrypt::<Double>(packets) }
}

/// # Safety
/// As for [`encrypt`].
#[target_feature(enable = "aes,avx2,vaes,bmi2,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn encrypt_widely(packets: &[Packet<'_>]) {
    // SAFETY: the caller's promise.
    unsafe { encrypt::encrypt::<Wide>(packets) }
}

/// Decrypts a packet.
///
/// # Safety
/// The lane's source and the 16 bytes before it can be read, its destination can be written; they are apart or the same bytes.
unsafe fn decrypt(tier: Tier, round_keys: &[Block], lane: Lane) {
    match tier.0 {
        // SAFETY: every tier says that the CPU has AES-NI; the caller's promise for the rest.
        Level::AesNi => unsafe { decrypt_singly(round_keys, lane) },
        // SAFETY: the tier says that the CPU has VAES; the caller's promise for the rest.
        Level::Vaes => unsafe { decrypt_doubly(round_keys, lane) },
        // SAFETY: the tier says that the CPU has VAES and AVX-512; the caller's promise for the rest.
        Level::Avx512 => unsafe { decrypt_widely(round_keys, lane) },
    }
}

/// # Safety
/// As for [`decrypt`].
#[target_feature(enable = "aes,sse4.1")]
unsafe fn decrypt_singly(round_keys: &[Block], lane: Lane) {
    // SAFETY: the caller's promise.
    unsafe { decrypt::decrypt::<Single>(round_keys, lane) }
}

/// # Safety
/// As for [`decrypt`].
#[target_feature(enable = "aes,avx2,vaes")]
unsafe fn decrypt_doubly(round_keys: &[Block], lane: Lane) {
    // SAFETY: the caller's promise.
    unsafe { decrypt::decrypt::<Double>(round_keys, lane) }
}

/// # Safety
/// As for [`decrypt`].
#[target_feature(enable = "aes,avx2,vaes,bmi2,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn decrypt_widely(round_keys: &[Block], lane: Lane) {
    // SAFETY: the caller's promise.
    unsafe { decrypt::decrypt::<Wide>(round_keys, lane) }
}
