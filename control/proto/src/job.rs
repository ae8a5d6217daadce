//! Work too slow for the event loop: Diffie-Hellman and password hashing, as values that any thread may run.

use serde::{Deserialize, Serialize};

/// Pairs a job with its result; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u64);
