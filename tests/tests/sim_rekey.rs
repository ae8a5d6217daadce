//! Clients that change their SAs while packets flow.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use culvert_bench::client::{Encapsulation, Event, Profile};
use culvert_dataplane::verdict::Reason;
use culvert_tests::sim::frame;
use culvert_tests::sim::network::Conditions;
use culvert_tests::sim::setting::{Setting, credentials, profile};
use culvert_tests::sim::{MemberId, World};

const ROUNDS: u32 = 20;
const PROBES: u32 = 25;

/// Two clients, one native and one in UDP.
fn pair(seed: u64) -> World {
    let mut world = World::new(Setting::new(seed).restored_every(3));
    for (number, encapsulation) in [(0, Encapsulation::AsNeeded), (1, Encapsulation::ForcedUdp)] {
        let profile = Profile {
            encapsulation,
            ..profile()
        };
        let outer = Ipv4Addr::new(198, 18, 0, number + 1);
        world.connect(outer, &Arc::new(profile), &credentials(usize::from(number)));
    }
    world.assert_all_up();
    world
}

/// Rekeys `at_once` times in every round, with packets both ways all the time: none may be missing.
fn assert_nothing_lost(seed: u64, conditions: Conditions, at_once: usize) {
    let mut world = pair(seed);
    world.set_conditions(conditions);
    let ids = [MemberId(0), MemberId(1)];
    for round in 0..ROUNDS {
        world.clear_received();
        for number in 0..PROBES {
            if number == PROBES / 3 {
                for _ in 0..at_once {
                    for id in ids {
                        world.act(id, |client, now, rng| client.rekey(now, rng));
                    }
                }
            }
            for id in ids {
                let up = frame::probe(world.ends(id), number, 200);
                let down = frame::probe(world.ends(id).swapped(), number, 200);
                assert!(world.send_up(id, &up), "seed {seed}");
                world.send_down(&down);
            }
            world.pass(Duration::from_micros(700));
        }
        world.pass(Duration::from_secs(2));
        let sent = usize::try_from(PROBES).unwrap();
        let drops = world.plane().drops();
        assert_eq!(
            world.lan().received().len(),
            2 * sent,
            "seed {seed}, round {round}: {drops:?}"
        );
        for id in ids {
            let member = world.member(id);
            assert_eq!(
                member.received.len(),
                sent,
                "seed {seed}, round {round}: {:?}",
                member.discards()
            );
        }
    }
    for id in ids {
        let member = world.member(id);
        let rekeyed = member
            .events
            .iter()
            .filter(|event| **event == Event::Rekeyed)
            .count();
        assert_eq!(
            rekeyed,
            usize::try_from(ROUNDS).unwrap() * at_once,
            "seed {seed}"
        );
        assert_eq!(
            member.discards().total(),
            0,
            "seed {seed}: {:?}",
            member.discards()
        );
    }
    for reason in [
        Reason::UnknownSpi,
        Reason::ReplayDuplicate,
        Reason::ReplayTooOld,
        Reason::Forged,
        Reason::NoOutbound,
        Reason::SequenceExhausted,
        Reason::UnknownSession,
    ] {
        assert_eq!(world.plane().dropped(reason), 0, "seed {seed}: {reason:?}");
    }
    world.assert_accounted();
    assert!(
        world.held().inbound <= 8,
        "seed {seed}: four SAs a set at most: {:?}",
        world.held()
    );
    assert_eq!(world.held().sessions, 2, "seed {seed}");
}

#[test]
fn no_packet_is_lost_when_a_client_rekeys_again_and_again_in_the_middle_of_a_transfer() {
    for seed in 1..4 {
        assert_nothing_lost(seed, Conditions::GOOD, 1);
    }
}

#[test]
fn no_packet_is_lost_when_packets_and_messages_of_a_rekey_overtake_each_other() {
    for seed in 11..14 {
        let conditions = Conditions {
            delay: Duration::from_millis(1)..Duration::from_millis(40),
            loss: 0,
            repetition: 0,
        };
        assert_nothing_lost(seed, conditions, 1);
    }
}
