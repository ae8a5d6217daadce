//! Engines for x86-64: bursts worked with AES, carry-less multiplication and vector instructions.
//!
//! This folder is the one place of the crate with unsafe code. What its blocks rely on:
//!
//! 1. **Instructions.** A [`Tier`] exists only if [`Tier::available`] found all of its instructions, and a context of a kind defined here exists
//!    only if a tier made it. Functions with `target_feature` are called with either at hand.
//! 2. **Bytes.** An op's pointers ([`SealPointers`](crate::op::SealPointers), [`OpenPointers`](crate::op::OpenPointers)) are good for exactly the
//!    lengths they name, for as long as the op is borrowed. No byte outside is read or written.
//! 3. **Overlap.** Source and destination are the same bytes or have none in common; what is read of a stretch is read before it is written.
#![expect(
    unsafe_code,
    reason = "vector loads and stores through pointers, and calls of functions that need a CPU feature"
)]

mod aes;
pub(crate) mod cbc;
pub(crate) mod gcm;
mod sha;

use crate::context::{OpenForm, SealForm};
use crate::engine::Opened;
use crate::op::{OpenOp, SealOp};
use crate::suite::{AesKey, Suite};
use gcm::Schedule;

/// How many ops ahead of its turn an op's keys are fetched.
const AHEAD: usize = 8;

/// A set of instructions that this CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tier(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    AesNi,
    Vaes,
    Avx512,
}

impl Tier {
    /// The least of which contexts of a kind defined here are made.
    const LEAST: Self = Self(Level::AesNi);

    /// Those that this CPU has, the slowest first; each includes those before.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        let aesni = is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        let vaes = aesni
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq");
        let avx512 = vaes
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        [
            (aesni, Level::AesNi),
            (vaes, Level::Vaes),
            (avx512, Level::Avx512),
        ]
        .into_iter()
        .filter_map(|(there, level)| there.then_some(Self(level)))
    }

    /// Name of the engine.
    pub(crate) const fn name(self) -> &'static str {
        match self.0 {
            Level::AesNi => "aesni",
            Level::Vaes => "vaes",
            Level::Avx512 => "avx512",
        }
    }

    /// Keys for sealing, if this folder has an engine for the suite and `key` is of its length.
    pub(crate) fn seal_form(self, suite: Suite, key: &[u8]) -> Option<SealForm> {
        match suite {
            Suite::AesGcm(len) => match len {
                AesKey::Bits128 => Schedule::new(self, len, key).map(SealForm::Gcm128),
                AesKey::Bits192 => Schedule::new(self, len, key).map(SealForm::Gcm192),
                AesKey::Bits256 => Schedule::new(self, len, key).map(SealForm::Gcm256),
            },
            Suite::AesCbcHmac(len, integrity) => {
                let kind = cbc::Kind::new(len, integrity);
                cbc::Keys::for_sealing(self, kind, key).map(|keys| SealForm::Cbc(kind, keys))
            }
            Suite::TripleDesHmac(_) => None,
        }
    }

    /// Keys for opening, if this folder has an engine for the suite and `key` is of its length.
    pub(crate) fn open_form(self, suite: Suite, key: &[u8]) -> Option<OpenForm> {
        match suite {
            Suite::AesGcm(len) => match len {
                AesKey::Bits128 => Schedule::new(self, len, key).map(OpenForm::Gcm128),
                AesKey::Bits192 => Schedule::new(self, len, key).map(OpenForm::Gcm192),
                AesKey::Bits256 => Schedule::new(self, len, key).map(OpenForm::Gcm256),
            },
            Suite::AesCbcHmac(len, integrity) => {
                let kind = cbc::Kind::new(len, integrity);
                cbc::Keys::for_opening(self, kind, key).map(|keys| OpenForm::Cbc(kind, keys))
            }
            Suite::TripleDesHmac(_) => None,
        }
    }
}

/// Seals a burst.
///
/// Packets of AES-GCM are worked one after the other, those of AES-CBC together at the end.
pub(crate) fn seal_burst(tier: Tier, ops: &mut [SealOp<'_>]) {
    if !gcm::seal_burst(tier, ops) {
        return;
    }
    let mut has_cbc = false;
    for op in ops.iter_mut() {
        match &op.context.0 {
            SealForm::Portable(_, keys) => keys.seal(op),
            SealForm::Cbc(..) => has_cbc = true,
            SealForm::Gcm128(_) | SealForm::Gcm192(_) | SealForm::Gcm256(_) => {}
        }
    }
    if has_cbc {
        cbc::seal_burst(tier, ops);
    }
}

/// Opens a burst of at most 64 ops.
pub(crate) fn open_burst(tier: Tier, ops: &mut [OpenOp<'_>]) -> Opened {
    let mut opened = Opened::default();
    if !gcm::open_burst(tier, ops, &mut opened) {
        return opened;
    }
    let mut has_cbc = false;
    for (index, op) in ops.iter_mut().enumerate() {
        match &op.context.0 {
            OpenForm::Portable(_, keys) => opened.insert_if(keys.open(op), index),
            OpenForm::Cbc(..) => has_cbc = true,
            OpenForm::Gcm128(_) | OpenForm::Gcm192(_) | OpenForm::Gcm256(_) => {}
        }
    }
    if has_cbc {
        cbc::open_burst(tier, ops, &mut opened);
    }
    opened
}

/// Seals an op whose context was made by an engine of this folder, on behalf of another.
pub(crate) fn seal_foreign(op: &mut SealOp<'_>) {
    seal_burst(Tier::LEAST, std::slice::from_mut(op));
}

/// Opens an op whose context was made by an engine of this folder, on behalf of another; whether it verified.
pub(crate) fn open_foreign(op: &mut OpenOp<'_>) -> bool {
    open_burst(Tier::LEAST, std::slice::from_mut(op)).contains(0)
}
