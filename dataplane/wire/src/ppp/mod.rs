//! PPP inside L2TP (RFC 1661): frames, control packets, options, PAP and CHAP.

pub mod chap;
pub mod control;
pub mod frame;
pub mod ipcp;
pub mod lcp;
pub mod option;
pub mod pap;
