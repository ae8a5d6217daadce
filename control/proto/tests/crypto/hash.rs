//! HMAC: NIST CAVS, RFC 2202, RFC 4231, Wycheproof.

use culvert_proto::crypto::hash::Hash;

use crate::reader;

#[test]
fn hmac_agrees_with_cavs_over_all_truncations() {
    let mut count = [0; 4];
    for case in reader::cases("cavp/hmac/HMAC.fax") {
        let Some(index) = ["L=20", "L=32", "L=48", "L=64"]
            .iter()
            .position(|h| case.under(h))
        else {
            assert!(
                case.under("L=28"),
                "SHA-224 is the only hash that is not ours"
            );
            continue;
        };
        let len: usize = case.text("Tlen").parse().unwrap();
        let mac = Hash::ALL[index].prf(&case.bytes("Key"), &[&case.bytes("Msg")]);
        assert_eq!(mac.as_bytes()[..len], case.bytes("Mac"), "{case:?}");
        count[index] += 1;
    }
    assert_eq!(count, [75, 60, 75, 75]);
}

#[test]
fn hmac_agrees_with_rfc_2202_and_rfc_4231() {
    let files = [
        ("rfc/rfc-2202-sha1.txt", Hash::Sha1, 7),
        ("rfc/rfc-4231-sha256.txt", Hash::Sha2_256, 6),
        ("rfc/rfc-4231-sha384.txt", Hash::Sha2_384, 6),
        ("rfc/rfc-4231-sha512.txt", Hash::Sha2_512, 6),
    ];
    for (path, hash, count) in files {
        let cases = reader::cases(path);
        for case in &cases {
            let mac = hash.prf(&case.bytes("Key"), &[&case.bytes("Msg")]);
            assert_eq!(mac.as_bytes(), case.bytes("MD"), "{case:?}");
        }
        assert_eq!(cases.len(), count, "{path}");
    }
}

#[test]
fn hmac_agrees_with_wycheproof() {
    let files = [
        ("wycheproof/hmac_sha1_test.json", Hash::Sha1, 170),
        ("wycheproof/hmac_sha256_test.json", Hash::Sha2_256, 174),
        ("wycheproof/hmac_sha384_test.json", Hash::Sha2_384, 174),
        ("wycheproof/hmac_sha512_test.json", Hash::Sha2_512, 174),
    ];
    for (path, hash, count) in files {
        let tests = reader::wycheproof(path);
        for (_, test) in &tests {
            let (message, tag) = (reader::bytes(test, "msg"), reader::bytes(test, "tag"));
            // In parts, as the callers give them.
            let (head, tail) = message.split_at(message.len() / 3);
            let mac = hash.prf(&reader::bytes(test, "key"), &[head, tail]);
            let valid = mac.as_bytes()[..tag.len()] == tag;
            assert_eq!(valid, test["result"] == "valid", "{path} {test}");
        }
        assert_eq!(tests.len(), count, "{path}");
    }
}

#[test]
fn a_digest_is_of_the_concatenated_parts() {
    // FIPS 180-4 examples: "abc".
    let known = [
        "a9993e364706816aba3e25717850c26c9cd0d89d",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    ];
    for (hash, known) in Hash::ALL.into_iter().zip(known) {
        let digest = hash.digest(&[b"a", b"", b"bc"]);
        assert_eq!(digest.as_bytes(), reader::unhex(known));
        assert_eq!(digest.as_bytes().len(), hash.output_len());
        assert!(digest.matches(&reader::unhex(known)));
        assert!(!digest.matches(&reader::unhex(known)[1..]));
        assert!(!digest.matches(&[]));
        assert_eq!(format!("{digest:?}"), "[redacted]");
    }
}
