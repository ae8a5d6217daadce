//! AES-GCM in ESP (RFC 4106) with AES and carry-less multiplication instructions.

use super::Tier;
use crate::op::{OpenOp, SealOp};
use crate::suite::{AesKey, Suite};

/// Expanded keys of one SA, either direction.
pub(crate) enum Keys {}

impl Keys {
    /// Expands AES key ‖ salt.
    pub(super) fn new(_tier: Tier, _len: AesKey, _key: &[u8]) -> Option<Self> {
        None
    }

    /// The suite they were made for.
    pub(crate) const fn suite(&self) -> Suite {
        match *self {}
    }

    /// Asks the CPU to fetch what a text of `len` bytes needs.
    pub(crate) fn prefetch(&self, _len: usize) {
        match *self {}
    }
}

/// Seals one packet.
pub(super) fn seal(_tier: Tier, keys: &Keys, _op: &mut SealOp<'_>) {
    match *keys {}
}

/// Verifies and opens one packet; its destination is zeroed if the ICV is wrong.
pub(super) fn open(_tier: Tier, keys: &Keys, _op: &mut OpenOp<'_>) -> bool {
    match *keys {}
}
