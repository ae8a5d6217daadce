//! Rekeys, reauthentication, deletes in every order, retransmission, limits of time.

use std::time::Duration;

use culvert_wire::id::Spi;
use culvert_wire::ike::{NotifyType, PayloadType, ProtocolId};

use super::client::{Client, GCM, Pair, Phase2};
use super::world::{CORE, World, config};
use crate::ike::status::SetStatus;
use crate::rows::Change;

const UDP: Phase2 = Phase2 { mode: 4, ..GCM };

fn logged_in(seed: u64) -> (World, Client) {
    let mut world = World::new(config(), seed);
    let mut client = Client::new(seed, "198.51.100.101:500");
    world.log_in(&mut client);
    (world, client)
}

fn only_set(world: &World) -> SetStatus {
    let mut sets = world.responder.sets();
    let set = sets.next().expect("a set");
    assert!(sets.next().is_none(), "more than one set");
    set
}

fn used(world: &World) -> Vec<Spi> {
    let used = world.changes.iter().filter_map(|change| {
        let Change::UseOutbound { outbound, .. } = change else {
            return None;
        };
        Some(*outbound)
    });
    used.collect()
}

#[test]
fn a_rekey_joins_the_set_and_the_new_sa_waits_for_message_3() {
    let (mut world, mut client) = logged_in(1);
    let first = world.quick(&mut client, GCM);
    let (message, quick) = client.quick_1(GCM);
    let reply = world.ask(client.path, &message);
    let (message, second) = client.quick_3(&quick, &reply);
    assert_eq!(only_set(&world).pairs.len(), 2);
    assert_eq!(used(&world), [first.ours]);
    world.deliver(client.path, &message);
    assert_eq!(used(&world), [first.ours, second.ours]);
    assert_eq!(world.opened.len(), 1);
}

#[test]
fn the_first_packet_on_a_new_sa_confirms_it() {
    let (mut world, mut client) = logged_in(2);
    let (message, quick) = client.quick_1(GCM);
    let reply = world.ask(client.path, &message);
    let (_, pair) = client.quick_3(&quick, &reply);
    world.responder.handle_inbound_used(world.now, pair.theirs);
    world.responder.handle_inbound_used(world.now, pair.theirs);
    world.drain();
    assert_eq!(used(&world), [pair.ours]);
    world.pass(Duration::from_secs(60));
    assert_eq!(
        world.sent.len(),
        4,
        "message 2 is not repeated to a peer that has it"
    );
}

#[test]
fn windows_deletes_the_old_sa_before_message_3() {
    let (mut world, mut client) = logged_in(3);
    let old = world.quick(&mut client, GCM);
    let (message, quick) = client.quick_1(GCM);
    let reply = world.ask(client.path, &message);
    let (message_3, new) = client.quick_3(&quick, &reply);
    let part = client.delete_esp(old.ours);
    let delete = client.informational(&[part]);
    assert!(world.deliver(client.path, &delete).is_empty());
    assert_eq!(used(&world), [old.ours, new.ours]);
    assert!(world.changes.contains(&Change::RemoveOutbound {
        set: only_set(&world).set,
        outbound: old.ours
    }));
    assert_eq!(
        only_set(&world).pairs.len(),
        2,
        "packets on the way are let in"
    );
    world.deliver(client.path, &message_3);
    world.pass(Duration::from_secs(10));
    let left: Vec<_> = only_set(&world)
        .pairs
        .iter()
        .map(|pair| pair.inbound)
        .collect();
    assert_eq!(left, [new.theirs]);
    assert!(world.closed.is_empty());
}

#[test]
fn a_delete_of_an_older_sa_does_not_confirm_one_that_is_under_way() {
    let (mut world, mut client) = logged_in(33);
    let first = world.quick(&mut client, GCM);
    let second = world.quick(&mut client, GCM);
    let (message, _) = client.quick_1(GCM);
    world.ask(client.path, &message);
    let part = client.delete_esp(first.ours);
    let delete = client.informational(&[part]);
    world.deliver(client.path, &delete);
    assert_eq!(used(&world), [first.ours, second.ours]);
}

#[test]
fn a_message_that_asks_twice_is_answered_once() {
    let (mut world, mut client) = logged_in(34);
    let part = client.notification(NotifyType::R_U_THERE, &[0, 0, 0, 1]);
    let asked = client.informational(&vec![part; 20]);
    world.ask(client.path, &asked);
}

#[test]
fn a_late_message_3_does_not_bring_an_older_sa_back() {
    let (mut world, mut client) = logged_in(4);
    let (message, quick) = client.quick_1(GCM);
    let reply = world.ask(client.path, &message);
    let (late, _) = client.quick_3(&quick, &reply);
    let second = world.quick(&mut client, GCM);
    world.deliver(client.path, &late);
    assert_eq!(used(&world), [second.ours]);
}

#[test]
fn reauthentication_joins_the_set_and_the_old_ike_sas_end_does_not_end_it() {
    let (mut world, mut client) = logged_in(5);
    let first = world.quick(&mut client, GCM);
    let mut again = Client::new(55, "198.51.100.101:500");
    world.log_in(&mut again);
    let part = client.delete_isakmp();
    let delete = client.informational(&[part]);
    world.deliver(client.path, &delete);
    assert_eq!(world.responder.ike_sas().count(), 1);
    assert_eq!(only_set(&world).pairs.len(), 1);
    let second = world.quick(&mut again, GCM);
    let part = again.delete_esp(first.ours);
    let delete = again.informational(&[part]);
    world.deliver(again.path, &delete);
    world.pass(Duration::from_secs(10));
    let left: Vec<_> = only_set(&world)
        .pairs
        .iter()
        .map(|pair| pair.inbound)
        .collect();
    assert_eq!(left, [second.theirs]);
    assert_eq!((world.opened.len(), world.closed.len()), (1, 0));
}

#[test]
fn another_identity_port_or_address_starts_a_set_of_its_own() {
    let mut world = World::new(config(), 6);
    let mut first = Client::new(60, "198.51.100.60:1024").behind_nat("192.168.7.101:500");
    let mut other_address = Client::new(61, "198.51.100.61:1024").behind_nat("192.168.7.101:500");
    let mut other_nat_port = Client::new(62, "198.51.100.60:1026").behind_nat("192.168.7.101:500");
    let mut other_identity = Client::new(63, "198.51.100.60:1024").behind_nat("192.168.7.102:500");
    let mut other_inner_port =
        Client::new(64, "198.51.100.60:1024").behind_nat("192.168.7.101:500");
    other_inner_port.port = 40_000;
    for client in [
        &mut first,
        &mut other_address,
        &mut other_nat_port,
        &mut other_identity,
        &mut other_inner_port,
    ] {
        world.log_in(client);
        world.quick(client, UDP);
    }
    assert_eq!(world.opened.len(), 5);
    let mut same = Client::new(65, "198.51.100.60:1024").behind_nat("192.168.7.101:500");
    world.log_in(&mut same);
    world.quick(&mut same, UDP);
    assert_eq!(world.opened.len(), 5);
    world.quick(&mut first, UDP);
    assert_eq!(world.opened.len(), 5);
}

#[test]
fn a_set_has_at_most_four_sas_and_the_oldest_goes() {
    let (mut world, mut client) = logged_in(7);
    let pairs: Vec<Pair> = (0..6).map(|_| world.quick(&mut client, GCM)).collect();
    let left: Vec<_> = only_set(&world)
        .pairs
        .iter()
        .map(|pair| pair.inbound)
        .collect();
    let newest: Vec<_> = pairs[2..].iter().map(|pair| pair.theirs).collect();
    assert_eq!(left, newest);
    let set = only_set(&world).set;
    for pair in &pairs[..2] {
        assert!(world.changes.contains(&Change::RemoveInbound {
            set,
            inbound: pair.theirs
        }));
        assert!(world.changes.contains(&Change::RemoveOutbound {
            set,
            outbound: pair.ours
        }));
    }
}

#[test]
fn deletes_in_every_order_leave_nothing_behind() {
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for order in orders {
        let (mut world, mut client) = logged_in(8);
        let first = world.quick(&mut client, GCM);
        let second = world.quick(&mut client, GCM);
        let parts = [
            client.delete_esp(first.ours),
            client.delete_esp(second.ours),
            client.delete_isakmp(),
        ];
        // Sealed beforehand, so that what follows the end of the IKE SA is refused as of an unknown one.
        let deletes: Vec<_> = order
            .iter()
            .map(|&index| client.informational(&parts[index..=index]))
            .collect();
        for delete in deletes.iter().chain(&deletes) {
            assert!(world.deliver(client.path, delete).is_empty());
        }
        assert_eq!(world.responder.ike_sas().count(), 0, "{order:?}");
        world.pass(Duration::from_secs(3_610));
        assert_eq!(world.responder.sets().count(), 0, "{order:?}");
        assert_eq!(world.closed.len(), 1, "{order:?}");
        assert_eq!(world.responder.poll_timeout(), None, "{order:?}");
    }
}

#[test]
fn one_message_may_delete_everything_at_once() {
    let (mut world, mut client) = logged_in(9);
    let pair = world.quick(&mut client, GCM);
    let parts = [
        client.delete_esp(pair.ours),
        client.delete_esp(pair.ours),
        client.delete_isakmp(),
        client.notification(NotifyType::R_U_THERE, &[0, 0, 0, 1]),
        client.delete_isakmp(),
    ];
    let delete = client.informational(&parts);
    assert!(world.deliver(client.path, &delete).is_empty());
    assert_eq!(
        (
            world.responder.sets().count(),
            world.responder.ike_sas().count()
        ),
        (0, 0)
    );
    assert_eq!(world.responder.poll_timeout(), None);
}

#[test]
fn nobody_deletes_what_is_anothers() {
    let (mut world, mut client) = logged_in(10);
    let pair = world.quick(&mut client, GCM);
    let mut other = Client::new(11, "198.51.100.102:500");
    world.log_in(&mut other);
    let parts = [
        other.delete_esp(pair.ours),
        other.delete_esp(pair.theirs),
        client.delete_isakmp(),
    ];
    let delete = other.informational(&parts);
    world.deliver(other.path, &delete);
    assert_eq!(only_set(&world).pairs.len(), 1);
    assert_eq!(world.responder.ike_sas().count(), 2);
}

#[test]
fn dead_peer_detection_is_answered_with_the_sequence_number() {
    let (mut world, mut client) = logged_in(12);
    let part = client.notification(NotifyType::R_U_THERE, &[1, 2, 3, 4]);
    let asked = client.informational(std::slice::from_ref(&part));
    let answer = world.ask(client.path, &asked);
    let parts = client.read_informational(&answer);
    assert_eq!(
        parts,
        [client.notification(NotifyType::R_U_THERE_ACK, &[1, 2, 3, 4])]
    );
    assert!(
        world.deliver(client.path, &asked).is_empty(),
        "a replay gets nothing"
    );
    let mut foreign = part;
    foreign.1[10] ^= 1;
    let asked = client.informational(&[foreign]);
    assert!(
        world.deliver(client.path, &asked).is_empty(),
        "other cookies get nothing"
    );
}

#[test]
fn initial_contact_ends_what_the_same_peer_had_and_nobody_elses() {
    let mut world = World::new(config(), 13);
    let mut before = Client::new(130, "198.51.100.60:1024").behind_nat("192.168.7.101:500");
    let mut neighbour = Client::new(131, "198.51.100.60:2048").behind_nat("192.168.7.101:500");
    let mut lodger = Client::new(132, "198.51.100.60:1024").behind_nat("192.168.7.102:500");
    for client in [&mut before, &mut neighbour, &mut lodger] {
        world.log_in(client);
        world.quick(client, UDP);
    }
    let mut after = Client::new(133, "198.51.100.60:1024").behind_nat("192.168.7.101:500");
    after.initial_contact = true;
    world.log_in(&mut after);
    assert_eq!(world.closed, [world.opened[0]]);
    assert_eq!(world.responder.ike_sas().count(), 3);
    let part = before.notification(NotifyType::R_U_THERE, &[0; 4]);
    let asked = before.informational(&[part]);
    assert!(world.deliver(before.path, &asked).is_empty());
}

#[test]
fn sas_end_at_the_end_of_their_life() {
    let (mut world, mut client) = logged_in(14);
    world.quick(
        &mut client,
        Phase2 {
            seconds: 600,
            ..GCM
        },
    );
    world.pass(Duration::from_secs(599));
    assert_eq!(only_set(&world).pairs.len(), 1);
    world.pass(Duration::from_secs(12));
    assert_eq!(world.responder.sets().count(), 0);
    assert_eq!(world.closed.len(), 1);
    assert_eq!(world.responder.ike_sas().count(), 1);
    world.pass(Duration::from_secs(28_800));
    assert_eq!(world.responder.ike_sas().count(), 0);
    assert_eq!(world.responder.poll_timeout(), None);
}

#[test]
fn the_end_of_phase_1_life_leaves_phase_2_alone() {
    let (mut world, mut client) = logged_in(15);
    world.pass(Duration::from_secs(28_000));
    let pair = world.quick(&mut client, GCM);
    world.pass(Duration::from_secs(1_000));
    assert_eq!(world.responder.ike_sas().count(), 0);
    assert_eq!(only_set(&world).pairs[0].inbound, pair.theirs);
}

#[test]
fn a_repeated_request_gets_the_same_reply_again() {
    let mut world = World::new(config(), 16);
    let mut client = Client::new(16, "198.51.100.101:500");
    let twice = |world: &mut World, client: &Client, message: &[u8]| {
        let reply = world.ask(client.path, message);
        assert_eq!(world.ask(client.path, message), reply);
        reply
    };
    let message = client.message_1();
    let reply = twice(&mut world, &client, &message);
    client.read_message_2(&reply);
    let message = client.message_3();
    let reply = twice(&mut world, &client, &message);
    client.read_message_4(&reply);
    let message = client.message_5();
    let reply = twice(&mut world, &client, &message);
    client.read_message_6(&reply);
    let (message, quick) = client.quick_1(GCM);
    let reply = twice(&mut world, &client, &message);
    let (message_3, _) = client.quick_3(&quick, &reply);
    world.deliver(client.path, &message_3);
    assert!(world.deliver(client.path, &message_3).is_empty());
    assert!(
        world.deliver(client.path, &message).is_empty(),
        "message 1 after message 3 is a replay"
    );
    assert_eq!(only_set(&world).pairs.len(), 1);
    assert_eq!(world.responder.counters().repeated, 4);
}

#[test]
fn message_2_is_repeated_and_then_the_pair_given_up() {
    let (mut world, mut client) = logged_in(17);
    let (message, _) = client.quick_1(GCM);
    let reply = world.ask(client.path, &message);
    let before = world.sent.len();
    world.pass(Duration::from_secs(29));
    let repeated = &world.sent[before..];
    assert!(repeated.len() == 3 && repeated.iter().all(|(_, bytes)| *bytes == reply));
    world.pass(Duration::from_secs(2));
    assert_eq!(world.responder.sets().count(), 0);
    assert_eq!(world.closed, world.opened);
}

#[test]
fn before_the_peer_has_proved_itself_no_timer_sends_anything() {
    for messages in 1..=2 {
        let mut world = World::new(config(), 18);
        let mut client = Client::new(18, "198.51.100.101:500");
        let message = client.message_1();
        let reply = world.ask(client.path, &message);
        if messages == 2 {
            client.read_message_2(&reply);
            world.ask(client.path, &client.message_3());
        }
        world.pass(Duration::from_secs(60));
        assert_eq!(world.sent.len(), messages);
        assert_eq!(world.responder.ike_sas().count(), 0);
        assert_eq!(world.responder.poll_timeout(), None);
    }
}

#[test]
fn a_lost_job_is_given_out_again_after_a_restart() {
    let mut world = World::new(config(), 19);
    let mut client = Client::new(19, "198.51.100.101:500");
    world.held = Some(Vec::new());
    let message = client.message_1();
    let reply = world.ask(client.path, &message);
    client.read_message_2(&reply);
    let message_3 = client.message_3();
    assert!(world.deliver(client.path, &message_3).is_empty());
    assert!(
        world.deliver(client.path, &message_3).is_empty(),
        "a repetition starts no second job"
    );
    assert_eq!(world.held.as_ref().unwrap().len(), 1);
    world.restart();
    world.drain();
    let held = world.held.take().unwrap();
    assert_eq!(held.len(), 2);
    assert_eq!(held[0], held[1]);
    for job in held {
        let done = job.run(&mut world.rng);
        world.responder.handle_done(world.now, &mut world.rng, done);
    }
    world.drain();
    assert_eq!(world.sent.len(), 2, "a result that comes twice counts once");
    let reply = world.sent[1].1.clone();
    client.read_message_4(&reply);
    let message = client.message_5();
    let reply = world.ask(client.path, &message);
    client.read_message_6(&reply);
}

#[test]
fn answers_follow_the_newest_authenticated_message() {
    let mut world = World::new(config(), 20);
    let mut client = Client::new(20, "198.51.100.60:1024").behind_nat("192.168.7.101:500");
    world.log_in(&mut client);
    world.quick(&mut client, UDP);
    let before = client.path;
    client.path.remote.set_port(9_999);
    let part = client.notification(NotifyType::R_U_THERE, &[0; 4]);
    let asked = client.informational(&[part]);
    world.ask(client.path, &asked);
    assert_eq!(world.sent.last().unwrap().0, client.path);
    // The same message from elsewhere is a replay and moves nothing.
    let mut thief = client.path;
    thief.remote.set_ip([203, 0, 113, 9].into());
    assert!(world.deliver(thief, &asked).is_empty());
    // The set itself moves when the data plane says so, and a rekey in between joins it all the same.
    assert_eq!(only_set(&world).path, before);
    world.quick(&mut client, UDP);
    assert_eq!(only_set(&world).pairs.len(), 2);
    world
        .responder
        .handle_endpoint_moved(world.now, only_set(&world).set, client.path.remote);
    assert_eq!(only_set(&world).path, client.path);
}

#[test]
fn a_set_that_moves_takes_its_ike_sa_along() {
    let mut world = World::new(config(), 21);
    let mut client = Client::new(21, "198.51.100.60:1024").behind_nat("192.168.7.101:500");
    world.log_in(&mut client);
    world.quick(&mut client, UDP);
    let mut moved = client.path;
    moved.remote.set_port(7_777);
    let set = only_set(&world).set;
    world
        .responder
        .handle_endpoint_moved(world.now, set, moved.remote);
    world.responder.close_set(world.now, &mut world.rng, set);
    world.drain();
    assert_eq!(world.sent.last().unwrap().0, moved);
}

#[test]
fn closing_a_set_tells_the_peer_of_every_sa() {
    let (mut world, mut client) = logged_in(22);
    let first = world.quick(&mut client, GCM);
    let second = world.quick(&mut client, GCM);
    let before = world.sent.len();
    let set = only_set(&world).set;
    world.responder.close_set(world.now, &mut world.rng, set);
    world.drain();
    let told: Vec<_> = world.sent[before..]
        .iter()
        .map(|(_, bytes)| client.read_informational(bytes).remove(0))
        .collect();
    let expected = [
        client.delete_esp(first.theirs),
        client.delete_esp(second.theirs),
        client.delete_isakmp(),
    ];
    assert_eq!(told, expected);
    assert_eq!(world.closed, [set]);
    assert_eq!(world.changes.last(), Some(&Change::CloseSet(set)));
    assert_eq!(world.responder.ike_sas().count(), 0);
    assert_eq!(world.responder.poll_timeout(), None);
}

#[test]
fn closing_all_tells_established_peers_and_forgets_the_rest() {
    let (mut world, mut client) = logged_in(23);
    world.quick(&mut client, GCM);
    let mut idle = Client::new(24, "198.51.100.102:500");
    world.log_in(&mut idle);
    let mut stranger = Client::new(25, "198.51.100.103:500");
    let message = stranger.message_1();
    world.ask(stranger.path, &message);
    let before = world.sent.len();
    world.responder.close_all(world.now, &mut world.rng);
    world.drain();
    let mut told: Vec<_> = world.sent[before..]
        .iter()
        .map(|(path, _)| path.remote)
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [client.path.remote, client.path.remote, idle.path.remote]
    );
    assert_eq!(
        (
            world.responder.ike_sas().count(),
            world.responder.sets().count()
        ),
        (0, 0)
    );
    assert_eq!(world.responder.poll_timeout(), None);
}

#[test]
fn a_pair_that_the_data_plane_lost_is_deleted_at_the_peer() {
    let (mut world, mut client) = logged_in(35);
    let lost = world.quick(&mut client, GCM);
    let kept = world.quick(&mut client, GCM);
    let before = world.sent.len();
    world.responder.handle_lost(&mut world.rng, lost.theirs);
    world.responder.handle_lost(&mut world.rng, lost.theirs);
    world.drain();
    let told: Vec<_> = world.sent[before..]
        .iter()
        .map(|(_, bytes)| client.read_informational(bytes))
        .collect();
    assert_eq!(told, [[client.delete_esp(lost.theirs)]]);
    let left: Vec<_> = only_set(&world)
        .pairs
        .iter()
        .map(|pair| pair.inbound)
        .collect();
    assert_eq!(left, [kept.theirs]);
}

#[test]
fn a_reused_row_has_another_spi() {
    let mut small = config();
    small.cores[usize::from(CORE.0)].sets = 1;
    let mut world = World::new(small, 26);
    let mut client = Client::new(26, "198.51.100.101:500");
    world.log_in(&mut client);
    let first = world.quick(&mut client, GCM);
    let mut other = Client::new(27, "198.51.100.102:500");
    world.log_in(&mut other);
    let (message, _) = other.quick_1(GCM);
    let reply = world.ask(other.path, &message);
    let (kind, refusal) = other.read_informational(&reply).remove(0);
    assert_eq!(kind, PayloadType::NOTIFICATION);
    assert_eq!(refusal[4], ProtocolId::ESP.0);
    let part = client.delete_esp(first.ours);
    let delete = client.informational(&[part]);
    world.deliver(client.path, &delete);
    let second = world.quick(&mut other, GCM);
    assert_ne!(second.theirs, first.theirs);
    assert_eq!(world.opened, [world.opened[0]; 2]);
}

#[test]
fn a_peer_keeps_four_ike_sas_at_most() {
    let mut world = World::new(config(), 28);
    for seed in 0..6 {
        let mut client = Client::new(280 + seed, "198.51.100.101:500");
        world.now = world.now + Duration::from_secs(1);
        world.log_in(&mut client);
    }
    assert_eq!(world.responder.ike_sas().count(), 4);
}

/// Messages are lost, doubled and reordered at random; both ends repeat; the responder is saved and restored all the time.
#[test]
fn log_ins_succeed_over_a_bad_network_with_restarts() {
    for seed in 0..40 {
        let mut network = super::network::Network::new(seed);
        network.run();
    }
}
