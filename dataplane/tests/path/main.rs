//! The packet path from port to port, with in-memory ports in place of devices.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a test that is wrong may panic"
)]

mod captures;
mod churn;
mod commands;
mod crowd;
mod gateway;
mod handoff;
mod law;
mod reasons;
mod round_trip;
mod shuffle;
mod thread;
