//! PPP inside L2TP (RFC 1661): frames, control packets, options, PAP and CHAP.

pub mod frame;
