//! Packets as a client or the network sends them, written straight into a frame.

use std::net::Ipv4Addr;

use culvert_crypto::{Engine, SealContext, SealOp, Suite};
use culvert_dataplane::api::{Encapsulation, Spi, spi};
use culvert_wire::eth::{self, EtherType, MacAddress};
use culvert_wire::ipv4::{self, Protocol};
use culvert_wire::{esp, udp};

use super::gateway::address;

/// SPI of the inbound SA of client `number`.
pub(super) fn inbound_spi(number: u32) -> Spi {
    spi::compose(number / spi::ROWS, number % spi::ROWS, 0x5A5)
}

/// Keys of client `number` for both directions: different for each, and nothing else matters.
pub(super) fn keys(suite: Suite, number: u32) -> Vec<u8> {
    let mut state = u64::from(number) + 1;
    let byte = || {
        state = state.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29) ^ 0x55;
        state.to_le_bytes()[4]
    };
    std::iter::repeat_with(byte).take(suite.key_len()).collect()
}

/// Writes what the network sends to client `number`, `len` bytes from the inner header on; returns the frame's length.
pub(super) fn from_core(frame: &mut [u8], number: u32, len: usize) -> usize {
    let end = ethernet(frame) + len;
    inner(
        &mut frame[eth::HEADER_LEN..end],
        address::HOST,
        address::inner(number),
    );
    end
}

/// Writes what client `number` sends to the network, sealed; returns the frame's length.
pub(super) fn sealed(
    frame: &mut [u8],
    suite: Suite,
    encapsulation: Encapsulation,
    number: u32,
    sequence: u32,
    len: usize,
) -> usize {
    let plaintext = plaintext(suite, number, len);
    let esp_len = esp::HEADER_LEN + suite.sealed_len(plaintext.len());
    let mut at = ethernet(frame);
    let (protocol, payload_len) = match encapsulation {
        Encapsulation::EspInUdp => (Protocol::UDP, udp::HEADER_LEN + esp_len),
        Encapsulation::Esp | Encapsulation::Clear => (Protocol::ESP, esp_len),
    };
    let outer = ip(
        address::outer(number),
        address::SERVER,
        protocol,
        payload_len,
    );
    frame[at..at + ipv4::HEADER_LEN].copy_from_slice(&outer);
    at += ipv4::HEADER_LEN;
    if encapsulation == Encapsulation::EspInUdp {
        frame[at..at + udp::HEADER_LEN].copy_from_slice(&udp(4_500, payload_len));
        at += udp::HEADER_LEN;
    }
    let header = esp::header(inbound_spi(number), sequence);
    frame[at..at + esp::HEADER_LEN].copy_from_slice(&header);
    let context = SealContext::new(Engine::choose(), suite, &keys(suite, number))
        .expect("the length is the suite's");
    let destination = &mut frame[at + esp::HEADER_LEN..at + esp_len];
    let iv = context.iv(sequence.into());
    let op = SealOp::new(&context, &header, iv, &plaintext, destination).expect("lengths fit");
    Engine::choose().seal_burst(&mut [op]);
    at + esp_len
}

/// UDP, L2TP, PPP, the inner packet and the trailer.
fn plaintext(suite: Suite, number: u32, len: usize) -> Vec<u8> {
    let mut l2tp = [0x40, 2, 0, 0, 0, 7, 0, 9, 0xFF, 3, 0, 0x21];
    let l2tp_len = u16::try_from(l2tp.len() + len).expect("a frame is shorter");
    l2tp[2..4].copy_from_slice(&l2tp_len.to_be_bytes());
    let payload_len = udp::HEADER_LEN + usize::from(l2tp_len);
    let trailer = esp::Trailer::aligning(payload_len, suite.alignment(), Protocol::UDP);
    let mut plaintext = vec![0; trailer.plaintext_len()];
    plaintext[..udp::HEADER_LEN].copy_from_slice(&udp(1_701, payload_len));
    plaintext[udp::HEADER_LEN..udp::HEADER_LEN + l2tp.len()].copy_from_slice(&l2tp);
    let at = udp::HEADER_LEN + l2tp.len();
    inner(
        &mut plaintext[at..at + len],
        address::inner(number),
        address::HOST,
    );
    trailer
        .emit(&mut plaintext[payload_len..])
        .expect("room was made");
    plaintext
}

/// Writes an inner UDP packet over the whole of `into`.
fn inner(into: &mut [u8], source: Ipv4Addr, destination: Ipv4Addr) {
    let payload_len = into.len() - ipv4::HEADER_LEN;
    let (header, payload) = into.split_at_mut(ipv4::HEADER_LEN);
    header.copy_from_slice(&ip(source, destination, Protocol::UDP, payload_len));
    payload.fill(0xA5);
    payload[..udp::HEADER_LEN].copy_from_slice(&udp(9_000, payload_len));
}

fn ethernet(frame: &mut [u8]) -> usize {
    let header = eth::Header {
        destination: MacAddress([2; 6]),
        source: MacAddress([4; 6]),
        tags: [None; eth::MAX_TAGS],
        ether_type: EtherType::IPV4,
    };
    header.emit(frame).expect("a frame holds a header");
    eth::HEADER_LEN
}

fn ip(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol, len: usize) -> [u8; 20] {
    ipv4::Header {
        traffic_class: 0,
        total_len: u16::try_from(ipv4::HEADER_LEN + len).expect("a frame is shorter"),
        identification: 7,
        dont_fragment: false,
        fragment: ipv4::Fragment::default(),
        ttl: 64,
        protocol,
        source,
        destination,
    }
    .to_bytes()
}

fn udp(port: u16, len: usize) -> [u8; udp::HEADER_LEN] {
    udp::Header {
        source_port: udp::Port(port),
        destination_port: udp::Port(port),
        total_len: u16::try_from(len).expect("a frame is shorter"),
        checksum: 0,
    }
    .to_bytes()
}
