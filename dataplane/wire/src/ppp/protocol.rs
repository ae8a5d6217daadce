//! PPP protocol numbers (RFC 1661 §2).

use core::fmt;

/// A PPP protocol number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Protocol(pub u16);

#[allow(missing_docs, reason = "the names are the RFCs'")]
impl Protocol {
    pub const IPV4: Self = Self(0x0021);
    pub const VJ_COMPRESSED: Self = Self(0x002D);
    pub const VJ_UNCOMPRESSED: Self = Self(0x002F);
    pub const IPV6: Self = Self(0x0057);
    pub const COMPRESSED: Self = Self(0x00FD);
    pub const IPCP: Self = Self(0x8021);
    pub const IPV6CP: Self = Self(0x8057);
    pub const CCP: Self = Self(0x80FD);
    pub const LCP: Self = Self(0xC021);
    pub const PAP: Self = Self(0xC023);
    pub const CHAP: Self = Self(0xC223);
    pub const EAP: Self = Self(0xC227);
    /// Apple Client Server Protocol.
    pub const ACSP: Self = Self(0x8235);
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protocol({:#06x})", self.0)
    }
}
