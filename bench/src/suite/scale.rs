//! `culvert-bench scale`: what many tunnels take.
//!
//! - `logged in`: clients log in against a real gateway in its namespace. Memory is the proportional set size of control and of the
//!   data plane with all of them up, less what it was with none, divided by their number.
//! - `installed`: sets with an SA pair and a session each, as control's commands, straight into a data plane's core in this
//!   process. Memory is that of this process, less what it was before the core with its empty tables was made.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use crate::client::ike::dh::Group;
use crate::demo::gateway::beside_us;
use crate::failure::Failure;
use crate::load::engine::LogIns;
use crate::measure::{Bench, Cell, Figure, Options, Row, Suite};
use crate::suite::crowd::Crowd;
use crate::suite::pipeline::cycles_with;
use crate::suite::process::proportional_set_size;

mod core;

use core::Core;

const CLIENTS: u32 = 10_000;
const QUICK_CLIENTS: u32 = 300;
const SESSIONS: u32 = 100_000;
const QUICK_SESSIONS: u32 = 2_048;
/// How log-ins are spread.
const SPREAD: LogIns = LogIns {
    at_once: 64,
    per_second: 100_000,
};

/// What is asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct Scale {
    #[command(flatten)]
    options: Options,
    /// Clients that log in.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_000))]
    clients: Option<u32>,
    /// Sessions that are installed.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=500_000))]
    sessions: Option<u32>,
    /// The gateway's executable; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    culvert: Option<PathBuf>,
}

/// Memory and time of one kind of tunnels.
#[derive(Clone, Debug, Serialize)]
pub struct ScaleRow {
    tunnels: u32,
    how: &'static str,
    control_bytes: Option<f64>,
    dataplane_bytes: f64,
    bytes: f64,
    seconds: f64,
    per_second: f64,
    /// Cycles of a packet of 1,420 bytes through the path in memory with so many sessions, as a multiple of those with one.
    cycles_growth: Option<f64>,
}

impl Row for ScaleRow {
    fn contestant(&self) -> &str {
        "culvert"
    }

    fn work(&self) -> String {
        format!("{} {}", self.tunnels, self.how)
    }

    fn figure(&self) -> Figure {
        Figure::Cost(self.bytes)
    }

    fn cells(&self) -> Vec<Cell> {
        let control = self.control_bytes.map(|bytes| format!("{bytes:.0}"));
        let growth = self.cycles_growth.map(|growth| format!("{growth:.2}"));
        vec![
            Cell::new("tunnels", self.tunnels),
            Cell::new("how", self.how),
            Cell::new("control B", control.unwrap_or_default()),
            Cell::new("data plane B", format!("{:.0}", self.dataplane_bytes)),
            Cell::new("both B each", format!("{:.0}", self.bytes)),
            Cell::new("seconds", format!("{:.2}", self.seconds)),
            Cell::new("per second", format!("{:.0}", self.per_second)),
            Cell::new("cycles ×", growth.unwrap_or_default()),
        ]
    }
}

impl Suite for Scale {
    const NAME: &'static str = "scale";
    // The gateway's processes would inherit core and priority.
    const PLACED: bool = false;
    type Row = ScaleRow;

    fn options(&self) -> &Options {
        &self.options
    }

    fn rows(&self, bench: &mut Bench) -> Result<Vec<ScaleRow>, Failure> {
        Ok(vec![self.installed(bench)?, self.logged_in(bench)?])
    }
}

impl Scale {
    fn logged_in(&self, bench: &mut Bench) -> Result<ScaleRow, Failure> {
        let program = self.culvert.clone().map_or_else(beside_us, Ok)?;
        let usual = if bench.quick { QUICK_CLIENTS } else { CLIENTS };
        let count = self.clients.unwrap_or(usual);
        let mut crowd = Crowd::start(program, count, Group::Ecp256, &bench.interrupt)?;
        let (control, dataplane) = crowd.processes.memory()?;
        let begin = Instant::now();
        crowd.engine.log_in(SPREAD, |population| {
            let up = population.census().up;
            bench.progress.update(|| format!("{up} of {count} up"));
            !bench.interrupt.is_set()
        });
        let seconds = begin.elapsed().as_secs_f64();
        bench.interrupt.check()?;
        let up = crowd.engine.population().census().up;
        if up < count {
            let text = format!("{up} of {count} clients are up");
            return Err(Failure::Gateway(text));
        }
        let (control_after, dataplane_after) = crowd.processes.memory()?;
        crowd.gateway.stop()?;
        let control = each(control_after, control, count);
        let dataplane = each(dataplane_after, dataplane, count);
        Ok(ScaleRow {
            tunnels: count,
            how: "logged in",
            control_bytes: Some(control),
            dataplane_bytes: dataplane,
            bytes: control + dataplane,
            seconds,
            per_second: f64::from(count) / seconds,
            cycles_growth: None,
        })
    }

    fn installed(&self, bench: &mut Bench) -> Result<ScaleRow, Failure> {
        let usual = if bench.quick {
            QUICK_SESSIONS
        } else {
            SESSIONS
        };
        let count = self.sessions.unwrap_or(usual);
        let us = std::process::id();
        let before = proportional_set_size(us)?;
        let mut core = Core::new(count).map_err(Failure::io("data plane"))?;
        let begin = Instant::now();
        for number in 0..count {
            core.install(number)?;
        }
        core.finish()?;
        let seconds = begin.elapsed().as_secs_f64();
        let bytes = each(proportional_set_size(us)?, before, count);
        drop(core);
        let cycles_growth = Some(cycles_with(count, bench)? / cycles_with(1, bench)?);
        Ok(ScaleRow {
            tunnels: count,
            how: "installed",
            control_bytes: None,
            dataplane_bytes: bytes,
            bytes,
            seconds,
            per_second: f64::from(count) / seconds,
            cycles_growth,
        })
    }
}

/// Bytes of each of `count`.
#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
fn each(after: u64, before: u64, count: u32) -> f64 {
    after.saturating_sub(before) as f64 / f64::from(count)
}
