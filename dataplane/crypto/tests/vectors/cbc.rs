//! AES-CBC: NIST CAVS and RFC 3602. They have no ICV, so the test makes one from the primitive crates.

use culvert_crypto::Suite;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

use crate::{open, reader, seal};

const AAD: [u8; 8] = [0xc0, 0xde, 0, 1, 0, 0, 0, 9];

fn hmac_sha1(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes()[..12].to_vec()
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes()[..16].to_vec()
}

/// Both suites of the key's length, both ways. False if we have no suite with such a key.
fn check(key: &[u8], iv: &[u8], plaintext: &[u8], ciphertext: &[u8]) -> bool {
    let (with_sha1, with_sha256) = match key.len() {
        16 => (Suite::AesCbc128HmacSha1, Suite::AesCbc128HmacSha256),
        32 => (Suite::AesCbc256HmacSha1, Suite::AesCbc256HmacSha256),
        _ => return false,
    };
    let covered = [&AAD[..], iv, ciphertext].concat();
    let integrity_key: Vec<u8> = (0..32).collect();
    let sealed = |icv: Vec<u8>| [iv, ciphertext, &icv].concat();
    for (suite, integrity_key, known) in [
        (
            with_sha1,
            &integrity_key[..20],
            sealed(hmac_sha1(&integrity_key[..20], &covered)),
        ),
        (
            with_sha256,
            &integrity_key,
            sealed(hmac_sha256(&integrity_key, &covered)),
        ),
    ] {
        let key = [key, integrity_key].concat();
        assert_eq!(seal(suite, &key, &AAD, iv, plaintext), known, "{suite:?}");
        assert_eq!(
            open(suite, &key, &AAD, &known).as_deref(),
            Some(plaintext),
            "{suite:?}"
        );
    }
    true
}

#[test]
fn sealing_and_opening_agree_with_cavs() {
    let counts = [
        ("GFSbox", [14, 10]),
        ("KeySbox", [42, 32]),
        ("MMT", [20, 20]),
    ];
    for (name, counts) in counts {
        for (bits, count) in [128, 256].into_iter().zip(counts) {
            let cases = reader::cases(&format!("cavp/aescbc/CBC{name}{bits}.rsp"));
            for case in &cases {
                let [key, iv, plaintext, ciphertext] =
                    ["KEY", "IV", "PLAINTEXT", "CIPHERTEXT"].map(|name| case.bytes(name));
                assert!(check(&key, &iv, &plaintext, &ciphertext), "{case:?}");
            }
            assert_eq!(cases.len(), count, "{name}{bits}");
        }
    }
}

#[test]
fn sealing_and_opening_agree_with_rfc_3602() {
    let file = reader::json("rfc/esp_aes_cbc_rfc3602.json");
    let tests = reader::elements(&file, "cbc");
    for test in tests {
        let [key, iv, plaintext, ciphertext] =
            ["key", "iv", "plaintext", "ciphertext"].map(|name| reader::bytes(test, name));
        assert!(check(&key, &iv, &plaintext, &ciphertext), "{test}");
    }
    assert_eq!(tests.len(), 4);

    // The RFC's whole packet: IPv4, SPI, sequence number, IV, ciphertext; no ICV.
    let packets = reader::elements(&file, "esp_packets");
    for test in packets {
        let [key, iv, plaintext, packet] =
            ["key", "iv", "plaintext", "pkt"].map(|name| reader::bytes(test, name));
        assert_eq!(packet[28..44], iv);
        assert!(check(&key, &iv, &plaintext, &packet[44..]), "{test}");
    }
    assert_eq!(packets.len(), 1);
}
