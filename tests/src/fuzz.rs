//! One body per parser: what libFuzzer calls, and what `cargo test` replays over the committed corpus.
//!
//! A body walks everything a parser gives out and asserts what must hold whatever the bytes were: ranges stay within the input, and what
//! was read, written again, reads the same.

use std::path::Path;

use culvert::config::{self, Config};
use culvert_dataplane::api::{Answer, Punt, Request};
use culvert_dataplane::ipc;
use culvert_wire::classify::Action;
use culvert_wire::esp::{self, EspInUdp};
use culvert_wire::l2tp::header::{Flags, Header as L2tpHeader};
use culvert_wire::l2tp::message::ControlMessage;
use culvert_wire::ppp::chap;
use culvert_wire::ppp::control::ControlPacket;
use culvert_wire::ppp::frame::Frame as PppFrame;
use culvert_wire::ppp::ipcp::IpcpOption;
use culvert_wire::ppp::lcp::LcpOption;
use culvert_wire::ppp::option::Options;
use culvert_wire::ppp::pap;
use culvert_wire::writer::Writer;
use culvert_wire::{classify, eth, icmp, ike, ipv4, ipv6, tcp, udp};

use crate::keys::Keys;

/// A parser's body; panics if the parser misbehaves.
pub type Body = fn(&[u8]);

/// Every body with its name, which is also the name of its target and of its folder of corpus files.
pub const BODIES: [(&str, Body); 8] = [
    ("frame", frame),
    ("l2tp", l2tp),
    ("ppp", ppp),
    ("ike", ike_message),
    ("esp", esp_payload),
    ("ipc", ipc_datagram),
    ("config", config_file),
    ("users", users_file),
];

/// The decoder of the XDP program, Ethernet, VLAN tags, IPv4, IPv6, UDP, TCP and ICMP.
pub fn frame(bytes: &[u8]) {
    for ours in [false, true] {
        for verdict in [
            classify::outer(bytes, |_| ours),
            classify::core(bytes, |_| ours),
        ] {
            assert!(
                ours || verdict.action() == Action::Pass,
                "what is nobody's is not steered"
            );
        }
    }
    let Ok(header) = eth::Header::parse(bytes) else {
        return;
    };
    let packet = bytes
        .get(header.len()..)
        .expect("a header lies within its frame");
    if let Ok(v4) = ipv4::Packet::parse(packet) {
        assert!(
            v4.total_len() <= packet.len(),
            "total length is bounded by the frame"
        );
        transport(v4.payload());
        ip_rewrites(packet);
    }
    if let Ok(v6) = ipv6::Packet::parse(packet) {
        assert!(
            v6.total_len() <= packet.len(),
            "payload length is bounded by the frame"
        );
        transport(v6.payload());
    }
}

fn transport(payload: &[u8]) {
    if let Ok(datagram) = udp::Datagram::parse(payload) {
        assert!(datagram.payload().len() + udp::HEADER_LEN <= payload.len());
        esp_payload(datagram.payload());
    }
    let mut segment = payload.to_vec();
    if tcp::clamp_mss(&mut segment, 1_000).is_some() {
        assert!(tcp::announced_mss(&segment).is_some_and(|mss| mss <= 1_000));
    }
    if icmp::Echo::parse(payload).is_some() {
        let mut message = payload.to_vec();
        icmp::answer_echo(&mut message);
    }
}

fn ip_rewrites(packet: &[u8]) {
    let mut rewritten = packet.to_vec();
    if ipv4::Packet::parse(packet).is_ok_and(|before| before.checksum_ok())
        && ipv4::decrement_ttl(&mut rewritten).is_ok()
    {
        let after = ipv4::Packet::parse(&rewritten).expect("only the TTL changed");
        assert!(after.checksum_ok(), "the checksum follows the TTL");
    }
}

/// ESP, natively and behind UDP.
pub fn esp_payload(bytes: &[u8]) {
    if let EspInUdp::Ike(message) = EspInUdp::parse(bytes) {
        ike_message(message);
    }
    if let Ok(packet) = esp::Packet::parse(bytes) {
        assert_eq!(
            esp::header(packet.spi, packet.sequence),
            bytes[..esp::HEADER_LEN]
        );
    }
    if let Ok(trailer) = esp::Trailer::parse(bytes) {
        assert!(
            trailer.plaintext_len() <= bytes.len(),
            "padding lies within the plaintext"
        );
    }
}

/// The L2TP header and, in control messages, every AVP.
pub fn l2tp(bytes: &[u8]) {
    let header = L2tpHeader::parse(bytes);
    if let Ok(message) = ControlMessage::parse(bytes) {
        avps(&message);
    } else if let Ok(header) = header {
        ppp(bytes
            .get(header.payload_range())
            .expect("the payload lies within the message"));
    }
}

fn avps(message: &ControlMessage<'_>) {
    let Ok(body) = message.body() else { return };
    for avp in body.avps {
        let Ok(avp) = avp else { return };
        assert!(avp.value.len() <= 1_017);
        let _ = (
            avp.u16(),
            avp.u32(),
            avp.u64(),
            avp.protocol_version(),
            avp.result_code(),
        );
    }
}

/// A PPP frame and, by its protocol, the packet inside.
pub fn ppp(bytes: &[u8]) {
    if let Ok(frame) = PppFrame::parse(bytes) {
        assert!(
            frame.payload.len() < bytes.len(),
            "a frame has a protocol field"
        );
        ppp_control(frame.payload);
    }
    ppp_control(bytes);
}

fn ppp_control(bytes: &[u8]) {
    let Ok(packet) = ControlPacket::parse(bytes) else {
        return;
    };
    let _ = chap::Packet::parse(packet.data).map(|chap| chap::MsChapV2Response::parse(chap.value));
    let _ = (pap::Request::parse(packet.data), pap::message(packet.data));
    if !Options::new(packet.data).is_well_formed() {
        return;
    }
    let (mut lcp, mut ipcp) = (vec![0; packet.data.len()], vec![0; packet.data.len()]);
    let (mut lcp, mut ipcp) = (Writer::new(&mut lcp), Writer::new(&mut ipcp));
    for raw in Options::new(packet.data).filter_map(Result::ok) {
        LcpOption::from(raw)
            .put(&mut lcp)
            .expect("as long as what was read");
        IpcpOption::from(raw)
            .put(&mut ipcp)
            .expect("as long as what was read");
    }
    assert_eq!(
        lcp.written(),
        packet.data,
        "LCP options survive a round trip"
    );
    assert_eq!(
        ipcp.written(),
        packet.data,
        "IPCP options survive a round trip"
    );
}

/// An ISAKMP message: header, payload chain and every payload that has a parser.
pub fn ike_message(bytes: &[u8]) {
    let Ok((header, body)) = ike::Header::split(bytes) else {
        return;
    };
    let Ok(chain) = ike::Chain::parse(header.next, body) else {
        return;
    };
    for payload in chain.iter() {
        ike_payload(payload.body);
    }
}

fn ike_payload(body: &[u8]) {
    if let Ok(sa) = ike::Sa::parse(body) {
        for transform in sa.proposals().flat_map(|proposal| proposal.transforms()) {
            for attribute in transform.attributes.iter() {
                let mut buffer = vec![0; 4 + body.len()];
                attribute
                    .emit(&mut Writer::new(&mut buffer))
                    .expect("as long as what was read");
            }
        }
    }
    if let Ok(identification) = ike::Identification::parse(body) {
        let mut buffer = vec![0; body.len()];
        let mut writer = Writer::new(&mut buffer);
        identification
            .emit(&mut writer)
            .expect("as long as what was read");
        assert_eq!(writer.written(), body, "an identity survives a round trip");
        let _ = identification.address();
    }
    if let Ok(notification) = ike::Notification::parse(body) {
        let mut buffer = vec![0; body.len()];
        notification
            .emit(&mut Writer::new(&mut buffer))
            .expect("as long as what was read");
    }
    if let Ok(deletion) = ike::Deletion::parse(body) {
        assert!(deletion.spis().map(<[u8]>::len).sum::<usize>() <= body.len());
    }
    let _ = ike::nat_original(body);
}

/// A datagram between the processes, read as each of its kinds.
pub fn ipc_datagram(bytes: &[u8]) {
    let _ = ipc::decode::<Request>(bytes);
    let _ = ipc::decode::<Answer>(bytes);
    let _ = ipc::decode::<Punt>(bytes);
}

/// A configuration file.
pub fn config_file(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        match Config::parse(Path::new("culvert.toml"), text) {
            Ok(config) => assert!(!config.pools.is_empty(), "a configuration has addresses"),
            Err(error) => assert!(!error.to_string().is_empty(), "an error says what is wrong"),
        }
    }
}

/// A users file.
pub fn users_file(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Err(error) = config::users::parse(Path::new("users"), text)
    {
        assert!(!error.to_string().is_empty(), "an error says what is wrong");
    }
}

/// The payloads of a captured frame, sealed ones opened where `keys` can, each with the name of the body it is for.
pub fn seeds(captured: &[u8], keys: &Keys) -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = vec![("frame", captured.to_vec())];
    let Ok(header) = eth::Header::parse(captured) else {
        return seeds;
    };
    let Some(Ok(packet)) = captured.get(header.len()..).map(ipv4::Packet::parse) else {
        return seeds;
    };
    if packet.protocol() == ipv4::Protocol::ESP {
        seeds.push(("esp", packet.payload().to_vec()));
        seeds.extend(opened(packet.payload(), keys));
    }
    let Ok(datagram) = udp::Datagram::parse(packet.payload()) else {
        return seeds;
    };
    let payload = datagram.payload();
    match datagram.destination_port().0.min(datagram.source_port().0) {
        500 => seeds.push(("ike", payload.to_vec())),
        1_701 => seeds.push(("l2tp", payload.to_vec())),
        4_500 => {
            seeds.push(("esp", payload.to_vec()));
            seeds.extend(opened(payload, keys));
        }
        _ => {}
    }
    seeds
}

fn opened(packet: &[u8], keys: &Keys) -> Vec<(&'static str, Vec<u8>)> {
    let Some(plaintext) = keys.open(packet) else {
        return Vec::new();
    };
    let Ok(datagram) = udp::Datagram::parse(&plaintext) else {
        return Vec::new();
    };
    let mut seeds = vec![("l2tp", datagram.payload().to_vec())];
    if let Ok(header) = L2tpHeader::parse(datagram.payload())
        && let Some(frame) = datagram.payload().get(header.payload_range())
        && !header.flags.contains(Flags::CONTROL)
    {
        seeds.push(("ppp", frame.to_vec()));
    }
    seeds
}

/// Calls `body` with `input`, with every truncation of it, and with every single bit of it flipped.
pub fn mangle(body: Body, input: &[u8]) {
    for len in 0..=input.len() {
        body(input.get(..len).unwrap_or_default());
    }
    let mut flipped = input.to_vec();
    for bit in 0..input.len() * 8 {
        flipped[bit / 8] ^= 1 << (bit % 8);
        body(&flipped);
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
}
