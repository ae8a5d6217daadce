//! MS-CHAPv2: RFC 2759 §8.
//!
//! ```text
//! NtHash               = MD4(password in UTF-16LE)
//! ChallengeHash        = SHA1(peer challenge ‖ authenticator challenge ‖ user name without domain)[..8]
//! NT-Response          = DES of ChallengeHash under each third of NtHash ‖ 00 00 00 00 00
//! AuthenticatorResponse = SHA1(SHA1(MD4(NtHash) ‖ NT-Response ‖ magic 1) ‖ ChallengeHash ‖ magic 2)
//! ```

use std::fmt;

use des::Des;
use des::cipher::{Array, BlockCipherEncrypt, KeyInit};
use md4::{Digest, Md4};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes of a challenge of either side.
pub const CHALLENGE_LEN: usize = 16;
/// Bytes of the NT-Response.
pub const NT_RESPONSE_LEN: usize = 24;

/// RFC 2759 §8.7.
const MAGIC_1: &[u8] = b"Magic server to client signing constant";
/// RFC 2759 §8.7.
const MAGIC_2: &[u8] = b"Pad to make it do more than one iteration";

/// MD4 of a password: as good as the password itself. Wiped when dropped, never printed.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct NtHash([u8; 16]);

impl NtHash {
    /// Takes over a stored hash.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Hashes a password (RFC 2759 §8.3).
    pub fn of_password(password: &str) -> Self {
        let utf16: Zeroizing<Vec<u8>> =
            Zeroizing::new(password.encode_utf16().flat_map(u16::to_le_bytes).collect());
        Self(Md4::digest(&*utf16).into())
    }

    /// The hash.
    pub const fn expose(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for NtHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Both challenges and the name: what one authentication is about.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// Our challenge.
    pub authenticator_challenge: &'a [u8; CHALLENGE_LEN],
    /// The peer's challenge, from its Response.
    pub peer_challenge: &'a [u8; CHALLENGE_LEN],
    /// The name in the Response; a domain up to the last backslash is left out of the hash.
    pub name: &'a [u8],
}

impl Exchange<'_> {
    /// ChallengeHash (RFC 2759 §8.2).
    pub fn challenge_hash(&self) -> [u8; 8] {
        // RFC 2759 §8.2: "Only the user name (as presented by the peer and excluding any prepended domain name) is used"
        let user = self
            .name
            .rsplit(|byte| *byte == b'\\')
            .next()
            .unwrap_or_default();
        let mut sha1 = Sha1::new();
        sha1.update(self.peer_challenge);
        sha1.update(self.authenticator_challenge);
        sha1.update(user);
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 20]>::from(sha1.finalize());
        [a, b, c, d, e, f, g, h]
    }

    /// The NT-Response that a peer with this password gives (RFC 2759 §8.1).
    pub fn nt_response(&self, password: &NtHash) -> [u8; NT_RESPONSE_LEN] {
        challenge_response(self.challenge_hash(), password)
    }

    /// Whether the peer's NT-Response is of this password, found in constant time; a wrong length is a mismatch.
    pub fn verify(&self, password: &NtHash, received: &[u8]) -> bool {
        self.nt_response(password).ct_eq(received).into()
    }

    /// The digest with which we prove that we know the password too (RFC 2759 §8.7).
    ///
    /// On the wire it is `S=` and 40 upper-case hex digits: [`success_message`].
    pub fn authenticator_response(
        &self,
        password: &NtHash,
        nt_response: &[u8; NT_RESPONSE_LEN],
    ) -> [u8; 20] {
        let hash_hash = Zeroizing::new(<[u8; 16]>::from(Md4::digest(password.expose())));
        let mut inner = Sha1::new();
        inner.update(*hash_hash);
        inner.update(nt_response);
        inner.update(MAGIC_1);
        let mut outer = Sha1::new();
        outer.update(inner.finalize());
        outer.update(self.challenge_hash());
        outer.update(MAGIC_2);
        outer.finalize().into()
    }
}

/// `S=` and the digest in 40 upper-case hex digits (RFC 2759 §5).
pub fn success_message(authenticator_response: &[u8; 20]) -> [u8; 42] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = *b"S=0000000000000000000000000000000000000000";
    for (pair, byte) in text[2..].chunks_exact_mut(2).zip(authenticator_response) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0x0f)];
    }
    text
}

/// ChallengeResponse (RFC 2759 §8.5).
fn challenge_response(challenge: [u8; 8], password: &NtHash) -> [u8; NT_RESPONSE_LEN] {
    let mut padded = Zeroizing::new([0; 21]);
    padded[..16].copy_from_slice(password.expose());
    let mut response = [0; NT_RESPONSE_LEN];
    for (third, out) in padded.chunks_exact(7).zip(response.chunks_exact_mut(8)) {
        let mut block = Array(challenge);
        Des::new(&Array(*spread(third))).encrypt_block(&mut block);
        out.copy_from_slice(&block);
    }
    response
}

/// Spreads 7 key bytes over 8, seven bits each above a parity bit that DES does not look at (RFC 2759 §8.6).
fn spread(third: &[u8]) -> Zeroizing<[u8; 8]> {
    let bits = third
        .iter()
        .fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
    let mut key = Zeroizing::new([0; 8]);
    for (byte, shift) in key.iter_mut().zip((0..=49).rev().step_by(7)) {
        *byte = (((bits >> shift) & 0x7f) << 1).to_le_bytes()[0];
    }
    key
}
