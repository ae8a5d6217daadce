//! Clients behind translators of addresses: any number with equal addresses inside, and peers that move.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use culvert_dataplane::verdict::Reason;
use culvert_tests::sim::frame::{self, Cut, Ends};
use culvert_tests::sim::plane::{OUTER_MAC, ROUTER_MAC};
use culvert_tests::sim::setting::{Setting, credentials, profile};
use culvert_tests::sim::{GATEWAY, MemberId, World, wire};
use culvert_wire::ipv4::{Packet, Protocol};

const PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 10);
const ELSEWHERE: Ends = Ends {
    source: Ipv4Addr::new(198, 51, 100, 66),
    destination: GATEWAY,
};

/// As many clients as `clients`, all with the same address and ports behind one translator.
fn household(seed: u64, clients: usize) -> World {
    let mut world = World::new(Setting::new(seed).restored_every(3));
    let nat = world.add_nat(PUBLIC);
    let profile = Arc::new(profile());
    for number in 0..clients {
        world.connect_behind(nat, INSIDE, &profile, &credentials(number));
    }
    world.assert_all_up();
    world
}

/// One probe each way for each client: each arrives once, at its own.
fn assert_reached(world: &mut World, seed: u64, mark: u32) {
    world.clear_received();
    let ids: Vec<_> = world.members().map(|(id, _)| id).collect();
    let mut ups = Vec::new();
    for id in &ids {
        let ends = world.ends(*id);
        ups.push(frame::probe(ends, mark, 500));
        assert!(world.send_up(*id, ups.last().unwrap()));
    }
    world.pass(Duration::from_millis(20));
    for id in &ids {
        world.send_down(&frame::probe(world.ends(*id).swapped(), mark, 500));
    }
    world.pass(Duration::from_millis(20));
    let mut at_lan = world.lan().received().to_vec();
    at_lan.sort_unstable();
    let mut expected: Vec<_> = ups.iter().map(|packet| frame::routed(packet)).collect();
    expected.sort_unstable();
    assert!(at_lan == expected, "seed {seed}: {} arrived", at_lan.len());
    for id in ids {
        let expected = frame::routed(&frame::probe(world.ends(id).swapped(), mark, 500));
        assert!(
            world.member(id).received == [expected],
            "seed {seed}: {id:?}"
        );
    }
}

/// An ESP packet that the client has sealed and not sent.
fn held_back(world: &mut World, id: MemberId, mark: u32) -> Vec<u8> {
    let inner = frame::probe(world.ends(id), mark, 100);
    let mut bytes = vec![0; 300];
    let mut len = 0;
    world.act(id, |client, _, _| {
        len = client.seal_inner(&inner, &mut bytes).unwrap()
    });
    bytes.truncate(len);
    bytes
}

/// An ESP packet in a frame from elsewhere.
fn from_elsewhere(esp: &[u8]) -> Vec<u8> {
    let datagram = frame::udp(40_000, 4_500, esp);
    let packet = frame::ip(ELSEWHERE, Protocol::UDP, Cut::Allowed, 0, &datagram);
    frame::ethernet(ROUTER_MAC, OUTER_MAC, &packet)
}

#[test]
fn clients_with_equal_addresses_and_ports_behind_one_translator_all_work_at_once() {
    for seed in 1..4 {
        let mut world = household(seed, 12);
        for mark in 0..5 {
            assert_reached(&mut world, seed, mark);
        }
        assert_eq!(
            world.status().sets.len(),
            12,
            "seed {seed}: each is a set of its own"
        );
        for (id, _) in world.members().map(|(id, _)| (id, ())).collect::<Vec<_>>() {
            world.act(id, |client, now, rng| client.rekey(now, rng));
        }
        world.pass(Duration::from_secs(2));
        assert_reached(&mut world, seed, 99);
        assert_eq!(world.plane().drops(), [], "seed {seed}");
        world.assert_accounted();
    }
}

#[test]
fn a_translator_that_rebinds_moves_its_client_once_a_second_at_most() {
    for seed in 10..13 {
        let mut world = household(seed, 3);
        let moved = MemberId(1);
        assert_eq!(world.moves(), []);
        for round in 0..4 {
            world.rebind(moved);
            assert_reached(&mut world, seed, round);
            assert_eq!(
                world.moves().len(),
                usize::try_from(round).unwrap() + 1,
                "seed {seed}"
            );
            // Again within the second: what comes is taken, and answers still go to the old place.
            world.rebind(moved);
            let packet = frame::probe(world.ends(moved), 1_000 + round, 100);
            world.clear_received();
            world.send_up(moved, &packet);
            world.pass(Duration::from_millis(20));
            assert_eq!(
                world.lan().received(),
                [frame::routed(&packet)],
                "seed {seed}"
            );
            assert_eq!(
                world.moves().len(),
                usize::try_from(round).unwrap() + 1,
                "seed {seed}"
            );
            world.pass(Duration::from_secs(2));
        }
        world.assert_accounted();
    }
}

#[test]
fn a_client_that_roams_to_another_translator_goes_on_and_can_rekey_there() {
    for seed in 20..23 {
        let mut world = household(seed, 2);
        let other = world.add_nat(Ipv4Addr::new(203, 0, 113, 200));
        world.roam(MemberId(0), other);
        assert_reached(&mut world, seed, 1);
        world.act(MemberId(0), |client, now, rng| client.rekey(now, rng));
        world.pass(Duration::from_secs(5));
        assert!(world.member(MemberId(0)).is_up(), "seed {seed}");
        assert_reached(&mut world, seed, 2);
        assert_eq!(world.moves().len(), 1, "seed {seed}");
        let remote = world.moves()[0];
        let sets = world.status().sets;
        assert!(
            sets.iter().any(|set| set.path.remote == remote),
            "seed {seed}: {sets:?}"
        );
    }
}

#[test]
fn a_replayed_forged_or_older_packet_from_elsewhere_moves_nobody() {
    for seed in 30..33 {
        let mut world = household(seed, 2);
        let id = MemberId(0);
        let older = held_back(&mut world, id, 7);
        world.tap().record();
        assert_reached(&mut world, seed, 1);
        let recorded = world.tap().stop();
        let replayed: Vec<_> = recorded
            .iter()
            .filter_map(|frame| {
                wire::esp_from_client(&Packet::parse(&frame[14..]).unwrap()).map(from_elsewhere)
            })
            .collect();
        assert_eq!(replayed.len(), 2, "seed {seed}");
        world.clear_received();
        world.inject(&replayed);
        assert_eq!(
            world.plane().dropped(Reason::ReplayDuplicate),
            2,
            "seed {seed}"
        );

        let newest = held_back(&mut world, id, 8);
        for bit in 0..newest.len() * 8 {
            let mut forged = newest.clone();
            // The SPI stays: without it the packet is nobody's.
            if bit / 8 >= 4 {
                forged[bit / 8] ^= 1 << (bit % 8);
                world.inject(&[from_elsewhere(&forged)]);
            }
        }
        assert_eq!(world.lan().received().len(), 0, "seed {seed}");
        world.inject(&[from_elsewhere(&older)]);
        world.pass(Duration::from_secs(2));
        assert_eq!(
            world.lan().received().len(),
            1,
            "seed {seed}: it is the client's own, if late"
        );
        assert_eq!(world.moves(), [], "seed {seed}");
        assert_reached(&mut world, seed, 2);
        world.assert_accounted();
    }
}
