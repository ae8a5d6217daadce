//! The executable's parts: configuration, command line, the supervisor and the control process.
//!
//! ```text
//! culvert run ─ supervisor ─┬─ culvert dataplane   culvert_dataplane::process
//!                           └─ culvert control     control: the gateway machine and its event loop
//! ```
#![forbid(unsafe_code)]

pub mod config;
pub mod control;
pub mod failure;
pub mod logging;
pub mod supervisor;
