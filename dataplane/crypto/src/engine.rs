//! The engine that works bursts: chosen once at start, the same for every SA.

use crate::context::{OpenForm, SealForm};
use crate::op::{OpenOp, SealOp};
use crate::portable;
use crate::suite::Suite;
#[cfg(target_arch = "x86_64")]
use crate::x86::{self, Tier};

/// Most ops of one burst.
pub const BURST: usize = 64;

/// An implementation of every suite that this CPU can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Portable,
    /// Only of a tier that this CPU can run.
    #[cfg(target_arch = "x86_64")]
    X86(Tier),
}

impl Engine {
    /// The RustCrypto primitives, one packet after the other, on any CPU.
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// The fastest engine that this CPU can run: the last of [`Self::available`].
    pub fn choose() -> Self {
        Self::available().last().unwrap_or(Self::PORTABLE)
    }

    /// Every engine that this CPU can run, the slowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let faster = Tier::available().map(|tier| Self(Kind::X86(tier)));
        #[cfg(not(target_arch = "x86_64"))]
        let faster = std::iter::empty();
        std::iter::once(Self::PORTABLE).chain(faster)
    }

    /// The engine of this name, if this CPU can run it.
    pub fn named(name: &str) -> Option<Self> {
        Self::available().find(|engine| engine.name() == name)
    }

    /// Name for logs and status: `portable`, `aesni`, `vaes` or `avx512`.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::X86(tier) => tier.name(),
        }
    }

    /// Seals every op: its destination then holds IV, ciphertext and ICV.
    ///
    /// `ops`: of any suites and keys, up to [`BURST`] for the best speed. Contexts made for another engine are worked too, more slowly.
    pub fn seal_burst(self, ops: &mut [SealOp<'_>]) {
        for burst in ops.chunks_mut(BURST) {
            match self.0 {
                Kind::Portable => seal_portably(burst),
                #[cfg(target_arch = "x86_64")]
                Kind::X86(tier) => x86::seal_burst(tier, burst),
            }
        }
    }

    /// Verifies and opens every op: its destination then holds the plaintext, or zeros if the ICV is wrong.
    ///
    /// `ops`: of any suites and keys, at most [`BURST`]; those beyond are treated as if their ICV were wrong. Contexts as for sealing.
    /// Returns which of them verified, in the order of `ops`.
    #[must_use]
    pub fn open_burst(self, ops: &mut [OpenOp<'_>]) -> Opened {
        let (burst, beyond) = ops.split_at_mut(ops.len().min(BURST));
        beyond.iter_mut().for_each(OpenOp::wipe);
        match self.0 {
            Kind::Portable => open_portably(burst),
            #[cfg(target_arch = "x86_64")]
            Kind::X86(tier) => x86::open_burst(tier, burst),
        }
    }

    /// Keys for sealing in the kind that this engine works fastest; `None` if `key` has the wrong length.
    pub(crate) fn seal_form(self, suite: Suite, key: &[u8]) -> Option<SealForm> {
        #[cfg(target_arch = "x86_64")]
        if let Kind::X86(tier) = self.0
            && let Some(form) = tier.seal_form(suite, key)
        {
            return Some(form);
        }
        let keys = portable::SealKeys::new(suite, key)?;
        Some(SealForm::Portable(suite, Box::new(keys)))
    }

    /// Keys for opening in the kind that this engine works fastest; `None` if `key` has the wrong length.
    pub(crate) fn open_form(self, suite: Suite, key: &[u8]) -> Option<OpenForm> {
        #[cfg(target_arch = "x86_64")]
        if let Kind::X86(tier) = self.0
            && let Some(form) = tier.open_form(suite, key)
        {
            return Some(form);
        }
        let keys = portable::OpenKeys::new(suite, key)?;
        Some(OpenForm::Portable(suite, Box::new(keys)))
    }
}

/// Seals one packet after the other.
fn seal_portably(burst: &mut [SealOp<'_>]) {
    for op in burst {
        match &op.context.0 {
            SealForm::Portable(_, keys) => keys.seal(op),
            #[cfg(target_arch = "x86_64")]
            SealForm::Gcm128(_) | SealForm::Gcm192(_) | SealForm::Gcm256(_) | SealForm::Cbc(..) => {
                x86::seal_foreign(op)
            }
        }
    }
}

/// Opens one packet after the other.
fn open_portably(burst: &mut [OpenOp<'_>]) -> Opened {
    let mut opened = Opened::default();
    for (index, op) in burst.iter_mut().enumerate() {
        let verified = match &op.context.0 {
            OpenForm::Portable(_, keys) => keys.open(op),
            #[cfg(target_arch = "x86_64")]
            OpenForm::Gcm128(_) | OpenForm::Gcm192(_) | OpenForm::Gcm256(_) | OpenForm::Cbc(..) => {
                x86::open_foreign(op)
            }
        };
        opened.insert_if(verified, index);
    }
    opened
}

/// Which ops of a burst verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened(u64);

impl Opened {
    /// Whether the op at `index` verified; false beyond the burst.
    pub const fn contains(self, index: usize) -> bool {
        index < BURST && (self.0 >> index) & 1 == 1
    }

    /// Bit n is set if op n verified.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// How many verified.
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Notes whether the op at `index`, below [`BURST`], verified.
    pub(crate) const fn insert_if(&mut self, verified: bool, index: usize) {
        self.0 |= (verified as u64) << index;
    }
}
