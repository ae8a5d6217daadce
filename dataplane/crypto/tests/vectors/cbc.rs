//! AES-CBC and Triple DES: NIST CAVS and RFC 3602. They have no ICV, so the test makes one from the primitive crates.

use culvert_crypto::{AesKey, Integrity, Suite};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use crate::{open, reader, seal};

const AAD: [u8; 8] = [0xc0, 0xde, 0, 1, 0, 0, 0, 9];

/// The ICV by the primitive crates.
fn icv(integrity: Integrity, key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut full = match integrity {
        Integrity::Sha1_96 => hmac::<Hmac<Sha1>>(key, message),
        Integrity::Sha256_128 | Integrity::Sha256_96 => hmac::<Hmac<Sha256>>(key, message),
        Integrity::Sha384_192 => hmac::<Hmac<Sha384>>(key, message),
        Integrity::Sha512_256 => hmac::<Hmac<Sha512>>(key, message),
    };
    full.truncate(integrity.icv_len());
    full
}

fn hmac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// Every suite of the cipher, both ways.
fn check(
    suite: fn(Integrity) -> Suite,
    key: &[u8],
    iv: &[u8],
    plaintext: &[u8],
    ciphertext: &[u8],
) {
    let covered = [&AAD[..], iv, ciphertext].concat();
    for integrity in Integrity::ALL {
        let suite = suite(integrity);
        let integrity_key: Vec<u8> = (0..64).take(integrity.key_len()).collect();
        let sealed = [iv, ciphertext, &icv(integrity, &integrity_key, &covered)].concat();
        let key = [key, &integrity_key].concat();
        assert_eq!(seal(suite, &key, &AAD, iv, plaintext), sealed, "{suite:?}");
        assert_eq!(
            open(suite, &key, &AAD, &sealed).as_deref(),
            Some(plaintext),
            "{suite:?}"
        );
    }
}

/// The AES-CBC suites of a key length.
fn aes_cbc(key_len: usize) -> fn(Integrity) -> Suite {
    match key_len {
        16 => |integrity| Suite::AesCbcHmac(AesKey::Bits128, integrity),
        24 => |integrity| Suite::AesCbcHmac(AesKey::Bits192, integrity),
        32 => |integrity| Suite::AesCbcHmac(AesKey::Bits256, integrity),
        other => panic!("a key of {other} bytes"),
    }
}

#[test]
fn sealing_and_opening_agree_with_cavs() {
    let counts = [
        ("GFSbox", [14, 12, 10]),
        ("KeySbox", [42, 48, 32]),
        ("MMT", [20, 20, 20]),
    ];
    for (name, counts) in counts {
        for (bits, count) in [128, 192, 256].into_iter().zip(counts) {
            let cases = reader::cases(&format!("cavp/aescbc/CBC{name}{bits}.rsp"));
            for case in &cases {
                let [key, iv, plaintext, ciphertext] =
                    ["KEY", "IV", "PLAINTEXT", "CIPHERTEXT"].map(|name| case.bytes(name));
                check(aes_cbc(key.len()), &key, &iv, &plaintext, &ciphertext);
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
        check(aes_cbc(key.len()), &key, &iv, &plaintext, &ciphertext);
    }
    assert_eq!(tests.len(), 4);

    // The RFC's whole packet: IPv4, SPI, sequence number, IV, ciphertext; no ICV.
    let packets = reader::elements(&file, "esp_packets");
    for test in packets {
        let [key, iv, plaintext, packet] =
            ["key", "iv", "plaintext", "pkt"].map(|name| reader::bytes(test, name));
        assert_eq!(packet[28..44], iv);
        check(aes_cbc(key.len()), &key, &iv, &plaintext, &packet[44..]);
    }
    assert_eq!(packets.len(), 1);
}

#[test]
fn sealing_and_opening_agree_with_cavs_of_triple_des() {
    for (name, count) in [("TCBCMMT1", 20), ("TCBCMMT2", 20), ("TCBCMMT3", 20)] {
        let cases = reader::cases(&format!("3des/{name}.rsp"));
        for case in &cases {
            let key = if case.has("KEYs") {
                case.bytes("KEYs").repeat(3)
            } else {
                ["KEY1", "KEY2", "KEY3"]
                    .map(|name| case.bytes(name))
                    .concat()
            };
            let [iv, plaintext, ciphertext] =
                ["IV", "PLAINTEXT", "CIPHERTEXT"].map(|name| case.bytes(name));
            check(Suite::TripleDesHmac, &key, &iv, &plaintext, &ciphertext);
        }
        assert_eq!(cases.len(), count, "{name}");
    }
}
