//! Two cores: packets that arrive on the one whose rows are on the other.

use std::net::Ipv4Addr;

use culvert_crypto::{AesKey, Integrity, Suite};
use culvert_dataplane::api::{Command, Encapsulation, Event, SessionRow, SetId, Spi, spi};
use culvert_dataplane::verdict::{PuntKind, Reason};
use culvert_wire::ipv4::Protocol;

use crate::commands::{inner, sealed};
use crate::gateway::{Client, FRAMES, Gateway, HOST, INNER, from_core, ip, packet_of, udp};
use crate::round_trip::fragments;

/// Two cores, and a client on the second.
fn pair() -> ([Gateway; 2], Client) {
    let mut cores: [Gateway; 2] = Gateway::cores(2).try_into().ok().unwrap();
    let mut client = Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::EspInUdp);
    client.inbound = spi::compose(1, 7, 0xABC);
    client.install(&mut cores[1]);
    (cores, client)
}

/// Every core turns until handed packets and frames have arrived.
fn settle(cores: &mut [Gateway]) {
    for _ in 0..3 {
        cores.iter_mut().for_each(Gateway::turn);
    }
}

/// Every packet has an end on one of the cores, and every frame is at home.
fn assert_accounted(cores: &[Gateway]) {
    let ledgers = || {
        cores.iter().flat_map(|core| {
            [
                &core.counters().outer,
                &core.counters().core,
                &core.counters().control,
            ]
        })
    };
    assert!(ledgers().all(culvert_dataplane::verdict::Ledger::is_balanced));
    let (given, taken): (u64, u64) = ledgers().fold((0, 0), |sum, ledger| {
        (sum.0 + ledger.given, sum.1 + ledger.taken)
    });
    assert_eq!(given, taken, "nothing is on its way");
    for core in cores {
        assert_eq!(core.frames(), FRAMES, "frames are conserved");
    }
}

fn good(client: &Client, sequence: u32) -> Vec<u8> {
    sealed(client, sequence, &inner(INNER, HOST), Protocol::UDP)
}

#[test]
fn a_sealed_packet_reaches_the_core_of_its_spi_and_its_frame_goes_home() {
    let (mut cores, client) = pair();
    for sequence in 1..=500 {
        assert!(cores[0].outer.send(&good(&client, sequence)));
        settle(&mut cores);
        assert!(cores[0].core.take().is_none());
        let sent = cores[1].core.take().unwrap();
        assert_eq!(packet_of(&sent).source(), INNER);
    }
    assert_eq!(cores[1].events(), [Event::InboundUsed(client.inbound)]);
    assert_eq!(
        (
            cores[0].counters().outer.given,
            cores[1].counters().outer.taken
        ),
        (500, 500)
    );
    settle(&mut cores);
    assert_accounted(&cores);
}

#[test]
fn a_packet_from_the_network_reaches_the_core_of_its_session() {
    for encapsulation in [
        Encapsulation::Esp,
        Encapsulation::EspInUdp,
        Encapsulation::Clear,
    ] {
        let mut cores: [Gateway; 2] = Gateway::cores(2).try_into().ok().unwrap();
        let mut client = Client::new(
            Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha1_96),
            encapsulation,
        );
        client.inbound = spi::compose(1, 7, 0xABC);
        client.install(&mut cores[1]);
        for len in [20, 500, 1_380, 2_500] {
            assert!(
                cores[0]
                    .core
                    .send(&from_core(&ip(HOST, INNER, Protocol(253), &vec![1; len])))
            );
            settle(&mut cores);
            assert!(cores[0].outer.take().is_none());
            assert!(
                cores[1].outer.take().is_some(),
                "{encapsulation:?} {len} {:?}",
                cores[1].drops()
            );
            while cores[1].outer.take().is_some() {}
        }
        settle(&mut cores);
        assert_accounted(&cores);
    }
}

#[test]
fn fragments_come_together_where_they_arrive_and_go_on_whole() {
    let (mut cores, client) = pair();
    for part in fragments(&good(&client, 1), 48) {
        assert!(cores[0].outer.send(&part));
    }
    settle(&mut cores);
    assert!(cores[1].core.take().is_some());
    settle(&mut cores);
    assert_accounted(&cores);
}

#[test]
fn control_messages_and_errors_work_from_there_too() {
    let (mut cores, client) = pair();
    let message = udp(1_701, 1_701, &[0xC8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0]);
    cores[0]
        .outer
        .send(&sealed(&client, 1, &message, Protocol::UDP));
    let mut big = ip(HOST, INNER, Protocol(253), &[1; 1_450]);
    big[6] = 0x40;
    big[10..12].fill(0);
    let checksum = culvert_wire::checksum::of(&big[..20]);
    big[10..12].copy_from_slice(&checksum.to_be_bytes());
    cores[0].core.send(&from_core(&big));
    settle(&mut cores);
    assert_eq!(
        cores[1]
            .punts()
            .iter()
            .map(|punted| punted.kind)
            .collect::<Vec<_>>(),
        [PuntKind::L2tp]
    );
    assert_eq!(
        packet_of(&cores[1].core.take().unwrap()).destination(),
        HOST
    );
    settle(&mut cores);
    assert_accounted(&cores);
}

/// A client on one core does not reach a client on the other.
#[test]
fn clients_on_different_cores_do_not_reach_each_other() {
    let (mut cores, client) = pair();
    let mut other = client.clone();
    (other.set, other.row, other.inbound) = (SetId(1), SessionRow(1), Spi(0x7ABC));
    other.address = Ipv4Addr::new(10, 99, 1, 11);
    other.install(&mut cores[0]);
    let packet = sealed(&client, 1, &inner(INNER, other.address), Protocol::UDP);
    assert_eq!(cores[1].up(&[packet]).len(), 0);
    assert_eq!(cores[1].dropped(Reason::ClientToClient), 1);
    cores[0].command(Command::CloseSession(other.row));
    let packet = sealed(&client, 2, &inner(INNER, other.address), Protocol::UDP);
    assert_eq!(cores[1].up(&[packet]).len(), 1);
}

#[test]
fn a_full_ring_drops_and_counts() {
    let (mut cores, client) = pair();
    // The second core does not turn: its ring takes 512.
    for burst in 0..10 {
        for number in 1..=64 {
            assert!(cores[0].outer.send(&good(&client, burst * 64 + number)));
        }
        cores[0].turn();
    }
    assert_eq!(cores[0].dropped(Reason::HandOff), 128);
    for _ in 0..20 {
        settle(&mut cores);
        while cores[1].core.take().is_some() {}
    }
    assert_eq!(cores[1].counters().outer.sent, 512);
    assert_accounted(&cores);
}

#[test]
fn what_nobody_owns_is_not_handed_on_forever() {
    let (mut cores, _) = pair();
    let mut stranger = Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::EspInUdp);
    stranger.inbound = spi::compose(1, 9, 1);
    cores[0].outer.send(&good(&stranger, 1));
    settle(&mut cores);
    assert_eq!(cores[1].dropped(Reason::UnknownSpi), 1);
    assert_eq!(cores[1].counters().outer.given, 0);
    assert_accounted(&cores);
}
