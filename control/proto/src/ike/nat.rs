//! NAT discovery: RFC 3947 §3, §4, and its drafts 02 and 03, which differ in payload numbers only.

use std::net::{IpAddr, SocketAddr};

use culvert_wire::ike::{Cookie, PayloadType, VendorId};
use serde::{Deserialize, Serialize};

use crate::crypto::hash::{Hash, Output};
use crate::rows::Path;

/// UDP port that IKE floats to, shared with ESP.
const PORT: u16 = 4_500;

/// How the peer does NAT traversal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Dialect {
    /// By RFC 3947.
    Rfc,
    /// By draft 03, or by draft 02 under either of its vendor ids.
    Draft(Draft),
}

/// A draft of RFC 3947.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Draft {
    /// draft-ietf-ipsec-nat-t-ike-03.
    Three,
    /// draft-ietf-ipsec-nat-t-ike-02 with the line feed.
    TwoLineFeed,
    /// draft-ietf-ipsec-nat-t-ike-02.
    Two,
}

/// What NAT discovery found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Nat {
    /// It did not take place.
    NotLooked,
    /// Addresses and ports arrive as they were sent.
    None,
    /// Somebody between changes the peer's, ours, or both.
    Between,
}

impl Dialect {
    /// The best that a peer names, in our order.
    pub(super) fn of(vendors: &[VendorId<'_>]) -> Option<Self> {
        [
            Self::Rfc,
            Self::Draft(Draft::Three),
            Self::Draft(Draft::TwoLineFeed),
            Self::Draft(Draft::Two),
        ]
        .into_iter()
        .find(|dialect| vendors.contains(&dialect.vendor_id()))
    }

    /// What is sent back to say that it is spoken.
    pub(super) const fn vendor_id(self) -> VendorId<'static> {
        match self {
            Self::Rfc => VendorId::RFC_3947,
            Self::Draft(Draft::Three) => VendorId::NAT_T_DRAFT_03,
            Self::Draft(Draft::TwoLineFeed) => VendorId::NAT_T_DRAFT_02_LF,
            Self::Draft(Draft::Two) => VendorId::NAT_T_DRAFT_02,
        }
    }

    /// Number of its NAT discovery payloads.
    pub(super) const fn discovery(self) -> PayloadType {
        match self {
            Self::Rfc => PayloadType::NAT_D,
            Self::Draft(_) => PayloadType::NAT_D_DRAFT,
        }
    }
}

impl Nat {
    /// Compares the peer's NAT-D payloads with the path that they came on: first the hash of our end, then of its own.
    pub(super) fn discover(
        mut bodies: impl Iterator<Item = impl AsRef<[u8]>>,
        hash: Hash,
        cookies: &[u8; 16],
        path: Path,
    ) -> Self {
        let Some(ours) = bodies.next() else {
            return Self::NotLooked;
        };
        let local = discovery_hash(hash, cookies, path.local).matches(ours.as_ref());
        let expected = discovery_hash(hash, cookies, path.remote);
        let remote = bodies.any(|body| expected.matches(body.as_ref()));
        if local && remote {
            Self::None
        } else {
            Self::Between
        }
    }

    /// Whether somebody changes addresses or ports.
    pub(super) const fn is_between(self) -> bool {
        matches!(self, Self::Between)
    }
}

/// Both cookies, as hashes and keys take them.
pub(super) fn cookies(initiator: Cookie, responder: Cookie) -> [u8; 16] {
    let mut both = [0; 16];
    both[..8].copy_from_slice(&initiator.0);
    both[8..].copy_from_slice(&responder.0);
    both
}

/// HASH(CKY-I ‖ CKY-R ‖ address ‖ port) (RFC 3947 §3.2).
pub(super) fn discovery_hash(hash: Hash, cookies: &[u8; 16], end: SocketAddr) -> Output {
    let port = end.port().to_be_bytes();
    match end.ip() {
        IpAddr::V4(address) => hash.digest(&[cookies, &address.octets(), &port]),
        IpAddr::V6(address) => hash.digest(&[cookies, &address.octets(), &port]),
    }
}

/// Whether messages on this path are on the floated port, where ESP in UDP is.
pub(super) const fn is_floated(path: &Path) -> bool {
    path.local.port() == PORT
}
