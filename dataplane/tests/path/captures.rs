//! Captures of real clients (strongSwan or a user-space stack, xl2tpd, pppd), replayed at the outer port.

use std::net::{Ipv4Addr, SocketAddrV4};

use culvert_crypto::{AesKey, Integrity, Suite};
use culvert_dataplane::api::{
    Command, Encapsulation, Event, Phase, PuntSource, SessionId, Spi, TunnelId,
};
use culvert_dataplane::verdict::{PuntKind, Reason};
use culvert_wire::icmp::{Echo, EchoKind};
use culvert_wire::ipv4::{self, Packet, Protocol};
use culvert_wire::l2tp::header::Header;
use culvert_wire::{eth, udp};

use crate::gateway::{CLIENT, Client, Gateway, HOST, INNER, KERNEL_MAC, Punted, SERVER};

/// One capture with its keys and its server's log.
struct Capture {
    frames: Vec<Vec<u8>>,
    client: Client,
    log: &'static str,
}

macro_rules! capture {
    ($name:literal, $suite:expr, $encapsulation:expr) => {
        Capture::new(
            include_bytes!(concat!("../data/", $name, "/small.pcap")),
            include_str!(concat!("../data/", $name, "/srv-esp_sa")),
            include_str!(concat!("../data/", $name, "/srv-pppd.log")),
            $suite,
            $encapsulation,
        )
    };
}

fn all() -> Vec<(&'static str, Capture)> {
    use Encapsulation::{Esp, EspInUdp};
    vec![
        (
            "direct-ss-gcm",
            capture!("direct-ss-gcm", Suite::AesGcm(AesKey::Bits256), Esp),
        ),
        (
            "direct-ss-cbcsha1",
            capture!(
                "direct-ss-cbcsha1",
                Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha1_96),
                Esp
            ),
        ),
        (
            "direct-ss-cbcsha256",
            capture!(
                "direct-ss-cbcsha256",
                Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha256_128),
                Esp
            ),
        ),
        (
            "nat-ss-gcm",
            capture!("nat-ss-gcm", Suite::AesGcm(AesKey::Bits256), EspInUdp),
        ),
        (
            "userspace-l2tp",
            capture!("userspace-l2tp", Suite::AesGcm(AesKey::Bits256), Esp),
        ),
    ]
}

impl Capture {
    fn new(
        pcap: &[u8],
        keys: &str,
        log: &'static str,
        suite: Suite,
        encapsulation: Encapsulation,
    ) -> Self {
        let frames: Vec<_> = frames(pcap)
            .into_iter()
            .filter(|frame| to_server(frame))
            .collect();
        let mut client = Client::new(suite, encapsulation);
        client.mru = 1_280;
        for line in keys.lines() {
            let fields: Vec<&str> = line
                .split(',')
                .map(|field| field.trim_matches('"'))
                .collect();
            let spi = Spi(u32::from_str_radix(&fields[3][2..], 16).unwrap());
            let mut key = hex::decode(&fields[5][2..]).unwrap();
            key.extend(hex::decode(&fields[7][2..]).unwrap());
            if fields[2] == SERVER.to_string() {
                (client.inbound, client.inbound_key) = (spi, key);
            } else {
                (client.outbound, client.outbound_key) = (spi, key);
            }
        }
        let peer: Ipv4Addr = frames.first().map(|frame| parse(frame).source()).unwrap();
        let port = if encapsulation == Encapsulation::Esp {
            500
        } else {
            4_500
        };
        client.remote = SocketAddrV4::new(peer, port);
        Self {
            frames,
            client,
            log,
        }
    }

    /// A gateway with the client's set and SAs, as after quick mode.
    fn gateway(&self) -> Gateway {
        let mut gateway = Gateway::for_spi(self.client.inbound);
        gateway.command(Command::OpenSet(self.client.set_spec()));
        gateway.command(Command::AddInbound(self.client.inbound_spec()));
        gateway.command(Command::AddOutbound(self.client.outbound_spec()));
        gateway
    }

    /// Hands in every packet; opens the session when its ICCN comes, as control does.
    fn replay(&self, gateway: &mut Gateway) -> Replay {
        let mut replay = Replay::default();
        for frame in &self.frames {
            let sent = gateway.up(std::slice::from_ref(frame));
            replay.sent.extend(sent);
            for punted in gateway.punts() {
                if punted.kind == PuntKind::L2tp && !replay.is_open {
                    replay.is_open = self.open(gateway, &punted.bytes);
                }
                replay.punted.push(punted);
            }
        }
        replay
    }

    fn open(&self, gateway: &mut Gateway, message: &[u8]) -> bool {
        let header = Header::parse(message).unwrap();
        if header.session == SessionId(0) {
            return false;
        }
        gateway.command(Command::OpenSession(
            self.session(header.tunnel, header.session),
        ));
        true
    }

    fn session(&self, tunnel: TunnelId, session: SessionId) -> culvert_dataplane::api::SessionSpec {
        let mut spec = self.client.session_spec();
        (spec.local_tunnel, spec.local_session) = (tunnel, session);
        spec.phase = Phase::Open {
            address: INNER,
            mru: 1_280,
        };
        spec
    }

    fn esp_packets(&self) -> usize {
        self.frames.iter().filter(|frame| is_esp(frame)).count()
    }
}

/// What came of a capture.
#[derive(Default)]
struct Replay {
    sent: Vec<Vec<u8>>,
    punted: Vec<Punted>,
    is_open: bool,
}

impl Replay {
    fn of(&self, kind: PuntKind) -> Vec<&Punted> {
        self.punted
            .iter()
            .filter(|punted| punted.kind == kind)
            .collect()
    }
}

/// The packets of a little-endian pcap file.
fn frames(pcap: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &pcap[24..];
    let mut frames = Vec::new();
    while let Some((header, after)) = rest.split_first_chunk::<16>() {
        let len = u32::from_le_bytes(*header[8..].first_chunk().unwrap()) as usize;
        frames.push(after[..len].to_vec());
        rest = &after[len..];
    }
    frames
}

fn parse(frame: &[u8]) -> Packet<'_> {
    Packet::parse(&frame[eth::HEADER_LEN..]).unwrap()
}

fn to_server(frame: &[u8]) -> bool {
    eth::Header::parse(frame).unwrap().ether_type == eth::EtherType::IPV4
        && parse(frame).destination() == SERVER
}

fn is_esp(frame: &[u8]) -> bool {
    let packet = parse(frame);
    match packet.protocol() {
        Protocol::ESP => true,
        Protocol::UDP => {
            let datagram = udp::Datagram::parse(packet.payload()).unwrap();
            datagram.destination_port() == udp::Port::NAT_T
                && datagram.payload().len() > 8
                && datagram.payload()[..4] != [0; 4]
        }
        _ => false,
    }
}

/// Message types of control messages (RFC 2661 §3.2), zero-length bodies left out.
fn message_types(messages: &[&Punted]) -> Vec<u16> {
    let body = |punted: &&Punted| {
        punted
            .bytes
            .get(18..20)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    messages.iter().filter_map(body).collect()
}

/// Protocols of the packets that the server's pppd wrote it had received.
fn logged(log: &str) -> Vec<u16> {
    let protocol = |name: &str| match name {
        "LCP" => 0xC021,
        "CHAP" => 0xC223,
        "IPCP" => 0x8021,
        "CCP" => 0x80FD,
        other => panic!("{other}"),
    };
    let names = log
        .lines()
        .filter_map(|line| line.strip_prefix("rcvd [")?.split(' ').next());
    names.map(protocol).collect()
}

/// Whether `part` is `whole` with some left out.
fn is_within(part: &[u16], whole: &[u16]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|wanted| rest.any(|found| found == wanted))
}

#[test]
fn every_packet_of_a_real_client_gets_where_it_belongs() {
    for (name, capture) in all() {
        let mut gateway = capture.gateway();
        let replay = capture.replay(&mut gateway);
        assert_eq!(gateway.drops(), [], "{name}");
        let ike = replay.of(PuntKind::IkeFirst).len() + replay.of(PuntKind::Ike).len();
        assert_eq!(replay.of(PuntKind::IkeFirst).len(), 1, "{name}");
        assert_eq!(ike, capture.frames.len() - capture.esp_packets(), "{name}");
        let mut types = message_types(&replay.of(PuntKind::L2tp));
        types.dedup();
        // SCCRQ (some came twice), SCCCN, ICRQ, ICCN, and at the end what the client says of it.
        assert_eq!(types[..4], [1, 3, 10, 12], "{name}: {types:?}");
        let ppp: Vec<u16> = replay
            .of(PuntKind::Ppp)
            .iter()
            .map(|punted| u16::from_be_bytes([punted.bytes[0], punted.bytes[1]]))
            .collect();
        let expected = logged(capture.log);
        // pppd started late and missed a frame now and then; what it saw, we saw in that order.
        assert!(
            is_within(&expected, &ppp),
            "{name}: {expected:04x?} {ppp:04x?}"
        );
        assert_eq!(
            gateway.counters().outer.dropped.iter().sum::<u64>(),
            0,
            "{name}"
        );
        assert_eq!(
            replay.punted.len() + replay.sent.len(),
            capture.frames.len(),
            "{name}"
        );
        assert!(
            gateway
                .events()
                .contains(&Event::InboundUsed(capture.client.inbound)),
            "{name}"
        );
        gateway.assert_accounted();
    }
}

#[test]
fn echo_requests_come_out_byte_for_byte() {
    for (name, capture) in all() {
        let mut gateway = capture.gateway();
        let sent = capture.replay(&mut gateway).sent;
        let mut echoes = 0;
        let mut first_part: Option<Vec<u8>> = None;
        for frame in &sent {
            let ethernet = eth::Header::parse(frame).unwrap();
            assert_eq!(ethernet.destination, KERNEL_MAC, "{name}");
            let packet = parse(frame);
            assert!(packet.checksum_ok(), "{name}");
            assert_eq!(frame.len(), eth::HEADER_LEN + packet.total_len(), "{name}");
            assert_eq!((packet.source(), packet.ttl()), (INNER, 63), "{name}");
            if packet.protocol() != Protocol::ICMP {
                continue;
            }
            // The checksum of an echo covers each of its bytes, those of a second fragment too.
            let message = match (packet.fragment_offset(), packet.more_fragments()) {
                (0, true) => {
                    first_part = Some(packet.payload().to_vec());
                    continue;
                }
                (0, false) => packet.payload().to_vec(),
                _ => {
                    let mut whole = first_part.take().unwrap();
                    assert_eq!(whole.len(), packet.fragment_offset());
                    whole.extend(packet.payload());
                    whole
                }
            };
            let echo = Echo::parse(&message).unwrap();
            assert_eq!(echo.kind, EchoKind::Request, "{name}");
            echoes += 1;
        }
        assert!(echoes >= 5, "{name}: {echoes}");
    }
}

#[test]
fn a_replayed_capture_does_nothing() {
    for (name, capture) in all() {
        let mut gateway = capture.gateway();
        capture.replay(&mut gateway);
        let punted = gateway.counters().outer.punted;
        let esp: Vec<_> = capture
            .frames
            .iter()
            .filter(|frame| is_esp(frame))
            .cloned()
            .collect();
        assert_eq!(gateway.up(&esp), Vec::<Vec<u8>>::new(), "{name}");
        // The bulk transfers that the capture leaves out moved the window past the first packets.
        let (duplicate, too_old) = (
            gateway.dropped(Reason::ReplayDuplicate),
            gateway.dropped(Reason::ReplayTooOld),
        );
        assert_eq!(duplicate + too_old, esp.len() as u64, "{name}");
        assert!(duplicate > 0, "{name}");
        assert_eq!(gateway.counters().outer.punted, punted, "{name}");
        gateway.assert_accounted();
    }
}

/// THREATS: no packet but the genuine one changes a row. Each mutant goes in before the genuine packets, which must all pass after.
#[test]
fn flipped_bits_and_truncations_change_nothing() {
    for (name, capture) in all() {
        let mut gateway = capture.gateway();
        let genuine = capture.replay(&mut capture.gateway());
        for frame in capture.frames.iter().filter(|frame| is_esp(frame)) {
            let mutants: Vec<_> = mutants(frame).collect();
            assert_eq!(gateway.up(&mutants), Vec::<Vec<u8>>::new(), "{name}");
        }
        let control: Vec<_> = gateway
            .punts()
            .into_iter()
            .filter(|punted| !is_ike(punted))
            .collect();
        assert_eq!(control, [], "{name}");
        assert_eq!(gateway.events(), [], "{name}");
        gateway.assert_accounted();
        let replay = capture.replay(&mut gateway);
        assert_eq!(replay.sent, genuine.sent, "{name}");
        assert_eq!(replay.punted, genuine.punted, "{name}");
    }
}

const fn is_ike(punted: &Punted) -> bool {
    matches!(punted.source, PuntSource::Ike { .. })
}

/// Every bit of the first 64 bytes behind Ethernet and a sample of the others flipped, and every length up to 64 and a sample.
///
/// Outer IPv4 fields that ESP does not cover (TTL, identification, DSCP, flags) are the network's to change; with a checksum that does
/// not match they are dropped as malformed.
fn mutants(frame: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let flips = (eth::HEADER_LEN * 8..frame.len() * 8)
        .filter(|bit| *bit < 90 * 8 || bit % 61 == 0)
        .filter(|bit| !is_uncovered(*bit / 8, frame));
    let flipped = flips.map(|bit| {
        let mut mutant = frame.to_vec();
        mutant[bit / 8] ^= 1 << (bit % 8);
        mutant
    });
    let lens = (0..frame.len()).filter(|len| *len < 90 || len % 61 == 0);
    flipped.chain(lens.map(|len| frame[..len].to_vec()))
}

/// Bytes of the outer UDP header that nothing covers: source port (a new endpoint is legal) and checksum (zero or not, RFC 3948 §2.1).
fn is_uncovered(at: usize, frame: &[u8]) -> bool {
    let udp = eth::HEADER_LEN + ipv4::HEADER_LEN;
    parse(frame).protocol() == Protocol::UDP && [udp, udp + 1, udp + 6, udp + 7].contains(&at)
}

#[test]
fn an_echo_goes_to_the_host_behind_the_gateway() {
    let (_, capture) = all().remove(0);
    let mut gateway = capture.gateway();
    let sent = capture.replay(&mut gateway).sent;
    assert!(sent.iter().any(|frame| parse(frame).destination() == HOST));
    assert_eq!(parse(&capture.frames[0]).source(), CLIENT);
}
