//! `culvert-bench peers`: the same work by others on this machine.
//!
//! | peer | work | Culvert beside it |
//! |---|---|---|
//! | `boringtun` | an IP packet into a WireGuard tunnel (`encapsulate`) and out of one (`decapsulate`), in memory | `culvert-path`: the whole packet path down and up, AES-GCM-128 without NAT-T; `culvert-ENGINE`: its packet crypto alone, over the packet with its L2TP and PPP headers |
//! | `dpdk` | AES-GCM and AES-CBC with HMAC-SHA1 through DPDK's ipsec-mb devices, bursts of 32, by dpdk-test-crypto-perf | packet crypto over the same bytes |
//! | `l2tpns` | | not driven |
//!
//! A WireGuard packet has other headers and another cipher (ChaCha20-Poly1305) than an ESP packet; what is compared is what it takes
//! to protect one inner packet. boringtun's figures hold its counters and replay check, but neither UDP, IP and Ethernet headers nor a
//! look-up of the tunnel, as `culvert-path` does; it works 64 datagrams again and again, `culvert-path` 2,048 frames. DPDK's program
//! is pinned, but has no real-time priority; its runs and Culvert's take turns, and `min` and `p90` are over these runs.
//! A peer that is not there is left out, and a line says what to install.

mod child;
mod dpdk;
mod ours;
mod wireguard;

use std::io::Write;

use serde::Serialize;

use crate::failure::Failure;
use crate::measure::{Bench, Cell, Figure, Options, Placement, Row, Standing, Suite, Timing};
use dpdk::Program;

/// What is asked for.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Peers {
    #[command(flatten)]
    options: Options,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct PeerRow {
    work: String,
    tunnels: usize,
    bytes: usize,
    peer: String,
    #[serde(flatten)]
    timing: Timing,
}

impl PeerRow {
    fn of(work: &str, tunnels: usize, bytes: usize, standing: Standing) -> Self {
        Self {
            work: work.to_owned(),
            tunnels,
            bytes,
            peer: standing.name,
            timing: standing.timing,
        }
    }
}

impl Row for PeerRow {
    fn contestant(&self) -> &str {
        &self.peer
    }

    fn work(&self) -> String {
        let Self {
            work,
            tunnels,
            bytes,
            ..
        } = self;
        format!("{work} {tunnels} {bytes}")
    }

    fn figure(&self) -> Figure {
        Figure::Cost(self.timing.cycles)
    }

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new("work", &self.work),
            Cell::new("tunnels", self.tunnels),
            Cell::new("bytes", self.bytes),
            Cell::new("peer", &self.peer),
            Cell::number("ns", self.timing.ns),
            Cell::number("cycles", self.timing.cycles),
            Cell::number("min", self.timing.spread.min),
            Cell::number("p90", self.timing.spread.p90),
        ]
    }
}

impl Suite for Peers {
    const NAME: &'static str = "peers";
    // DPDK's process would inherit core and priority: its main thread waits for others of its threads without giving way to them.
    const PLACED: bool = false;
    const REFERENCES: &'static [&'static str] = &[wireguard::NAME, dpdk::NAME];
    type Row = PeerRow;

    fn options(&self) -> &Options {
        &self.options
    }

    fn placement(&self) -> Placement {
        Placement::offered(self.options.core)
    }

    fn rows(&self, bench: &mut Bench) -> Result<Vec<PeerRow>, Failure> {
        let core = self.options.core;
        let mut rows = Placement::hold(core, |_| wireguard::rows(bench))?;
        match Program::find(core) {
            Ok(program) => rows.extend(program.rows(bench)?),
            Err(why) => note(why),
        }
        note(L2TPNS);
        Ok(rows)
    }
}

/// Why there is no row for the one other user-space LNS that Debian has.
const L2TPNS: &str = "l2tpns: not driven. It takes sessions only from a RADIUS server, and sends and receives through a TUN device and \
an ordinary socket: it has no part without the kernel's that could stand beside ours. An earlier measurement by hand, on another machine of \
this kind: 0.31 to 0.40 Mpps downstream on one core, without IPsec";

/// A line beside the table; standard output that went away is no reason to stop.
fn note(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}\n");
}

/// Culvert's engine in the rows.
fn our_name() -> String {
    format!("culvert-{}", culvert_crypto::Engine::choose().name())
}

/// The numbers below `count` in an order that no prefetcher foresees, the same in every run.
fn shuffled(count: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..count).collect();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for last in (1..count).rev() {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let other = usize::try_from(state >> 33).unwrap_or(0) % (last + 1);
        numbers.swap(last, other);
    }
    numbers
}
