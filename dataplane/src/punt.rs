//! Punts: packets that want control, let through by a token bucket for each kind and queued in preallocated buffers.
//!
//! ```text
//! worker  offer ── bucket ── free buffer ──► queue ──► take  IPC thread
//!                                  ▲                     │
//!                                  └──── give back ◄─────┘
//! ```

use std::net::Ipv4Addr;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::api::PuntSource;
use crate::frame::MAX_LEN;
use crate::moment::Moment;
use crate::verdict::{PuntKind, Reason};

/// Lets through `rate` packets per second, and up to `burst` at once.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    rate: u64,
    burst: u64,
    /// In millionths of a packet.
    level: u64,
    filled: Moment,
}

/// Tokens are counted in millionths, so that a microsecond adds `rate` of them.
const TOKEN: u64 = 1_000_000;

impl TokenBucket {
    /// A full bucket.
    pub const fn new(rate: u32, burst: u32) -> Self {
        let burst = burst as u64 * TOKEN;
        Self {
            rate: rate as u64,
            burst,
            level: burst,
            filled: Moment::START,
        }
    }

    /// What one peer may take in a period.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "less than the rate, which was 32 bits"
    )]
    const fn share(&self) -> u32 {
        (self.rate / (PEERS * PERIODS) as u64) as u32
    }

    /// Takes one token, if there is one at `now`.
    pub fn take(&mut self, now: Moment) -> bool {
        let passed = now.as_micros().saturating_sub(self.filled.as_micros());
        self.level = self
            .level
            .saturating_add(passed.saturating_mul(self.rate))
            .min(self.burst);
        self.filled = self.filled.max(now);
        let Some(left) = self.level.checked_sub(TOKEN) else {
            return false;
        };
        self.level = left;
        true
    }
}

/// The number of a period of shares.
const fn period(now: Moment) -> u64 {
    now.as_micros() / (1_000_000 / PERIODS as u64)
}

/// A punted packet on its way.
#[derive(Debug)]
pub struct PuntBuffer {
    source: PuntSource,
    len: usize,
    bytes: Box<[u8; MAX_LEN]>,
}

impl PuntBuffer {
    fn new() -> Self {
        let nowhere = (Ipv4Addr::UNSPECIFIED, 0).into();
        Self {
            source: PuntSource::Ike {
                local: nowhere,
                remote: nowhere,
            },
            len: 0,
            bytes: Box::new([0; MAX_LEN]),
        }
    }

    /// What it came in on.
    pub const fn source(&self) -> PuntSource {
        self.source
    }

    /// The message.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Takes in a message of two parts; what is longer than a frame is cut, which no packet is.
    fn fill(&mut self, source: PuntSource, parts: [&[u8]; 2]) {
        self.source = source;
        self.len = 0;
        for part in parts {
            let end = (self.len + part.len()).min(MAX_LEN);
            if let Some((to, from)) = self
                .bytes
                .get_mut(self.len..end)
                .zip(part.get(..end - self.len))
            {
                to.copy_from_slice(from);
            }
            self.len = end;
        }
    }
}

/// Rate, burst and queue length of each kind, in the order of [`PuntKind::ALL`].
///
/// A thousand clients that log in at once send some 15 messages each; first IKE messages, which anybody can send, are held apart.
const BOUNDS: [(u32, u32, usize); PuntKind::ALL.len()] = [
    (2_000, 1_000, 256),
    (20_000, 2_000, 512),
    (20_000, 2_000, 512),
    (2_000, 1_000, 256),
    (40_000, 4_000, 512),
];

/// Places of a lane's table of shares; rows that are as many apart share one.
const SHARES: usize = 4_096;
/// A sixteenth of a kind's rate is what one peer may have of it.
const PEERS: u32 = 16;
/// Shares are counted anew as often as this in a second.
const PERIODS: u32 = 10;

/// What one peer has had of a kind in one period, so that its flood does not silence the others.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    period: u64,
    taken: u32,
}

impl Share {
    fn take(&mut self, period: u64, limit: u32) -> bool {
        if self.period != period {
            *self = Self { period, taken: 0 };
        }
        let is_within = self.taken < limit;
        self.taken += u32::from(is_within);
        is_within
    }
}

/// Whose packet it is, for kinds that only peers with a set can send.
const fn payer(kind: PuntKind, source: PuntSource) -> Option<usize> {
    match (kind, source) {
        (PuntKind::L2tp, PuntSource::L2tp { set, .. }) => Some(set.0 as usize % SHARES),
        (PuntKind::Ppp, PuntSource::Ppp(session)) => Some(session.0 as usize % SHARES),
        _ => None,
    }
}

#[derive(Debug)]
struct Lane {
    bucket: TokenBucket,
    shares: Box<[Share]>,
    full: Producer<PuntBuffer>,
    empty: Consumer<PuntBuffer>,
}

#[derive(Debug)]
struct FarLane {
    full: Consumer<PuntBuffer>,
    empty: Producer<PuntBuffer>,
}

/// The worker's end.
#[derive(Debug)]
pub struct Punts {
    lanes: [Lane; PuntKind::ALL.len()],
    /// Whether something was queued since this was last asked.
    is_fresh: bool,
}

/// The IPC thread's end.
#[derive(Debug)]
pub struct PuntQueue {
    lanes: [FarLane; PuntKind::ALL.len()],
    next: usize,
}

/// Makes both ends with all their buffers.
pub fn pair() -> (Punts, PuntQueue) {
    let lanes = BOUNDS.map(|(rate, burst, depth)| lane(TokenBucket::new(rate, burst), depth));
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for (ours, theirs) in lanes {
        near.push(ours);
        far.push(theirs);
    }
    let near = near
        .try_into()
        .unwrap_or_else(|_| unreachable!("as many lanes as kinds"));
    let far = far
        .try_into()
        .unwrap_or_else(|_| unreachable!("as many lanes as kinds"));
    (
        Punts {
            lanes: near,
            is_fresh: false,
        },
        PuntQueue {
            lanes: far,
            next: 0,
        },
    )
}

fn lane(bucket: TokenBucket, depth: usize) -> (Lane, FarLane) {
    let (full_in, full_out) = RingBuffer::new(depth);
    let (mut empty_in, empty_out) = RingBuffer::new(depth);
    for _ in 0..depth {
        empty_in
            .push(PuntBuffer::new())
            .expect("the ring holds depth buffers");
    }
    let near = Lane {
        bucket,
        shares: vec![Share::default(); SHARES].into_boxed_slice(),
        full: full_in,
        empty: empty_out,
    };
    (
        near,
        FarLane {
            full: full_out,
            empty: empty_in,
        },
    )
}

impl Punts {
    /// Queues a message of two parts.
    ///
    /// # Errors
    /// [`Reason::PuntRate`] or [`Reason::PuntQueue`] if it is not let through.
    pub fn offer(
        &mut self,
        kind: PuntKind,
        source: PuntSource,
        parts: [&[u8]; 2],
        now: Moment,
    ) -> Result<(), Reason> {
        let lane = self.lanes.get_mut(kind.index()).ok_or(Reason::PuntQueue)?;
        let share = payer(kind, source).and_then(|payer| lane.shares.get_mut(payer));
        if share.is_some_and(|share| !share.take(period(now), lane.bucket.share()))
            || !lane.bucket.take(now)
        {
            return Err(Reason::PuntRate);
        }
        let mut buffer = lane.empty.pop().map_err(|_| Reason::PuntQueue)?;
        buffer.fill(source, parts);
        self.is_fresh = true;
        lane.full.push(buffer).map_err(|_| Reason::PuntQueue)
    }

    /// Whether the IPC thread has something new to fetch; asking clears it.
    pub const fn take_fresh(&mut self) -> bool {
        std::mem::replace(&mut self.is_fresh, false)
    }
}

impl PuntQueue {
    /// Takes one message, from each kind in turn; give it back when it is read.
    pub fn take(&mut self) -> Option<(PuntKind, PuntBuffer)> {
        for _ in 0..PuntKind::ALL.len() {
            let kind = *PuntKind::ALL.get(self.next)?;
            self.next = (self.next + 1) % PuntKind::ALL.len();
            if let Some(buffer) = self
                .lanes
                .get_mut(kind.index())
                .and_then(|lane| lane.full.pop().ok())
            {
                return Some((kind, buffer));
            }
        }
        None
    }

    /// Gives a buffer back for the next message of its kind.
    pub fn give_back(&mut self, kind: PuntKind, buffer: PuntBuffer) {
        if let Some(lane) = self.lanes.get_mut(kind.index()) {
            // The ring holds all buffers there are; one that does not fit was not from here and is dropped.
            drop(lane.empty.push(buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::{SessionRow, SetId};

    const SOURCE: PuntSource = PuntSource::Ppp(SessionRow(3));

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = TokenBucket::new(100, 3);
        let mut now = Moment::START;
        assert_eq!((0..10).filter(|_| bucket.take(now)).count(), 3);
        now = now + Duration::from_millis(20);
        assert_eq!((0..10).filter(|_| bucket.take(now)).count(), 2);
        now = now + Duration::from_secs(3_600);
        assert_eq!((0..10).filter(|_| bucket.take(now)).count(), 3);
    }

    #[test]
    fn a_message_arrives_with_its_source() {
        let (mut punts, mut queue) = pair();
        assert!(!punts.take_fresh());
        punts
            .offer(
                PuntKind::Ppp,
                SOURCE,
                [&[0xC0, 0x21], &[1, 2]],
                Moment::START,
            )
            .unwrap();
        assert!(punts.take_fresh());
        let (kind, buffer) = queue.take().unwrap();
        assert_eq!(
            (kind, buffer.source(), buffer.bytes()),
            (PuntKind::Ppp, SOURCE, &[0xC0, 0x21, 1, 2][..])
        );
        queue.give_back(kind, buffer);
        assert!(queue.take().is_none());
    }

    #[test]
    fn a_flood_of_one_kind_does_not_touch_another() {
        let (mut punts, mut queue) = pair();
        let offer = |punts: &mut Punts, kind| punts.offer(kind, SOURCE, [&[1], &[]], Moment::START);
        let results: Vec<_> = (0..3_000)
            .map(|_| offer(&mut punts, PuntKind::IkeFirst))
            .collect();
        assert!(results.contains(&Err(Reason::PuntQueue)));
        assert_eq!(results.last(), Some(&Err(Reason::PuntRate)));
        assert_eq!(offer(&mut punts, PuntKind::Ike), Ok(()));
        let kinds: Vec<_> = std::iter::from_fn(|| queue.take().map(|(kind, _)| kind))
            .take(2)
            .collect();
        assert_eq!(kinds, [PuntKind::IkeFirst, PuntKind::Ike]);
    }

    #[test]
    fn a_flood_of_one_peer_does_not_silence_another() {
        let (mut punts, mut queue) = pair();
        let sources: [fn(u32) -> PuntSource; 2] = [
            |row| PuntSource::Ppp(SessionRow(row)),
            |row| PuntSource::L2tp {
                set: SetId(row),
                local_port: 1_701,
                remote_port: 1_701,
            },
        ];
        for (kind, source) in [PuntKind::Ppp, PuntKind::L2tp].into_iter().zip(sources) {
            for step in 0..20_000 {
                let now = Moment::from_micros(step * 50);
                for _ in 0..5 {
                    let _ = punts.offer(kind, source(7), [&[1], &[]], now);
                }
                if step % 500 == 0 {
                    assert_eq!(punts.offer(kind, source(8), [&[2], &[]], now), Ok(()));
                }
                while let Some((kind, buffer)) = queue.take() {
                    queue.give_back(kind, buffer);
                }
            }
        }
    }

    #[test]
    fn buffers_go_round() {
        let (mut punts, mut queue) = pair();
        for step in 0..2_000 {
            let now = Moment::from_micros(step * 1_000);
            assert_eq!(
                punts.offer(PuntKind::ClearL2tp, SOURCE, [&[7], &[]], now),
                Ok(())
            );
            let (kind, buffer) = queue.take().unwrap();
            queue.give_back(kind, buffer);
        }
    }
}
