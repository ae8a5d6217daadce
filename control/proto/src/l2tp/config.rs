//! What an operator decides about the L2TP server.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rows::KeyMaterial;

/// What an operator decides about the L2TP server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Our name in SCCRP; at most 64 bytes of it are sent.
    pub host_name: String,
    /// Messages a peer may send ahead of our acknowledgement, 1 to 1,024.
    pub receive_window: u16,
    /// Silence after which a Hello asks whether the peer is there.
    pub hello_after: Duration,
    /// Time a tunnel may live without a session.
    pub idle_after: Duration,
    /// Whether tunnels prove a shared secret.
    pub authentication: Authentication,
    /// Tunnels a peer may have at once; one more replaces the oldest.
    pub tunnels_per_peer: usize,
    /// Sessions a tunnel may have at once; one more is refused.
    pub sessions_per_tunnel: usize,
    /// Tunnels of peers in the clear that have not proved themselves; one more replaces the oldest.
    pub unproved_tunnels: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host_name: "culvert".into(),
            receive_window: 8,
            hello_after: Duration::from_secs(60),
            idle_after: Duration::from_secs(60),
            authentication: Authentication::None,
            tunnels_per_peer: 1,
            sessions_per_tunnel: 1,
            unproved_tunnels: 1_024,
        }
    }
}

/// Tunnel authentication (RFC 2661 §5.1.1). The secret also opens hidden AVPs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authentication {
    /// No secret: a peer that challenges us is refused.
    None,
    /// We prove the secret to peers that ask for it.
    Answer(KeyMaterial),
    /// We do, and every peer must prove it to us.
    Require(KeyMaterial),
}

impl Authentication {
    /// The secret, if there is one.
    pub fn secret(&self) -> Option<&[u8]> {
        match self {
            Self::None => None,
            Self::Answer(secret) | Self::Require(secret) => Some(secret.expose()),
        }
    }
}
