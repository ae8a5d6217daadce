//! One trial: frames of a rotation, once each, at a constant rate or as fast as they go, and what came out.

use std::time::{Duration, Instant};

use culvert_crypto::OpenContext;
use culvert_dataplane::frame::{Frame, FramePool, Frames};
use culvert_dataplane::port::Port;
use culvert_dataplane::port::xdp::XdpPort;
use culvert_wire::eth;
use hdrhistogram::Histogram;

use super::scene::{Ends, System};
use super::traffic::{self, Rotation};
use crate::load::probe::Direction;

/// Sends at one time at most: what one wake of the kernel sends.
const SEND_BURST: usize = 32;
/// One frame in so many is kept to be looked at afterwards, where the sink cannot read it in passing.
const SAMPLE: u64 = 16;
/// While frames are missing, so long without an arrival ends the trial: longer than the scheduler may keep a thread from its core.
const QUIET: Duration = Duration::from_millis(60);

/// Latencies beyond this many nanoseconds count as this.
const LONGEST: u64 = 10_000_000_000;

/// What to send where.
#[derive(Clone, Copy)]
pub(super) struct Trial<'a> {
    /// The system under test.
    pub(super) system: System,
    /// Which way.
    pub(super) direction: Direction,
    /// The frames.
    pub(super) rotation: &'a Rotation,
    /// How many of them.
    pub(super) count: usize,
    /// Frames per second; `None`: as fast as the sender can.
    pub(super) rate: Option<f64>,
    /// Opens what the gateway sealed.
    pub(super) opener: &'a OpenContext,
}

/// What came of a trial.
pub(super) struct Outcome {
    /// Frames that the kernel took from the sender.
    pub(super) sent: u64,
    /// Frames that the sink received.
    pub(super) received: u64,
    /// Frames, or samples, that were none of this trial's or came twice.
    pub(super) wrong: u64,
    /// Frames per second that the sender reached.
    pub(super) offered: f64,
    /// Frames per second that arrived between the first and the last.
    pub(super) delivered: f64,
    /// Nanoseconds from before sending to after receipt.
    pub(super) latency: Histogram<u64>,
    /// Frames that the kernel dropped before the sink's ring.
    pub(super) lost_at_sink: u64,
}

impl Outcome {
    /// Share of the sent frames that did not arrive.
    pub(super) fn loss(&self) -> f64 {
        ratio(self.sent.saturating_sub(self.received), self.sent)
    }
}

/// A share of counts.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

impl Trial<'_> {
    /// Whether the sink can read which frame it got.
    fn is_readable(&self) -> bool {
        self.direction == Direction::Up || self.system == System::Forwarder
    }

    /// Whether the frame that arrives is sealed.
    fn arrives_sealed(&self) -> bool {
        (self.direction == Direction::Up) == (self.system == System::Forwarder)
    }

    /// Carries it out.
    pub(super) fn run(&self, ends: &mut Ends) -> Outcome {
        let (sender, sink, pool) = ends.of(self.system, self.direction);
        let lost_before = sink.statistics().lost();
        let mut course = Course::new(*self);
        course.go(sender, sink, pool);
        course.outcome(sink.statistics().lost() - lost_before)
    }
}

/// A trial under way.
struct Course<'a> {
    trial: Trial<'a>,
    start: Instant,
    /// When each frame was sent, in nanoseconds since the start; 0: not sent yet, or arrived.
    sent_at: Vec<u64>,
    queued: usize,
    last_sent: u64,
    received: u64,
    first_received: u64,
    last_received: u64,
    wrong: u64,
    latency: Histogram<u64>,
    samples: Vec<(u64, Vec<u8>)>,
}

impl<'a> Course<'a> {
    fn new(trial: Trial<'a>) -> Self {
        Self {
            trial,
            start: Instant::now(),
            sent_at: vec![0; trial.count],
            queued: 0,
            last_sent: 0,
            received: 0,
            first_received: 0,
            last_received: 0,
            wrong: 0,
            latency: Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are in order"),
            samples: (0..=trial.count / 16)
                .map(|_| (0, Vec::with_capacity(2_048)))
                .collect(),
        }
    }

    fn go(&mut self, sender: &mut XdpPort, sink: &mut XdpPort, pool: &mut FramePool) {
        let (mut waiting, mut arrived) = (Frames::new(), Frames::new());
        self.start = Instant::now();
        loop {
            let now = self.now();
            self.queue(now, pool, &mut waiting);
            sender.transmit(pool, &mut waiting);
            sender.wake();
            if sink.receive(pool, &mut arrived) > 0 {
                self.note(&arrived);
                arrived
                    .take_front(usize::MAX)
                    .for_each(|frame| pool.give(frame));
            }
            let is_sent = self.queued == self.trial.count && sender.in_flight() == 0;
            let is_whole = self.received >= self.queued as u64;
            let quiet = now.saturating_sub(self.last_sent.max(self.last_received));
            if is_sent && (is_whole || quiet > nanos(QUIET)) {
                return;
            }
        }
    }

    fn now(&self) -> u64 {
        nanos(self.start.elapsed()).max(1)
    }

    /// Makes ready what is due.
    fn queue(&mut self, now: u64, pool: &mut FramePool, waiting: &mut Frames) {
        let due = self
            .due(now)
            .min(SEND_BURST - waiting.len().min(SEND_BURST));
        for _ in 0..due {
            let Some(frame) = pool.take() else { return };
            let frame = filled(frame, self.trial.rotation.frame(self.queued));
            if let Err(frame) = waiting.push(frame) {
                pool.give(frame);
                return;
            }
            if let Some(at) = self.sent_at.get_mut(self.queued) {
                *at = now;
            }
            self.queued += 1;
            self.last_sent = now;
        }
    }

    fn due(&self, now: u64) -> usize {
        let left = self.trial.count - self.queued;
        let Some(rate) = self.trial.rate else {
            return left;
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a count of frames"
        )]
        let granted = (rate * now as f64 / 1e9) as usize;
        granted.saturating_sub(self.queued).min(left)
    }

    fn note(&mut self, arrived: &Frames) {
        let now = self.now();
        if self.received == 0 {
            self.first_received = now;
        }
        self.last_received = now;
        for frame in arrived.iter() {
            self.received += 1;
            if self.trial.is_readable() {
                self.arrive(
                    traffic::index(frame.bytes(), self.trial.arrives_sealed()),
                    now,
                );
            } else if self.received.is_multiple_of(SAMPLE) {
                let place = usize::try_from(self.received / SAMPLE).unwrap_or(usize::MAX);
                if let Some((at, bytes)) = self.samples.get_mut(place) {
                    *at = now;
                    bytes.extend_from_slice(frame.bytes());
                }
            }
        }
    }

    /// Notes the arrival of the frame with this index.
    fn arrive(&mut self, index: Option<usize>, now: u64) {
        match index.and_then(|index| self.sent_at.get_mut(index)) {
            Some(at) if *at != 0 => {
                self.latency.saturating_record(now.saturating_sub(*at));
                *at = 0;
            }
            Some(_) | None => self.wrong += 1,
        }
    }

    fn outcome(mut self, lost_at_sink: u64) -> Outcome {
        for (at, frame) in std::mem::take(&mut self.samples) {
            if !frame.is_empty() {
                self.arrive(traffic::open(&frame, self.trial.opener), at);
            }
        }
        let sent = self.queued as u64;
        Outcome {
            sent,
            received: self.received,
            wrong: self.wrong,
            offered: per_second(sent, self.last_sent),
            delivered: per_second(
                self.received,
                self.last_received.saturating_sub(self.first_received),
            ),
            latency: self.latency,
            lost_at_sink,
        }
    }
}

/// Copies a frame of the rotation.
pub(super) fn filled(mut frame: Frame, bytes: &[u8]) -> Frame {
    debug_assert!(bytes.len() >= eth::HEADER_LEN, "a frame of the rotation");
    frame.set_len(bytes.len());
    frame.bytes_mut().copy_from_slice(bytes);
    frame
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn per_second(count: u64, nanos: u64) -> f64 {
    ratio(count, nanos) * 1e9
}
