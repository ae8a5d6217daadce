//! Harness of the end-to-end tests.
#![forbid(unsafe_code)]

pub mod fuzz;
pub mod keys;
pub mod netns;
pub mod pcap;
pub mod sim;
