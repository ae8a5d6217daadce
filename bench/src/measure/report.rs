//! A run as JSON: the machine once, and on each row what a reader of that row alone must know.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::machine::Machine;

/// All that one run of a suite says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The suite.
    pub suite: String,
    /// What it ran on.
    pub machine: Machine,
    /// The command that makes it again.
    pub command: String,
    /// The rows: the suite's own fields, then those of [`Report::new`].
    pub rows: Vec<Map<String, Value>>,
}

/// What each row repeats of the machine.
#[derive(Serialize)]
struct Marked<'a, R> {
    #[serde(flatten)]
    row: &'a R,
    machine: &'a str,
    features: &'a [String],
    commit: &'a str,
    pinned: bool,
    real_time: bool,
}

impl Report {
    /// Takes rows in; each also gets `machine`, `features`, `commit`, `pinned` and `real_time`.
    ///
    /// # Errors
    /// If a row has no form in JSON.
    pub fn new<R: Serialize>(
        suite: &str,
        machine: Machine,
        rows: &[R],
    ) -> Result<Self, serde_json::Error> {
        let mark = |row| {
            serde_json::to_value(Marked {
                row,
                machine: &machine.cpu,
                features: &machine.features,
                commit: &machine.commit,
                pinned: machine.placement.pinned(),
                real_time: machine.placement.real_time,
            })
            .and_then(serde_json::from_value)
        };
        let rows = rows.iter().map(mark).collect::<Result<_, _>>()?;
        Ok(Self {
            suite: suite.to_owned(),
            machine,
            command: command(std::env::args().skip(1)),
            rows,
        })
    }

    /// The report as text, a row on each line.
    ///
    /// # Errors
    /// If a value has no form in JSON.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let rows: Vec<String> = self
            .rows
            .iter()
            .map(serde_json::to_string)
            .collect::<Result<_, _>>()?;
        Ok(format!(
            "{{\n\"suite\": {},\n\"machine\": {},\n\"command\": {},\n\"rows\": [\n{}\n]\n}}\n",
            serde_json::to_string(&self.suite)?,
            serde_json::to_string(&self.machine)?,
            serde_json::to_string(&self.command)?,
            rows.join(",\n")
        ))
    }
}

fn command(arguments: impl Iterator<Item = String>) -> String {
    let arguments: Vec<String> = arguments.collect();
    format!(
        "cargo run --release -p culvert-bench -- {}",
        arguments.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Clock, Spread, Timing};

    #[derive(Serialize)]
    struct Row {
        engine: &'static str,
        bytes: usize,
        #[serde(flatten)]
        timing: Timing,
    }

    fn report() -> Report {
        let clock = Clock::new();
        let spread = Spread::of(&[1.0, 2.0, 3.0]).unwrap();
        let row = Row {
            engine: "someone",
            bytes: 64,
            timing: Timing::new(&clock, spread),
        };
        let machine = Machine::look(&clock);
        Report::new("crypto", machine, &[row]).unwrap()
    }

    #[test]
    fn a_row_carries_its_own_fields_its_spread_and_the_machine() {
        let report = report();
        let row = &report.rows[0];
        assert_eq!(row["engine"], "someone");
        assert_eq!(row["bytes"], 64);
        assert_eq!(row["cycles"], 2.0);
        assert!(row["ns"].as_f64().unwrap() > 0.0);
        assert_eq!(row["spread"]["min"], 1.0);
        assert_eq!(row["spread"]["p90"], 3.0);
        for key in ["machine", "features", "commit", "pinned", "real_time"] {
            assert!(row.contains_key(key), "{key}");
        }
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let report = report();
        let again: Report = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(again, report);
    }
}
