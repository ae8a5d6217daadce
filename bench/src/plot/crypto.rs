//! The `crypto` suite: a figure for each ESP suite, and a table of our fastest engine against the peers.

use super::Shown;
use super::bars::{Bars, Line, Section, number_text};
use super::tables::{Row, distinct, matching, number, text};
use crate::measure::{Report, Table};

/// Who our fastest engine is compared with in the table.
const PEERS: [&str; 2] = ["ipsec-mb", "ring"];

pub(super) fn show(report: &Report) -> Shown {
    let suites = distinct(&report.rows, "suite");
    let figure = |suite: &String| (format!("crypto-{suite}.svg"), bars(report, suite).draw());
    Shown {
        figures: suites.iter().map(figure).collect(),
        tables: format!(
            "Nanoseconds per packet of our fastest engine, and how many times as fast it is as {} in the same run:\n\n{}",
            PEERS.join(" and as "),
            ratios(report).markdown()
        ),
    }
}

/// Lines are engines, columns are sizes, sections are directions and numbers of keys.
fn bars(report: &Report, suite: &str) -> Bars {
    let rows = matching(&report.rows, &[("suite", suite)]);
    let bytes = distinct(rows.iter().copied(), "bytes");
    let mut sections = Vec::new();
    for (direction, keys) in works(&rows) {
        let fields = [("suite", suite), ("direction", &direction), ("keys", &keys)];
        let rows = matching(&report.rows, &fields);
        let line = |engine: String| Line {
            ours: engine.starts_with("culvert-"),
            values: (bytes.iter().map(|bytes| nanoseconds(&rows, &engine, bytes))).collect(),
            label: engine,
        };
        sections.push(Section {
            title: format!("{direction}, {}", spoken(&keys)),
            lines: distinct(rows.iter().copied(), "engine")
                .into_iter()
                .map(line)
                .collect(),
        });
    }
    Bars {
        title: suite.to_owned(),
        caption: "Nanoseconds per packet, median; shorter is faster. Bars of a column are to scale within each block.".to_owned(),
        columns: bytes.iter().map(|bytes| format!("{bytes} bytes")).collect(),
        sections,
    }
}

fn ratios(report: &Report) -> Table {
    let bytes = distinct(&report.rows, "bytes");
    let mut heads = ["suite", "direction", "keys"].map(str::to_owned).to_vec();
    heads.extend(bytes.iter().map(|bytes| format!("{bytes} B")));
    let mut lines = Vec::new();
    for suite in distinct(&report.rows, "suite") {
        let rows = matching(&report.rows, &[("suite", &suite)]);
        for (direction, keys) in works(&rows) {
            let fields = [
                ("suite", &*suite),
                ("direction", &direction),
                ("keys", &keys),
            ];
            let rows = matching(&report.rows, &fields);
            let cells = bytes.iter().map(|bytes| against(&rows, bytes));
            lines.push(
                [suite.clone(), direction, keys]
                    .into_iter()
                    .chain(cells)
                    .collect(),
            );
        }
    }
    Table::new(heads, lines)
}

/// Our fastest, and the ratios to those peers that are there.
fn against(rows: &[&Row], bytes: &str) -> String {
    let engines = distinct(rows.iter().copied(), "engine");
    let ours = engines
        .iter()
        .filter(|engine| engine.starts_with("culvert-"));
    let ours = ours.filter_map(|engine| nanoseconds(rows, engine, bytes));
    let Some(best) = ours.min_by(f64::total_cmp) else {
        return String::new();
    };
    let ratio = |peer| Some(format!("{:.2}×", nanoseconds(rows, peer, bytes)? / best));
    let ratios: Vec<String> = PEERS.into_iter().filter_map(ratio).collect();
    if ratios.is_empty() {
        return number_text(best);
    }
    format!("{} ({})", number_text(best), ratios.join(", "))
}

/// Directions and numbers of keys, in the order in which they come.
fn works(rows: &[&Row]) -> Vec<(String, String)> {
    let keys = distinct(rows.iter().copied(), "keys");
    let directions = distinct(rows.iter().copied(), "direction").into_iter();
    directions
        .flat_map(|direction| {
            keys.iter()
                .map(move |keys| (direction.clone(), keys.clone()))
        })
        .collect()
}

fn nanoseconds(rows: &[&Row], engine: &str, bytes: &str) -> Option<f64> {
    let is = |row: &&&Row| text(row, "engine") == engine && text(row, "bytes") == bytes;
    number(rows.iter().find(is)?, "ns")
}

fn spoken(keys: &str) -> String {
    match keys {
        "1" => "1 key".to_owned(),
        "4096" => "4,096 keys".to_owned(),
        other => format!("{other} keys"),
    }
}
