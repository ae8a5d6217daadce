//! The configuration file as written: one struct per table, checked afterwards by the parent module.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;
use zeroize::Zeroizing;

use super::AuthMethod;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) outer: Outer,
    #[serde(default)]
    pub(super) core: Core,
    #[serde(default)]
    pub(super) workers: Workers,
    #[serde(default)]
    pub(super) listen: Vec<Listen>,
    pub(super) ike: Spanned<Ike>,
    #[serde(default)]
    pub(super) l2tp: L2tp,
    pub(super) ppp: Ppp,
    pub(super) pool: Spanned<Vec<Pool>>,
    pub(super) users: Users,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) process: Process,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outer {
    pub(super) interface: Spanned<String>,
    pub(super) addresses: Option<Spanned<Vec<Ipv4Addr>>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Core {
    pub(super) interface: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Workers {
    pub(super) cpus: Option<Spanned<Vec<usize>>>,
    pub(super) queues: Option<Spanned<Vec<u32>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    pub(super) address: Option<Spanned<Ipv4Addr>>,
    #[serde(default)]
    pub(super) legacy: Vec<Legacy>,
    #[serde(default)]
    pub(super) allow_clear_l2tp: bool,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
pub(super) enum Legacy {
    #[serde(rename = "modp1024")]
    Modp1024,
    #[serde(rename = "modp1536")]
    Modp1536,
    #[serde(rename = "3des")]
    TripleDes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ike {
    pub(super) psk: Spanned<Vec<Psk>>,
    pub(super) allow_weak_psk: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Psk {
    pub(super) peer: Spanned<String>,
    pub(super) secret: Option<Spanned<Zeroizing<String>>>,
    pub(super) secret_file: Option<Spanned<PathBuf>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct L2tp {
    pub(super) secret: Option<Spanned<Zeroizing<String>>>,
    pub(super) secret_file: Option<Spanned<PathBuf>>,
    pub(super) hello_seconds: Option<Spanned<u16>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ppp {
    pub(super) methods: Option<Spanned<Vec<AuthMethod>>>,
    pub(super) mru: Option<Spanned<u16>>,
    #[serde(default)]
    pub(super) dns: Option<Spanned<Vec<Ipv4Addr>>>,
    pub(super) gateway: Spanned<Ipv4Addr>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pool {
    pub(super) addresses: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Users {
    pub(super) file: Spanned<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) sets: Option<Spanned<u32>>,
    pub(super) sessions: Option<Spanned<u32>>,
    pub(super) shards: Option<Spanned<u16>>,
    pub(super) frames: Option<Spanned<u32>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Process {
    pub(super) user: Option<String>,
    pub(super) status_socket: Option<PathBuf>,
    pub(super) unknown_session_seconds: Option<u32>,
}

/// Whether `address` can be an address of one host.
pub(super) fn is_host(address: IpAddr) -> bool {
    !address.is_unspecified()
        && !address.is_multicast()
        && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}
