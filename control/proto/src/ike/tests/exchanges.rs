//! Main mode and quick mode as they should go.

use culvert_wire::ike::{Chain, Header, IdType, NotifyType, PayloadType, VendorId};

use zeroize::Zeroizing;

use super::client::{Client, GCM, Phase1, Phase2};
use super::world::{CORE, World, config, legacy};
use crate::crypto::cipher::Cipher;
use crate::crypto::dh::Group;
use crate::crypto::hash::Hash;
use crate::ike::config::{CredentialId, Peers, Psk};
use crate::ike::error::{Error, Unsupported};
use crate::ike::output::Legacy;
use crate::ike::{Event, Output};
use crate::rows::{AesKeyLen, Change, Encapsulation, EspSuite, Integrity, KeyMaterial};

const CBC_SHA1: Phase2 = Phase2 {
    transform: 12,
    key_bits: 256,
    integrity: 2,
    ..GCM
};
const CBC_SHA256: Phase2 = Phase2 {
    transform: 12,
    key_bits: 128,
    integrity: 5,
    ..GCM
};

#[test]
fn a_direct_client_gets_a_set_and_keys_that_agree() {
    let mut world = World::new(config(), 1);
    let mut client = Client::new(1, "198.51.100.101:500");
    world.log_in(&mut client);
    let pair = world.quick(&mut client, GCM);
    let set = world.opened[0];
    assert_eq!(set.core, CORE);
    let [
        Change::OpenSet {
            set: opened,
            path,
            encapsulation,
        },
        Change::AddSas {
            inbound,
            outbound,
            suite,
            inbound_keys,
            outbound_keys,
            ..
        },
        Change::UseOutbound { outbound: used, .. },
    ] = world.changes.as_slice()
    else {
        panic!("{:?}", world.changes);
    };
    assert_eq!(
        (*opened, *path, *encapsulation),
        (set, client.path, Encapsulation::Esp)
    );
    assert_eq!(
        (*inbound, *outbound, *used),
        (pair.theirs, pair.ours, pair.ours)
    );
    assert_eq!(*suite, EspSuite::AesGcm(AesKeyLen::Bits128));
    assert_eq!(inbound_keys.expose(), pair.to_them);
    assert_eq!(outbound_keys.expose(), pair.to_us);
    let shard = inbound.0 >> 22;
    assert!((1..3).contains(&shard), "{shard} is not the core's");
}

#[test]
fn changes_come_before_the_message_that_depends_on_them() {
    let mut world = World::new(config(), 1);
    let mut client = Client::new(1, "198.51.100.101:500");
    world.log_in(&mut client);
    let (message, _) = client.quick_1(GCM);
    let (now, path) = (world.now, client.path);
    world
        .responder
        .handle_message(now, &mut world.rng, CORE, path, &message);
    let outputs: Vec<_> = std::iter::from_fn(|| world.responder.poll_output()).collect();
    assert!(matches!(
        outputs.as_slice(),
        [
            Output::Change(Change::OpenSet { .. }),
            Output::Change(Change::AddSas { .. }),
            Output::SetOpened { .. },
            Output::Transmit { .. },
        ]
    ));
}

#[test]
fn a_client_behind_nat_floats_and_gets_udp() {
    let mut world = World::new(config(), 2);
    let mut client = Client::new(2, "198.51.100.60:1024").behind_nat("192.168.7.101:500");
    world.log_in(&mut client);
    assert_eq!(client.path.local.port(), 4_500);
    world.quick(&mut client, Phase2 { mode: 4, ..GCM });
    let set = world.responder.sets().next().unwrap();
    assert_eq!(set.encapsulation, Encapsulation::EspInUdp);
    assert_eq!(set.path, client.path);
    assert_eq!(set.identity.to_string(), "192.168.7.101");
    assert_eq!(world.sent.last().unwrap().0, client.path);
}

#[test]
fn a_peer_with_a_key_of_its_own_is_held_to_it() {
    let mut config = config();
    config.psks.push(Psk {
        credential: CredentialId(8),
        peers: Peers::Network {
            address: [198, 51, 100, 101].into(),
            bits: 32,
        },
        key: KeyMaterial::new(Zeroizing::new(b"a key for one peer alone".to_vec())),
    });
    let mut world = World::new(config, 21);
    let mut right = Client::new(21, "198.51.100.101:500");
    right.psk = b"a key for one peer alone".to_vec();
    world.log_in(&mut right);
    let mut everybody = Client::new(22, "198.51.100.102:500");
    world.log_in(&mut everybody);
    let mut wrong = Client::new(23, "198.51.100.101:501");
    let message = wrong.message_1();
    let reply = world.ask(wrong.path, &message);
    wrong.read_message_2(&reply);
    let reply = world.ask(wrong.path, &wrong.message_3());
    wrong.read_message_4(&reply);
    let message = wrong.message_5();
    assert!(world.deliver(wrong.path, &message).is_empty());
    assert_eq!(world.events.last(), Some(&Event::AuthenticationFailed));
}

#[test]
fn a_peer_without_any_key_is_refused() {
    let mut config = config();
    config.psks[0].peers = Peers::Network {
        address: [192, 0, 2, 0].into(),
        bits: 24,
    };
    let mut world = World::new(config, 24);
    let mut client = Client::new(24, "198.51.100.101:500");
    let message = client.message_1();
    let reply = world.ask(client.path, &message);
    assert_eq!(clear_notified(&reply), NotifyType::NO_PROPOSAL_CHOSEN);
    assert_eq!(
        world.events,
        [Event::Refused(Error::Unsupported(Unsupported::NoPsk))]
    );
}

#[test]
fn a_client_on_ipv6_gets_a_set() {
    let mut world = World::new(config(), 20);
    let mut client = Client::new(20, "[2001:db8::101]:500");
    client.path.local = "[2001:db8::10]:500".parse().unwrap();
    client.identity.0 = IdType::IPV6;
    world.log_in(&mut client);
    let (mut parts, quick) = client.quick_parts(GCM);
    for part in parts
        .iter_mut()
        .filter(|part| part.0 == PayloadType::IDENTIFICATION)
    {
        part.1[0] = IdType::IPV6.0;
    }
    let message = client.quick_of(&quick, &parts);
    world.ask(client.path, &message);
    let set = world.responder.sets().next().unwrap();
    assert_eq!(set.path, client.path);
    assert_eq!(set.identity.to_string(), "2001:db8::101");
}

#[test]
fn native_esp_is_refused_behind_nat_and_udp_off_the_floated_port() {
    let mut world = World::new(config(), 3);
    let mut client = Client::new(3, "198.51.100.60:1024").behind_nat("192.168.7.101:500");
    world.log_in(&mut client);
    let (message, _) = client.quick_1(GCM);
    let reply = world.ask(client.path, &message);
    assert_eq!(notified(&client, &reply), NotifyType::NO_PROPOSAL_CHOSEN);
    let mut direct = Client::new(4, "198.51.100.101:500");
    world.log_in(&mut direct);
    let (message, _) = direct.quick_1(Phase2 { mode: 4, ..GCM });
    let reply = world.ask(direct.path, &message);
    assert_eq!(notified(&direct, &reply), NotifyType::NO_PROPOSAL_CHOSEN);
    assert!(world.opened.is_empty());
}

#[test]
fn drafts_of_nat_traversal_are_spoken_with_their_own_numbers() {
    for vendor in [
        VendorId::NAT_T_DRAFT_03,
        VendorId::NAT_T_DRAFT_02_LF,
        VendorId::NAT_T_DRAFT_02,
    ] {
        let mut world = World::new(config(), 5);
        let mut client = Client::new(5, "198.51.100.60:1024").behind_nat("192.168.7.101:500");
        client.vendors = vec![vendor];
        world.log_in(&mut client);
        world.quick(
            &mut client,
            Phase2 {
                mode: 61_444,
                ..GCM
            },
        );
        let set = world.responder.sets().next().unwrap();
        assert_eq!(set.encapsulation, Encapsulation::EspInUdp);
        let chain = world.sent[0].1.clone();
        let (header, body) = Header::split(&chain).unwrap();
        let chain = Chain::parse(header.next, body).unwrap();
        assert_eq!(chain.only(PayloadType::VENDOR_ID), Some(vendor.0));
    }
}

#[test]
fn every_phase_1_suite_works() {
    for cipher in Cipher::ALL {
        for hash in Hash::ALL {
            for group in [
                Group::Modp1024,
                Group::Modp1536,
                Group::Modp2048,
                Group::Ecp256,
                Group::Ecp384,
            ] {
                // The groups are tested with one cipher, the ciphers with one group.
                if cipher != Cipher::Aes128 && group != Group::Ecp256 {
                    continue;
                }
                let mut world = World::new(legacy(), 6);
                let mut client = Client::new(6, "198.51.100.101:500");
                client.offers = vec![Phase1(cipher, hash, group)];
                world.log_in(&mut client);
                world.quick(&mut client, GCM);
            }
        }
    }
}

#[test]
fn every_phase_2_suite_works() {
    for (spec, suite) in [
        (GCM, EspSuite::AesGcm(AesKeyLen::Bits128)),
        (
            Phase2 {
                key_bits: 256,
                ..GCM
            },
            EspSuite::AesGcm(AesKeyLen::Bits256),
        ),
        (
            CBC_SHA1,
            EspSuite::AesCbc(AesKeyLen::Bits256, Integrity::HmacSha1_96),
        ),
        (
            Phase2 {
                key_bits: 128,
                ..CBC_SHA1
            },
            EspSuite::AesCbc(AesKeyLen::Bits128, Integrity::HmacSha1_96),
        ),
        (
            CBC_SHA256,
            EspSuite::AesCbc(AesKeyLen::Bits128, Integrity::HmacSha2_256_128),
        ),
        (
            Phase2 {
                key_bits: 256,
                ..CBC_SHA256
            },
            EspSuite::AesCbc(AesKeyLen::Bits256, Integrity::HmacSha2_256_128),
        ),
    ] {
        let mut world = World::new(config(), 7);
        let mut client = Client::new(7, "198.51.100.101:500");
        world.log_in(&mut client);
        let pair = world.quick(&mut client, spec);
        let Change::AddSas {
            suite: added,
            inbound_keys,
            outbound_keys,
            ..
        } = &world.changes[1]
        else {
            panic!("{:?}", world.changes);
        };
        assert_eq!(*added, suite);
        assert_eq!(inbound_keys.expose(), pair.to_them);
        assert_eq!(outbound_keys.expose(), pair.to_us);
    }
}

#[test]
fn forward_secrecy_uses_the_group_that_is_asked_for() {
    for group in [
        Group::Modp2048,
        Group::Modp3072,
        Group::Modp4096,
        Group::Ecp256,
        Group::Ecp384,
    ] {
        let mut world = World::new(config(), 8);
        let mut client = Client::new(8, "198.51.100.101:500");
        world.log_in(&mut client);
        let pair = world.quick(
            &mut client,
            Phase2 {
                group: Some(group),
                ..GCM
            },
        );
        let Change::AddSas { inbound_keys, .. } = &world.changes[1] else {
            panic!("{:?}", world.changes);
        };
        assert_eq!(inbound_keys.expose(), pair.to_them);
    }
    let mut world = World::new(config(), 8);
    let mut client = Client::new(8, "198.51.100.101:500");
    world.log_in(&mut client);
    let (message, _) = client.quick_1(Phase2 {
        group: Some(Group::Modp1024),
        ..GCM
    });
    let reply = world.ask(client.path, &message);
    assert_eq!(notified(&client, &reply), NotifyType::NO_PROPOSAL_CHOSEN);
}

#[test]
fn forward_secrecy_with_a_legacy_group_is_counted() {
    let mut world = World::new(legacy(), 8);
    let mut client = Client::new(8, "198.51.100.101:500");
    world.log_in(&mut client);
    let group = Some(Group::Modp1024);
    world.quick(&mut client, Phase2 { group, ..GCM });
    assert_eq!(world.responder.counters().legacy[&Legacy::Modp1024], 1);
    assert!(world.events.contains(&Event::LegacyUsed(Legacy::Modp1024)));
}

#[test]
fn legacy_is_refused_by_default_with_a_note_of_what_was_offered() {
    for offer in [
        Phase1(Cipher::TripleDes, Hash::Sha1, Group::Modp2048),
        Phase1(Cipher::Aes256, Hash::Sha1, Group::Modp1024),
        Phase1(Cipher::Aes256, Hash::Sha1, Group::Modp1536),
    ] {
        let mut world = World::new(config(), 9);
        let mut client = Client::new(9, "198.51.100.101:500");
        client.offers = vec![offer];
        let message = client.message_1();
        let reply = world.ask(client.path, &message);
        assert!(reply.len() <= message.len());
        assert_eq!(clear_notified(&reply), NotifyType::NO_PROPOSAL_CHOSEN);
        let [Event::NoPhase1Proposal(offers)] = world.events.as_slice() else {
            panic!("{:?}", world.events);
        };
        assert_eq!(offers[0].group, offer.2.number());
        assert_eq!(world.responder.ike_sas().count(), 0);
    }
}

#[test]
fn legacy_is_counted_and_noted_when_used_and_never_chosen_over_better() {
    let mut world = World::new(legacy(), 10);
    let mut client = Client::new(10, "198.51.100.101:500");
    client.offers = vec![
        Phase1(Cipher::TripleDes, Hash::Sha1, Group::Modp1024),
        Phase1(Cipher::Aes128, Hash::Sha1, Group::Modp2048),
        Phase1(Cipher::Aes256, Hash::Sha2_256, Group::Ecp384),
    ];
    world.log_in(&mut client);
    let chosen = world.responder.ike_sas().next().unwrap().suite;
    assert_eq!(
        (chosen.cipher, chosen.group),
        (Cipher::Aes128, Group::Modp2048)
    );
    assert!(world.responder.counters().legacy.is_empty());
    let mut old = Client::new(11, "198.51.100.102:500");
    old.offers = vec![Phase1(Cipher::TripleDes, Hash::Sha1, Group::Modp1024)];
    world.log_in(&mut old);
    let counted = &world.responder.counters().legacy;
    assert_eq!(
        (counted[&Legacy::TripleDes], counted[&Legacy::Modp1024]),
        (1, 1)
    );
    assert!(world.events.contains(&Event::LegacyUsed(Legacy::Modp1024)));
}

#[test]
fn a_wrong_key_is_noted_once_and_gets_nothing() {
    let mut world = World::new(config(), 12);
    let mut client = Client::new(12, "198.51.100.101:500");
    client.psk = b"another horse altogether, sir".to_vec();
    let message = client.message_1();
    let reply = world.ask(client.path, &message);
    client.read_message_2(&reply);
    let reply = world.ask(client.path, &client.message_3());
    client.read_message_4(&reply);
    let message = client.message_5();
    for _ in 0..3 {
        assert!(world.deliver(client.path, &message).is_empty());
    }
    let failures = world
        .events
        .iter()
        .filter(|event| **event == Event::AuthenticationFailed);
    assert_eq!(failures.count(), 1);
    assert_eq!(world.responder.counters().authentication_failed, 1);
    world.pass(std::time::Duration::from_secs(30));
    assert_eq!(world.responder.ike_sas().count(), 0);
    assert_eq!(world.responder.poll_timeout(), None);
}

#[test]
fn selectors_that_clients_send_are_taken_and_others_refused() {
    for (port, remote) in [(1_701, 1_701), (0, 0), (56_322, 56_322)] {
        let mut world = World::new(config(), 13);
        let mut client = Client::new(13, "198.51.100.101:500");
        client.port = port;
        world.log_in(&mut client);
        world.quick(&mut client, GCM);
        let ports = world.responder.sets().next().unwrap().ports;
        assert_eq!((ports.local, ports.remote), (1_701, remote));
    }
    for (index, byte, value) in [(3, 1, 6), (3, 2, 0x1F), (2, 0, 4), (2, 1, 50)] {
        let mut world = World::new(config(), 14);
        let mut client = Client::new(14, "198.51.100.101:500");
        world.log_in(&mut client);
        let (mut parts, quick) = client.quick_parts(GCM);
        parts[index].1[byte] = value;
        if value == 4 {
            parts[index].1.extend([255; 4]);
        }
        let message = client.quick_of(&quick, &parts);
        let reply = world.ask(client.path, &message);
        assert_eq!(
            notified(&client, &reply),
            NotifyType::INVALID_ID_INFORMATION
        );
        assert!(world.opened.is_empty());
    }
}

#[test]
fn quick_mode_without_selectors_is_for_l2tp_from_any_port() {
    let mut world = World::new(config(), 15);
    let mut client = Client::new(15, "198.51.100.101:500");
    world.log_in(&mut client);
    let (mut parts, quick) = client.quick_parts(GCM);
    parts.truncate(2);
    let message = client.quick_of(&quick, &parts);
    world.ask(client.path, &message);
    assert_eq!(world.responder.sets().next().unwrap().ports.remote, 0);
}

#[test]
fn a_name_as_selector_is_taken_as_old_windows_sends_it() {
    let mut world = World::new(config(), 16);
    let mut client = Client::new(16, "198.51.100.101:500");
    client.identity = (IdType::FQDN, b"pc-17".to_vec());
    world.log_in(&mut client);
    let (mut parts, quick) = client.quick_parts(GCM);
    parts[2].1 = [&[2, 17, 0x06, 0xA5][..], b"pc-17"].concat();
    let message = client.quick_of(&quick, &parts);
    world.ask(client.path, &message);
    assert_eq!(
        world.responder.sets().next().unwrap().identity.to_string(),
        "pc-17"
    );
}

#[test]
fn strangers_and_other_modes_are_refused_in_clear_with_a_reason() {
    use culvert_wire::ike::{ExchangeType, MessageId};
    let mut world = World::new(config(), 17);
    let mut client = Client::new(17, "198.51.100.101:500");
    let parts = client.message_1_parts();
    let aggressive = client.clear_in(ExchangeType::AGGRESSIVE, MessageId::PHASE_1, &parts);
    let reply = world.ask(client.path, &aggressive);
    assert_eq!(clear_notified(&reply), NotifyType::INVALID_EXCHANGE_TYPE);
    let mut version_2 = client.clear(&parts);
    version_2[17] = 0x20;
    let reply = world.ask(client.path, &version_2);
    assert_eq!(clear_notified(&reply), NotifyType::INVALID_MAJOR_VERSION);
    let refused = |reason| Event::Refused(Error::Unsupported(reason));
    assert_eq!(
        world.events,
        [
            refused(Unsupported::AggressiveMode),
            refused(Unsupported::Version(2))
        ]
    );
    assert_eq!(world.responder.ike_sas().count(), 0);
}

#[test]
fn other_authentication_methods_are_never_accepted() {
    for method in (0..=10)
        .chain([64_221, 65_001, 65_002, 65_005, 65_535])
        .filter(|m| *m != 1)
    {
        let mut world = World::new(legacy(), 18);
        let mut client = Client::new(18, "198.51.100.101:500");
        let mut parts = client.message_1_parts();
        // In the only transform: cipher, key length, hash, group, then the method, four bytes each.
        let at = 8 + 8 + 8 + 4 * 4 + 2;
        assert_eq!(parts[0].1[at..at + 2], [0, 1]);
        parts[0].1[at..at + 2].copy_from_slice(&u16::to_be_bytes(method));
        let reply = world.ask(client.path, &client.clear(&parts));
        assert_eq!(
            clear_notified(&reply),
            NotifyType::NO_PROPOSAL_CHOSEN,
            "{method}"
        );
    }
}

#[test]
fn only_configured_groups_are_ever_chosen() {
    let mut accepted = Vec::new();
    let mut world = World::new(config(), 19);
    for group in 0..=u16::MAX {
        let mut client = Client::new(u64::from(group), "198.51.100.101:500");
        let mut parts = client.message_1_parts();
        let at = 8 + 8 + 8 + 3 * 4 + 2;
        parts[0].1[at..at + 2].copy_from_slice(&group.to_be_bytes());
        world.deliver(client.path, &client.clear(&parts));
        if world.responder.ike_sas().count() > accepted.len() {
            accepted.push(group);
        }
        world.now = world.now + std::time::Duration::from_micros(1);
    }
    assert_eq!(accepted, [14, 15, 16, 19, 20]);
}

fn clear_notified(bytes: &[u8]) -> NotifyType {
    let (header, body) = Header::split(bytes).unwrap();
    let chain = Chain::parse(header.next, body).unwrap();
    notify_type(chain.only(PayloadType::NOTIFICATION).unwrap())
}

fn notified(client: &Client, bytes: &[u8]) -> NotifyType {
    let parts = client.read_informational(bytes);
    assert_eq!(parts.len(), 1);
    notify_type(&parts[0].1)
}

fn notify_type(body: &[u8]) -> NotifyType {
    culvert_wire::ike::Notification::parse(body).unwrap().kind
}
