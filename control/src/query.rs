//! `culvert status`: asks the status socket and prints the answer.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;

/// How long the supervisor may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer read, in bytes.
const MAX_ANSWER: u64 = 256 * 1024 * 1024;

/// Asks the socket at `path`.
///
/// # Errors
/// Nobody answers there, or not us.
pub fn ask(path: &Path) -> Result<Value, Failure> {
    let usage = |error: io::Error| {
        let kind = error.kind();
        let why = if matches!(
            kind,
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        ) {
            "no culvert runs there; start it, or name its socket with --socket"
        } else if kind == io::ErrorKind::PermissionDenied {
            "only root and the user that culvert runs as may ask"
        } else {
            "no answer"
        };
        Failure::Usage(format!("{}: {error}: {why}", path.display()))
    };
    let stream = UnixStream::connect(path).map_err(usage)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream
        .take(MAX_ANSWER)
        .read_to_string(&mut text)
        .map_err(usage)?;
    if text.is_empty() {
        return Err(usage(io::ErrorKind::PermissionDenied.into()));
    }
    serde_json::from_str(&text)
        .map_err(|error| Failure::Internal(format!("answer not understood: {error}")))
}

/// The answer for people: one line per value, lists of objects as one line per entry.
pub fn render(status: &Value) -> String {
    let mut text = String::new();
    render_into(&mut text, status, 0);
    text
}

fn render_into(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    let line = |text: &mut String, key: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{indent}{key:<24} {value}");
    };
    let Value::Object(object) = value else {
        let _ = writeln!(text, "{indent}{}", plain(value));
        return;
    };
    // A counter is told as its name and value.
    if let (Some(name), Some(number), 2) = (object.get("name"), object.get("value"), object.len()) {
        line(text, &plain(name), &plain(number));
        return;
    }
    for (key, value) in object {
        match value {
            Value::Array(items) if items.is_empty() => line(text, key, "none"),
            Value::Array(items) => {
                let _ = writeln!(text, "{indent}{key}");
                for item in items {
                    if is_flat(item) && !is_counter(item) {
                        let _ = writeln!(text, "{indent}  {}", plain(item));
                    } else {
                        render_into(text, item, depth + 1);
                    }
                }
            }
            Value::Object(_) => {
                let _ = writeln!(text, "{indent}{key}");
                render_into(text, value, depth + 1);
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                line(text, key, &plain(value))
            }
        }
    }
}

fn is_counter(value: &Value) -> bool {
    value.get("name").is_some() && value.get("value").is_some()
}

fn is_flat(value: &Value) -> bool {
    let is_simple = |value: &Value| !value.is_array();
    value
        .as_object()
        .is_none_or(|object| object.values().all(is_simple))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        Value::Object(object) => {
            let fields = object
                .iter()
                .map(|(key, value)| format!("{key} {}", plain(value)));
            fields.collect::<Vec<_>>().join("  ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_one_line_per_value() {
        let status = serde_json::json!({
            "control": { "process": { "pid": 7, "uptime_seconds": null } },
            "packets": [{ "name": "outer.received", "value": 12 }],
            "sessions": [{ "user": "alice", "set": { "core": 0, "row": 3 } }],
            "sets": [],
        });
        let text = render(&status);
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for line in [
            "pid 7",
            "uptime_seconds -",
            "outer.received 12",
            "set core 0 row 3 user alice",
            "sets none",
        ] {
            assert!(
                lines
                    .iter()
                    .any(|one| one == line || one.split("  ").any(|part| part == line)),
                "{line} in {text}"
            );
        }
    }

    #[test]
    fn a_socket_that_is_not_there_is_the_askers_mistake() {
        let failure = ask(Path::new("/nonexistent/status.sock")).unwrap_err();
        assert!(
            matches!(&failure, Failure::Usage(text) if text.contains("no culvert runs there")),
            "{failure}"
        );
    }
}
