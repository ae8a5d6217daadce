//! The rows of one core: preallocated, owned by its worker alone, changed only by control's commands.

pub mod directory;
pub mod index;
pub mod neighbours;
pub mod reassembly;
pub mod replay;
pub mod sa;
pub mod session;
pub mod set;
pub mod template;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use arrayvec::ArrayVec;
use culvert_crypto::Engine;
use culvert_wire::eth::MacAddress;

use crate::api::{CoreDevice, CoreId, DataplaneConfig, Event, SetId, Spi};
use crate::batch::Packet;
use crate::frame::{BATCH, FramePool};
use crate::handoff::Whereabouts;
use crate::mem::continuity::Continuity;
use crate::moment::Moment;
use crate::punt::TokenBucket;
use crate::verdict::Counters;
use neighbours::{Found, Neighbours};
use reassembly::Reassembly;
use replay::Window;
use sa::{SaRow, SaTable};
use session::SessionTable;
use set::SetTable;

/// Where we are: what never changes while the process runs.
#[derive(Clone, Debug)]
pub struct Here {
    local: Vec<Ipv4Addr>,
    clear: Vec<Ipv4Addr>,
    /// Our own PPP address.
    pub gateway: Ipv4Addr,
    /// Ethernet address of the outer device.
    pub outer_mac: MacAddress,
    /// MTU of the outer device in bytes.
    pub outer_mtu: u16,
    /// Ethernet address of the core device.
    pub core_mac: MacAddress,
    /// MTU of the core device in bytes.
    pub core_mtu: u16,
    /// Ethernet address of the kernel's end of the veth pair, if the core side is one.
    pub kernel_mac: Option<MacAddress>,
}

impl Here {
    /// What the configuration says; IPv6 addresses are left out, as outer IPv6 is not served.
    pub fn new(config: &DataplaneConfig) -> Self {
        let (core, kernel_mac) = match &config.core {
            CoreDevice::Veth { device, kernel_mac } => (device, Some(MacAddress(*kernel_mac))),
            CoreDevice::Nic(device) => (device, None),
        };
        Self {
            local: v4(&config.local_addresses),
            clear: v4(&config.clear_l2tp),
            gateway: config.gateway,
            outer_mac: MacAddress(config.outer.mac),
            outer_mtu: config.outer.mtu,
            core_mac: MacAddress(core.mac),
            core_mtu: core.mtu,
            kernel_mac,
        }
    }

    /// A gateway at `local`.
    #[cfg(test)]
    pub(crate) fn at(local: Ipv4Addr) -> Self {
        Self {
            local: vec![local],
            clear: Vec::new(),
            gateway: Ipv4Addr::UNSPECIFIED,
            outer_mac: MacAddress::default(),
            outer_mtu: 1_500,
            core_mac: MacAddress::default(),
            core_mtu: 1_500,
            kernel_mac: None,
        }
    }

    /// Whether tunnel traffic to `address` is ours.
    #[inline]
    pub fn is_local(&self, address: Ipv4Addr) -> bool {
        self.local.contains(&address)
    }

    /// Whether clear L2TP to `address` is allowed.
    pub fn allows_clear(&self, address: Ipv4Addr) -> bool {
        self.clear.contains(&address)
    }
}

fn v4(addresses: &[IpAddr]) -> Vec<Ipv4Addr> {
    let v4 = |address: &IpAddr| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    };
    addresses.iter().filter_map(v4).collect()
}

/// Something that the IPC thread must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// For control.
    Event(Event),
    /// The next hop of a destination on the core side is wanted.
    WantNeighbour(Ipv4Addr),
}

/// Notices that wait for the queue: bounded, so that whoever has one more must try again with the next packet.
#[derive(Debug)]
pub struct Events(VecDeque<Notice>);

/// Notices that wait at most.
const MAX_EVENTS: usize = 1_024;

impl Events {
    /// None.
    pub fn new() -> Self {
        Self(VecDeque::with_capacity(MAX_EVENTS))
    }

    /// Appends an event for control; false if there is no room.
    pub fn push(&mut self, event: Event) -> bool {
        self.notify(Notice::Event(event))
    }

    /// Appends a notice; false if there is no room.
    pub fn notify(&mut self, notice: Notice) -> bool {
        if self.0.len() >= MAX_EVENTS {
            return false;
        }
        self.0.push_back(notice);
        true
    }

    /// How many more fit.
    pub fn room(&self) -> usize {
        MAX_EVENTS - self.0.len()
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<Notice> {
        self.0.pop_front()
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

/// All that a core owns but its ports.
#[derive(Debug)]
pub struct Rows {
    /// The time of this batch.
    pub now: Moment,
    /// Where we are.
    pub here: Here,
    /// The crypto engine.
    pub engine: Engine,
    /// Free frames.
    pub pool: FramePool,
    /// ESP SAs.
    pub sas: SaTable,
    /// SA sets.
    pub sets: SetTable,
    /// Sessions and routes.
    pub sessions: SessionTable,
    /// Sequence numbers and replay windows, in memory that outlives the process.
    pub continuity: Continuity,
    /// Outer datagrams not yet whole.
    pub reassembly: Reassembly,
    /// Next hops of the core side.
    pub neighbours: Neighbours,
    /// What became of every packet.
    pub counters: Counters,
    /// What the IPC thread must know.
    pub events: Events,
    /// Which core owns what.
    pub whereabouts: Whereabouts,
    /// Packets that stages made: errors to senders.
    pub originated: ArrayVec<Packet, BATCH>,
    /// Bounds ICMP errors (RFC 1812 §4.3.2.8).
    pub errors: TokenBucket,
}

/// ICMP errors per second, and at once.
const ERRORS: (u32, u32) = (1_000, 100);

impl Rows {
    /// Empty rows for the given shards.
    pub fn new(
        config: &DataplaneConfig,
        shards: impl Iterator<Item = u16>,
        pool: FramePool,
        continuity: Continuity,
    ) -> Self {
        Self {
            now: Moment::START,
            here: Here::new(config),
            engine: Engine::choose(),
            pool,
            sas: SaTable::new(shards),
            sets: SetTable::new(config.limits.sets),
            sessions: SessionTable::new(config.limits.sessions),
            continuity,
            reassembly: Reassembly::new(),
            neighbours: Neighbours::new(),
            counters: Counters::default(),
            events: Events::new(),
            whereabouts: Whereabouts::alone(CoreId(0), config.limits.shards),
            originated: ArrayVec::new(),
            errors: TokenBucket::new(ERRORS.0, ERRORS.1),
        }
    }

    /// Where frames for `destination` on the core side go; asks for it if that is not known.
    #[inline]
    pub fn next_hop(&mut self, destination: Ipv4Addr) -> Option<MacAddress> {
        if let Some(kernel) = self.here.kernel_mac {
            return Some(kernel);
        }
        match self.neighbours.find(destination, self.now) {
            Found::NextHop(next_hop) => return Some(next_hop),
            Found::Ask if !self.events.notify(Notice::WantNeighbour(destination)) => {
                self.neighbours.unask(destination)
            }
            Found::Ask | Found::Wait => {}
        }
        None
    }

    /// Whether `address` is a client's, on whichever core.
    #[inline]
    pub fn is_client(&self, address: Ipv4Addr) -> bool {
        self.sessions.route(address).is_some()
            || (!self.whereabouts.is_alone() && self.whereabouts.directory.find(address).is_some())
    }

    /// Whether one more packet of our own may be made now.
    pub fn may_originate(&mut self) -> bool {
        !self.originated.is_full() && self.errors.take(self.now)
    }

    /// Queues a packet of our own.
    pub fn originate(&mut self, packet: Packet) {
        let origin = packet.origin;
        match self.originated.try_push(packet) {
            Ok(()) => self.counters.ledger(origin).originated += 1,
            Err(full) => self.pool.give(full.element().frame),
        }
    }

    /// Seals with the outbound SA in `row`, if it is newer than the one in use.
    pub fn activate_if_newer(&mut self, id: SetId, row: SaRow) {
        let Some(age) = self
            .sas
            .outbound(row)
            .filter(|sa| sa.set == id)
            .map(|sa| sa.age)
        else {
            return;
        };
        let current = self.sets.find(id).and_then(|set| set.current);
        let current = current.and_then(|row| self.sas.outbound(row));
        if current.is_none_or(|current| current.age < age) {
            self.activate(id, Some(row));
        }
    }

    /// Seals with the outbound SA in `row`, or with none.
    pub fn activate(&mut self, id: SetId, row: Option<SaRow>) {
        let suite = row
            .and_then(|row| self.sas.outbound(row))
            .map(|sa| sa.context.suite());
        if let Some(set) = self.sets.find_mut(id) {
            set.current = row;
            set.measure(self.here.outer_mtu, suite);
        }
    }
}

/// The replay window of an inbound SA, `words` words wide.
#[inline]
pub fn window(continuity: &mut Continuity, spi: Spi, words: u16) -> Option<Window<'_>> {
    let slot = continuity.find(spi)?;
    let words = slot.window.get_mut(..usize::from(words))?;
    Some(Window::new(slot.window_top, words))
}
