//! Keys of IKEv1 phase 1 and what is derived from them: RFC 2409 §5, §5.5 and appendix B.
//!
//! ```text
//! SKEYID   = prf(pre-shared key, Ni_b ‖ Nr_b)
//! SKEYID_d = prf(SKEYID,            g^xy ‖ CKY-I ‖ CKY-R ‖ 0)      → KEYMAT of quick mode
//! SKEYID_a = prf(SKEYID, SKEYID_d ‖ g^xy ‖ CKY-I ‖ CKY-R ‖ 1)      → HASH(1) to HASH(3), informational
//! SKEYID_e = prf(SKEYID, SKEYID_a ‖ g^xy ‖ CKY-I ‖ CKY-R ‖ 2)      → key of the IKE cipher
//! ```

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::cipher::{Cipher, Iv};
use super::dh::SharedSecret;
use super::hash::{Hash, Output};
use crate::rows::KeyMaterial;

/// Most bytes of key material that one quick mode is asked for.
const MAX_KEYMAT_LEN: usize = 1_024;

/// The keys of one IKE SA.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Skeyid {
    hash: Hash,
    skeyid: KeyMaterial,
    skeyid_d: KeyMaterial,
    skeyid_a: KeyMaterial,
    skeyid_e: KeyMaterial,
}

/// What both ends put into an IKE SA's keys.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// CKY-I.
    pub initiator_cookie: [u8; 8],
    /// CKY-R.
    pub responder_cookie: [u8; 8],
    /// Ni_b: body of the initiator's nonce payload.
    pub initiator_nonce: &'a [u8],
    /// Nr_b: body of the responder's nonce payload.
    pub responder_nonce: &'a [u8],
}

/// What goes into the keys of one ESP SA of a quick mode.
#[derive(Clone, Copy, Debug)]
pub struct QuickMode<'a> {
    /// Protocol of the proposal: 3 for ESP.
    pub protocol: u8,
    /// SPI of the SA, chosen by its receiver.
    pub spi: u32,
    /// Ni_b of the quick mode.
    pub initiator_nonce: &'a [u8],
    /// Nr_b of the quick mode.
    pub responder_nonce: &'a [u8],
    /// g(qm)^xy, if both ends asked for perfect forward secrecy.
    pub shared_secret: Option<&'a SharedSecret>,
}

impl Skeyid {
    /// Derives the keys of an IKE SA that a pre-shared key authenticates.
    pub fn from_psk(
        hash: Hash,
        psk: &[u8],
        exchange: &Exchange<'_>,
        shared: &SharedSecret,
    ) -> Self {
        let skeyid = hash.prf(psk, &[exchange.initiator_nonce, exchange.responder_nonce]);
        let cookies = [exchange.initiator_cookie, exchange.responder_cookie].concat();
        let derive = |previous: &[u8], number: u8| {
            hash.prf(
                skeyid.as_bytes(),
                &[previous, shared.expose(), &cookies, &[number]],
            )
        };
        let skeyid_d = derive(&[], 0);
        let skeyid_a = derive(skeyid_d.as_bytes(), 1);
        let skeyid_e = derive(skeyid_a.as_bytes(), 2);
        Self {
            hash,
            skeyid: key(&skeyid),
            skeyid_d: key(&skeyid_d),
            skeyid_a: key(&skeyid_a),
            skeyid_e: key(&skeyid_e),
        }
    }

    /// The negotiated hash.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// SKEYID: key of [`Self::prf`].
    pub fn skeyid(&self) -> &[u8] {
        self.skeyid.expose()
    }

    /// SKEYID_d: key of [`Self::keymat`].
    pub fn skeyid_d(&self) -> &[u8] {
        self.skeyid_d.expose()
    }

    /// SKEYID_a: key of [`Self::prf_a`].
    pub fn skeyid_a(&self) -> &[u8] {
        self.skeyid_a.expose()
    }

    /// SKEYID_e: what [`Self::cipher_key`] is made from.
    pub fn skeyid_e(&self) -> &[u8] {
        self.skeyid_e.expose()
    }

    /// prf(SKEYID, `parts`): HASH_I and HASH_R of main mode.
    ///
    /// # Source
    /// RFC 2409 §5: HASH_I = prf(SKEYID, g^xi ‖ g^xr ‖ CKY-I ‖ CKY-R ‖ SAi_b ‖ IDii_b).
    pub fn prf(&self, parts: &[&[u8]]) -> Output {
        self.hash.prf(self.skeyid.expose(), parts)
    }

    /// prf(SKEYID_a, `parts`): HASH(1) to HASH(3) of quick mode, HASH of informational exchanges.
    ///
    /// # Source
    /// RFC 2409 §5.5, §5.7.
    pub fn prf_a(&self, parts: &[&[u8]]) -> Output {
        self.hash.prf(self.skeyid_a.expose(), parts)
    }

    /// Key of the IKE cipher, [`Cipher::key_len`] bytes: the head of SKEYID_e, or of its expansion if that is too short.
    ///
    /// # Source
    /// RFC 2409 appendix B: K1 = prf(SKEYID_e, 0), K2 = prf(SKEYID_e, K1), …
    pub fn cipher_key(&self, cipher: Cipher) -> KeyMaterial {
        let skeyid_e = self.skeyid_e.expose();
        if let Some(head) = skeyid_e.get(..cipher.key_len()) {
            return KeyMaterial::new(Zeroizing::new(head.to_vec()));
        }
        expand(cipher.key_len(), |previous| match previous {
            None => self.hash.prf(skeyid_e, &[&[0]]),
            Some(previous) => self.hash.prf(skeyid_e, &[previous]),
        })
    }

    /// KEYMAT of one ESP SA: `len` bytes, at most 1,024, cipher key before integrity key.
    ///
    /// # Source
    /// RFC 2409 §5.5.
    pub fn keymat(&self, quick_mode: &QuickMode<'_>, len: usize) -> KeyMaterial {
        let shared = quick_mode
            .shared_secret
            .map_or(&[][..], SharedSecret::expose);
        let spi = quick_mode.spi.to_be_bytes();
        expand(len, |previous| {
            let parts = [
                previous.unwrap_or_default(),
                shared,
                &[quick_mode.protocol],
                &spi,
                quick_mode.initiator_nonce,
                quick_mode.responder_nonce,
            ];
            self.hash.prf(self.skeyid_d.expose(), &parts)
        })
    }
}

/// IV of main mode's first encrypted message: the head of hash(g^xi ‖ g^xr).
///
/// # Source
/// RFC 2409 appendix B.
pub fn first_iv(
    hash: Hash,
    cipher: Cipher,
    initiator_public: &[u8],
    responder_public: &[u8],
) -> Iv {
    Iv::head_of(cipher, &hash.digest(&[initiator_public, responder_public]))
}

/// IV of the first message of a quick mode or informational exchange: the head of hash(last CBC block of phase 1 ‖ M-ID).
///
/// # Source
/// RFC 2409 appendix B.
pub fn exchange_iv(hash: Hash, cipher: Cipher, phase1_last: &Iv, message_id: u32) -> Iv {
    Iv::head_of(
        cipher,
        &hash.digest(&[phase1_last.as_bytes(), &message_id.to_be_bytes()]),
    )
}

/// Concatenates blocks, each made from the one before, and keeps the first `len` bytes.
fn expand(len: usize, next: impl Fn(Option<&[u8]>) -> Output) -> KeyMaterial {
    let len = len.min(MAX_KEYMAT_LEN);
    // Room for the whole last block, so that no half-filled copy is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(len + Hash::Sha2_512.output_len()));
    let mut block = next(None);
    while bytes.len() < len {
        bytes.extend_from_slice(block.as_bytes());
        block = next(Some(block.as_bytes()));
    }
    bytes.truncate(len);
    KeyMaterial::new(bytes)
}

fn key(output: &Output) -> KeyMaterial {
    KeyMaterial::new(Zeroizing::new(output.as_bytes().to_vec()))
}
