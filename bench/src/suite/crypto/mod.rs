//! `culvert-bench crypto`: ESP payloads sealed and opened by our engines and by other libraries.
//!
//! The same work for all: the same keys, IVs, additional data of 8 bytes and plaintexts, in bursts of 64; IV written, ICV computed and
//! written or compared, the result checked against RustCrypto before the clock starts. `bytes` is the length of the plaintext, which
//! AES-CBC pads to whole blocks: 1,424 of 1,420.
//! With 1 key a burst of 64 packets is worked again and again, so all is in the caches; with 4,096 keys there are as many
//! packets, and keys, sources and destinations are each visited in a shuffled order of their own.
//!
//! A packet is read from one frame and written to another (`apart`), as in the gateway. A library that can only overwrite works in
//! the destination alone (`in place`), which spares it the reads of the source; one that can do neither copies first (`copied`).

mod cbc;
mod gcm;
mod intel;
mod ours;
mod reference;
mod traffic;

use std::cell::Cell as Flag;

use culvert_crypto::Suite as EspSuite;
use serde::Serialize;

use crate::failure::Failure;
use crate::measure::{Bench, Cell, Contest, Figure, Options, Row, Suite, Timing};
use traffic::{Direction, Frame, Job, Layout, Traffic, Work};

/// Packets of a burst.
const BURST: usize = 64;
/// Plaintext lengths in bytes.
const BYTES: [usize; 4] = [64, 256, 576, 1420];
/// Numbers of keys.
const KEYS: [usize; 2] = [1, 4096];

/// What is asked for.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Crypto {
    #[command(flatten)]
    options: Options,
    /// Suites to measure, by the beginnings of their names; by default all.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct CryptoRow {
    suite: String,
    direction: &'static str,
    engine: String,
    layout: &'static str,
    keys: usize,
    bytes: usize,
    #[serde(flatten)]
    timing: Timing,
}

impl Row for CryptoRow {
    fn contestant(&self) -> &str {
        &self.engine
    }

    fn work(&self) -> String {
        let Self {
            suite,
            direction,
            keys,
            bytes,
            ..
        } = self;
        format!("{suite} {direction} {keys} {bytes}")
    }

    fn figure(&self) -> Figure {
        Figure::Cost(self.timing.cycles)
    }

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new("suite", &self.suite),
            Cell::new("direction", self.direction),
            Cell::new("keys", self.keys),
            Cell::new("bytes", self.bytes),
            Cell::new("engine", &self.engine),
            Cell::new("layout", self.layout),
            Cell::number("ns", self.timing.ns),
            Cell::number("cycles", self.timing.cycles),
            Cell::number("min", self.timing.spread.min),
            Cell::number("p90", self.timing.spread.p90),
        ]
    }
}

impl Suite for Crypto {
    const NAME: &'static str = "crypto";
    const REFERENCES: &'static [&'static str] =
        &["ipsec-mb", "ring", "aws-lc-rs", "aes-gcm", "aes+cbc+hmac"];
    type Row = CryptoRow;

    fn options(&self) -> &Options {
        &self.options
    }

    fn rows(&self, bench: &mut Bench) -> Result<Vec<CryptoRow>, Failure> {
        let mut rows = Vec::new();
        for work in self.works() {
            rows.extend(measure(work, bench)?);
        }
        Ok(rows)
    }
}

impl Crypto {
    fn works(&self) -> Vec<Work> {
        let asked = |suite: &EspSuite| {
            let name = reference::name(*suite);
            self.only.is_empty() || self.only.iter().any(|begin| name.starts_with(begin))
        };
        let (suites, bytes) = if self.options.quick {
            (&reference::QUICK[..], &BYTES[..1])
        } else {
            (&reference::SUITES[..], &BYTES[..])
        };
        let mut works = Vec::new();
        for suite in suites.iter().copied().filter(asked) {
            for direction in Direction::BOTH {
                for keys in KEYS {
                    works.extend(bytes.iter().map(|&bytes| Work {
                        suite,
                        direction,
                        keys,
                        bytes,
                    }));
                }
            }
        }
        works
    }
}

/// One who seals or opens bursts.
struct Contestant {
    name: String,
    layout: Layout,
    /// Works a burst; false if an ICV was wrong.
    burst: Burst,
}

type Burst = Box<dyn FnMut(&mut [Job<'_>]) -> bool>;

/// Works each job of a burst with `one`, for libraries without an interface for bursts.
fn each(mut one: impl FnMut(&mut Job<'_>) -> Option<()> + 'static) -> Burst {
    Box::new(move |jobs| {
        let mut right = true;
        for job in jobs {
            right &= one(job).is_some();
        }
        right
    })
}

fn contestants(traffic: &Traffic) -> Vec<Contestant> {
    let mut all = ours::contestants(traffic);
    all.extend(intel::contestant(traffic));
    all.extend(match traffic.work().suite {
        EspSuite::AesGcm(key) => gcm::contestants(key, traffic),
        EspSuite::AesCbcHmac(..) | EspSuite::TripleDesHmac(_) => cbc::contestants(traffic),
    });
    all
}

/// All contestants at one work.
fn measure(work: Work, bench: &mut Bench) -> Result<Vec<CryptoRow>, Failure> {
    let traffic = Traffic::new(work);
    let mut contestants = contestants(&traffic);
    let mut destinations: Vec<Vec<Frame>> =
        contestants.iter().map(|_| traffic.destinations()).collect();
    let wrong = Flag::new(None);
    let mut contest = Contest::new();
    let layouts: Vec<Layout> = contestants.iter().map(|one| one.layout).collect();
    for (number, (one, frames)) in contestants.iter_mut().zip(&mut destinations).enumerate() {
        let mut jobs = traffic.jobs(one.layout, frames);
        let right = jobs.chunks_mut(BURST).all(&mut one.burst);
        if !right || !traffic.is_done(one.layout, &jobs) {
            return Err(Failure::Wrong(format!("{} at {work}", one.name)));
        }
        let (burst, wrong) = (&mut one.burst, &wrong);
        contest.add(one.name.as_str(), work.packets(), move || {
            for jobs in jobs.chunks_mut(BURST) {
                if !burst(jobs) {
                    wrong.set(Some(number));
                }
            }
        });
    }
    let standings = contest.run(bench, &work.to_string())?;
    if let Some(one) = wrong
        .get()
        .and_then(|number: usize| contestants.get(number))
    {
        return Err(Failure::Wrong(format!("{} at {work}", one.name)));
    }
    let row = |(standing, layout): (crate::measure::Standing, Layout)| CryptoRow {
        suite: reference::name(work.suite),
        direction: work.direction.name(),
        engine: standing.name,
        layout: layout.name(),
        keys: work.keys,
        bytes: work.bytes,
        timing: standing.timing,
    };
    Ok(standings.into_iter().zip(layouts).map(row).collect())
}
