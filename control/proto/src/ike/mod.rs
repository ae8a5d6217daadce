//! IKEv1 responder: RFC 2408, RFC 2409, RFC 3947, RFC 3706.
//!
//! ```text
//! main mode     ◀ SA          ExpectKeyExchange ◀ KE, Ni ─ job ─ ExpectAgreement ─ done ▶ KE, Nr
//!               ▶ SA          ExpectIdentity    ◀ ID, HASH_I verified ▶ ID, HASH_R      Established
//! quick mode    ◀ SA, Ni      [ExpectAgreement, with perfect forward secrecy]
//!               ▶ SA, Nr      ExpectConfirmation ◀ HASH(3), or a packet on the SA, or the DELETE of the old one
//! ```
//! `Established` is made in one place, behind the comparison of HASH_I (`phase1`); before it no timer sends anything. A repeated
//! request gets the stored reply again; any other message that is not followed changes nothing.
//!
//! An IKE SA is found by its cookies, a peer's ESP SAs by their set (`sets`); the end of an IKE SA does not end its ESP SAs.

pub mod config;
pub mod error;
mod half_open;
mod ike_sa;
mod informational;
mod jobs;
mod message;
mod nat;
mod offer;
pub mod output;
mod phase1;
mod phase1_message;
pub mod phase1_proposal;
pub mod phase2_proposal;
mod proof;
mod quick;
mod responder;
mod sets;
pub mod status;
mod timer;

pub use config::Config;
pub use output::{Event, Identity, Note, Output};
pub use responder::Responder;
pub use status::{Counters, IkeStatus, PairStatus, SetStatus};

#[cfg(test)]
mod tests;
