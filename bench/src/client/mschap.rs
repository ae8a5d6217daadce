//! The client's side of PPP authentication: CHAP with MD5 (RFC 1994) and MS-CHAPv2 (RFC 2759 §8).

use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use md4::{Digest, Md4};
use md5::Md5;
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// What one MS-CHAPv2 exchange is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The name sent, without domain.
    pub user: &'a str,
    /// The password.
    pub password: &'a str,
    /// The server's challenge.
    pub authenticator_challenge: [u8; 16],
    /// Our own.
    pub peer_challenge: [u8; 16],
}

/// The response to an MD5 challenge (RFC 1994 §4.1): 16 bytes.
pub fn chap_md5(identifier: u8, secret: &[u8], challenge: &[u8]) -> [u8; 16] {
    let hash = Md5::new().chain_update([identifier]);
    hash.chain_update(secret)
        .chain_update(challenge)
        .finalize()
        .into()
}

impl Exchange<'_> {
    /// The NT-Response: 24 bytes (RFC 2759 §8.1).
    pub fn nt_response(&self) -> [u8; 24] {
        let mut padded = [0; 21];
        padded[..16].copy_from_slice(&nt_hash(self.password));
        let challenge = self.challenge_hash();
        let mut response = [0; 24];
        for (part, key) in response.chunks_exact_mut(8).zip(padded.chunks_exact(7)) {
            let mut block = challenge.into();
            let key = key.first_chunk().expect("a third of 21 bytes");
            Des::new(&expand_des_key(*key).into()).encrypt_block(&mut block);
            part.copy_from_slice(&block);
        }
        response
    }

    /// Whether the server's `S=…` message proves that it knows the password too (RFC 2759 §8.8).
    ///
    /// `message`: the whole text of the Success packet.
    pub fn authenticates(&self, message: &[u8]) -> bool {
        let expected = self.authenticator_response();
        let claimed = message.get(..expected.len()).unwrap_or_default();
        claimed
            .to_ascii_uppercase()
            .ct_eq(expected.as_bytes())
            .into()
    }

    fn authenticator_response(&self) -> String {
        let twice = Md4::digest(nt_hash(self.password));
        let digest = Sha1::new()
            .chain_update(twice)
            .chain_update(self.nt_response())
            .chain_update(b"Magic server to client signing constant")
            .finalize();
        let digest = Sha1::new()
            .chain_update(digest)
            .chain_update(self.challenge_hash())
            .chain_update(b"Pad to make it do more than one iteration")
            .finalize();
        let hex = digest.iter().map(|byte| format!("{byte:02X}"));
        std::iter::once("S=".to_owned()).chain(hex).collect()
    }

    fn challenge_hash(&self) -> [u8; 8] {
        let digest = Sha1::new()
            .chain_update(self.peer_challenge)
            .chain_update(self.authenticator_challenge)
            .chain_update(self.user)
            .finalize();
        *digest.first_chunk().expect("SHA-1 gives 20 bytes")
    }
}

/// What MS-CHAPv2 knows a password by: MD4 of its UTF-16 form (RFC 2759 §8.3).
pub fn nt_hash(password: &str) -> [u8; 16] {
    let utf16 = password.encode_utf16().flat_map(u16::to_le_bytes);
    Md4::digest(utf16.collect::<Vec<_>>()).into()
}

/// Spreads 56 key bits over 8 bytes; the parity bit, ignored by DES, is zero.
fn expand_des_key(key: [u8; 7]) -> [u8; 8] {
    let [a, b, c, d, e, f, g] = key;
    let bits = u64::from_be_bytes([0, a, b, c, d, e, f, g]);
    std::array::from_fn(|i| {
        let seven = (bits >> (49 - 7 * i)) & 0x7F;
        seven.to_le_bytes()[0] << 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2759 §9.2.
    fn published() -> Exchange<'static> {
        let challenge = |hex: &str| hex::decode(hex).unwrap().try_into().unwrap();
        Exchange {
            user: "User",
            password: "clientPass",
            authenticator_challenge: challenge("5b5d7c7d7b3f2f3e3c2c602132262628"),
            peer_challenge: challenge("21402324255e262a28295f2b3a337c7e"),
        }
    }

    #[test]
    fn the_response_is_the_published_one() {
        let response = hex::encode(published().nt_response());
        assert_eq!(response, "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df");
    }

    #[test]
    fn only_the_published_server_proof_is_believed() {
        let exchange = published();
        let proof = "S=407A5589115FD0D6209F510FE9C04566932CDA56";
        assert!(exchange.authenticates(format!("{proof} M=welcome").as_bytes()));
        assert!(!exchange.authenticates(proof.replace("56", "57").as_bytes()));
        assert!(!exchange.authenticates(&proof.as_bytes()[..41]));
    }

    #[test]
    fn chap_md5_hashes_identifier_secret_and_challenge() {
        let expected: [u8; 16] = Md5::digest(b"\x07secretchallenge").into();
        assert_eq!(chap_md5(7, b"secret", b"challenge"), expected);
    }
}
