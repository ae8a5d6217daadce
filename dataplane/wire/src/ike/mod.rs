//! IKEv1: ISAKMP header and payloads (RFC 2408, RFC 2407, RFC 2409, RFC 3947).
//!
//! ```text
//! datagram ─ Header::split ─▶ (Header, body) ─ [decrypt] ─ Chain::parse ─▶ Payload { kind, body }
//!                                                                            │
//!           Sa ─▶ Proposal ─▶ Transform ─▶ Attribute      Identification   Notification   Deletion   nat_original
//! ```
//! `parse` checks every length below it once; after `Ok` no iterator and no accessor can fail. [`MessageWriter`] goes the other
//! way and fills in lengths and next-payload fields itself. Numbers that nobody assigned survive both ways.

pub mod attribute;
pub mod body;
pub mod header;
pub mod number;
pub mod payload;
pub mod sa;
pub mod vendor;
pub mod writer;

pub use attribute::{Attribute, Attributes};
pub use body::{Deletion, Identification, Notification, nat_original};
pub use header::{Cookie, Flags, Header, MessageId, Version};
pub use number::{
    AuthenticationMethod, Cipher, EncapsulationMode, EspTransform, ExchangeType, Group, Hash,
    IdType, Integrity, IpsecAttribute, LifeType, NotifyType, OakleyAttribute, PayloadType,
    ProtocolId,
};
pub use payload::{Chain, Payload};
pub use sa::{Proposal, ProposalSpec, Sa, Transform, TransformSpec};
pub use vendor::VendorId;
pub use writer::{HashSlot, MessageWriter};

use crate::reader::Truncated;

/// Bytes that are no ISAKMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end before the value does.
    Truncated,
    /// A length or count disagrees with what it counts.
    Length,
    /// A reserved field is not zero: most often the mark of a wrong decryption key.
    Reserved,
    /// A list is longer than any real peer's.
    TooMany,
    /// An SA payload of another domain of interpretation than IPsec's, or another situation than identity-only.
    Domain,
}

impl From<Truncated> for Malformed {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Truncated => "message ends too early",
            Self::Length => "length field disagrees with its content",
            Self::Reserved => "reserved field is not zero",
            Self::TooMany => "too many payloads",
            Self::Domain => "not the IPsec domain of interpretation",
        })
    }
}

/// The IPsec domain of interpretation (RFC 2407 §4.4).
pub const DOI_IPSEC: u32 = 1;
/// The only situation used: identity alone (RFC 2407 §4.2.1).
pub const SIT_IDENTITY_ONLY: u32 = 1;

#[cfg(test)]
mod captured;
