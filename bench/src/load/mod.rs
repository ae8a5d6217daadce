//! Many clients in one thread: log-ins, probes both ways, and what became of them.

pub mod engine;
pub mod link;
pub mod pace;
pub mod population;
pub mod probe;
pub mod tally;
