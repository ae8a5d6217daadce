//! What the measurement ran on.

use std::fmt;
use std::fs;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::placement::Placement;

/// The machine, the program and the place, as found at run time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// CPU: name, family and model.
    pub cpu: String,
    /// Those of its features that the engines and their peers choose by.
    pub features: Vec<String>,
    /// Cores online.
    pub cores: usize,
    /// Rate of the time-stamp counter; `None` if the system's clock is read instead and a cycle is a nanosecond.
    pub tsc_hertz: Option<f64>,
    /// Release of the kernel.
    pub kernel: String,
    /// Commit of the sources, `-dirty` behind it if they were changed; `unknown` outside a checkout.
    pub commit: String,
    /// Time of the system, UTC.
    pub date: String,
    /// Core and priority of the measuring thread.
    pub placement: Placement,
}

/// Features that matter to packet crypto, as the kernel names them.
const FEATURES: [&str; 14] = [
    "aes",
    "pclmulqdq",
    "ssse3",
    "sse4_1",
    "avx",
    "avx2",
    "bmi2",
    "vaes",
    "vpclmulqdq",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "gfni",
    "sha_ni",
];

impl Machine {
    /// Looks at the machine that we run on, before anything is placed: this starts programs.
    pub fn look(clock: &Clock) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpu: cpu(&cpuinfo),
            features: features(&cpuinfo),
            cores: cpuinfo
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            tsc_hertz: clock.tsc_hertz(),
            kernel: kernel.trim().to_owned(),
            commit: commit(),
            date: words("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])
                .unwrap_or_else(|| "unknown".to_owned()),
            placement: Placement::default(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cpu,
            cores,
            kernel,
            commit,
            date,
            ..
        } = self;
        write!(f, "  {cpu}, {cores} cores, ")?;
        match self.tsc_hertz {
            Some(hertz) => writeln!(f, "TSC {:.3} GHz", hertz / 1e9)?,
            None => writeln!(f, "NO CONSTANT TSC: a cycle below is a nanosecond")?,
        }
        writeln!(f, "  {}", self.features.join(" "))?;
        writeln!(f, "  kernel {kernel}, commit {commit}, {date}")?;
        match (self.placement.core, self.placement.real_time) {
            (Some(core), true) => writeln!(f, "  pinned to core {core}, real-time priority")?,
            (Some(core), false) => writeln!(f, "  pinned to core {core}")?,
            (None, true) => writeln!(f, "  real-time priority")?,
            (None, false) => {}
        }
        for lack in &self.placement.lacks {
            writeln!(f, "  {}", lack.to_uppercase())?;
        }
        Ok(())
    }
}

fn cpu(cpuinfo: &str) -> String {
    let [name, family, model] =
        ["model name", "cpu family", "model"].map(|key| field(cpuinfo, key));
    format!("{name} (family {family}, model {model})")
}

fn features(cpuinfo: &str) -> Vec<String> {
    let has: Vec<&str> = field(cpuinfo, "flags").split_whitespace().collect();
    FEATURES
        .into_iter()
        .filter(|feature| has.contains(feature))
        .map(str::to_owned)
        .collect()
}

/// What stands behind the first `key` of /proc/cpuinfo.
fn field<'a>(cpuinfo: &'a str, key: &str) -> &'a str {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map_or("unknown", |(_, value)| value.trim())
}

/// The commit of the checkout that this program was built in.
fn commit() -> String {
    let checkout = env!("CARGO_MANIFEST_DIR");
    let describe = ["describe", "--always", "--dirty", "--exclude=*"];
    words("git", &[&["-C", checkout], &describe[..]].concat())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// What `program` says; `None` if it fails or says nothing.
fn words(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = output.ok().filter(|output| output.status.success())?;
    let words = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPUINFO: &str = "processor\t: 0\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: Some CPU\n\
        flags\t\t: fpu aes sse4_1 vaes avx512f\n\nprocessor\t: 1\nmodel name\t: Other\n";

    #[test]
    fn name_and_features_are_read_from_the_first_core() {
        assert_eq!(cpu(CPUINFO), "Some CPU (family 26, model 2)");
        assert_eq!(features(CPUINFO), ["aes", "sse4_1", "vaes", "avx512f"]);
    }

    #[test]
    fn what_is_not_there_is_unknown() {
        assert_eq!(cpu(""), "unknown (family unknown, model unknown)");
        assert!(features("").is_empty());
        assert_eq!(words("/nonexistent/program", &[]), None);
    }

    #[test]
    fn what_was_refused_is_said_aloud() {
        let machine = Machine {
            placement: Placement {
                core: Some(1),
                real_time: false,
                lacks: vec!["no real-time priority: not permitted".to_owned()],
            },
            ..Machine::look(&Clock::new())
        };
        let text = machine.to_string();
        assert!(text.contains("pinned to core 1"), "{text}");
        assert!(text.contains("NO REAL-TIME PRIORITY"), "{text}");
    }
}
