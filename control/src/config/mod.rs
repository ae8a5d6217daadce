//! The configuration: one TOML file, parsed into values that need no further checks.
//!
//! ```text
//! [outer]  interface, addresses             [ppp]     methods, mru, dns, gateway
//! [core]   interface                        [[pool]]  addresses
//! [workers] cpus, queues                    [users]   file
//! [[listen]] address, legacy, allow_clear_l2tp   [limits]  sets, sessions, shards, frames
//! [ike]    allow_weak_psk, [[ike.psk]] peer, secret | secret_file
//! [l2tp]   secret | secret_file, hello_seconds   [process] user, status_socket, unknown_session_seconds
//! ```
//! The supervisor alone reads files; the checked value travels to its children.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::Range as Span;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

mod checks;
mod file;
pub mod pool;
pub mod psk;
pub mod secure_file;
pub mod users;

pub use pool::Range;
pub use psk::{Peer, Secret};
pub use secure_file::FileError;

/// Everything that was configured, defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Name of the device where clients are.
    pub outer: String,
    /// Addresses of ours that clients dial; empty for all IPv4 addresses of the device.
    pub addresses: Vec<Ipv4Addr>,
    /// Name of the device where the network is; `None` for a veth pair of our own.
    pub core: Option<String>,
    /// Packet cores, at least one.
    pub workers: Vec<Worker>,
    /// What is allowed beyond the strict default, per address.
    pub listeners: Vec<Listener>,
    /// Pre-shared keys, the narrowest peer first.
    pub psks: Vec<Psk>,
    /// Why weak pre-shared keys are accepted, if they are.
    pub allow_weak_psk: Option<String>,
    /// L2TP.
    pub l2tp: L2tp,
    /// PPP.
    pub ppp: Ppp,
    /// Client addresses; no two overlap. The gateway's address may be among them and is given to nobody.
    pub pools: Vec<Range>,
    /// The users file.
    pub users: PathBuf,
    /// Table sizes.
    pub limits: Limits,
    /// The processes themselves.
    pub process: Process,
}

/// One packet core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// The CPU it is pinned to.
    pub cpu: Option<usize>,
    /// Its queue on both devices.
    pub queue: u32,
}

/// What is allowed on one of our addresses beyond the strict default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The address; `None` for all that have no listener of their own.
    pub address: Option<Ipv4Addr>,
    /// The 1,024-bit MODP group.
    pub modp1024: bool,
    /// The 1,536-bit MODP group.
    pub modp1536: bool,
    /// The triple-DES cipher in IKE.
    pub triple_des: bool,
    /// L2TP without IPsec.
    pub clear_l2tp: bool,
}

/// A pre-shared key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Psk {
    /// Whom it is for.
    pub peer: Peer,
    /// The key.
    pub secret: Secret,
}

/// L2TP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct L2tp {
    /// Shared secret of tunnel authentication, if peers must show one (RFC 2661 §5.1.1).
    pub secret: Option<Secret>,
    /// Silence before a Hello.
    pub hello: Duration,
}

/// PPP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ppp {
    /// Authentication methods in the order they are offered, at least one.
    pub methods: Vec<AuthMethod>,
    /// The MRU we ask for and the most we send, in bytes: 576 to 1,500.
    pub mru: u16,
    /// Name servers told to clients, at most two.
    pub dns: Vec<Ipv4Addr>,
    /// Our own address on every session.
    pub gateway: Ipv4Addr,
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AuthMethod {
    /// MS-CHAP version 2 (RFC 2759).
    #[serde(rename = "mschapv2")]
    MsChapV2,
    /// CHAP with MD5 (RFC 1994).
    #[serde(rename = "chap-md5")]
    ChapMd5,
    /// PAP (RFC 1334).
    #[serde(rename = "pap")]
    Pap,
}

impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MsChapV2 => "mschapv2",
            Self::ChapMd5 => "chap-md5",
            Self::Pap => "pap",
        })
    }
}

/// Table sizes per packet core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// SA sets, one per peer.
    pub sets: u32,
    /// Sessions.
    pub sessions: u32,
    /// Shards of 1,024 inbound SAs over all cores.
    pub shards: u16,
    /// UMEM frames of 4,096 bytes.
    pub frames: u32,
}

/// The processes themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The user that control runs as.
    pub user: String,
    /// Where `culvert status` asks.
    pub status_socket: PathBuf,
    /// How long a session that a restarted control does not know may live on.
    pub unknown_session: Duration,
}

/// Where `culvert status` asks unless told otherwise.
pub const STATUS_SOCKET: &str = "/run/culvert/status.sock";

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// A file with secrets cannot be read, or must not be trusted.
    File(FileError),
    /// The text is not what it should be.
    At(Mistake),
}

/// A mistake and its place.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub path: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::At(mistake) => {
                let Mistake {
                    path,
                    line,
                    column,
                    message,
                } = mistake;
                write!(f, "{}:{line}:{column}: {message}", path.display())
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<FileError> for ConfigError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl Config {
    /// Reads and checks the file at `path` and the secret files it names.
    ///
    /// # Errors
    /// The first thing found wrong, with its place.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, &secure_file::read(path)?)
    }

    /// Checks the text of the file at `path`, and reads the secret files that it names.
    ///
    /// # Errors
    /// The first thing found wrong, with its place.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = Source { path, text };
        let mut deserialized: file::File = toml::from_str(text)
            .map_err(|error| source.mistake(error.span().unwrap_or(0..0), error.message()))?;
        checks::check(&source, &mut deserialized)
    }

    /// What is allowed on `address`: its own listener, else the one for all, else the strict default.
    pub fn listener(&self, address: Ipv4Addr) -> Listener {
        let find = |wanted| {
            self.listeners
                .iter()
                .find(|listener| listener.address == wanted)
                .copied()
        };
        find(Some(address))
            .or_else(|| find(None))
            .unwrap_or_default()
    }
}

/// The text being checked, for messages that name a place in it.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn mistake(&self, span: Span<usize>, message: impl Into<String>) -> ConfigError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ConfigError::At(Mistake {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        })
    }

    /// Reads a secret file named in the text; relative names count from the configuration's directory.
    fn read_secret(&self, name: &Path) -> Result<Secret, ConfigError> {
        let text = secure_file::read(&self.beside(name))?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        Ok(Secret::new(Zeroizing::new(line.to_owned())))
    }

    fn beside(&self, name: &Path) -> PathBuf {
        self.path
            .parent()
            .unwrap_or_else(|| Path::new(""))
            .join(name)
    }
}

#[cfg(test)]
mod tests;
