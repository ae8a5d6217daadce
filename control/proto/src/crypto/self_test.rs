//! Known answers that are asked for before the first message: a process whose algorithms are wrong must not serve.

use std::fmt;

use zeroize::Zeroizing;

use super::chap;
use super::cipher::{Cipher, Iv};
use super::dh::{Group, Private, SharedSecret, agree};
use super::hash::Hash;
use super::mschapv2::{self, NtHash};
use super::skeyid::{self, Skeyid};

/// An algorithm gave a wrong answer: the process must refuse to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfTestFailed {
    /// The algorithm.
    pub algorithm: &'static str,
}

impl fmt::Display for SelfTestFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "self-test of {} failed", self.algorithm)
    }
}

impl std::error::Error for SelfTestFailed {}

/// Checks every algorithm; takes tens of milliseconds at most.
///
/// # Errors
/// [`SelfTestFailed`] naming the first algorithm with a wrong answer.
pub fn self_test() -> Result<(), SelfTestFailed> {
    check(&ANSWERS)
}

/// What an algorithm must answer, in hex, and how it is asked.
#[derive(Clone, Copy)]
struct Answer {
    algorithm: &'static str,
    known: &'static str,
    ask: fn() -> Option<Vec<u8>>,
}

const ANSWERS: [Answer; 22] = [
    // FIPS 180-4, "abc".
    Answer {
        algorithm: "SHA-1",
        known: "a9993e364706816aba3e25717850c26c9cd0d89d",
        ask: || digest(Hash::Sha1),
    },
    Answer {
        algorithm: "SHA2-256",
        known: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ask: || digest(Hash::Sha2_256),
    },
    Answer {
        algorithm: "SHA2-384",
        known: "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
                8086072ba1e7cc2358baeca134c825a7",
        ask: || digest(Hash::Sha2_384),
    },
    Answer {
        algorithm: "SHA2-512",
        known: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ask: || digest(Hash::Sha2_512),
    },
    // RFC 2202 §3 and RFC 4231 §4.3: key "Jefe".
    Answer {
        algorithm: "HMAC-SHA1",
        known: "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
        ask: || prf(Hash::Sha1),
    },
    Answer {
        algorithm: "HMAC-SHA2-256",
        known: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ask: || prf(Hash::Sha2_256),
    },
    Answer {
        algorithm: "HMAC-SHA2-384",
        known: "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
                8e2240ca5e69e2c78b3239ecfab21649",
        ask: || prf(Hash::Sha2_384),
    },
    Answer {
        algorithm: "HMAC-SHA2-512",
        known: "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
                9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ask: || prf(Hash::Sha2_512),
    },
    // NIST CAVS TCBCMMT3 and CBCMMT128, 192, 256, count 1.
    Answer {
        algorithm: "3DES-CBC",
        known: "e9afaba5ec75ea1bbe65506655bb4ecb",
        ask: || {
            both_ways(
                Cipher::TripleDes,
                "a49d7564199e97cb529d2c9d97bf2f98d35edf57ba1f7358",
                "c2e999cb6249023c",
                "c689aee38a301bb316da75db36f110b5",
            )
        },
    },
    Answer {
        algorithm: "AES-128-CBC",
        known: "c4dc61d9725967a3020104a9738f23868527ce839aab1752fd8bdb95a82c4d00",
        ask: || {
            both_ways(
                Cipher::Aes128,
                "0700d603a1c514e46b6191ba430a3a0c",
                "aad1583cd91365e3bb2f0c3430d065bb",
                "068b25c7bfb1f8bdd4cfc908f69dffc5ddc726a197f0e5f720f730393279be91",
            )
        },
    },
    Answer {
        algorithm: "AES-192-CBC",
        known: "51d44779f90d40a80048276c035cb49ca2a47bcb9b9cf7270b9144793787d53f",
        ask: || {
            both_ways(
                Cipher::Aes192,
                "eab3b19c581aa873e1981c83ab8d83bbf8025111fb2e6b21",
                "f3d6667e8d4d791e60f7505ba383eb05",
                "9d4e4cccd1682321856df069e3f1c6fa391a083a9fb02d59db74c14081b3acc4",
            )
        },
    },
    Answer {
        algorithm: "AES-256-CBC",
        known: "2fa0df722a9fd3b64cb18fb2b3db55ff2267422757289413f8f657507412a64c",
        ask: || {
            both_ways(
                Cipher::Aes256,
                "dce26c6b4cfb286510da4eecd2cffe6cdf430f33db9b5f77b460679bd49d13ae",
                "fdeaa134c8d7379d457175fd1a57d3fc",
                "50e9eee1ac528009e8cbcd356975881f957254b13f91d7c6662d10312052eb00",
            )
        },
    },
    // NIST CAVS ikev1_psk, SHA-256, count 0: SKEYID, SKEYID_d, SKEYID_a, SKEYID_e.
    Answer {
        algorithm: "SKEYID",
        known: "558a99b299773d267cf7c8ef073bf3b7af362c206c75a538403c5ef884d4cace\
                3b4bb2bf33fc3f002c84f59370f39ac705ea8efd299f64aaf723b7995a2b1560\
                c78ad634ec47feee88cda902731e731eb594114db6a1882bc2c948ee9765958c\
                33b10be0f43bc5984a86a1470c48ece12290915589b8c73fa5c7b8faf2bb6503",
        ask: skeyid,
    },
    // SHA2-256 of both public values and the secret, from Python integers; the secrets of the curves are those of RFC 5903 §8.1 and §8.2.
    Answer {
        algorithm: "MODP-1024",
        known: "071ed5ab90d345e24dfa379b3f3135c110f610f12dac741845d2c255af1db6a2",
        ask: || {
            exchange(
                Group::Modp1024,
                "0ff9bb510944fe0c9dfb369bab13dfae627655daa05f11193ceaaf308142c8ea91d93080f9b439fc",
                "3a124c647e02ff05b7c1dce27f7695f56fced11d2bd8a1e6047a8387cdde8d516301bbfca0c5154e",
            )
        },
    },
    Answer {
        algorithm: "MODP-1536",
        known: "e3ace24bf1b1723a3b84dfe65d333325107ae7c7ebe73fe5c9621d3c97ac03c7",
        ask: || {
            exchange(
                Group::Modp1536,
                "e23aae22f86e1796aef7403a38a37412455c22897d4661f9e7107826ff186cc9082989e3c2b53977",
                "3a3b7d707f2b31059dbd6aa97f29aa023a6544d946d7a88bbfec9d3fd87185c86a3615976f5cce83",
            )
        },
    },
    Answer {
        algorithm: "MODP-2048",
        known: "9529d1fc58fe9e987718b4a520f636431157dc28f6765f9e54bb35c06b326fbf",
        ask: || {
            exchange(
                Group::Modp2048,
                "ec3a2eebae7eef45251bcaa1f1429300a8126fb95194a280efcc0515e7d8e7071a1038d12adbb8f2",
                "b04b719760d65a7843d098ed54189078ff6e950fbead46c17c3ef15d9fcff72ba2a468304a113789",
            )
        },
    },
    Answer {
        algorithm: "MODP-3072",
        known: "474241fba6ba07898f1677261f2b1ff0b78d020572961681c31a827e69bae13b",
        ask: || {
            exchange(
                Group::Modp3072,
                "1d146fb127ee4d4eee5a96f6f89a08a9527d25f328e4ae66dd2a9f93000a43feb013fd6d1efbb853\
                 b5c491f0fcd7463c",
                "0e1f10a0733d5da9cc6ec0f4bd9526adafc2ae0ad1cf7dee4f39ebce682224470683e2492765e072\
                 86a0ad124a7367f8",
            )
        },
    },
    Answer {
        algorithm: "MODP-4096",
        known: "eb18dcf6a483f330bf3dcf50dc75fdf85ab2a62fa379ee306fc8ef4eb4f51b9a",
        ask: || {
            exchange(
                Group::Modp4096,
                "3746ac0d175e8a2c5abceb2d6610904aaed5939564f961ab407cbd72db62f91e0284064f68a7ae34\
                 c69a6d0877ff48a3",
                "a112bc27efe8b56fde73c8fba2c99605bcc8018cd7b030b534f59a8c26407b828103adfe7aa0990b\
                 83b5a4a4eb728ef5",
            )
        },
    },
    Answer {
        algorithm: "ECP-256",
        known: "6815392b9a88463748362026922865236f596785a9e1b03073b8499d16771f90",
        ask: || {
            exchange(
                Group::Ecp256,
                "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
                "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
            )
        },
    },
    Answer {
        algorithm: "ECP-384",
        known: "3e2e5a0eecd66f299fd4cf26c1402103344eebf9e2e520d1417be2be4c5a28bf",
        ask: || {
            exchange(
                Group::Ecp384,
                "099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655\
                 e35b538041e649ee3faef896783ab194",
                "41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942\
                 e0308312916b8ed2960e4bd55a7448fc",
            )
        },
    },
    // RFC 1321 §A.5: MD5 of "abc".
    Answer {
        algorithm: "CHAP with MD5",
        known: "900150983cd24fb0d6963f7d28e17f72",
        ask: || Some(chap::response(b'a', b"b", b"c").to_vec()),
    },
    // RFC 2759 §9.2: NT-Response and authenticator response.
    Answer {
        algorithm: "MS-CHAPv2",
        known: "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df\
                407a5589115fd0d6209f510fe9c04566932cda56",
        ask: mschapv2,
    },
];

fn check(answers: &[Answer]) -> Result<(), SelfTestFailed> {
    answers.iter().try_for_each(|answer| {
        let known = unhex(answer.known);
        let right = known.is_some() && (answer.ask)() == known;
        let failed = SelfTestFailed {
            algorithm: answer.algorithm,
        };
        right.then_some(()).ok_or(failed)
    })
}

fn digest(hash: Hash) -> Option<Vec<u8>> {
    Some(hash.digest(&[b"a", b"bc"]).as_bytes().to_vec())
}

fn prf(hash: Hash) -> Option<Vec<u8>> {
    let message: [&[u8]; 2] = [b"what do ya want ", b"for nothing?"];
    Some(hash.prf(b"Jefe", &message).as_bytes().to_vec())
}

/// The ciphertext; `None` if it does not decrypt again.
fn both_ways(cipher: Cipher, key: &str, iv: &str, plaintext: &str) -> Option<Vec<u8>> {
    let (key, iv, plaintext) = (unhex(key)?, Iv::new(&unhex(iv)?)?, unhex(plaintext)?);
    let mut bytes = plaintext.clone();
    let last = cipher.encrypt(&key, &iv, &mut bytes).ok()?;
    let ciphertext = bytes.clone();
    let last_again = cipher.decrypt(&key, &iv, &mut bytes).ok()?;
    (bytes == plaintext && last == last_again).then_some(ciphertext)
}

fn skeyid() -> Option<Vec<u8>> {
    let exchange = skeyid::Exchange {
        initiator_cookie: 0x4e30_e8d4_da0f_ecbf_u64.to_be_bytes(),
        responder_cookie: 0xcf8c_e134_8665_f112_u64.to_be_bytes(),
        initiator_nonce: &0xead9_ced4_9486_8f41_u64.to_be_bytes(),
        responder_nonce: &0xf1af_f4f4_25a9_4f18_u64.to_be_bytes(),
    };
    let shared = unhex("ea6c7c00e276d86adace3368f0c8245c3e486b8c6c1474a533b7da3b9c9b3f1f")?;
    let shared = SharedSecret::new(Zeroizing::new(shared));
    let keys = Skeyid::from_psk(Hash::Sha2_256, &[0xa0], &exchange, &shared);
    Some(
        [
            keys.skeyid(),
            keys.skeyid_d(),
            keys.skeyid_a(),
            keys.skeyid_e(),
        ]
        .concat(),
    )
}

/// Hash of both public values and the secret; `None` if the ends differ, or take a peer's public value of zero.
fn exchange(group: Group, initiator: &str, responder: &str) -> Option<Vec<u8>> {
    let initiator = Private::from_bytes(group, &unhex(initiator)?).ok()?;
    let responder = Private::from_bytes(group, &unhex(responder)?).ok()?;
    let (first, second) = (initiator.public().ok()?, responder.public().ok()?);
    let secret = agree(&initiator, &second).ok()?;
    let same = agree(&responder, &first).ok()?;
    let refuses = agree(&initiator, &vec![0; group.public_len()]).is_err();
    let digest = Hash::Sha2_256.digest(&[&first, &second, secret.expose()]);
    (refuses && secret.expose() == same.expose()).then(|| digest.as_bytes().to_vec())
}

fn mschapv2() -> Option<Vec<u8>> {
    let exchange = mschapv2::Exchange {
        authenticator_challenge: &0x5b5d_7c7d_7b3f_2f3e_3c2c_6021_3226_2628_u128.to_be_bytes(),
        peer_challenge: &0x2140_2324_255e_262a_2829_5f2b_3a33_7c7e_u128.to_be_bytes(),
        name: b"User",
    };
    let password = NtHash::of_password("clientPass");
    let response = exchange.nt_response(&password);
    let proof = exchange.authenticator_response(&password, &response);
    Some([&response[..], &proof].concat())
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_passes() {
        assert_eq!(self_test(), Ok(()));
    }

    #[test]
    fn every_hash_cipher_and_group_is_asked_for() {
        let asked = |name: &str| {
            ANSWERS
                .iter()
                .filter(|answer| answer.algorithm.contains(name))
                .count()
        };
        assert_eq!(asked("SHA"), 2 * Hash::ALL.len());
        assert_eq!(asked("CBC"), Cipher::ALL.len());
        assert_eq!(asked("MODP") + asked("ECP"), Group::ALL.len());
    }

    #[test]
    fn a_corrupted_answer_is_detected_and_named() {
        for answer in ANSWERS {
            let algorithm = answer.algorithm;
            let digit = if answer.known.ends_with('0') {
                "1"
            } else {
                "0"
            };
            let known = [&answer.known[..answer.known.len() - 1], digit].concat();
            let corrupted = Answer {
                known: known.leak(),
                ..answer
            };
            assert_eq!(check(&[corrupted]), Err(SelfTestFailed { algorithm }));
            let unreadable = Answer {
                known: "not hex",
                ask: || None,
                ..answer
            };
            assert_eq!(check(&[unreadable]), Err(SelfTestFailed { algorithm }));
        }
    }

    #[test]
    fn the_failure_names_the_algorithm() {
        let failed = SelfTestFailed {
            algorithm: "ECP-256",
        };
        assert_eq!(failed.to_string(), "self-test of ECP-256 failed");
    }
}
