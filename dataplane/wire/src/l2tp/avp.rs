//! Attribute-value pairs of control messages (RFC 2661 §4).
