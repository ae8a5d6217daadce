//! Messages of real clients, parsed to the last byte and written again byte for byte.
//!
//! Origin: strongSwan 5.9.8 and libreswan 4.10 on Debian 12; each file's first line names capture and frame.

use std::vec::Vec;

use super::*;
use crate::writer::Writer;

macro_rules! captured {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../testdata/ike/", $name, ".hex")))),*]
    };
}

const CLEAR: [(&str, &str); 17] = captured!(
    "direct-ss-gcm-mm1",
    "direct-ss-gcm-mm2",
    "direct-ss-gcm-mm3",
    "direct-ss-gcm-mm4",
    "direct-lsw-gcm-mm1",
    "direct-lsw-gcm-mm2",
    "direct-lsw-gcm-mm3",
    "direct-lsw-gcm-mm4",
    "direct-ss-cbcsha1-mm1",
    "direct-ss-cbcsha1-mm2",
    "direct-ss-cbcsha256-mm1",
    "direct-ss-cbcsha256-mm2",
    "nat-ss-gcm-mm1",
    "rekey-ss-mm1",
    "userspace-l2tp-mm1",
    "aggressive-request",
    "aggressive-notify",
);

const DECRYPTED: [(&str, &str); 14] = captured!(
    "direct-ss-gcm-mm5.plain",
    "direct-ss-gcm-qm1.plain",
    "direct-ss-gcm-qm2.plain",
    "direct-ss-gcm-qm3.plain",
    "direct-lsw-gcm-mm5.plain",
    "direct-lsw-gcm-qm1.plain",
    "direct-lsw-gcm-qm2.plain",
    "direct-lsw-gcm-qm3.plain",
    "direct-lsw-gcm-delete-esp.plain",
    "direct-lsw-gcm-delete-isakmp.plain",
    "nat-ss-gcm-mm5.plain",
    "nat-ss-gcm-qm1.plain",
    "nat-ss-gcm-qm2.plain",
    "nat-ss-gcm-qm3.plain",
);

fn bytes_of(text: &str) -> Vec<u8> {
    let digits: std::string::String = text.lines().skip(1).collect();
    hex::decode(digits).unwrap()
}

fn named(name: &str) -> Vec<u8> {
    let all = CLEAR.iter().chain(&DECRYPTED);
    bytes_of(all.copied().find(|(other, _)| *other == name).unwrap().1)
}

#[test]
fn messages_in_clear_parse_to_the_last_byte() {
    for (name, text) in CLEAR {
        let bytes = bytes_of(text);
        let (header, body) = Header::split(&bytes).unwrap();
        let chain = Chain::parse(header.next, body).unwrap();
        assert!(chain.padding().is_empty(), "{name}");
        bodies_parse(&chain);
    }
}

#[test]
fn decrypted_messages_parse_up_to_a_padding_of_zeros() {
    for (name, text) in DECRYPTED {
        let bytes = bytes_of(text);
        let (header, body) = Header::split(&bytes).unwrap();
        let chain = Chain::parse(header.next, body).unwrap();
        assert!(chain.padding().len() <= 16, "{name}");
        assert!(chain.padding().iter().all(|&byte| byte == 0), "{name}");
        bodies_parse(&chain);
    }
}

#[test]
fn every_message_is_written_again_byte_for_byte() {
    for (name, text) in CLEAR.iter().chain(&DECRYPTED) {
        let bytes = bytes_of(text);
        let (header, body) = Header::split(&bytes).unwrap();
        let chain = Chain::parse(header.next, body).unwrap();
        let mut buffer = [0xA5; 1024];
        let mut message = MessageWriter::new(&mut buffer, &header).unwrap();
        for payload in chain.iter() {
            message
                .payload(payload.kind, |writer| rewrite(&payload, writer))
                .unwrap();
        }
        let len = message.finish().unwrap();
        assert_eq!(buffer[Header::LEN..len], *chain.bytes(), "{name}");
        assert_eq!(buffer[..24], bytes[..24], "{name}");
    }
}

#[test]
fn every_truncation_and_bit_flip_parses_or_is_refused() {
    for (_, text) in CLEAR.iter().chain(&DECRYPTED) {
        let mut bytes = bytes_of(text);
        for len in 0..bytes.len() {
            assert!(Header::split(&bytes[..len]).is_err());
            walk(&bytes[..len]);
        }
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            walk(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn strongswan_offers_what_its_configuration_says() {
    let bytes = named("direct-ss-gcm-mm1");
    let (header, body) = Header::split(&bytes).unwrap();
    assert_eq!(header.exchange, ExchangeType::MAIN_MODE);
    let chain = Chain::parse(header.next, body).unwrap();
    let sa = Sa::parse(chain.only(PayloadType::SA).unwrap()).unwrap();
    let proposal = sa.proposals().next().unwrap();
    let groups = proposal.transforms().map(|transform| {
        let mut attributes = transform.attributes.iter();
        let class = OakleyAttribute::GROUP_DESCRIPTION.0;
        attributes
            .find(|a| a.class() == class)
            .unwrap()
            .number()
            .unwrap()
    });
    assert!(groups.eq([14, 14, 20, 2, 2, 2]));
    let mut vendors = chain.all(PayloadType::VENDOR_ID).map(VendorId);
    assert!(vendors.any(|vendor| vendor.is(VendorId::RFC_3947)));
}

#[test]
fn quick_mode_behind_nat_names_inner_and_original_addresses() {
    let bytes = named("nat-ss-gcm-qm1.plain");
    let (header, body) = Header::split(&bytes).unwrap();
    let chain = Chain::parse(header.next, body).unwrap();
    let inside: core::net::IpAddr = [192, 168, 7, 101].into();
    let id = Identification::parse(chain.all(PayloadType::IDENTIFICATION).next().unwrap()).unwrap();
    assert_eq!(
        (id.protocol, id.port, id.address()),
        (17, 1701, Some(inside))
    );
    let original = nat_original(chain.all(PayloadType::NAT_OA).next().unwrap());
    assert_eq!(original, Ok(inside));
}

#[test]
fn libreswan_deletes_the_esp_sa_before_its_isakmp_sa() {
    let esp = named("direct-lsw-gcm-delete-esp.plain");
    let isakmp = named("direct-lsw-gcm-delete-isakmp.plain");
    for (bytes, protocol, spi_len) in [(esp, ProtocolId::ESP, 4), (isakmp, ProtocolId::ISAKMP, 16)]
    {
        let (header, body) = Header::split(&bytes).unwrap();
        let chain = Chain::parse(header.next, body).unwrap();
        let deletion = Deletion::parse(chain.only(PayloadType::DELETE).unwrap()).unwrap();
        assert_eq!(deletion.protocol, protocol);
        assert!(deletion.spis().map(<[u8]>::len).eq([spi_len]));
    }
}

proptest::proptest! {
    #[test]
    fn random_bodies_parse_or_are_refused(kind: u8, body: Vec<u8>) {
        let mut buffer = [0; 512];
        let header = Header {
            initiator: Cookie([1; 8]),
            responder: Cookie::ZERO,
            next: PayloadType::NONE,
            version: Version::V1_0,
            exchange: ExchangeType::MAIN_MODE,
            flags: Flags::default(),
            message_id: MessageId::PHASE_1,
        };
        let mut message = MessageWriter::new(&mut buffer, &header).unwrap();
        message.put(PayloadType(kind), &body).unwrap();
        let len = message.finish().unwrap();
        walk(&buffer[..len]);
        walk(&body);
    }

    #[test]
    fn attributes_of_any_kind_round_trip(values: Vec<(u16, Option<u16>)>) {
        let long = [7; 9];
        let attributes: Vec<_> = values
            .iter()
            .map(|&(class, value)| match value {
                Some(value) => Attribute::Short { class: class & 0x7FFF, value },
                None => Attribute::Long { class: class & 0x7FFF, value: &long },
            })
            .collect();
        let mut buffer = [0; 2_048];
        let mut writer = Writer::new(&mut buffer);
        attributes.iter().try_for_each(|attribute| attribute.emit(&mut writer)).unwrap();
        let parsed = Attributes::parse(writer.written()).unwrap();
        proptest::prop_assert!(parsed.iter().eq(attributes));
    }
}

/// Parses whatever parses; returns quietly otherwise.
fn walk(bytes: &[u8]) {
    let Ok((header, body)) = Header::split(bytes) else {
        return;
    };
    let Ok(chain) = Chain::parse(header.next, body) else {
        return;
    };
    for payload in chain.iter() {
        let _ = Identification::parse(payload.body);
        let _ = Notification::parse(payload.body);
        let _ = nat_original(payload.body);
        if let Ok(deletion) = Deletion::parse(payload.body) {
            assert!(deletion.spis().all(|spi| !spi.is_empty()));
        }
        if let Ok(sa) = Sa::parse(payload.body) {
            assert!(sa.proposals().flat_map(|p| p.transforms()).count() <= body.len());
        }
    }
}

fn bodies_parse(chain: &Chain<'_>) {
    for Payload { kind, body } in chain.iter() {
        match kind {
            PayloadType::SA => drop(Sa::parse(body).unwrap()),
            PayloadType::IDENTIFICATION => drop(Identification::parse(body).unwrap()),
            PayloadType::NOTIFICATION => drop(Notification::parse(body).unwrap()),
            PayloadType::DELETE => drop(Deletion::parse(body).unwrap()),
            PayloadType::NAT_OA => drop(nat_original(body).unwrap()),
            _ => {}
        }
    }
}

/// Takes a body apart and puts it together again.
fn rewrite(payload: &Payload<'_>, writer: &mut Writer<'_>) -> Result<(), crate::writer::Overflow> {
    match payload.kind {
        PayloadType::SA => rewrite_sa(&Sa::parse(payload.body).unwrap(), writer),
        PayloadType::IDENTIFICATION => Identification::parse(payload.body).unwrap().emit(writer),
        PayloadType::DELETE => {
            let deletion = Deletion::parse(payload.body).unwrap();
            Deletion::emit_one(deletion.protocol, deletion.spis().next().unwrap(), writer)
        }
        _ => writer.put(payload.body),
    }
}

fn rewrite_sa(sa: &Sa<'_>, writer: &mut Writer<'_>) -> Result<(), crate::writer::Overflow> {
    let proposal = sa.proposals().next().unwrap();
    assert_eq!(sa.proposals().count(), 1);
    let attributes: Vec<Vec<_>> = proposal
        .transforms()
        .map(|t| t.attributes.iter().collect())
        .collect();
    let transforms: Vec<_> = proposal
        .transforms()
        .zip(&attributes)
        .map(|(t, attributes)| TransformSpec {
            number: t.number,
            id: t.id,
            attributes,
        })
        .collect();
    let spec = ProposalSpec {
        number: proposal.number,
        protocol: proposal.protocol,
        spi: proposal.spi,
        transforms: &transforms,
    };
    Sa::emit(&[spec], writer)
}
