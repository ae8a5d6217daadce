//! `culvert-bench login`: whole log-ins (IKE, L2TP, PPP) against a real gateway, and what each costs its processes.
//!
//! The gateway runs as in production, in a namespace of its own; clients come in over AF_XDP, `at_once` of them logging in at any time.
//! CPU is what the kernel charged to control's and the data plane's threads while a tenth of the clients logged in; the spread is
//! over these tenths. Phase 1 takes SHA2-256 and AES-256, phase 2 AES-GCM-128, PPP MS-CHAPv2.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::client::ike::dh::Group;
use crate::demo::gateway::beside_us;
use crate::demo::report::LogIns as Outcome;
use crate::failure::Failure;
use crate::load::engine::LogIns;
use crate::measure::{Bench, Cell, Figure, Options, Row, Spread, Suite};
use crate::suite::crowd::Crowd;
use crate::suite::process::{CpuTimes, Processes};

/// Groups, how they are called, and in what part of the clients log in with them: all with what clients choose most.
const GROUPS: [(Group, &str, u32); 7] = [
    (Group::Ecp256, "ECP-256", 1),
    (Group::Modp2048, "MODP-2048", 1),
    (Group::Modp1024, "MODP-1024", 5),
    (Group::Modp1536, "MODP-1536", 5),
    (Group::Modp3072, "MODP-3072", 5),
    (Group::Modp4096, "MODP-4096", 10),
    (Group::Ecp384, "ECP-384", 5),
];
const CLIENTS: u32 = 10_000;
const QUICK_CLIENTS: u32 = 300;
/// Parts of a run, each with a figure of its own.
const PARTS: u32 = 10;
/// Log-ins begun per second at most: more than any gateway finishes.
const PER_SECOND: u64 = 100_000;

/// What is asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct Login {
    #[command(flatten)]
    options: Options,
    /// Groups to measure, by the beginnings of their names; by default all.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Clients of the groups that clients choose most; other groups get a fifth or a tenth.
    #[arg(long, value_parser = clap::value_parser!(u32).range(10..=65_000))]
    clients: Option<u32>,
    /// Clients that log in at the same time.
    #[arg(long, default_value_t = 64)]
    at_once: u32,
    /// The gateway's executable; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    culvert: Option<PathBuf>,
}

/// Log-ins with one group.
#[derive(Clone, Debug, Serialize)]
pub struct LoginRow {
    group: &'static str,
    clients: u32,
    succeeded: u32,
    per_second: f64,
    control_us: f64,
    dataplane_us: f64,
    supervisor_us: f64,
    total_us: f64,
    p50_ms: f64,
    p99_ms: f64,
    sent_again: u32,
    spread: Spread,
}

impl Row for LoginRow {
    fn contestant(&self) -> &str {
        "culvert"
    }

    fn work(&self) -> String {
        self.group.to_owned()
    }

    fn figure(&self) -> Figure {
        Figure::Cost(self.total_us)
    }

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new("group", self.group),
            Cell::new("clients", self.clients),
            Cell::new("up", self.succeeded),
            Cell::number("per second", self.per_second),
            Cell::number("control µs", self.control_us),
            Cell::number("data plane µs", self.dataplane_us),
            Cell::number("supervisor µs", self.supervisor_us),
            Cell::number("all µs", self.total_us),
            Cell::number("min", self.spread.min),
            Cell::number("p90", self.spread.p90),
            Cell::number("p50 ms", self.p50_ms),
            Cell::number("p99 ms", self.p99_ms),
            Cell::new("sent again", self.sent_again),
        ]
    }
}

impl Suite for Login {
    const NAME: &'static str = "login";
    // The gateway's processes would inherit core and priority.
    const PLACED: bool = false;
    type Row = LoginRow;

    fn options(&self) -> &Options {
        &self.options
    }

    fn rows(&self, bench: &mut Bench) -> Result<Vec<LoginRow>, Failure> {
        let program = self.culvert.clone().map_or_else(beside_us, Ok)?;
        let usual = if bench.quick { QUICK_CLIENTS } else { CLIENTS };
        let clients = self.clients.unwrap_or(usual);
        let mut rows = Vec::new();
        for (group, name, part) in GROUPS {
            if self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only)) {
                let count = (clients / part).max(PARTS);
                bench
                    .progress
                    .update(|| format!("{name}: starting a gateway"));
                let mut crowd = Crowd::start(program.clone(), count, group, &bench.interrupt)?;
                rows.push(self.measure(name, &mut crowd, bench)?);
                crowd.gateway.stop()?;
            }
        }
        Ok(rows)
    }
}

impl Login {
    fn measure(
        &self,
        group: &'static str,
        crowd: &mut Crowd,
        bench: &mut Bench,
    ) -> Result<LoginRow, Failure> {
        let clients = crowd.engine.population().len();
        let mut meter = Meter::start(crowd.processes, clients)?;
        let spread = LogIns {
            at_once: self.at_once,
            per_second: PER_SECOND,
        };
        let begin = Instant::now();
        crowd.engine.log_in(spread, |population| {
            let up = population.census().up;
            bench
                .progress
                .update(|| format!("{group}: {up} of {clients} up"));
            meter.note(up) && !bench.interrupt.is_set()
        });
        let elapsed = begin.elapsed();
        bench.interrupt.check()?;
        crowd.gateway.check()?;
        let outcome = Outcome::of(crowd.engine.population(), elapsed);
        let used = meter.used()?;
        let each = |time: Duration| micros(time) / f64::from(outcome.succeeded.max(1));
        let total = used.control + used.dataplane + used.supervisor;
        let none = || Failure::Gateway(format!("no log-in with {group}: {:?}", outcome.failed));
        Ok(LoginRow {
            group,
            clients,
            succeeded: outcome.succeeded,
            per_second: outcome.per_second,
            control_us: each(used.control),
            dataplane_us: each(used.dataplane),
            supervisor_us: each(used.supervisor),
            total_us: each(total),
            p50_ms: outcome.milliseconds.p50,
            p99_ms: outcome.milliseconds.p99,
            sent_again: outcome.sent_again.values().sum(),
            spread: Spread::of(&meter.parts).ok_or_else(none)?,
        })
    }
}

/// Reads the processes' CPU times as log-ins go on.
struct Meter {
    processes: Processes,
    first: CpuTimes,
    last: (u32, CpuTimes),
    step: u32,
    /// Microseconds for each log-in in each part so far, all processes together.
    parts: Vec<f64>,
    failure: Option<Failure>,
}

impl Meter {
    fn start(processes: Processes, clients: u32) -> Result<Self, Failure> {
        let first = processes.cpu_times()?;
        Ok(Self {
            processes,
            first,
            last: (0, first),
            step: clients / PARTS,
            parts: Vec::new(),
            failure: None,
        })
    }

    /// Closes a part if another tenth is up; false if the processes are gone.
    fn note(&mut self, up: u32) -> bool {
        let (before, then) = self.last;
        let count = up.saturating_sub(before);
        if count < self.step.max(1) {
            return true;
        }
        match self.processes.cpu_times() {
            Ok(now) => {
                self.parts
                    .push(micros(total(since(now, then))) / f64::from(count));
                self.last = (up, now);
                true
            }
            Err(failure) => {
                self.failure = Some(failure);
                false
            }
        }
    }

    /// What all log-ins took.
    fn used(&mut self) -> Result<CpuTimes, Failure> {
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(since(self.processes.cpu_times()?, self.first)),
        }
    }
}

fn since(now: CpuTimes, then: CpuTimes) -> CpuTimes {
    CpuTimes {
        supervisor: now.supervisor.saturating_sub(then.supervisor),
        control: now.control.saturating_sub(then.control),
        dataplane: now.dataplane.saturating_sub(then.dataplane),
    }
}

fn total(times: CpuTimes) -> Duration {
    times.supervisor + times.control + times.dataplane
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
