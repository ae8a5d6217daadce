//! One packet to seal or open: which bytes, which context, which IV.

use std::fmt;

use crate::context::{OpenContext, SealContext};
use crate::suite::Suite;

/// Longest plaintext or sealed payload in bytes: what an IP packet can carry.
const MAX_LEN: usize = 65_535;

/// Operands of an op do not fit together; nothing was sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperandWrong {
    /// The source is too long, or not whole blocks, or shorter than IV and ICV.
    Source {
        /// Its length in bytes.
        len: usize,
    },
    /// The destination is not exactly as long as the result.
    Destination {
        /// Its length in bytes.
        len: usize,
        /// The length of the result in bytes.
        needed: usize,
    },
    /// The additional data of an AES-CBC suite are neither 8 nor 12 bytes.
    Aad {
        /// Their length in bytes.
        len: usize,
    },
}

impl fmt::Display for OperandWrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source { len } => write!(f, "source of {len} bytes does not fit the suite"),
            Self::Destination { len, needed } => {
                write!(f, "destination of {len} bytes, {needed} needed")
            }
            Self::Aad { len } => write!(f, "additional data of {len} bytes, 8 or 12 needed"),
        }
    }
}

impl std::error::Error for OperandWrong {}

/// One packet to seal.
pub struct SealOp<'a> {
    pub(crate) context: &'a SealContext,
    pub(crate) aad: &'a [u8],
    pub(crate) iv: [u8; 16],
    pub(crate) source: &'a [u8],
    pub(crate) destination: &'a mut [u8],
}

impl<'a> SealOp<'a> {
    /// Names the operands and checks that they fit together.
    ///
    /// - `aad`: SPI and sequence number, 8 bytes; with extended sequence numbers SPI, high and low half, 12 bytes in this order for
    ///   every suite (RFC 4106 §5). AES-GCM takes any length.
    /// - `iv`: from [`SealContext::iv`]; AES-GCM uses the first 8 bytes.
    /// - `source`: plaintext with padding and trailer, at most 65,535 bytes; with AES-CBC whole blocks, at least one.
    /// - `destination`: exactly [`Suite::sealed_len`] bytes; all are written.
    ///
    /// # Errors
    /// [`OperandWrong`] if a length is not as above.
    pub const fn new(
        context: &'a SealContext,
        aad: &'a [u8],
        iv: [u8; 16],
        source: &'a [u8],
        destination: &'a mut [u8],
    ) -> Result<Self, OperandWrong> {
        let suite = context.suite();
        let len = source.len();
        if len > MAX_LEN || (suite.is_cbc() && (len == 0 || !len.is_multiple_of(16))) {
            return Err(OperandWrong::Source { len });
        }
        if let Some(wrong) = misfit(suite, aad, destination.len(), suite.sealed_len(len)) {
            return Err(wrong);
        }
        Ok(Self {
            context,
            aad,
            iv,
            source,
            destination,
        })
    }
}

/// One packet to verify and open.
pub struct OpenOp<'a> {
    pub(crate) context: &'a OpenContext,
    pub(crate) aad: &'a [u8],
    pub(crate) source: &'a [u8],
    pub(crate) destination: &'a mut [u8],
}

impl<'a> OpenOp<'a> {
    /// Names the operands and checks that they fit together.
    ///
    /// - `aad`: as in [`SealOp::new`].
    /// - `source`: IV, ciphertext and ICV, at most 65,535 bytes, of a length for which [`Suite::opened_len`] is not `None`.
    /// - `destination`: exactly that many bytes; all are written, with zeros if the ICV is wrong.
    ///
    /// # Errors
    /// [`OperandWrong`] if a length is not as above. A wrong source is the sender's fault: drop the packet.
    pub const fn new(
        context: &'a OpenContext,
        aad: &'a [u8],
        source: &'a [u8],
        destination: &'a mut [u8],
    ) -> Result<Self, OperandWrong> {
        let suite = context.suite();
        let len = source.len();
        let Some(needed) = suite.opened_len(len) else {
            return Err(OperandWrong::Source { len });
        };
        if len > MAX_LEN {
            return Err(OperandWrong::Source { len });
        }
        if let Some(wrong) = misfit(suite, aad, destination.len(), needed) {
            return Err(wrong);
        }
        Ok(Self {
            context,
            aad,
            source,
            destination,
        })
    }
}

/// What is wrong with additional data or destination.
const fn misfit(suite: Suite, aad: &[u8], len: usize, needed: usize) -> Option<OperandWrong> {
    if suite.is_cbc() && !matches!(aad.len(), 8 | 12) {
        return Some(OperandWrong::Aad { len: aad.len() });
    }
    if len != needed {
        return Some(OperandWrong::Destination { len, needed });
    }
    None
}
