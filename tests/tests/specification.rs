//! Holds the documents to the code: every test that SPECIFICATION names exists, and the rules of style that a machine can check are kept.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files with that ending under `folder`, build output left out.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name();
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && name != ".git" {
                files(&path, ending, found);
            }
        } else if name.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&top(), ".rs", &mut found);
    assert!(found.len() > 100);
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect()
}

#[test]
fn every_test_that_the_specification_names_exists() {
    let mut functions = BTreeSet::new();
    for (_, text) in sources() {
        for rest in text.split("fn ").skip(1) {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            functions.insert(name.to_owned());
        }
    }
    let specification = fs::read_to_string(top().join("docs/SPECIFICATION.md")).unwrap();
    let named: Vec<_> = specification
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.contains('_') && code.chars().all(|c| c.is_alphanumeric() || c == '_'))
        .collect();
    assert!(named.len() > 80, "{}", named.len());
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !functions.contains(**name))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn no_file_is_longer_than_800_lines() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(path, text)| (text.lines().count(), path))
        .filter(|(lines, _)| *lines > 800)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

/// AF_XDP rings, the memory module, the XDP program, which reads packets by pointer, the SIMD engines, what tests watch memory with, and
/// calls into a library that the benchmarks compare with.
const UNSAFE: [&str; 9] = [
    "dataplane/src/ring",
    "dataplane/src/mem",
    "ebpf/src",
    "dataplane/crypto/src",
    "dataplane/crypto/examples/secrets.rs",
    "dataplane/crypto/tests/guarded.rs",
    "dataplane/crypto/tests/wiped.rs",
    "dataplane/tests/allocations.rs",
    "bench/ipsec-mb/src",
];

#[test]
fn unsafe_code_stays_where_it_belongs() {
    let top = top().canonicalize().unwrap();
    for (path, text) in sources() {
        let path = path.canonicalize().unwrap();
        let place = path
            .strip_prefix(&top)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let belongs = UNSAFE.iter().any(|allowed| place.starts_with(allowed));
        let code = text
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default());
        let has_block = code.into_iter().any(|line| {
            let keyword = line.contains("unsafe {")
                || line.contains("unsafe fn")
                || line.contains("unsafe impl");
            keyword && !line.contains('"')
        });
        assert!(belongs || !has_block, "{place} has unsafe code");
    }
}
