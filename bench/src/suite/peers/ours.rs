//! Culvert's packet crypto at the peers' work.

use arrayvec::ArrayVec;
use culvert_crypto::{BURST, Engine, OpenContext, OpenOp, SealContext, SealOp, Suite};

use super::shuffled;

/// SPI and sequence number.
const AAD: [u8; 8] = [0; 8];

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Seal.
    Seal,
    /// Open what was sealed once.
    Open,
    /// Seal, and open again.
    Both,
}

/// Packets side by side, each with the key of its tunnel.
pub(super) struct Crypto {
    engine: Engine,
    seal: Vec<SealContext>,
    open: Vec<OpenContext>,
    packets: Vec<Packet>,
    /// The first packet of the next burst.
    next: usize,
    number: u64,
}

struct Packet {
    key: usize,
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

impl Crypto {
    /// `keys` keys of `suite`, in random order, for packets of `len` bytes of plaintext, padded to what the suite needs.
    ///
    /// `None` if the suite refuses its own key, or what was sealed does not open.
    pub(super) fn new(suite: Suite, keys: usize, len: usize) -> Option<Self> {
        let len = len.next_multiple_of(suite.alignment());
        let engine = Engine::choose();
        let key = |number: usize| -> Vec<u8> {
            let seed = number.to_le_bytes();
            let bytes = seed.iter().cycle().zip(0..);
            bytes
                .map(|(seed, at)| seed ^ at)
                .take(suite.key_len())
                .collect()
        };
        let seal = (0..keys).map(|number| SealContext::new(engine, suite, &key(number)).ok());
        let open = (0..keys).map(|number| OpenContext::new(engine, suite, &key(number)).ok());
        let packet = |number| Packet {
            key: number % keys,
            plain: vec![0x5A; len],
            sealed: vec![0; suite.sealed_len(len)],
        };
        let mut crypto = Self {
            engine,
            seal: seal.collect::<Option<_>>()?,
            open: open.collect::<Option<_>>()?,
            packets: shuffled(keys.next_multiple_of(BURST))
                .into_iter()
                .map(packet)
                .collect(),
            next: 0,
            number: 0,
        };
        let bursts = crypto.packets.len() / BURST;
        let opened = (0..bursts).map(|_| crypto.burst(Work::Both)).sum::<usize>();
        (opened == crypto.packets.len()).then_some(crypto)
    }

    /// Works a burst; returns how many packets were opened.
    pub(super) fn burst(&mut self, work: Work) -> usize {
        let Self {
            engine,
            seal,
            open,
            packets,
            next,
            number,
        } = self;
        let from = *next;
        *next = (from + BURST) % packets.len().max(1);
        let burst = packets.get_mut(from..from + BURST).unwrap_or_default();
        let mut opened = 0;
        if work != Work::Open {
            *number += 1;
            let mut ops: ArrayVec<SealOp<'_>, BURST> = ArrayVec::new();
            for packet in burst.iter_mut() {
                if let Some(context) = seal.get(packet.key) {
                    let iv = context.iv(*number);
                    ops.extend(
                        SealOp::new(context, &AAD, iv, &packet.plain, &mut packet.sealed).ok(),
                    );
                }
            }
            engine.seal_burst(&mut ops);
        }
        if work != Work::Seal {
            let mut ops: ArrayVec<OpenOp<'_>, BURST> = ArrayVec::new();
            for packet in burst.iter_mut() {
                if let Some(context) = open.get(packet.key) {
                    ops.extend(OpenOp::new(context, &AAD, &packet.sealed, &mut packet.plain).ok());
                }
            }
            opened = engine.open_burst(&mut ops).count() as usize;
        }
        opened
    }
}
