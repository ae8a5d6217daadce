//! The executable's parts: configuration, command line, the supervisor and the control process.
//!
//! ```text
//! culvert run ─ supervisor ─┬─ culvert dataplane   culvert_dataplane::process
//!                           └─ culvert control     control: the gateway machine and its event loop
//! ```
#![forbid(unsafe_code)]

pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod failure;
pub mod identity;
pub mod logging;
pub mod passwd;
pub mod query;
pub mod setup;
pub mod supervisor;
