//! ESP (RFC 4303), natively and behind UDP (RFC 3948).
