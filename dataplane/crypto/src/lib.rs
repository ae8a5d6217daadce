//! Packet crypto: engines that seal and open bursts of ESP payloads, and nothing else.
//!
//! A [`SealOp`] or [`OpenOp`] names source, destination, context, IV and additional data of one packet; an [`Engine`] works a slice
//! of them, of the same key or of different ones. The engine is chosen once at start.
//!
//! ```text
//! sealed = IV (8 or 16 bytes) ‖ ciphertext ‖ ICV (12 or 16 bytes)      what follows SPI and sequence number (RFC 4303 §2)
//! seal:  source = plaintext          → destination = sealed           padding and next header are part of the plaintext
//! open:  source = sealed             → destination = plaintext        all zero if the ICV is wrong
//! ```
//! Source and destination are never the same bytes: a packet is read from the frame it came in and written to the frame it leaves
//! in. Lengths are checked when an op is made, so a burst cannot fail except by a wrong ICV.

mod context;
mod engine;
mod op;
mod portable;
mod self_test;
mod suite;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use context::{KeyLengthWrong, OpenContext, SealContext};
pub use engine::{BURST, Engine, Opened};
pub use op::{Iv, OpenOp, OperandWrong, SealOp};
pub use self_test::{SelfTestFailed, self_test};
pub use suite::{AesKey, Integrity, Suite};
