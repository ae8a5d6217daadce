//! Reliable delivery of control messages (RFC 2661 §5.8 and appendix A): order, acknowledgement, windows, retransmission.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use culvert_wire::id::{SessionId, TunnelId};
use culvert_wire::l2tp::message::{self, ControlHeader};
use serde::{Deserialize, Serialize};

/// The window of a peer that names none (RFC 2661 §4.4.3).
pub(super) const DEFAULT_PEER_WINDOW: u16 = 4;

/// The widest window that we make use of: what is in flight stays small.
const MAX_PEER_WINDOW: u16 = 1_024;

/// Transmissions of a message before its peer counts as gone: after 1, 2, 4, 8, 8 and 8 seconds.
const MAX_TRANSMISSIONS: u32 = 6;

/// The longest time between two transmissions.
const MAX_INTERVAL: Duration = Duration::from_secs(8);

/// Unsent messages at which a peer that keeps asking without acknowledging is no longer heard.
const MAX_WAITING: usize = 256;

/// One end of a control connection's message stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Channel {
    peer_tunnel: TunnelId,
    /// Ns of the next message we make.
    next_ns: u16,
    /// Ns we expect next; our Nr.
    nr: u16,
    /// Whether the peer has not been told `nr` yet.
    owes_ack: bool,
    /// Messages the peer may send ahead.
    receive_window: u16,
    /// Messages that came before their turn.
    early: BTreeMap<u16, Vec<u8>>,
    /// Sent and not acknowledged, oldest first.
    in_flight: VecDeque<Vec<u8>>,
    /// Not sent yet.
    waiting: VecDeque<Vec<u8>>,
    /// Messages the peer takes ahead.
    peer_window: u16,
    congestion: Congestion,
    /// Transmissions of the oldest message in flight.
    transmissions: u32,
}

/// Slow start and congestion avoidance (RFC 2661 appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Congestion {
    /// Messages that may be in flight.
    window: u16,
    /// Where slow start ends.
    threshold: u16,
    /// Acknowledgements since the window grew, past the threshold.
    counted: u16,
}

/// What a received sequence number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is its turn.
    Next,
    /// It was received before.
    Duplicate,
    /// It came too early and is kept.
    Early,
    /// It lies outside the window, or there is no room for what it would cause.
    Outside,
}

/// What a retransmission timer leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// Nothing is in flight.
    Nothing,
    /// Send this again.
    Again(Vec<u8>),
    /// The peer is gone.
    Unreachable,
}

impl Channel {
    /// Starts with a peer whose first message had sequence number `first_ns`. What comes early is kept only after [`Self::widen`].
    pub(super) fn new(peer_tunnel: TunnelId, first_ns: u16, peer_window: u16) -> Self {
        let peer_window = peer_window.clamp(1, MAX_PEER_WINDOW);
        Self {
            peer_tunnel,
            next_ns: 0,
            nr: first_ns.wrapping_add(1),
            owes_ack: true,
            receive_window: 1,
            early: BTreeMap::new(),
            in_flight: VecDeque::new(),
            waiting: VecDeque::new(),
            peer_window,
            congestion: Congestion {
                window: 1,
                threshold: peer_window,
                counted: 0,
            },
            transmissions: 0,
        }
    }

    /// Keeps up to `receive_window` messages from now on: the peer is worth the memory.
    pub(super) fn widen(&mut self, receive_window: u16) {
        self.receive_window = receive_window.clamp(1, 1_024);
    }

    /// Takes note of a message's sequence number; `bytes` are kept if it came early.
    pub(super) fn arrive(&mut self, ns: u16, bytes: &[u8]) -> Arrival {
        let ahead = ns.wrapping_sub(self.nr);
        if ahead >= 0x8000 {
            self.owes_ack = true;
            return Arrival::Duplicate;
        }
        if self.waiting.len() >= MAX_WAITING || ahead >= self.receive_window {
            return Arrival::Outside;
        }
        if ahead == 0 {
            self.advance();
            return Arrival::Next;
        }
        self.early.entry(ns).or_insert_with(|| bytes.to_vec());
        Arrival::Early
    }

    /// Takes the kept message whose turn it is.
    pub(super) fn next_early(&mut self) -> Option<Vec<u8>> {
        let bytes = self.early.remove(&self.nr)?;
        self.advance();
        Some(bytes)
    }

    fn advance(&mut self) {
        self.early.remove(&self.nr);
        self.nr = self.nr.wrapping_add(1);
        self.owes_ack = true;
    }

    /// Takes note of what the peer has received. Returns whether it acknowledges something new.
    pub(super) fn acknowledge(&mut self, nr: u16) -> bool {
        let sent = self.next_ns.wrapping_sub(count(&self.waiting));
        let oldest = sent.wrapping_sub(count(&self.in_flight));
        let acknowledged = usize::from(nr.wrapping_sub(oldest));
        if acknowledged == 0 || acknowledged > self.in_flight.len() {
            return false;
        }
        self.in_flight.drain(..acknowledged);
        self.transmissions = 1;
        for _ in 0..acknowledged {
            self.congestion.acknowledged(self.peer_window);
        }
        true
    }

    /// The header of the next message; it takes that sequence number.
    pub(super) const fn header(&mut self, session: SessionId) -> ControlHeader {
        let header = ControlHeader {
            tunnel: self.peer_tunnel,
            session,
            ns: self.next_ns,
            nr: self.nr,
        };
        self.next_ns = self.next_ns.wrapping_add(1);
        header
    }

    /// Queues a message made with [`Self::header`].
    pub(super) fn push(&mut self, bytes: Vec<u8>) {
        self.waiting.push_back(bytes);
    }

    /// Takes the next message that the windows let go.
    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let window = self.congestion.window.min(self.peer_window);
        if self.in_flight.len() >= usize::from(window) {
            return None;
        }
        let bytes = self.waiting.pop_front()?;
        if self.in_flight.is_empty() {
            self.transmissions = 1;
        }
        let stamped = self.stamp(bytes.clone());
        self.in_flight.push_back(bytes);
        Some(stamped)
    }

    /// Takes a bare acknowledgement, if one is owed.
    pub(super) fn poll_ack(&mut self) -> Option<Vec<u8>> {
        if !self.owes_ack {
            return None;
        }
        self.owes_ack = false;
        let header = ControlHeader {
            tunnel: self.peer_tunnel,
            session: SessionId(0),
            ns: self.next_ns.wrapping_sub(count(&self.waiting)),
            nr: self.nr,
        };
        Some(message::zlb(header).to_vec())
    }

    /// The oldest message in flight once more, because the peer asks again.
    pub(super) fn repeat(&mut self) -> Option<Vec<u8>> {
        let bytes = self.in_flight.front()?.clone();
        Some(self.stamp(bytes))
    }

    /// Time from the last transmission of the oldest message in flight to the next one.
    pub(super) fn retransmit_after(&self) -> Option<Duration> {
        let doublings = self.transmissions.saturating_sub(1).min(3);
        (!self.in_flight.is_empty())
            .then(|| (Duration::from_secs(1) * (1 << doublings)).min(MAX_INTERVAL))
    }

    /// Handles the passing of that time.
    pub(super) fn expire(&mut self) -> Expiry {
        let Some(bytes) = self.in_flight.front().cloned() else {
            return Expiry::Nothing;
        };
        if self.transmissions >= MAX_TRANSMISSIONS {
            return Expiry::Unreachable;
        }
        self.transmissions += 1;
        self.congestion.lost();
        Expiry::Again(self.stamp(bytes))
    }

    /// Whether everything we made was acknowledged.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.waiting.is_empty()
    }

    /// Forgets what came early: nothing more will be handled.
    pub(super) fn stop_receiving(&mut self) {
        self.early.clear();
    }

    fn stamp(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let whole = message::patch_nr(&mut bytes, self.nr);
        debug_assert_eq!(whole, Ok(()));
        self.owes_ack = false;
        bytes
    }
}

impl Congestion {
    const fn acknowledged(&mut self, peer_window: u16) {
        if self.window < self.threshold {
            self.window += 1;
            return;
        }
        self.counted += 1;
        if self.counted >= self.window && self.window < peer_window {
            self.window += 1;
            self.counted = 0;
        }
        if self.counted > self.window {
            self.counted = self.window;
        }
    }

    fn lost(&mut self) {
        self.threshold = (self.window / 2).max(1);
        self.window = 1;
        self.counted = 0;
    }
}

/// Length of a queue of messages as a difference of sequence numbers; queues stay far below 2^15.
fn count(queue: &VecDeque<Vec<u8>>) -> u16 {
    u16::try_from(queue.len()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use culvert_wire::l2tp::message::{ControlMessage, MessageType};

    use super::*;

    fn channel(first_ns: u16, peer_window: u16) -> Channel {
        let mut channel = Channel::new(TunnelId(5), first_ns, peer_window);
        channel.widen(4);
        channel.poll_ack().unwrap();
        channel
    }

    fn send(channel: &mut Channel) {
        let header = channel.header(SessionId(0));
        let mut buffer = [0; 64];
        let len = message::emit(&mut buffer, header, MessageType::HELLO, |_| Ok(())).unwrap();
        channel.push(buffer[..len].to_vec());
    }

    fn header(bytes: &[u8]) -> ControlHeader {
        ControlMessage::parse(bytes).unwrap().header
    }

    fn sent(channel: &mut Channel) -> Vec<u16> {
        std::iter::from_fn(|| channel.poll_transmit())
            .map(|bytes| header(&bytes).ns)
            .collect()
    }

    #[test]
    fn duplicates_are_acknowledged_and_the_future_is_kept_up_to_the_window() {
        let mut channel = channel(0, 4);
        assert_eq!(channel.arrive(0, &[]), Arrival::Duplicate);
        assert_eq!(header(&channel.poll_ack().unwrap()).nr, 1);
        assert_eq!(channel.poll_ack(), None);
        assert_eq!(channel.arrive(3, b"three"), Arrival::Early);
        assert_eq!(channel.arrive(5, &[]), Arrival::Outside);
        assert_eq!(channel.arrive(0x8000, &[]), Arrival::Outside);
        assert_eq!(channel.poll_ack(), None);
        assert_eq!(channel.arrive(1, &[]), Arrival::Next);
        assert_eq!(channel.next_early(), None);
        assert_eq!(channel.arrive(2, &[]), Arrival::Next);
        assert_eq!(channel.next_early().as_deref(), Some(&b"three"[..]));
        assert_eq!(header(&channel.poll_ack().unwrap()).nr, 4);
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut channel = channel(0xFFFD, 4);
        for ns in [0xFFFE, 0xFFFF, 0, 1] {
            assert_eq!(channel.arrive(ns, &[]), Arrival::Next);
            assert_eq!(channel.arrive(ns, &[]), Arrival::Duplicate);
        }
        for round in 0..70_000_u32 {
            let ns = u16::try_from(round & 0xFFFF).unwrap();
            send(&mut channel);
            assert_eq!(sent(&mut channel), [ns]);
            assert!(channel.acknowledge(ns.wrapping_add(1)));
        }
    }

    #[test]
    fn an_acknowledgement_of_what_was_not_sent_is_ignored() {
        let mut channel = channel(0, 1);
        send(&mut channel);
        send(&mut channel);
        assert_eq!(sent(&mut channel), [0]);
        assert!(!channel.acknowledge(0));
        assert!(!channel.acknowledge(2));
        assert!(!channel.acknowledge(0xFFFF));
        assert!(channel.acknowledge(1));
        assert_eq!(sent(&mut channel), [1]);
    }

    #[test]
    fn a_peer_with_a_window_of_one_or_none_gets_one_message_at_a_time() {
        for window in [0, 1] {
            let mut channel = channel(0, window);
            (0..4).for_each(|_| send(&mut channel));
            for ns in 0..4 {
                assert_eq!(sent(&mut channel), [ns]);
                channel.acknowledge(ns + 1);
            }
            assert!(channel.is_idle());
        }
    }

    #[test]
    fn the_window_opens_slowly_and_closes_on_loss() {
        let mut channel = channel(0, 8);
        (0..30).for_each(|_| send(&mut channel));
        assert_eq!(sent(&mut channel), [0]);
        channel.acknowledge(1);
        assert_eq!(sent(&mut channel), [1, 2]);
        channel.acknowledge(3);
        assert_eq!(sent(&mut channel), [3, 4, 5, 6]);
        assert!(matches!(channel.expire(), Expiry::Again(_)));
        assert_eq!(channel.congestion.threshold, 2);
        channel.acknowledge(5);
        assert!(sent(&mut channel).is_empty());
        channel.acknowledge(7);
        assert_eq!(sent(&mut channel).len(), 3);
    }

    #[test]
    fn a_window_wider_than_ours_is_not_filled() {
        let mut channel = channel(0, u16::MAX);
        let mut next = 0;
        while next < 40_000 {
            send(&mut channel);
            next += u16::try_from(sent(&mut channel).len()).unwrap();
            channel.acknowledge(next);
        }
        (0..u32::from(MAX_PEER_WINDOW) + 9).for_each(|_| send(&mut channel));
        assert_eq!(sent(&mut channel).len(), usize::from(MAX_PEER_WINDOW));
    }

    #[test]
    fn a_message_is_sent_six_times_in_31_seconds() {
        let mut channel = channel(0, 4);
        send(&mut channel);
        let first = channel.poll_transmit().unwrap();
        let mut waits = Vec::new();
        loop {
            waits.push(channel.retransmit_after().unwrap().as_secs());
            match channel.expire() {
                Expiry::Again(bytes) => assert_eq!(bytes, first),
                Expiry::Unreachable => break,
                Expiry::Nothing => panic!("the message is in flight"),
            }
        }
        assert_eq!(waits, [1, 2, 4, 8, 8, 8]);
    }

    #[test]
    fn a_retransmission_acknowledges_what_came_since() {
        let mut channel = channel(0, 4);
        send(&mut channel);
        assert_eq!(header(&channel.poll_transmit().unwrap()).nr, 1);
        channel.arrive(1, &[]);
        let Expiry::Again(bytes) = channel.expire() else {
            panic!("the message is in flight");
        };
        assert_eq!(header(&bytes).nr, 2);
        assert_eq!(channel.poll_ack(), None);
    }

    #[test]
    fn a_peer_that_never_acknowledges_is_not_heard_forever() {
        let mut channel = channel(0, 1);
        (0..=MAX_WAITING).for_each(|_| send(&mut channel));
        channel.poll_transmit().unwrap();
        assert_eq!(channel.arrive(1, &[]), Arrival::Outside);
        channel.acknowledge(1);
        channel.poll_transmit().unwrap();
        assert_eq!(channel.arrive(1, &[]), Arrival::Next);
    }
}
