//! Packet formats of L2TP over IPsec: views over bytes for fixed headers, readers and writers for lists of attributes.
//!
//! Two schools, each with one contract:
//! - **Views** (`eth`, `ipv4`, `ipv6`, `udp`, `tcp`, `icmp`, `esp`, `l2tp::header`, `ppp::frame`): `parse` checks every
//!   length once; after `Ok` no accessor can fail. `emit` writes a header into bytes that the caller measured.
//! - **Lists** (`ike`, `l2tp::avp`, `ppp::option`): a [`reader::Reader`] yields borrowed values, a [`writer::Writer`] fills a
//!   bounded buffer. Values nobody assigned survive a round trip: open enums are newtypes with consts.
//!
//! No allocation, no `unsafe`, no dependency, so that the XDP program, the packet path and the state machines read packets
//! with the same code.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod checksum;
pub mod classify;
pub mod esp;
pub mod eth;
mod fixed;
pub mod icmp;
pub mod id;
pub mod ike;
pub mod ipv4;
pub mod ipv6;
pub mod l2tp;
pub mod malformed;
pub mod ppp;
pub mod reader;
#[cfg(test)]
mod sample;
pub mod tcp;
pub mod udp;
pub mod writer;
