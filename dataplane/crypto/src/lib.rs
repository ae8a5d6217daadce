//! Packet crypto: engines that seal and open bursts of ESP payloads, and nothing else.
//!
//! A [`SealOp`] or [`OpenOp`] names source, destination, context, IV and additional data of one packet; an [`Engine`] works a slice
//! of them, of the same key or of different ones. The engine is chosen once at start.

mod suite;

pub use suite::Suite;
