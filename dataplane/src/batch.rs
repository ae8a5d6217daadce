//! A batch: at most 64 packets that pass the stages together, each with the verdict so far and what the stages learnt of it.
//!
//! ```text
//! frame    0        HEADROOM = 256            at            end           4,096
//!          ├── free ───┼── headers ────────────┼──── rest ────┼──── free ────┤
//! ```
//! Going up, a stage moves `at` past its header; going down, it moves `at` back and writes one.

use std::net::{Ipv4Addr, SocketAddrV4};

use culvert_wire::eth;
use culvert_wire::ipv4::Ecn;

use crate::api::{Encapsulation, PuntSource, SessionRow, SetId, Spi};
use crate::frame::{BATCH, CHUNK, Frame, HEADROOM};
use crate::table::sa::SaRow;
use crate::verdict::{Origin, PuntKind, Reason, Verdict};

/// Where an IP header stands in a frame that a port can send: right behind the Ethernet header.
pub const IP_PLACE: usize = HEADROOM + eth::HEADER_LEN;

/// What [`Packet::rest`] is just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// A whole frame.
    Ethernet,
    /// An outer IPv4 fragment's payload.
    Fragment,
    /// An outer IPv4 payload.
    Outer,
    /// An IKE message.
    Ike,
    /// An ESP packet.
    Esp,
    /// A UDP datagram that carries L2TP, sealed once or in the clear.
    Udp,
    /// An L2TP message.
    L2tp,
    /// An IPv4 packet from the core side, not yet led to a session.
    FromCore,
    /// A PPP frame.
    Ppp,
    /// What follows the protocol field of a PPP frame.
    PppPayload,
    /// An inner IPv4 packet.
    Inner,
}

/// One packet on its way.
#[derive(Debug)]
pub struct Packet {
    /// The frame that holds it.
    pub frame: Frame,
    /// The frame that the crypto writes it to.
    pub out: Option<Frame>,
    /// What is to become of it.
    pub verdict: Verdict,
    /// Where its life began.
    pub origin: Origin,
    /// What is left of it.
    pub layer: Layer,
    /// Where that begins, counted from the start of the chunk.
    at: u16,
    /// Where that ends.
    end: u16,
    /// Our end of the outer path.
    pub local: SocketAddrV4,
    /// The peer's end.
    pub remote: SocketAddrV4,
    /// How it came.
    pub encapsulation: Encapsulation,
    /// Congestion mark: the outer one going up, the inner one going down.
    pub ecn: Ecn,
    /// Outer fragment: identification, offset in bytes, whether more follow.
    pub fragment: (u16, u16, bool),
    /// Outer IP protocol.
    pub protocol: u8,
    /// Its SPI.
    pub spi: Spi,
    /// Its SA's row.
    pub sa: SaRow,
    /// Where its opened payload begins in the chunk, and where that ends.
    pub opened: (u16, u16),
    /// ESP sequence number.
    pub sequence: u32,
    /// Its set.
    pub set: SetId,
    /// Our and the peer's port inside the SA.
    pub ports: (u16, u16),
    /// Its session.
    pub session: SessionRow,
    /// Where the inner packet goes.
    pub destination: Ipv4Addr,
    /// PPP protocol number.
    pub ppp: u16,
    /// Whether another core handed it over: it is not handed on again.
    pub is_handed: bool,
}

const _: () = assert!(size_of::<Packet>() <= 128, "two cache lines");

/// A place in a chunk; none lies beyond its end.
#[inline]
pub(crate) const fn place(at: usize) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "a chunk's end fits")]
    let place = if at < CHUNK { at } else { CHUNK } as u16;
    place
}

const NOWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

impl Packet {
    /// A packet that came in `frame`, or that we wrote there.
    pub fn new(frame: Frame, origin: Origin) -> Self {
        let end = place(HEADROOM + frame.len());
        Self {
            frame,
            out: None,
            verdict: Verdict::Forward,
            origin,
            layer: Layer::Ethernet,
            at: place(HEADROOM),
            end,
            local: NOWHERE,
            remote: NOWHERE,
            encapsulation: Encapsulation::Clear,
            ecn: Ecn::NotCapable,
            fragment: (0, 0, false),
            protocol: 0,
            spi: Spi(0),
            sa: SaRow(0),
            opened: (0, 0),
            sequence: 0,
            set: SetId(0),
            ports: (0, 0),
            session: SessionRow(0),
            destination: Ipv4Addr::UNSPECIFIED,
            ppp: 0,
            is_handed: false,
        }
    }

    /// What is left of it.
    #[inline]
    pub fn rest(&mut self) -> &mut [u8] {
        let (at, end) = (self.at(), self.end());
        self.frame
            .chunk_mut()
            .0
            .get_mut(at..end)
            .unwrap_or_default()
    }

    /// Bytes of what is left.
    #[inline]
    pub const fn len(&self) -> usize {
        (self.end - self.at) as usize
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.end == self.at
    }

    /// Where what is left begins in its chunk.
    #[inline]
    pub const fn at(&self) -> usize {
        self.at as usize
    }

    /// Where what is left ends in its chunk.
    #[inline]
    pub const fn end(&self) -> usize {
        self.end as usize
    }

    /// Moves past `len` bytes, as many as there are.
    #[inline]
    pub fn advance(&mut self, len: usize) {
        self.at = place(self.end().min(self.at() + len));
    }

    /// Cuts what is left to `len` bytes, if it is longer.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.end = place(self.end().min(self.at() + len));
    }

    /// Makes room for `len` bytes in front and returns everything from there on; `None`, and nothing changed, if there is none.
    #[inline]
    pub fn prepend(&mut self, len: usize) -> Option<&mut [u8]> {
        self.at = place(self.at().checked_sub(len)?);
        Some(self.rest())
    }

    /// Bytes free behind it.
    #[inline]
    pub const fn tailroom(&self) -> usize {
        CHUNK - self.end()
    }

    /// Makes `at..end` of the chunk what is left; a range beyond it becomes empty.
    #[inline]
    pub fn set_range(&mut self, at: usize, end: usize) {
        self.end = place(end.min(CHUNK));
        self.at = place(at).min(self.end);
    }

    /// Moves what is left to `place` in its chunk; false, and nothing changed, if it does not fit there.
    #[inline]
    pub fn move_to(&mut self, place: usize) -> bool {
        let (at, len) = (self.at(), self.len());
        if place + len > CHUNK {
            return false;
        }
        if at != place {
            self.frame.chunk_mut().0.copy_within(at..at + len, place);
            self.set_range(place, place + len);
        }
        true
    }

    /// What a punted packet came in on.
    pub fn punt_source(&self, kind: PuntKind) -> PuntSource {
        let (local, remote) = (self.local.into(), self.remote.into());
        match kind {
            PuntKind::IkeFirst | PuntKind::Ike => PuntSource::Ike { local, remote },
            PuntKind::L2tp => {
                let (local_port, remote_port) = self.ports;
                PuntSource::L2tp {
                    set: self.set,
                    local_port,
                    remote_port,
                }
            }
            PuntKind::ClearL2tp => PuntSource::ClearL2tp { local, remote },
            PuntKind::Ppp => PuntSource::Ppp(self.session),
        }
    }

    /// Ends its way.
    #[inline]
    pub const fn drop(&mut self, reason: Reason) {
        self.verdict = Verdict::Drop(reason);
    }

    /// Whether it is still on its way and is a `layer` just now.
    #[inline]
    pub fn awaits(&self, layer: Layer) -> bool {
        self.verdict == Verdict::Forward && self.layer == layer
    }
}

/// At most 64 packets. The default has no memory and stands in for a batch that is being emptied.
#[derive(Debug, Default)]
pub struct Batch(Vec<Packet>);

impl Batch {
    /// An empty batch with all the memory it will need.
    pub fn new() -> Self {
        Self(Vec::with_capacity(BATCH))
    }

    /// Appends a packet.
    ///
    /// # Errors
    /// Gives it back if the batch is full.
    #[expect(
        clippy::result_large_err,
        reason = "the packet goes back to be freed, which is rare"
    )]
    pub fn push(&mut self, packet: Packet) -> Result<(), Packet> {
        if self.room() == 0 {
            return Err(packet);
        }
        self.0.push(packet);
        Ok(())
    }

    /// How many more it holds.
    pub const fn room(&self) -> usize {
        BATCH - self.0.len()
    }

    /// Number of packets.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All packets.
    pub fn packets(&mut self) -> &mut [Packet] {
        &mut self.0
    }

    /// The packets that are on their way and a `layer` just now.
    pub fn awaiting(&mut self, layer: Layer) -> impl Iterator<Item = &mut Packet> {
        self.0.iter_mut().filter(move |packet| packet.awaits(layer))
    }

    /// Takes out all packets, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Packet> {
        self.0.drain(..)
    }

    /// Takes out the first packet that must be cut; the others keep their order.
    pub fn take_split(&mut self) -> Option<Packet> {
        let at = self
            .0
            .iter()
            .position(|packet| packet.verdict == Verdict::Split)?;
        Some(self.0.remove(at))
    }

    /// Takes out the last packet.
    pub fn pop(&mut self) -> Option<Packet> {
        self.0.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CoreId;
    use crate::frame::FramePool;

    fn packet(bytes: &[u8]) -> Packet {
        let mut frame = FramePool::in_memory(CoreId(0), 1).take().unwrap();
        frame.set_len(bytes.len());
        frame.bytes_mut().copy_from_slice(bytes);
        Packet::new(frame, Origin::Outer)
    }

    #[test]
    fn headers_come_off_and_go_on() {
        let mut packet = packet(&[1, 2, 3, 4]);
        packet.advance(2);
        assert_eq!(packet.rest(), [3, 4]);
        packet.prepend(1).unwrap()[0] = 9;
        assert_eq!(packet.rest(), [9, 3, 4]);
        packet.advance(99);
        assert!(packet.is_empty());
        assert!(packet.prepend(HEADROOM + 5).is_none());
    }

    #[test]
    fn a_packet_moves_within_its_frame_and_not_beyond() {
        let mut packet = packet(&[1, 2, 3, 4]);
        packet.advance(1);
        assert!(packet.move_to(IP_PLACE));
        assert_eq!(
            (packet.at(), packet.rest().to_vec()),
            (IP_PLACE, vec![2, 3, 4])
        );
        assert!(!packet.move_to(CHUNK - 2));
        assert_eq!(packet.rest(), [2, 3, 4]);
    }
}
