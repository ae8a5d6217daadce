//! IKEv1, L2TP and PPP as sans-IO state machines: no socket, no clock, no task.
//!
//! [`gateway::Gateway`] is the whole control plane as one machine. It takes input (`handle_*`, with the time and a source of
//! randomness) and gives output (`poll_output`, `poll_timeout`). Its state is plain data that can be saved and restored between
//! any two calls.
#![forbid(unsafe_code)]

pub mod crypto;
pub mod deadlines;
pub mod gateway;
pub mod ike;
pub mod job;
pub mod l2tp;
pub mod pool;
pub mod ppp;
pub mod rows;
pub mod spi;
pub mod time;
pub mod users;
