//! The packet path as one contestant among others.

use culvert_crypto::Suite;
use culvert_dataplane::api::Encapsulation;

use super::gateway::{Gateway, ROTATION};
use super::{Length, Order, Path, rotate};
use crate::failure::Failure;
use crate::measure::{Clock, as_f64};

/// A gateway without NAT-T whose ports give whole batches, and what goes through it.
pub(in crate::suite) struct Turns {
    gateway: Gateway,
    order: Order,
    path: Path,
    bytes: usize,
}

/// What the dataplane works at once at most.
const BATCH: usize = culvert_dataplane::frame::BATCH;

impl Turns {
    /// Packets of one turn.
    pub(in crate::suite) const PACKETS: u64 = ROTATION as u64;

    /// Installs so many sessions, whose packets of `bytes` bytes go one way.
    pub(in crate::suite) fn new(
        suite: Suite,
        sessions: u32,
        path: Path,
        bytes: usize,
    ) -> Result<Self, Failure> {
        let mut gateway = Gateway::new(suite, Encapsulation::Esp, sessions)?;
        gateway.set_batch(BATCH);
        Ok(Self {
            gateway,
            order: Order::new(sessions),
            path,
            bytes,
        })
    }

    /// Loads the packets, works them, and returns the cycles that the latter took.
    ///
    /// # Errors
    /// [`Failure::Gateway`] if one did not come out.
    pub(in crate::suite) fn turn(&mut self, clock: &Clock) -> Result<f64, Failure> {
        let Self {
            gateway,
            order,
            path,
            bytes,
        } = self;
        let each = rotate(gateway, order, *path, Length::Bytes(*bytes), clock)?;
        Ok(each * as_f64(Self::PACKETS))
    }
}
