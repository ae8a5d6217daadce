//! What each kind of client offers, and what it gets.
//!
//! Origin of the lists: logs and sources of the clients, as collected for this project (Windows 10, macOS 15, Android 11,
//! NetworkManager-l2tp, MikroTik).

use std::time::Duration;

use culvert_wire::ike::{
    Attribute, PayloadType, ProposalSpec, ProtocolId, Sa, TransformSpec, VendorId,
};

use super::client::{Client, GCM, Part, Phase1, body};
use super::world::{World, config, legacy};
use crate::crypto::cipher::Cipher::{Aes128, Aes256, TripleDes};
use crate::crypto::dh::Group::{Ecp256, Ecp384, Modp1024, Modp1536, Modp2048};
use crate::crypto::hash::Hash::{Sha1, Sha2_256, Sha2_384, Sha2_512};
use crate::ike::config::Config;
use crate::rows::{AesKeyLen, Encapsulation, EspSuite, Integrity};

fn chosen(config: Config, offers: &[Phase1]) -> Option<Phase1> {
    let mut world = World::new(config, 1);
    let mut client = Client::new(1, "198.51.100.60:500").behind_nat("192.168.7.101:500");
    client.offers = offers.to_vec();
    let message = client.message_1();
    world.deliver(client.path, &message);
    let suite = world.responder.ike_sas().next()?.suite;
    let mut whole = Client::new(2, "198.51.100.61:500");
    whole.offers = offers.to_vec();
    world.log_in(&mut whole);
    Some(Phase1(suite.cipher, suite.hash, suite.group))
}

#[test]
fn windows_gets_the_first_of_its_list() {
    let offers = [
        Phase1(Aes256, Sha1, Ecp384),
        Phase1(Aes128, Sha1, Ecp256),
        Phase1(Aes256, Sha1, Modp2048),
        Phase1(TripleDes, Sha1, Modp2048),
        Phase1(TripleDes, Sha1, Modp1024),
    ];
    assert_eq!(chosen(config(), &offers), Some(offers[0]));
    assert_eq!(chosen(legacy(), &offers), Some(offers[0]));
}

#[test]
fn apple_gets_group_14() {
    let offers = [
        Phase1(Aes256, Sha2_256, Modp2048),
        Phase1(Aes256, Sha1, Modp2048),
        Phase1(Aes256, Sha2_512, Modp2048),
        Phase1(Aes256, Sha2_256, Modp1536),
        Phase1(Aes256, Sha1, Modp1536),
        Phase1(Aes256, Sha2_256, Modp1024),
        Phase1(Aes256, Sha1, Modp1024),
        Phase1(Aes128, Sha1, Modp1024),
        Phase1(TripleDes, Sha1, Modp1024),
    ];
    assert_eq!(chosen(config(), &offers), Some(offers[0]));
}

#[test]
fn android_needs_the_gate() {
    let offers = [
        Phase1(Aes256, Sha2_384, Modp1024),
        Phase1(Aes256, Sha2_256, Modp1024),
        Phase1(Aes256, Sha1, Modp1024),
        Phase1(TripleDes, Sha1, Modp1024),
    ];
    assert_eq!(chosen(config(), &offers), None);
    assert_eq!(chosen(legacy(), &offers), Some(offers[0]));
}

/// Several proposals with several transforms each, two lifetimes, UDP, two original addresses.
#[test]
fn windows_quick_mode_is_accepted_with_both_lifetimes() {
    let mut world = World::new(config(), 3);
    let mut client = Client::new(3, "198.51.100.60:1024").behind_nat("192.168.7.101:500");
    client.vendors = vec![
        VendorId::RFC_3947,
        VendorId::MS_INITIAL_CONTACT,
        VendorId::MS_IKE_CGA,
    ];
    world.log_in(&mut client);
    let (mut parts, quick) = client.quick_parts(GCM);
    parts[0].1 = windows_proposals(quick.spi.0);
    for address in [[192, 168, 7, 101], [198, 51, 100, 10]] {
        let original: Part = (PayloadType::NAT_OA, [&[1, 0, 0, 0][..], &address].concat());
        parts.push(original);
    }
    let message = client.quick_of(&quick, &parts);
    world.ask(client.path, &message);
    let set = world.responder.sets().next().unwrap();
    assert_eq!(set.encapsulation, Encapsulation::EspInUdp);
    let pair = set.pairs[0];
    assert_eq!(
        pair.suite,
        EspSuite::AesCbc(AesKeyLen::Bits256, Integrity::HmacSha1_96)
    );
    assert_eq!(pair.life.time, Duration::from_secs(3_600));
    assert_eq!(pair.life.kilobytes, Some(250_000));
}

fn windows_proposals(spi: u32) -> Vec<u8> {
    let short = |class, value| Attribute::Short { class, value };
    let attributes = |integrity: u16, key_bits: Option<u16>| {
        let mut attributes = vec![
            short(1, 1),
            Attribute::Long {
                class: 2,
                value: &[0, 0, 0x0E, 0x10],
            },
            short(1, 2),
            Attribute::Long {
                class: 2,
                value: &[0, 0x03, 0xD0, 0x90],
            },
            short(4, 4),
            short(5, integrity),
        ];
        attributes.extend(key_bits.map(|bits| short(6, bits)));
        attributes
    };
    let spi = spi.to_be_bytes();
    // DES and 3DES stand in front here, which no build does; they must be passed over.
    let lists = [
        (2, attributes(2, None)),
        (3, attributes(2, None)),
        (12, attributes(2, Some(256))),
    ];
    let transforms: Vec<[TransformSpec<'_>; 1]> = lists
        .iter()
        .map(|(id, attributes)| {
            [TransformSpec {
                number: 1,
                id: *id,
                attributes,
            }]
        })
        .collect();
    let proposals: Vec<_> = (1..)
        .zip(&transforms)
        .map(|(number, transforms)| ProposalSpec {
            number,
            protocol: ProtocolId::ESP,
            spi: &spi,
            transforms,
        })
        .collect();
    body(|writer| Sa::emit(&proposals, writer))
}

#[test]
fn esp_together_with_ah_is_not_taken_apart() {
    let mut world = World::new(config(), 4);
    let mut client = Client::new(4, "198.51.100.101:500");
    world.log_in(&mut client);
    let (mut parts, quick) = client.quick_parts(GCM);
    let attributes = [
        Attribute::Short { class: 4, value: 2 },
        Attribute::Short {
            class: 6,
            value: 128,
        },
    ];
    let transforms = [TransformSpec {
        number: 1,
        id: 20,
        attributes: &attributes,
    }];
    let spi = [1, 2, 3, 4];
    let proposal = |protocol| ProposalSpec {
        number: 1,
        protocol,
        spi: &spi,
        transforms: &transforms,
    };
    let proposals = [proposal(ProtocolId::ESP), proposal(ProtocolId::AH)];
    parts[0].1 = body(|writer| Sa::emit(&proposals, writer));
    let message = client.quick_of(&quick, &parts);
    world.ask(client.path, &message);
    assert!(world.opened.is_empty());
}
