//! `culvert-bench plot` on fixed reports: figures are well-formed, the page keeps what is not its own, and a second run changes nothing.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

const PAGE: &str =
    "# Performance\n\nWords.\n\n<!-- begin crypto --><!-- end crypto -->\n\nMore words.\n";

#[test]
fn figures_are_well_formed_and_the_page_keeps_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("PERFORMANCE.md");
    fs::write(&page, PAGE).unwrap();
    let said = plot(folder.path());
    for name in ["crypto-aes-gcm-128.svg", "pipeline-aes-gcm-128.svg"] {
        let svg = fs::read_to_string(folder.path().join("performance").join(name)).unwrap();
        check_xml(&svg);
        assert!(svg.contains("aes-gcm-128"), "{svg}");
    }
    let first = fs::read_to_string(&page).unwrap();
    assert!(first.starts_with("# Performance\n\nWords.\n"));
    assert!(first.ends_with("<!-- end crypto -->\n\nMore words.\n"));
    assert!(
        first.contains("(performance/crypto-aes-gcm-128.svg)"),
        "{first}"
    );
    assert!(first.contains("| aes-gcm-128 | open | 4096 |"), "{first}");
    // The page has no place for it.
    assert!(said.contains("pipeline-aes-gcm-128.svg"), "{said}");
    plot(folder.path());
    assert_eq!(fs::read_to_string(&page).unwrap(), first);
}

fn plot(folder: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_culvert-bench"))
        .arg("plot")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reports"))
        .arg("--page")
        .arg(folder.join("PERFORMANCE.md"))
        .arg("--figures")
        .arg(folder.join("performance"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Elements are closed in order, attributes are quoted, and no text holds what must be escaped.
fn check_xml(text: &str) {
    let mut open = Vec::new();
    let mut parts = text.split('<');
    assert_eq!(parts.next(), Some(""));
    for part in parts {
        let (tag, words) = part.split_once('>').unwrap();
        assert!(!words.contains('>'), "{part}");
        check_entities(words);
        check_entities(tag);
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{part}");
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

fn check_entities(text: &str) {
    for rest in text.split('&').skip(1) {
        let (name, _) = rest.split_once(';').unwrap();
        assert!(["amp", "lt", "gt", "quot"].contains(&name), "{text}");
    }
}
