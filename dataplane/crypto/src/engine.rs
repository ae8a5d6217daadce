//! The engine that works bursts: chosen once at start, the same for every SA.

use crate::op::{OpenOp, SealOp};
use crate::portable;

/// Most ops of one burst.
pub const BURST: usize = 64;

/// An implementation of every suite that this CPU can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Portable,
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
        std::iter::once(Self::PORTABLE)
    }

    /// Name for logs and status.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
        }
    }

    /// Seals every op: its destination then holds IV, ciphertext and ICV.
    ///
    /// `ops`: of any suites and keys, up to [`BURST`] for the best speed.
    pub fn seal_burst(self, ops: &mut [SealOp<'_>]) {
        match self.0 {
            Kind::Portable => portable::seal_burst(ops),
        }
    }

    /// Verifies and opens every op: its destination then holds the plaintext, or zeros if the ICV is wrong.
    ///
    /// `ops`: of any suites and keys, at most [`BURST`]; those beyond are treated as if their ICV were wrong.
    /// Returns which of them verified, in the order of `ops`.
    #[must_use]
    pub fn open_burst(self, ops: &mut [OpenOp<'_>]) -> Opened {
        let (burst, beyond) = ops.split_at_mut(ops.len().min(BURST));
        for op in beyond {
            op.destination.fill(0);
        }
        match self.0 {
            Kind::Portable => portable::open_burst(burst),
        }
    }
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

    /// Notes that the op at `index`, below [`BURST`], verified.
    pub(crate) const fn insert(&mut self, index: usize) {
        self.0 |= 1 << index;
    }
}
