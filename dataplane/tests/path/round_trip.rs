//! Two gateways back to back: what one sends to its client, the other opens as if from its client.

use culvert_crypto::{AesKey, Integrity, Suite};
use culvert_dataplane::api::{
    Command, Destination, Encapsulation, PppFraming, PuntSource, Sequencing, Transmit,
};
use culvert_dataplane::verdict::{PuntKind, Reason};
use culvert_wire::icmp::{Echo, EchoKind};
use culvert_wire::ipv4::{self, Protocol};
use culvert_wire::{eth, tcp, udp};

use crate::gateway::{
    CLIENT, CORE_MAC, Client, Gateway, HOST, INNER, KERNEL_MAC, OUTER_MAC, ROUTER_MAC, SERVER,
    from_core, ip, packet_of,
};

const ENCAPSULATIONS: [Encapsulation; 2] = [Encapsulation::Esp, Encapsulation::EspInUdp];

/// A gateway and one that stands in for its client, whose only session is the network's host.
struct Pair {
    ours: Gateway,
    client: Client,
    theirs: Gateway,
}

impl Pair {
    fn new(client: Client) -> Self {
        let mut mirror = client.mirrored();
        mirror.address = HOST;
        let mut config = crate::gateway::config();
        config.clear_l2tp = config.local_addresses.clone();
        let (mut ours, mut theirs) = (Gateway::with(&config, 1), Gateway::with(&config, 1));
        client.install(&mut ours);
        theirs.command(Command::OpenSet(mirror.set_spec()));
        if client.encapsulation != Encapsulation::Clear {
            theirs.command(Command::AddInbound(mirror.inbound_spec()));
            theirs.command(Command::AddOutbound(mirror.outbound_spec()));
        }
        let mut session = mirror.session_spec();
        std::mem::swap(&mut session.local_tunnel, &mut session.peer_tunnel);
        std::mem::swap(&mut session.local_session, &mut session.peer_session);
        theirs.command(Command::OpenSession(session));
        Self {
            ours,
            client,
            theirs,
        }
    }

    /// What the client gets of packets from the network: outer frames, then inner packets.
    fn send_to_client(&mut self, packets: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let frames: Vec<_> = packets.iter().map(|packet| from_core(packet)).collect();
        let sealed = self.ours.down(&frames);
        let returned: Vec<_> = sealed.iter().map(|frame| self.turned(frame)).collect();
        let opened = self
            .theirs
            .up(&returned)
            .iter()
            .map(|frame| frame[14..].to_vec())
            .collect();
        (sealed, opened)
    }

    /// The frame as the other gateway would get it: addresses and ports exchanged, outer checksum kept right by symmetry.
    fn turned(&self, frame: &[u8]) -> Vec<u8> {
        let mut frame = frame.to_vec();
        ipv4::swap_addresses(&mut frame[14..]);
        if packet_of(&frame).protocol() == Protocol::UDP
            && self.client.encapsulation == Encapsulation::EspInUdp
            && packet_of(&frame).fragment_offset() == 0
        {
            let (from, to) = frame[34..38].split_at_mut(2);
            from.swap_with_slice(to);
        }
        frame
    }

    fn assert_accounted(&self) {
        self.ours.assert_accounted();
        self.theirs.assert_accounted();
    }
}

/// An inner packet to the client of `len` bytes in all.
fn inner(len: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..len - 20).map(|at| (at * 7) as u8).collect();
    ip(HOST, INNER, Protocol(253), &payload)
}

/// What is left of a packet after as many hops.
fn after_hops(packet: &[u8], hops: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    for _ in 0..hops {
        ipv4::decrement_ttl(&mut packet).unwrap();
    }
    packet
}

#[test]
fn every_suite_and_encapsulation_carries_every_length_both_ways() {
    for suite in Suite::ALL {
        for encapsulation in ENCAPSULATIONS {
            let mut pair = Pair::new(Client::new(suite, encapsulation));
            let packets: Vec<_> = (20..130)
                .chain([575, 576, 577, 1_279, 1_280, 1_360])
                .map(inner)
                .collect();
            let (sealed, opened) = pair.send_to_client(&packets);
            assert_eq!(
                sealed.len(),
                packets.len(),
                "{suite:?} {:?}",
                pair.ours.drops()
            );
            let expected: Vec<_> = packets.iter().map(|packet| after_hops(packet, 2)).collect();
            assert_eq!(
                opened,
                expected,
                "{suite:?} {encapsulation:?} {:?}",
                pair.theirs.drops()
            );
            pair.assert_accounted();
        }
    }
}

#[test]
fn outer_headers_are_those_of_the_set() {
    for encapsulation in ENCAPSULATIONS {
        let mut pair = Pair::new(Client::new(Suite::AesGcm(AesKey::Bits128), encapsulation));
        let (sealed, _) = pair.send_to_client(&[inner(100), inner(100)]);
        let ethernet = eth::Header::parse(&sealed[0]).unwrap();
        assert_eq!(
            (ethernet.destination, ethernet.source),
            (ROUTER_MAC, OUTER_MAC)
        );
        let packet = packet_of(&sealed[0]);
        assert_eq!((packet.source(), packet.destination()), (SERVER, CLIENT));
        assert_eq!(
            (packet.ttl(), packet.dont_fragment(), packet.traffic_class()),
            (64, false, 0)
        );
        assert_ne!(
            packet.identification(),
            packet_of(&sealed[1]).identification()
        );
        let esp = match encapsulation {
            Encapsulation::EspInUdp => {
                let datagram = udp::Datagram::parse(packet.payload()).unwrap();
                assert_eq!(
                    (datagram.source_port().0, datagram.destination_port().0),
                    (4_500, 31_234)
                );
                assert_eq!(
                    (datagram.checksum(), datagram.total_len()),
                    (0, packet.payload().len())
                );
                datagram.payload().to_vec()
            }
            _ => packet.payload().to_vec(),
        };
        assert_eq!(esp[..8], [0, 0, 0x9D, 0xEF, 0, 0, 0, 1]);
    }
}

#[test]
fn a_core_frame_goes_to_the_kernel_from_our_end() {
    let mut pair = Pair::new(Client::new(
        Suite::AesGcm(AesKey::Bits128),
        Encapsulation::Esp,
    ));
    let frames = pair.ours.down(&[from_core(&inner(60))]);
    let turned = pair.turned(&frames[0]);
    let sent = pair.theirs.up(&[turned]);
    let ethernet = eth::Header::parse(&sent[0]).unwrap();
    assert_eq!(
        (ethernet.destination, ethernet.source),
        (KERNEL_MAC, CORE_MAC)
    );
}

#[test]
fn every_framing_and_sequencing_arrives() {
    for (address_control_compressed, protocol_compressed) in
        [(false, false), (true, false), (false, true), (true, true)]
    {
        for sequencing in [Sequencing::Off, Sequencing::On] {
            let mut client = Client::new(
                Suite::AesCbcHmac(AesKey::Bits128, Integrity::Sha1_96),
                Encapsulation::EspInUdp,
            );
            client.framing = PppFraming {
                address_control_compressed,
                protocol_compressed,
            };
            client.sequencing = sequencing;
            let mut pair = Pair::new(client);
            let packets = [inner(64), inner(1_000), inner(65)];
            let (_, opened) = pair.send_to_client(&packets);
            assert_eq!(opened, packets.map(|packet| after_hops(&packet, 2)));
        }
    }
}

#[test]
fn clear_sets_carry_the_same_where_they_are_allowed() {
    let mut pair = Pair::new(Client::new(
        Suite::AesGcm(AesKey::Bits128),
        Encapsulation::Clear,
    ));
    let packets = [inner(64), inner(1_399), inner(20)];
    let (sealed, opened) = pair.send_to_client(&packets);
    assert_eq!(packet_of(&sealed[0]).protocol(), Protocol::UDP);
    assert_eq!(
        opened,
        packets.map(|packet| after_hops(&packet, 2)),
        "{:?}",
        pair.theirs.drops()
    );
    pair.assert_accounted();
}

/// Inner packets longer than what fits are cut, and together they are the original.
#[test]
fn what_does_not_fit_is_cut_into_inner_fragments() {
    for suite in [
        Suite::AesGcm(AesKey::Bits256),
        Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha256_128),
    ] {
        for mru in [576, 1_400, 1_500] {
            let mut client = Client::new(suite, Encapsulation::EspInUdp);
            client.mru = mru;
            let mut pair = Pair::new(client);
            let whole = inner(3_000);
            let (sealed, opened) = pair.send_to_client(std::slice::from_ref(&whole));
            assert!(
                sealed.iter().all(|frame| frame.len() <= 1_514),
                "no outer fragments are needed"
            );
            let mut payload: Vec<u8> = Vec::new();
            for part in &opened {
                let packet = ipv4::Packet::parse(part).unwrap();
                assert!(packet.checksum_ok() && packet.total_len() <= usize::from(mru));
                assert_eq!(
                    (packet.fragment_offset(), packet.identification()),
                    (payload.len(), 0x0102)
                );
                payload.extend(packet.payload());
                assert_eq!(packet.more_fragments(), payload.len() < 2_980);
            }
            assert_eq!(payload, whole[20..]);
            let ledger = &pair.ours.counters().core;
            assert_eq!(
                (ledger.received, ledger.split),
                (1, opened.len() as u64 - 1)
            );
            pair.assert_accounted();
        }
    }
}

#[test]
fn a_packet_of_exactly_what_fits_is_not_cut() {
    for suite in Suite::ALL {
        let mut client = Client::new(suite, Encapsulation::EspInUdp);
        client.mru = 1_500;
        let mut pair = Pair::new(client);
        let counts: Vec<_> = (1_380..=1_460)
            .map(|len| pair.send_to_client(&[inner(len)]).0)
            .collect();
        let fitting = counts.iter().take_while(|frames| frames.len() == 1).count();
        assert!(counts[fitting..].iter().all(|frames| frames.len() == 2));
        let fullest = counts[fitting - 1][0].len();
        assert!(
            (1_514 - 15..=1_514).contains(&fullest),
            "{suite:?} {fullest}"
        );
    }
}

#[test]
fn a_packet_that_must_not_be_cut_is_answered_with_what_fits() {
    let mut gateway = Gateway::new();
    Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::Esp).install(&mut gateway);
    let mut packet = inner(1_450);
    packet[6] |= 0x40;
    let checksum =
        culvert_wire::checksum::update(u16::from_be_bytes([packet[10], packet[11]]), 0, 0x4000);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(gateway.down(&[from_core(&packet)]), Vec::<Vec<u8>>::new());
    let answer = gateway.core.take().unwrap();
    let error = packet_of(&answer);
    assert_eq!(
        (error.source(), error.destination()),
        (crate::gateway::GATEWAY, HOST)
    );
    assert_eq!(error.payload()[..2], [3, 4]);
    assert_eq!(error.payload()[6..8], 1_400_u16.to_be_bytes());
    assert_eq!(culvert_wire::checksum::of(error.payload()), 0);
    assert_eq!(eth::Header::parse(&answer).unwrap().destination, KERNEL_MAC);
    assert_eq!(gateway.dropped(Reason::TooBig), 1);
    gateway.assert_accounted();
}

#[test]
fn errors_to_senders_are_bounded() {
    let mut gateway = Gateway::new();
    Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::Esp).install(&mut gateway);
    let mut packet = ip(HOST, INNER, Protocol::UDP, &[0; 40]);
    packet[8] = 1;
    let word = u16::from_be_bytes([64, 17]);
    let checksum = culvert_wire::checksum::update(
        u16::from_be_bytes([packet[10], packet[11]]),
        word,
        u16::from_be_bytes([1, 17]),
    );
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    let mut errors = 0;
    for _ in 0..10 {
        gateway.down(&vec![from_core(&packet); 64]);
        errors += std::iter::from_fn(|| gateway.core.take()).count();
    }
    assert_eq!(gateway.dropped(Reason::TtlExpired), 640);
    assert_eq!(errors, 100);
    gateway.assert_accounted();
}

fn syn(source: std::net::Ipv4Addr, destination: std::net::Ipv4Addr) -> Vec<u8> {
    let mut segment = vec![0; 24];
    segment[12] = 0x60;
    segment[13] = 0x02;
    segment[20..24].copy_from_slice(&[2, 4, 0x05, 0xB4]);
    ip(source, destination, Protocol::TCP, &segment)
}

#[test]
fn segments_are_clamped_both_ways() {
    let mut client = Client::new(
        Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha256_128),
        Encapsulation::EspInUdp,
    );
    client.mru = 1_500;
    let mut pair = Pair::new(client.clone());
    // 1,500 − 20 − 8 − 8 − 16 − 16 = 1,432, of which 1,424 are whole blocks; less trailer and UDP, L2TP and PPP headers.
    let fits = 1_424 - 2 - 20;
    let (_, opened) = pair.send_to_client(&[syn(HOST, INNER)]);
    assert_eq!(tcp::announced_mss(&opened[0][20..]), Some(fits - 40));
    client.mru = 1_280;
    let mut pair = Pair::new(client);
    let mut frames = pair.theirs.down(&[from_core(&syn(INNER, HOST))]);
    frames = frames.iter().map(|frame| pair.turned(frame)).collect();
    let sent = pair.ours.up(&frames);
    assert_eq!(tcp::announced_mss(&sent[0][34..]), Some(1_240));
}

#[test]
fn the_gateway_answers_ping_to_its_own_address() {
    let mut echo = vec![0; 108];
    let request = Echo {
        kind: EchoKind::Request,
        identifier: 7,
        sequence: 9,
        data: &[0xAB; 100],
    };
    request.emit(&mut echo).unwrap();
    let mut client = Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::EspInUdp);
    client.mru = 1_400;
    let mut pair = Pair::new(client.clone());
    // The other gateway's session is the address of ours, so that it takes packets for it.
    let mut session = pair.client.mirrored().session_spec();
    std::mem::swap(&mut session.local_tunnel, &mut session.peer_tunnel);
    std::mem::swap(&mut session.local_session, &mut session.peer_session);
    let to_gateway = pair
        .theirs
        .down(&[from_core(&ip(INNER, HOST, Protocol::ICMP, &echo))]);
    assert_eq!(to_gateway.len(), 1);
    // From the client's side the destination is the network's host; for a ping to the gateway the client addresses that.
    let mut config = crate::gateway::config();
    config.gateway = HOST;
    let mut ours = Gateway::with(&config, 1);
    client.install(&mut ours);
    assert_eq!(
        ours.up(&[pair.turned(&to_gateway[0])]),
        Vec::<Vec<u8>>::new()
    );
    let reply = ours.outer.take().unwrap();
    let opened = pair.theirs.up(&[pair.turned(&reply)]);
    let packet = packet_of(&opened[0]);
    assert_eq!((packet.source(), packet.destination()), (HOST, INNER));
    let echo = Echo::parse(packet.payload()).unwrap();
    assert_eq!(
        (echo.kind, echo.identifier, echo.sequence, echo.data),
        (EchoKind::Reply, 7, 9, &[0xAB; 100][..])
    );
    ours.assert_accounted();
}

/// Outer fragments in any order come together, whatever the sealed packet is.
#[test]
fn outer_fragments_come_together_in_any_order() {
    for encapsulation in ENCAPSULATIONS {
        let mut pair = Pair::new(Client::new(
            Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha1_96),
            encapsulation,
        ));
        let packet = inner(1_300);
        let sealed = pair.ours.down(&[from_core(&packet)]);
        let mut parts = fragments(&pair.turned(&sealed[0]), 512);
        assert_eq!(parts.len(), 3);
        parts.rotate_left(1);
        let opened = pair.theirs.up(&parts);
        assert_eq!(opened.len(), 1, "{:?}", pair.theirs.drops());
        assert_eq!(opened[0][14..], after_hops(&packet, 2));
        let ledger = &pair.theirs.counters().outer;
        assert_eq!(
            (
                ledger.received,
                ledger.merged,
                ledger.sent,
                ledger.in_flight
            ),
            (3, 2, 1, 0)
        );
        pair.assert_accounted();
    }
}

/// Cuts the IPv4 packet of a frame into parts of `step` bytes.
pub(crate) fn fragments(frame: &[u8], step: usize) -> Vec<Vec<u8>> {
    let packet = packet_of(frame);
    let payload = packet.payload();
    let part = |(number, bytes): (usize, &[u8])| {
        let mut part = frame[..34].to_vec();
        part.extend(bytes);
        let more = (number + 1) * step < payload.len();
        let fragment = ipv4::Fragment {
            offset: (number * step) as u16,
            more,
        };
        ipv4::set_fragment(&mut part[14..], (20 + bytes.len()) as u16, fragment);
        part
    };
    payload.chunks(step).enumerate().map(part).collect()
}

#[test]
fn controls_own_packets_go_the_same_way() {
    let mut pair = Pair::new(Client::new(
        Suite::AesGcm(AesKey::Bits256),
        Encapsulation::EspInUdp,
    ));
    let (set, row) = (pair.client.set, pair.client.row);
    let stop = [0xC8, 2, 0, 12, 0, 1, 0, 0, 0, 5, 0, 6];
    pair.ours.command(Command::Transmit(Transmit {
        to: Destination::L2tp {
            set,
            local_port: 1_702,
            remote_port: 1_701,
        },
        bytes: stop.to_vec(),
    }));
    pair.ours.command(Command::Transmit(Transmit {
        to: Destination::Ppp(row),
        bytes: vec![0xC0, 0x21, 9, 0, 0, 8, 1, 2, 3, 4],
    }));
    let frames: Vec<_> = std::iter::from_fn(|| pair.ours.outer.take()).collect();
    let frames: Vec<_> = frames.iter().map(|frame| pair.turned(frame)).collect();
    assert_eq!(pair.theirs.up(&frames), Vec::<Vec<u8>>::new());
    let punts = pair.theirs.punts();
    assert_eq!(punts.len(), 2, "{:?}", pair.theirs.drops());
    assert_eq!(
        (punts[0].kind, &punts[0].bytes[..]),
        (PuntKind::L2tp, &stop[..])
    );
    let source = PuntSource::L2tp {
        set,
        local_port: 1_701,
        remote_port: 1_702,
    };
    assert_eq!(punts[0].source, source);
    assert_eq!(
        (punts[1].source, punts[1].bytes.len()),
        (PuntSource::Ppp(row), 10)
    );
    pair.assert_accounted();
}

#[test]
fn the_place_of_the_inner_header_is_learnt_from_a_burst_as_from_one_packet() {
    for framing in [
        PppFraming::default(),
        PppFraming {
            address_control_compressed: true,
            protocol_compressed: true,
        },
    ] {
        let mut client = Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::EspInUdp);
        (client.framing, client.sequencing) = (framing, Sequencing::On);
        let mut pair = Pair::new(client);
        let packets = vec![inner(100); 32];
        pair.send_to_client(&packets);
        let l2tp_and_udp = 8 + 12;
        let ppp = if framing.protocol_compressed { 1 } else { 4 };
        assert_eq!(pair.theirs.place(pair.client.outbound), l2tp_and_udp + ppp);
        pair.assert_accounted();
    }
}

/// A segment size is clamped to what a path takes, not to nothing, while the set has no SA to answer with.
#[test]
fn a_set_that_cannot_answer_yet_clamps_nothing() {
    let mut pair = Pair::new(Client::new(
        Suite::AesGcm(AesKey::Bits128),
        Encapsulation::Esp,
    ));
    let sealed = pair.theirs.down(&[from_core(&syn(INNER, HOST))]);
    let (set, spi) = (pair.client.set, pair.client.outbound);
    pair.ours.command(Command::RemoveOutbound { set, spi });
    let sent = pair.ours.up(&[pair.turned(&sealed[0])]);
    // The other end clamped it to its own path: 1,400 less headers.
    assert_eq!(tcp::announced_mss(&sent[0][34..]), Some(1_360));
}

/// Packets of one flow leave in the order they came; those that must be cut follow, in order too.
#[test]
fn packets_keep_their_order() {
    let mut pair = Pair::new(Client::new(
        Suite::AesGcm(AesKey::Bits128),
        Encapsulation::Esp,
    ));
    let lens: Vec<usize> = (0..64)
        .map(|at| if at % 5 == 2 { 1_500 + at } else { 100 + at })
        .collect();
    let packets: Vec<_> = lens.iter().map(|len| inner(*len)).collect();
    let (_, opened) = pair.send_to_client(&packets);
    let whole: Vec<_> = opened
        .iter()
        .filter(|packet| packet.len() < 200 && packet[6] & 0x3F == 0 && packet[7] == 0)
        .map(Vec::len)
        .collect();
    let expected: Vec<_> = lens.iter().copied().filter(|len| *len < 1_500).collect();
    assert_eq!(whole, expected);
    // Last fragments tell the length of their whole.
    let last = |packet: &Vec<u8>| {
        let packet = ipv4::Packet::parse(packet).unwrap();
        (packet.fragment_offset() > 0 && !packet.more_fragments())
            .then(|| packet.fragment_offset() + packet.total_len())
    };
    let cut: Vec<_> = opened.iter().filter_map(last).collect();
    let expected: Vec<_> = lens.iter().copied().filter(|len| *len >= 1_500).collect();
    assert_eq!(cut, expected);
}
