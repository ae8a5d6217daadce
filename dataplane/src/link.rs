//! The queues between a worker and its process's IPC thread, and how each end wakes the other.
//!
//! ```text
//! IPC thread   submit ──► orders ──► worker      bounded; the worker is woken if it sleeps
//!              poll   ◄── reports ◄── worker     bounded; the IPC thread polls `ready`
//!              take_punt ◄── punts ◄── worker    bounded by kind
//! ```
//! What an order brought and what it displaced (keys above all) comes back in its report, so that the worker frees no memory and wipes no
//! keys.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;
use culvert_crypto::{Engine, OpenContext, SealContext};
use culvert_wire::eth::MacAddress;
use rustix::event::{EventfdFlags, eventfd};
use serde::{Deserialize, Serialize};

use crate::api::{Answer, Command, CoreId, Event, Refusal, SetId, Ticket};
use crate::port::PortStatistics;
use crate::punt::{self, PuntBuffer, PuntQueue, Punts};
use crate::verdict::{Counters, PuntKind};

/// Orders and reports on their way at once.
const DEPTH: usize = 4_096;
/// Keys that one order may displace: all of a set, and those of the SA it replaces.
const MAX_RETIRED: usize = 16;

/// What the IPC thread asks of a worker.
#[derive(Debug)]
pub enum Order {
    /// A command of control's.
    Command {
        /// Comes back in the answer.
        ticket: Ticket,
        /// What to do.
        command: Command,
        /// Where packets to the peer that it names go first.
        next_hop: Option<MacAddress>,
        /// The expanded keys of the SA that it brings.
        keys: Option<Keys>,
    },
    /// The peer of a set is now reached through another next hop.
    NextHop {
        /// The set.
        set: SetId,
        /// Where its packets go first.
        next_hop: MacAddress,
    },
    /// A destination on the core side is reached through this next hop, or none.
    Neighbour {
        /// The destination.
        destination: Ipv4Addr,
        /// Where its packets go first.
        next_hop: Option<MacAddress>,
    },
    /// Asks for the counters, to be written into this box.
    Count(Box<Snapshot>),
}

/// Expanded keys of one SA in one direction.
#[derive(Debug)]
pub enum Keys {
    /// To open with.
    Inbound(OpenContext),
    /// To seal with.
    Outbound(SealContext),
}

/// Keys that an order displaced, on their way to be wiped.
pub type Retired = ArrayVec<Keys, MAX_RETIRED>;

/// What a worker says, with whatever is to be freed.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) report: Option<Report>,
    pub(crate) spent: Option<Order>,
    pub(crate) retired: Retired,
}

/// What a worker says.
#[derive(Debug)]
pub enum Report {
    /// For control.
    Answer(Answer),
    /// The next hop of a destination on the core side is wanted.
    WantNeighbour(Ipv4Addr),
    /// The counters that were asked for.
    Counted(Box<Snapshot>),
}

/// All counters of a worker at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What became of every packet.
    pub counters: Counters,
    /// What the outer port's rings say.
    pub outer: PortStatistics,
    /// What the core port's rings say.
    pub core: PortStatistics,
    /// Free frames.
    pub frames_free: u64,
    /// All frames.
    pub frames_total: u64,
    /// Packets and frames that other cores sent here and that are not taken in yet.
    pub handed_waiting: u64,
}

/// What both ends share.
#[derive(Debug)]
struct Shared {
    orders: ArrayQueue<Order>,
    replies: ArrayQueue<Reply>,
    is_asleep: AtomicBool,
    is_stopped: AtomicBool,
    /// Wakes the worker.
    wake: OwnedFd,
    /// Tells the IPC thread.
    ready: OwnedFd,
}

/// The IPC thread's end.
#[derive(Debug)]
pub struct Link {
    core: CoreId,
    engine: Engine,
    shared: Arc<Shared>,
    punts: PuntQueue,
}

/// The worker's end.
#[derive(Debug)]
pub struct Near {
    core: CoreId,
    shared: Arc<Shared>,
    pub(crate) punts: Punts,
    has_news: bool,
}

/// Makes both ends.
///
/// # Errors
/// What the system says when it makes no eventfd.
pub fn pair(core: CoreId) -> io::Result<(Near, Link)> {
    let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
    let shared = Arc::new(Shared {
        orders: ArrayQueue::new(DEPTH),
        replies: ArrayQueue::new(DEPTH),
        is_asleep: AtomicBool::new(false),
        is_stopped: AtomicBool::new(false),
        wake: eventfd(0, flags)?,
        ready: eventfd(0, flags)?,
    });
    let (punts, queue) = punt::pair();
    let near = Near {
        core,
        shared: Arc::clone(&shared),
        punts,
        has_news: false,
    };
    Ok((
        near,
        Link {
            core,
            engine: Engine::choose(),
            shared,
            punts: queue,
        },
    ))
}

impl Link {
    /// The same end, expanding keys for another engine than the fastest of this CPU: the worker's.
    #[must_use]
    pub const fn with_engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// The worker's core.
    pub const fn core(&self) -> CoreId {
        self.core
    }

    /// Queues a command. `next_hop`: where packets to the peer that an `OpenSet`, or a `Transmit` to an address, names go first.
    ///
    /// # Errors
    /// The refusal to answer with: `Invalid` if keys do not fit their suite, `Exhausted` if the queue is full.
    pub fn submit(
        &self,
        ticket: Ticket,
        command: Command,
        next_hop: Option<MacAddress>,
    ) -> Result<(), Refusal> {
        let keys = expand(&command, self.engine)?;
        self.order(Order::Command {
            ticket,
            command,
            next_hop,
            keys,
        })
    }

    /// Sends a set's packets to another next hop.
    ///
    /// # Errors
    /// `Exhausted` if the queue is full.
    pub fn set_next_hop(&self, set: SetId, next_hop: MacAddress) -> Result<(), Refusal> {
        self.order(Order::NextHop { set, next_hop })
    }

    /// Says where packets to `destination` on the core side go, or that nobody knows.
    ///
    /// # Errors
    /// `Exhausted` if the queue is full.
    pub fn set_neighbour(
        &self,
        destination: Ipv4Addr,
        next_hop: Option<MacAddress>,
    ) -> Result<(), Refusal> {
        self.order(Order::Neighbour {
            destination,
            next_hop,
        })
    }

    /// Asks for a [`Report::Counted`].
    ///
    /// # Errors
    /// `Exhausted` if the queue is full.
    pub fn count(&self) -> Result<(), Refusal> {
        self.order(Order::Count(Box::default()))
    }

    /// Takes the next thing that the worker said; what its order brought and displaced is freed and wiped here.
    pub fn poll(&mut self) -> Option<Report> {
        loop {
            let Reply {
                report,
                spent,
                retired,
            } = self.shared.replies.pop()?;
            drop((spent, retired));
            if report.is_some() {
                return report;
            }
        }
    }

    /// Takes the next punted packet; give its buffer back.
    pub fn take_punt(&mut self) -> Option<(PuntKind, PuntBuffer)> {
        self.punts.take()
    }

    /// Gives back the buffer of a punted packet.
    pub fn give_back(&mut self, kind: PuntKind, buffer: PuntBuffer) {
        self.punts.give_back(kind, buffer);
    }

    /// Readable when there may be something to poll or take; call [`Link::acknowledge`] before that.
    pub fn ready(&self) -> BorrowedFd<'_> {
        self.shared.ready.as_fd()
    }

    /// Makes [`Link::ready`] quiet until there is more.
    pub fn acknowledge(&self) {
        drain(&self.shared.ready);
    }

    /// Tells the worker to end.
    pub fn stop(&self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        signal(&self.shared.wake);
    }

    fn order(&self, order: Order) -> Result<(), Refusal> {
        self.shared
            .orders
            .push(order)
            .map_err(|_| Refusal::Exhausted)?;
        if self.shared.is_asleep.load(Ordering::SeqCst) {
            signal(&self.shared.wake);
        }
        Ok(())
    }
}

fn expand(command: &Command, engine: Engine) -> Result<Option<Keys>, Refusal> {
    Ok(match command {
        Command::AddInbound(spec) => {
            let context = OpenContext::new(engine, spec.suite, spec.keys.expose())
                .map_err(|_| Refusal::Invalid)?;
            Some(Keys::Inbound(context))
        }
        Command::AddOutbound(spec) => {
            let context = SealContext::new(engine, spec.suite, spec.keys.expose())
                .map_err(|_| Refusal::Invalid)?;
            Some(Keys::Outbound(context))
        }
        Command::OpenSet(_)
        | Command::CloseSet(_)
        | Command::UseOutbound { .. }
        | Command::RemoveInbound(_)
        | Command::RemoveOutbound { .. }
        | Command::OpenSession(_)
        | Command::CloseSession(_)
        | Command::Transmit(_)
        | Command::Inventory => None,
    })
}

impl Near {
    /// The worker's core.
    pub const fn core(&self) -> CoreId {
        self.core
    }

    /// Takes the next order, if its reply will find room.
    pub(crate) fn next_order(&self) -> Option<Order> {
        if self.reply_room() == 0 {
            return None;
        }
        self.shared.orders.pop()
    }

    /// Replies that still fit.
    pub(crate) fn reply_room(&self) -> usize {
        DEPTH - self.shared.replies.len()
    }

    /// Sends a reply, for which there must be room.
    pub(crate) fn reply(&mut self, reply: Reply) {
        self.has_news = true;
        let sent = self.shared.replies.push(reply);
        debug_assert!(sent.is_ok(), "the worker alone pushes, and looked for room");
    }

    /// Sends an event, for which there must be room.
    pub(crate) fn tell(&mut self, event: Event) {
        let report = Report::Answer(Answer::Event(self.core, event));
        self.report(report);
    }

    /// Sends a report, for which there must be room.
    pub(crate) fn report(&mut self, report: Report) {
        self.reply(Reply {
            report: Some(report),
            spent: None,
            retired: Retired::new(),
        });
    }

    /// Wakes the IPC thread if there is something for it: one system call per turn at most.
    pub(crate) fn publish(&mut self) {
        if self.punts.take_fresh() | std::mem::take(&mut self.has_news) {
            signal(&self.shared.ready);
        }
    }

    /// Whether the worker must end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.shared.is_stopped.load(Ordering::SeqCst)
    }

    /// Says that the worker is about to sleep; false if there is work after all.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.shared.is_asleep.store(true, Ordering::SeqCst);
        let may_sleep = self.shared.orders.is_empty() && !self.is_stopped();
        if !may_sleep {
            self.wake_up();
        }
        may_sleep
    }

    /// Says that the worker is awake.
    pub(crate) fn wake_up(&self) {
        self.shared.is_asleep.store(false, Ordering::SeqCst);
        drain(&self.shared.wake);
    }

    /// What wakes the worker.
    pub(crate) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }
}

/// An eventfd that is full is readable already, so a failed write loses nothing.
fn signal(fd: &OwnedFd) {
    let _ = rustix::io::write(fd, &1_u64.to_ne_bytes());
}

/// Empty already is as good as emptied.
fn drain(fd: &OwnedFd) {
    let _ = rustix::io::read(fd, &mut [0; 8]);
}
