//! Work too slow for the event loop: Diffie-Hellman and password hashing, as values that any thread may run.
//!
//! A machine that waits for a job keeps what is needed to give it out again, so that a job lost with its process costs only time.

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use crate::crypto::dh::{self, DhError, Group, SharedSecret};
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
    /// Our half of a Diffie-Hellman exchange and the secret that it shares with the peer's: about a millisecond.
    KeyExchange {
        /// The group.
        group: Group,
        /// The peer's public value.
        peer_public: Vec<u8>,
    },
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
    /// Of [`Work::KeyExchange`]; `None` if the peer's public value is to be refused.
    KeyExchange(Option<Agreement>),
    /// Of [`Work::CheckPassword`]: whether the password is right.
    CheckPassword(bool),
}

/// A finished Diffie-Hellman exchange.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Agreement {
    /// Our public value.
    pub public: Vec<u8>,
    /// What both ends know now.
    pub shared: SharedSecret,
}

impl Job {
    /// The result of a job that could not be done: the peer's public value is refused, the password wrong.
    pub const fn failed(&self) -> JobDone {
        let outcome = match self.work {
            Work::KeyExchange { .. } => Outcome::KeyExchange(None),
            Work::CheckPassword(_) => Outcome::CheckPassword(false),
        };
        JobDone {
            id: self.id,
            outcome,
        }
    }

    /// Does the work.
    pub fn run(self, rng: &mut dyn CryptoRng) -> JobDone {
        let outcome = match self.work {
            Work::KeyExchange { group, peer_public } => {
                Outcome::KeyExchange(key_exchange(group, &peer_public, rng).ok())
            }
            Work::CheckPassword(check) => Outcome::CheckPassword(check.run()),
        };
        JobDone {
            id: self.id,
            outcome,
        }
    }
}

fn key_exchange(
    group: Group,
    peer_public: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<Agreement, DhError> {
    let (private, public) = dh::generate(group, rng);
    let shared = dh::agree(&private, peer_public)?;
    Ok(Agreement { public, shared })
}
