//! `culvert-bench wire`: AF_XDP over veth, in on one device and out on the other, through Culvert's whole data plane and through a
//! loop that only moves frames.
//!
//! Both run on the same core, between the same two devices, behind the same XDP program, with the same frames; sender and sink are
//! on another core. NAT-T is on, and every frame up has a sequence number that its replay window has not seen.
//!
//! | figure | what is measured |
//! |---|---|
//! | `core` | a full ring is worked while the sender stands still: what the core that forwards can do by itself |
//! | `found` | the highest rate offered of which at most [`LOSS`] is lost and the rest arrives as fast (RFC 2544 §26.1), by bisection |
//! | `10 %` … `100 %` | loss and latency at that part of the rate found |
//!
//! Over veth the kernel's receiving runs on the core that sends. The sender's core thus has more to do for a frame than the
//! forwarder's, and `found` may be the sender's limit: `bound` says whose it is. Only `core` compares the two loops whatever the
//! sender can do. A frame that was lost is counted where it ended: before the system (its ring had no room), inside (dropped with a
//! reason, all in Culvert's ledgers), behind it (the sink's ring), or unseen.

mod client;
mod field;
mod scene;
mod search;
mod system;
mod traffic;
mod trial;

use std::time::Duration;

use culvert_crypto::{AesKey, Integrity, Suite as Algorithms};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::failure::Failure;
use crate::load::probe::Direction;
use crate::measure::{Bench, Cell, Figure, Options, Placement, Row, Spread, Suite};
use field::{Field, Lost, Traffic};
use scene::System;
use trial::Outcome;

/// Share of frames that may be lost at the rate found.
pub const LOSS: f64 = 0.001;
/// Parts of the rate found at which loss and latency are measured, in percent.
const PARTS: [u32; 6] = [10, 25, 50, 75, 90, 100];
/// Sizes of the inner packets in bytes.
const BYTES: [usize; 3] = [64, 576, 1_400];

/// The suites and their names.
const SUITES: [(Algorithms, &str); 2] = [
    (Algorithms::AesGcm(AesKey::Bits128), "aes-gcm-128"),
    (
        Algorithms::AesCbcHmac(AesKey::Bits256, Integrity::Sha1_96),
        "aes-cbc-256-sha1",
    ),
];

/// What is asked for.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Wire {
    #[command(flatten)]
    options: Options,
}

/// One line of work.
#[derive(Clone, Copy, Debug)]
struct Case {
    direction: Direction,
    suite: Algorithms,
    name: &'static str,
    bytes: usize,
}

/// One measurement of one system.
#[derive(Clone, Debug, Serialize)]
pub struct WireRow {
    path: &'static str,
    suite: &'static str,
    bytes: usize,
    frame: usize,
    system: &'static str,
    figure: String,
    mpps: f64,
    spread: Spread,
    bound: &'static str,
    sent: u64,
    loss: f64,
    lost: Lost,
    latency: Option<Latency>,
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let micros = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64() * 1e6;
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        (!histogram.is_empty()).then(|| Self {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(histogram.max()),
        })
    }
}

impl Row for WireRow {
    fn contestant(&self) -> &str {
        self.system
    }

    fn work(&self) -> String {
        let Self {
            path,
            suite,
            bytes,
            figure,
            ..
        } = self;
        format!("{path} {suite} {bytes} {figure}")
    }

    fn figure(&self) -> Figure {
        match self.latency {
            Some(latency) => Figure::Cost(latency.p50),
            None => Figure::Rate(self.mpps),
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let Lost {
            at_ring,
            inside,
            at_sink,
            unseen,
        } = self.lost;
        let micros = |of: fn(&Latency) -> f64| {
            self.latency
                .as_ref()
                .map(|latency| format!("{:.1}", of(latency)))
                .unwrap_or_default()
        };
        vec![
            Cell::new("path", self.path),
            Cell::new("suite", self.suite),
            Cell::new("bytes", self.bytes),
            Cell::new("figure", &self.figure),
            Cell::new("system", self.system),
            Cell::new("mpps", format!("{:.3}", self.mpps)),
            Cell::new("min", format!("{:.3}", self.spread.min)),
            Cell::new("p90", format!("{:.3}", self.spread.p90)),
            Cell::new("bound", self.bound),
            Cell::new("loss%", format!("{:.3}", self.loss * 100.0)),
            Cell::new(
                "ring/in/sink/?",
                format!("{at_ring}/{inside}/{at_sink}/{unseen}"),
            ),
            Cell::new("p50 us", micros(|latency| latency.p50)),
            Cell::new("p99", micros(|latency| latency.p99)),
            Cell::new("p99.9", micros(|latency| latency.p999)),
            Cell::new("max", micros(|latency| latency.max)),
        ]
    }
}

impl Suite for Wire {
    const NAME: &'static str = "wire";
    const PLACED: bool = false;
    const REFERENCES: &'static [&'static str] = &["forwarder"];
    type Row = WireRow;

    fn options(&self) -> &Options {
        &self.options
    }

    /// That of the gateway and the forwarder.
    fn placement(&self) -> Placement {
        Placement::offered(self.options.core)
    }

    fn rows(&self, bench: &mut Bench) -> Result<Vec<WireRow>, Failure> {
        let [sender, gateway] = cores(self.options.core)?;
        let mut field = Field::create(Some(gateway))?;
        let pace = Pace::of(self.options.quick);
        // The programs that make and remove the namespaces inherit neither core nor priority.
        Placement::hold(Some(sender), |placement| {
            for lack in placement.lacks {
                bench.progress.update(|| format!("sender: {lack}"));
            }
            let mut rows = Vec::new();
            for case in cases(self.options.quick) {
                rows.extend(measure(&mut field, case, pace, bench)?);
            }
            Ok(rows)
        })
    }
}

/// The core of sender and sink, and that of the gateway: by default the last one.
fn cores(wanted: Option<usize>) -> Result<[usize; 2], Failure> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let ids = || cores.iter().map(|core| core.id);
    let gateway = wanted.or_else(|| ids().max());
    let sender = ids().find(|id| Some(*id) != gateway);
    match (sender, gateway) {
        (Some(sender), Some(gateway)) => Ok([sender, gateway]),
        _ => Err(Failure::Gateway("two cores are needed".to_owned())),
    }
}

fn cases(quick: bool) -> Vec<Case> {
    let (suites, sizes) = if quick {
        (&SUITES[..1], &BYTES[..1])
    } else {
        (&SUITES[..], &BYTES[..])
    };
    let mut cases = Vec::new();
    for direction in [Direction::Up, Direction::Down] {
        for &(suite, name) in suites {
            cases.extend(sizes.iter().map(|&bytes| Case {
                direction,
                suite,
                name,
                bytes,
            }));
        }
    }
    cases
}

/// How often and how long.
#[derive(Clone, Copy)]
struct Pace {
    /// Repetitions of `core`, of [`DRAINS`] drains each.
    drains: usize,
    /// Repetitions of `found`.
    searches: usize,
    /// Trials of a search.
    steps: usize,
    /// Of one trial.
    trial: Duration,
}

/// Drains of a repetition.
const DRAINS: u32 = 4;

impl Pace {
    const fn of(quick: bool) -> Self {
        let (drains, searches, steps, millis) = if quick {
            (5, 1, 5, 60)
        } else {
            (15, 3, 6, 120)
        };
        Self {
            drains,
            searches,
            steps,
            trial: Duration::from_millis(millis),
        }
    }
}

fn measure(
    field: &mut Field,
    case: Case,
    pace: Pace,
    bench: &mut Bench,
) -> Result<Vec<WireRow>, Failure> {
    let mut traffic = field.traffic(case)?;
    let mut progress = |what: &str| {
        bench.progress.update(|| {
            let (suite, bytes) = (case.name, case.bytes);
            format!("{} {suite} {bytes}: {what}", path(case.direction))
        });
        bench.interrupt.check()
    };
    progress("core")?;
    let mut rows = alone(field, &mut traffic, case, pace)?;
    let systems = [System::Gateway, System::Forwarder];
    let mut found = [const { Vec::new() }; 2];
    let mut bounds = ["sender"; 2];
    for _ in 0..pace.searches {
        for ((system, found), bound) in systems.into_iter().zip(&mut found).zip(&mut bounds) {
            progress("search")?;
            let (rate, limit) = search(field, &traffic, system, pace)?;
            found.push(rate);
            *bound = limit;
        }
    }
    let rates = found.each_ref().map(|found| Spread::of(found));
    for ((system, rate), bound) in systems.into_iter().zip(rates).zip(bounds) {
        let Some(rate) = rate else { continue };
        rows.push(WireRow {
            bound,
            ..row(case, &traffic, system, "found".to_owned(), mega(rate))
        });
    }
    for part in PARTS {
        for (system, rate) in systems.into_iter().zip(rates) {
            progress("latency")?;
            let Some(rate) = rate else { continue };
            let rate = rate.median * f64::from(part) / 100.0;
            let (outcome, lost) = field.trial(&traffic, system, Some(rate), 2 * pace.trial)?;
            rows.push(at_part(case, &traffic, system, part, &outcome, lost));
        }
    }
    Ok(rows)
}

/// What each system's core does by itself.
fn alone(
    field: &mut Field,
    traffic: &mut Traffic,
    case: Case,
    pace: Pace,
) -> Result<Vec<WireRow>, Failure> {
    let systems = [System::Held, System::Forwarder];
    let mut rates = [const { Vec::new() }; 2];
    for repetition in 0..=pace.drains {
        let mut nanos = [0.0; 2];
        for _ in 0..DRAINS {
            for (system, nanos) in systems.into_iter().zip(&mut nanos) {
                *nanos += field.drain(traffic, system)?;
            }
        }
        // The first repetition warms up.
        if repetition > 0 {
            for (rates, nanos) in rates.iter_mut().zip(nanos) {
                rates.push(f64::from(DRAINS) * 1e9 / nanos);
            }
        }
    }
    let rows = systems
        .into_iter()
        .zip(rates)
        .filter_map(|(system, rates)| {
            let spread = mega(Spread::of(&rates)?);
            Some(row(case, traffic, system, "core".to_owned(), spread))
        });
    Ok(rows.collect())
}

/// The rate found, and whose limit it is.
fn search(
    field: &mut Field,
    traffic: &Traffic,
    system: System,
    pace: Pace,
) -> Result<(f64, &'static str), Failure> {
    let (flood, _) = field.trial(traffic, system, None, pace.trial)?;
    if flood.loss() <= LOSS {
        return Ok((flood.delivered, "sender"));
    }
    let rate = search::highest(flood.delivered, pace.steps, |rate| {
        let (outcome, _) = field.trial(traffic, system, Some(rate), pace.trial)?;
        let keeps_up = outcome.delivered >= 0.985 * outcome.offered;
        Ok(outcome.loss() <= LOSS && keeps_up && outcome.offered >= 0.985 * rate)
    })?;
    Ok((rate, "system"))
}

fn at_part(
    case: Case,
    traffic: &Traffic,
    system: System,
    part: u32,
    outcome: &Outcome,
    lost: Lost,
) -> WireRow {
    let mpps = outcome.offered / 1e6;
    let once = Spread {
        min: mpps,
        median: mpps,
        p90: mpps,
    };
    WireRow {
        sent: outcome.sent,
        loss: outcome.loss(),
        lost,
        latency: Latency::of(&outcome.latency),
        ..row(case, traffic, system, format!("{part} %"), once)
    }
}

fn row(case: Case, traffic: &Traffic, system: System, figure: String, spread: Spread) -> WireRow {
    WireRow {
        path: path(case.direction),
        suite: case.name,
        bytes: case.bytes,
        frame: traffic.frame_len(),
        system: system.name(),
        figure,
        mpps: spread.median,
        spread,
        bound: "",
        sent: 0,
        loss: 0.0,
        lost: Lost::default(),
        latency: None,
    }
}

const fn path(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    }
}

/// Millions.
fn mega(spread: Spread) -> Spread {
    let Spread { min, median, p90 } = spread;
    let [min, median, p90] = [min, median, p90].map(|rate| rate / 1e6);
    Spread { min, median, p90 }
}
