//! A port without a kernel: frames in rotation, as a device would have them.
//!
//! ```text
//! filled ─► load (packets are written) ─► waiting ─► receive          transmit ─► in flight ─► pool, the oldest first
//! ```
//! A frame that was sent comes back only after [`IN_FLIGHT`] others, as from a device's ring; a pool that hands out the frame that it got
//! last would otherwise keep all packets in the first-level cache, which no device does.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use culvert_dataplane::frame::{Frame, FramePool, Frames};
use culvert_dataplane::port::{Port, PortStatistics};

/// Frames on their way out at once.
pub(super) const IN_FLIGHT: usize = 2_048;

/// The worker's end.
#[derive(Debug)]
pub(super) struct RotationPort(Rc<RefCell<Rotation>>);

/// The measurer's end.
#[derive(Clone, Debug)]
pub(super) struct Loader(Rc<RefCell<Rotation>>);

#[derive(Debug)]
struct Rotation {
    /// Frames that wait for packets: this many are wanted.
    filled: Vec<Frame>,
    depth: usize,
    waiting: VecDeque<Frame>,
    /// Frames given in one receive.
    batch: usize,
    in_flight: VecDeque<Frame>,
    statistics: PortStatistics,
}

/// A port that asks for `depth` frames to be loaded, and its other end.
pub(super) fn pair(depth: usize) -> (RotationPort, Loader) {
    let rotation = Rc::new(RefCell::new(Rotation {
        filled: Vec::with_capacity(depth),
        depth,
        waiting: VecDeque::with_capacity(depth),
        batch: 1,
        in_flight: VecDeque::with_capacity(IN_FLIGHT + depth),
        statistics: PortStatistics::default(),
    }));
    (RotationPort(Rc::clone(&rotation)), Loader(rotation))
}

impl Loader {
    /// From now on `batch` frames are given in one receive.
    pub(super) fn set_batch(&self, batch: usize) {
        self.0.borrow_mut().batch = batch;
    }

    /// Writes one packet, which `write` puts into the bytes of a frame and returns the length of; false if no frame is left.
    pub(super) fn load(&self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let mut rotation = self.0.borrow_mut();
        let Some(mut frame) = rotation.filled.pop() else {
            return false;
        };
        let (chunk, start) = frame.chunk_mut();
        let len = write(chunk.get_mut(start..).unwrap_or_default());
        frame.set_len(len);
        rotation.waiting.push_back(frame);
        true
    }

    /// Packets that the worker has not received yet.
    pub(super) fn waiting(&self) -> usize {
        self.0.borrow().waiting.len()
    }
}

impl Port for RotationPort {
    fn receive(&mut self, pool: &mut FramePool, into: &mut Frames) -> usize {
        let mut rotation = self.0.borrow_mut();
        if rotation.waiting.is_empty() {
            rotation.fill(pool);
            return 0;
        }
        let count = rotation.batch.min(rotation.waiting.len()).min(into.room());
        for frame in rotation.waiting.drain(..count) {
            if let Err(frame) = into.push(frame) {
                pool.give(frame);
            }
        }
        rotation.statistics.received += count as u64;
        count
    }

    fn transmit(&mut self, pool: &mut FramePool, frames: &mut Frames) -> usize {
        let mut rotation = self.0.borrow_mut();
        let count = frames.len();
        rotation.in_flight.extend(frames.take_front(count));
        let back = rotation.in_flight.len().saturating_sub(IN_FLIGHT);
        for frame in rotation.in_flight.drain(..back) {
            pool.give(frame);
        }
        rotation.statistics.sent += count as u64;
        count
    }

    fn wake(&mut self) {}

    fn held(&self) -> usize {
        let rotation = self.0.borrow();
        rotation.filled.len() + rotation.waiting.len() + rotation.in_flight.len()
    }

    fn in_flight(&self) -> usize {
        self.0.borrow().in_flight.len()
    }

    fn statistics(&self) -> PortStatistics {
        self.0.borrow().statistics
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Rotation {
    fn fill(&mut self, pool: &mut FramePool) {
        while self.filled.len() < self.depth
            && let Some(frame) = pool.take()
        {
            self.filled.push(frame);
        }
    }
}
