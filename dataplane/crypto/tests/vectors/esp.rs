//! Whole ESP packets of other implementations: each is opened, then sealed again to the same bytes.

use culvert_crypto::{AesKey, Integrity, Suite};
use serde_json::Value;

use crate::{open, reader, seal};

/// SPI and sequence number; with extended sequence numbers the high half between them.
fn aad(esp: &[u8], high: &[u8]) -> Vec<u8> {
    [&esp[..4], high, &esp[4..8]].concat()
}

/// AES-GCM with a key of `len` bytes.
fn gcm(len: usize) -> Suite {
    let key = AesKey::ALL.into_iter().find(|key| key.len() == len);
    Suite::AesGcm(key.unwrap())
}

/// Opens the ESP packet, seals what comes out with its IV, and returns it.
fn through(suite: Suite, key: &[u8], high: &[u8], esp: &[u8]) -> Vec<u8> {
    let (aad, sealed) = (aad(esp, high), &esp[8..]);
    let plaintext = open(suite, key, &aad, sealed).unwrap();
    assert_eq!(
        seal(suite, key, &aad, &sealed[..suite.iv_len()], &plaintext),
        sealed
    );
    let mut other = aad.clone();
    *other.last_mut().unwrap() ^= 1;
    assert_eq!(
        open(suite, key, &other, sealed),
        None,
        "another sequence number"
    );
    plaintext
}

/// The ESP packet in an IP packet, native or in UDP.
fn esp_of(packet: &[u8]) -> &[u8] {
    let (header_len, protocol) = match packet[0] >> 4 {
        4 => (20, packet[9]),
        _ => (40, packet[6]),
    };
    match protocol {
        50 => &packet[header_len..],
        17 => &packet[header_len + 8..],
        other => panic!("protocol {other}"),
    }
}

/// What stands before padding and trailer; the padding is 1, 2, 3, …
fn unpadded(plaintext: &[u8]) -> (&[u8], u8) {
    let [payload @ .., pad_len, next_header] = plaintext else {
        panic!("no trailer")
    };
    let (payload, padding) = payload.split_at(payload.len() - usize::from(*pad_len));
    assert!(padding.iter().copied().eq(1..=*pad_len));
    (payload, *next_header)
}

#[test]
fn the_packets_of_draft_mcgrew_gcm_test_open_and_seal() {
    let file = reader::json("rfc/esp_aes_gcm_draft_mcgrew.json");
    let mut count = 0;
    for test in reader::elements(&file, "tests") {
        let suite = gcm(reader::bytes(test, "key").len());
        let key = [reader::bytes(test, "key"), reader::bytes(test, "salt")].concat();
        let esp = reader::bytes(test, "esp_packet");
        let high = test["esn_hi"]
            .as_str()
            .map(reader::unhex)
            .unwrap_or_default();
        assert_eq!(aad(&esp, &high), reader::bytes(test, "aad"));
        let plaintext = through(suite, &key, &high, &esp);
        assert_eq!(
            plaintext,
            reader::bytes(test, "plaintext_with_esp_trailer"),
            "{test}"
        );
        count += 1;
    }
    assert_eq!(count, 14);
}

#[test]
fn the_packets_of_dpdk_open_and_seal() {
    let file = reader::json("esp/dpdk_ipsec_packets.json");
    let mut count = 0;
    for test in reader::elements(&file, "tests") {
        let Some((suite, key)) = dpdk_suite(test) else {
            continue;
        };
        let packet = reader::bytes(test, "output_text");
        let plaintext = through(suite, &key, &[], esp_of(&packet));
        let inner = reader::bytes(test, "input_text");
        let (payload, next_header) = unpadded(&plaintext);
        assert_eq!(payload, inner, "{test}");
        assert_eq!(next_header, if inner[0] >> 4 == 4 { 4 } else { 41 });
        count += 1;
    }
    assert_eq!(
        count, 13,
        "five of AES-GCM, four of AES-CBC and four of Triple DES with HMAC-SHA2"
    );
}

fn dpdk_suite(test: &Value) -> Option<(Suite, Vec<u8>)> {
    let algorithms: Vec<_> = reader::elements(test, "algo")
        .iter()
        .map(|name| name.as_str().unwrap().trim_start_matches("RTE_CRYPTO_"))
        .collect();
    let key = || reader::bytes(test, "key");
    match algorithms[..] {
        ["AEAD_AES_GCM"] => Some((
            gcm(key().len()),
            [key(), reader::bytes(test, "salt")].concat(),
        )),
        [cipher @ ("CIPHER_AES_CBC" | "CIPHER_3DES_CBC"), hash] => {
            let integrity = match hash {
                "AUTH_SHA256_HMAC" => Integrity::Sha256_128,
                "AUTH_SHA384_HMAC" => Integrity::Sha384_192,
                "AUTH_SHA512_HMAC" => Integrity::Sha512_256,
                _ => return None,
            };
            let suite = match cipher {
                "CIPHER_AES_CBC" => Suite::AesCbcHmac(AesKey::Bits128, integrity),
                _ => Suite::TripleDesHmac(integrity),
            };
            Some((suite, [key(), reader::bytes(test, "auth_key")].concat()))
        }
        _ => None,
    }
}

#[test]
fn the_packets_of_scapy_open_and_seal() {
    let file = reader::json("esp/scapy_esp_packets.json");
    let (mut counts, mut extended) = ([0; Suite::ALL.len()], 0);
    for test in reader::elements(&file, "tests") {
        let key = [
            reader::bytes(test, "crypt_key"),
            reader::bytes(test, "auth_key"),
        ]
        .concat();
        let Some(suite) = scapy_suite(test, key.len()) else {
            continue;
        };
        let packet = reader::bytes(test, "packet");
        let esp = esp_of(&packet);
        assert_eq!(esp[..4], reader::bytes(test, "spi"));
        assert_eq!(esp[8..8 + suite.iv_len()], reader::bytes(test, "iv"));
        let high = test["esn_hi"]
            .as_u64()
            .map(|high| u32::try_from(high).unwrap().to_be_bytes());
        let high = high.as_ref().map_or(&[][..], |high| &high[..]);
        extended += usize::from(!high.is_empty());
        let plaintext = through(suite, &key, high, esp);
        let (payload, _) = unpadded(&plaintext);
        let inner = reader::bytes(test, "inner");
        assert!(inner.ends_with(payload), "{test}");
        assert!(!payload.is_empty());
        assert_eq!(
            plaintext.len() - payload.len() - 2,
            suite.pad_len(payload.len()),
            "{test}"
        );
        counts[Suite::ALL.iter().position(|own| *own == suite).unwrap()] += 1;
    }
    assert_eq!(counts.iter().filter(|count| **count > 0).count(), 10);
    assert_eq!(counts.iter().max(), Some(&26));
    assert_eq!(extended, 80, "packets with extended sequence numbers");
}

fn scapy_suite(test: &Value, key_len: usize) -> Option<Suite> {
    let integrity = match test["auth"].as_str() {
        None => {
            return (test["crypt"] == "AES-GCM").then(|| gcm(key_len - 4));
        }
        Some("HMAC-SHA1-96") => Integrity::Sha1_96,
        Some("SHA2-256-128") => Integrity::Sha256_128,
        Some("SHA2-384-192") => Integrity::Sha384_192,
        Some("SHA2-512-256") => Integrity::Sha512_256,
        Some(other) => panic!("integrity {other}"),
    };
    match test["crypt"].as_str()? {
        "AES-CBC" => {
            let cipher_key_len = key_len - integrity.key_len();
            let key = AesKey::ALL
                .into_iter()
                .find(|key| key.len() == cipher_key_len);
            Some(Suite::AesCbcHmac(key.unwrap(), integrity))
        }
        "3DES" => Some(Suite::TripleDesHmac(integrity)),
        _ => None,
    }
}
