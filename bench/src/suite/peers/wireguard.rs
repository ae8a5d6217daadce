//! boringtun: WireGuard in user space, as a machine without sockets.

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use culvert_crypto::{AesKey, BURST, Suite};

use super::ours::{Crypto, Work};
use super::{PeerRow, our_name, shuffled};
use crate::failure::Failure;
use crate::measure::{Bench, Contest, Standing, as_f64};
use crate::suite::pipeline::{Path, Turns};

/// Its name in rows.
pub(super) const NAME: &str = "boringtun";
/// Bytes of the inner IP packet.
const BYTES: [usize; 3] = [64, 576, 1_420];
/// Numbers of tunnels.
const TUNNELS: [u32; 2] = [1, 1_000];
/// UDP, L2TP with length, PPP with address and control, and the two bytes of ESP's trailer around an inner packet.
const AROUND: usize = 8 + 8 + 4 + 2;
/// Bytes that WireGuard adds, and the least room that boringtun asks for.
const WIREGUARD: usize = 32;
const LEAST_ROOM: usize = 148;

/// Culvert's whole packet path in rows.
const PATH: &str = "culvert-path";

/// A direction: its name, and Culvert's words for it.
const WORKS: [(&str, Work, Path); 2] = [
    ("encapsulate", Work::Seal, Path::Down),
    ("decapsulate", Work::Open, Path::Up),
];

/// Every size and number of tunnels.
pub(super) fn rows(bench: &mut Bench) -> Result<Vec<PeerRow>, Failure> {
    let (sizes, numbers) = if bench.quick {
        (&BYTES[..1], &TUNNELS[..1])
    } else {
        (&BYTES[..], &TUNNELS[..])
    };
    let mut rows = Vec::new();
    for &tunnels in numbers {
        for &bytes in sizes {
            for (name, work, path) in WORKS {
                let standings = measure(tunnels, bytes, (work, path), bench)?;
                rows.extend(
                    standings
                        .into_iter()
                        .map(|standing| PeerRow::of(name, tunnels as usize, bytes, standing)),
                );
            }
        }
    }
    Ok(rows)
}

fn measure(
    tunnels: u32,
    bytes: usize,
    (work, path): (Work, Path),
    bench: &mut Bench,
) -> Result<Vec<Standing>, Failure> {
    let wrong = || Failure::Wrong(format!("{NAME} with {tunnels} tunnels and {bytes} bytes"));
    let suite = Suite::AesGcm(AesKey::Bits128);
    let mut theirs = Tunnels::new(tunnels, bytes).ok_or_else(wrong)?;
    let mut ours = Crypto::new(suite, tunnels as usize, bytes + AROUND).ok_or_else(wrong)?;
    let mut whole = Turns::new(suite, tunnels, path, bytes)?;
    let (mut failed, mut failure) = (0, None);
    let mut contest = Contest::new();
    contest.add_timed(PATH, Turns::PACKETS, |clock| {
        // Infinity ends the search for the number of turns.
        whole.turn(clock).unwrap_or_else(|why| {
            failure = Some(why);
            f64::INFINITY
        })
    });
    contest.add(our_name(), BURST as u64, || {
        ours.burst(work);
    });
    contest.add_timed(NAME, BURST as u64, |clock| {
        let began = clock.now();
        failed += theirs.encapsulate();
        let between = clock.now();
        if work == Work::Seal {
            return as_f64(between - began);
        }
        failed += theirs.decapsulate();
        as_f64(clock.now() - between)
    });
    let standings = contest.run(bench, &format!("{NAME}, {tunnels} tunnels, {bytes} bytes"))?;
    match (failed, failure) {
        (0, None) => Ok(standings),
        (_, Some(failure)) => Err(failure),
        (_, None) => Err(wrong()),
    }
}

/// Both ends of each tunnel, and a burst of packets for some of them.
struct Tunnels {
    pairs: Vec<[Tunn; 2]>,
    order: Vec<usize>,
    /// Where in the order the burst begins.
    first: usize,
    packet: Vec<u8>,
    /// The burst, encapsulated.
    datagrams: Vec<Vec<u8>>,
    out: Vec<u8>,
}

impl Tunnels {
    /// Makes them and lets them shake hands; `None` if they do not, or what one end encapsulates the other does not decapsulate.
    fn new(tunnels: u32, bytes: usize) -> Option<Self> {
        let pairs = (0..tunnels).map(pair);
        let mut packet = vec![0x5A; bytes];
        let len = u16::try_from(bytes).ok()?.to_be_bytes();
        // boringtun reads version, length and addresses of what comes out.
        packet
            .get_mut(..4)?
            .copy_from_slice(&[0x45, 0, len[0], len[1]]);
        let room = (bytes + WIREGUARD).max(LEAST_ROOM);
        let mut made = Self {
            pairs: pairs.collect::<Option<_>>()?,
            order: shuffled(tunnels as usize),
            first: 0,
            packet,
            datagrams: vec![vec![0; room]; BURST],
            out: vec![0; room],
        };
        (made.encapsulate() + made.decapsulate() == 0).then_some(made)
    }

    /// Takes the next burst of packets in; returns how many failed.
    fn encapsulate(&mut self) -> usize {
        let Self {
            pairs,
            order,
            first,
            packet,
            datagrams,
            ..
        } = self;
        *first = (*first + BURST) % order.len();
        let tunnels = order.iter().cycle().skip(*first);
        let mut failed = 0;
        for (datagram, tunnel) in datagrams.iter_mut().zip(tunnels) {
            let sealed = pairs
                .get_mut(*tunnel)
                .map(|[near, _]| near.encapsulate(packet, datagram));
            let is_whole = matches!(sealed, Some(TunnResult::WriteToNetwork(sealed)) if sealed.len() == packet.len() + WIREGUARD);
            failed += usize::from(!is_whole);
        }
        failed
    }

    /// Takes the burst out again at the other ends; returns how many failed.
    fn decapsulate(&mut self) -> usize {
        let Self {
            pairs,
            order,
            first,
            packet,
            datagrams,
            out,
        } = self;
        let tunnels = order.iter().cycle().skip(*first);
        let mut failed = 0;
        for (datagram, tunnel) in datagrams.iter().zip(tunnels) {
            let sealed = datagram.get(..packet.len() + WIREGUARD).unwrap_or_default();
            let opened = pairs
                .get_mut(*tunnel)
                .map(|[_, far]| far.decapsulate(None, sealed, out));
            let is_whole = matches!(opened, Some(TunnResult::WriteToTunnelV4(opened, _)) if opened.len() == packet.len());
            failed += usize::from(!is_whole);
        }
        failed
    }
}

/// Two ends after their handshake.
fn pair(index: u32) -> Option<[Tunn; 2]> {
    let secret = |end: u8| {
        let mut bytes = [end; 32];
        bytes.get_mut(..4)?.copy_from_slice(&index.to_le_bytes());
        Some(StaticSecret::from(bytes))
    };
    let (first, second) = (secret(1)?, secret(2)?);
    let (first_public, second_public) = (PublicKey::from(&first), PublicKey::from(&second));
    let mut near = Tunn::new(first, second_public, None, None, index, None);
    let mut far = Tunn::new(second, first_public, None, None, index, None);
    let mut rooms = [[0; 256]; 3];
    let [initiation, response, keepalive] = &mut rooms;
    let initiation = sent(near.format_handshake_initiation(initiation, false))?;
    let response = sent(far.decapsulate(None, initiation, response))?;
    let keepalive = sent(near.decapsulate(None, response, keepalive))?;
    let mut nothing = [0; 256];
    let is_done = matches!(
        far.decapsulate(None, keepalive, &mut nothing),
        TunnResult::Done
    );
    is_done.then_some([near, far])
}

fn sent(result: TunnResult<'_>) -> Option<&[u8]> {
    if let TunnResult::WriteToNetwork(datagram) = result {
        Some(datagram)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_is_taken_in_and_out_once() {
        let mut tunnels = Tunnels::new(3, 64).unwrap();
        for _ in 0..4 {
            assert_eq!(tunnels.encapsulate(), 0);
            assert_eq!(tunnels.decapsulate(), 0);
        }
        assert_eq!(tunnels.decapsulate(), BURST, "replayed");
    }

    #[test]
    fn a_changed_datagram_fails() {
        let mut tunnels = Tunnels::new(1, 576).unwrap();
        assert_eq!(tunnels.encapsulate(), 0);
        tunnels.datagrams[5][100] ^= 1;
        assert_eq!(tunnels.decapsulate(), 1);
    }
}
