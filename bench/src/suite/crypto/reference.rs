//! The suites measured, and what RustCrypto gives for each: the result that all must give.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, Nonce};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm, KeyInit};
use culvert_crypto::{AesKey, Integrity, Suite};

use super::cbc;
use super::traffic::AAD_LEN;

/// AES-192-GCM, for which aes-gcm has no name of its own.
pub(super) type Aes192Gcm = AesGcm<aes::Aes192, U12>;

/// What a full run measures.
pub(super) const SUITES: [Suite; 7] = [
    Suite::AesGcm(AesKey::Bits128),
    Suite::AesGcm(AesKey::Bits192),
    Suite::AesGcm(AesKey::Bits256),
    Suite::AesCbcHmac(AesKey::Bits128, Integrity::Sha1_96),
    Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha1_96),
    Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha256_128),
    Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha512_256),
];

/// What a quick run measures.
pub(super) const QUICK: [Suite; 2] = [
    Suite::AesGcm(AesKey::Bits128),
    Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha1_96),
];

/// `aes-gcm-128`, `aes-256-cbc-hmac-sha2-256` and the like.
pub(super) fn name(suite: Suite) -> String {
    let bits = suite.cipher_key_len() * 8;
    let hash = |integrity| match integrity {
        Integrity::Sha1_96 => "sha1",
        Integrity::Sha256_128 => "sha2-256",
        Integrity::Sha256_96 => "sha2-256-96",
        Integrity::Sha384_192 => "sha2-384",
        Integrity::Sha512_256 => "sha2-512",
    };
    match suite {
        Suite::AesGcm(_) => format!("aes-gcm-{bits}"),
        Suite::AesCbcHmac(_, integrity) => format!("aes-{bits}-cbc-hmac-{}", hash(integrity)),
        Suite::TripleDesHmac(integrity) => format!("3des-hmac-{}", hash(integrity)),
    }
}

/// Seals `plaintext`. `packet` is header and IV, room for the ciphertext and for the ICV; `None` if lengths do not fit.
pub(super) fn seal(suite: Suite, key: &[u8], plaintext: &[u8], packet: &mut [u8]) -> Option<()> {
    match suite {
        Suite::AesGcm(AesKey::Bits128) => seal_gcm::<Aes128Gcm>(key, plaintext, packet),
        Suite::AesGcm(AesKey::Bits192) => seal_gcm::<Aes192Gcm>(key, plaintext, packet),
        Suite::AesGcm(AesKey::Bits256) => seal_gcm::<Aes256Gcm>(key, plaintext, packet),
        Suite::AesCbcHmac(..) | Suite::TripleDesHmac(_) => {
            cbc::seal_once(suite, key, plaintext, packet)
        }
    }
}

fn seal_gcm<C: AeadInOut + KeyInit>(key: &[u8], plaintext: &[u8], packet: &mut [u8]) -> Option<()> {
    let (key, salt) = key.split_at_checked(key.len().checked_sub(4)?)?;
    let (header, body) = packet.split_at_mut_checked(AAD_LEN)?;
    let (iv, body) = body.split_at_mut_checked(8)?;
    let (ciphertext, icv) = body.split_at_mut_checked(plaintext.len())?;
    let nonce = Nonce::<C>::try_from(&[salt, iv].concat()[..]).ok()?;
    let text = InOutBuf::new(plaintext, ciphertext).ok()?;
    let cipher = C::new_from_slice(key).ok()?;
    let tag = cipher.encrypt_inout_detached(&nonce, header, text).ok()?;
    icv.copy_from_slice(&tag);
    Some(())
}
