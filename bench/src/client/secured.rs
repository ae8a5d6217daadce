//! L2TP inside ESP: the SAs of a client, and the headers between an outer datagram and a PPP frame (RFC 3193, RFC 2661 §8.1).
//!
//! ```text
//! ESP header | UDP 1701 8 | L2TP 6 | PPP FF 03 + protocol 2 | IP packet … | ESP trailer, ICV
//! ```

use std::collections::VecDeque;
use std::ops::Range;

use culvert_wire::l2tp::header::{DataHeader, Header, Length};
use culvert_wire::ppp::frame::{Frame, Protocol};
use culvert_wire::writer::Writer;

use super::esp::{self, Inbound, Outbound, Refused, Unsealed};
use super::ike::proposal::Travel;
use super::ike::{FLOATED_PORT, Pair};
use super::l2tp::Ids;
use super::{Datagram, L2TP_PORT};

/// What a datagram travels in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outer {
    /// UDP with this port at both ends.
    Udp(u16),
    /// IP protocol 50.
    Esp,
}

/// Why an inner packet was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// The client is not logged in.
    Down,
    /// The buffer is too short.
    NoRoom,
    /// The SA has no sequence number left.
    Exhausted,
}

impl From<Unsealed> for Unsent {
    fn from(unsealed: Unsealed) -> Self {
        match unsealed {
            Unsealed::Exhausted => Self::Exhausted,
            Unsealed::NoRoom => Self::NoRoom,
        }
    }
}

/// Packets that a client did not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discards {
    /// The SPI is none of ours.
    pub unknown_spi: u64,
    /// Seen before, or too old.
    pub replayed: u64,
    /// The ICV is wrong.
    pub forged: u64,
    /// A header inside or outside does not parse.
    pub malformed: u64,
    /// L2TP for another tunnel or session.
    pub foreign: u64,
}

/// What a packet held; ranges are places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// An L2TP control message.
    Control(Range<usize>),
    /// What a PPP frame of our session carried.
    Ppp(Protocol, Range<usize>),
}

/// The SAs of a client.
#[derive(Debug)]
pub(super) struct Secured {
    travel: Travel,
    outbound: Outbound,
    /// Newest first.
    inbound: VecDeque<Inbound>,
    discards: Discards,
}

const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
/// Inbound SAs that live at once.
const MAX_INBOUND: usize = 4;

impl Secured {
    pub(super) fn new(pair: &Pair) -> Self {
        Self {
            travel: pair.travel,
            outbound: Outbound::new(pair.outbound, pair.suite, &pair.outbound_keys),
            inbound: VecDeque::from([Inbound::new(pair.inbound, pair.suite, &pair.inbound_keys)]),
            discards: Discards::default(),
        }
    }

    /// Seals with the new pair from now on; older inbound SAs stay for what is under way.
    pub(super) fn replace(&mut self, pair: &Pair) {
        let newer = Self::new(pair);
        self.outbound = newer.outbound;
        for inbound in newer.inbound {
            self.inbound.push_front(inbound);
        }
        self.inbound.truncate(MAX_INBOUND);
    }

    pub(super) const fn discards(&self) -> Discards {
        self.discards
    }

    pub(super) const fn seals_with(&self, spi: u32) -> bool {
        self.outbound.spi() == spi
    }

    pub(super) fn newest_inbound(&self) -> u32 {
        self.inbound.front().map_or(0, Inbound::spi)
    }

    /// Opens an ESP packet and reads the headers inside.
    pub(super) fn open(&mut self, packet: &mut [u8], ids: Ids, port: u16) -> Option<Content> {
        let spi = esp::spi(packet);
        let Some(sa) = self.inbound.iter_mut().find(|sa| Some(sa.spi()) == spi) else {
            self.discards.unknown_spi += 1;
            return None;
        };
        let opened = match sa.open(packet) {
            Ok(opened) => opened,
            Err(refused) => {
                self.discards.count(refused);
                return None;
            }
        };
        let content = (opened.next_header == UDP)
            .then(|| content(packet, &opened.payload, ids, port))
            .flatten();
        match content {
            Some(Ok(content)) => Some(content),
            Some(Err(Foreign)) => {
                self.discards.foreign += 1;
                None
            }
            None => {
                self.discards.malformed += 1;
                None
            }
        }
    }

    /// Seals an L2TP control message.
    pub(super) fn control(&mut self, message: &[u8], port: u16) -> Option<Datagram> {
        self.datagram(message.len(), |out, datagram| {
            out.seal(&[message], port, datagram)
        })
    }

    /// Seals a PPP frame that begins with its protocol.
    pub(super) fn ppp(&mut self, frame: &[u8], ids: Ids, port: u16) -> Option<Datagram> {
        let header = data_header(ids)?;
        self.datagram(header.len() + 2 + frame.len(), |out, datagram| {
            out.seal(&[&header, &[0xFF, 0x03], frame], port, datagram)
        })
    }

    /// Seals a packet of `protocol` into `datagram`.
    pub(super) fn seal_ppp(
        &mut self,
        protocol: Protocol,
        packet: &[u8],
        ids: Ids,
        port: u16,
        datagram: &mut [u8],
    ) -> Result<usize, Unsent> {
        let header = data_header(ids).ok_or(Unsent::NoRoom)?;
        let [high, low] = protocol.0.to_be_bytes();
        self.seal(&[&header, &[0xFF, 0x03, high, low], packet], port, datagram)
    }

    fn datagram(
        &mut self,
        len: usize,
        seal: impl FnOnce(&mut Self, &mut [u8]) -> Result<usize, Unsent>,
    ) -> Option<Datagram> {
        let suite = self.outbound.suite();
        let mut bytes = vec![0; suite.payload_at() + UDP_HEADER + len + suite.max_tail()];
        let len = seal(self, &mut bytes).ok()?;
        bytes.truncate(len);
        Some(Datagram {
            outer: self.outer(),
            bytes,
        })
    }

    /// Puts a UDP header before `parts` and seals all of it.
    fn seal(&mut self, parts: &[&[u8]], port: u16, datagram: &mut [u8]) -> Result<usize, Unsent> {
        let at = self.outbound.suite().payload_at();
        let len = parts.iter().map(|part| part.len()).sum::<usize>() + UDP_HEADER;
        let mut writer = Writer::new(datagram.get_mut(at..).ok_or(Unsent::NoRoom)?);
        write_udp(&mut writer, port, len, parts).ok_or(Unsent::NoRoom)?;
        Ok(self.outbound.seal(datagram, len, UDP)?)
    }

    pub(super) const fn outer(&self) -> Outer {
        match self.travel {
            Travel::Native => Outer::Esp,
            Travel::InUdp => Outer::Udp(FLOATED_PORT),
        }
    }
}

impl Discards {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.unknown_spi + self.replayed + self.forged + self.malformed + self.foreign
    }

    const fn count(&mut self, refused: Refused) {
        match refused {
            Refused::Malformed => self.malformed += 1,
            Refused::Replayed => self.replayed += 1,
            Refused::Forged => self.forged += 1,
        }
    }
}

/// RFC 3948 §3.1.2 allows a checksum of zero inside ESP in transport mode.
fn write_udp(writer: &mut Writer<'_>, port: u16, len: usize, parts: &[&[u8]]) -> Option<()> {
    writer.u16(port).ok()?;
    writer.u16(L2TP_PORT).ok()?;
    writer.u16(u16::try_from(len).ok()?).ok()?;
    writer.u16(0).ok()?;
    parts.iter().try_for_each(|part| writer.put(part)).ok()
}

fn data_header(ids: Ids) -> Option<[u8; 6]> {
    let header = DataHeader {
        tunnel: ids.peer_tunnel,
        session: ids.peer_session,
        length: Length::Absent,
        sequence: None,
    };
    let mut bytes = [0; 6];
    header.emit(&mut bytes, 0).ok()?;
    Some(bytes)
}

/// L2TP of another tunnel or session, or for another port.
struct Foreign;

/// Reads UDP, L2TP and PPP headers in `packet[payload]`; nothing if one does not parse.
fn content(
    packet: &[u8],
    payload: &Range<usize>,
    ids: Ids,
    port: u16,
) -> Option<Result<Content, Foreign>> {
    let datagram = packet.get(payload.clone())?;
    let (udp, _) = datagram.split_first_chunk::<UDP_HEADER>()?;
    let &[_, _, port_high, port_low, len_high, len_low, _, _] = udp;
    let message = datagram.get(UDP_HEADER..usize::from(u16::from_be_bytes([len_high, len_low])))?;
    let at = payload.start + UDP_HEADER;
    let header = Header::parse(message).ok()?;
    if u16::from_be_bytes([port_high, port_low]) != port || header.tunnel != ids.local_tunnel {
        return Some(Err(Foreign));
    }
    if header.is_control() {
        return Some(Ok(Content::Control(at..at + header.total_len())));
    }
    if header.session != ids.local_session {
        return Some(Err(Foreign));
    }
    let range = header.payload_range();
    let frame = Frame::parse(message.get(range.clone())?).ok()?;
    let start = at + range.start + frame.header_len;
    Some(Ok(Content::Ppp(frame.protocol, start..at + range.end)))
}
