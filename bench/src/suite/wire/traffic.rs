//! Frames made ahead of time: the sender only copies them.
//!
//! ```text
//! up      Ethernet 14 | IPv4 20 | UDP 8 | ESP 8 | sealed(UDP 8 | L2TP 6 | PPP 4 | probe)
//! down    Ethernet 14 | probe
//! ```
//! The n-th frame of a rotation has ESP sequence number n + 1, and so has the probe in it. Every trial begins with a fresh window.

use culvert_crypto::{BURST, Engine, OpenContext, OpenOp, SealContext, SealOp, Suite};
use culvert_dataplane::api::Spi;
use culvert_wire::esp::{self, Trailer};
use culvert_wire::eth::{self, EtherType, MacAddress};
use culvert_wire::ipv4::{self, Fragment, Protocol};
use culvert_wire::udp;

use super::scene::{CLIENT, GATEWAY, HOST, Macs, SESSION};
use crate::failure::Failure;
use crate::load::probe::{Direction, Ends, MAX_LEN, Probe};

/// ESP behind Ethernet, IPv4 and UDP.
const ESP_PLACE: usize = eth::HEADER_LEN + ipv4::HEADER_LEN + udp::HEADER_LEN;
/// UDP, L2TP without length, PPP with address and control.
const TUNNEL_LEN: usize = udp::HEADER_LEN + 6 + 4;
/// UDP, L2TP with length, PPP with address and control: what the gateway sends.
const GATEWAY_TUNNEL_LEN: usize = udp::HEADER_LEN + 8 + 4;
/// The probe's sequence number in its IP packet.
const SEQUENCE_PLACE: usize = ipv4::HEADER_LEN + udp::HEADER_LEN + 12;

/// What all frames of a rotation have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Which way they go.
    pub(super) direction: Direction,
    /// How they are sealed outside.
    pub(super) suite: Suite,
    /// Bytes of the inner IP packet.
    pub(super) bytes: usize,
}

/// Keys of the one tunnel: those of the client's packets, and those of the gateway's.
pub(super) const SEEDS: [u8; 2] = [1, 2];

/// Key material of a suite.
pub(super) fn key(suite: Suite, seed: u8) -> Vec<u8> {
    (0..64)
        .take(suite.key_len())
        .map(|byte| byte ^ seed)
        .collect()
}

/// Frames of one length, one behind the other.
pub(super) struct Rotation {
    frame_len: usize,
    bytes: Vec<u8>,
}

impl Rotation {
    /// Makes `count` frames; `inbound` is the gateway's SPI.
    ///
    /// # Errors
    /// [`Failure::Gateway`] if a packet of this size cannot be made.
    pub(super) fn new(
        shape: Shape,
        macs: Macs,
        inbound: Spi,
        count: usize,
    ) -> Result<Self, Failure> {
        match shape.direction {
            Direction::Up => sealed(shape, macs, inbound, count),
            Direction::Down => plain(shape, macs, count),
        }
        .ok_or_else(|| Failure::Gateway(format!("no packets of {} bytes", shape.bytes)))
    }

    /// The frame at `index`.
    pub(super) fn frame(&self, index: usize) -> &[u8] {
        let from = index * self.frame_len;
        self.bytes
            .get(from..from + self.frame_len)
            .unwrap_or_default()
    }

    /// Bytes of each.
    pub(super) const fn frame_len(&self) -> usize {
        self.frame_len
    }
}

fn probe(shape: Shape, index: usize, packet: &mut [u8]) -> Option<()> {
    let ends = match shape.direction {
        Direction::Up => Ends {
            source: SESSION,
            destination: HOST,
        },
        Direction::Down => Ends {
            source: HOST,
            destination: SESSION,
        },
    };
    let probe = Probe {
        run: 0,
        direction: shape.direction,
        client: 0,
        sequence: index as u64 + 1,
        sent_ns: 0,
    };
    probe.emit(ends, packet, shape.bytes).ok()
}

fn ethernet(source: MacAddress, destination: MacAddress) -> [u8; eth::HEADER_LEN] {
    let header = eth::Header {
        destination,
        source,
        tags: [None; eth::MAX_TAGS],
        ether_type: EtherType::IPV4,
    };
    let mut bytes = [0; eth::HEADER_LEN];
    header
        .emit(&mut bytes)
        .expect("a header without tags has this length");
    bytes
}

fn plain(shape: Shape, macs: Macs, count: usize) -> Option<Rotation> {
    let frame_len = eth::HEADER_LEN + shape.bytes;
    let mut bytes = vec![0; frame_len * count];
    let header = ethernet(macs.l0, macs.g1);
    for (index, frame) in bytes.chunks_exact_mut(frame_len).enumerate() {
        let (front, packet) = frame.split_at_mut(header.len());
        front.copy_from_slice(&header);
        probe(shape, index, packet)?;
    }
    Some(Rotation { frame_len, bytes })
}

fn sealed(shape: Shape, macs: Macs, inbound: Spi, count: usize) -> Option<Rotation> {
    let suite = shape.suite;
    let engine = Engine::choose();
    let context = SealContext::new(engine, suite, &key(suite, SEEDS[0])).ok()?;
    let payload_len = TUNNEL_LEN + shape.bytes;
    let trailer = Trailer::aligning(payload_len, suite.alignment(), Protocol::UDP);
    let sealed_len = suite.sealed_len(trailer.plaintext_len());
    let frame_len = ESP_PLACE + esp::HEADER_LEN + sealed_len;
    let front = outer_headers(macs, frame_len)?;
    let mut bytes = vec![0; frame_len * count];
    let mut plaintexts = vec![vec![0; trailer.plaintext_len()]; BURST];
    for plaintext in &mut plaintexts {
        let (tunnel, rest) = plaintext.split_at_mut(TUNNEL_LEN);
        tunnel.copy_from_slice(&tunnel_headers(payload_len)?);
        trailer.emit(rest.get_mut(shape.bytes..)?).ok()?;
    }
    for (burst, frames) in bytes.chunks_mut(frame_len * BURST).enumerate() {
        let mut ops = Vec::with_capacity(BURST);
        for (at, (frame, plaintext)) in frames
            .chunks_exact_mut(frame_len)
            .zip(&mut plaintexts)
            .enumerate()
        {
            let index = burst * BURST + at;
            probe(shape, index, plaintext.get_mut(TUNNEL_LEN..)?)?;
            let sequence = u32::try_from(index).ok()? + 1;
            let (headers, body) = frame.split_at_mut(ESP_PLACE);
            headers.copy_from_slice(&front);
            let (aad, body) = body.split_at_mut(esp::HEADER_LEN);
            aad.copy_from_slice(&esp::header(inbound, sequence));
            let iv = context.iv(sequence.into());
            ops.push(SealOp::new(&context, aad, iv, plaintext, body).ok()?);
        }
        engine.seal_burst(&mut ops);
    }
    Some(Rotation { frame_len, bytes })
}

fn outer_headers(macs: Macs, frame_len: usize) -> Option<[u8; ESP_PLACE]> {
    let ip = ipv4::Header {
        traffic_class: 0,
        total_len: u16::try_from(frame_len - eth::HEADER_LEN).ok()?,
        identification: 0,
        dont_fragment: true,
        fragment: Fragment::default(),
        ttl: 64,
        protocol: Protocol::UDP,
        source: CLIENT,
        destination: GATEWAY,
    };
    let udp = udp::Header {
        source_port: udp::Port::NAT_T,
        destination_port: udp::Port::NAT_T,
        total_len: u16::try_from(frame_len - eth::HEADER_LEN - ipv4::HEADER_LEN).ok()?,
        checksum: 0,
    };
    let ethernet = ethernet(macs.c0, macs.g0);
    [&ethernet[..], &ip.to_bytes(), &udp.to_bytes()]
        .concat()
        .try_into()
        .ok()
}

fn tunnel_headers(payload_len: usize) -> Option<[u8; TUNNEL_LEN]> {
    let udp = udp::Header {
        source_port: udp::Port::L2TP,
        destination_port: udp::Port::L2TP,
        total_len: u16::try_from(payload_len).ok()?,
        checksum: 0,
    };
    // L2TP data message for tunnel 1, session 2; PPP with IPv4.
    let rest = [0, 2, 0, 1, 0, 2, 0xFF, 0x03, 0x00, 0x21];
    [&udp.to_bytes()[..], &rest].concat().try_into().ok()
}

/// Which frame of the rotation is in a frame that went through untouched, or came out of the gateway opened.
#[inline]
pub(super) fn index(frame: &[u8], is_sealed: bool) -> Option<usize> {
    let number = if is_sealed {
        u64::from(u32::from_be_bytes(
            *frame.get(ESP_PLACE + 4..)?.first_chunk()?,
        ))
    } else {
        u64::from_be_bytes(
            *frame
                .get(eth::HEADER_LEN + SEQUENCE_PLACE..)?
                .first_chunk()?,
        )
    };
    usize::try_from(number).ok()?.checked_sub(1)
}

/// Opens a frame that the gateway sealed, checks its probe, and says which frame of the rotation is in it.
pub(super) fn open(frame: &[u8], context: &OpenContext) -> Option<usize> {
    let (aad, body) = frame.get(ESP_PLACE..)?.split_at_checked(esp::HEADER_LEN)?;
    let mut plaintext = vec![0; context.suite().opened_len(body.len())?];
    let op = OpenOp::new(context, aad, body, &mut plaintext).ok()?;
    if Engine::choose().open_burst(&mut [op]).count() == 0 {
        return None;
    }
    let trailer = Trailer::parse(&plaintext).ok()?;
    verify(plaintext.get(GATEWAY_TUNNEL_LEN..trailer.payload_len)?)
}

/// Checks a whole probe and says which frame of the rotation it is in.
pub(super) fn verify(packet: &[u8]) -> Option<usize> {
    let packet = packet.get(..packet.len().min(MAX_LEN))?;
    let is_sound = ipv4::Packet::parse(packet).ok()?.checksum_ok();
    let probe = Probe::parse(packet).filter(|_| is_sound)?;
    usize::try_from(probe.sequence).ok()?.checked_sub(1)
}
