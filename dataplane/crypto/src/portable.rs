//! The portable engine: RustCrypto's primitives behind the burst interface, one packet after the other.
//!
//! It runs on any CPU, uses AES and SHA instructions where RustCrypto finds them, and is what faster engines are tested against.

mod cbc_hmac;
mod gcm;

use cbc_hmac::{CbcHmacOpen, CbcHmacSeal};
use gcm::Gcm;

use crate::engine::Opened;
use crate::op::{OpenOp, SealOp};
use crate::suite::Suite;

/// Expanded keys for sealing.
#[expect(
    clippy::large_enum_variant,
    reason = "inline, so that a row's keys cost no second pointer"
)]
pub(crate) enum SealKeys {
    Gcm(Gcm),
    CbcHmac(CbcHmacSeal),
}

impl SealKeys {
    /// Expands `key`; `None` if its length is not the suite's.
    pub(crate) fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        if suite.is_cbc() {
            CbcHmacSeal::new(suite, key).map(Self::CbcHmac)
        } else {
            Gcm::new(suite, key).map(Self::Gcm)
        }
    }

    /// The IV for a sequence number.
    pub(crate) fn iv(&self, sequence: u64) -> [u8; 16] {
        match self {
            Self::Gcm(_) => {
                let mut iv = [0; 16];
                iv[..8].copy_from_slice(&sequence.to_be_bytes());
                iv
            }
            Self::CbcHmac(keys) => keys.iv(sequence),
        }
    }
}

/// Expanded keys for opening.
#[expect(
    clippy::large_enum_variant,
    reason = "inline, so that a row's keys cost no second pointer"
)]
pub(crate) enum OpenKeys {
    Gcm(Gcm),
    CbcHmac(CbcHmacOpen),
}

impl OpenKeys {
    /// Expands `key`; `None` if its length is not the suite's.
    pub(crate) fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        if suite.is_cbc() {
            CbcHmacOpen::new(suite, key).map(Self::CbcHmac)
        } else {
            Gcm::new(suite, key).map(Self::Gcm)
        }
    }
}

/// Seals every op.
pub(crate) fn seal_burst(ops: &mut [SealOp<'_>]) {
    for op in ops {
        match &op.context.keys {
            SealKeys::Gcm(keys) => keys.seal(op.aad, &op.iv, op.source, op.destination),
            SealKeys::CbcHmac(keys) => keys.seal(op.aad, &op.iv, op.source, op.destination),
        }
    }
}

/// Opens every op, at most 64; a destination is zeroed if its ICV is wrong.
pub(crate) fn open_burst(ops: &mut [OpenOp<'_>]) -> Opened {
    let mut opened = Opened::default();
    for (index, op) in ops.iter_mut().enumerate() {
        let verified = match &op.context.keys {
            OpenKeys::Gcm(keys) => keys.open(op.aad, op.source, op.destination),
            OpenKeys::CbcHmac(keys) => keys.open(op.aad, op.source, op.destination),
        };
        match verified {
            Ok(()) => opened.insert(index),
            Err(IcvWrong) => op.destination.fill(0),
        }
    }
    opened
}

/// The ICV does not belong to the packet.
struct IcvWrong;

/// The features that wipe expanded keys are on: without them this does not compile.
const _: () = {
    const fn wiped<T: zeroize::ZeroizeOnDrop>() {}
    wiped::<aes_gcm::Aes128Gcm>();
    wiped::<aes_gcm::Aes256Gcm>();
    wiped::<aes::Aes128Enc>();
    wiped::<aes::Aes128Dec>();
    wiped::<aes::Aes256Enc>();
    wiped::<aes::Aes256Dec>();
    wiped::<sha1::Sha1>();
    wiped::<sha2::Sha256>();
};
