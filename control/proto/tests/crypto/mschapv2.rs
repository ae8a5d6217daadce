//! Password proofs: RFC 2759 §9.2, RFC 1994.

use culvert_proto::crypto::chap;
use culvert_proto::crypto::mschapv2::{Exchange, NtHash, success_message};
use md5::{Digest, Md5};

use crate::reader;

struct Known {
    authenticator_challenge: [u8; 16],
    peer_challenge: [u8; 16],
    nt_response: [u8; 24],
    file: serde_json::Value,
}

fn known() -> Known {
    let file = reader::json("rfc/mschapv2_rfc2759_rfc3079.json");
    Known {
        authenticator_challenge: reader::bytes(&file, "authenticator_challenge")
            .try_into()
            .unwrap(),
        peer_challenge: reader::bytes(&file, "peer_challenge").try_into().unwrap(),
        nt_response: reader::bytes(&file, "nt_response").try_into().unwrap(),
        file,
    }
}

impl Known {
    fn exchange<'a>(&'a self, name: &'a [u8]) -> Exchange<'a> {
        Exchange {
            authenticator_challenge: &self.authenticator_challenge,
            peer_challenge: &self.peer_challenge,
            name,
        }
    }
}

#[test]
fn the_rfcs_example_comes_out() {
    let known = known();
    let exchange = known.exchange(b"User");
    let password = NtHash::of_password("clientPass");
    assert_eq!(password.expose()[..], reader::bytes(&known.file, "nt_hash"));
    assert_eq!(
        exchange.challenge_hash()[..],
        reader::bytes(&known.file, "challenge_hash")
    );
    assert_eq!(exchange.nt_response(&password), known.nt_response);
    assert!(exchange.verify(&password, &known.nt_response));
    let digest = exchange.authenticator_response(&password, &known.nt_response);
    let text = success_message(&digest);
    assert_eq!(
        std::str::from_utf8(&text).unwrap(),
        known.file["authenticator_response"]
    );
}

#[test]
fn a_domain_in_the_name_changes_nothing_and_another_name_everything() {
    let known = known();
    let password = NtHash::of_password("clientPass");
    for name in [&b"DOMAIN\\User"[..], b"\\User", b"a\\b\\User"] {
        assert!(known.exchange(name).verify(&password, &known.nt_response));
    }
    for name in [&b""[..], b"user", b"User\\", b"User ", b"User@DOMAIN"] {
        assert!(!known.exchange(name).verify(&password, &known.nt_response));
    }
}

#[test]
fn a_wrong_password_challenge_or_response_is_refused() {
    let known = known();
    let password = NtHash::of_password("clientPass");
    let exchange = known.exchange(b"User");
    assert!(!exchange.verify(&NtHash::of_password("clientpass"), &known.nt_response));
    assert!(!exchange.verify(&password, &known.nt_response[..23]));
    assert!(!exchange.verify(&password, &[]));
    for bit in 0..24 * 8 {
        let mut wrong = known.nt_response;
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(!exchange.verify(&password, &wrong), "bit {bit}");
    }
    let other = [0x55; 16];
    let replayed = Exchange {
        authenticator_challenge: &other,
        ..exchange
    };
    assert!(!replayed.verify(&password, &known.nt_response));
}

#[test]
fn a_password_is_hashed_as_utf_16() {
    // MD4 of 20 AC D8 3D DE 00 in the order of UTF-16LE: "€😀" is AC 20, 3D D8, 00 DE.
    use md4::Md4;
    let expected: [u8; 16] = Md4::digest([0xac, 0x20, 0x3d, 0xd8, 0x00, 0xde]).into();
    assert_eq!(NtHash::of_password("€😀").expose(), &expected);
    assert_eq!(format!("{:?}", NtHash::new([1; 16])), "[redacted]");
    // The hash of the empty password, known from every Windows system.
    let empty = reader::unhex("31d6cfe0d16ae931b73c59d7e0c089c0");
    assert_eq!(NtHash::of_password("").expose()[..], empty);
}

#[test]
fn a_chap_response_hashes_identifier_secret_and_challenge() {
    let expected: [u8; 16] = Md5::digest(b"\x2asecretchallenge").into();
    assert_eq!(chap::response(0x2a, b"secret", b"challenge"), expected);
    assert!(chap::verify(0x2a, b"secret", b"challenge", &expected));
    assert!(!chap::verify(0x2b, b"secret", b"challenge", &expected));
    assert!(!chap::verify(0x2a, b"Secret", b"challenge", &expected));
    assert!(!chap::verify(
        0x2a,
        b"secret",
        b"challenge",
        &expected[..15]
    ));
    assert!(!chap::verify(0x2a, b"secret", b"challenge", &[]));
}
