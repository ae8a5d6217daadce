//! IKEv1: ISAKMP header and payloads (RFC 2408, RFC 2407, RFC 2409, RFC 3947).
