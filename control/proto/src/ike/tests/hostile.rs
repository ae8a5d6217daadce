//! Spoilt, forged and repeated messages: none of them gets anywhere.

use std::net::SocketAddr;
use std::time::Duration;

use culvert_wire::ike::{Cookie, ExchangeType, Header, MessageId, NotifyType, PayloadType};
use rand_core::Rng;

use super::client::{Client, GCM, Part, Phase1, Phase2};
use super::world::{World, config};
use crate::crypto::cipher::Cipher;
use crate::crypto::dh::Group;
use crate::crypto::hash::Hash;
use crate::ike::config::{Config, Limits};
use crate::ike::status::IkeStatus;

fn logged_in(seed: u64) -> (World, Client) {
    let mut world = World::new(config(), seed);
    let mut client = Client::new(seed, "198.51.100.101:500");
    world.log_in(&mut client);
    (world, client)
}

fn established(world: &World) -> Vec<IkeStatus> {
    world
        .responder
        .ike_sas()
        .filter(|sa| sa.identity.is_some())
        .collect()
}

/// A client after message 4, and its world.
fn before_message_5(seed: u64) -> (World, Client) {
    let mut world = World::new(config(), seed);
    let mut client = Client::new(seed, "198.51.100.101:500");
    let message = client.message_1();
    let reply = world.ask(client.path, &message);
    client.read_message_2(&reply);
    let reply = world.ask(client.path, &client.message_3());
    client.read_message_4(&reply);
    (world, client)
}

/// Bits of a header that change nothing: minor version, and flags beside encryption.
fn is_idle(bit: usize) -> bool {
    (17 * 8..17 * 8 + 4).contains(&bit) || (19 * 8 + 1..20 * 8).contains(&bit)
}

fn flipped(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8)
        .filter(|bit| !is_idle(*bit))
        .map(|bit| {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        })
}

/// Each payload removed, doubled, exchanged with the next, and under every other number.
fn spoilt(parts: &[Part], kinds: impl Fn(PayloadType) -> bool) -> Vec<Vec<Part>> {
    let mut all = Vec::new();
    for index in (0..parts.len()).filter(|&index| kinds(parts[index].0)) {
        let mut removed = parts.to_vec();
        removed.remove(index);
        let mut doubled = parts.to_vec();
        doubled.insert(index, parts[index].clone());
        all.extend([removed, doubled]);
        if index + 1 < parts.len() {
            let mut exchanged = parts.to_vec();
            exchanged.swap(index, index + 1);
            all.push(exchanged);
        }
        for number in (1..=u8::MAX).filter(|&number| number != parts[index].0.0) {
            let mut renumbered = parts.to_vec();
            renumbered[index].0 = PayloadType(number);
            all.push(renumbered);
        }
    }
    all
}

#[test]
fn a_flipped_bit_in_message_5_never_establishes() {
    let (mut world, mut client) = before_message_5(1);
    let message = client.message_5();
    let state = world.state();
    for bytes in flipped(&message) {
        assert!(world.deliver(client.path, &bytes).is_empty());
        assert_eq!(world.state(), state);
    }
    for len in 0..message.len() {
        assert!(world.deliver(client.path, &message[..len]).is_empty());
    }
    assert!(established(&world).is_empty());
    world.ask(client.path, &message);
    assert_eq!(established(&world).len(), 1);
}

#[test]
fn a_flipped_bit_in_quick_mode_opens_and_confirms_nothing() {
    let (mut world, mut client) = logged_in(2);
    let (message, quick) = client.quick_1(GCM);
    for bytes in flipped(&message) {
        assert!(world.deliver(client.path, &bytes).is_empty());
    }
    assert!(world.opened.is_empty());
    let reply = world.ask(client.path, &message);
    let (message, _) = client.quick_3(&quick, &reply);
    let state = world.state();
    for bytes in flipped(&message) {
        assert!(world.deliver(client.path, &bytes).is_empty());
        assert_eq!(world.state(), state);
    }
    world.deliver(client.path, &message);
    assert!(world.responder.sets().next().unwrap().pairs[0].confirmed);
}

#[test]
fn a_flipped_bit_in_a_delete_deletes_nothing() {
    let (mut world, mut client) = logged_in(3);
    let pair = world.quick(&mut client, GCM);
    let parts = [client.delete_esp(pair.ours), client.delete_isakmp()];
    let message = client.informational(&parts);
    let state = world.state();
    for bytes in flipped(&message) {
        assert!(world.deliver(client.path, &bytes).is_empty());
    }
    assert_eq!(world.state(), state);
}

#[test]
fn payloads_of_message_1_must_be_in_their_places() {
    let mut client = Client::new(4, "198.51.100.101:500");
    let parts = client.message_1_parts();
    for parts in spoilt(&parts, |kind| kind == PayloadType::SA) {
        let mut world = World::new(config(), 4);
        world.deliver(client.path, &client.clear(&parts));
        assert_eq!(world.responder.ike_sas().count(), 0);
    }
    // Vendor ids may come or not; whatever becomes of them, at most a half-open SA follows.
    for parts in spoilt(&parts, |kind| kind == PayloadType::VENDOR_ID) {
        let mut world = World::new(config(), 4);
        let message = client.clear(&parts);
        for reply in world.deliver(client.path, &message) {
            assert!(reply.len() <= message.len());
        }
        assert!(established(&world).is_empty());
    }
}

#[test]
fn payloads_of_message_3_must_be_in_their_places() {
    let mut world = World::new(config(), 5);
    let mut client = Client::new(5, "198.51.100.101:500");
    let message = client.message_1();
    let reply = world.ask(client.path, &message);
    client.read_message_2(&reply);
    let state = world.state();
    let parts = client.message_3_parts();
    let needed = |kind| kind == PayloadType::KEY_EXCHANGE || kind == PayloadType::NONCE;
    for parts in spoilt(&parts, needed) {
        assert!(world.deliver(client.path, &client.clear(&parts)).is_empty());
        assert_eq!(world.state(), state);
    }
    for (index, body) in [
        (0, vec![]),
        (0, vec![4; 63]),
        (0, vec![4; 65]),
        (1, vec![1; 7]),
        (1, vec![1; 257]),
    ] {
        let mut parts = parts.clone();
        parts[index].1 = body;
        assert!(world.deliver(client.path, &client.clear(&parts)).is_empty());
    }
    world.ask(client.path, &client.clear(&parts));
}

#[test]
fn payloads_of_message_5_must_be_in_their_places() {
    let (mut world, mut client) = before_message_5(6);
    let parts = client.message_5_parts();
    for parts in spoilt(&parts, |_| true) {
        assert!(
            world
                .deliver(client.path, &client.message_5_of(&parts))
                .is_empty()
        );
    }
    let clear = client.clear(&parts);
    assert!(world.deliver(client.path, &clear).is_empty());
    assert!(established(&world).is_empty());
    let message = client.message_5();
    world.ask(client.path, &message);
}

#[test]
fn payloads_of_quick_mode_must_be_in_their_places() {
    let (mut world, mut client) = logged_in(7);
    let (parts, quick) = client.quick_parts(GCM);
    let right = client.quick_of(&quick, &parts);
    // Changed on the way: the hash is of the right payloads.
    let (_, hash) = client.hash_of(quick.id, &parts);
    for parts in spoilt(&parts, |_| true) {
        let all: Vec<_> = std::iter::once((PayloadType::HASH, hash.clone()))
            .chain(parts)
            .collect();
        let message = client.quick_raw(&quick, &all);
        assert!(world.deliver(client.path, &message).is_empty());
    }
    assert!(world.opened.is_empty());
    world.ask(client.path, &right);
    // Sent so by the peer itself: at most one reply each, and no SA without an SA payload and a nonce.
    let needed = |kind| kind == PayloadType::SA || kind == PayloadType::NONCE;
    for (spoils, strict) in [
        (spoilt(&parts, needed), true),
        (spoilt(&parts, |_| true), false),
    ] {
        for parts in spoils {
            let moved = parts.len() == 4
                && parts[0].0 == PayloadType::SA
                && parts
                    .iter()
                    .filter(|part| part.0 == PayloadType::NONCE)
                    .count()
                    == 1;
            let (mut world, mut client) = logged_in(8);
            let (_, quick) = client.quick_parts(GCM);
            let message = client.quick_of(&quick, &parts);
            assert!(world.deliver(client.path, &message).len() <= 1);
            assert!(!strict || moved || world.opened.is_empty());
        }
    }
}

#[test]
fn no_unprotected_or_wrongly_hashed_information_does_anything() {
    let (mut world, mut client) = logged_in(9);
    let pair = world.quick(&mut client, GCM);
    let mut half_open = Client::new(10, "198.51.100.102:500");
    let message = half_open.message_1();
    let reply = world.ask(half_open.path, &message);
    half_open.read_message_2(&reply);
    let state = world.state();
    let mut parts = vec![client.delete_esp(pair.ours), client.delete_isakmp()];
    for kind in [
        NotifyType::INITIAL_CONTACT,
        NotifyType::NO_PROPOSAL_CHOSEN,
        NotifyType::INVALID_SPI,
        NotifyType::INVALID_COOKIE,
        NotifyType::AUTHENTICATION_FAILED,
        NotifyType::PAYLOAD_MALFORMED,
        NotifyType::R_U_THERE,
    ] {
        parts.push(client.notification(kind, &[0, 0, 0, 1]));
    }
    for part in parts {
        let part = std::slice::from_ref(&part);
        let clear = client.clear_in(ExchangeType::INFORMATIONAL, MessageId(5), part);
        let unhashed = client.informational_unhashed(part);
        let of_half_open = half_open.clear_in(ExchangeType::INFORMATIONAL, MessageId(5), part);
        for message in [clear, unhashed, of_half_open] {
            assert!(world.deliver(client.path, &message).is_empty());
            assert!(world.deliver(half_open.path, &message).is_empty());
            assert_eq!(world.state(), state);
        }
    }
}

#[test]
fn messages_of_unknown_sas_get_no_reply() {
    let mut world = World::new(config(), 11);
    let mut client = Client::new(11, "198.51.100.101:500");
    let parts = [client.notification(NotifyType::INVALID_COOKIE, &[])];
    for number in 0..10_000_u64 {
        client.cookies = (
            Cookie((number + 1).to_be_bytes()),
            Cookie(world.rng.next_u64().to_be_bytes()),
        );
        if number % 2 == 0 {
            client.cookies.1 = Cookie::ZERO;
        }
        let message = client.clear_in(ExchangeType::INFORMATIONAL, MessageId(1), &parts);
        assert!(world.deliver(client.path, &message).is_empty());
    }
    assert_eq!(world.responder.ike_sas().count(), 0);
}

#[test]
fn strangers_get_no_more_bytes_than_they_send() {
    let mut world = World::new(config(), 12);
    let mut client = Client::new(12, "203.0.113.1:500");
    let parts = client.message_1_parts();
    let mut bare = Client::new(13, "203.0.113.1:500");
    bare.vendors.clear();
    let bare_parts = bare.message_1_parts();
    let mut refused = parts.clone();
    refused[0].1[3] = 9;
    let (mut bytes_in, mut bytes_out) = (0, 0);
    for number in 0..2_000_u32 {
        client.cookies.0 = Cookie((u64::from(number) + 1).to_be_bytes());
        bare.cookies.0 = client.cookies.0;
        let [_, b, c, d] = number.to_be_bytes();
        let mut path = client.path;
        path.remote = SocketAddr::from(([203, b, c, d], 500));
        let mut version_2 = client.clear(&parts);
        version_2[17] = 0x20;
        let mut junk = vec![0; 28 + (number as usize % 64)];
        world.rng.fill_bytes(&mut junk);
        for message in [
            client.clear(&parts),
            bare.clear(&bare_parts),
            client.clear(&refused),
            client.clear_in(ExchangeType::AGGRESSIVE, MessageId::PHASE_1, &parts),
            client.clear_in(ExchangeType(99), MessageId::PHASE_1, &[]),
            version_2,
            junk,
        ] {
            for _ in 0..2 {
                let replies = world.deliver(path, &message);
                assert!(replies.len() <= 1);
                assert!(replies.iter().all(|reply| reply.len() <= message.len()));
                bytes_in += message.len();
                bytes_out += replies.iter().map(Vec::len).sum::<usize>();
            }
        }
        world.now = world.now + Duration::from_millis(1);
    }
    let sent = world.sent.len();
    world.pass(Duration::from_secs(60));
    assert_eq!(
        world.sent.len(),
        sent,
        "nothing is sent without being asked"
    );
    assert!(bytes_out > 0 && bytes_out <= bytes_in);
    assert_eq!(world.responder.ike_sas().count(), 0);
}

#[test]
fn refusals_in_clear_are_counted_out_by_the_second() {
    let limits = Limits {
        refusals_per_second: 6,
        ..Limits::default()
    };
    let mut world = World::new(Config { limits, ..config() }, 14);
    let mut client = Client::new(14, "203.0.113.1:500");
    let parts = client.message_1_parts();
    let message = client.clear_in(ExchangeType::AGGRESSIVE, MessageId::PHASE_1, &parts);
    for _ in 0..50 {
        world.deliver(client.path, &message);
    }
    assert!(world.sent.len() + world.events.len() <= 6);
    world.pass(Duration::from_secs(1));
    world.deliver(client.path, &message);
    assert!(world.sent.len() > 3);
}

#[test]
fn the_half_open_table_is_bounded_and_its_oldest_go_first() {
    let limits = Limits {
        half_open: 20,
        half_open_per_source: 5,
        ..Limits::default()
    };
    let mut world = World::new(Config { limits, ..config() }, 15);
    let mut honest = Client::new(15, "198.51.100.101:500");
    let message = honest.message_1();
    let reply = world.ask(honest.path, &message);
    honest.read_message_2(&reply);
    // One source cannot push out another while the table has room.
    for seed in 0..50 {
        let mut flood = Client::new(1_000 + seed, "203.0.113.1:500");
        let message = flood.message_1();
        world.deliver(flood.path, &message);
        assert!(world.responder.half_open() <= 6);
    }
    let reply = world.ask(honest.path, &honest.message_3());
    honest.read_message_4(&reply);
    // A full table stays full, whoever comes, and a peer that comes last is served.
    for host in 0..100 {
        let mut flood = Client::new(2_000 + host, &format!("203.0.113.{host}:500"));
        let message = flood.message_1();
        world.deliver(flood.path, &message);
        assert!(world.responder.half_open() <= 20);
    }
    let mut last = Client::new(16, "198.51.100.102:500");
    world.log_in(&mut last);
    world.pass(Duration::from_secs(30));
    assert_eq!(world.responder.half_open(), 0);
    assert_eq!(world.responder.ike_sas().count(), 1);
}

#[test]
fn a_half_open_sa_takes_less_than_2_kib() {
    assert_half_open_at_most(2_048, Group::Modp2048);
    let mut world = World::new(config(), 18);
    let mut greedy = Client::new(18, "198.51.100.102:500");
    greedy.offers = vec![Phase1(Cipher::Aes256, Hash::Sha2_512, Group::Modp2048); 30];
    let message = greedy.message_1();
    assert!(world.deliver(greedy.path, &message).is_empty());
}

#[test]
fn a_half_open_sa_with_the_largest_group_takes_less_than_3_kib() {
    assert_half_open_at_most(3_072, Group::Modp4096);
}

fn assert_half_open_at_most(most: usize, group: Group) {
    let mut world = World::new(config(), 17);
    let empty = postcard::to_stdvec(&world.responder).unwrap().len();
    let mut client = Client::new(17, "198.51.100.101:500");
    client.offers = vec![Phase1(Cipher::Aes256, Hash::Sha2_512, group); 20];
    let size = |world: &World| postcard::to_stdvec(&world.responder).unwrap().len() - empty;
    let message = client.message_1();
    let reply = world.ask(client.path, &message);
    client.read_message_2(&reply);
    assert!(size(&world) < most);
    world.held = Some(Vec::new());
    world.deliver(client.path, &client.message_3());
    assert!(size(&world) < most);
    for job in world.held.take().unwrap() {
        let done = job.run(&mut world.rng);
        world.responder.handle_done(world.now, &mut world.rng, done);
    }
    world.drain();
    assert!(size(&world) <= most, "{}", size(&world));
}

#[test]
fn jobs_are_bounded() {
    let limits = Limits {
        jobs: 3,
        ..Limits::default()
    };
    let mut world = World::new(Config { limits, ..config() }, 19);
    world.held = Some(Vec::new());
    for seed in 0..10 {
        let mut client = Client::new(190 + seed, "198.51.100.101:500");
        let message = client.message_1();
        let reply = world.ask(client.path, &message);
        client.read_message_2(&reply);
        world.deliver(client.path, &client.message_3());
    }
    assert_eq!(world.held.as_ref().unwrap().len(), 3);
    world.pass(Duration::from_secs(31));
    for job in world.held.take().unwrap() {
        let done = job.run(&mut world.rng);
        world.responder.handle_done(world.now, &mut world.rng, done);
    }
    world.drain();
    assert_eq!(world.sent.len(), 10, "nobody waits for them any more");
}

#[test]
fn public_values_outside_the_group_end_the_attempt() {
    for (group, public) in [
        (Group::Modp2048, vec![0; 256]),
        (Group::Modp2048, [vec![0; 255], vec![1]].concat()),
        (Group::Modp2048, vec![0xFF; 256]),
        (Group::Ecp256, vec![0; 64]),
        (Group::Ecp256, vec![5; 64]),
        (Group::Ecp384, vec![0xFF; 96]),
    ] {
        let mut world = World::new(config(), 20);
        let mut client = Client::new(20, "198.51.100.101:500");
        client.offers = vec![Phase1(Cipher::Aes256, Hash::Sha2_256, group)];
        let message = client.message_1();
        let reply = world.ask(client.path, &message);
        client.read_message_2(&reply);
        let mut parts = client.message_3_parts();
        parts[0].1 = public;
        assert!(world.deliver(client.path, &client.clear(&parts)).is_empty());
        assert_eq!(world.responder.ike_sas().count(), 0);
    }
}

#[test]
fn bad_proposals_under_an_ike_sa_get_one_reply_and_no_sa() {
    let specs = [
        Phase2 {
            transform: 20,
            integrity: 2,
            ..GCM
        },
        Phase2 {
            transform: 20,
            key_bits: 0,
            ..GCM
        },
        Phase2 {
            transform: 20,
            key_bits: 192,
            ..GCM
        },
        Phase2 {
            transform: 23,
            ..GCM
        },
        Phase2 {
            transform: 11,
            integrity: 2,
            key_bits: 0,
            ..GCM
        },
        Phase2 {
            transform: 12,
            integrity: 0,
            ..GCM
        },
        Phase2 {
            transform: 12,
            integrity: 1,
            ..GCM
        },
        Phase2 {
            transform: 12,
            integrity: 7,
            ..GCM
        },
        Phase2 {
            transform: 3,
            integrity: 2,
            key_bits: 0,
            ..GCM
        },
        Phase2 { mode: 1, ..GCM },
        Phase2 { mode: 0, ..GCM },
        Phase2 { mode: 3, ..GCM },
        Phase2 { seconds: 0, ..GCM },
    ];
    for spec in specs {
        let (mut world, mut client) = logged_in(21);
        let (message, _) = client.quick_1(spec);
        assert_eq!(world.deliver(client.path, &message).len(), 1, "{spec:?}");
        assert!(world.opened.is_empty(), "{spec:?}");
    }
}

/// Every order of messages to depth 5: established only behind a right message 5, a set only behind a right quick mode.
#[test]
fn established_is_reached_only_through_a_verified_hash() {
    let world = World::new(config(), 22);
    let client = Client::new(22, "198.51.100.101:500");
    let mut seen = Seen::default();
    explore(&world, &client, 5, &mut Vec::new(), &mut seen);
    assert_eq!(
        seen.visited,
        (1..=5).map(|depth| STEPS.pow(depth)).sum::<usize>()
    );
    assert!(seen.established > 0 && seen.with_set > 0, "{seen:?}");
}

const STEPS: usize = 7;

/// What the search came across.
#[derive(Debug, Default)]
struct Seen {
    visited: usize,
    established: usize,
    with_set: usize,
}

fn explore(world: &World, client: &Client, depth: usize, path: &mut Vec<usize>, seen: &mut Seen) {
    if depth == 0 {
        return;
    }
    for step in 0..STEPS {
        let (mut world, mut client) = (world.twin(), client.clone());
        take(&mut world, &mut client, step);
        path.push(step);
        seen.visited += 1;
        seen.established += established(&world).len().min(1);
        seen.with_set += world.responder.sets().count().min(1);
        let proved = [0, 1, 2].iter().try_fold(0, |from, wanted| {
            path[from..]
                .iter()
                .position(|step| step == wanted)
                .map(|at| from + at + 1)
        });
        assert!(
            established(&world).is_empty() || proved.is_some(),
            "{path:?}"
        );
        let offered = proved.filter(|&from| path[from..].contains(&4));
        assert!(
            world.responder.sets().count() == 0 || offered.is_some(),
            "{path:?}"
        );
        explore(&world, &client, depth - 1, path, seen);
        path.pop();
    }
}

/// The client does its best at one step, whatever state it is in.
fn take(world: &mut World, client: &mut Client, step: usize) {
    let path = client.path;
    match step {
        0 if client.cookies.1 == Cookie::ZERO => {
            let message = client.message_1();
            if let [reply] = world.deliver(path, &message).as_slice() {
                client.read_message_2(reply);
            }
        }
        1 if client.cookies.1 != Cookie::ZERO && client.skeyid.is_none() => {
            let message = client.message_3();
            if let [reply] = world.deliver(path, &message).as_slice() {
                client.read_message_4(reply);
            }
        }
        2 if client.skeyid.is_some() => {
            let message = client.message_5();
            if let [reply] = world.deliver(path, &message).as_slice() {
                client.read_message_6(reply);
            }
        }
        // Message 5 with a wrong hash.
        3 if client.skeyid.is_some() => {
            let mut parts = client.message_5_parts();
            parts[1].1[0] ^= 1;
            let message = client.message_5_of(&parts);
            world.deliver(path, &message);
        }
        4 if client.is_ready() => {
            let (message, _) = client.quick_1(GCM);
            world.deliver(path, &message);
        }
        5 if client.is_ready() => {
            let parts = [
                client.notification(NotifyType::INITIAL_CONTACT, &[]),
                client.delete_isakmp(),
            ];
            let message = client.informational(&parts);
            world.deliver(path, &message);
        }
        // A message that fits no state: quick mode in clear, or what would be message 5 in clear.
        _ => {
            let parts = [(PayloadType::IDENTIFICATION, vec![1, 0, 0, 0, 1, 2, 3, 4])];
            let message = client.clear_in(ExchangeType::QUICK_MODE, MessageId(9), &parts);
            world.deliver(path, &message);
            let message = client.clear(&parts);
            world.deliver(path, &message);
        }
    }
}

#[test]
fn long_headers_and_empty_messages_are_dropped() {
    let mut world = World::new(config(), 24);
    let path = Client::new(24, "198.51.100.101:500").path;
    for len in 0..=Header::LEN + 4 {
        assert!(world.deliver(path, &vec![0xFF; len]).is_empty());
    }
    assert_eq!(world.responder.ike_sas().count(), 0);
}
