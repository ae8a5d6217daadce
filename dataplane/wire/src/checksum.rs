//! The Internet checksum (RFC 1071), whole and incremental (RFC 1624).
