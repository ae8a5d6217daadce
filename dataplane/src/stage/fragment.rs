//! Cuts IPv4 packets into fragments (RFC 791 §3.2): inner ones that may be, and outer ones that grew too long.

use culvert_wire::eth;
use culvert_wire::ipv4::{self, Fragment, HEADER_LEN};

use crate::batch::{Batch, IP_PLACE, Layer, Packet};
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
        let Some(mut frame) = rows.pool.take() else {
            while into.len() > before {
                into.pop()
                    .into_iter()
                    .for_each(|piece| rows.pool.give(piece.frame));
            }
            return Err(Reason::NoFrame);
        };
        let len = plan.write(number, packet, &mut frame).ok_or(Reason::TooBig);
        let piece = piece(packet, frame, len?);
        if let Err(full) = into.push(piece) {
            rows.pool.give(full.frame);
        }
    }
    Ok(plan.pieces())
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
        *front = ethernet?;
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

/// Cuts frames that are too long for the outer link; what fits goes on as it is.
///
/// Returns whether `packet` must be given up because its fragments are in `into`.
/// # Errors
/// As [`cut`].
pub fn cut_outer(packet: &mut Packet, rows: &mut Rows, into: &mut Batch) -> Result<usize, Reason> {
    let mtu = usize::from(rows.here.outer_mtu);
    packet.advance(eth::HEADER_LEN);
    let pieces = cut(packet, mtu, rows, into)?;
    for piece in into.packets() {
        piece.layer = Layer::Ethernet;
    }
    Ok(pieces)
}
