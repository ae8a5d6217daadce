//! IPv6 with a bounded chain of extension headers (RFC 8200).
