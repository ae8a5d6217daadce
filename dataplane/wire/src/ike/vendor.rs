//! Vendor IDs: what a peer says it can do beyond the RFC (RFC 2408 §3.16).
//!
//! Most are the MD5 of a phrase, given here as the bytes that clients send.

/// The body of a vendor ID payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VendorId<'a>(pub &'a [u8]);

impl VendorId<'static> {
    /// NAT traversal by RFC 3947: MD5 of "RFC 3947".
    pub const RFC_3947: Self =
        Self(b"\x4a\x13\x1c\x81\x07\x03\x58\x45\x5c\x57\x28\xf2\x0e\x95\x45\x2f");
    /// NAT traversal by draft-ietf-ipsec-nat-t-ike-03.
    pub const NAT_T_DRAFT_03: Self =
        Self(b"\x7d\x94\x19\xa6\x53\x10\xca\x6f\x2c\x17\x9d\x92\x15\x52\x9d\x56");
    /// NAT traversal by draft-ietf-ipsec-nat-t-ike-02, the phrase followed by a line feed.
    pub const NAT_T_DRAFT_02_LF: Self =
        Self(b"\x90\xcb\x80\x91\x3e\xbb\x69\x6e\x08\x63\x81\xb5\xec\x42\x7b\x1f");
    /// NAT traversal by draft-ietf-ipsec-nat-t-ike-02.
    pub const NAT_T_DRAFT_02: Self =
        Self(b"\xcd\x60\x46\x43\x35\xdf\x21\xf8\x7c\xfd\xb2\xfc\x68\xb6\xa4\x48");
    /// Dead peer detection 1.0 (RFC 3706 §5.1).
    pub const DPD: Self = Self(b"\xaf\xca\xd7\x13\x68\xa1\xf1\xc9\x6b\x86\x96\xfc\x77\x57\x01\x00");
    /// XAuth (draft-ietf-ipsec-isakmp-xauth-06).
    pub const XAUTH: Self = Self(b"\x09\x00\x26\x89\xdf\xd6\xb7\x12");
    /// IKE fragmentation: MD5 of "FRAGMENTATION"; capability bits may follow.
    pub const FRAGMENTATION: Self =
        Self(b"\x40\x48\xb7\xd5\x6e\xbc\xe8\x85\x25\xe7\xde\x7f\x00\xd6\xc2\xd3");
    /// Microsoft's IKE of Windows NT 5 and later; a four-byte version follows.
    pub const MS_NT5_ISAKMPOAKLEY: Self =
        Self(b"\x1e\x2b\x51\x69\x05\x99\x1c\x7d\x7c\x96\xfc\xbf\xb5\x87\xe4\x61");
    /// MS-Negotiation Discovery Capable.
    pub const MS_NEGOTIATION_DISCOVERY: Self =
        Self(b"\xfb\x1d\xe3\xcd\xf3\x41\xb7\xea\x16\xb7\xe5\xbe\x08\x55\xf1\x20");
    /// Vid-Initial-Contact of Windows.
    pub const MS_INITIAL_CONTACT: Self =
        Self(b"\x26\x24\x4d\x38\xed\xdb\x61\xb3\x17\x2a\x36\xe3\xd0\xcf\xb8\x19");
    /// IKE CGA version 1 of Windows.
    pub const MS_IKE_CGA: Self =
        Self(b"\xe3\xa5\x96\x6a\x76\x37\x9f\xe7\x07\x22\x82\x31\xe5\xce\x86\x52");
}

impl VendorId<'_> {
    /// Whether these bytes begin with `known`; versions and capability bits may follow.
    pub fn is(&self, known: VendorId<'_>) -> bool {
        self.0.starts_with(known.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_bits_may_follow() {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(VendorId::FRAGMENTATION.0);
        bytes[16] = 0x80;
        assert!(VendorId(&bytes).is(VendorId::FRAGMENTATION));
        assert!(!VendorId(&bytes[..15]).is(VendorId::FRAGMENTATION));
    }
}
