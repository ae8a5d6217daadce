//! The `pipeline` suite: cycles by number of sessions, a figure for each ESP suite, and all rows.

use super::Shown;
use super::lines::{Lines, Panel, Series};
use super::tables::{Row, all, distinct, matching, number, text};
use crate::measure::Report;

/// What the figures show; the table has the rest.
const BATCH: &str = "64";
const NATT: &str = "false";

pub(super) fn show(report: &Report) -> Shown {
    let suites = distinct(&report.rows, "suite");
    let figure = |suite: &String| (format!("pipeline-{suite}.svg"), lines(report, suite).draw());
    Shown {
        figures: suites.iter().map(figure).collect(),
        tables: all(report).markdown(),
    }
}

fn lines(report: &Report, suite: &str) -> Lines {
    let fields = [("suite", suite), ("batch", BATCH), ("natt", NATT)];
    let rows = matching(&report.rows, &fields);
    let sessions = distinct(rows.iter().copied(), "sessions");
    let panel = |path: String| {
        let rows: Vec<&Row> = (rows.iter().copied())
            .filter(|row| text(row, "path") == path)
            .collect();
        let series = |bytes: String| Series {
            values: (sessions
                .iter()
                .map(|sessions| cycles(&rows, &bytes, sessions)))
            .collect(),
            label: named(&bytes),
        };
        let bytes = distinct(rows.iter().copied(), "bytes").into_iter();
        Panel {
            series: bytes.map(series).collect(),
            title: path,
        }
    };
    Lines {
        title: format!("{suite}: cycles per packet by number of sessions"),
        caption: "TSC cycles, median, batches of 64, without NAT-T; lower is faster.".to_owned(),
        panels: distinct(rows.iter().copied(), "path")
            .into_iter()
            .map(panel)
            .collect(),
        places: sessions,
    }
}

fn cycles(rows: &[&Row], bytes: &str, sessions: &str) -> Option<f64> {
    let is = |row: &&&Row| text(row, "bytes") == bytes && text(row, "sessions") == sessions;
    number(rows.iter().find(is)?, "cycles")
}

fn named(bytes: &str) -> String {
    if bytes.parse::<u32>().is_ok() {
        format!("{bytes} B")
    } else {
        bytes.to_uppercase()
    }
}
