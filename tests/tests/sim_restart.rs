//! A data plane that dies under a living control: traffic goes on, no IV is used twice, nothing recorded is accepted again.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use culvert_bench::client::esp::{Integrity, Suite};
use culvert_bench::client::ike::keys::Cipher;
use culvert_bench::client::{Encapsulation, Profile};
use culvert_tests::sim::frame;
use culvert_tests::sim::network::Conditions;
use culvert_tests::sim::setting::{Setting, credentials, profile};
use culvert_tests::sim::{MemberId, World};

const CLIENTS: u8 = 12;

fn crowd(setting: Setting) -> World {
    let mut world = World::new(setting);
    for number in 0..CLIENTS {
        let cipher = Cipher::Aes256;
        let suites = [
            Suite::Gcm(cipher),
            Suite::Cbc(cipher, Integrity::Sha1),
            Suite::Cbc(cipher, Integrity::Sha256),
        ];
        let profile = Profile {
            esp: suites[usize::from(number % 3)],
            encapsulation: [Encapsulation::AsNeeded, Encapsulation::ForcedUdp]
                [usize::from(number % 2)],
            ..profile()
        };
        let outer = Ipv4Addr::new(198, 18, 0, number + 1);
        world.connect(outer, &Arc::new(profile), &credentials(usize::from(number)));
    }
    world
}

fn ids() -> impl Iterator<Item = MemberId> {
    (0..usize::from(CLIENTS)).map(MemberId)
}

/// Sends `count` probes each way for each client; all arrive.
fn assert_flows(world: &mut World, seed: u64, count: u32) {
    world.clear_received();
    for mark in 0..count {
        for id in ids() {
            let ends = world.ends(id);
            assert!(
                world.send_up(id, &frame::probe(ends, mark, 120)),
                "seed {seed}"
            );
            world.send_down(&frame::probe(ends.swapped(), mark, 120));
        }
        world.pass(Duration::from_millis(1));
    }
    world.pass(Duration::from_millis(10));
    let count = usize::try_from(count).unwrap();
    let all = usize::from(CLIENTS) * count;
    assert_eq!(
        world.lan().received().len(),
        all,
        "seed {seed}: {:?}",
        world.plane().drops()
    );
    for (_, member) in world.members() {
        assert_eq!(
            member.received.len(),
            count,
            "seed {seed}: {:?}",
            member.discards()
        );
    }
}

#[test]
fn traffic_goes_on_after_a_restart_with_no_iv_used_twice_and_no_recorded_packet_accepted() {
    for seed in 1..4 {
        let mut world = crowd(Setting::new(seed).restored_every(5));
        world.assert_all_up();
        for round in 0..5 {
            world.tap().record();
            assert_flows(&mut world, seed, 5 + round);
            if round % 2 == 1 {
                ids().for_each(|id| world.act(id, |client, now, rng| client.rekey(now, rng)));
                assert_flows(&mut world, seed, 3);
            }
            let recorded = world.tap().stop();
            let (held, status) = (world.held(), world.status());
            world.restart_data_plane();
            assert_eq!(
                (world.held(), world.status()),
                (held, status),
                "seed {seed}"
            );
            world.clear_received();
            world.inject(&recorded);
            assert_eq!(
                world.lan().received().len(),
                0,
                "seed {seed}: a replayed packet got through"
            );
            world.pass(Duration::from_millis(10));
            assert_flows(&mut world, seed, 5);
            world.assert_accounted();
        }
        for (_, member) in world.members() {
            assert_eq!(
                member.discards().total(),
                0,
                "seed {seed}: {:?}",
                member.discards()
            );
        }
        let probes = usize::from(CLIENTS) * 50;
        assert!(
            world.tap().sealed() > probes,
            "seed {seed}: the listener hears"
        );
    }
}

#[test]
fn clients_that_are_logging_in_while_the_data_plane_restarts_again_and_again_get_on() {
    for seed in 11..15 {
        let conditions = Conditions {
            delay: Duration::from_millis(10)..Duration::from_millis(200),
            ..Conditions::BAD
        };
        let mut world = crowd(Setting::new(seed).over(conditions).restored_every(5));
        for _ in 0..8 {
            world.pass(Duration::from_millis(237));
            world.restart_data_plane();
        }
        world.assert_all_up();
        world.set_conditions(Conditions::GOOD);
        world.pass(Duration::from_secs(30));
        assert_flows(&mut world, seed, 3);
        world.assert_accounted();
    }
}
