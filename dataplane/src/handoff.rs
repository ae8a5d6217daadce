//! Hand-off: packets that arrived on another core than the one that owns their rows, and their frames on the way home.
//!
//! ```text
//!   worker A ── packet ──► worker B     one ring for each ordered pair
//!   worker A ◄── frame ─── worker B     a frame belongs to its UMEM: it goes home when B is done with it
//! ```
//! A packet is handed on once. It is then counted where it ends: `given` in one core's ledger, `taken` in the other's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rtrb::{Consumer, Producer, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};

use crate::api::{CoreId, Spi, spi};
use crate::batch::Packet;
use crate::frame::{Frame, FramePool};
use crate::table::directory::Directory;

/// Packets on their way from one core to another at once.
const DEPTH: usize = 512;
/// Frames on their way home at once; a full ring keeps them waiting in the pool that holds them.
const HOMEWARD: usize = 1_024;

/// Wakes a worker that sleeps.
#[derive(Debug)]
struct Doorbell {
    is_asleep: AtomicBool,
    fd: OwnedFd,
}

impl Doorbell {
    fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self {
            is_asleep: AtomicBool::new(false),
            fd,
        })
    }

    /// To be called after something was put into a ring of the worker's.
    ///
    /// An eventfd that is full is readable already, so a failed write loses nothing.
    fn ring(&self) {
        // The ring's own store is a release only: without this, the load below may pass it while the sleeper sees the ring still empty.
        fence(Ordering::SeqCst);
        if self.is_asleep.load(Ordering::SeqCst) {
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }
}

/// Rings from and to one other core.
#[derive(Debug)]
struct Peer {
    core: CoreId,
    packets_out: Producer<Packet>,
    packets_in: Consumer<Packet>,
    frames_out: Producer<Frame>,
    frames_in: Consumer<Frame>,
    bell: Arc<Doorbell>,
    /// Something was put into its rings since its bell last rang.
    has_news: bool,
}

/// A worker's ends of the rings to all others.
#[derive(Debug)]
pub struct Exchange {
    peers: Vec<Peer>,
    bell: Arc<Doorbell>,
    whereabouts: Whereabouts,
    next: usize,
}

/// Who owns what.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    core: CoreId,
    workers: u32,
    shards: u16,
    /// Clients' addresses over all cores.
    pub directory: Arc<Directory>,
}

impl Whereabouts {
    /// A core that is alone.
    pub fn alone(core: CoreId, shards: u16) -> Self {
        Self {
            core,
            workers: 1,
            shards,
            directory: Arc::new(Directory::new(0)),
        }
    }

    /// This core.
    pub const fn core(&self) -> CoreId {
        self.core
    }

    /// Whether there are other cores.
    pub const fn is_alone(&self) -> bool {
        self.workers == 1
    }

    /// The other core that owns the shard of `spi`, by [`shards`](crate::worker::shards).
    pub fn owner_elsewhere(&self, spi: Spi) -> Option<CoreId> {
        let shard = spi::shard(spi);
        let each = (u32::from(self.shards) / self.workers).max(1);
        let owner = u8::try_from((shard / each).min(self.workers - 1))
            .ok()
            .map(CoreId)?;
        (shard < u32::from(self.shards) && owner != self.core).then_some(owner)
    }
}

/// Connects `workers` workers with each other; the n-th [`Exchange`] is for core n.
///
/// `shards` and `sessions` are the limits of the configuration, over all cores and for each.
/// # Errors
/// What the system says when it makes no eventfd.
pub fn mesh(workers: usize, shards: u16, sessions: u32) -> io::Result<Vec<Exchange>> {
    let directory = Arc::new(Directory::new(workers.saturating_mul(sessions as usize)));
    let bells = (0..workers)
        .map(|_| Doorbell::new().map(Arc::new))
        .collect::<io::Result<Vec<_>>>()?;
    let cores = (0..=u8::MAX).map(CoreId);
    let mut exchanges: Vec<Exchange> = cores
        .zip(&bells)
        .map(|(core, bell)| {
            let directory = Arc::clone(&directory);
            let workers = u32::try_from(workers).unwrap_or(u32::MAX);
            let whereabouts = Whereabouts {
                core,
                workers,
                shards,
                directory,
            };
            Exchange {
                peers: Vec::new(),
                bell: Arc::clone(bell),
                whereabouts,
                next: 0,
            }
        })
        .collect();
    for second in 1..exchanges.len() {
        let (firsts, seconds) = exchanges.split_at_mut(second);
        for first in firsts {
            seconds
                .iter_mut()
                .take(1)
                .for_each(|second| connect(first, second));
        }
    }
    Ok(exchanges)
}

fn connect(first: &mut Exchange, second: &mut Exchange) {
    let (there_out, there_in) = RingBuffer::new(DEPTH);
    let (back_out, back_in) = RingBuffer::new(DEPTH);
    let (home_there_out, home_there_in) = RingBuffer::new(HOMEWARD);
    let (home_back_out, home_back_in) = RingBuffer::new(HOMEWARD);
    first.peers.push(Peer {
        core: second.whereabouts.core,
        packets_out: there_out,
        packets_in: back_in,
        frames_out: home_there_out,
        frames_in: home_back_in,
        bell: Arc::clone(&second.bell),
        has_news: false,
    });
    second.peers.push(Peer {
        core: first.whereabouts.core,
        packets_out: back_out,
        packets_in: there_in,
        frames_out: home_back_out,
        frames_in: home_there_in,
        bell: Arc::clone(&first.bell),
        has_news: false,
    });
}

impl Exchange {
    /// Who owns what.
    pub const fn whereabouts(&self) -> &Whereabouts {
        &self.whereabouts
    }

    /// Hands a packet to `core`.
    ///
    /// # Errors
    /// Gives it back if there is no such core or its ring is full.
    #[expect(
        clippy::result_large_err,
        reason = "the packet goes back to be freed, which is rare"
    )]
    pub(crate) fn hand(&mut self, core: CoreId, packet: Packet) -> Result<(), Packet> {
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.core == core) else {
            return Err(packet);
        };
        peer.has_news = true;
        peer.packets_out
            .push(packet)
            .map_err(|rtrb::PushError::Full(packet)| packet)
    }

    /// Takes a packet that another core handed over, from each in turn.
    pub(crate) fn take(&mut self) -> Option<Packet> {
        for _ in 0..self.peers.len() {
            self.next = (self.next + 1) % self.peers.len();
            if let Some(packet) = self
                .peers
                .get_mut(self.next)
                .and_then(|peer| peer.packets_in.pop().ok())
            {
                return Some(packet);
            }
        }
        None
    }

    /// Sends others' frames home, and takes in those of ours that came back.
    pub(crate) fn exchange_frames(&mut self, pool: &mut FramePool) {
        while let Some(frame) = pool.take_stray() {
            let home = frame.home().core();
            let Some(peer) = self.peers.iter_mut().find(|peer| peer.core == home) else {
                continue;
            };
            peer.has_news = true;
            if let Err(rtrb::PushError::Full(frame)) = peer.frames_out.push(frame) {
                pool.give(frame);
                break;
            }
        }
        for peer in &mut self.peers {
            while let Ok(frame) = peer.frames_in.pop() {
                pool.give(frame);
            }
        }
    }

    /// Wakes those that something was sent to: a system call for each that sleeps.
    pub(crate) fn publish(&mut self) {
        for peer in &mut self.peers {
            if std::mem::take(&mut peer.has_news) {
                peer.bell.ring();
            }
        }
    }

    /// Says that the worker is about to sleep; false if something has come.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.bell.is_asleep.store(true, Ordering::SeqCst);
        // The other half of `Doorbell::ring`: either it sees this worker asleep, or what it sent is seen below.
        fence(Ordering::SeqCst);
        let is_quiet = self
            .peers
            .iter()
            .all(|peer| peer.packets_in.is_empty() && peer.frames_in.is_empty());
        if !is_quiet {
            self.wake_up();
        }
        is_quiet
    }

    /// Says that the worker is awake. A bell that did not ring is as quiet as one that is silenced.
    pub(crate) fn wake_up(&self) {
        self.bell.is_asleep.store(false, Ordering::SeqCst);
        let _ = rustix::io::read(&self.bell.fd, &mut [0; 8]);
    }

    /// What wakes the worker.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.bell.fd.as_fd()
    }

    /// Packets and frames that others have put into the rings and this worker has not taken.
    pub fn waiting(&self) -> usize {
        self.peers
            .iter()
            .map(|peer| peer.packets_in.slots() + peer.frames_in.slots())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker;

    #[test]
    fn every_shard_has_one_owner_whom_all_cores_know() {
        for (shards, workers) in [(1, 1), (64, 1), (64, 2), (64, 3), (1_024, 64), (7, 7)] {
            let exchanges = mesh(workers, shards, 1).unwrap();
            let mut seen = Vec::new();
            for owner in (0..workers).map(|core| CoreId(core.try_into().unwrap())) {
                for shard in worker::shards(shards, owner, workers) {
                    seen.push(shard);
                    for exchange in &exchanges {
                        let whereabouts = exchange.whereabouts();
                        let elsewhere =
                            whereabouts.owner_elsewhere(spi::compose(shard.into(), 0, 0));
                        let wanted = (owner != whereabouts.core()).then_some(owner);
                        assert_eq!(elsewhere, wanted, "{shard} of {shards} over {workers}");
                    }
                }
            }
            assert_eq!(seen, (0..shards).collect::<Vec<_>>());
        }
    }
}
