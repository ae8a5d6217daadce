//! The core that measures, and its priority.

use core_affinity::CoreId;
use serde::{Deserialize, Serialize};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Where the measuring thread runs, and what the system refused it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// Whether it has real-time priority (SCHED_FIFO).
    pub real_time: bool,
    /// What could not be had, and why; empty if all was given.
    pub lacks: Vec<String>,
}

/// Above ordinary real-time threads, below the kernel's own.
const PRIORITY: u8 = 50;

impl Placement {
    /// Pins the calling thread to `core`, or to the last core it may use, and asks for real-time priority.
    pub fn take(core: Option<usize>) -> Self {
        let mut placement = Self::default();
        match pin(core) {
            Ok(core) => placement.core = Some(core),
            Err(why) => placement.lacks.push(format!("not pinned: {why}")),
        }
        match prefer() {
            Ok(()) => placement.real_time = true,
            Err(why) => placement
                .lacks
                .push(format!("no real-time priority: {why}")),
        }
        placement
    }

    /// Whether the thread is pinned to one core.
    pub const fn pinned(&self) -> bool {
        self.core.is_some()
    }
}

fn pin(core: Option<usize>) -> Result<usize, String> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    let last = allowed.iter().map(|core| core.id).max();
    let id = core.or(last).ok_or("the cores are not known")?;
    // A number too high for the system's set of cores makes the call panic.
    if allowed.contains(&CoreId { id }) && core_affinity::set_for_current(CoreId { id }) {
        Ok(id)
    } else {
        Err(format!("core {id} is refused"))
    }
}

fn prefer() -> Result<(), String> {
    let priority = ThreadPriorityValue::try_from(PRIORITY)?;
    set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(priority),
        ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo),
    )
    .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_is_not_there_is_said() {
        let placement = std::thread::spawn(|| Placement::take(Some(100_000)))
            .join()
            .unwrap();
        assert!(!placement.pinned());
        assert!(placement.lacks[0].contains("100000"));
    }
}
