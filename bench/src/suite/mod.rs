//! The measurements, one module each.
//!
//! To add one: a module here that implements [`Suite`](crate::measure::Suite), and in `main.rs` a variant of `Command` and its arm.

pub mod crowd;
pub mod crypto;
pub mod login;
pub mod peers;
pub mod pipeline;
pub mod process;
pub mod scale;
pub mod wire;
