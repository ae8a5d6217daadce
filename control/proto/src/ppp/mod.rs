//! The server's end of PPP (RFC 1661): LCP, authentication of the peer, IPCP.
//!
//! ```text
//! Establish ── LCP up ─→ Authenticate ── proof ─→ AwaitAddress ── assign ─→ Network ── IPCP up ─→ forwarding
//!     ↑                       │                        │                       │
//!     └─────────── the peer negotiates LCP again: forwarding is revoked first ─┘
//! any ── failure, limit, Terminate-Request, close ─→ Terminate ─→ Dead
//! ```
//!
//! A [`Session`] hears frames and time, and says what to send and when the session is open. The password table and the address
//! pool belong to the caller: proof is sought in [`crate::users::Users`], an address comes by [`Session::assign`].

mod authentication;
mod automaton;
mod config;
mod ipcp;
mod lcp;
mod negotiation;
mod output;
mod session;

pub use config::Config;
pub use output::{Cause, Note, Output};
pub use session::Session;

#[cfg(test)]
mod tests;
