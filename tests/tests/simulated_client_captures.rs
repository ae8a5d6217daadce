//! The simulated client's ESP against packets of real clients, with the keys recorded beside them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use culvert_bench::client::esp::{Inbound, Integrity, Outbound, Suite, spi};
use culvert_bench::client::ike::keys::Cipher;
use culvert_tests::pcap;
use culvert_wire::ipv4::Protocol;
use culvert_wire::{eth, ipv4};

const UDP: u8 = 17;
const IP_IN_IP: u8 = 4;

struct Recorded {
    suite: Suite,
    keys: Vec<u8>,
    inbound: Inbound,
}

#[test]
fn every_recorded_esp_packet_opens_and_seals_to_its_own_length() {
    let mut opened: BTreeMap<String, usize> = BTreeMap::new();
    for capture in pcap::captures() {
        let mut recorded =
            security_associations(capture.parent().expect("a capture is in a folder"));
        let frames = pcap::frames(&capture).unwrap();
        for packet in frames.iter().filter_map(|frame| esp(frame)) {
            let Some(sa) = recorded.get_mut(&spi(packet).unwrap()) else {
                continue;
            };
            let mut bytes = packet.to_vec();
            let payload = sa.inbound.open(&mut bytes).unwrap();
            // L2TP is on UDP; the captures of IKEv2 are in tunnel mode.
            assert!(
                matches!(payload.next_header, UDP | IP_IN_IP),
                "{}",
                capture.display()
            );
            let plain = &bytes[payload.payload];
            assert_eq!(sealed_len(sa, plain), packet.len(), "{}", capture.display());
            *opened.entry(format!("{:?}", sa.suite)).or_default() += 1;
        }
    }
    assert_eq!(opened.len(), 3, "a suite is missing: {opened:?}");
    assert!(opened.values().all(|count| *count > 30), "{opened:?}");
}

fn sealed_len(sa: &Recorded, plain: &[u8]) -> usize {
    let at = sa.suite.payload_at();
    let mut packet = vec![0; at + plain.len() + sa.suite.max_tail()];
    packet[at..at + plain.len()].copy_from_slice(plain);
    Outbound::new(1, sa.suite, &sa.keys)
        .seal(&mut packet, plain.len(), UDP)
        .expect("the buffer has room")
}

/// Lines of `"IPv4","from","to","0xspi","cipher","0xkey","integrity","0xkey"`.
fn security_associations(folder: &Path) -> BTreeMap<u32, Recorded> {
    let Ok(table) = fs::read_to_string(folder.join("srv-esp_sa")) else {
        return BTreeMap::new();
    };
    table.lines().filter_map(security_association).collect()
}

fn security_association(line: &str) -> Option<(u32, Recorded)> {
    let columns: Vec<_> = line
        .split(',')
        .map(|column| column.trim_matches('"'))
        .collect();
    let [_, _, _, spi, cipher, key, integrity, integrity_key] = columns[..] else {
        panic!("not a line of the table: {line}");
    };
    let bytes = |hex: &str| hex::decode(hex.trim_start_matches("0x")).expect("the table is in hex");
    let (key, integrity_key) = (bytes(key), bytes(integrity_key));
    let suite = match (cipher, integrity) {
        _ if cipher.starts_with("AES-GCM") => Suite::Gcm(aes(key.len() - 4)?),
        _ if integrity.contains("SHA-1") => Suite::Cbc(aes(key.len())?, Integrity::Sha1),
        _ if integrity.contains("SHA-256") => Suite::Cbc(aes(key.len())?, Integrity::Sha256),
        _ => return None,
    };
    let spi = u32::from_str_radix(spi.trim_start_matches("0x"), 16).expect("an SPI is in hex");
    let keys = [key, integrity_key].concat();
    let inbound = Inbound::new(spi, suite, &keys);
    Some((
        spi,
        Recorded {
            suite,
            keys,
            inbound,
        },
    ))
}

fn aes(key_len: usize) -> Option<Cipher> {
    match key_len {
        16 => Some(Cipher::Aes128),
        32 => Some(Cipher::Aes256),
        _ => None,
    }
}

/// The ESP packet in a frame, native or in UDP 4500; fragments are left out.
fn esp(frame: &[u8]) -> Option<&[u8]> {
    let header = eth::Header::parse(frame).ok()?;
    let packet = ipv4::Packet::parse(frame.get(header.len()..)?).ok()?;
    match packet.protocol() {
        _ if packet.is_fragment() => None,
        Protocol::ESP => Some(packet.payload()),
        Protocol::UDP => {
            let (header, payload) = packet.payload().split_first_chunk::<8>()?;
            let floated = header[..2] == [0x11, 0x94] || header[2..4] == [0x11, 0x94];
            (floated && payload.len() > 8 && payload[..4] != [0; 4]).then_some(payload)
        }
        _ => None,
    }
}
