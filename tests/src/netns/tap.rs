//! A port that records every frame that passes it.

use std::cell::{Ref, RefCell};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Instant;

use culvert_dataplane::frame::{FramePool, Frames};
use culvert_dataplane::port::{Port, PortStatistics};
use culvert_wire::eth::{self, EtherType};
use culvert_wire::ipv4::{Packet, Protocol};

/// Which way a frame went, seen from our end of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the gateway.
    In,
    /// To the gateway.
    Out,
}

/// A frame that passed.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// When.
    pub at: Instant,
    /// Which way.
    pub way: Way,
    /// The IPv4 packet in it.
    pub packet: Vec<u8>,
}

impl Recorded {
    /// SPI and sequence number, if it is ESP.
    pub fn esp(&self) -> Option<(u32, u32)> {
        let packet = Packet::parse(&self.packet).ok()?;
        let payload = (packet.protocol() == Protocol::ESP).then_some(packet.payload())?;
        let (spi, rest) = payload.split_first_chunk()?;
        let sequence = rest.first_chunk()?;
        Some((u32::from_be_bytes(*spi), u32::from_be_bytes(*sequence)))
    }
}

/// What passed a port, in order; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Recording(Rc<RefCell<Vec<Recorded>>>);

impl Recording {
    /// All of it.
    pub fn frames(&self) -> Ref<'_, [Recorded]> {
        Ref::map(self.0.borrow(), Vec::as_slice)
    }

    /// Frames that went `way`.
    pub fn count(&self, way: Way) -> usize {
        self.frames()
            .iter()
            .filter(|frame| frame.way == way)
            .count()
    }

    fn note<'a>(&self, way: Way, frames: impl Iterator<Item = &'a [u8]>) {
        let at = Instant::now();
        let packets = frames.filter_map(ipv4);
        let recorded = packets.map(|packet| Recorded { at, way, packet });
        self.0.borrow_mut().extend(recorded);
    }
}

fn ipv4(frame: &[u8]) -> Option<Vec<u8>> {
    let header = eth::Header::parse(frame).ok()?;
    let is_ipv4 = header.ether_type == EtherType::IPV4;
    Some(frame.get(header.len()..).filter(|_| is_ipv4)?.to_vec())
}

/// The port.
#[derive(Debug)]
pub struct Tap<P> {
    port: P,
    recording: Recording,
}

impl<P> Tap<P> {
    /// Records what passes `port`.
    pub const fn new(port: P, recording: Recording) -> Self {
        Self { port, recording }
    }
}

impl<P: Port> Port for Tap<P> {
    fn receive(&mut self, pool: &mut FramePool, into: &mut Frames) -> usize {
        let before = into.len();
        let received = self.port.receive(pool, into);
        let frames = into.iter().skip(before);
        self.recording
            .note(Way::In, frames.map(|frame| frame.bytes()));
        received
    }

    fn transmit(&mut self, pool: &mut FramePool, frames: &mut Frames) -> usize {
        // Sent frames are gone afterwards.
        let offered: Vec<_> = frames.iter().map(|frame| frame.bytes().to_vec()).collect();
        let taken = self.port.transmit(pool, frames);
        let sent = offered.iter().take(taken).map(Vec::as_slice);
        self.recording.note(Way::Out, sent);
        taken
    }

    fn wake(&mut self) {
        self.port.wake();
    }

    fn held(&self) -> usize {
        self.port.held()
    }

    fn in_flight(&self) -> usize {
        self.port.in_flight()
    }

    fn statistics(&self) -> PortStatistics {
        self.port.statistics()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.port.fd()
    }
}
