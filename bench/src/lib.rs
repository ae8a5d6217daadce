//! Simulated L2TP/IPsec clients.
#![forbid(unsafe_code)]

pub mod client;
