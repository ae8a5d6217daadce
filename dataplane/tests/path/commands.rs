//! What control's commands do, and what the path tells control unasked.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use culvert_crypto::{AesKey, Engine, Integrity, SealContext, SealOp, Suite};
use culvert_dataplane::api::{
    Activation, Answer, Command, Destination, Encapsulation, Event, Held, Phase, Refusal,
    SessionRow, SetId, Spi, Start, Ticket, Transmit, TunnelId,
};
use culvert_dataplane::link::Report;
use culvert_dataplane::mem::continuity::{self, Continuity};
use culvert_dataplane::verdict::{PuntKind, Reason};
use culvert_wire::ipv4::Protocol;
use culvert_wire::{esp, udp};

use crate::gateway::{
    CLIENT, Client, Gateway, HOST, INNER, OUTER_MAC, ROUTER_MAC, SERVER, config, frame, from_core,
    ip, packet_of, udp as datagram,
};

/// A sealed packet from `client` with this plaintext payload and next header.
pub(crate) fn sealed(
    client: &Client,
    sequence: u32,
    payload: &[u8],
    next_header: Protocol,
) -> Vec<u8> {
    let trailer = esp::Trailer::aligning(payload.len(), client.suite.alignment(), next_header);
    let mut plaintext = payload.to_vec();
    plaintext.resize(trailer.plaintext_len(), 0);
    trailer.emit(&mut plaintext[payload.len()..]).unwrap();
    sealed_raw(client, sequence, &plaintext)
}

/// A sealed packet whose plaintext, trailer included, is given.
pub(crate) fn sealed_raw(client: &Client, sequence: u32, plaintext: &[u8]) -> Vec<u8> {
    let context = SealContext::new(Engine::PORTABLE, client.suite, &client.inbound_key).unwrap();
    let header = esp::header(client.inbound, sequence);
    let mut body = vec![0; client.suite.sealed_len(plaintext.len())];
    let iv = context.iv(u64::from(sequence));
    let op = SealOp::new(&context, &header, iv, plaintext, &mut body).unwrap();
    Engine::PORTABLE.seal_burst(&mut [op]);
    let packet = [&header[..], &body].concat();
    wrapped(client, client.remote, &packet)
}

/// An ESP packet in a frame to us, as the client's set wraps it.
pub(crate) fn wrapped(client: &Client, from: SocketAddrV4, packet: &[u8]) -> Vec<u8> {
    let packet = match client.encapsulation {
        Encapsulation::EspInUdp => ip(
            *from.ip(),
            SERVER,
            Protocol::UDP,
            &datagram(from.port(), 4_500, packet),
        ),
        _ => ip(*from.ip(), SERVER, Protocol::ESP, packet),
    };
    frame(ROUTER_MAC, OUTER_MAC, &packet)
}

/// L2TP data of the client's session around a PPP frame, inside UDP.
pub(crate) fn data(ppp: &[u8]) -> Vec<u8> {
    let message = [&[0, 2, 0x11, 0x11, 0x22, 0x22][..], ppp].concat();
    datagram(1_701, 1_701, &message)
}

/// An inner IPv4 packet in PPP.
pub(crate) fn inner(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let packet = ip(source, destination, Protocol(253), &[9; 40]);
    data(&[&[0xFF, 0x03, 0x00, 0x21][..], &packet].concat())
}

fn good(client: &Client, sequence: u32) -> Vec<u8> {
    sealed(client, sequence, &inner(INNER, HOST), Protocol::UDP)
}

fn natted() -> Client {
    Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::EspInUdp)
}

/// SPI and sequence number of a frame that a native set sent.
fn esp_of(frame: &[u8]) -> (Spi, u32) {
    let packet = packet_of(frame);
    let payload = match packet.protocol() {
        Protocol::UDP => udp::Datagram::parse(packet.payload()).unwrap().payload(),
        _ => packet.payload(),
    };
    let esp = esp::Packet::parse(payload).unwrap();
    (esp.spi, esp.sequence)
}

fn sent_with(gateway: &mut Gateway) -> Option<(Spi, u32)> {
    let packet = ip(HOST, INNER, Protocol(253), &[1; 30]);
    gateway
        .down(&[from_core(&packet)])
        .first()
        .map(|frame| esp_of(frame))
}

#[test]
fn the_first_packet_is_told_once_and_its_twin_then_seals() {
    let old = Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::Esp);
    let mut gateway = Gateway::new();
    old.install(&mut gateway);
    let mut new = old.clone();
    (new.inbound, new.outbound) = (Spi(0x0001_0777), Spi(0xBBBB));
    let mut outbound = new.outbound_spec();
    outbound.activation = Activation::WhenPeerHasIt;
    gateway.command(Command::AddInbound(new.inbound_spec()));
    gateway.command(Command::AddOutbound(outbound));
    assert_eq!(sent_with(&mut gateway), Some((old.outbound, 1)));
    assert_eq!(gateway.up(&[good(&new, 1), good(&new, 2)]).len(), 2);
    assert_eq!(gateway.events(), [Event::InboundUsed(new.inbound)]);
    assert_eq!(sent_with(&mut gateway), Some((new.outbound, 1)));
    // The old twin's packets are still good, and do not turn the set back.
    assert_eq!(gateway.up(&[good(&old, 1)]).len(), 1);
    assert_eq!(sent_with(&mut gateway), Some((new.outbound, 2)));
}

#[test]
fn control_may_switch_and_removal_leaves_the_newest() {
    let first = Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::Esp);
    let mut gateway = Gateway::new();
    first.install(&mut gateway);
    for number in 1..4 {
        let mut client = first.clone();
        (client.inbound, client.outbound) = (Spi(0x0001_0000 * number), Spi(0xB000 + number));
        let mut outbound = client.outbound_spec();
        outbound.activation = Activation::WhenPeerHasIt;
        gateway.command(Command::AddInbound(client.inbound_spec()));
        gateway.command(Command::AddOutbound(outbound));
    }
    let mut fifth = first.clone();
    fifth.inbound = Spi(0x0005_0000);
    assert_eq!(
        gateway.try_command(Command::AddInbound(fifth.inbound_spec())),
        Err(Refusal::Exhausted)
    );
    let set = first.set;
    gateway.command(Command::UseOutbound {
        set,
        spi: Spi(0xB001),
    });
    assert_eq!(sent_with(&mut gateway), Some((Spi(0xB001), 1)));
    gateway.command(Command::RemoveOutbound {
        set,
        spi: Spi(0xB001),
    });
    assert_eq!(sent_with(&mut gateway), Some((Spi(0xB003), 1)));
    for spi in [0xB003, 0xB002] {
        gateway.command(Command::RemoveOutbound { set, spi: Spi(spi) });
    }
    assert_eq!(sent_with(&mut gateway), Some((first.outbound, 1)));
    gateway.command(Command::RemoveOutbound {
        set,
        spi: first.outbound,
    });
    assert_eq!(sent_with(&mut gateway), None);
    assert_eq!(gateway.dropped(Reason::NoOutbound), 1);
    gateway.assert_accounted();
}

/// THREATS D7.
#[test]
fn only_the_newest_authentic_packet_moves_the_endpoint_and_once_a_second() {
    let client = natted();
    let mut gateway = Gateway::new();
    client.install(&mut gateway);
    let elsewhere = |port| SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 9), port);
    let from = |client: &Client, sequence, remote| {
        let moved = Client {
            remote,
            ..client.clone()
        };
        good(&moved, sequence)
    };
    gateway.up(&[good(&client, 10)]);
    gateway.events();
    // Replayed, older, and forged packets from elsewhere move nothing.
    let mut forged = from(&client, 30, elsewhere(1));
    *forged.last_mut().unwrap() ^= 1;
    gateway.up(&[
        from(&client, 10, elsewhere(2)),
        from(&client, 9, elsewhere(3)),
        forged,
    ]);
    assert_eq!(gateway.events(), []);
    gateway.up(&[from(&client, 11, elsewhere(4_444))]);
    let moved = |port| Event::EndpointMoved {
        set: client.set,
        remote: elsewhere(port).into(),
    };
    assert_eq!(gateway.events(), [moved(4_444)]);
    let sent = gateway.down(&[from_core(&ip(HOST, INNER, Protocol(253), &[0; 9]))]);
    let packet = packet_of(&sent[0]);
    let ports = udp::Datagram::parse(packet.payload()).unwrap();
    assert_eq!(
        (packet.destination(), ports.destination_port().0),
        (*elsewhere(0).ip(), 4_444)
    );
    gateway.pass(Duration::from_millis(999));
    gateway.up(&[from(&client, 12, elsewhere(5_555))]);
    assert_eq!(gateway.events(), []);
    gateway.pass(Duration::from_millis(1));
    gateway.up(&[from(&client, 13, elsewhere(5_555))]);
    assert_eq!(gateway.events(), [moved(5_555)]);
    gateway.assert_accounted();
}

/// THREATS E3: sequence numbers stop; they do not begin again.
#[test]
fn an_exhausted_sa_stops_and_control_is_told() {
    let client = Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::Esp);
    let memory = continuity::create(1, 1_024).unwrap();
    preset(&memory, &client, (1 << 31) - 2);
    let mut gateway = Gateway::on(&config(), &memory, 0..1, 1_024);
    continued(&client, &mut gateway);
    assert_eq!(
        sent_with(&mut gateway),
        Some((client.outbound, (1 << 31) - 2))
    );
    assert_eq!(gateway.events(), []);
    sent_with(&mut gateway);
    sent_with(&mut gateway);
    let low = |left| Event::SequenceLow {
        set: client.set,
        spi: client.outbound,
        left,
    };
    assert_eq!(gateway.events(), [low(1 << 31)]);
    drop(gateway);
    preset(&memory, &client, u64::from(u32::MAX));
    let mut gateway = Gateway::on(&config(), &memory, 0..1, 1_024);
    continued(&client, &mut gateway);
    assert_eq!(sent_with(&mut gateway), Some((client.outbound, u32::MAX)));
    assert_eq!(sent_with(&mut gateway), None);
    assert_eq!(sent_with(&mut gateway), None);
    assert_eq!(gateway.events(), [low(1), low(0)]);
    assert_eq!(gateway.dropped(Reason::SequenceExhausted), 2);
    gateway.assert_accounted();
}

fn preset(memory: &std::os::fd::OwnedFd, client: &Client, next: u64) {
    let mut continuity = Continuity::open(memory).unwrap();
    let slot = continuity
        .slot(culvert_dataplane::api::spi::index(client.inbound))
        .unwrap();
    (*slot.inbound, *slot.outbound, *slot.next_outbound) =
        (client.inbound.0, client.outbound.0, next);
}

fn continued(client: &Client, gateway: &mut Gateway) {
    gateway.command(Command::OpenSet(client.set_spec()));
    let (mut inbound, mut outbound) = (client.inbound_spec(), client.outbound_spec());
    (inbound.start, outbound.start) = (Start::Continued, Start::Continued);
    gateway.command(Command::AddInbound(inbound));
    gateway.command(Command::AddOutbound(outbound));
    gateway.command(Command::OpenSession(client.session_spec()));
}

/// A new process goes on where the dead one stopped: no number is used twice, nothing recorded is accepted again.
#[test]
fn numbers_and_window_outlive_the_worker() {
    let client = Client::new(Suite::AesGcm(AesKey::Bits256), Encapsulation::Esp);
    let memory = continuity::create(1, 1_024).unwrap();
    let mut gateway = Gateway::on(&config(), &memory, 0..1, 1_024);
    client.install(&mut gateway);
    assert_eq!(gateway.up(&[good(&client, 5), good(&client, 7)]).len(), 2);
    assert_eq!(sent_with(&mut gateway), Some((client.outbound, 1)));
    drop(gateway);
    let mut gateway = Gateway::on(&config(), &memory, 0..1, 1_024);
    continued(&client, &mut gateway);
    assert_eq!(gateway.up(&[good(&client, 5), good(&client, 7)]).len(), 0);
    assert_eq!(gateway.dropped(Reason::ReplayDuplicate), 2);
    assert_eq!(gateway.up(&[good(&client, 6)]).len(), 1);
    assert_eq!(sent_with(&mut gateway), Some((client.outbound, 2)));
}

#[test]
fn continuing_what_is_not_there_is_refused() {
    let client = natted();
    let mut gateway = Gateway::new();
    gateway.command(Command::OpenSet(client.set_spec()));
    let mut inbound = client.inbound_spec();
    inbound.start = Start::Continued;
    assert_eq!(
        gateway.try_command(Command::AddInbound(inbound)),
        Err(Refusal::NotContinued)
    );
    gateway.command(Command::AddInbound(client.inbound_spec()));
    let mut outbound = client.outbound_spec();
    outbound.start = Start::Continued;
    assert_eq!(
        gateway.try_command(Command::AddOutbound(outbound)),
        Err(Refusal::NotContinued)
    );
}

#[test]
fn a_closed_set_takes_everything_with_it() {
    let client = natted();
    let mut gateway = Gateway::new();
    client.install(&mut gateway);
    gateway.command(Command::CloseSet(client.set));
    assert_eq!(gateway.up(&[good(&client, 1)]).len(), 0);
    assert_eq!(gateway.dropped(Reason::UnknownSpi), 1);
    assert_eq!(sent_with(&mut gateway), None);
    assert_eq!(gateway.dropped(Reason::NoRoute), 1);
    assert_eq!(
        gateway.try_command(Command::CloseSession(client.row)),
        Err(Refusal::Absent)
    );
    assert_eq!(
        gateway.try_command(Command::CloseSet(client.set)),
        Err(Refusal::Absent)
    );
    // The rows are free for another client with the same ids and address.
    client.install(&mut gateway);
    assert_eq!(gateway.up(&[good(&client, 1)]).len(), 1);
}

#[test]
fn what_is_out_of_range_is_refused() {
    let client = natted();
    let mut gateway = Gateway::new();
    client.install(&mut gateway);
    let set = |change: fn(&mut culvert_dataplane::api::SetSpec)| {
        let mut spec = client.set_spec();
        change(&mut spec);
        Command::OpenSet(spec)
    };
    let inbound = |change: fn(&mut culvert_dataplane::api::InboundSpec)| {
        let mut spec = client.inbound_spec();
        change(&mut spec);
        Command::AddInbound(spec)
    };
    let session = |change: fn(&mut culvert_dataplane::api::SessionSpec)| {
        let mut spec = client.session_spec();
        spec.row = SessionRow(6);
        spec.phase = Phase::Negotiating;
        change(&mut spec);
        Command::OpenSession(spec)
    };
    let table = [
        (set(|spec| spec.id = SetId(64)), Refusal::NoSuchRow),
        (
            set(|spec| spec.remote = "[::1]:4500".parse().unwrap()),
            Refusal::Invalid,
        ),
        (set(|spec| spec.remote.set_port(0)), Refusal::Invalid),
        (inbound(|spec| spec.replay_window = 0), Refusal::Invalid),
        (inbound(|spec| spec.replay_window = 100), Refusal::Invalid),
        (inbound(|spec| spec.replay_window = 8_256), Refusal::Invalid),
        (
            inbound(|spec| spec.suite = Suite::AesCbcHmac(AesKey::Bits128, Integrity::Sha1_96)),
            Refusal::Invalid,
        ),
        (inbound(|spec| spec.spi = Spi(255)), Refusal::Invalid),
        (
            inbound(|spec| spec.spi = Spi(0x7FFF_0000)),
            Refusal::NoSuchRow,
        ),
        (inbound(|spec| spec.spi = Spi(0x7ABD)), Refusal::Exhausted),
        (
            session(|spec| spec.row = SessionRow(64)),
            Refusal::NoSuchRow,
        ),
        (session(|spec| spec.set = SetId(9)), Refusal::Absent),
        (session(|_| ()), Refusal::Invalid),
        (
            session(|spec| spec.local_tunnel = TunnelId(0)),
            Refusal::Invalid,
        ),
        (
            session(|spec| {
                spec.local_tunnel = TunnelId(5);
                spec.phase = Phase::Open {
                    address: INNER,
                    mru: 1_400,
                };
            }),
            Refusal::Invalid,
        ),
        (Command::RemoveInbound(Spi(0x7ABD)), Refusal::Absent),
        (
            Command::RemoveOutbound {
                set: client.set,
                spi: Spi(1),
            },
            Refusal::Absent,
        ),
        (
            Command::UseOutbound {
                set: client.set,
                spi: Spi(1),
            },
            Refusal::Absent,
        ),
        (
            transmit(Destination::Ppp(SessionRow(6)), 4),
            Refusal::Absent,
        ),
        (
            transmit(Destination::Ppp(client.row), 3_800),
            Refusal::TooLong,
        ),
        (transmit(Destination::Ppp(client.row), 1), Refusal::Invalid),
    ];
    for (command, expected) in table {
        let shown = format!("{command:?}");
        assert_eq!(gateway.try_command(command), Err(expected), "{shown}");
    }
    // All that was refused changed nothing.
    assert_eq!(gateway.up(&[good(&client, 1)]).len(), 1);
    gateway.assert_accounted();
}

fn transmit(to: Destination, len: usize) -> Command {
    Command::Transmit(Transmit {
        to,
        bytes: vec![0xC0; len],
    })
}

#[test]
fn an_inventory_names_every_row_and_ends() {
    let client = natted();
    let mut gateway = Gateway::new();
    client.install(&mut gateway);
    gateway.command(Command::Inventory);
    for _ in 0..100 {
        gateway.turn();
    }
    let expected = [
        Event::Held(Held::Set {
            id: client.set,
            remote: client.remote.into(),
        }),
        Event::Held(Held::Session {
            row: client.row,
            set: client.set,
            address: Some(INNER),
        }),
        Event::Held(Held::Inbound {
            spi: client.inbound,
            set: client.set,
        }),
        Event::InventoryEnd,
    ];
    assert_eq!(gateway.events(), expected);
}

#[test]
fn an_ike_message_leaves_with_its_marker_and_long_ones_in_fragments() {
    let mut gateway = Gateway::new();
    for (port, marker) in [(500, &[][..]), (4_500, &[0; 4][..])] {
        let message: Vec<u8> = (0..2_000).map(|at| at as u8).collect();
        let to = Destination::Ike {
            local: (SERVER, port).into(),
            remote: (CLIENT, 32_000).into(),
        };
        gateway.command(Command::Transmit(Transmit {
            to,
            bytes: message.clone(),
        }));
        let frames: Vec<_> = std::iter::from_fn(|| gateway.outer.take()).collect();
        assert_eq!(frames.len(), 2);
        let mut whole = Vec::new();
        for frame in &frames {
            assert_eq!(packet_of(frame).fragment_offset(), whole.len());
            whole.extend(packet_of(frame).payload());
        }
        let datagram = udp::Datagram::parse(&whole).unwrap();
        assert_eq!(
            (datagram.source_port().0, datagram.destination_port().0),
            (port, 32_000)
        );
        assert_eq!(datagram.payload(), [marker, &message].concat());
    }
    assert_eq!(
        (
            gateway.counters().control.originated,
            gateway.counters().control.sent
        ),
        (2, 4)
    );
    gateway.assert_accounted();
}

#[test]
fn a_packet_leaves_before_the_change_that_follows_it() {
    let client = natted();
    let mut gateway = Gateway::new();
    client.install(&mut gateway);
    let to = Destination::L2tp {
        set: client.set,
        local_port: 1_701,
        remote_port: 1_701,
    };
    gateway
        .link
        .submit(Ticket(900), transmit(to, 20), None)
        .unwrap();
    gateway
        .link
        .submit(Ticket(901), Command::CloseSet(client.set), None)
        .unwrap();
    gateway.turn();
    assert!(gateway.outer.take().is_some());
    let answers = gateway
        .reports
        .iter()
        .filter(|report| matches!(report, Report::Answer(Answer::Done(_))));
    assert_eq!(answers.count(), 2);
}

#[test]
fn a_named_nic_asks_for_next_hops_and_remembers_them() {
    let mut config = config();
    config.core = culvert_dataplane::api::CoreDevice::Nic(config.outer.clone());
    let mut gateway = Gateway::with(&config, 1);
    let client = natted();
    client.install(&mut gateway);
    assert_eq!(gateway.up(&[good(&client, 1), good(&client, 2)]).len(), 0);
    assert_eq!(gateway.dropped(Reason::NoNeighbour), 2);
    let wants = gateway
        .reports
        .iter()
        .filter(|report| matches!(report, Report::WantNeighbour(HOST)));
    assert_eq!(wants.count(), 1);
    let next_hop = culvert_wire::eth::MacAddress([2, 9, 9, 9, 9, 9]);
    gateway.link.set_neighbour(HOST, Some(next_hop)).unwrap();
    gateway.turn();
    let sent = gateway.up(&[good(&client, 3)]);
    assert_eq!(sent[0][..6], next_hop.0);
    gateway.assert_accounted();
}

#[test]
fn a_set_without_next_hop_sends_once_it_is_told() {
    let client = natted();
    let mut gateway = Gateway::new();
    gateway
        .link
        .submit(Ticket(900), Command::OpenSet(client.set_spec()), None)
        .unwrap();
    gateway.command(Command::AddInbound(client.inbound_spec()));
    gateway.command(Command::AddOutbound(client.outbound_spec()));
    gateway.command(Command::OpenSession(client.session_spec()));
    assert_eq!(sent_with(&mut gateway), None);
    assert_eq!(gateway.dropped(Reason::NoNextHop), 1);
    gateway.link.set_next_hop(client.set, ROUTER_MAC).unwrap();
    assert_eq!(sent_with(&mut gateway), Some((client.outbound, 1)));
}

/// THREATS L6: one client's ids do not open another client's session.
#[test]
fn a_client_cannot_use_anothers_session() {
    let first = natted();
    let mut second = natted();
    (second.set, second.row, second.inbound, second.outbound) =
        (SetId(4), SessionRow(6), Spi(0x2_0000), Spi(0xCCCC));
    second.address = Ipv4Addr::new(10, 99, 1, 11);
    let mut gateway = Gateway::new();
    first.install(&mut gateway);
    gateway.command(Command::OpenSet(second.set_spec()));
    gateway.command(Command::AddInbound(second.inbound_spec()));
    assert_eq!(gateway.up(&[good(&second, 1)]).len(), 0);
    assert_eq!(gateway.dropped(Reason::UnknownSession), 1);
    // With a session of its own and equal ids, each reaches its own.
    gateway.command(Command::OpenSession(second.session_spec()));
    let own = sealed(&second, 2, &inner(second.address, HOST), Protocol::UDP);
    assert_eq!(
        gateway.up(&[own, good(&first, 1), good(&second, 3)]).len(),
        2
    );
    assert_eq!(gateway.dropped(Reason::InnerSource), 1);
    gateway.assert_accounted();
}

#[test]
fn first_ike_messages_do_not_crowd_out_established_ones() {
    let mut gateway = Gateway::new();
    let message = |responder: u8| {
        let mut message = vec![0x11; 28];
        message[8..16].fill(responder);
        message[24..28].copy_from_slice(&28_u32.to_be_bytes());
        crate::gateway::from_client(Protocol::UDP, &datagram(500, 500, &message))
    };
    for _ in 0..40 {
        gateway.up(&vec![message(0); 64]);
    }
    assert!(gateway.dropped(Reason::PuntQueue) > 0 && gateway.dropped(Reason::PuntRate) > 0);
    gateway.up(&[message(9)]);
    assert!(
        gateway
            .punts()
            .iter()
            .any(|punted| punted.kind == PuntKind::Ike)
    );
    gateway.assert_accounted();
}

/// THREATS E3: every packet of an SA has a number of its own, in order, whatever else goes on.
#[test]
fn no_sequence_number_is_used_twice() {
    let client = natted();
    let mut gateway = Gateway::new();
    client.install(&mut gateway);
    let packet = from_core(&ip(HOST, INNER, Protocol(253), &[1; 2_000]));
    let mut numbers = Vec::new();
    for _ in 0..50 {
        gateway
            .link
            .submit(
                Ticket(900),
                transmit(Destination::Ppp(client.row), 20),
                None,
            )
            .unwrap();
        numbers.extend(
            gateway
                .down(&vec![packet.clone(); 64])
                .iter()
                .map(|frame| esp_of(frame).1),
        );
    }
    assert_eq!(numbers, (1..=50 * (2 * 64 + 1)).collect::<Vec<_>>());
}

/// THREATS D7, E1: whoever guesses the SPI but not the key moves neither endpoint nor window.
#[test]
fn spoofed_packets_with_the_right_spi_move_nothing() {
    let client = natted();
    let mut gateway = Gateway::new();
    client.install(&mut gateway);
    gateway.up(&[good(&client, 1)]);
    gateway.events();
    let mut state = 0x9E37_79B9_u32;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let mut spoofed = 0;
    for _ in 0..200 {
        let burst: Vec<_> = (0..64)
            .map(|_| {
                let body: Vec<u8> = (0..60).map(|_| random() as u8).collect();
                let packet = [&esp::header(client.inbound, random() | 2)[..], &body].concat();
                let from = Ipv4Addr::from_bits(0xCB00_7100 | (random() & 0xFF));
                wrapped(
                    &client,
                    SocketAddrV4::new(from, random() as u16 | 1),
                    &packet,
                )
            })
            .collect();
        spoofed += burst.len() as u64;
        assert_eq!(gateway.up(&burst).len(), 0);
    }
    assert_eq!(
        (gateway.dropped(Reason::Forged), gateway.events()),
        (spoofed, vec![])
    );
    let sent = gateway.down(&[from_core(&ip(HOST, INNER, Protocol(253), &[0; 9]))]);
    assert_eq!(packet_of(&sent[0]).destination(), CLIENT);
    assert_eq!(gateway.up(&[good(&client, 2)]).len(), 1);
    gateway.assert_accounted();
}
