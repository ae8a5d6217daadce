//! `culvert-bench crypto --quick` as a user runs it.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

#[test]
fn a_quick_run_has_sane_rows_for_each_engine_and_peer() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("crypto.json");
    let output = Command::new(env!("CARGO_BIN_EXE_culvert-bench"))
        .args(["crypto", "--quick", "--json"])
        .arg(&json)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let table = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["suite"], "crypto");
    assert!(report["machine"]["cpu"].is_string());
    let rows = report["rows"].as_array().unwrap();
    for row in rows {
        check(row);
    }
    let mut expected: BTreeSet<String> = ["aes-gcm", "ring", "aws-lc-rs", "aes+cbc+hmac"]
        .map(str::to_owned)
        .into();
    for engine in culvert_crypto::Engine::available() {
        expected.insert(format!("culvert-{}", engine.name()));
    }
    if culvert_ipsec_mb::Manager::new().is_some() {
        expected.insert("ipsec-mb".to_owned());
    }
    let engines = rows.iter().filter_map(|row| row["engine"].as_str());
    assert_eq!(
        engines.map(str::to_owned).collect::<BTreeSet<_>>(),
        expected
    );
    assert!(expected.iter().all(|engine| table.contains(engine)));
}

fn check(row: &Value) {
    let number = |value: &Value| value.as_f64().unwrap();
    let spread = &row["spread"];
    let [min, median, p90] = ["min", "median", "p90"].map(|key| number(&spread[key]));
    assert!(0.0 < min && min <= median && median <= p90, "{row}");
    assert!(number(&row["ns"]) > 0.0, "{row}");
    assert!((number(&row["cycles"]) - median).abs() < 1e-9, "{row}");
    assert!(["seal", "open"].contains(&row["direction"].as_str().unwrap()));
    assert!([1, 4096].contains(&row["keys"].as_u64().unwrap()));
    for key in [
        "suite",
        "layout",
        "machine",
        "features",
        "commit",
        "pinned",
        "real_time",
    ] {
        assert!(!row[key].is_null(), "{key} in {row}");
    }
}
