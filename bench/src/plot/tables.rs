//! Rows of a report, whatever their suite.

use serde_json::{Map, Value};

use crate::measure::{Report, Table};

/// Fields that say the same on each row, or that a table has no room for.
const NOT_SHOWN: [&str; 6] = [
    "machine",
    "features",
    "commit",
    "pinned",
    "real_time",
    "spread",
];

/// Fields that say what was done and by whom: the first columns, in this order.
const FIRST: [&str; 14] = [
    "path",
    "suite",
    "direction",
    "group",
    "peer",
    "engine",
    "contestant",
    "natt",
    "sessions",
    "clients",
    "keys",
    "bytes",
    "batch",
    "load",
];

/// One row as JSON.
pub(super) type Row = Map<String, Value>;

/// All rows, all columns but those that say the same on each.
pub(super) fn all(report: &Report) -> Table {
    let mut heads: Vec<String> = (report.rows.first().into_iter())
        .flat_map(Row::keys)
        .filter(|key| !NOT_SHOWN.contains(&key.as_str()))
        .cloned()
        .collect();
    let place = |head: &String| FIRST.iter().position(|first| first == head);
    heads.sort_by_key(|head| place(head).unwrap_or(FIRST.len()));
    let line = |row: &Row| heads.iter().map(|head| text(row, head)).collect();
    let lines = report.rows.iter().map(line).collect();
    Table::new(heads, lines)
}

/// A field as text; a number that is not whole to one decimal.
pub(super) fn text(row: &Row, key: &str) -> String {
    match row.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) if !number.is_u64() => {
            super::bars::number_text(number.as_f64().unwrap_or_default())
        }
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// A field as a number.
pub(super) fn number(row: &Row, key: &str) -> Option<f64> {
    row.get(key)?.as_f64()
}

/// The values of a field, each once, in the order in which they come.
pub(super) fn distinct<'r>(rows: impl IntoIterator<Item = &'r Row>, key: &str) -> Vec<String> {
    let mut seen = Vec::new();
    for row in rows {
        let text = text(row, key);
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen
}

/// The rows whose fields have these values.
pub(super) fn matching<'r>(rows: &'r [Row], fields: &[(&str, &str)]) -> Vec<&'r Row> {
    let fits = |row: &&Row| fields.iter().all(|(key, value)| text(row, key) == *value);
    rows.iter().filter(fits).collect()
}
