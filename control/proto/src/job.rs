//! Work too slow for the event loop: Diffie-Hellman and password hashing, as values that any thread may run.

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use crate::users::PasswordCheck;

/// Pairs a job with its result; never reused by the machine that gave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u64);

/// Something to compute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Comes back in the [`JobDone`].
    pub id: JobId,
    /// What to compute.
    pub work: Work,
}

/// Kinds of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Comparing a password with what is stored: up to a tenth of a second.
    CheckPassword(PasswordCheck),
}

/// A finished job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobDone {
    /// Which one.
    pub id: JobId,
    /// What came out.
    pub outcome: Outcome,
}

/// Results, one per kind of [`Work`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// Of [`Work::CheckPassword`]: whether the password is right.
    CheckPassword(bool),
}

impl Job {
    /// Does the work.
    pub fn run(self, _rng: &mut dyn CryptoRng) -> JobDone {
        let outcome = match self.work {
            Work::CheckPassword(check) => Outcome::CheckPassword(check.run()),
        };
        JobDone {
            id: self.id,
            outcome,
        }
    }
}
