//! What the machines want the data plane to hold: SA sets, SAs and sessions, as changes to be applied in order.
//!
//! `control` translates these into the data plane's commands; `proto` knows nothing of it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use culvert_wire::id::{SessionId, Spi, TunnelId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A packet core of the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CoreId(pub u8);

/// An SA set: all ESP SAs of one peer over rekeys, and the tunnels inside them. Index of its row on its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetId {
    /// The core that owns it.
    pub core: CoreId,
    /// The row there.
    pub row: u32,
}

/// A session's row on its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionRow {
    /// The core that owns it.
    pub core: CoreId,
    /// The row there.
    pub row: u32,
}

/// Two ends of an outer path: ours and the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Path {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
}

/// UDP ports inside a set's SAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InnerPorts {
    /// Ours: 1701.
    pub local: u16,
    /// The peer's.
    pub remote: u16,
}

/// Key bytes: wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyMaterial(Zeroizing<Vec<u8>>);

impl KeyMaterial {
    /// Takes over `bytes`.
    pub const fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The key bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Cipher and integrity algorithm of an ESP SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EspSuite {
    /// AES-GCM with a 16-byte ICV (RFC 4106); the key is followed by a 4-byte salt.
    AesGcm(AesKeyLen),
    /// AES-CBC (RFC 3602) with a keyed hash; the cipher key is followed by the integrity key.
    AesCbc(AesKeyLen, Integrity),
}

/// Length of an AES key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AesKeyLen {
    /// 128 bits.
    Bits128,
    /// 256 bits.
    Bits256,
}

/// Keyed hash of an ESP SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Integrity {
    /// HMAC-SHA1-96 (RFC 2404): 20-byte key.
    HmacSha1_96,
    /// HMAC-SHA2-256-128 (RFC 4868): 32-byte key.
    HmacSha2_256_128,
}

impl EspSuite {
    /// Bytes of key material for one direction, salt or integrity key included: 20 to 64.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesGcm(aes) => aes.bytes() + 4,
            Self::AesCbc(aes, Integrity::HmacSha1_96) => aes.bytes() + 20,
            Self::AesCbc(aes, Integrity::HmacSha2_256_128) => aes.bytes() + 32,
        }
    }
}

impl AesKeyLen {
    /// Bytes: 16 or 32.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Bits128 => 16,
            Self::Bits256 => 32,
        }
    }
}

/// How a set's L2TP packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encapsulation {
    /// ESP as an IP protocol of its own.
    Esp,
    /// ESP in UDP port 4500.
    EspInUdp,
    /// No ESP.
    Clear,
}

/// A change to the data plane's rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Makes an SA set row.
    OpenSet {
        /// The row.
        set: SetId,
        /// Where the peer is.
        path: Path,
        /// How its packets travel.
        encapsulation: Encapsulation,
    },
    /// Clears a set row with everything in it.
    CloseSet(SetId),
    /// Installs a pair of SAs of one quick mode; the outbound one waits until the peer is known to have it.
    AddSas {
        /// Their set.
        set: SetId,
        /// Our SPI.
        inbound: Spi,
        /// The peer's SPI.
        outbound: Spi,
        /// Algorithms of both.
        suite: EspSuite,
        /// Keys of packets to us.
        inbound_keys: KeyMaterial,
        /// Keys of packets to the peer.
        outbound_keys: KeyMaterial,
    },
    /// The peer is known to have the pair: seal with it.
    UseOutbound {
        /// The set.
        set: SetId,
        /// The peer's SPI.
        outbound: Spi,
    },
    /// Clears an inbound SA.
    RemoveInbound {
        /// The set.
        set: SetId,
        /// Our SPI.
        inbound: Spi,
    },
    /// Clears an outbound SA.
    RemoveOutbound {
        /// The set.
        set: SetId,
        /// The peer's SPI.
        outbound: Spi,
    },
    /// Makes a session row, or replaces the one in it.
    OpenSession(SessionSpec),
    /// Clears a session row.
    CloseSession(SessionRow),
}

/// An L2TP session as the data plane needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// The row.
    pub row: SessionRow,
    /// The set whose packets it accepts.
    pub set: SetId,
    /// UDP ports inside the SA.
    pub ports: InnerPorts,
    /// Tunnel id in packets to us.
    pub local_tunnel: TunnelId,
    /// Session id in packets to us.
    pub local_session: SessionId,
    /// Tunnel id in packets to the peer.
    pub peer_tunnel: TunnelId,
    /// Session id in packets to the peer.
    pub peer_session: SessionId,
    /// Whether data messages to the peer carry sequence numbers.
    pub sequencing: Sequencing,
    /// What the peer's LCP allows us to leave out.
    pub framing: PppFraming,
    /// What may pass.
    pub phase: Phase,
}

/// Whether data messages carry Ns and Nr (RFC 2661 §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sequencing {
    /// They do not.
    Off,
    /// They do.
    On,
}

/// How PPP headers to the peer are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PppFraming {
    /// Address and control fields are left out.
    pub address_control_compressed: bool,
    /// Protocol numbers below 0x100 take one byte.
    pub protocol_compressed: bool,
}

/// What a session lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// PPP control frames only.
    Negotiating,
    /// IPv4 too.
    Open {
        /// The session's own address.
        address: Ipv4Addr,
        /// The peer's MRU in bytes.
        mru: u16,
    },
}
