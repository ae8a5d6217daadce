//! L2TP version 2 (RFC 2661): the message header and the attribute-value pairs of control messages.

pub mod avp;
pub mod header;
pub mod message;
