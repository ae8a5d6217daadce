//! What a demo came to, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::engine::Run;
use crate::load::population::Population;
use crate::load::tally::Tally;

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of the bench.
    pub version: &'static str,
    /// What phase 1, phase 2 and PPP used.
    pub algorithms: String,
    /// Log-ins.
    pub log_ins: LogIns,
    /// Runs of probes at a constant rate.
    pub runs: Vec<RunReport>,
    /// Packets that the gateway dropped while probes flowed, by origin and reason.
    pub gateway_drops: BTreeMap<String, u64>,
    /// Packets that the kernel dropped on the links meanwhile, by device.
    pub kernel_drops: BTreeMap<String, u64>,
    /// Of those, packets that the kernel could not give to a port of the gateway, by port and reason.
    pub not_given: BTreeMap<String, u64>,
    /// Packets that reached a client and were not taken.
    pub client_discards: u64,
    /// Probes lost, those of the search for the rate included.
    pub lost: u64,
    /// Probes lost that no counter explains.
    pub unaccounted: u64,
}

/// How log-ins went.
#[derive(Clone, Debug, Serialize)]
pub struct LogIns {
    /// Clients that were to log in.
    pub clients: u32,
    /// Clients that did.
    pub succeeded: u32,
    /// Clients that did not, by cause.
    pub failed: BTreeMap<String, u32>,
    /// From the first message to the last address.
    pub seconds: f64,
    /// Log-ins per second.
    pub per_second: f64,
    /// How long one took.
    pub milliseconds: Quantiles,
    /// Messages that clients sent again because no answer came in time, by step.
    pub sent_again: BTreeMap<String, u32>,
    /// Packets that gateway and kernel dropped meanwhile, by reason or device; clients sent them again.
    pub drops: BTreeMap<String, u64>,
}

/// How one run went.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// Bytes of the inner IP packet.
    pub inner_bytes: usize,
    /// How long probes were sent.
    pub seconds: f64,
    /// Probes per second each way that came through when as many as possible were sent.
    pub capacity_per_second: u64,
    /// Probes per second each way that were to be sent.
    pub offered_per_second: u64,
    /// Probes left out because the generator was too slow.
    pub skipped: u64,
    /// From clients to the network.
    pub up: DirectionReport,
    /// From the network to clients.
    pub down: DirectionReport,
}

/// How one direction of a run went.
#[derive(Clone, Debug, Serialize)]
pub struct DirectionReport {
    /// Probes sent.
    pub sent: u64,
    /// Probes received, each counted once.
    pub received: u64,
    /// Probes that did not come.
    pub lost: u64,
    /// Probes that came again.
    pub duplicates: u64,
    /// Probes that came after one of the same client sent later.
    pub reordered: u64,
    /// Probes received per second.
    pub packets_per_second: f64,
    /// Bits of inner IP packets received per second.
    pub bits_per_second: f64,
    /// Time through generator, kernel and gateway.
    pub latency_microseconds: Quantiles,
}

/// Points of a distribution.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quantiles {
    /// Half are below.
    pub p50: f64,
    /// 99 % are below.
    pub p99: f64,
    /// 99.9 % are below.
    pub p99_9: f64,
    /// The largest.
    pub max: f64,
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>, unit: f64) -> Self {
        let at = |quantile| precise(histogram.value_at_quantile(quantile)) / unit;
        Self {
            p50: at(0.5),
            p99: at(0.99),
            p99_9: at(0.999),
            max: precise(histogram.max()) / unit,
        }
    }
}

/// Counts here are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "a report rounds")]
const fn precise(count: u64) -> f64 {
    count as f64
}

impl LogIns {
    /// Sums up log-ins that took `elapsed` in all.
    pub fn of(population: &Population, elapsed: Duration) -> Self {
        let mut histogram = Tally::new().latency;
        for time in population.log_in_times() {
            histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        }
        let succeeded = population.census().up;
        let failed = population
            .failures()
            .iter()
            .map(|(cause, count)| (cause.to_string(), *count));
        let again = population
            .sent_again()
            .iter()
            .map(|(stage, count)| (format!("{stage:?}"), *count));
        Self {
            clients: population.len(),
            succeeded,
            failed: failed.collect(),
            seconds: elapsed.as_secs_f64(),
            per_second: f64::from(succeeded) / elapsed.as_secs_f64(),
            milliseconds: Quantiles::of(&histogram, 1_000.0),
            sent_again: again.collect(),
            drops: BTreeMap::new(),
        }
    }
}

impl RunReport {
    /// Sums up a run.
    pub fn of(run: &Run, capacity_per_second: u64, offered_per_second: u64) -> Self {
        Self {
            inner_bytes: run.size,
            seconds: run.sending.as_secs_f64(),
            capacity_per_second,
            offered_per_second,
            skipped: run.skipped,
            up: DirectionReport::of(&run.up, run),
            down: DirectionReport::of(&run.down, run),
        }
    }
}

impl DirectionReport {
    fn of(tally: &Tally, run: &Run) -> Self {
        let packets_per_second = precise(tally.received) / run.sending.as_secs_f64();
        let bits = u32::try_from(run.size * 8).unwrap_or(u32::MAX);
        Self {
            sent: tally.sent,
            received: tally.received,
            lost: tally.missing(),
            duplicates: tally.duplicates,
            reordered: tally.reordered,
            packets_per_second,
            bits_per_second: packets_per_second * f64::from(bits),
            latency_microseconds: Quantiles::of(&tally.latency, 1_000.0),
        }
    }
}

impl Report {
    /// Whether every client logged in and every packet is accounted for.
    pub fn is_good(&self) -> bool {
        self.log_ins.failed.is_empty()
            && self.log_ins.succeeded == self.log_ins.clients
            && self.unaccounted == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log_ins = &self.log_ins;
        let took = log_ins.milliseconds;
        writeln!(f, "\n{}", self.algorithms)?;
        writeln!(
            f,
            "log-ins   {} of {} in {:.1} s: {:.0} per second; one took {:.0} ms (p50), {:.0} ms (p99)",
            log_ins.succeeded,
            log_ins.clients,
            log_ins.seconds,
            log_ins.per_second,
            took.p50,
            took.p99
        )?;
        for (cause, count) in &log_ins.failed {
            writeln!(f, "          {count} failed: {cause}")?;
        }
        for (stage, count) in &log_ins.sent_again {
            writeln!(
                f,
                "          {count} messages sent again for want of an answer: {stage}"
            )?;
        }
        for (reason, count) in &log_ins.drops {
            writeln!(f, "          {count} packets dropped meanwhile: {reason}")?;
        }
        writeln!(
            f,
            "\nbytes way      packets/s     Mbit/s       sent       lost   dup  reord   p50 µs   p99 µs p99.9 µs"
        )?;
        for run in &self.runs {
            for (way, direction) in [("up", &run.up), ("down", &run.down)] {
                direction.write_line(f, run.inner_bytes, way)?;
            }
        }
        for run in &self.runs {
            writeln!(
                f,
                "{} bytes: {} packets/s each way came through at full load; {} were offered for {:.1} s{}",
                run.inner_bytes,
                run.capacity_per_second,
                run.offered_per_second,
                run.seconds,
                if run.skipped > 0 {
                    format!(", {} left out by a busy generator", run.skipped)
                } else {
                    String::new()
                }
            )?;
        }
        self.write_drops(f)
    }
}

impl Report {
    fn write_drops(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nlost {} probes in all, the search for the rate included; unaccounted for: {}",
            self.lost, self.unaccounted
        )?;
        for (reason, count) in &self.gateway_drops {
            writeln!(f, "  gateway {reason}: {count}")?;
        }
        for (device, count) in &self.kernel_drops {
            writeln!(f, "  kernel dropped on {device}: {count}")?;
        }
        for (reason, count) in &self.not_given {
            writeln!(f, "    gateway's port says {reason}: {count}")?;
        }
        if self.client_discards > 0 {
            writeln!(f, "  clients discarded: {}", self.client_discards)?;
        }
        Ok(())
    }
}

impl DirectionReport {
    fn write_line(&self, f: &mut fmt::Formatter<'_>, bytes: usize, way: &str) -> fmt::Result {
        let latency = self.latency_microseconds;
        writeln!(
            f,
            "{bytes:>5} {way:<4} {:>13.0} {:>10.1} {:>10} {:>10} {:>5} {:>6} {:>8.0} {:>8.0} {:>8.0}",
            self.packets_per_second,
            self.bits_per_second / 1e6,
            self.sent,
            self.lost,
            self.duplicates,
            self.reordered,
            latency.p50,
            latency.p99,
            latency.p99_9,
        )
    }
}
