//! The network server's (LNS) end of L2TP version 2 (RFC 2661).
//!
//! [`Lns`] holds every tunnel of every peer. A tunnel's messages pass its channel (order, acknowledgement, retransmission),
//! are read into attributes, and change the state of the tunnel or of one of its sessions:
//!
//! ```text
//! tunnel    ── SCCRQ ─→ ExpectScccn ── SCCCN ─→ Established ── StopCCN ─→ Lingering (acknowledges repeats for 31 s)
//!                            └──────── error, close ──┴──→ ExpectStopAck (until acknowledged, 31 s at most)
//! session   ── ICRQ ──→ ExpectIccn ─── ICCN ──→ Established ── CDN, or the tunnel's end ─→ gone
//! ```
//!
//! Inside IPsec a peer is known. In the clear it has proved itself only with SCCCN: until then no timer sends anything, and
//! each datagram gets at most one answer, no longer than itself.

mod attributes;
mod authentication;
mod channel;
mod config;
mod hidden;
mod lns;
mod output;
mod request;
mod retired;
mod session;
mod tunnel;

pub use config::{Authentication, Config};
pub use lns::Lns;
pub use output::{
    Cause, Note, Output, Peer, ProxyAuthentication, ProxyLcp, SessionConnected, SessionKey,
    SessionOpened, TunnelKey,
};

#[cfg(test)]
pub(crate) mod tests;
