//! What a gateway's three processes take of the machine, as the kernel says it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::failure::Failure;

/// The processes of one gateway, by their ids.
#[derive(Clone, Copy, Debug)]
pub struct Processes {
    supervisor: u32,
    control: u32,
    dataplane: u32,
}

/// CPU time of each process since it began, all threads that are still there together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTimes {
    /// The supervisor's.
    pub supervisor: Duration,
    /// Control's.
    pub control: Duration,
    /// The data plane's; work of the kernel for its sockets is counted for whoever it interrupts.
    pub dataplane: Duration,
}

/// Names of the children: at most the fifteen bytes that the kernel keeps.
const CONTROL: &str = "culvert-control";
const DATAPLANE: &str = "culvert-data";

impl Processes {
    /// Finds the children of a supervisor.
    ///
    /// # Errors
    /// [`Failure::Gateway`] if they are not there.
    pub fn of(supervisor: u32) -> Result<Self, Failure> {
        let child = |name: &str| {
            child(supervisor, name)
                .ok_or_else(|| Failure::Gateway(format!("no process {name} of its own")))
        };
        Ok(Self {
            supervisor,
            control: child(CONTROL)?,
            dataplane: child(DATAPLANE)?,
        })
    }

    /// What they have used so far.
    ///
    /// # Errors
    /// [`Failure::Io`] if one has ended.
    pub fn cpu_times(&self) -> Result<CpuTimes, Failure> {
        Ok(CpuTimes {
            supervisor: cpu_time(self.supervisor)?,
            control: cpu_time(self.control)?,
            dataplane: cpu_time(self.dataplane)?,
        })
    }

    /// Bytes of memory of control and of the data plane; what processes share is divided between them.
    ///
    /// # Errors
    /// [`Failure::Io`] if one has ended or we may not look.
    pub fn memory(&self) -> Result<(u64, u64), Failure> {
        Ok((
            proportional_set_size(self.control)?,
            proportional_set_size(self.dataplane)?,
        ))
    }
}

/// Bytes of memory of a process; what it shares with others is divided between them.
///
/// # Errors
/// [`Failure::Io`] if it has ended or we may not look.
pub fn proportional_set_size(process: u32) -> Result<u64, Failure> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(Failure::io(path))?;
    let kibibytes = text.lines().find_map(|line| {
        let words = line.strip_prefix("Pss:")?.split_whitespace().next()?;
        words.parse::<u64>().ok()
    });
    Ok(kibibytes.unwrap_or_default() * 1_024)
}

fn child(parent: u32, name: &str) -> Option<u32> {
    let entries = fs::read_dir("/proc").ok()?;
    let mut ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.find(|id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        parse_stat(&stat) == Some((name, parent))
    })
}

/// A process's name and its parent's id.
fn parse_stat(stat: &str) -> Option<(&str, u32)> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    // Behind the name: state, then the parent.
    let parent = after.split_whitespace().nth(1)?.parse().ok()?;
    Some((name, parent))
}

/// Nanoseconds on a CPU stand first in each thread's `schedstat`; `stat` counts in hundredths of a second.
fn cpu_time(process: u32) -> Result<Duration, Failure> {
    let tasks = format!("/proc/{process}/task");
    let entries = fs::read_dir(&tasks).map_err(Failure::io(tasks))?;
    let nanos = entries.filter_map(|entry| on_cpu(&entry.ok()?.path()));
    Ok(Duration::from_nanos(nanos.sum()))
}

fn on_cpu(task: &Path) -> Option<u64> {
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_is_read() {
        let stat = "71 (a b) c) S 70 71 71 0 -1";
        assert_eq!(parse_stat(stat), Some(("a b) c", 70)));
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn we_use_time_and_memory_ourselves() {
        let us = std::process::id();
        assert!(cpu_time(us).unwrap() > Duration::ZERO);
        assert!(proportional_set_size(us).unwrap() > 4_096);
    }
}
