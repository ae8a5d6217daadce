//! The in-memory twin of an AF_XDP port: the same rings and the same ownership, with a [`Peer`] in place of kernel and wire.
//!
//! ```text
//! Peer::send ─► fill ─► rx ─► receive          transmit ─► tx ─► Peer::take
//!               no frame: fill_ring_empty       the tx ring is full until the peer takes
//!               rx full:  rx_ring_full
//! ```

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Port, PortStatistics};
use crate::frame::{Frame, FramePool, Frames, MAX_LEN};

/// Makes a port whose rings hold `depth` frames each, and its other end.
pub fn pair(depth: usize) -> (MemoryPort, Peer) {
    let rings = Arc::new(Mutex::new(Rings::new(depth)));
    (MemoryPort(Arc::clone(&rings)), Peer(rings))
}

/// The worker's end.
#[derive(Debug)]
pub struct MemoryPort(Arc<Mutex<Rings>>);

/// The end of a test or bench: what it sends is received by the port's worker, and it takes what the worker transmits.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Mutex<Rings>>);

#[derive(Debug)]
struct Rings {
    depth: usize,
    fill: Vec<Frame>,
    rx: VecDeque<Frame>,
    tx: VecDeque<Frame>,
    completed: Vec<Frame>,
    statistics: PortStatistics,
}

impl Rings {
    fn new(depth: usize) -> Self {
        Self {
            depth,
            fill: Vec::with_capacity(depth),
            rx: VecDeque::with_capacity(depth),
            tx: VecDeque::with_capacity(depth),
            completed: Vec::with_capacity(depth),
            statistics: PortStatistics::default(),
        }
    }

    fn refill(&mut self, pool: &mut FramePool) {
        while self.fill.len() < self.depth {
            let Some(frame) = pool.take() else { return };
            self.fill.push(frame);
        }
    }

    fn complete(&mut self, pool: &mut FramePool) {
        self.statistics.completed += self.completed.len() as u64;
        self.completed.drain(..).for_each(|frame| pool.give(frame));
    }

    /// Whether a frame may go on the tx ring: it is of this worker, and has an Ethernet header.
    fn may_send(frame: &Frame, pool: &FramePool) -> bool {
        frame.home() == pool.home() && frame.len() >= ETHERNET_HEADER
    }
}

/// AF_XDP sends nothing shorter (kernel: `xsk_build_skb` needs the device's hard header).
const ETHERNET_HEADER: usize = 14;

impl Port for MemoryPort {
    fn receive(&mut self, pool: &mut FramePool, into: &mut Frames) -> usize {
        let mut rings = lock(&self.0);
        let count = rings.rx.len().min(into.room());
        for frame in rings.rx.drain(..count) {
            into.push(frame).expect("count is at most the room");
        }
        rings.statistics.received += count as u64;
        rings.refill(pool);
        count
    }

    fn transmit(&mut self, pool: &mut FramePool, frames: &mut Frames) -> usize {
        let mut rings = lock(&self.0);
        rings.complete(pool);
        let room = rings.depth - rings.tx.len();
        rings.statistics.tx_ring_full += u64::from(frames.len() > room);
        let mut sent = 0;
        for frame in frames.take_front(room) {
            if Rings::may_send(&frame, pool) {
                rings.tx.push_back(frame);
                sent += 1;
            } else {
                pool.give(frame);
                rings.statistics.tx_invalid += 1;
            }
        }
        rings.statistics.sent += sent as u64;
        sent
    }

    fn wake(&mut self) {}

    fn held(&self) -> usize {
        let rings = lock(&self.0);
        rings.fill.len() + rings.rx.len() + rings.tx.len() + rings.completed.len()
    }

    fn in_flight(&self) -> usize {
        let rings = lock(&self.0);
        rings.tx.len() + rings.completed.len()
    }

    fn statistics(&self) -> PortStatistics {
        lock(&self.0).statistics
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Peer {
    /// Puts a packet into a frame of the fill ring and that on the rx ring.
    ///
    /// Returns whether it got there; if not, the port's statistics say why.
    pub fn send(&self, packet: &[u8]) -> bool {
        let mut rings = lock(&self.0);
        if packet.len() > MAX_LEN {
            rings.statistics.rx_dropped += 1;
            return false;
        }
        if rings.rx.len() == rings.depth {
            rings.statistics.rx_ring_full += 1;
            return false;
        }
        let Some(mut frame) = rings.fill.pop() else {
            rings.statistics.fill_ring_empty += 1;
            rings.statistics.rx_dropped += 1;
            return false;
        };
        frame.set_len(packet.len());
        frame.bytes_mut().copy_from_slice(packet);
        rings.rx.push_back(frame);
        true
    }

    /// Takes the oldest packet off the tx ring; its frame is completed.
    pub fn take(&self) -> Option<Vec<u8>> {
        let mut packet = Vec::new();
        self.take_with(|bytes| packet.extend_from_slice(bytes))
            .then_some(packet)
    }

    /// Shows the oldest packet of the tx ring to `read` and completes its frame, without copying it.
    ///
    /// Returns whether there was one.
    pub fn take_with(&self, read: impl FnOnce(&[u8])) -> bool {
        let mut rings = lock(&self.0);
        let Some(frame) = rings.tx.pop_front() else {
            return false;
        };
        read(frame.bytes());
        rings.completed.push(frame);
        true
    }
}

/// A test that panicked with the lock held has already failed.
fn lock(rings: &Mutex<Rings>) -> MutexGuard<'_, Rings> {
    rings.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::api::CoreId;

    const PACKET: [u8; 60] = [7; 60];

    fn filled(depth: usize, total: usize) -> (MemoryPort, Peer, FramePool) {
        let (mut port, peer) = pair(depth);
        let mut pool = FramePool::in_memory(CoreId(0), total);
        port.receive(&mut pool, &mut Frames::new());
        (port, peer, pool)
    }

    #[test]
    fn a_packet_goes_through_and_every_frame_is_accounted_for() {
        let (mut port, peer, mut pool) = filled(4, 8);
        let mut frames = Frames::new();
        assert!(peer.send(&PACKET));
        assert_eq!(port.receive(&mut pool, &mut frames), 1);
        assert_eq!(frames[0].bytes(), PACKET);
        assert_eq!(pool.free() + port.held() + frames.len(), pool.total());
        assert_eq!(
            (port.transmit(&mut pool, &mut frames), port.in_flight()),
            (1, 1)
        );
        assert_eq!(peer.take().as_deref(), Some(&PACKET[..]));
        assert_eq!(port.transmit(&mut pool, &mut frames), 0);
        assert_eq!(pool.free() + port.held(), pool.total());
        let statistics = port.statistics();
        assert_eq!(
            (statistics.received, statistics.sent, statistics.completed),
            (1, 1, 1)
        );
    }

    #[test]
    fn with_an_empty_fill_ring_packets_are_dropped_and_counted() {
        let (mut port, peer, mut pool) = filled(4, 2);
        assert_eq!([(); 3].map(|()| peer.send(&PACKET)), [true, true, false]);
        assert_eq!(
            (port.statistics().fill_ring_empty, port.statistics().lost()),
            (1, 1)
        );
        let mut frames = Frames::new();
        port.receive(&mut pool, &mut frames);
        frames.take_front(2).for_each(|frame| pool.give(frame));
        port.receive(&mut pool, &mut frames);
        assert!(peer.send(&PACKET));
    }

    #[test]
    fn a_full_rx_ring_drops_and_counts() {
        let (mut port, peer, mut pool) = filled(2, 8);
        assert!(peer.send(&PACKET) && peer.send(&PACKET));
        port.receive(
            &mut pool,
            &mut full(&mut FramePool::in_memory(CoreId(0), 64)),
        );
        assert!(!peer.send(&PACKET));
        assert_eq!(port.statistics().rx_ring_full, 1);
    }

    #[test]
    fn a_full_tx_ring_leaves_the_rest_in_order() {
        let (mut port, peer, mut pool) = filled(2, 8);
        let mut frames = Frames::new();
        for len in [60, 61, 62] {
            let mut frame = pool.take().unwrap();
            frame.set_len(len);
            frames.push(frame).unwrap();
        }
        assert_eq!(port.transmit(&mut pool, &mut frames), 2);
        assert_eq!((frames.len(), frames[0].len()), (1, 62));
        assert_eq!(port.statistics().tx_ring_full, 1);
        assert_eq!(peer.take().map(|packet| packet.len()), Some(60));
        assert_eq!(port.transmit(&mut pool, &mut frames), 1);
        assert_eq!([61, 62].map(|_| peer.take().unwrap().len()), [61, 62]);
    }

    #[test]
    fn a_frame_of_another_worker_is_not_sent_but_kept_for_its_way_home() {
        let (mut port, peer, mut pool) = filled(2, 4);
        let mut other = FramePool::in_memory(CoreId(1), 1);
        let mut frames = Frames::new();
        let mut frame = other.take().unwrap();
        frame.set_len(60);
        frames.push(frame).unwrap();
        assert_eq!(port.transmit(&mut pool, &mut frames), 0);
        assert_eq!(port.statistics().tx_invalid, 1);
        assert!(peer.take().is_none());
        other.give(pool.take_stray().unwrap());
        assert_eq!(other.free(), 1);
    }

    fn full(pool: &mut FramePool) -> Frames {
        let mut frames = Frames::new();
        while frames.room() > 0 {
            frames.push(pool.take().unwrap()).unwrap();
        }
        frames
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        PeerSends,
        PeerTakes,
        Receive,
        Transmit,
        Drop,
    }

    proptest! {
        #[test]
        fn whatever_happens_frames_and_packets_are_conserved(
            steps in vec(
                prop_oneof![
                    3 => Just(Step::PeerSends),
                    2 => Just(Step::PeerTakes),
                    2 => Just(Step::Receive),
                    2 => Just(Step::Transmit),
                    1 => Just(Step::Drop),
                ],
                0..300,
            ),
            total in 1_usize..40,
        ) {
            let (mut port, peer, mut pool) = filled(8, total);
            let mut frames = Frames::new();
            let (mut sent, mut taken, mut dropped) = (0, 0, 0);
            for step in steps {
                match step {
                    Step::PeerSends => {
                        peer.send(&PACKET);
                        sent += 1;
                    }
                    Step::PeerTakes => taken += u64::from(peer.take_with(|_| ())),
                    Step::Receive => {
                        port.receive(&mut pool, &mut frames);
                    }
                    Step::Transmit => {
                        port.transmit(&mut pool, &mut frames);
                    }
                    Step::Drop => {
                        let frame = frames.pop();
                        dropped += u64::from(frame.is_some());
                        frame.into_iter().for_each(|frame| pool.give(frame));
                    }
                }
                let statistics = port.statistics();
                prop_assert_eq!(pool.free() + port.held() + frames.len(), total);
                prop_assert!(statistics.received + statistics.lost() <= sent);
                prop_assert_eq!(statistics.received, statistics.sent + dropped + frames.len() as u64);
                prop_assert!(statistics.completed <= taken && taken <= statistics.sent);
            }
        }
    }
}
