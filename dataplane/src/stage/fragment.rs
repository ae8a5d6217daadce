//! Cuts IPv4 packets into fragments (RFC 791 §3.2): inner ones that may be, and outer ones that grew too long.

use culvert_wire::eth;
use culvert_wire::ipv4::{self, Fragment, HEADER_LEN};

use crate::batch::{Batch, IP_PLACE, Packet};
use crate::frame::Frame;
use crate::table::Rows;
use crate::verdict::Reason;

/// Longest IPv4 header with options.
const MAX_HEADER_LEN: usize = 60;
/// Set in the type of an option that every fragment repeats (RFC 791 §3.1).
const COPIED: u8 = 0x80;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;

/// Cuts `packet`, whose rest is an IPv4 packet, into fragments of at most `mtu` bytes, and appends them to `into`.
///
/// Each is a packet like the original in a frame of its own, at the same layer; an Ethernet header before the original is repeated. The
/// caller gives up the original. Returns how many there are.
/// # Errors
/// TooBig if they are more than `into` holds or the MTU leaves no room for them; NoFrame if the pool runs dry, with nothing appended.
pub fn cut(
    packet: &mut Packet,
    mtu: usize,
    rows: &mut Rows,
    into: &mut Batch,
) -> Result<usize, Reason> {
    let plan = Plan::new(packet, mtu).ok_or(Reason::TooBig)?;
    if plan.pieces() > into.room() {
        return Err(Reason::TooBig);
    }
    let before = into.len();
    for number in 0..plan.pieces() {
        if let Err(reason) = append(&plan, number, packet, rows, into) {
            while into.len() > before {
                let piece = into.pop().into_iter();
                piece.for_each(|piece| rows.pool.give(piece.frame));
            }
            return Err(reason);
        }
    }
    Ok(plan.pieces())
}

fn append(
    plan: &Plan,
    number: usize,
    packet: &mut Packet,
    rows: &mut Rows,
    into: &mut Batch,
) -> Result<(), Reason> {
    let mut frame = rows.pool.take().ok_or(Reason::NoFrame)?;
    let Some(len) = plan.write(number, packet, &mut frame) else {
        rows.pool.give(frame);
        return Err(Reason::TooBig);
    };
    into.push(piece(packet, frame, len)).map_err(|full| {
        rows.pool.give(full.frame);
        Reason::TooBig
    })
}

/// A packet like `whole` with its IPv4 part at [`IP_PLACE`].
fn piece(whole: &Packet, frame: Frame, len: usize) -> Packet {
    let mut piece = Packet::new(frame, whole.origin);
    piece.set_range(IP_PLACE, IP_PLACE + len);
    piece.frame.set_len(eth::HEADER_LEN + len);
    piece.layer = whole.layer;
    (piece.session, piece.set, piece.ecn) = (whole.session, whole.set, whole.ecn);
    piece
}

/// How a packet is cut.
#[derive(Debug)]
struct Plan {
    header_len: usize,
    /// Header of all fragments but the first.
    later: [u8; MAX_HEADER_LEN],
    later_len: usize,
    payload_len: usize,
    /// Payload of each fragment but the last; a multiple of 8.
    step: usize,
    offset: usize,
    more: bool,
}

impl Plan {
    fn new(packet: &mut Packet, mtu: usize) -> Option<Self> {
        let ip = ipv4::Packet::parse(packet.rest()).ok()?;
        let (later, later_len) = later_header(&ip);
        let step = mtu.checked_sub(ip.header_len())? / 8 * 8;
        (step > 0).then_some(Self {
            header_len: ip.header_len(),
            later,
            later_len,
            payload_len: ip.payload().len(),
            step,
            offset: ip.fragment_offset(),
            more: ip.more_fragments(),
        })
    }

    const fn pieces(&self) -> usize {
        self.payload_len.div_ceil(self.step)
    }

    /// Writes fragment `number` and returns its length.
    fn write(&self, number: usize, packet: &mut Packet, frame: &mut Frame) -> Option<usize> {
        let from = number * self.step;
        let part_len = self.step.min(self.payload_len - from);
        let is_last = number + 1 == self.pieces();
        let ethernet = packet
            .frame
            .bytes()
            .first_chunk::<{ eth::HEADER_LEN }>()
            .copied();
        let rest = &*packet.rest();
        let header = if number == 0 {
            rest.get(..self.header_len)?
        } else {
            self.later.get(..self.later_len)?
        };
        let payload = rest.get(self.header_len + from..)?.get(..part_len)?;
        let total_len = header.len() + part_len;
        let to = frame
            .chunk_mut()
            .0
            .get_mut(IP_PLACE - eth::HEADER_LEN..IP_PLACE + total_len)?;
        let (front, ip) = to.split_first_chunk_mut::<{ eth::HEADER_LEN }>()?;
        // A packet that we made has no Ethernet header yet.
        *front = ethernet.unwrap_or_default();
        let (to_header, to_payload) = ip.split_at_mut_checked(header.len())?;
        to_header.copy_from_slice(header);
        to_payload.copy_from_slice(payload);
        let fragment = Fragment {
            offset: u16::try_from(self.offset + from).ok()?,
            more: self.more || !is_last,
        };
        ipv4::set_fragment(ip, u16::try_from(total_len).ok()?, fragment);
        Some(total_len)
    }
}

/// The header with only those options that every fragment repeats, its checksum right for the length of the whole.
fn later_header(ip: &ipv4::Packet<'_>) -> ([u8; MAX_HEADER_LEN], usize) {
    let mut header = [0; MAX_HEADER_LEN];
    let mut len = HEADER_LEN;
    if let (Some(to), Some(from)) = (
        header.first_chunk_mut::<HEADER_LEN>(),
        ip.header().first_chunk::<HEADER_LEN>(),
    ) {
        *to = *from;
    }
    for option in copied_options(ip.options()) {
        if let Some(to) = header.get_mut(len..len + option.len()) {
            to.copy_from_slice(option);
            len += option.len();
        }
    }
    let len = len.next_multiple_of(4);
    if let Some(words) = u8::try_from(len / 4)
        .ok()
        .filter(|_| len != ip.header_len())
    {
        rewrite_length(&mut header, len, words);
    } else if let (Some(to), true) = (header.get_mut(..len), len == ip.header_len()) {
        to.copy_from_slice(ip.header());
    }
    (header, len)
}

/// Sets the header length and computes the checksum anew.
fn rewrite_length(header: &mut [u8; MAX_HEADER_LEN], len: usize, words: u8) {
    header[0] = 0x40 | words;
    (header[10], header[11]) = (0, 0);
    let checksum = culvert_wire::checksum::of(header.get(..len).unwrap_or_default());
    [header[10], header[11]] = checksum.to_be_bytes();
}

fn copied_options(mut options: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        loop {
            let kind = *options.first().filter(|kind| **kind != END_OF_OPTIONS)?;
            let len = if kind == NO_OPERATION {
                1
            } else {
                usize::from(*options.get(1)?).max(2)
            };
            let (option, rest) = options.split_at_checked(len)?;
            options = rest;
            if kind & COPIED != 0 {
                return Some(option);
            }
        }
    })
}

/// Cuts the IPv4 packet in a whole frame into frames whose packets are of at most `mtu` bytes, and appends them to `into`.
///
/// # Errors
/// As [`cut`].
pub fn cut_frame(
    packet: &mut Packet,
    mtu: u16,
    rows: &mut Rows,
    into: &mut Batch,
) -> Result<usize, Reason> {
    packet.advance(eth::HEADER_LEN);
    cut(packet, usize::from(mtu), rows, into)
}

#[cfg(test)]
mod tests {
    use culvert_wire::checksum;

    use super::*;

    /// A packet with a copied option (loose source route), one that is not (timestamp), and padding.
    fn with_options() -> Vec<u8> {
        let options = [0x83, 7, 4, 1, 2, 3, 4, 0x01, 0x44, 4, 5, 0];
        let mut packet = vec![
            0x48, 0, 0, 132, 0, 7, 0, 0, 64, 253, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        packet.extend(options);
        let sum = checksum::of(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend([9; 100]);
        packet
    }

    #[test]
    fn later_fragments_repeat_only_the_options_that_say_so() {
        let packet = with_options();
        let ip = ipv4::Packet::parse(&packet).unwrap();
        let (header, len) = later_header(&ip);
        assert_eq!(len, 28);
        assert_eq!(header[20..28], [0x83, 7, 4, 1, 2, 3, 4, 0]);
        assert_eq!((header[0], checksum::of(&header[..len])), (0x47, 0));
    }

    #[test]
    fn options_that_lie_about_their_length_end_the_list() {
        assert_eq!(copied_options(&[0x83, 200, 1]).count(), 0);
        assert_eq!(copied_options(&[0x83, 0, 0x94, 0]).count(), 2);
        assert_eq!(copied_options(&[0x94]).count(), 0);
        assert_eq!(copied_options(&[]).count(), 0);
    }
}
