//! Every reason for a drop, reached by a packet that deserves it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use culvert_crypto::{AesKey, Suite};
use culvert_dataplane::api::{Command, CoreDevice, Destination, Encapsulation, Phase, Transmit};
use culvert_dataplane::verdict::Reason;
use culvert_wire::ipv4::{self, Protocol};

use crate::commands::{data, inner, sealed, sealed_raw, wrapped};
use crate::gateway::{
    CLIENT, CORE_MAC, Client, GATEWAY, Gateway, HOST, INNER, KERNEL_MAC, OUTER_MAC, ROUTER_MAC,
    SERVER, config, frame, from_client, from_core, ip, packet_of, udp,
};
use crate::round_trip::fragments;

/// A gateway with one client, and that client.
fn installed(suite: Suite, encapsulation: Encapsulation) -> (Gateway, Client) {
    let client = Client::new(suite, encapsulation);
    let mut gateway = Gateway::new();
    client.install(&mut gateway);
    (gateway, client)
}

fn native() -> (Gateway, Client) {
    installed(Suite::AesGcm(AesKey::Bits128), Encapsulation::Esp)
}

/// Frames from outside, and the reason for which each is dropped.
fn outer_cases() -> Vec<(Reason, Vec<u8>)> {
    let nat = |payload: &[u8]| from_client(Protocol::UDP, &udp(31_234, 4_500, payload));
    let with_bad_checksum = {
        let mut frame = from_client(Protocol::ESP, &[0; 40]);
        frame[24] ^= 1;
        frame
    };
    let ipv6 = {
        let mut frame = from_client(Protocol::ESP, &[0; 40]);
        frame[12..14].copy_from_slice(&[0x86, 0xDD]);
        frame
    };
    let marked_on_500 = {
        let mut message = vec![0; 32];
        message[4..12].fill(7);
        message[24..28].copy_from_slice(&28_u32.to_be_bytes());
        from_client(Protocol::UDP, &udp(500, 500, &message))
    };
    vec![
        (Reason::OuterMalformed, vec![0; 13]),
        (Reason::OuterMalformed, with_bad_checksum),
        (
            Reason::OuterMalformed,
            frame(
                ROUTER_MAC,
                OUTER_MAC,
                &ip(Ipv4Addr::LOCALHOST, SERVER, Protocol::ESP, &[0; 40]),
            ),
        ),
        (
            Reason::OuterMalformed,
            from_client(Protocol::UDP, &[1, 2, 3]),
        ),
        (Reason::OuterIpv6, ipv6),
        (
            Reason::NotOurs,
            frame(
                ROUTER_MAC,
                OUTER_MAC,
                &ip(CLIENT, HOST, Protocol::ESP, &[0; 40]),
            ),
        ),
        (Reason::NotOurs, from_client(Protocol::TCP, &[0; 40])),
        (
            Reason::NotOurs,
            from_client(Protocol::UDP, &udp(53, 53, &[0; 40])),
        ),
        (Reason::Keepalive, nat(&[0xFF])),
        (Reason::NatRunt, nat(&[])),
        (Reason::NatRunt, nat(&[1; 7])),
        (Reason::NatRunt, nat(&[0; 4])),
        (Reason::IkeMalformed, nat(&[0; 27])),
        (Reason::IkeMalformed, marked_on_500),
        (
            Reason::IkeMalformed,
            from_client(Protocol::UDP, &udp(500, 500, &[7; 60])),
        ),
        (
            Reason::ClearRefused,
            from_client(
                Protocol::UDP,
                &udp(1_701, 1_701, &[0xC8, 2, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0]),
            ),
        ),
        (Reason::EspMalformed, from_client(Protocol::ESP, &[1; 7])),
        (Reason::UnknownSpi, from_client(Protocol::ESP, &[9; 60])),
        (Reason::UnknownSpi, from_client(Protocol::ESP, &[0; 60])),
        (Reason::UnknownSpi, nat(&[9; 60])),
    ]
}

/// Plaintexts of a client's ESP packets, and the reason for which each is dropped.
fn inner_cases() -> Vec<(Reason, Vec<u8>, Protocol)> {
    let ppp = |packet: &[u8]| data(&[&[0xFF, 0x03, 0x00, 0x21][..], packet].concat());
    let to = |destination| inner(INNER, destination);
    let from_another_port = {
        let mut datagram = inner(INNER, HOST);
        datagram[1] ^= 1;
        datagram
    };
    let spoilt = {
        let mut packet = ip(INNER, HOST, Protocol::UDP, &[0; 20]);
        packet[10] ^= 1;
        ppp(&packet)
    };
    let expiring = {
        let mut packet = ip(INNER, HOST, Protocol::UDP, &[0; 20]);
        packet[8] = 1;
        let words = [u16::from_be_bytes([64, 17]), u16::from_be_bytes([1, 17])];
        let checksum = culvert_wire::checksum::update(
            u16::from_be_bytes([packet[10], packet[11]]),
            words[0],
            words[1],
        );
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        ppp(&packet)
    };
    let mut cases = vec![
        (Reason::Dummy, vec![0; 30], Protocol::NO_NEXT_HEADER),
        (Reason::Selector, inner(INNER, HOST), Protocol::TCP),
        (Reason::Selector, from_another_port, Protocol::UDP),
        (Reason::Selector, inner(INNER, HOST), Protocol(4)),
        (Reason::Selector, udp(1_701, 53, &[0; 20]), Protocol::UDP),
        (Reason::InnerUdpMalformed, vec![0; 5], Protocol::UDP),
        (
            Reason::InnerUdpMalformed,
            vec![6, 165, 6, 165, 0xFF, 0, 0, 0, 0, 0],
            Protocol::UDP,
        ),
        (
            Reason::L2tpMalformed,
            udp(1_701, 1_701, &[0, 3, 0, 0, 0, 0, 0, 0]),
            Protocol::UDP,
        ),
        (
            Reason::L2tpMalformed,
            udp(1_701, 1_701, &[0x42, 2, 0, 8]),
            Protocol::UDP,
        ),
        (
            Reason::UnknownSession,
            udp(1_701, 1_701, &[0, 2, 0x11, 0x11, 0x22, 0x23, 0x21, 0]),
            Protocol::UDP,
        ),
        (
            Reason::UnknownSession,
            udp(1_701, 1_701, &[0, 2, 0x11, 0x12, 0x22, 0x22, 0x21, 0]),
            Protocol::UDP,
        ),
        (Reason::PppMalformed, data(&[0xFF, 0x03]), Protocol::UDP),
        (Reason::InnerMalformed, ppp(&[0x45, 0, 0]), Protocol::UDP),
        (Reason::InnerMalformed, spoilt, Protocol::UDP),
        (Reason::TtlExpired, expiring, Protocol::UDP),
        (Reason::InnerSource, inner(HOST, HOST), Protocol::UDP),
        (
            Reason::InnerSource,
            inner(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST),
            Protocol::UDP,
        ),
        (Reason::ClientToClient, to(INNER), Protocol::UDP),
        (Reason::GatewayRefused, to(GATEWAY), Protocol::UDP),
    ];
    let martians = [
        [0, 0, 0, 1],
        [127, 0, 0, 1],
        [169, 254, 1, 1],
        [224, 0, 0, 1],
        [255, 255, 255, 255],
    ];
    for destination in martians.map(Ipv4Addr::from).into_iter().chain([SERVER]) {
        cases.push((Reason::InnerDestination, to(destination), Protocol::UDP));
    }
    cases
}

/// Runs `check` and adds the reasons it saw.
#[derive(Default)]
struct Seen(BTreeSet<usize>);

impl Seen {
    fn expect(&mut self, gateway: &Gateway, reason: Reason) {
        assert!(
            gateway.dropped(reason) > 0,
            "{}: {:?}",
            reason.name(),
            gateway.drops()
        );
        gateway.assert_accounted();
        self.0.insert(reason as usize);
    }

    /// Nothing but `reason` happened to the only packet.
    fn expect_only(&mut self, gateway: &Gateway, reason: Reason) {
        assert_eq!(gateway.drops(), [(reason.name(), 1)]);
        self.expect(gateway, reason);
    }
}

#[test]
fn every_reason_is_reached() {
    let mut seen = Seen::default();
    outer(&mut seen);
    plaintexts(&mut seen);
    replays(&mut seen);
    encapsulations(&mut seen);
    reassembly(&mut seen);
    congestion_and_phase(&mut seen);
    clear(&mut seen);
    core(&mut seen);
    no_sa(&mut seen);
    scarcity(&mut seen);
    punts(&mut seen);
    let missing: Vec<_> = Reason::ALL
        .into_iter()
        .filter(|reason| !seen.0.contains(&(*reason as usize)))
        .collect();
    // Elsewhere: exhaustion and next hops in `commands`, full rings between cores in `handoff`. Not to be reached, because orders and
    // packets of one core never cross: Absent.
    let elsewhere = [
        Reason::NoNeighbour,
        Reason::Absent,
        Reason::SequenceExhausted,
        Reason::NoNextHop,
        Reason::HandOff,
    ];
    assert_eq!(
        BTreeSet::from_iter(missing.iter().map(|reason| reason.name())),
        BTreeSet::from_iter(elsewhere.map(Reason::name))
    );
}

fn outer(seen: &mut Seen) {
    for (reason, frame) in outer_cases() {
        let (mut gateway, _) = native();
        assert_eq!(gateway.up(&[frame]).len(), 0);
        seen.expect_only(&gateway, reason);
    }
}

fn plaintexts(seen: &mut Seen) {
    for (reason, payload, next_header) in inner_cases() {
        let (mut gateway, client) = native();
        assert_eq!(
            gateway
                .up(&[sealed(&client, 1, &payload, next_header)])
                .len(),
            0
        );
        seen.expect_only(&gateway, reason);
    }
    let (mut gateway, client) = native();
    gateway.up(&[sealed_raw(&client, 1, &[0, 0, 200, 17])]);
    seen.expect_only(&gateway, Reason::BadPadding);
    let (mut gateway, client) = native();
    let mut forged = sealed(&client, 1, &inner(INNER, HOST), Protocol::UDP);
    forged[60] ^= 1;
    gateway.up(&[forged]);
    seen.expect_only(&gateway, Reason::Forged);
}

fn replays(seen: &mut Seen) {
    let (mut gateway, client) = native();
    let packet = |sequence| sealed(&client, sequence, &inner(INNER, HOST), Protocol::UDP);
    // Twice in one burst, and again later.
    assert_eq!(gateway.up(&[packet(2_000), packet(2_000)]).len(), 1);
    assert_eq!(
        gateway.up(&[packet(2_000), packet(976), packet(0)]).len(),
        0
    );
    assert_eq!(gateway.dropped(Reason::ReplayDuplicate), 2);
    seen.expect(&gateway, Reason::ReplayDuplicate);
    seen.expect(&gateway, Reason::ReplayTooOld);
    seen.expect(&gateway, Reason::SequenceZero);
    assert_eq!(gateway.up(&[packet(977)]).len(), 1);
}

fn encapsulations(seen: &mut Seen) {
    let (mut gateway, client) = native();
    let good = sealed(&client, 1, &inner(INNER, HOST), Protocol::UDP);
    let esp = good[34..].to_vec();
    let elsewhere = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 1), 500);
    gateway.up(&[wrapped(&client, elsewhere, &esp)]);
    seen.expect_only(&gateway, Reason::WrongEncapsulation);
    let in_udp = Client {
        encapsulation: Encapsulation::EspInUdp,
        ..client.clone()
    };
    gateway.up(&[wrapped(&in_udp, client.remote, &esp)]);
    assert_eq!(gateway.dropped(Reason::WrongEncapsulation), 2);
    assert_eq!(gateway.up(&[good]).len(), 1);
}

fn reassembly(seen: &mut Seen) {
    let (mut gateway, client) = native();
    let good = sealed(&client, 1, &inner(INNER, HOST), Protocol::UDP);
    let parts = fragments(&good, 48);
    // An overlap gives the datagram up: what comes later begins anew.
    gateway.up(&[parts[0].clone(), parts[0].clone()]);
    assert_eq!(gateway.dropped(Reason::FragmentOverlap), 2);
    seen.expect(&gateway, Reason::FragmentOverlap);
    gateway.up(&parts[1..2]);
    gateway.pass(Duration::from_secs(30));
    gateway.turn();
    assert_eq!(gateway.dropped(Reason::FragmentTimeout), 1);
    seen.expect(&gateway, Reason::FragmentTimeout);
    gateway.up(&[
        fragment(CLIENT, 1, 1, true, 9),
        fragment(CLIENT, 1, 4_000, true, 8),
    ]);
    seen.expect(&gateway, Reason::FragmentMalformed);
    seen.expect(&gateway, Reason::FragmentTooLong);
    for id in 0..9 {
        gateway.up(&[fragment(HOST, 100 + id, 0, true, 64)]);
    }
    assert_eq!(gateway.dropped(Reason::FragmentShare), 1);
    seen.expect(&gateway, Reason::FragmentShare);
    // Others still get through while one source holds its share, and when the table is full the oldest goes.
    for source in 0..80_u8 {
        gateway.up(&[fragment(Ipv4Addr::new(192, 0, 2, source), 7, 0, true, 64)]);
    }
    seen.expect(&gateway, Reason::FragmentEvicted);
    assert_eq!(gateway.counters().outer.in_flight, 64);
    assert_eq!(gateway.up(&parts).len(), 1, "{:?}", gateway.drops());
    gateway.assert_accounted();
}

fn fragment(source: Ipv4Addr, identification: u16, offset: u16, more: bool, len: usize) -> Vec<u8> {
    let header = ipv4::Header {
        traffic_class: 0,
        total_len: 20 + len as u16,
        identification,
        dont_fragment: false,
        fragment: ipv4::Fragment {
            offset: offset / 8 * 8,
            more,
        },
        ttl: 9,
        protocol: Protocol::UDP,
        source,
        destination: SERVER,
    };
    frame(
        ROUTER_MAC,
        OUTER_MAC,
        &[&header.to_bytes()[..], &vec![0; len]].concat(),
    )
}

fn congestion_and_phase(seen: &mut Seen) {
    let (mut gateway, client) = native();
    let mut congested = sealed(&client, 1, &inner(INNER, HOST), Protocol::UDP);
    ipv4::set_traffic_class(&mut congested[14..], 3);
    gateway.up(&[congested]);
    seen.expect_only(&gateway, Reason::EcnDrop);
    let mut session = client.session_spec();
    session.phase = Phase::Negotiating;
    gateway.command(Command::OpenSession(session));
    gateway.up(&[sealed(&client, 2, &inner(INNER, HOST), Protocol::UDP)]);
    seen.expect(&gateway, Reason::NotOpen);
}

fn clear(seen: &mut Seen) {
    let mut config = config();
    config.clear_l2tp = vec![SERVER.into()];
    let mut gateway = Gateway::with(&config, 1);
    let packet = data(&[0xFF, 0x03, 0xC0, 0x21, 1]);
    gateway.up(&[from_client(Protocol::UDP, &packet)]);
    seen.expect_only(&gateway, Reason::ClearUnknown);
    // Control messages are let through to control, as the first of a clear peer.
    gateway.up(&[from_client(
        Protocol::UDP,
        &udp(1_701, 1_701, &[0xC8, 2, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0]),
    )]);
    assert_eq!(gateway.punts().len(), 1);
}

fn core(seen: &mut Seen) {
    let arp = {
        let mut frame = frame(KERNEL_MAC, CORE_MAC, &[0; 46]);
        frame[12..14].copy_from_slice(&[8, 6]);
        frame
    };
    let big = {
        let mut packet = ip(HOST, INNER, Protocol::UDP, &[0; 1_440]);
        packet[6] = 0x40;
        let checksum =
            culvert_wire::checksum::update(u16::from_be_bytes([packet[10], packet[11]]), 0, 0x4000);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet
    };
    for (reason, frame) in [
        (Reason::CoreMalformed, arp),
        (Reason::CoreMalformed, from_core(&[0x45; 10])),
        (
            Reason::NoRoute,
            from_core(&ip(HOST, GATEWAY, Protocol::UDP, &[0; 20])),
        ),
        (Reason::TooBig, from_core(&big)),
    ] {
        let (mut gateway, _) = native();
        assert_eq!(gateway.down(&[frame]).len(), 0);
        seen.expect_only(&gateway, reason);
    }
}

fn no_sa(seen: &mut Seen) {
    let (mut gateway, client) = native();
    gateway.command(Command::RemoveOutbound {
        set: client.set,
        spi: client.outbound,
    });
    gateway.down(&[from_core(&ip(HOST, INNER, Protocol::UDP, &[0; 20]))]);
    let to = Destination::Ppp(client.row);
    gateway.command(Command::Transmit(Transmit {
        to,
        bytes: vec![0xC0, 0x21, 1],
    }));
    assert_eq!(gateway.drops(), [(Reason::NoOutbound.name(), 2)]);
    seen.expect(&gateway, Reason::NoOutbound);
}

fn scarcity(seen: &mut Seen) {
    // A tx ring that nobody empties.
    let (mut gateway, client) = native();
    for burst in 0..5 {
        for number in 1..=64 {
            gateway.outer.send(&sealed(
                &client,
                burst * 64 + number,
                &inner(INNER, HOST),
                Protocol::UDP,
            ));
        }
        gateway.turn();
    }
    assert_eq!(gateway.counters().outer.sent, 256);
    seen.expect(&gateway, Reason::RingFull);
    // A pool that the rings hold almost wholly: 512 of its frames fill them.
    let client = Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::Esp);
    let memory = culvert_dataplane::mem::continuity::create(1, 1_024).unwrap();
    let mut gateway = Gateway::on(&config(), &memory, 0..1, 520);
    client.install(&mut gateway);
    let frames: Vec<_> = (1..=32)
        .map(|sequence| sealed(&client, sequence, &inner(INNER, HOST), Protocol::UDP))
        .collect();
    gateway.up(&frames);
    seen.expect(&gateway, Reason::NoFrame);
}

fn punts(seen: &mut Seen) {
    let mut gateway = Gateway::new();
    let mut message = vec![0x11; 28];
    message[8..16].fill(0);
    message[24..28].copy_from_slice(&28_u32.to_be_bytes());
    let frame = from_client(Protocol::UDP, &udp(500, 500, &message));
    for _ in 0..40 {
        gateway.up(&vec![frame.clone(); 64]);
    }
    seen.expect(&gateway, Reason::PuntQueue);
    seen.expect(&gateway, Reason::PuntRate);
}

#[test]
fn a_named_nic_without_next_hop_drops_and_says_so() {
    let mut config = config();
    config.core = CoreDevice::Nic(config.outer.clone());
    let mut gateway = Gateway::with(&config, 1);
    let client = Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::Esp);
    client.install(&mut gateway);
    gateway.up(&[sealed(&client, 1, &inner(INNER, HOST), Protocol::UDP)]);
    assert_eq!(gateway.drops(), [(Reason::NoNeighbour.name(), 1)]);
}

/// RFC 6040 §4.2, figure 4, row by row: inner marks, and for each outer mark what comes out.
#[test]
fn congestion_marks_come_out_as_the_table_says() {
    // Codepoints: 0 not capable, 1 ECT(1), 2 ECT(0), 3 congested.
    let table: [(u8, [Option<u8>; 4]); 4] = [
        (0, [Some(0), Some(0), Some(0), None]),
        (2, [Some(2), Some(1), Some(2), Some(3)]),
        (1, [Some(1), Some(1), Some(1), Some(3)]),
        (3, [Some(3), Some(3), Some(3), Some(3)]),
    ];
    let (mut gateway, client) = native();
    let mut sequence = 0;
    for (inner, row) in table {
        for (outer, expected) in (0..).zip(row) {
            sequence += 1;
            let mut packet = ip(INNER, HOST, Protocol(253), &[0; 20]);
            ipv4::set_traffic_class(&mut packet, 0xB8 | inner);
            let ppp = [&[0x21][..], &packet].concat();
            let mut frame = sealed(&client, sequence, &data(&ppp), Protocol::UDP);
            ipv4::set_traffic_class(&mut frame[14..], outer);
            let sent = gateway.up(&[frame]);
            let mark = sent.first().map(|frame| packet_of(frame).traffic_class());
            assert_eq!(
                mark,
                expected.map(|mark| 0xB8 | mark),
                "inner {inner}, outer {outer}"
            );
        }
    }
}

/// RFC 6040 §4.1: down, the outer header carries the inner mark, and no DSCP.
#[test]
fn an_inner_congestion_mark_is_copied_outside() {
    let (mut gateway, _) = native();
    for mark in 0..4 {
        let mut packet = ip(HOST, INNER, Protocol(253), &[0; 20]);
        ipv4::set_traffic_class(&mut packet, 0xB8 | mark);
        let sent = gateway.down(&[from_core(&packet)]);
        assert_eq!(packet_of(&sent[0]).traffic_class(), mark);
    }
}

/// What a client sends is bounded by the core link too: an outer datagram of many fragments may bring more.
#[test]
fn what_the_core_link_does_not_carry_is_cut_or_refused() {
    let (mut gateway, client) = native();
    let long = |dont_fragment: bool| {
        let mut packet = ip(INNER, HOST, Protocol(253), &[7; 2_000]);
        if dont_fragment {
            packet[6] = 0x40;
            packet[10..12].fill(0);
            let checksum = culvert_wire::checksum::of(&packet[..20]);
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        data(&[&[0x21][..], &packet].concat())
    };
    let whole = sealed(&client, 1, &long(false), Protocol::UDP);
    let sent = gateway.up(&fragments(&whole, 1_200));
    let lens: Vec<_> = sent
        .iter()
        .map(|frame| packet_of(frame).payload().len())
        .collect();
    assert_eq!(lens, [1_480, 520]);
    assert!(packet_of(&sent[0]).more_fragments() && packet_of(&sent[1]).fragment_offset() == 1_480);
    let refused = sealed(&client, 2, &long(true), Protocol::UDP);
    assert_eq!(gateway.up(&fragments(&refused, 1_200)).len(), 0);
    assert_eq!(gateway.drops(), [(Reason::TooBig.name(), 1)]);
    // The client is told, inside its tunnel.
    assert!(gateway.outer.take().is_some());
    gateway.assert_accounted();
}

/// THREATS E12: trailers of every kind give the right packet or a counted drop, never a wrong one.
#[test]
fn trailers_of_every_kind_are_bounded() {
    let (mut gateway, client) = native();
    let payload = inner(INNER, HOST);
    let padded = |pad: usize, claimed: u8, next_header: u8| {
        let mut plaintext = payload.clone();
        plaintext.resize(payload.len() + pad, 0xEE);
        plaintext.extend([claimed, next_header]);
        plaintext
    };
    // Padding that counts, does not, is as long as can be, and more of it than alignment needs.
    for (sequence, pad) in (1..).zip([0_u8, 1, 3, 4, 254, 255]) {
        let sent = gateway.up(&[sealed_raw(
            &client,
            sequence,
            &padded(usize::from(pad), pad, 17),
        )]);
        assert_eq!(sent.len(), 1, "{pad}: {:?}", gateway.drops());
        assert_eq!(packet_of(&sent[0]).payload(), [9; 40]);
    }
    let drops = [
        // A pad length one more than there is, and one that leaves nothing.
        (vec![0, 0, 3, 17], Reason::BadPadding),
        (vec![1, 2, 2, 17], Reason::InnerUdpMalformed),
        (vec![0, 17], Reason::InnerUdpMalformed),
        (vec![17], Reason::BadPadding),
        (vec![], Reason::BadPadding),
        (vec![0, 59], Reason::Dummy),
    ];
    for (sequence, (plaintext, reason)) in (100..).zip(drops) {
        let before = gateway.dropped(reason);
        assert_eq!(
            gateway
                .up(&[sealed_raw(&client, sequence, &plaintext)])
                .len(),
            0
        );
        assert_eq!(
            gateway.dropped(reason),
            before + 1,
            "{plaintext:?} {:?}",
            gateway.drops()
        );
    }
    gateway.assert_accounted();
}

/// THREATS L5: a tunnel that exists inside an SA is not reached in the clear, also where clear L2TP is allowed.
#[test]
fn a_sealed_sets_session_is_not_reached_in_the_clear() {
    let mut config = config();
    config.clear_l2tp = vec![SERVER.into()];
    let mut gateway = Gateway::with(&config, 1);
    let mut client = Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::EspInUdp);
    client.remote.set_port(1_701);
    client.install(&mut gateway);
    let packet = inner(INNER, HOST);
    assert_eq!(gateway.up(&[from_client(Protocol::UDP, &packet)]).len(), 0);
    assert_eq!(gateway.drops(), [(Reason::ClearUnknown.name(), 1)]);
    // What tunnels without ESP is not even looked at (THREATS L5: GRE, IP in IP).
    for protocol in [4, 41, 47, 115] {
        assert_eq!(
            gateway
                .up(&[from_client(Protocol(protocol), &packet)])
                .len(),
            0
        );
    }
    assert_eq!(gateway.dropped(Reason::NotOurs), 4);
}

/// RFC 2661 §3.1 and RFC 1661 §6: the inner packet is found behind every header that is allowed, also when each differs from the last.
#[test]
fn every_legal_header_leads_to_the_same_packet() {
    let (mut gateway, client) = native();
    let packet = ip(INNER, HOST, Protocol(253), &[9; 40]);
    let mut sequence = 0;
    for bits in 0..16_u16 {
        for ppp in [
            &[0xFF, 0x03, 0x00, 0x21][..],
            &[0xFF, 0x03, 0x21],
            &[0x00, 0x21],
            &[0x21],
        ] {
            for pad in [0, 1, 7, 300] {
                sequence += 1;
                let message = l2tp(bits, pad, &[ppp, &packet].concat());
                let frame = sealed(
                    &client,
                    sequence,
                    &udp(1_701, 1_701, &message),
                    Protocol::UDP,
                );
                let sent = gateway.up(&[frame]);
                assert_eq!(
                    sent.len(),
                    1,
                    "{bits:04b} {ppp:02x?} {pad} {:?}",
                    gateway.drops()
                );
                assert_eq!(packet_of(&sent[0]).payload(), [9; 40]);
                assert_eq!((packet_of(&sent[0]).total_len(), sent[0].len()), (60, 74));
            }
        }
    }
    gateway.assert_accounted();
}

/// An L2TP data message with length, sequence, offset and priority as the four bits say, and bytes behind what the length counts.
fn l2tp(bits: u16, pad: u16, payload: &[u8]) -> Vec<u8> {
    let has = |bit: u16| bits & (1 << bit) != 0;
    let flags = [(0, 0x4000), (1, 0x0800), (2, 0x0200), (3, 0x0100)];
    let flags: u16 = flags
        .iter()
        .filter(|(bit, _)| has(*bit))
        .map(|(_, flag)| flag)
        .sum();
    let mut message = (flags | 2).to_be_bytes().to_vec();
    if has(0) {
        let header = 8 + if has(1) { 4 } else { 0 } + if has(2) { 2 + pad } else { 0 };
        message.extend((header + payload.len() as u16).to_be_bytes());
    }
    message.extend([0x11, 0x11, 0x22, 0x22]);
    if has(1) {
        message.extend([0, 5, 0, 0]);
    }
    if has(2) {
        message.extend(pad.to_be_bytes());
        message.extend(vec![0xEE; usize::from(pad)]);
    }
    message.extend(payload);
    if has(0) {
        message.extend([0xDD; 3]);
    }
    message
}
