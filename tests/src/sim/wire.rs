//! What a listener on the gateway's outer wire hears: all that came in, and that no sequence number or IV is ever sealed with twice.

use std::collections::BTreeSet;

use culvert_wire::ipv4::{Packet, Protocol};
use culvert_wire::udp::{self, Datagram, Port};

/// SPI and sequence number.
const ESP_HEADER: usize = 8;
/// Bytes compared of an IV: all of AES-GCM's, half of AES-CBC's.
const IV: usize = 8;

/// The listener.
#[derive(Debug, Default)]
pub struct Tap {
    recorded: Vec<Vec<u8>>,
    is_recording: bool,
    sealed: BTreeSet<(u32, u32)>,
    ivs: BTreeSet<(u32, [u8; IV])>,
}

impl Tap {
    /// Keeps every frame to the gateway from now on.
    pub const fn record(&mut self) {
        self.is_recording = true;
    }

    /// Keeps no more; returns what was kept.
    pub fn stop(&mut self) -> Vec<Vec<u8>> {
        self.is_recording = false;
        std::mem::take(&mut self.recorded)
    }

    /// Hears a frame to the gateway.
    pub fn incoming(&mut self, frame: &[u8]) {
        if self.is_recording {
            self.recorded.push(frame.to_vec());
        }
    }

    /// Hears a packet of the gateway's.
    ///
    /// # Panics
    /// If it is sealed with a sequence number or an IV that its SA has used before.
    pub fn outgoing(&mut self, packet: &Packet<'_>) {
        let Some(esp) = esp(packet) else {
            return;
        };
        let word = |at: usize| u32::from_be_bytes([esp[at], esp[at + 1], esp[at + 2], esp[at + 3]]);
        let (spi, sequence) = (word(0), word(4));
        assert!(
            self.sealed.insert((spi, sequence)),
            "SPI {spi:08x}: sequence number {sequence} used twice"
        );
        let iv = esp[ESP_HEADER..].first_chunk().expect("ESP has an IV");
        assert!(
            self.ivs.insert((spi, *iv)),
            "SPI {spi:08x}: an IV used twice"
        );
    }

    /// ESP packets heard.
    pub fn sealed(&self) -> usize {
        self.sealed.len()
    }
}

/// The ESP packet inside a packet of the gateway's, from its SPI on, if it is one.
pub fn esp<'a>(packet: &Packet<'a>) -> Option<&'a [u8]> {
    esp_of(packet, |datagram| datagram.source_port())
}

/// The ESP packet inside a packet to the gateway, from its SPI on, if it is one.
pub fn esp_from_client<'a>(packet: &Packet<'a>) -> Option<&'a [u8]> {
    esp_of(packet, |datagram| datagram.destination_port())
}

fn esp_of<'a>(packet: &Packet<'a>, ours: impl FnOnce(&Datagram<'a>) -> Port) -> Option<&'a [u8]> {
    if packet.protocol() == Protocol::ESP {
        return Some(packet.payload());
    }
    let datagram = Datagram::parse(packet.payload()).ok()?;
    let payload = packet.payload().get(udp::HEADER_LEN..)?;
    let is_esp = packet.protocol() == Protocol::UDP
        && ours(&datagram) == Port::NAT_T
        && !payload.starts_with(&[0; 4]);
    is_esp.then_some(payload)
}
