//! Diffie-Hellman work that is given out and waited for.

use std::collections::{BTreeMap, BTreeSet};

use culvert_wire::ike::{Cookie, MessageId};
use serde::{Deserialize, Serialize};

use crate::job::{Job, JobId, Work};

/// Who waits for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Waiting {
    /// Main mode of this IKE SA, by our cookie.
    MainMode(Cookie),
    /// A quick mode under it.
    QuickMode(Cookie, MessageId),
}

/// All jobs not done yet.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Jobs {
    next: u64,
    waiting: BTreeMap<JobId, (Waiting, Work)>,
    /// Jobs below this number are given out. Not saved: a restored machine gives every job out again, because nobody may be
    /// working on it.
    #[serde(skip)]
    given_below: u64,
    /// Jobs given out for which nobody waits any more. Not saved, as above.
    #[serde(skip)]
    abandoned: BTreeSet<JobId>,
}

impl Jobs {
    /// Number of jobs not done yet, those that nobody waits for any more included: they are still to be worked off.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.abandoned.len()
    }

    /// Enters a job.
    pub(super) fn push(&mut self, waiting: Waiting, work: Work) -> JobId {
        let id = JobId(self.next);
        self.next += 1;
        self.waiting.insert(id, (waiting, work));
        id
    }

    /// Takes a job to give out.
    pub(super) fn next(&mut self) -> Option<Job> {
        let (&id, (_, work)) = self.waiting.range(JobId(self.given_below)..).next()?;
        self.given_below = id.0 + 1;
        Some(Job {
            id,
            work: work.clone(),
        })
    }

    /// Nobody waits for a job any more.
    pub(super) fn abandon(&mut self, id: JobId) {
        if self.waiting.remove(&id).is_some() && id.0 < self.given_below {
            self.abandoned.insert(id);
        }
    }

    /// Strikes off a job that is done; says who waited, unless nobody does any more.
    pub(super) fn take(&mut self, id: JobId) -> Option<Waiting> {
        self.abandoned.remove(&id);
        self.waiting.remove(&id).map(|(waiting, _)| waiting)
    }
}
