//! Simulated L2TP/IPsec clients, a load generator made of them, and measurements that others can repeat.
//!
//! [`client::Client`] is the whole client side as one sans-IO machine. [`load`] runs thousands of them over AF_XDP, and [`demo`]
//! puts a gateway between them and a LAN. [`suite`] holds the measurements; [`measure`] says how they are taken.
#![forbid(unsafe_code)]

pub mod client;
pub mod clients;
pub mod demo;
pub mod failure;
pub mod interrupt;
pub mod load;
pub mod measure;
pub mod plot;
pub mod progress;
mod seed;
pub mod suite;
