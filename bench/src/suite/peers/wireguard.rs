//! boringtun: WireGuard in user space, as a machine without sockets.

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use culvert_crypto::{AesKey, BURST, Suite};

use super::ours::{Crypto, Work};
use super::{PeerRow, our_name, shuffled};
use crate::failure::Failure;
use crate::measure::{Bench, Contest, Standing};

/// Its name in rows.
pub(super) const NAME: &str = "boringtun";
/// Bytes of the inner IP packet.
const BYTES: [usize; 3] = [64, 576, 1_420];
/// Numbers of tunnels.
const TUNNELS: [usize; 2] = [1, 1_000];
/// UDP, L2TP with length, PPP with address and control, and the two bytes of ESP's trailer around an inner packet.
const AROUND: usize = 8 + 8 + 4 + 2;
/// Bytes that WireGuard adds, and the least room that boringtun asks for.
const WIREGUARD: usize = 32;
const LEAST_ROOM: usize = 148;

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
            for (name, work) in [
                ("encapsulate", Work::Seal),
                ("encapsulate, decapsulate", Work::Both),
            ] {
                let standings = measure(tunnels, bytes, work, bench)?;
                rows.extend(
                    standings
                        .into_iter()
                        .map(|standing| PeerRow::of(name, tunnels, bytes, standing)),
                );
            }
        }
    }
    Ok(rows)
}

fn measure(
    tunnels: usize,
    bytes: usize,
    work: Work,
    bench: &mut Bench,
) -> Result<Vec<Standing>, Failure> {
    let wrong = || Failure::Wrong(format!("{NAME} with {tunnels} tunnels and {bytes} bytes"));
    let mut theirs = Tunnels::new(tunnels, bytes).ok_or_else(wrong)?;
    let suite = Suite::AesGcm(AesKey::Bits128);
    let mut ours = Crypto::new(suite, tunnels, bytes + AROUND).ok_or_else(wrong)?;
    let mut failed = 0;
    let mut contest = Contest::new();
    contest.add(our_name(), BURST as u64, || {
        ours.burst(work);
    });
    contest.add(NAME, BURST as u64, || failed += theirs.burst(work));
    let standings = contest.run(bench, &format!("{NAME}, {tunnels} tunnels, {bytes} bytes"))?;
    if failed == 0 {
        Ok(standings)
    } else {
        Err(wrong())
    }
}

/// Both ends of each tunnel.
struct Tunnels {
    pairs: Vec<[Tunn; 2]>,
    order: Vec<usize>,
    next: usize,
    packet: Vec<u8>,
    datagram: Vec<u8>,
    out: Vec<u8>,
}

impl Tunnels {
    /// Makes them and lets them shake hands; `None` if they do not.
    fn new(tunnels: usize, bytes: usize) -> Option<Self> {
        let pairs = (0..u32::try_from(tunnels).ok()?).map(pair);
        let mut packet = vec![0x5A; bytes];
        let len = u16::try_from(bytes).ok()?.to_be_bytes();
        // boringtun reads version, length and addresses of what comes out.
        packet
            .get_mut(..4)?
            .copy_from_slice(&[0x45, 0, len[0], len[1]]);
        let room = (bytes + WIREGUARD).max(LEAST_ROOM);
        let mut made = Self {
            pairs: pairs.collect::<Option<_>>()?,
            order: shuffled(tunnels),
            next: 0,
            packet,
            datagram: vec![0; room],
            out: vec![0; room],
        };
        (made.burst(Work::Both) == 0).then_some(made)
    }

    /// Takes a burst of packets in, and out again if the work says so; returns how many failed.
    fn burst(&mut self, work: Work) -> usize {
        (0..BURST).filter(|_| self.one(work).is_none()).count()
    }

    fn one(&mut self, work: Work) -> Option<()> {
        let Self {
            pairs,
            order,
            next,
            packet,
            datagram,
            out,
        } = self;
        let [near, far] = pairs.get_mut(*order.get(*next)?)?;
        *next = (*next + 1) % order.len();
        let TunnResult::WriteToNetwork(sealed) = near.encapsulate(packet, datagram) else {
            return None;
        };
        if work == Work::Seal {
            return Some(());
        }
        let TunnResult::WriteToTunnelV4(opened, _) = far.decapsulate(None, sealed, out) else {
            return None;
        };
        (opened.len() == packet.len()).then_some(())
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
