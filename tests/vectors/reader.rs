//! Reads the files of this folder; included by the tests of several crates.
//!
//! ```text
//! [SHA-1]                 a heading: holds for the cases that follow, until headings come after a case
//! COUNT = 0               starts a case
//! KEY = 1f8e…             a field
//! FAIL                    a field without value
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

/// One case of a NIST text file.
#[derive(Clone, Debug, Default)]
pub struct Case {
    headings: Vec<String>,
    fields: BTreeMap<String, String>,
}

impl Case {
    /// Whether one of its headings is `heading`.
    pub fn under(&self, heading: &str) -> bool {
        self.headings.iter().any(|own| own == heading)
    }

    /// Whether it has the field.
    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// A field as text.
    pub fn text(&self, name: &str) -> &str {
        self.fields
            .get(name)
            .unwrap_or_else(|| panic!("no field {name} in {self:?}"))
    }

    /// A field as bytes.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        unhex(self.text(name))
    }
}

/// The cases of a NIST text file; one starts at the field `COUNT`, `Count` or `Len`.
pub fn cases(path: &str) -> Vec<Case> {
    let (mut cases, mut headings) = (Vec::<Case>::new(), Vec::new());
    let mut after_case = false;
    for line in text(path).lines().map(str::trim) {
        if let Some(heading) = line.strip_prefix('[') {
            if after_case {
                headings.clear();
            }
            headings.push(heading.trim_end_matches(']').trim().to_owned());
            after_case = false;
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        if matches!(name.trim(), "COUNT" | "Count" | "Len") {
            cases.push(Case {
                headings: headings.clone(),
                ..Case::default()
            });
            after_case = true;
        }
        if let Some(case) = cases.last_mut() {
            case.fields
                .insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
    cases
}

/// A whole JSON file.
pub fn json(path: &str) -> serde_json::Value {
    serde_json::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A string of a JSON object as bytes.
pub fn bytes(value: &serde_json::Value, name: &str) -> Vec<u8> {
    let text = value[name].as_str();
    unhex(text.unwrap_or_else(|| panic!("no string {name} in {value}")))
}

/// The elements of a JSON array.
pub fn elements<'a>(value: &'a serde_json::Value, name: &str) -> &'a [serde_json::Value] {
    value[name]
        .as_array()
        .unwrap_or_else(|| panic!("no array {name}"))
}

/// Test groups and tests of a Wycheproof file, flattened: each test with its group.
pub fn wycheproof(path: &str) -> Vec<(serde_json::Value, serde_json::Value)> {
    let file = json(path);
    let pairs: Vec<_> = elements(&file, "testGroups")
        .iter()
        .flat_map(|group| {
            elements(group, "tests")
                .iter()
                .map(|test| (group.clone(), test.clone()))
        })
        .collect();
    assert_eq!(file["numberOfTests"], pairs.len(), "{path}");
    pairs
}

/// Hex digits as bytes.
pub fn unhex(digits: &str) -> Vec<u8> {
    hex::decode(digits).unwrap_or_else(|error| panic!("{digits}: {error}"))
}

fn text(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
