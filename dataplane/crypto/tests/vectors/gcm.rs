//! AES-GCM: NIST CAVS and Wycheproof. The first four bytes of their IVs are our salt.

use culvert_crypto::{AesKey, Suite};

use crate::{open, reader, seal};

const SUITES: [(u64, Suite); 3] = [
    (128, Suite::AesGcm(AesKey::Bits128)),
    (192, Suite::AesGcm(AesKey::Bits192)),
    (256, Suite::AesGcm(AesKey::Bits256)),
];

/// Our key (AES key ‖ salt) and IV.
fn split_iv(key: Vec<u8>, iv: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (salt, iv) = iv.split_at(4);
    ([key, salt.to_vec()].concat(), iv.to_vec())
}

#[test]
fn sealing_agrees_with_cavs() {
    for (bits, suite) in [SUITES[0], SUITES[2]] {
        let cases = reader::cases(&format!("cavp/gcm/gcmEncryptExtIV{bits}.subset.rsp"));
        let mut count = 0;
        for case in cases.iter().filter(|case| case.under("Taglen = 128")) {
            let (key, iv) = split_iv(case.bytes("Key"), &case.bytes("IV"));
            let sealed = seal(suite, &key, &case.bytes("AAD"), &iv, &case.bytes("PT"));
            assert_eq!(
                sealed,
                [iv, case.bytes("CT"), case.bytes("Tag")].concat(),
                "{case:?}"
            );
            count += 1;
        }
        assert_eq!(count, 100, "{bits}");
    }
}

#[test]
fn opening_agrees_with_cavs() {
    for (bits, suite) in [SUITES[0], SUITES[2]] {
        let cases = reader::cases(&format!("cavp/gcm/gcmDecrypt{bits}.subset.rsp"));
        let (mut opened, mut refused) = (0, 0);
        for case in cases.iter().filter(|case| case.under("Taglen = 128")) {
            let (key, iv) = split_iv(case.bytes("Key"), &case.bytes("IV"));
            let sealed = [iv, case.bytes("CT"), case.bytes("Tag")].concat();
            let plaintext = open(suite, &key, &case.bytes("AAD"), &sealed);
            if case.has("FAIL") {
                assert_eq!(plaintext, None, "{case:?}");
                refused += 1;
            } else {
                assert_eq!(plaintext, Some(case.bytes("PT")), "{case:?}");
                opened += 1;
            }
        }
        assert_eq!(opened + refused, 100, "{bits}");
        assert!(
            opened >= 25 && refused >= 25,
            "{bits}: {opened} opened, {refused} refused"
        );
    }
}

#[test]
fn sealing_and_opening_agree_with_wycheproof() {
    let tests = reader::wycheproof("wycheproof/aes_gcm_test.json");
    let (mut valid, mut invalid) = (0, 0);
    for (group, test) in &tests {
        let Some((_, suite)) = SUITES.iter().find(|(bits, _)| group["keySize"] == *bits) else {
            continue;
        };
        if group["ivSize"] != 96 {
            continue;
        }
        assert_eq!(group["tagSize"], 128);
        let [key, iv, aad, plaintext, ciphertext, tag] =
            ["key", "iv", "aad", "msg", "ct", "tag"].map(|name| reader::bytes(test, name));
        let (key, iv) = split_iv(key, &iv);
        let known = [&iv[..], &ciphertext, &tag].concat();
        if test["result"] == "valid" {
            assert_eq!(seal(*suite, &key, &aad, &iv, &plaintext), known, "{test}");
            assert_eq!(open(*suite, &key, &aad, &known), Some(plaintext), "{test}");
            valid += 1;
        } else {
            assert_eq!(open(*suite, &key, &aad, &known), None, "{test}");
            invalid += 1;
        }
    }
    assert_eq!((valid, invalid), (116, 81));
}
