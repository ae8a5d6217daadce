//! The L2TP header in all its legal forms (RFC 2661 §3.1).
