//! IKEv1 keys: NIST CAVS for SKEYID and its family; RFC 2409 written out by hand for what has no published vectors.

use culvert_proto::crypto::cipher::{Cipher, Iv};
use culvert_proto::crypto::dh::SharedSecret;
use culvert_proto::crypto::hash::Hash;
use culvert_proto::crypto::skeyid::{Exchange, QuickMode, Skeyid, exchange_iv, first_iv};
use hmac::{Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use crate::reader;

/// prf of SHA-1, straight from the crates.
fn prf(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
    mac.update(&parts.concat());
    mac.finalize().into_bytes().to_vec()
}

fn secret(bytes: &[u8]) -> SharedSecret {
    SharedSecret::new(Zeroizing::new(bytes.to_vec()))
}

const EXCHANGE: Exchange<'_> = Exchange {
    initiator_cookie: [1, 2, 3, 4, 5, 6, 7, 8],
    responder_cookie: [9, 10, 11, 12, 13, 14, 15, 16],
    initiator_nonce: b"nonce of the initiator",
    responder_nonce: b"nonce of the responder",
};

/// SKEYID_d and SKEYID_e of the exchange above, by hand.
fn by_hand() -> (Vec<u8>, Vec<u8>) {
    let skeyid = prf(
        b"psk",
        &[EXCHANGE.initiator_nonce, EXCHANGE.responder_nonce],
    );
    let cookies = [EXCHANGE.initiator_cookie, EXCHANGE.responder_cookie].concat();
    let skeyid_d = prf(&skeyid, &[b"secret", &cookies, &[0]]);
    let skeyid_a = prf(&skeyid, &[&skeyid_d, b"secret", &cookies, &[1]]);
    let skeyid_e = prf(&skeyid, &[&skeyid_a, b"secret", &cookies, &[2]]);
    (skeyid_d, skeyid_e)
}

#[test]
fn the_family_agrees_with_cavs() {
    let cases = reader::cases("cavp/ike/ikev1_psk.subset.fax");
    let hashes = ["SHA-1", "SHA-256", "SHA-384", "SHA-512"];
    for case in &cases {
        let hash = Hash::ALL[hashes.iter().position(|name| case.under(name)).unwrap()];
        let (initiator_nonce, responder_nonce) = (case.bytes("Ni"), case.bytes("Nr"));
        let exchange = Exchange {
            initiator_cookie: case.bytes("CKY_I").try_into().unwrap(),
            responder_cookie: case.bytes("CKY_R").try_into().unwrap(),
            initiator_nonce: &initiator_nonce,
            responder_nonce: &responder_nonce,
        };
        let shared = secret(&case.bytes("g^xy"));
        let keys = Skeyid::from_psk(hash, &case.bytes("pre-shared-key"), &exchange, &shared);
        assert_eq!(keys.skeyid(), case.bytes("SKEYID"), "{case:?}");
        assert_eq!(keys.skeyid_d(), case.bytes("SKEYID_d"), "{case:?}");
        assert_eq!(keys.skeyid_a(), case.bytes("SKEYID_a"), "{case:?}");
        assert_eq!(keys.skeyid_e(), case.bytes("SKEYID_e"), "{case:?}");
    }
    assert_eq!(cases.len(), 204);
}

#[test]
fn prf_and_prf_a_are_keyed_with_skeyid_and_skeyid_a() {
    let keys = Skeyid::from_psk(Hash::Sha1, b"psk", &EXCHANGE, &secret(b"secret"));
    assert_eq!(
        keys.prf(&[b"a", b"b"]).as_bytes(),
        prf(keys.skeyid(), &[b"ab"])
    );
    assert_eq!(
        keys.prf_a(&[b"a", b"b"]).as_bytes(),
        prf(keys.skeyid_a(), &[b"ab"])
    );
}

#[test]
fn a_cipher_key_is_the_head_of_skeyid_e_or_its_expansion() {
    let keys = Skeyid::from_psk(Hash::Sha1, b"psk", &EXCHANGE, &secret(b"secret"));
    let (_, skeyid_e) = by_hand();
    let k1 = prf(&skeyid_e, &[&[0]]);
    let k2 = prf(&skeyid_e, &[&k1]);
    let expanded = [k1, k2].concat();
    assert_eq!(keys.cipher_key(Cipher::Aes128).expose(), &skeyid_e[..16]);
    assert_eq!(keys.cipher_key(Cipher::Aes192).expose(), &expanded[..24]);
    assert_eq!(keys.cipher_key(Cipher::TripleDes).expose(), &expanded[..24]);
    assert_eq!(keys.cipher_key(Cipher::Aes256).expose(), &expanded[..32]);
}

#[test]
fn keymat_is_expanded_with_and_without_forward_secrecy() {
    let keys = Skeyid::from_psk(Hash::Sha1, b"psk", &EXCHANGE, &secret(b"secret"));
    let (skeyid_d, _) = by_hand();
    let pfs = secret(b"another secret");
    let spi = 0xc0de_0001_u32.to_be_bytes();
    for (shared_secret, prefix) in [(None, &b""[..]), (Some(&pfs), b"another secret")] {
        let quick_mode = QuickMode {
            protocol: 3,
            spi: 0xc0de_0001,
            initiator_nonce: b"Ni_b",
            responder_nonce: b"Nr_b",
            shared_secret,
        };
        let k1 = prf(&skeyid_d, &[prefix, &[3], &spi, b"Ni_b", b"Nr_b"]);
        let k2 = prf(&skeyid_d, &[&k1, prefix, &[3], &spi, b"Ni_b", b"Nr_b"]);
        let k3 = prf(&skeyid_d, &[&k2, prefix, &[3], &spi, b"Ni_b", b"Nr_b"]);
        let expected = [k1, k2, k3].concat();
        for len in [0, 1, 19, 20, 21, 36, 60] {
            assert_eq!(keys.keymat(&quick_mode, len).expose(), &expected[..len]);
        }
    }
}

#[test]
fn the_ivs_are_heads_of_hashes() {
    let hash = Sha1::digest(b"g^xig^xr");
    let iv = first_iv(Hash::Sha1, Cipher::Aes256, b"g^xi", b"g^xr");
    assert_eq!(iv.as_bytes(), &hash[..16]);
    assert_eq!(
        first_iv(Hash::Sha1, Cipher::TripleDes, b"g^xi", b"g^xr").as_bytes(),
        &hash[..8]
    );
    let last = Iv::new(b"last cbc block..").unwrap();
    let hash = Sha1::digest(b"last cbc block..\x01\x02\x03\x04");
    let iv = exchange_iv(Hash::Sha1, Cipher::Aes128, &last, 0x0102_0304);
    assert_eq!(iv.as_bytes(), &hash[..16]);
}

#[test]
fn saved_keys_are_the_same_when_restored_and_never_printed() {
    let keys = Skeyid::from_psk(Hash::Sha2_384, b"psk", &EXCHANGE, &secret(b"secret"));
    let restored: Skeyid = postcard::from_bytes(&postcard::to_stdvec(&keys).unwrap()).unwrap();
    assert_eq!(
        restored.prf(&[b"x"]).as_bytes(),
        keys.prf(&[b"x"]).as_bytes()
    );
    assert_eq!(
        restored.prf_a(&[b"x"]).as_bytes(),
        keys.prf_a(&[b"x"]).as_bytes()
    );
    assert_eq!(
        restored.cipher_key(Cipher::Aes256),
        keys.cipher_key(Cipher::Aes256)
    );
    assert_eq!(format!("{keys:?}").matches("[redacted]").count(), 4);
}
