//! Simulated L2TP/IPsec clients, and a load generator made of them.
//!
//! [`client::Client`] is the whole client side as one sans-IO machine. [`load`] runs thousands of them over AF_XDP, and [`demo`]
//! puts a gateway between them and a LAN.
#![forbid(unsafe_code)]

pub mod client;
pub mod clients;
pub mod demo;
pub mod failure;
pub mod interrupt;
pub mod load;
pub mod progress;
mod seed;
pub mod suite;
