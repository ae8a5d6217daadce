//! A port: where frames come from and go to, on one queue of one device.
//!
//! ```text
//!             FramePool::take ──► fill ring ─► kernel writes ─► rx ring ─► receive ──► a stage owns the frame
//!             FramePool::give ◄── completion ◄─ kernel reads ◄─ tx ring ◄─ transmit ◄── a stage gives it up
//! ```
//! `receive` also keeps the fill ring full from the pool, and `transmit` also brings completed frames back to it, so that a worker which calls
//! both each turn has nothing else to do. [`memory`] is the twin for tests and benches.

use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};

use crate::frame::{FramePool, Frames};

pub mod memory;
pub mod xdp;

/// One queue of one device.
pub trait Port {
    /// Appends received frames to `into`, as many as are there and it has room for, and refills the fill ring from `pool`.
    ///
    /// Returns how many were appended.
    fn receive(&mut self, pool: &mut FramePool, into: &mut Frames) -> usize;

    /// Takes frames from the front of `frames` for sending, leaves what the ring does not take, and gives sent ones back to `pool`.
    ///
    /// Call it with no frames, too, while something is in flight. A frame of another worker is refused and given to `pool` as a stray.
    /// Returns how many were taken for sending.
    fn transmit(&mut self, pool: &mut FramePool, frames: &mut Frames) -> usize;

    /// Tells the kernel to go on, if it asked for that; once per batch, after `receive` and `transmit`.
    fn wake(&mut self);

    /// Frames that rings and kernel hold: to be filled, received but not taken, and to be sent.
    fn held(&self) -> usize;

    /// Frames handed over for sending that have not come back yet.
    ///
    /// As long as there are some, keep calling `transmit` and `wake`: in copy mode the kernel sends only when it is woken.
    fn in_flight(&self) -> usize;

    /// Counters since the port was made.
    fn statistics(&self) -> PortStatistics;

    /// What to poll for input when idle; `None` if there is nothing to wait for.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}

/// Counters of a port, in packets unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatistics {
    /// Taken from the rx ring.
    pub received: u64,
    /// Put on the tx ring.
    pub sent: u64,
    /// Come back from the completion ring.
    pub completed: u64,
    /// Dropped by the kernel on receipt, but for a full rx ring: the packet is longer than a frame, or in copy mode the fill ring was empty.
    pub rx_dropped: u64,
    /// Dropped by the kernel because the rx ring was full: the worker is too slow.
    pub rx_ring_full: u64,
    /// Times that the kernel found the fill ring empty: there are too few frames. In copy mode each is in `rx_dropped` too; in zero-copy
    /// mode the device drops, and counts, by itself.
    pub fill_ring_empty: u64,
    /// Descriptors that the kernel or `ring` found wrong on receipt; always 0 unless something is broken.
    pub rx_invalid: u64,
    /// Frames that could not be sent: too short, or not of this UMEM.
    pub tx_invalid: u64,
    /// Times that the tx ring did not take all frames.
    pub tx_ring_full: u64,
    /// Times that the kernel could not be woken: the device is down or gone.
    pub wake_failed: u64,
}

impl PortStatistics {
    /// Packets that came to the socket and were not received.
    pub const fn lost(&self) -> u64 {
        self.rx_dropped + self.rx_ring_full
    }
}
