//! Scene, systems, sender and sink together: trials and drains whose every frame is accounted for.

use std::thread;
use std::time::{Duration, Instant};

use culvert_crypto::{Engine, OpenContext};
use culvert_dataplane::frame::{BATCH, Frames};
use culvert_dataplane::port::{Port, PortStatistics};
use culvert_dataplane::verdict::Ledger;

use super::Case;
use super::client::inbound;
use super::scene::{Ends, Scene, System};
use super::system::{Forwarder, Gateway, Held};
use super::traffic::{Rotation, SEEDS, Shape, key};
use super::trial::{Outcome, Trial, filled};
use crate::failure::Failure;
use crate::load::probe::Direction;

/// Frames of a rotation.
const ROTATION: usize = 1 << 16;
/// Frames of one drain: fewer than a system's ring holds.
pub(super) const DRAIN: usize = 1_000;
/// How long a drain's frames may take to come out.
const PATIENCE: Duration = Duration::from_millis(500);
/// After so much work comes a tenth of it in rest: the scheduler takes that share from real-time threads anyway, in the middle of a trial.
const WORK: Duration = Duration::from_millis(50);

/// Where frames of a trial ended that did not arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Lost {
    /// Before the system: its fill or rx ring had no room.
    pub(super) at_ring: u64,
    /// In the system: dropped with a reason, or the tx ring had no room.
    pub(super) inside: u64,
    /// Behind it: the sink's ring had no room.
    pub(super) at_sink: u64,
    /// Nowhere that anything counts.
    pub(super) unseen: u64,
}

/// Counters of a system at one moment.
#[derive(Clone, Copy, Default)]
struct Counted {
    lost: u64,
    dropped: u64,
}

/// All that is measured with.
pub(super) struct Field {
    scene: Scene,
    ends: Ends,
    gateway: Gateway,
    forwarder: Forwarder,
    held: Held,
    rested: Instant,
}

/// Frames and keys for one case.
pub(super) struct Traffic {
    case: Case,
    rotation: Rotation,
    opener: OpenContext,
    /// Frames of the rotation that the held worker has had since its last installation.
    held: usize,
}

impl Field {
    /// Makes namespaces, devices and the threads on `core`.
    ///
    /// # Errors
    /// [`Failure`] in the words of whatever refused.
    pub(super) fn create(core: Option<usize>) -> Result<Self, Failure> {
        let (scene, [free, forwarder, held], ends) = Scene::create()?;
        Ok(Self {
            gateway: Gateway::start(free, &scene, core)?,
            forwarder: Forwarder::start(forwarder, core)?,
            held: Held::start(held, &scene, core)?,
            scene,
            ends,
            rested: Instant::now(),
        })
    }

    /// Makes the frames of a case.
    ///
    /// # Errors
    /// [`Failure::Gateway`] if there are none of this size.
    pub(super) fn traffic(&self, case: Case) -> Result<Traffic, Failure> {
        let shape = Shape {
            direction: case.direction,
            suite: case.suite,
            bytes: case.bytes,
        };
        let opener = OpenContext::new(Engine::choose(), case.suite, &key(case.suite, SEEDS[1]))
            .map_err(|error| Failure::Gateway(error.to_string()))?;
        Ok(Traffic {
            case,
            rotation: Rotation::new(shape, self.scene.macs, inbound(), ROTATION)?,
            opener,
            held: ROTATION,
        })
    }

    /// Sends frames through `system` for `duration`, at most a rotation, and accounts for them.
    ///
    /// # Errors
    /// [`Failure::Wrong`] if a frame came out that was not sent, or the gateway's books do not balance.
    pub(super) fn trial(
        &mut self,
        traffic: &Traffic,
        system: System,
        rate: Option<f64>,
        duration: Duration,
    ) -> Result<(Outcome, Lost), Failure> {
        self.rest();
        self.gateway.install(traffic.case.suite)?;
        let before = self.count(system, traffic.case.direction)?;
        if system == System::Forwarder {
            self.forwarder.resume();
        }
        let trial = Trial {
            system,
            direction: traffic.case.direction,
            rotation: &traffic.rotation,
            count: frames_in(duration, rate).min(ROTATION),
            rate,
            opener: &traffic.opener,
        };
        let outcome = trial.run(&mut self.ends);
        if system == System::Forwarder {
            self.forwarder.pause()?;
        }
        let after = self.count(system, traffic.case.direction)?;
        if outcome.wrong > 0 {
            let what = format!("{}: {} frames", system.name(), outcome.wrong);
            return Err(Failure::Wrong(what));
        }
        let lost = account(&outcome, before, after);
        Ok((outcome, lost))
    }

    fn rest(&mut self) {
        let worked = self.rested.elapsed();
        if worked > WORK {
            thread::sleep(worked / 10);
            self.rested = Instant::now();
        }
    }

    fn count(&mut self, system: System, direction: Direction) -> Result<Counted, Failure> {
        let side = |[outer, core]: [PortStatistics; 2]| match direction {
            Direction::Up => (outer, core),
            Direction::Down => (core, outer),
        };
        if system == System::Forwarder {
            let (from, to) = side(self.forwarder.count()?.ports);
            // It knows no other drop than a full tx ring.
            let dropped = from.received.saturating_sub(to.sent);
            return Ok(Counted {
                lost: from.lost(),
                dropped,
            });
        }
        let snapshot = self.gateway.count()?;
        if !snapshot.counters.is_balanced() {
            return Err(Failure::Wrong("culvert's ledgers".to_owned()));
        }
        let ledgers = [&snapshot.counters.outer, &snapshot.counters.core];
        let dropped = |ledger: &Ledger| ledger.dropped.iter().sum::<u64>();
        let (from, _) = side([snapshot.outer, snapshot.core]);
        Ok(Counted {
            lost: from.lost(),
            dropped: ledgers.into_iter().map(dropped).sum(),
        })
    }

    /// Fills the rings of `system` while it stands, then lets it work them alone; returns nanoseconds per frame.
    ///
    /// # Errors
    /// [`Failure::Wrong`] if not every frame came out.
    pub(super) fn drain(&mut self, traffic: &mut Traffic, system: System) -> Result<f64, Failure> {
        self.rest();
        if traffic.held + DRAIN > ROTATION {
            self.held.install(traffic.case.suite)?;
            traffic.held = 0;
        }
        let first = traffic.held;
        if system == System::Held {
            traffic.held += DRAIN;
        }
        self.fill(traffic, system, first);
        let done = match system {
            System::Forwarder => self.forwarder.work(DRAIN as u64)?,
            System::Held | System::Gateway => self.held.work(DRAIN as u64)?,
        };
        let came = self.empty(traffic.case.direction, system);
        if came != DRAIN {
            let what = format!("{}: {came} of {DRAIN} frames came out", system.name());
            return Err(Failure::Wrong(what));
        }
        Ok(done.elapsed.as_secs_f64() * 1e9 / f64::from(u32::try_from(DRAIN).unwrap_or(1)))
    }

    fn fill(&mut self, traffic: &Traffic, system: System, first: usize) {
        let (sender, _, pool) = self.ends.of(system, traffic.case.direction);
        let mut waiting = Frames::new();
        for index in first..first + DRAIN {
            if let Some(frame) = pool.take() {
                // There is room: the batch is sent whenever it is full.
                drop(waiting.push(filled(frame, traffic.rotation.frame(index))));
            }
            if waiting.room() == 0 || index + 1 == first + DRAIN {
                while !waiting.is_empty() || sender.in_flight() > 0 {
                    sender.transmit(pool, &mut waiting);
                    sender.wake();
                }
            }
        }
    }

    /// Takes what came out.
    fn empty(&mut self, direction: Direction, system: System) -> usize {
        let (_, sink, pool) = self.ends.of(system, direction);
        let mut arrived = Frames::new();
        let (mut came, since) = (0, Instant::now());
        while came < DRAIN && since.elapsed() < PATIENCE {
            came += sink.receive(pool, &mut arrived);
            arrived.take_front(BATCH).for_each(|frame| pool.give(frame));
        }
        came
    }
}

impl Traffic {
    /// Bytes of a frame as sent.
    pub(super) const fn frame_len(&self) -> usize {
        self.rotation.frame_len()
    }
}

fn frames_in(duration: Duration, rate: Option<f64>) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of frames"
    )]
    rate.map_or(usize::MAX, |rate| (rate * duration.as_secs_f64()) as usize)
}

fn account(outcome: &Outcome, before: Counted, after: Counted) -> Lost {
    let missing = outcome.sent.saturating_sub(outcome.received);
    let known = Lost {
        at_ring: after.lost - before.lost,
        inside: after.dropped.saturating_sub(before.dropped),
        at_sink: outcome.lost_at_sink,
        unseen: 0,
    };
    let seen = known.at_ring + known.inside + known.at_sink;
    Lost {
        unseen: missing.saturating_sub(seen),
        ..known
    }
}
