//! Messages of real clients, whole, cut and spoilt.
//!
//! Origin: strongSwan 5.9.8 and libreswan 4.10 on Debian 12; each file's first line names capture and frame. Those named `plain` were
//! decrypted, and are sealed here again under keys of the test.

use std::time::Duration;

use culvert_wire::ike::{Attributes, Chain, Header, PayloadType, Sa, Version};

use super::client::{Client, GCM, Part};
use super::world::{World, config, legacy};
use crate::crypto::cipher::Cipher;
use crate::crypto::dh::Group;
use crate::crypto::hash::Hash;
use crate::ike::phase1_proposal::IkeSuite;
use crate::rows::{AesKeyLen, Encapsulation, EspSuite};

macro_rules! captured {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../../../dataplane/wire/testdata/ike/", $name, ".hex")))),*]
    };
}

/// First messages, each with what the real server answered.
const FIRST: [(&str, &str); 10] = captured!(
    "direct-ss-gcm-mm1",
    "direct-ss-gcm-mm2",
    "direct-lsw-gcm-mm1",
    "direct-lsw-gcm-mm2",
    "direct-ss-cbcsha1-mm1",
    "direct-ss-cbcsha1-mm2",
    "direct-ss-cbcsha256-mm1",
    "direct-ss-cbcsha256-mm2",
    "userspace-l2tp-mm1",
    "userspace-l2tp-mm2",
);

const ALL: [(&str, &str); 20] = captured!(
    "direct-ss-gcm-mm1",
    "direct-ss-gcm-mm3",
    "direct-ss-gcm-mm5",
    "direct-ss-gcm-qm1",
    "direct-ss-gcm-qm3",
    "direct-lsw-gcm-mm1",
    "direct-lsw-gcm-mm3",
    "direct-lsw-gcm-mm5",
    "direct-lsw-gcm-qm1",
    "direct-lsw-gcm-qm3",
    "direct-lsw-gcm-delete-esp",
    "direct-lsw-gcm-delete-isakmp",
    "direct-ss-cbcsha1-mm1",
    "nat-ss-gcm-mm1",
    "nat-ss-gcm-mm5",
    "nat-ss-gcm-qm1",
    "rekey-ss-mm1",
    "rekey-ss-qm1",
    "aggressive-request",
    "aggressive-notify",
);

const QUICK: [(&str, &str); 3] = captured!(
    "direct-ss-gcm-qm1.plain",
    "direct-lsw-gcm-qm1.plain",
    "nat-ss-gcm-qm1.plain"
);

fn bytes_of(text: &str) -> Vec<u8> {
    hex::decode(text.lines().skip(1).collect::<String>()).unwrap()
}

/// Attributes of the transform in a message that carries one.
fn chosen(bytes: &[u8]) -> Vec<u8> {
    let (header, body) = Header::split(bytes).unwrap();
    let chain = Chain::parse(header.next, body).unwrap();
    let sa = Sa::parse(chain.only(PayloadType::SA).unwrap()).unwrap();
    let transforms: Vec<_> = sa
        .proposals()
        .flat_map(|proposal| proposal.transforms())
        .collect();
    assert_eq!(transforms.len(), 1);
    let attributes: Attributes<'_> = transforms[0].attributes;
    let mut classes: Vec<_> = attributes
        .iter()
        .map(|attribute| (attribute.class(), attribute.number()))
        .collect();
    // Clients order attributes differently, and the real server put them in an order of its own.
    classes.sort_unstable();
    format!("{classes:?}").into_bytes()
}

#[test]
fn first_messages_get_what_the_real_server_chose() {
    for pair in FIRST.chunks(2) {
        let [(name, request), (_, reply)] = pair else {
            panic!("messages come in pairs");
        };
        let mut world = World::new(legacy(), 1);
        let path = Client::new(1, "198.51.100.101:500").path;
        let request = bytes_of(request);
        let ours = world.ask(path, &request);
        assert!(ours.len() <= request.len(), "{name}");
        assert_eq!(chosen(&ours), chosen(&bytes_of(reply)), "{name}");
    }
}

#[test]
fn first_messages_get_a_modern_suite_without_any_gate() {
    for (name, text) in ALL.iter().filter(|(name, _)| name.ends_with("mm1")) {
        let mut world = World::new(config(), 2);
        let path = Client::new(2, "198.51.100.101:500").path;
        world.deliver(path, &bytes_of(text));
        let suite = world.responder.ike_sas().next().map(|sa| sa.suite);
        let modern = IkeSuite {
            cipher: Cipher::Aes256,
            hash: Hash::Sha2_256,
            group: Group::Modp2048,
        };
        // That one offers nothing but 3DES with the 1,024-bit group.
        let expected = (*name != "direct-ss-cbcsha1-mm1").then_some(modern);
        assert_eq!(suite, expected, "{name}");
    }
}

#[test]
fn captured_quick_modes_are_accepted_as_they_are() {
    for (name, text) in QUICK {
        let bytes = bytes_of(text);
        let (header, body) = Header::split(&bytes).unwrap();
        let chain = Chain::parse(header.next, body).unwrap();
        // The hash is of the capture's keys.
        let parts: Vec<Part> = chain
            .iter()
            .skip(1)
            .map(|payload| (payload.kind, payload.body.to_vec()))
            .collect();
        let mut world = World::new(config(), 3);
        let mut client = if name.starts_with("nat") {
            Client::new(3, "198.51.100.60:500").behind_nat("192.168.7.101:500")
        } else {
            Client::new(3, "198.51.100.101:500")
        };
        world.log_in(&mut client);
        let (_, quick) = client.quick_parts(GCM);
        let message = client.quick_of(&quick, &parts);
        world.ask(client.path, &message);
        let set = world.responder.sets().next().unwrap();
        assert_eq!(
            (set.ports.local, set.ports.remote),
            (1_701, 1_701),
            "{name}"
        );
        assert_eq!(
            set.pairs[0].suite,
            EspSuite::AesGcm(AesKeyLen::Bits256),
            "{name}"
        );
        let udp = name.starts_with("nat");
        assert_eq!(set.encapsulation == Encapsulation::EspInUdp, udp, "{name}");
    }
}

/// With a peer logged in from the same place, every cut and every flipped bit of every captured message is dropped, or at most
/// starts a main mode that leads nowhere.
#[test]
fn cuts_and_flips_of_captured_messages_change_no_state() {
    let mut world = World::new(legacy(), 4);
    let mut client = Client::new(4, "198.51.100.101:500");
    world.log_in(&mut client);
    world.quick(&mut client, GCM);
    let settled = |world: &World| {
        let sets: Vec<_> = world.responder.sets().collect();
        let ike_sas: Vec<_> = world
            .responder
            .ike_sas()
            .filter(|sa| sa.identity.is_some())
            .collect();
        (sets, ike_sas)
    };
    let before = settled(&world);
    let changes = world.changes.len();
    let deliver = |world: &mut World, bytes: &[u8]| {
        let replies = world.deliver(client.path, bytes);
        assert!(replies.len() <= 1);
        assert!(replies.iter().all(|reply| reply.len() <= bytes.len()));
    };
    for (_, text) in ALL {
        let mut bytes = bytes_of(text);
        for len in 0..bytes.len() {
            assert!(world.deliver(client.path, &bytes[..len]).is_empty());
        }
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            deliver(&mut world, &bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        deliver(&mut world, &bytes);
        assert_eq!(settled(&world), before);
    }
    assert_eq!(world.changes.len(), changes);
    world.pass(Duration::from_secs(31));
    assert_eq!(world.responder.half_open(), 0);
    assert_eq!(settled(&world), before);
}

/// The same under our own cookies, so that messages reach the states they are for.
#[test]
fn captured_messages_under_right_cookies_change_no_state() {
    let mut world = World::new(config(), 5);
    let mut client = Client::new(5, "198.51.100.101:500");
    world.log_in(&mut client);
    world.quick(&mut client, GCM);
    let state = world.state();
    for (_, text) in ALL {
        let mut bytes = bytes_of(text);
        bytes[..8].copy_from_slice(&client.cookies.0.0);
        bytes[8..16].copy_from_slice(&client.cookies.1.0);
        assert_eq!(bytes[17], Version::V1_0.0);
        for byte in 16..bytes.len() {
            bytes[byte] ^= 0xFF;
            assert!(world.deliver(client.path, &bytes).is_empty());
            bytes[byte] ^= 0xFF;
        }
        assert!(world.deliver(client.path, &bytes).is_empty());
        assert_eq!(world.state(), state);
    }
}
