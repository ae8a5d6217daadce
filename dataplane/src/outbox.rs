//! Frames in line for a port, each with the place where its packet's life began.

use arrayvec::ArrayVec;

use crate::frame::{BATCH, Frame, Frames};
use crate::port::Port;
use crate::table::Rows;
use crate::verdict::{Origin, Reason};

/// Frames on their way to a port.
#[derive(Debug)]
pub(crate) struct Outbox {
    frames: Frames,
    origins: ArrayVec<Origin, BATCH>,
}

impl Outbox {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            frames: Frames::new(),
            origins: ArrayVec::new(),
        }
    }

    /// Appends a packet's frame; true if the outbox must now be flushed.
    #[inline]
    pub(crate) fn push(&mut self, frame: Frame, origin: Origin) -> bool {
        if self.frames.push(frame).is_ok() {
            self.origins.push(origin);
        }
        self.frames.room() == 0
    }

    /// Gives all frames to the port; what it does not take is dropped.
    pub(crate) fn flush<P: Port>(&mut self, port: &mut P, rows: &mut Rows) {
        let offered = self.frames.len();
        let sent = port.transmit(&mut rows.pool, &mut self.frames);
        let taken = offered - self.frames.len();
        for (number, origin) in self.origins.drain(..).enumerate() {
            let ledger = rows.counters.ledger(origin);
            // Frames that the ring found wrong are among those taken; there are none unless something is broken.
            if number < sent.min(taken) {
                ledger.sent += 1;
            } else {
                ledger.drop(Reason::RingFull);
            }
        }
        while let Some(frame) = self.frames.pop() {
            rows.pool.give(frame);
        }
    }
}
