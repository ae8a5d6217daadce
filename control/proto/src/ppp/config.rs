//! What an operator decides about PPP.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::users::Method;

/// What an operator decides about PPP; the same for all sessions of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Longest packet we ask the peer to send and send it, in bytes: 576 to 1,500.
    pub mru: u16,
    /// Methods the peer may use, the preferred one first. Empty lets nobody in.
    pub methods: Vec<Method>,
    /// Our name in CHAP challenges, at most 64 bytes of it.
    pub server_name: String,
    /// Our own address in every session.
    pub gateway: Ipv4Addr,
    /// Name servers for the peer, at most two.
    pub dns: Vec<Ipv4Addr>,
    /// Silence after which an Echo-Request asks whether the peer is there.
    pub echo_after: Duration,
    /// Unanswered Echo-Requests after which it is not.
    pub echo_failures: u32,
    /// Time from the start of LCP until the peer must be authenticated.
    pub authentication_limit: Duration,
    /// Time from the start of LCP until the session must be open.
    pub negotiation_limit: Duration,
    /// Wrong passwords after which the session ends.
    pub tries: u32,
    /// Time from a wrong password to the answer.
    pub penalty: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mru: 1_400,
            methods: vec![Method::MsChapV2],
            server_name: "culvert".into(),
            gateway: Ipv4Addr::UNSPECIFIED,
            dns: Vec::new(),
            echo_after: Duration::from_secs(30),
            echo_failures: 4,
            authentication_limit: Duration::from_secs(30),
            negotiation_limit: Duration::from_secs(60),
            tries: 3,
            penalty: Duration::from_secs(1),
        }
    }
}
