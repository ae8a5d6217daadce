//! The measurements, one module each.
//!
//! To add one: a module here that implements [`Suite`](crate::measure::Suite), and in `main.rs` a variant of `Command` and its arm.

pub mod crypto;
pub mod peers;
pub mod wire;
