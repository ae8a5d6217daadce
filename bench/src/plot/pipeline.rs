//! The `pipeline` suite: cycles by number of sessions, a figure for each ESP suite, and a table of the same.

use super::Shown;
use super::lines::{Lines, Panel, Series};
use super::tables::{Row, distinct, matching, number, text};
use crate::measure::{Report, Table};

/// What the figures show; the table has the rest.
const BATCH: &str = "64";
const NATT: &str = "false";

pub(super) fn show(report: &Report) -> Shown {
    let suites = distinct(&report.rows, "suite");
    let figure = |suite: &String| (format!("pipeline-{suite}.svg"), lines(report, suite).draw());
    Shown {
        figures: suites.iter().map(figure).collect(),
        tables: format!(
            "TSC cycles per packet, median, batches of {BATCH}, without NAT-T. The report has NAT-T and batches of 1 and 8 too.\n\n{}",
            summary(report).markdown()
        ),
    }
}

/// A line for each path, ESP suite and number of sessions; a column for each size.
fn summary(report: &Report) -> Table {
    let bytes = distinct(&report.rows, "bytes");
    let mut heads = ["path", "suite", "sessions"].map(str::to_owned).to_vec();
    heads.extend(bytes.iter().map(|bytes| named(bytes)));
    let mut lines = Vec::new();
    for suite in distinct(&report.rows, "suite") {
        for path in distinct(&report.rows, "path") {
            let fields = [
                ("suite", &*suite),
                ("path", &path),
                ("batch", BATCH),
                ("natt", NATT),
            ];
            let rows = matching(&report.rows, &fields);
            for sessions in distinct(rows.iter().copied(), "sessions") {
                let cell =
                    |bytes: &String| cycles(&rows, bytes, &sessions).map(|c| format!("{c:.0}"));
                let cells = bytes.iter().map(|bytes| cell(bytes).unwrap_or_default());
                let line = [path.clone(), suite.clone(), sessions.clone()];
                lines.push(line.into_iter().chain(cells).collect());
            }
        }
    }
    Table::new(heads, lines)
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
