//! What the responder wants done, and what it has to tell.

use std::fmt;
use std::net::SocketAddr;

use culvert_wire::ike::IdType;
use serde::{Deserialize, Serialize};

use super::error::Error;
use crate::crypto::dh::Group;
use crate::job::Job;
use crate::rows::{Change, CoreId, Encapsulation, InnerPorts, Path, SetId};

/// One thing to do, in the order given: a message must not overtake the changes before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Send an ISAKMP message; on local port 4500 behind a non-ESP marker.
    Transmit {
        /// The core to send from.
        core: CoreId,
        /// Where from and to.
        path: Path,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Change the data plane's rows.
    Change(Change),
    /// Compute something and come back with [`handle_done`](super::Responder::handle_done).
    Job(Job),
    /// An SA set is open: L2TP may come in on it.
    SetOpened {
        /// The set.
        set: SetId,
        /// Where the peer is.
        path: Path,
        /// How its packets travel.
        encapsulation: Encapsulation,
        /// Who it says it is.
        identity: Identity,
        /// The UDP ports inside; the peer's is 0 if quick mode left it open.
        ports: InnerPorts,
    },
    /// An SA set is gone with everything in it.
    SetClosed {
        /// The set.
        set: SetId,
    },
    /// Something for the log.
    Note(Note),
}

/// Who a peer says it is: at most 256 bytes, shown with everything but printable ASCII escaped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// What the bytes are.
    pub kind: IdType,
    /// Address or name.
    pub bytes: Vec<u8>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == IdType::IPV4
            && let Ok(octets) = <[u8; 4]>::try_from(self.bytes.as_slice())
        {
            return std::net::Ipv4Addr::from(octets).fmt(f);
        }
        if self.kind == IdType::IPV6
            && let Ok(octets) = <[u8; 16]>::try_from(self.bytes.as_slice())
        {
            return std::net::Ipv6Addr::from(octets).fmt(f);
        }
        self.bytes.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{self}", self.kind.0)
    }
}

/// Something for the log; at most one per message from a peer, and no secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The peer.
    pub remote: SocketAddr,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A peer proved that it knows the key.
    Authenticated {
        /// Who it says it is.
        identity: Identity,
    },
    /// A peer does not know the key: what decrypted was no message, or its hash was wrong.
    AuthenticationFailed,
    /// None of the phase 1 transforms was acceptable; what was offered, at most [`MAX_OFFERS`].
    NoPhase1Proposal(Vec<Phase1Offer>),
    /// None of the phase 2 transforms was acceptable; what was offered, at most [`MAX_OFFERS`].
    NoPhase2Proposal(Vec<Phase2Offer>),
    /// A legacy algorithm was used, as the configuration allows.
    LegacyUsed(Legacy),
    /// A message was refused or dropped.
    Refused(Error),
}

/// Offers listed in a note.
pub const MAX_OFFERS: usize = 32;

/// A phase 1 transform by its numbers (RFC 2409 appendix A); 0 where it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase1Offer {
    /// Encryption algorithm.
    pub cipher: u16,
    /// Key length in bits.
    pub key_bits: u16,
    /// Hash algorithm.
    pub hash: u16,
    /// Diffie-Hellman group.
    pub group: u16,
    /// Authentication method.
    pub authentication_method: u16,
}

/// A phase 2 transform by its numbers (RFC 2407 §4.4.4, §4.5); 0 where it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase2Offer {
    /// Protocol.
    pub protocol: u8,
    /// Transform.
    pub transform: u8,
    /// Key length in bits.
    pub key_bits: u16,
    /// Integrity algorithm.
    pub integrity: u16,
    /// Encapsulation mode.
    pub encapsulation: u16,
    /// Diffie-Hellman group.
    pub group: u16,
}

/// A legacy algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Legacy {
    /// The 1,024-bit MODP group.
    Modp1024,
    /// The 1,536-bit MODP group.
    Modp1536,
    /// Triple DES.
    TripleDes,
}

impl Legacy {
    /// What is legacy about a group.
    pub const fn of_group(group: Group) -> Option<Self> {
        match group {
            Group::Modp1024 => Some(Self::Modp1024),
            Group::Modp1536 => Some(Self::Modp1536),
            Group::Modp2048 | Group::Modp3072 | Group::Modp4096 | Group::Ecp256 | Group::Ecp384 => {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_shown_escaped() {
        let hostile = Identity {
            kind: IdType::FQDN,
            bytes: b"a;\x1b[2J\n%n\0'\xff".to_vec(),
        };
        assert_eq!(hostile.to_string(), r"a;\x1b[2J\n%n\x00\'\xff");
        let address = Identity {
            kind: IdType::IPV4,
            bytes: vec![192, 168, 7, 101],
        };
        assert_eq!(address.to_string(), "192.168.7.101");
    }
}
