//! Clients that are turned away, and a gateway that goes: the right word to each, and nothing left behind.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use culvert_bench::client::ppp::Method;
use culvert_bench::client::{Cause, Credentials, Profile};
use culvert_proto::gateway::{Note, Table};
use culvert_tests::sim::network::Conditions;
use culvert_tests::sim::setting::{self, Setting, credentials, profile};
use culvert_tests::sim::{Deaf, MemberId, World};

/// Longer than anything of a client that was turned away is kept.
const FORGOTTEN: Duration = Duration::from_secs(9 * 3_600);

fn outer(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, u8::try_from(number + 1).unwrap())
}

/// Why a client with this profile and password is turned away.
fn refusal(seed: u64, profile: Profile, user: &str, password: &str) -> Cause {
    let users = vec![
        setting::user(0),
        // 'password' as Windows stores it.
        setting::entry("hashed", "nt-hash", "8846f7eaee8fb117ad06bdd830b7586c"),
    ];
    let mut world = World::new(Setting {
        users,
        // What refuses a password must not be overtaken by what ends the link.
        ..Setting::new(seed).over(Conditions::ORDERLY)
    });
    let credentials = Credentials {
        user: user.to_owned(),
        password: password.to_owned(),
    };
    let id = world.connect(outer(0), &Arc::new(profile), &Arc::new(credentials));
    assert!(
        world.run(Duration::from_secs(120), |world| world
            .member(id)
            .cause()
            .is_some()),
        "seed {seed}: {:?}",
        world.member(id).events
    );
    let cause = world.member(id).cause().unwrap();
    assert_eq!(world.member(id).address(), None, "seed {seed}");
    world.pass(FORGOTTEN);
    world.assert_empty();
    world.assert_accounted();
    cause
}

fn with(method: Method) -> Profile {
    Profile {
        methods: vec![method],
        ..profile()
    }
}

#[test]
fn a_wrong_pre_shared_key_gets_no_further_than_the_proof_of_it() {
    for seed in 1..4 {
        let wrong = Profile {
            psk: b"another key of some length".to_vec(),
            ..profile()
        };
        let cause = refusal(seed, wrong, "user-0", &setting::password(0));
        assert!(
            matches!(cause, Cause::Silent(_) | Cause::Notified(_)),
            "seed {seed}: {cause:?}"
        );
    }
}

#[test]
fn wrong_passwords_and_unknown_users_are_refused_alike_by_every_method() {
    for (seed, method) in (10..).zip([Method::MsChapV2, Method::ChapMd5, Method::Pap]) {
        let refused = Cause::PasswordRefused;
        assert_eq!(
            refusal(seed, with(method), "user-0", "a guess"),
            refused,
            "{method:?}"
        );
        assert_eq!(
            refusal(seed, with(method), "nobody", "a guess"),
            refused,
            "{method:?}"
        );
    }
}

#[test]
fn a_user_whose_stored_secret_serves_no_method_of_the_client_is_refused() {
    let cause = refusal(20, with(Method::ChapMd5), "hashed", "password");
    assert_eq!(cause, Cause::PasswordRefused);
}

#[test]
fn clients_beyond_the_last_address_are_turned_away_until_one_is_free() {
    for seed in 30..33 {
        let mut world = World::new(Setting {
            pool: 3,
            ..Setting::new(seed)
        });
        let profile = Arc::new(profile());
        for number in 0..5 {
            world.connect(outer(number), &profile, &credentials(number));
        }
        world.run(Duration::from_secs(120), |world| {
            world.members().all(|(_, member)| !member.events.is_empty())
        });
        let up: Vec<_> = world
            .members()
            .filter(|(_, member)| member.is_up())
            .map(|(id, _)| id)
            .collect();
        assert_eq!(up.len(), 3, "seed {seed}");
        assert!(
            world.notes().contains(&Note::Full(Table::Addresses)),
            "seed {seed}"
        );
        for (_, member) in world.members().filter(|(_, member)| !member.is_up()) {
            let cause = member.cause();
            assert!(
                matches!(
                    cause,
                    Some(Cause::LinkClosed | Cause::CallClosed(_) | Cause::TunnelClosed(_))
                ),
                "seed {seed}: {cause:?}"
            );
        }
        world.act(up[0], |client, now, rng| client.disconnect(now, rng));
        world.pass(Duration::from_secs(5));
        let late = world.connect(outer(5), &profile, &credentials(5));
        world.pass(Duration::from_secs(20));
        assert!(
            world.member(late).is_up(),
            "seed {seed}: {:?}",
            world.member(late).events
        );
        for (id, _) in world.members().map(|(id, _)| (id, ())).collect::<Vec<_>>() {
            world.act(id, |client, now, rng| client.disconnect(now, rng));
        }
        world.pass(FORGOTTEN);
        world.assert_empty();
        world.assert_accounted();
    }
}

/// Ten clients and a gateway that says good-bye; returns why each went.
fn farewell(seed: u64, deaf: Deaf) -> Vec<Option<Cause>> {
    let mut world = World::new(Setting::new(seed).restored_every(3));
    for number in 0..10 {
        let encapsulated = Profile {
            encapsulation: if number % 2 == 0 {
                culvert_bench::client::Encapsulation::AsNeeded
            } else {
                culvert_bench::client::Encapsulation::ForcedUdp
            },
            ..profile()
        };
        world.connect(outer(number), &Arc::new(encapsulated), &credentials(number));
    }
    world.assert_all_up();
    world.deafen(deaf);
    world.close_all();
    world.assert_empty();
    world.pass(Duration::from_millis(100));
    world.assert_accounted();
    (0..10)
        .map(|number| world.member(MemberId(number)).cause())
        .collect()
}

#[test]
fn a_gateway_that_goes_says_so_to_every_client_in_l2tp_and_in_ike() {
    for seed in 40..43 {
        // Those that hear no IKE have it from CDN or StopCCN, those that hear no ESP from DELETE.
        for cause in farewell(seed, Deaf::ToIke) {
            assert!(
                matches!(cause, Some(Cause::CallClosed(_) | Cause::TunnelClosed(_))),
                "seed {seed}: {cause:?}"
            );
        }
        for cause in farewell(seed, Deaf::ToEsp) {
            assert_eq!(cause, Some(Cause::Deleted), "seed {seed}");
        }
        for cause in farewell(seed, Deaf::No) {
            assert!(cause.is_some(), "seed {seed}");
        }
    }
}

#[test]
fn a_client_that_vanishes_is_forgotten_within_five_minutes() {
    let mut world = World::new(Setting::new(50));
    world.connect(outer(0), &Arc::new(profile()), &credentials(0));
    world.assert_all_up();
    world.set_conditions(Conditions {
        loss: 1_000,
        ..Conditions::GOOD
    });
    // Sixty seconds of silence, a Hello sent for 31 more, and a minute without a tunnel.
    world.pass(Duration::from_secs(300));
    world.assert_empty();
    world.assert_accounted();
}
