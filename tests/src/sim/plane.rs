//! The product's packet path on memory ports, with the process's end of its queues.
//!
//! ```text
//! command ─► Link ─► Worker ◄─► outer, core: the far ends of its ports
//!                      └─► Report, Punt ─► poll
//! ```

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use culvert_dataplane::api::{
    self, Answer, Command, CoreDevice, CoreId, DataplaneConfig, Device, Event, Limits, Punt,
    Refusal, SessionRow, SetId, Ticket, WorkerConfig,
};
use culvert_dataplane::frame::FramePool;
use culvert_dataplane::link::{self, Link, Report, Snapshot};
use culvert_dataplane::mem::continuity::{self, Continuity};
use culvert_dataplane::moment::Moment;
use culvert_dataplane::port::memory::{self, MemoryPort, Peer};
use culvert_dataplane::table::sa::SaRow;
use culvert_dataplane::verdict::Reason;
use culvert_dataplane::worker::Worker;
use culvert_proto::time::Time;
use culvert_wire::eth::MacAddress;

use super::lan::{CORE_MAC, KERNEL_MAC};
use super::{GATEWAY, PPP_GATEWAY};

/// The gateway's outer Ethernet address.
pub const OUTER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
/// The router between the gateway and all clients.
pub const ROUTER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 4]);
/// MTU of both devices, in bytes.
pub const MTU: u16 = 1_500;
/// Rows of each kind.
pub const ROWS: u32 = 1_024;
/// Shards of inbound SAs, all of the one core.
pub const SHARDS: u16 = 4;

const CORE: CoreId = CoreId(0);
const FRAMES: u32 = 2_048;
const DEPTH: usize = 256;

/// What the worker has to tell.
#[derive(Debug)]
pub enum Told {
    /// A packet for control.
    Punt(Punt),
    /// Something happened.
    Event(Event),
    /// A command was refused.
    Refused(Command, Refusal),
}

/// Rows that hold something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// SA sets.
    pub sets: usize,
    /// Sessions.
    pub sessions: usize,
    /// Inbound SAs.
    pub inbound: usize,
}

/// One core.
pub struct Plane {
    worker: Worker<MemoryPort>,
    outer: Peer,
    core: Peer,
    link: Link,
    /// The worker's clock begins when it starts.
    started: Time,
    asked: BTreeMap<Ticket, Command>,
    tickets: u64,
}

/// The memory that outlives a worker.
///
/// # Panics
/// If the system has none.
pub fn continuity() -> OwnedFd {
    continuity::create(SHARDS, continuity::WINDOW_BITS).expect("memory for a few shards")
}

impl Plane {
    /// A worker with empty rows over `memory`, which no other may have mapped.
    ///
    /// # Panics
    /// If one has, or the system has no memory.
    pub fn new(memory: &OwnedFd, now: Time) -> Self {
        let (outer_port, outer) = memory::pair(DEPTH);
        let (core_port, core) = memory::pair(DEPTH);
        let (near, link) = link::pair(CORE).expect("an eventfd");
        let mut all = Continuity::open(memory).expect("memory that nobody else has mapped");
        let worker = Worker::new(
            &config(),
            (outer_port, core_port),
            FramePool::in_memory(CORE, usize::try_from(FRAMES).expect("fits")),
            0..SHARDS,
            all.split_off(0..SHARDS),
            near,
        );
        let mut plane = Self {
            worker,
            outer,
            core,
            link,
            started: now,
            asked: BTreeMap::new(),
            tickets: 0,
        };
        plane.turn(now);
        plane
    }

    /// Queues a command; packets that it sends to a peer go to the router first.
    ///
    /// # Panics
    /// If the queue is full or keys do not fit their suite.
    pub fn command(&mut self, command: Command) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.asked.insert(ticket, command.clone());
        let submitted = self.link.submit(ticket, command, Some(ROUTER_MAC));
        submitted.expect("a queue that is emptied at every step has room");
    }

    /// One round of the worker. Returns whether it had work.
    pub fn turn(&mut self, now: Time) -> bool {
        let passed = now.since(self.started);
        self.worker.turn(Moment::START + passed)
    }

    /// What the worker has to tell, reports first.
    ///
    /// # Panics
    /// If it answers what was not asked.
    pub fn poll(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(report) = self.link.poll() {
            match report {
                Report::Answer(Answer::Done(ticket)) => {
                    self.asked.remove(&ticket).expect("one answer per command");
                }
                Report::Answer(Answer::Refused(ticket, refusal)) => {
                    let command = self.asked.remove(&ticket).expect("one answer per command");
                    told.push(Told::Refused(command, refusal));
                }
                Report::Answer(Answer::Event(_, event)) => told.push(Told::Event(event)),
                Report::WantNeighbour(address) => panic!("{address} is behind the kernel"),
                Report::Counted(_) => panic!("counters come in the turn that asked"),
            }
        }
        while let Some((kind, buffer)) = self.link.take_punt() {
            told.push(Told::Punt(Punt {
                core: CORE,
                source: buffer.source(),
                bytes: buffer.bytes().to_vec(),
            }));
            self.link.give_back(kind, buffer);
        }
        told
    }

    /// The wire of clients.
    pub const fn outer(&self) -> &Peer {
        &self.outer
    }

    /// The wire of the network behind.
    pub const fn core(&self) -> &Peer {
        &self.core
    }

    /// Packets dropped for `reason`.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.worker.rows().counters.dropped_for(reason)
    }

    /// What was dropped and why.
    pub fn drops(&self) -> Vec<(Reason, u64)> {
        let counted = Reason::ALL
            .into_iter()
            .map(|reason| (reason, self.dropped(reason)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// Rows that hold something.
    pub fn held(&self) -> Held {
        let rows = self.worker.rows();
        let count =
            |rows: u32, holds: &dyn Fn(u32) -> bool| (0..rows).filter(|row| holds(*row)).count();
        Held {
            sets: count(rows.sets.len(), &|row| rows.sets.find(SetId(row)).is_some()),
            sessions: count(rows.sessions.len(), &|row| {
                rows.sessions.find(SessionRow(row)).is_some()
            }),
            inbound: count(rows.sas.len(), &|row| {
                rows.sas.inbound(SaRow(row)).is_some()
            }),
        }
    }

    /// Checks that every packet has had one end and every frame is in one place (DESIGN §3), by the counters that an operator sees.
    ///
    /// # Panics
    /// If not.
    pub fn assert_accounted(&mut self, now: Time) {
        let snapshot = self.snapshot(now);
        let Snapshot {
            counters,
            outer,
            core,
            ..
        } = &snapshot;
        assert!(counters.is_balanced(), "{counters:#?}");
        assert_eq!(
            (outer.received, core.received),
            (counters.outer.received, counters.core.received)
        );
        let sent = counters.outer.sent + counters.core.sent + counters.control.sent;
        assert_eq!(outer.sent + core.sent, sent);
        let rows = self.worker.rows();
        let waiting = usize::try_from(rows.counters.outer.in_flight).expect("fits");
        let places = rows.pool.free() + self.worker.held_by_ports() + waiting;
        assert_eq!(places, rows.pool.total(), "frames are conserved");
    }

    fn snapshot(&mut self, now: Time) -> Snapshot {
        self.link.count().expect("room for one more order");
        self.turn(now);
        let counted = std::iter::from_fn(|| self.link.poll()).find_map(|report| match report {
            Report::Counted(snapshot) => Some(*snapshot),
            Report::Answer(_) | Report::WantNeighbour(_) => None,
        });
        counted.expect("an order is carried out in the next turn")
    }
}

/// One worker between two devices.
fn config() -> DataplaneConfig {
    let device = |name: &str, mac: MacAddress| Device {
        name: name.to_owned(),
        index: 1,
        mac: mac.0,
        mtu: MTU,
    };
    DataplaneConfig {
        outer: device("outer", OUTER_MAC),
        core: CoreDevice::Veth {
            device: device("core", CORE_MAC),
            kernel_mac: KERNEL_MAC.0,
        },
        workers: vec![WorkerConfig {
            cpu: None,
            outer_queue: 0,
            core_queue: 0,
        }],
        local_addresses: vec![GATEWAY.into()],
        gateway: PPP_GATEWAY,
        clear_l2tp: Vec::new(),
        limits: Limits {
            sets: ROWS,
            sessions: ROWS,
            shards: SHARDS,
            frames: FRAMES,
        },
    }
}

/// Whether a refusal means only that what was to be removed is gone.
pub const fn is_harmless(command: &Command, refusal: Refusal) -> bool {
    matches!(refusal, Refusal::Absent)
        && matches!(
            command,
            Command::CloseSet(_)
                | Command::CloseSession(_)
                | Command::RemoveInbound(_)
                | Command::RemoveOutbound { .. }
                | Command::UseOutbound { .. }
        )
}

/// Our SPI of the pair that a refused command would have installed.
pub const fn refused_pair(command: &Command) -> Option<api::Spi> {
    match command {
        Command::AddInbound(spec) => Some(spec.spi),
        Command::AddOutbound(spec) => Some(spec.twin),
        Command::OpenSet(_)
        | Command::CloseSet(_)
        | Command::UseOutbound { .. }
        | Command::RemoveInbound(_)
        | Command::RemoveOutbound { .. }
        | Command::OpenSession(_)
        | Command::CloseSession(_)
        | Command::Transmit(_)
        | Command::Inventory => None,
    }
}
