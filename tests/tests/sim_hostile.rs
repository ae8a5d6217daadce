//! Recorded frames of clients that come again, cut, changed or from elsewhere: no table changes, and others are served throughout.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use culvert_bench::client::{Encapsulation, Profile};
use culvert_proto::gateway::Status;
use culvert_tests::sim::frame;
use culvert_tests::sim::plane::Held;
use culvert_tests::sim::setting::{Setting, credentials, profile};
use culvert_tests::sim::{MemberId, World};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

const CLIENTS: u8 = 10;
const HEALTHY: MemberId = MemberId(0);
const FRAMES: usize = 50_000;
const ETHERNET: usize = 14;

fn crowd(seed: u64) -> (World, Vec<Vec<u8>>) {
    let mut world = World::new(Setting::new(seed).restored_every(500));
    world.tap().record();
    for number in 0..CLIENTS {
        let profile = Profile {
            encapsulation: [Encapsulation::AsNeeded, Encapsulation::ForcedUdp]
                [usize::from(number % 2)],
            ..profile()
        };
        let outer = Ipv4Addr::new(198, 18, 0, number + 1);
        world.connect(outer, &Arc::new(profile), &credentials(usize::from(number)));
    }
    world.assert_all_up();
    for number in 0..CLIENTS {
        let id = MemberId(usize::from(number));
        world.act(id, |client, now, rng| client.rekey(now, rng));
        let ends = world.ends(id);
        (0..5).for_each(|mark| assert!(world.send_up(id, &frame::probe(ends, mark, 300))));
        // Longer than the path: in fragments.
        assert!(world.send_up(id, &frame::probe(ends, 9, 1_490)));
    }
    world.pass(Duration::from_secs(5));
    let recorded = world.tap().stop();
    (world, recorded)
}

/// A recorded frame as somebody in between may send it: as it was, cut, longer, with changed bits, or from another address.
fn mutated(recorded: &[Vec<u8>], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut below = |bound: usize| usize::try_from(rng.next_u32()).unwrap() % bound;
    let mut frame = recorded[below(recorded.len())].clone();
    match below(8) {
        0 => {}
        1 => frame.truncate(below(frame.len())),
        2 => frame.resize(frame.len() + below(100), 0xA5),
        3 => {
            let other = &recorded[below(recorded.len())];
            let at = below(frame.len().min(other.len()));
            frame.truncate(at);
            frame.extend(&other[at..]);
        }
        4 => {
            let from = below(frame.len() - ETHERNET) + ETHERNET;
            let to = (from + below(8)).min(frame.len());
            frame[from..to].fill_with(|| u8::try_from(below(256)).unwrap());
        }
        _ => {
            for _ in 0..=below(3) {
                let at = below(frame.len() - ETHERNET) + ETHERNET;
                frame[at] ^= 1 << below(8);
            }
        }
    }
    // Half of them with a good checksum, so that they get further.
    if below(2) == 0 {
        mend(&mut frame);
    }
    frame
}

/// Corrects length and checksum of an IPv4 header of 20 bytes.
fn mend(frame: &mut [u8]) {
    let Some(packet) = frame
        .get_mut(ETHERNET..)
        .filter(|packet| packet.len() >= 20)
    else {
        return;
    };
    let len = u16::try_from(packet.len()).unwrap();
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[10..12].fill(0);
    let sum = culvert_wire::checksum::of(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// All tables, without what counts or ages; half-open IKE SAs come and go.
fn tables(world: &World) -> (Status, Held) {
    let mut status = world.status();
    status.ike = culvert_proto::ike::Counters::default();
    status.ike_sas = 0;
    for session in &mut status.sessions {
        session.age = Duration::ZERO;
    }
    (status, world.held())
}

fn assert_served(world: &mut World, seed: u64, mark: u32) {
    world.clear_received();
    let ends = world.ends(HEALTHY);
    let (up, down) = (
        frame::probe(ends, mark, 200),
        frame::probe(ends.swapped(), mark, 200),
    );
    assert!(world.send_up(HEALTHY, &up), "seed {seed}");
    world.send_down(&down);
    world.pass(Duration::from_millis(5));
    let received = &world.member(HEALTHY).received;
    assert!(
        received.contains(&frame::routed(&down)),
        "seed {seed}, {mark}"
    );
    assert!(
        world.lan().received() == [frame::routed(&up)],
        "seed {seed}, {mark}: {:?}",
        world.lan().received()
    );
}

#[test]
fn no_table_changes_under_replayed_cut_and_changed_frames_and_a_healthy_client_is_served_throughout()
 {
    for seed in 1..3 {
        let (mut world, recorded) = crowd(seed);
        let before = tables(&world);
        let ike_sas = world.status().ike_sas;
        for round in 0..FRAMES / 100 {
            let frames: Vec<_> = (0..100).map(|_| mutated(&recorded, world.rng())).collect();
            world.inject(&frames);
            assert_served(&mut world, seed, u32::try_from(round).unwrap());
            assert!(
                tables(&world) == before,
                "seed {seed}, round {round}: {:#?}\n{before:#?}",
                tables(&world)
            );
        }
        world.pass(Duration::from_secs(60));
        assert!(
            tables(&world) == before,
            "seed {seed}: {:#?}\n{before:#?}",
            tables(&world)
        );
        assert_eq!(
            world.status().ike_sas,
            ike_sas,
            "seed {seed}: half-open IKE SAs are given up"
        );
        assert_eq!(world.moves(), [], "seed {seed}");
        world.assert_accounted();
        // All the others are served too, and can still change their SAs.
        for number in 0..CLIENTS {
            let id = MemberId(usize::from(number));
            world.act(id, |client, now, rng| client.rekey(now, rng));
            world.pass(Duration::from_secs(3));
            world.clear_received();
            let up = frame::probe(world.ends(id), 77, 200);
            assert!(
                world.send_up(id, &up),
                "seed {seed}: {:?}",
                world.member(id).events
            );
            world.pass(Duration::from_millis(5));
            assert!(
                world.lan().received() == [frame::routed(&up)],
                "seed {seed}: {id:?}"
            );
        }
    }
}
