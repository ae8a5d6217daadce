//! `culvert-bench pipeline --quick` as a user runs it.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

#[test]
fn a_quick_run_has_sane_rows_for_both_ways_and_suites() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("pipeline.json");
    let output = Command::new(env!("CARGO_BIN_EXE_culvert-bench"))
        .args(["pipeline", "--quick", "--sessions", "3", "--json"])
        .arg(&json)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["suite"], "pipeline");
    let rows = report["rows"].as_array().unwrap();
    let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let kinds: BTreeSet<_> = rows
        .iter()
        .map(|row| {
            (
                word(row, "path"),
                word(row, "suite"),
                row["natt"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(kinds.len(), 8, "{kinds:?}");
    for row in rows {
        let number = |key: &str| row[key].as_f64().unwrap();
        assert_eq!((number("sessions"), word(row, "bytes")), (3.0, "64".into()));
        assert!(number("cycles") > 0.0, "{row}");
        // Both say how long a packet took.
        assert!((number("mpps") * number("ns") - 1e3).abs() < 1.0, "{row}");
        assert!(
            (number("gbps") - number("mpps") * 64.0 * 8.0 / 1e3).abs() < 1e-6,
            "{row}"
        );
    }
}
