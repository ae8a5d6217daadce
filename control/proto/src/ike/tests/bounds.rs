//! What one peer may take, and that nothing is left when it goes.

use std::time::Duration;

use culvert_wire::ike::{NotifyType, PayloadType};

use super::client::{Client, GCM};
use super::world::{World, config};
use crate::ike::Event;

fn logged_in(seed: u64) -> (World, Client) {
    let mut world = World::new(config(), seed);
    let mut client = Client::new(seed, "198.51.100.101:500");
    world.log_in(&mut client);
    (world, client)
}

#[test]
fn handshakes_given_up_at_every_message_leave_nothing() {
    let mut world = World::new(config(), 1);
    for seed in 0..300 {
        let mut client = Client::new(seed, &format!("198.51.100.{}:500", 1 + seed % 200));
        for step in 0..seed % 6 {
            match step {
                0 => {
                    let message = client.message_1();
                    let reply = world.ask(client.path, &message);
                    client.read_message_2(&reply);
                }
                1 => {
                    let reply = world.ask(client.path, &client.message_3());
                    client.read_message_4(&reply);
                }
                2 => {
                    let message = client.message_5();
                    let reply = world.ask(client.path, &message);
                    client.read_message_6(&reply);
                }
                3 => drop(client.quick_1(GCM)),
                _ => {
                    let (message, _) = client.quick_1(GCM);
                    world.ask(client.path, &message);
                }
            }
        }
        world.pass(Duration::from_millis(100));
    }
    assert!(world.responder.ike_sas().count() > 100);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.responder.half_open(), 0);
    assert_eq!(world.responder.sets().count(), 0);
    world.pass(Duration::from_secs(30_000));
    assert_eq!(world.responder.ike_sas().count(), 0);
    assert_eq!(world.responder.poll_timeout(), None);
    let empty = World::new(config(), 1);
    let size = |world: &World| postcard::to_stdvec(&world.responder).unwrap().len();
    // A few counters and the rows' places have grown; nothing that holds a peer has.
    assert!(
        size(&world) < size(&empty) + 64,
        "{} and {}",
        size(&world),
        size(&empty)
    );
}

#[test]
fn half_open_time_runs_from_the_first_message() {
    let mut world = World::new(config(), 2);
    let mut client = Client::new(2, "198.51.100.101:500");
    let message = client.message_1();
    let reply = world.ask(client.path, &message);
    client.read_message_2(&reply);
    world.pass(Duration::from_secs(20));
    let reply = world.ask(client.path, &client.message_3());
    client.read_message_4(&reply);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.responder.ike_sas().count(), 0);
}

#[test]
fn one_peer_opens_eight_sets_at_most() {
    let (mut world, mut client) = logged_in(3);
    for port in 0..8 {
        client.port = 20_000 + port;
        world.quick(&mut client, GCM);
    }
    client.port = 30_000;
    let (message, _) = client.quick_1(GCM);
    let reply = world.ask(client.path, &message);
    assert_eq!(
        client.read_informational(&reply)[0].0,
        PayloadType::NOTIFICATION
    );
    assert_eq!(world.responder.sets().count(), 8);
}

#[test]
fn a_pair_that_nobody_confirms_goes_even_without_its_ike_sa() {
    let (mut world, mut client) = logged_in(10);
    let (message, _) = client.quick_1(GCM);
    world.ask(client.path, &message);
    let part = client.delete_isakmp();
    let delete = client.informational(&[part]);
    world.deliver(client.path, &delete);
    assert_eq!(world.responder.sets().count(), 1);
    world.pass(Duration::from_secs(33));
    assert_eq!(world.responder.sets().count(), 0);
    assert_eq!(world.responder.poll_timeout(), None);
}

#[test]
fn an_spi_is_not_taken_twice_in_a_set() {
    let (mut world, mut client) = logged_in(4);
    let pair = world.quick(&mut client, GCM);
    let (mut parts, quick) = client.quick_parts(GCM);
    // The SPI stands behind domain, situation and the proposal's eight bytes.
    parts[0].1[16..20].copy_from_slice(&pair.ours.0.to_be_bytes());
    let message = client.quick_of(&quick, &parts);
    assert!(world.deliver(client.path, &message).is_empty());
    assert_eq!(world.responder.sets().next().unwrap().pairs.len(), 1);
}

#[test]
fn reserved_spis_are_refused() {
    for spi in [0_u32, 1, 255] {
        let (mut world, mut client) = logged_in(5);
        let (mut parts, quick) = client.quick_parts(GCM);
        parts[0].1[16..20].copy_from_slice(&spi.to_be_bytes());
        let message = client.quick_of(&quick, &parts);
        world.ask(client.path, &message);
        assert!(world.opened.is_empty(), "{spi}");
    }
}

#[test]
fn quick_modes_under_way_are_bounded() {
    let (mut world, mut client) = logged_in(6);
    for _ in 0..8 {
        let (message, _) = client.quick_1(GCM);
        world.ask(client.path, &message);
    }
    let (message, _) = client.quick_1(GCM);
    assert!(world.deliver(client.path, &message).is_empty());
}

#[test]
fn an_ike_sa_ends_when_its_message_ids_are_spent() {
    let (mut world, mut client) = logged_in(7);
    let part = client.notification(NotifyType::REPLAY_STATUS, &[]);
    for _ in 0..16_384 {
        let message = client.informational(std::slice::from_ref(&part));
        assert!(world.deliver(client.path, &message).is_empty());
    }
    let message = client.informational(&[part]);
    let reply = world.ask(client.path, &message);
    assert_eq!(client.read_informational(&reply), [client.delete_isakmp()]);
    assert_eq!(world.responder.ike_sas().count(), 0);
}

#[test]
fn initial_contact_behind_main_mode_spares_what_came_since() {
    let (mut world, mut client) = logged_in(8);
    world.quick(&mut client, GCM);
    let mut again = Client::new(88, "198.51.100.101:500");
    again.port = 40_000;
    world.log_in(&mut again);
    world.quick(&mut again, GCM);
    let part = again.notification(NotifyType::INITIAL_CONTACT, &[]);
    let message = again.informational(&[part]);
    assert!(world.deliver(again.path, &message).is_empty());
    assert_eq!(world.closed, [world.opened[0]]);
    assert_eq!(world.responder.ike_sas().count(), 1);
}

#[test]
fn a_failed_proof_is_one_note_and_no_more() {
    let mut world = World::new(config(), 9);
    let mut client = Client::new(9, "198.51.100.101:500");
    client.psk = b"not the key at all".to_vec();
    let message = client.message_1();
    let reply = world.ask(client.path, &message);
    client.read_message_2(&reply);
    let reply = world.ask(client.path, &client.message_3());
    client.read_message_4(&reply);
    let message = client.message_5();
    world.deliver(client.path, &message);
    world.deliver(client.path, &message);
    assert_eq!(world.events, [Event::AuthenticationFailed]);
}

/// THREATS D4: a peer that gives up its exchanges leaves work behind that counts until it is done.
#[test]
fn work_of_peers_that_have_gone_counts_until_it_is_done() {
    let mut config = config();
    config.limits.jobs = 4;
    config.limits.half_open_per_source = 1;
    let mut world = World::new(config, 1);
    world.held = Some(Vec::new());
    for seed in 0..20 {
        let mut client = Client::new(seed, &format!("198.51.100.101:{}", 1_000 + seed));
        let message = client.message_1();
        let reply = world.ask(client.path, &message);
        client.read_message_2(&reply);
        world.deliver(client.path, &client.message_3());
    }
    let held = world.held.take().unwrap();
    assert_eq!(held.len(), 4);
    for job in held {
        let done = job.run(&mut world.rng);
        world.responder.handle_done(world.now, &mut world.rng, done);
    }
    world.log_in(&mut Client::new(99, "198.51.100.101:500"));
}
