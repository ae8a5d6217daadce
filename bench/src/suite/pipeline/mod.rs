//! `culvert-bench pipeline`: the whole way of a packet through a worker, in memory. No kernel and no device; everything else as it is in
//! use: ports, stages, tables, replay check, crypto.
//!
//! 4,096 frames are in rotation: 2,048 that packets come in, and as many on their way out. A rotation is 2,048 packets of clients in
//! random order. They are written into frames, as a device would, with fresh sequence numbers; then the worker's turns over
//! them are timed, and nothing else. Every packet must come out, or the row is refused.

mod gateway;
mod packet;
mod rotation;
mod turns;

use culvert_crypto::{AesKey, Integrity, Suite as EspSuite};
use culvert_dataplane::api::Encapsulation;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::Serialize;

use crate::failure::Failure;
use crate::measure::{Bench, Cell, Clock, Figure, Options, Row, Spread, Suite, Timing, as_f64};
use gateway::{Gateway, ROTATION};
pub(super) use turns::Turns;

/// The ESP suites, with their names in rows.
const SUITES: [(&str, EspSuite); 2] = [
    ("aes-gcm-128", EspSuite::AesGcm(AesKey::Bits128)),
    (
        "aes-256-cbc-hmac-sha1",
        EspSuite::AesCbcHmac(AesKey::Bits256, Integrity::Sha1_96),
    ),
];
const SESSIONS: [u32; 4] = [1, 1_000, 4_000, 100_000];
const BATCHES: [usize; 3] = [1, 8, 64];
const LENGTHS: [Length; 5] = [
    Length::Bytes(64),
    Length::Bytes(256),
    Length::Bytes(576),
    Length::Bytes(1_420),
    Length::Imix,
];
/// Timed rotations of a row.
const ROTATIONS: usize = 15;

/// What is asked for.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Pipeline {
    #[command(flatten)]
    options: Options,
    /// Suites to measure, by the beginnings of their names; by default all.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Numbers of sessions; by default 1, 1,000, 4,000 and 100,000.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=500_000))]
    sessions: Vec<u32>,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct PipelineRow {
    path: &'static str,
    suite: &'static str,
    natt: bool,
    sessions: u32,
    bytes: String,
    batch: usize,
    engine: &'static str,
    #[serde(flatten)]
    timing: Timing,
    mpps: f64,
    gbps: f64,
}

impl Row for PipelineRow {
    fn contestant(&self) -> &str {
        self.engine
    }

    fn work(&self) -> String {
        let Self {
            path,
            suite,
            natt,
            sessions,
            bytes,
            batch,
            ..
        } = self;
        format!("{path} {suite} {natt} {sessions} {bytes} {batch}")
    }

    fn figure(&self) -> Figure {
        Figure::Cost(self.timing.cycles)
    }

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new("path", self.path),
            Cell::new("suite", self.suite),
            Cell::new("natt", self.natt),
            Cell::new("sessions", self.sessions),
            Cell::new("bytes", &self.bytes),
            Cell::new("batch", self.batch),
            Cell::number("cycles", self.timing.cycles),
            Cell::number("min", self.timing.spread.min),
            Cell::number("p90", self.timing.spread.p90),
            Cell::new("mpps", format!("{:.2}", self.mpps)),
            Cell::new("gbps", format!("{:.2}", self.gbps)),
        ]
    }
}

impl Suite for Pipeline {
    const NAME: &'static str = "pipeline";
    type Row = PipelineRow;

    fn options(&self) -> &Options {
        &self.options
    }

    fn rows(&self, bench: &mut Bench) -> Result<Vec<PipelineRow>, Failure> {
        let sessions = match (&self.sessions[..], bench.quick) {
            ([], false) => &SESSIONS[..],
            ([], true) => &SESSIONS[..2],
            (asked, _) => asked,
        };
        let is_asked = |name: &str| {
            self.only.is_empty() || self.only.iter().any(|begin| name.starts_with(begin))
        };
        let mut rows = Vec::new();
        for (name, suite) in SUITES.into_iter().filter(|(name, _)| is_asked(name)) {
            for natt in [false, true] {
                for &sessions in sessions {
                    let field = Field {
                        name,
                        suite,
                        natt,
                        sessions,
                    };
                    rows.extend(field.rows(bench)?);
                }
            }
        }
        Ok(rows)
    }
}

/// Median cycles of a packet of 1,420 bytes with so many sessions, the mean of both ways: AES-GCM-128 without NAT-T, in batches of 64.
///
/// # Errors
/// As [`Suite::rows`].
pub fn cycles_with(sessions: u32, bench: &mut Bench) -> Result<f64, Failure> {
    let (_, suite) = SUITES[0];
    let mut gateway = Gateway::new(suite, Encapsulation::Esp, sessions)?;
    let mut order = Order::new(sessions);
    gateway.set_batch(BATCHES[2]);
    let mut cycles = |path| {
        let length = Length::Bytes(1_420);
        time(&mut gateway, &mut order, path, length, bench).map(|timing| timing.cycles)
    };
    Ok(f64::midpoint(cycles(Path::Up)?, cycles(Path::Down)?))
}

/// A gateway that many rows share.
#[derive(Clone, Copy, Debug)]
struct Field {
    /// The suite's name in rows.
    name: &'static str,
    suite: EspSuite,
    natt: bool,
    sessions: u32,
}

impl Field {
    /// All rows with this gateway.
    fn rows(self, bench: &mut Bench) -> Result<Vec<PipelineRow>, Failure> {
        let encapsulation = if self.natt {
            Encapsulation::EspInUdp
        } else {
            Encapsulation::Esp
        };
        bench
            .progress
            .update(|| format!("{}: installing {} sessions", self.name, self.sessions));
        let mut gateway = Gateway::new(self.suite, encapsulation, self.sessions)?;
        let mut order = Order::new(self.sessions);
        let (batches, lengths) = if bench.quick {
            (&BATCHES[2..], &LENGTHS[..1])
        } else {
            (&BATCHES[..], &LENGTHS[..])
        };
        let mut rows = Vec::new();
        for path in Path::BOTH {
            for &batch in batches {
                gateway.set_batch(batch);
                for &length in lengths {
                    bench.interrupt.check()?;
                    let timing = time(&mut gateway, &mut order, path, length, bench)?;
                    rows.push(self.row(path, length, batch, timing, &gateway));
                }
            }
        }
        Ok(rows)
    }

    fn row(
        self,
        path: Path,
        length: Length,
        batch: usize,
        timing: Timing,
        gateway: &Gateway,
    ) -> PipelineRow {
        let mpps = 1e3 / timing.ns;
        PipelineRow {
            path: path.name(),
            suite: self.name,
            natt: self.natt,
            sessions: self.sessions,
            bytes: length.name(),
            batch,
            engine: gateway.engine(),
            timing,
            mpps,
            gbps: mpps * length.mean() * 8.0 / 1e3,
        }
    }
}

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// From clients to the network: opened.
    Up,
    /// From the network to clients: sealed.
    Down,
}

impl Path {
    const BOTH: [Self; 2] = [Self::Up, Self::Down];

    const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// Lengths of inner packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// All alike, in bytes.
    Bytes(usize),
    /// Seven of 64, four of 576 and one of 1,420 bytes in twelve packets.
    Imix,
}

impl Length {
    fn name(self) -> String {
        match self {
            Self::Bytes(bytes) => bytes.to_string(),
            Self::Imix => "imix".to_owned(),
        }
    }

    /// Bytes of a packet, on average.
    fn mean(self) -> f64 {
        let total: usize = (0..12).map(|number| self.of(number)).sum();
        as_f64(total as u64) / 12.0
    }

    fn of(self, number: usize) -> usize {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Imix => match number % 12 {
                0..7 => 64,
                7..11 => 576,
                _ => 1_420,
            },
        }
    }
}

/// Clients in an order that has nothing to do with memory.
struct Order {
    clients: Vec<u32>,
    next: usize,
}

impl Order {
    fn new(clients: u32) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut order: Vec<u32> = (0..clients).collect();
        for last in (1..order.len()).rev() {
            let other = usize::try_from(random.next_u64() % (last as u64 + 1)).unwrap_or(0);
            order.swap(last, other);
        }
        Self {
            clients: order,
            next: 0,
        }
    }

    fn take(&mut self) -> u32 {
        self.next = (self.next + 1) % self.clients.len();
        self.clients[self.next]
    }
}

/// Warms up until every client has had a packet, then times rotations.
fn time(
    gateway: &mut Gateway,
    order: &mut Order,
    path: Path,
    length: Length,
    bench: &mut Bench,
) -> Result<Timing, Failure> {
    let all = order.clients.len().div_ceil(ROTATION).max(2);
    for _ in 0..all {
        rotate(gateway, order, path, length, &bench.clock)?;
    }
    let rotations = if bench.quick { 3 } else { ROTATIONS };
    let mut samples = Vec::new();
    for round in 1..=rotations {
        bench.progress.update(|| {
            let (clients, batch, path) = (order.clients.len(), gateway.batch(), path.name());
            let bytes = length.name();
            format!("{path}, {clients} sessions, {bytes} bytes, batches of {batch}: {round} of {rotations}")
        });
        samples.push(rotate(gateway, order, path, length, &bench.clock)?);
    }
    let spread = Spread::of(&samples).ok_or(Failure::Interrupted)?;
    Ok(Timing::new(&bench.clock, spread))
}

/// Runs one rotation and returns cycles per packet.
fn rotate(
    gateway: &mut Gateway,
    order: &mut Order,
    path: Path,
    length: Length,
    clock: &Clock,
) -> Result<f64, Failure> {
    // An idle turn lets the ports take frames to fill.
    gateway.turn();
    for number in 0..ROTATION {
        let (client, len) = (order.take(), length.of(number));
        let is_loaded = match path {
            Path::Up => gateway.load_up(client, len),
            Path::Down => gateway.load_down(client, len),
        };
        if !is_loaded {
            return Err(Failure::Gateway("the port ran out of frames".into()));
        }
    }
    let before = gateway.sent_and_dropped();
    let loader = match path {
        Path::Up => gateway.outer.clone(),
        Path::Down => gateway.core.clone(),
    };
    let start = clock.now();
    while loader.waiting() > 0 {
        gateway.turn();
    }
    let cycles = clock.now() - start;
    gateway.listen();
    let after = gateway.sent_and_dropped();
    let (sent, dropped) = (after.0 - before.0, after.1 - before.1);
    if (sent, dropped) != (ROTATION as u64, 0) {
        return Err(Failure::Gateway(format!(
            "of {ROTATION} packets {sent} were sent and {dropped} dropped"
        )));
    }
    Ok(as_f64(cycles) / as_f64(ROTATION as u64))
}
