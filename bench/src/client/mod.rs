//! The client side of L2TP/IPsec as one sans-IO machine.

pub mod dh;
pub mod esp;
pub mod hash;
pub mod keys;
pub mod mschap;
