//! The portable engine: RustCrypto's primitives behind the burst interface, one packet after the other.
//!
//! It runs on any CPU, uses AES and SHA instructions where RustCrypto finds them, and is what faster engines are tested against.

mod cbc_hmac;
mod gcm;
mod hmac;

use cbc_hmac::{CbcHmacOpen, CbcHmacSeal};
use gcm::Gcm;

use crate::op::{OpenOp, SealOp};
use crate::suite::Suite;

/// Expanded keys for sealing.
pub(crate) enum SealKeys {
    Gcm(Gcm),
    CbcHmac(CbcHmacSeal),
}

impl SealKeys {
    /// Expands `key`; `None` if its length is not the suite's.
    pub(crate) fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        match suite {
            Suite::AesGcm(len) => Gcm::new(len, key).map(Self::Gcm),
            Suite::AesCbcHmac(..) | Suite::TripleDesHmac(_) => {
                CbcHmacSeal::new(suite, key).map(Self::CbcHmac)
            }
        }
    }

    /// The IV for a sequence number.
    pub(crate) fn iv(&self, sequence: u64) -> [u8; 16] {
        match self {
            Self::Gcm(_) => counter_iv(sequence),
            Self::CbcHmac(keys) => keys.iv(sequence),
        }
    }

    /// Seals one packet whose context has these keys.
    pub(crate) fn seal(&self, op: &mut SealOp<'_>) {
        match self {
            Self::Gcm(keys) => keys.seal(op),
            Self::CbcHmac(keys) => keys.seal(op),
        }
    }
}

/// Expanded keys for opening.
pub(crate) enum OpenKeys {
    Gcm(Gcm),
    CbcHmac(CbcHmacOpen),
}

impl OpenKeys {
    /// Expands `key`; `None` if its length is not the suite's.
    pub(crate) fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        match suite {
            Suite::AesGcm(len) => Gcm::new(len, key).map(Self::Gcm),
            Suite::AesCbcHmac(..) | Suite::TripleDesHmac(_) => {
                CbcHmacOpen::new(suite, key).map(Self::CbcHmac)
            }
        }
    }

    /// Opens one packet whose context has these keys; whether it verified. Its destination is zeroed if not.
    #[must_use]
    pub(crate) fn open(&self, op: &mut OpenOp<'_>) -> bool {
        let verified = match self {
            Self::Gcm(keys) => keys.open(op),
            Self::CbcHmac(keys) => keys.open(op),
        };
        if verified.is_err() {
            op.wipe();
        }
        verified.is_ok()
    }
}

/// The IV of AES-GCM: the sequence number itself, zeros behind (RFC 4106 §3.1).
pub(crate) fn counter_iv(sequence: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..8].copy_from_slice(&sequence.to_be_bytes());
    iv
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
    wiped::<aes::Aes192Enc>();
    wiped::<aes::Aes192Dec>();
    wiped::<aes::Aes256Enc>();
    wiped::<aes::Aes256Dec>();
    wiped::<des::TdesEde3>();
    wiped::<sha1::Sha1>();
    wiped::<sha2::Sha256>();
    wiped::<sha2::Sha384>();
    wiped::<sha2::Sha512>();
};
