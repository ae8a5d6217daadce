//! Every frame of every capture of a real client: its outer headers parse, say what was recorded, and are written back the same.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use culvert_wire::checksum::Sum;
use culvert_wire::classify::{self, Verdict};
use culvert_wire::esp::{self, EspInUdp};
use culvert_wire::ipv4::{Fragment, Header, Packet, Protocol};
use culvert_wire::udp::{self, Datagram, Port};
use culvert_wire::{eth, icmp};

#[test]
fn headers_of_captured_frames_are_written_back_the_same() {
    let mut verdicts = Vec::new();
    for (name, frame) in frames() {
        let header = eth::Header::parse(&frame).unwrap();
        let mut written = frame.clone();
        written[..header.len()].fill(0);
        header.emit(&mut written).unwrap();
        rewrite(&mut written[header.len()..]);
        assert_eq!(written, frame, "{name}");
        verdicts.push(classify::outer(&frame[..], |_| true));
    }
    for verdict in [Verdict::Ike, Verdict::NatT, Verdict::Esp] {
        assert!(verdicts.contains(&verdict), "no frame of kind {verdict:?}");
    }
    let steered = [Verdict::Ike, Verdict::NatT, Verdict::Esp, Verdict::L2tp];
    assert!(verdicts.iter().all(|verdict| steered.contains(verdict)));
}

/// A cut or a flipped bit changes what is read or makes it malformed, but nothing panics and nothing is read beyond the cut.
#[test]
fn damaged_frames_panic_nowhere() {
    for (_, frame) in frames() {
        for len in 0..frame.len() {
            let _ = walk(&frame[..len]);
        }
        let mut damaged = frame.clone();
        for bit in 0..frame.len().min(64) * 8 {
            damaged[bit / 8] ^= 1 << (bit % 8);
            let _ = walk(&damaged);
            damaged[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(walk(&frame).is_some());
    }
}

/// Parses `packet` header by header, wipes each and writes it again from what was read.
fn rewrite(packet: &mut [u8]) {
    let read = packet.to_vec();
    let ip = Packet::parse(&read).unwrap();
    assert!(ip.checksum_ok() && ip.options().is_empty());
    let header = Header {
        traffic_class: ip.traffic_class(),
        total_len: u16::try_from(ip.total_len()).unwrap(),
        identification: ip.identification(),
        dont_fragment: ip.dont_fragment(),
        fragment: Fragment {
            offset: u16::try_from(ip.fragment_offset()).unwrap(),
            more: ip.more_fragments(),
        },
        ttl: ip.ttl(),
        protocol: ip.protocol(),
        source: ip.source(),
        destination: ip.destination(),
    };
    packet[..ip.header_len()].fill(0);
    header.emit(packet).unwrap();
    let payload = &mut packet[ip.payload_range()];
    match ip.protocol() {
        Protocol::ESP => rewrite_esp(payload),
        Protocol::UDP => rewrite_udp(payload, &ip),
        other => panic!("protocol {other} in a capture"),
    }
}

fn rewrite_udp(bytes: &mut [u8], ip: &Packet<'_>) {
    let datagram = Datagram::parse(ip.payload()).unwrap();
    let len = u16::try_from(datagram.total_len()).unwrap();
    let pseudo = Sum::new().pseudo_v4(ip.source(), ip.destination(), Protocol::UDP, len);
    let header = udp::Header {
        source_port: datagram.source_port(),
        destination_port: datagram.destination_port(),
        total_len: len,
        checksum: datagram.checksum(),
    };
    bytes[..udp::HEADER_LEN].fill(0);
    header.emit(bytes).unwrap();
    // Recorded on a veth pair, whose kernel leaves some checksums to a device that is not there.
    if datagram.checksum() != 0 && datagram.checksum_ok(pseudo) {
        udp::fill_checksum(bytes, pseudo);
    }
    if datagram.destination_port() == Port::NAT_T {
        let payload = &mut bytes[datagram.payload_range()];
        match EspInUdp::parse(datagram.payload()) {
            EspInUdp::Keepalive => payload.copy_from_slice(&esp::KEEPALIVE),
            EspInUdp::Ike(message) => {
                assert_eq!(esp::emit_ike(payload, message), Ok(payload.len()))
            }
            EspInUdp::Esp(_) => rewrite_esp(payload),
            EspInUdp::Runt => panic!("a runt in a capture"),
        }
    }
}

fn rewrite_esp(bytes: &mut [u8]) {
    let packet = esp::Packet::parse(bytes).unwrap();
    let header = esp::header(packet.spi, packet.sequence);
    bytes[..esp::HEADER_LEN].copy_from_slice(&header);
}

/// Reads whatever is there; `None` at the first header that does not parse.
fn walk(frame: &[u8]) -> Option<usize> {
    let _ = classify::outer(frame, |_| true);
    let header = eth::Header::parse(frame).ok()?;
    let ip = Packet::parse(&frame[header.len()..]).ok()?;
    let mut error = [0; icmp::MAX_ERROR_LEN];
    icmp::emit_error(&mut error, ip.destination(), icmp::Error::TimeExceeded, &ip).unwrap();
    let payload = match ip.protocol() {
        Protocol::UDP => match EspInUdp::parse(Datagram::parse(ip.payload()).ok()?.payload()) {
            EspInUdp::Ike(message) => message,
            EspInUdp::Esp(packet) => packet.body,
            EspInUdp::Keepalive | EspInUdp::Runt => &[],
        },
        _ => esp::Packet::parse(ip.payload()).ok()?.body,
    };
    Some(payload.len())
}

/// All frames of all captures, each with the name of its folder and its number there.
fn frames() -> Vec<(String, Vec<u8>)> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let mut captures: Vec<PathBuf> = fs::read_dir(fixtures)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("small.pcap"))
        .filter(|path| path.exists())
        .collect();
    captures.sort();
    assert!(captures.len() >= 12, "only {} captures", captures.len());
    captures.iter().flat_map(|path| frames_of(path)).collect()
}

/// Classic pcap: a file header of 24 bytes, then records of 16 bytes and a frame; little-endian as recorded.
fn frames_of(path: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let (file, mut records) = bytes.split_at(24);
    assert_eq!(file[..4], [0xD4, 0xC3, 0xB2, 0xA1], "{}", path.display());
    let mut frames = Vec::new();
    while let Some((record, rest)) = records.split_first_chunk::<16>() {
        let len = u32::from_le_bytes([record[8], record[9], record[10], record[11]]);
        let (frame, rest) = rest.split_at(usize::try_from(len).unwrap());
        frames.push((
            format!("{}, frame {}", path.display(), frames.len() + 1),
            frame.to_vec(),
        ));
        records = rest;
    }
    assert!(
        records.is_empty(),
        "{} ends within a record",
        path.display()
    );
    frames
}
