//! PPP frames without HDLC: address, control and protocol fields, each compressible (RFC 1661 §2, RFC 1662 §3.1).
