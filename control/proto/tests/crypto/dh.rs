//! Diffie-Hellman: agreements and public values to refuse, MODP and ECP.

use culvert_proto::crypto::dh::{DhError, Group, Private, agree, generate};
use culvert_proto::crypto::hash::Hash;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::reader;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([7; 32])
}

#[test]
fn modp_agrees_with_known_answers_leading_zeros_included() {
    let file = reader::json("dh/modp_kats.json");
    let mut count = 0;
    for kat in reader::elements(&file, "kats") {
        let number = u16::try_from(kat["group"].as_u64().unwrap()).unwrap();
        let Some(group) = Group::from_number(number) else {
            continue;
        };
        let shared = reader::bytes(kat, "shared");
        for (own, peer) in [("i", "r"), ("r", "i")] {
            let [own_public, own_private, peer_public] = [
                format!("pub_{own}"),
                format!("priv_{own}"),
                format!("pub_{peer}"),
            ]
            .map(|name| reader::bytes(kat, &name));
            let private = Private::from_bytes(group, &own_private).unwrap();
            assert_eq!(private.public().unwrap(), own_public, "{kat}");
            assert_eq!(
                agree(&private, &peer_public).unwrap().expose(),
                shared,
                "{kat}"
            );
        }
        count += 1;
    }
    assert_eq!(
        count, 11,
        "three for each of groups 2, 5 and 14, one for 15 and 16"
    );
}

#[test]
fn modp_refuses_every_bad_public_value() {
    let file = reader::json("dh/modp_kats.json");
    let mut count = 0;
    for bad in reader::elements(&file, "must_reject") {
        let number = u16::try_from(bad["group"].as_u64().unwrap()).unwrap();
        let Some(group) = Group::from_number(number) else {
            continue;
        };
        let (private, _) = generate(group, &mut rng());
        let public = reader::bytes(bad, "pub");
        let expected = if public.len() == group.public_len() {
            DhError::Public
        } else {
            DhError::Length {
                len: public.len(),
                needed: group.public_len(),
            }
        };
        assert_eq!(agree(&private, &public).err(), Some(expected), "{bad}");
        count += 1;
    }
    assert_eq!(count, 27, "nine for each of groups 2, 14 and 15");
}

#[test]
fn the_bounds_of_every_modp_group_are_exact() {
    let file = reader::json("dh/modp_groups.json");
    let mut count = 0;
    for entry in reader::elements(&file, "groups") {
        let number = u16::try_from(entry["group"].as_u64().unwrap()).unwrap();
        let Some(group) = Group::from_number(number) else {
            continue;
        };
        let p = reader::bytes(entry, "prime");
        assert_eq!(p.len(), group.public_len());
        let (private, _) = generate(group, &mut rng());
        // p ends in eight bytes of ones, so small numbers can be taken off its last byte.
        let below = |n: u8| {
            let mut value = p.clone();
            *value.last_mut().unwrap() -= n;
            value
        };
        let small = |n: u8| {
            let mut value = vec![0; p.len()];
            *value.last_mut().unwrap() = n;
            value
        };
        for refused in [small(0), small(1), below(1), below(0), vec![0xff; p.len()]] {
            assert_eq!(agree(&private, &refused).err(), Some(DhError::Public));
        }
        assert_eq!(
            agree(&private, &small(2)).unwrap().expose(),
            private.public().unwrap()
        );
        assert!(agree(&private, &below(2)).is_ok());
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn ecp_agrees_with_wycheproof_and_refuses_what_it_calls_invalid() {
    let files = [
        (
            "wycheproof/ecdh_secp256r1_ecpoint_test.json",
            Group::Ecp256,
            (355, 330),
        ),
        (
            "wycheproof/ecdh_secp384r1_ecpoint_test.json",
            Group::Ecp384,
            (790, 771),
        ),
    ];
    for (path, group, counts) in files {
        let tests = reader::wycheproof(path);
        let mut agreed = 0;
        for (_, test) in &tests {
            let public = reader::bytes(test, "public");
            let private = fixed_len(&reader::bytes(test, "private"), group.shared_len());
            let private = Private::from_bytes(group, &private).unwrap();
            // IKE carries x ‖ y without the tag: a point in any other form has the wrong length.
            let wire = public.strip_prefix(&[4]).unwrap_or(&public);
            let secret = agree(&private, wire);
            if test["result"] == "valid" {
                assert_eq!(
                    secret.unwrap().expose(),
                    reader::bytes(test, "shared"),
                    "{test}"
                );
                agreed += 1;
            } else {
                assert!(secret.is_err(), "{test}");
            }
        }
        assert_eq!((tests.len(), agreed), counts, "{path}");
    }
}

#[test]
fn ecp_agrees_with_cavs_validity_tests() {
    let curves = [
        ("EC - SHA256", Group::Ecp256, Hash::Sha2_256),
        ("ED - SHA384", Group::Ecp384, Hash::Sha2_384),
    ];
    let cases = reader::cases("cavp/kas/KASValidityTest_ECCEphemeralUnified_NOKC_ZZOnly_init.fax");
    for (heading, group, hash) in curves {
        let (mut passed, mut failed) = (0, 0);
        for case in cases.iter().filter(|case| case.under(heading)) {
            let len = group.shared_len();
            let point = |x: &str, y: &str| {
                [
                    fixed_len(&case.bytes(x), len),
                    fixed_len(&case.bytes(y), len),
                ]
                .concat()
            };
            let private = Private::from_bytes(group, &fixed_len(&case.bytes("deIUT"), len));
            let own_matches = private
                .as_ref()
                .is_ok_and(|own| own.public().unwrap() == point("QeIUTx", "QeIUTy"));
            let hash_matches = private
                .and_then(|own| agree(&own, &point("QeCAVSx", "QeCAVSy")))
                .is_ok_and(|z| {
                    hash.digest(&[z.expose()])
                        .matches(&case.bytes("CAVSHashZZ"))
                });
            let passes = case.text("Result").starts_with('P');
            assert_eq!(own_matches && hash_matches, passes, "{case:?}");
            if passes { passed += 1 } else { failed += 1 }
        }
        assert_eq!((passed, failed), (24, 6), "{heading}");
    }
}

#[test]
fn both_ends_agree_in_every_group_and_saved_halves_still_do() {
    let mut rng = rng();
    for group in Group::ALL {
        let (ours, our_public) = generate(group, &mut rng);
        let (theirs, their_public) = generate(group, &mut rng);
        assert_eq!(our_public.len(), group.public_len());
        assert_ne!(our_public, their_public);
        let saved = postcard::to_stdvec(&ours).unwrap();
        let ours: Private = postcard::from_bytes(&saved).unwrap();
        let secret = agree(&ours, &their_public).unwrap();
        assert_eq!(
            secret.expose(),
            agree(&theirs, &our_public).unwrap().expose()
        );
        assert_eq!(secret.expose().len(), group.shared_len());
        assert_eq!(Group::from_number(group.number()), Some(group));
        assert!(format!("{ours:?} {secret:?}").matches("[redacted]").count() == 2);
    }
}

/// Our public values are products of powers of fixed bases, one for each limb of the exponent; the peer's value is raised directly.
#[test]
fn both_ways_to_raise_two_give_the_same_for_exponents_of_every_length() {
    let mut rng = rng();
    for group in Group::ALL.into_iter().filter(|group| group.number() <= 16) {
        let mut two = vec![0; group.public_len()];
        *two.last_mut().unwrap() = 2;
        for len in 20..=64 {
            for top in [0, 0x80, 0xff] {
                let mut exponent = vec![0; len];
                rng.fill_bytes(&mut exponent);
                exponent[0] = top;
                let private = Private::from_bytes(group, &exponent).unwrap();
                let direct = agree(&private, &two).unwrap();
                assert_eq!(
                    private.public().unwrap(),
                    direct.expose(),
                    "{group:?} {len}"
                );
            }
        }
    }
}

#[test]
fn a_private_scalar_out_of_range_is_refused() {
    for group in Group::ALL {
        for len in [0, 19, 65, 97] {
            assert_eq!(
                Private::from_bytes(group, &vec![1; len]).err(),
                Some(DhError::Private)
            );
        }
        assert_eq!(
            Private::from_bytes(group, &[0; 32]).err(),
            Some(DhError::Private)
        );
        assert_eq!(
            Private::from_bytes(group, &[0; 48]).err(),
            Some(DhError::Private)
        );
    }
    // Not below the order.
    assert_eq!(
        Private::from_bytes(Group::Ecp256, &[0xff; 32]).err(),
        Some(DhError::Private)
    );
    assert_eq!(
        Private::from_bytes(Group::Ecp384, &[0xff; 48]).err(),
        Some(DhError::Private)
    );
}

#[test]
fn a_damaged_private_half_is_an_error_and_no_panic() {
    for group in Group::ALL {
        let (_, peer) = generate(group, &mut rng());
        for scalar in [
            vec![],
            vec![0; 32],
            vec![0xff; 48],
            vec![0xff; 65],
            vec![1; 300],
        ] {
            let length = u64::try_from(scalar.len()).unwrap();
            let saved = postcard::to_stdvec(&(group, length)).unwrap();
            let restored = postcard::from_bytes(&[saved, scalar.clone()].concat());
            let private: Private = restored.unwrap();
            match Private::from_bytes(group, &scalar) {
                Ok(good) => assert_eq!(private.public(), good.public()),
                Err(error) => {
                    assert_eq!(private.public().err(), Some(error));
                    assert_eq!(agree(&private, &peer).err(), Some(error));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_public_value_is_answered(group in prop::sample::select(Group::ALL.to_vec()), len in 0_usize..600, fill: [u8; 600]) {
        let (private, _) = generate(group, &mut rng());
        for len in [len, group.public_len()] {
            let secret = agree(&private, &fill[..len]);
            prop_assert!(len == group.public_len() || secret.is_err());
            prop_assert!(secret.is_err() || secret.unwrap().expose().len() == group.shared_len());
        }
    }
}

/// Leading zeros off or on, to `len` bytes.
fn fixed_len(number: &[u8], len: usize) -> Vec<u8> {
    let first = number
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(number.len());
    let significant = &number[first..];
    [&vec![0; len - significant.len()], significant].concat()
}
