//! The stages: each takes a batch and the rows, works the packets that await it, and sets their verdicts.
//!
//! ```text
//! UP    outer ─ reassemble ─ transport ─ esp_open ─ decap (l2tp_decap ─ ppp_decap ─ admit) ─ to_network
//! DOWN  to_session ─ fragment ─ ppp_encap ─ l2tp_encap ─ esp_seal ─ fragment
//! ```

pub mod classify;
pub mod decap;
pub mod esp_open;
pub mod esp_seal;
pub mod fragment;
pub mod icmp;
pub mod l2tp_decap;
pub mod l2tp_encap;
pub mod mss;
pub mod ppp_decap;
pub mod ppp_encap;
pub mod reassemble;
pub mod to_network;
pub mod to_session;
