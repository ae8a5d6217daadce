//! The core that measures, and its priority.
//!
//! Threads and processes inherit both from the thread that starts them, and must not: where one waits for another on the same core,
//! at the same real-time priority and without giving way, the other never runs.

use std::panic::resume_unwind;
use std::thread;

use core_affinity::CoreId;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};
use thread_priority::{
    NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue,
    ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
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
/// What `thread_priority` calls a niceness of 0.
const NOT_NICE: u8 = 47;

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

    /// What [`Placement::take`] gives here: the thread that asks stays where it is.
    pub fn offered(core: Option<usize>) -> Self {
        Self::hold(core, |placement| placement)
    }

    /// Runs `work` on a thread of its own that has taken its placement, and returns what it returns.
    pub fn hold<T: Send>(core: Option<usize>, work: impl FnOnce(Self) -> T + Send) -> T {
        on_thread(|| work(Self::take(core)))
    }

    /// Runs `work` on a thread of its own with ordinary priority on any core, whatever the thread that asks has.
    pub fn without<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        on_thread(|| {
            Self::roam();
            work()
        })
    }

    /// Gives the calling thread every core that the system allows it, and ordinary priority if it had real-time priority.
    pub fn roam() {
        let mut all = CpuSet::new();
        (0..CpuSet::MAX_CPU).for_each(|core| all.set(core));
        // Refused means that it stays where it may be.
        let _ = sched_setaffinity(None, &all);
        Self::give_way();
    }

    /// Gives the calling thread ordinary priority if it had real-time priority.
    pub fn give_way() {
        if matches!(
            thread_schedule_policy(),
            Ok(ThreadSchedulePolicy::Realtime(_))
        ) {
            // Any thread may lower itself, which comes first; that its niceness stays as it is does no harm.
            let _ = set_priority(
                NOT_NICE,
                ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other),
            );
        }
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
    set_priority(
        PRIORITY,
        ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo),
    )
}

fn set_priority(value: u8, policy: ThreadSchedulePolicy) -> Result<(), String> {
    let priority = ThreadPriority::Crossplatform(ThreadPriorityValue::try_from(value)?);
    set_thread_priority_and_policy(thread_native_id(), priority, policy)
        .map_err(|error| error.to_string())
}

fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_is_not_there_is_said() {
        let placement = thread::spawn(|| Placement::take(Some(100_000)))
            .join()
            .unwrap();
        assert!(!placement.pinned());
        assert!(placement.lacks[0].contains("100000"));
    }

    /// Policy, niceness and cores of the calling thread.
    fn standing() -> (ThreadSchedulePolicy, i32, Vec<CoreId>) {
        (
            thread_schedule_policy().unwrap(),
            rustix::process::getpriority_process(None).unwrap(),
            core_affinity::get_core_ids().unwrap(),
        )
    }

    #[test]
    fn what_a_placed_thread_starts_without_its_placement_is_ordinary() {
        let ordinary = Placement::without(standing);
        let normal = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
        assert_eq!(ordinary.0, normal);
        let (placed, inherited, without) = Placement::hold(None, |placement| {
            let inherited = on_thread(standing);
            (placement, inherited, Placement::without(standing))
        });
        assert_eq!(placed.pinned(), inherited.2.len() == 1);
        assert_eq!(placed.real_time, inherited.0 != normal);
        assert_eq!(without.0, normal);
        assert_eq!(without.2, ordinary.2);
        if placed.real_time {
            assert_eq!(without.1, 0);
        }
    }

    #[test]
    fn what_is_offered_is_not_taken() {
        let before = standing();
        let offered = Placement::offered(None);
        assert!(offered.pinned());
        assert_eq!(standing(), before);
    }
}
