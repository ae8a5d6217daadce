//! One AF_XDP socket: frames in, frames out, a bit per chunk lent.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use xsk_rs::socket::XdpStatistics;
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, TxQueue};

use super::lent::Lent;
use super::mapping::{Mapping, locate};
use crate::frame::{BATCH, CHUNK, Frame, FramePool, Frames, HEADROOM, Ledger, MAX_LEN};

/// A bound socket with its four rings.
#[derive(Debug)]
pub(crate) struct Socket {
    // The rings hold the socket open and come first, so that they are gone when the ledger decides about the memory.
    fill: FillQueue,
    completion: CompQueue,
    rx: RxQueue,
    tx: TxQueue,
    tx_size: u32,
    filling: Lent,
    fill_target: usize,
    sending: Lent,
    scratch: Box<[FrameDesc; BATCH]>,
    ledger: Arc<Ledger>,
}

/// The four rings as xsk-rs gives them.
pub(super) struct Queues {
    pub(super) fill: FillQueue,
    pub(super) completion: CompQueue,
    pub(super) rx: RxQueue,
    pub(super) tx: TxQueue,
    pub(super) size: u32,
}

/// What came of a batch of frames: how many went the whole way, and how many were refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) good: usize,
    pub(crate) invalid: usize,
}

impl Socket {
    /// `ledger` has the mapping that the queues are bound to.
    pub(super) fn new(queues: Queues, fill_target: usize, ledger: Arc<Ledger>) -> Self {
        let Queues {
            fill,
            completion,
            rx,
            tx,
            size,
        } = queues;
        Self {
            fill,
            completion,
            rx,
            tx,
            tx_size: size,
            filling: Lent::new(ledger.total()),
            fill_target,
            sending: Lent::new(ledger.total()),
            scratch: Box::new([FrameDesc::default(); BATCH]),
            ledger,
        }
    }

    /// Appends received frames to `into`; what cannot be a packet goes to `pool`.
    pub(crate) fn receive(&mut self, pool: &mut FramePool, into: &mut Frames) -> Taken {
        let Some(room) = self.scratch.get_mut(..into.room()) else {
            return Taken::default();
        };
        // SAFETY: the ring and the descriptors it writes are of this UMEM (R8).
        let count = unsafe { self.rx.consume(room) };
        self.ledger.taken_back(count);
        let mut taken = Taken::default();
        let mut strange = 0;
        for descriptor in self.scratch.iter().take(count) {
            let (number, offset) = locate(descriptor);
            let len = descriptor.lengths().data();
            let frame = take_back(&mut self.filling, &self.ledger, number);
            let fits = offset == HEADROOM && len <= MAX_LEN;
            match frame {
                Some(mut frame) if fits => {
                    frame.set_len(len);
                    taken.good += 1;
                    into.push(frame)
                        .expect("no more are taken than there is room");
                }
                Some(frame) => {
                    taken.invalid += 1;
                    pool.give(frame);
                }
                None => strange += 1,
            }
        }
        self.ledger.lent(strange);
        taken.invalid += strange;
        taken
    }

    /// Brings the fill ring up to its target from `pool`.
    pub(crate) fn refill(&mut self, pool: &mut FramePool) {
        while self.refill_batch(pool) == BATCH {}
    }

    fn refill_batch(&mut self, pool: &mut FramePool) -> usize {
        if pool.home() != self.ledger.home() {
            return 0;
        }
        let missing = self.fill_target.saturating_sub(self.filling.count());
        let wanted = missing
            .min(BATCH)
            .min(self.fill.nb_free(WHOLE_BATCH) as usize);
        let (mut count, mut given_up) = (0, 0);
        for slot in self.scratch.iter_mut().take(wanted) {
            let Some(frame) = pool.take() else { break };
            let Some(number) = give_up(frame, &mut self.filling, &self.ledger) else {
                break;
            };
            given_up += 1;
            let Some(descriptor) = mapping(&self.ledger).to_fill(number) else {
                break;
            };
            *slot = descriptor;
            count += 1;
        }
        self.ledger.lent(given_up);
        let ready = self.scratch.get(..count).unwrap_or_default();
        // SAFETY: descriptors of this UMEM (R8) for chunks whose frames were just given up (R1); `wanted` made sure of room.
        unsafe { self.fill.produce(ready) }
    }

    /// Puts frames from the front of `frames` on the tx ring, as many as it has room for; those it cannot send go to `pool`.
    pub(crate) fn send(&mut self, pool: &mut FramePool, frames: &mut Frames) -> Taken {
        let room = self.tx.nb_free(WHOLE_BATCH) as usize;
        let mut taken = Taken::default();
        let mut given_up = 0;
        for frame in frames.take_front(room.min(BATCH)) {
            let len = frame.len();
            if frame.home() != self.ledger.home() || len < ETHERNET_HEADER {
                taken.invalid += 1;
                pool.give(frame);
                continue;
            }
            let Some(number) = give_up(frame, &mut self.sending, &self.ledger) else {
                continue;
            };
            given_up += 1;
            let descriptor = mapping(&self.ledger).to_send(number, len);
            if let (Some(slot), Some(descriptor)) = (self.scratch.get_mut(taken.good), descriptor) {
                *slot = descriptor;
                taken.good += 1;
            }
        }
        self.ledger.lent(given_up);
        let ready = self.scratch.get(..taken.good).unwrap_or_default();
        // SAFETY: descriptors of this UMEM (R8) for chunks whose frames were just given up (R1); there is room for all.
        taken.good = unsafe { self.tx.produce(ready) };
        taken
    }

    /// Gives sent frames back to `pool`.
    pub(crate) fn complete(&mut self, pool: &mut FramePool) -> Taken {
        let mut taken = Taken::default();
        loop {
            let batch = self.complete_batch(pool);
            taken.good += batch.good;
            taken.invalid += batch.invalid;
            if batch.good + batch.invalid < BATCH {
                return taken;
            }
        }
    }

    fn complete_batch(&mut self, pool: &mut FramePool) -> Taken {
        if self.sending.count() == 0 {
            return Taken::default();
        }
        // SAFETY: the ring and the descriptors it writes are of this UMEM (R8).
        let count = unsafe { self.completion.consume(&mut *self.scratch) };
        self.ledger.taken_back(count);
        let mut taken = Taken::default();
        for descriptor in self.scratch.iter().take(count) {
            let (number, _) = locate(descriptor);
            match take_back(&mut self.sending, &self.ledger, number) {
                Some(frame) => {
                    taken.good += 1;
                    pool.give(frame);
                }
                None => taken.invalid += 1,
            }
        }
        self.ledger.lent(taken.invalid);
        taken
    }

    /// Wakes the kernel for what stands on the tx ring and for an empty fill ring, where it asks for that.
    ///
    /// # Errors
    /// The system's error when the device is gone; a busy device is none.
    pub(crate) fn wake(&mut self) -> io::Result<()> {
        let mut waiting = self.unsent();
        while waiting > 0 && self.tx.needs_wakeup() {
            self.tx.wakeup()?;
            let left = self.unsent();
            if left >= waiting {
                break;
            }
            waiting = left;
        }
        if self.fill.needs_wakeup() {
            self.fill.wakeup(self.rx.fd_mut(), 0)?;
        }
        Ok(())
    }

    /// Frames on the tx ring that the kernel has not looked at.
    fn unsent(&mut self) -> u32 {
        if self.sending.count() == 0 {
            return 0;
        }
        self.tx_size.saturating_sub(self.tx.nb_free_exact())
    }

    /// Chunks lent to the kernel for receiving: in the fill ring, being written, or in the rx ring.
    pub(crate) const fn filling(&self) -> usize {
        self.filling.count()
    }

    /// Chunks lent to the kernel for sending: in the tx ring, being read, or in the completion ring.
    pub(crate) const fn sending(&self) -> usize {
        self.sending.count()
    }

    /// The kernel's counters.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn statistics(&self) -> io::Result<XdpStatistics> {
        self.rx.fd().xdp_statistics()
    }

    /// The socket, to be polled and to be put into an XSKMAP.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        let fd = self.rx.fd().as_raw_fd();
        // SAFETY: `rx` holds the socket open for as long as `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "64 fits")]
const WHOLE_BATCH: u32 = BATCH as u32;

/// The kernel refuses to send less than the device's header: Ethernet's 14 bytes.
const ETHERNET_HEADER: usize = 14;

fn mapping(ledger: &Ledger) -> &Mapping {
    ledger
        .mapping()
        .expect("a socket's ledger has the mapping that the socket is bound to")
}

/// Turns a chunk that the kernel gave back into a frame, if it had it.
///
/// The caller tells the ledger of a whole batch, before this: should it count wrongly then too many, which only leaks the memory (R3).
pub(super) fn take_back(lent: &mut Lent, ledger: &Ledger, number: usize) -> Option<Frame> {
    let chunk = mapping(ledger).chunk(lent.take_back(number)?)?;
    Some(Frame::new(chunk, ledger.home()))
}

/// Turns a frame of this UMEM into the number of a chunk that is the kernel's from now on.
///
/// The caller tells the ledger of a whole batch, after this, for the same reason.
fn give_up(frame: Frame, lent: &mut Lent, ledger: &Ledger) -> Option<usize> {
    let chunk: &'static mut [u8; CHUNK] = frame.into_chunk();
    let number = mapping(ledger).number(chunk)?;
    lent.lend(number).then_some(number)
}
