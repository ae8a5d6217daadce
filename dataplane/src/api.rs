//! What the control plane asks of the data plane and what it hears back: the typed messages of the IPC.
//!
//! ```text
//! commands socket   control → data plane   Request { ticket, core, command }     in order, each answered once
//!                   data plane → control   Answer::{Done, Refused, Event}
//! punts socket      data plane → control   Punt { core, source, bytes }          bounded; overflow is a counted drop
//! ```
//! Rows are preallocated and chosen by control: a [`SetId`] or [`SessionRow`] is an index into its core's table, and an inbound
//! [`Spi`] names core, row and tag (see [`spi`]). The data plane never hands out an id, so a command needs no answer before the next.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use culvert_crypto::Suite;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use culvert_wire::id::{SessionId, Spi, TunnelId};

/// Version of every message in this module; both ends must agree.
pub const VERSION: u16 = 1;

/// A packet core, counted from 0 in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CoreId(pub u8);

/// The SA set row on its core: 0 to `max_sets` − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetId(pub u32);

/// The session row on its core: 0 to `max_sessions` − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionRow(pub u32);

/// Pairs a request with its answer; chosen by control, never reused within a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// Key bytes: wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyMaterial(Zeroizing<Vec<u8>>);

impl KeyMaterial {
    /// Takes over `bytes`: cipher key, then salt (AES-GCM) or integrity key, as [`Suite`] counts them.
    pub const fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The key bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Layout of an inbound SPI: shard (10 bits), row (10 bits), random tag (12 bits).
pub mod spi {
    use super::Spi;

    /// Number of shards; a table of this many entries maps a shard to the core that owns it.
    pub const SHARDS: u32 = 1 << 10;
    /// Rows in one shard.
    pub const ROWS: u32 = 1 << 10;
    /// Values of the random tag.
    pub const TAGS: u32 = 1 << 12;

    /// Puts an SPI together; each part is taken modulo its range.
    pub const fn compose(shard: u32, row: u32, tag: u32) -> Spi {
        Spi(((shard % SHARDS) << 22) | ((row % ROWS) << 12) | (tag % TAGS))
    }

    /// The shard of `spi`: 0 to 1,023.
    pub const fn shard(spi: Spi) -> u32 {
        spi.0 >> 22
    }

    /// Index of the SA's row over all shards: 0 to 1,048,575. The same index names its slot in the continuity memory.
    pub const fn index(spi: Spi) -> u32 {
        spi.0 >> 12
    }
}

/// One command to one core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Comes back in the [`Answer`].
    pub ticket: Ticket,
    /// The core that owns the rows.
    pub core: CoreId,
    /// What to do.
    pub command: Command,
}

/// A change of one row, or a packet of control's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes an SA set row; replaces what the row held.
    OpenSet(SetSpec),
    /// Clears a set row with all its SAs and sessions.
    CloseSet(SetId),
    /// Installs an inbound SA in the row its SPI names.
    AddInbound(InboundSpec),
    /// Installs an outbound SA beside the set's present one.
    AddOutbound(OutboundSpec),
    /// Makes an installed outbound SA the one that seals.
    UseOutbound {
        /// The set it belongs to.
        set: SetId,
        /// The SPI that the peer chose.
        spi: Spi,
    },
    /// Clears an inbound SA; its packets are then dropped as unknown.
    RemoveInbound(Spi),
    /// Clears an outbound SA; if it was in use the newest other one takes over, and with none left the set is mute.
    RemoveOutbound {
        /// The set it belongs to.
        set: SetId,
        /// The SPI that the peer chose.
        spi: Spi,
    },
    /// Makes a session row, or replaces the one in it: this is also how a session changes phase.
    OpenSession(SessionSpec),
    /// Clears a session row.
    CloseSession(SessionRow),
    /// Sends a packet of control's own through the normal down stages.
    Transmit(Transmit),
    /// Asks for an [`Event::Held`] per row that holds something, for a control process that has just started.
    Inventory,
}

/// One peer: where it is and how its packets are wrapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetSpec {
    /// The row.
    pub id: SetId,
    /// Our address that the peer dialled; the port is 500, 4500 or 1701 as `encapsulation` says.
    pub local: SocketAddr,
    /// The peer's outer address and port; for native ESP the port is that of its IKE messages and is not on the packets.
    pub remote: SocketAddr,
    /// How its packets are wrapped.
    pub encapsulation: Encapsulation,
}

/// How a set's L2TP packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encapsulation {
    /// ESP as an IP protocol of its own (RFC 4303).
    Esp,
    /// ESP in UDP port 4500 (RFC 3948).
    EspInUdp,
    /// No ESP: L2TP on UDP 1701 in the clear. Only on listeners that allow it.
    Clear,
}

/// An inbound SA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundSpec {
    /// Our SPI; names row and core.
    pub spi: Spi,
    /// The set it belongs to.
    pub set: SetId,
    /// Cipher and integrity algorithm.
    pub suite: Suite,
    /// Keys as the suite counts them.
    pub keys: KeyMaterial,
    /// Replay window in packets: 64 to 8,192, a power of two.
    pub replay_window: u16,
    /// Whether to go on from what the continuity memory holds for this SPI.
    pub start: Start,
}

/// An outbound SA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboundSpec {
    /// The peer's SPI.
    pub spi: Spi,
    /// The set it belongs to.
    pub set: SetId,
    /// Our SPI of the same quick mode: its row's slot in the continuity memory holds the next sequence number.
    pub twin: Spi,
    /// Cipher and integrity algorithm.
    pub suite: Suite,
    /// Keys as the suite counts them.
    pub keys: KeyMaterial,
    /// When it begins to seal.
    pub activation: Activation,
    /// Whether to go on from what the continuity memory holds.
    pub start: Start,
}

/// When a new outbound SA begins to seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// At once.
    Now,
    /// At the first valid packet on its inbound twin, or at [`Command::UseOutbound`], or when no other is left.
    WhenPeerHasIt,
}

/// Where sequence numbers and window begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// Afresh: the keys are new. The slot is cleared.
    Fresh,
    /// From the continuity memory; refused with [`Refusal::NotContinued`] if its slot is of another SA.
    Continued,
}

/// An L2TP session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// The row.
    pub row: SessionRow,
    /// The set whose packets it accepts and on which it answers.
    pub set: SetId,
    /// Our UDP port inside the SA: 1701.
    pub local_port: u16,
    /// The peer's UDP port inside the SA.
    pub remote_port: u16,
    /// Tunnel id in packets to us.
    pub local_tunnel: TunnelId,
    /// Session id in packets to us.
    pub local_session: SessionId,
    /// Tunnel id in packets to the peer.
    pub peer_tunnel: TunnelId,
    /// Session id in packets to the peer.
    pub peer_session: SessionId,
    /// Whether data messages to the peer carry sequence numbers (the LAC asked for them).
    pub sequencing: Sequencing,
    /// What the peer's LCP allows us to leave out.
    pub framing: PppFraming,
    /// What may pass.
    pub phase: Phase,
}

/// Whether data messages carry Ns and Nr (RFC 2661 §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sequencing {
    /// They do not.
    Off,
    /// They do.
    On,
}

/// How PPP headers to the peer are written (RFC 1661 §6.5, §6.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PppFraming {
    /// Address and control fields are left out.
    pub address_control_compressed: bool,
    /// Protocol numbers below 0x100 take one byte.
    pub protocol_compressed: bool,
}

/// What a session lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// PPP control frames only, to and from control.
    Negotiating,
    /// IPv4 too.
    Open {
        /// The session's own address: the only source it may use.
        address: Ipv4Addr,
        /// The peer's MRU in bytes: the largest inner IP packet it takes.
        mru: u16,
    },
}

/// A packet of control's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transmit {
    /// Where to.
    pub to: Destination,
    /// The message: IKE without marker, L2TP from its flags on, PPP from its protocol field on (two bytes, uncompressed).
    pub bytes: Vec<u8>,
}

/// Where a packet of control's own goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// An IKE peer; from port 4500 the non-ESP marker is put in front (RFC 3948 §2.2).
    Ike {
        /// Our address and port.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
    },
    /// An L2TP peer over its set, sealed unless the set is clear.
    L2tp {
        /// The set.
        set: SetId,
        /// Our inner port.
        local_port: u16,
        /// The peer's inner port.
        remote_port: u16,
    },
    /// An L2TP peer in the clear that has no set yet.
    ClearL2tp {
        /// Our address and port.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
    },
    /// A PPP peer over its session.
    Ppp(SessionRow),
}

/// What the data plane says on the commands socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The command is carried out.
    Done(Ticket),
    /// The command changed nothing.
    Refused(Ticket, Refusal),
    /// Something happened that control must know.
    Event(CoreId, Event),
}

/// Why a command changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// There is no such core.
    NoSuchCore,
    /// The row is outside the table, or the SPI's shard belongs to another core.
    NoSuchRow,
    /// The set, SA or session that the command names is not there.
    Absent,
    /// Key length, window, port or address out of range.
    Invalid,
    /// The continuity memory holds another SA in this slot: the SA must die.
    NotContinued,
    /// A table or queue is full.
    Exhausted,
    /// The message is too long for a frame.
    TooLong,
}

/// What the data plane tells unasked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The first valid packet came in on an SA.
    InboundUsed(Spi),
    /// The newest valid packet of a set came from another address or port; answers go there now (RFC 3948 §3.4).
    EndpointMoved {
        /// The set.
        set: SetId,
        /// Where the peer is now.
        remote: SocketAddr,
    },
    /// An outbound SA has used half of its sequence numbers, and later all of them: then it seals no more (RFC 4303 §3.3.3).
    SequenceLow {
        /// The set.
        set: SetId,
        /// The outbound SPI.
        spi: Spi,
        /// Sequence numbers left.
        left: u32,
    },
    /// Answer to [`Command::Inventory`]: one row that holds something.
    Held(Held),
    /// End of the answer to [`Command::Inventory`].
    InventoryEnd,
}

/// One row that holds something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Held {
    /// An SA set.
    Set {
        /// The row.
        id: SetId,
        /// Where the peer is.
        remote: SocketAddr,
    },
    /// A session with its address, if it is open.
    Session {
        /// The row.
        row: SessionRow,
        /// Its set.
        set: SetId,
        /// Its address, once open.
        address: Option<Ipv4Addr>,
    },
    /// An inbound SA.
    Inbound {
        /// Our SPI.
        spi: Spi,
        /// Its set.
        set: SetId,
    },
}

/// A packet that wants the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Punt {
    /// The core it arrived on: a new set is made there.
    pub core: CoreId,
    /// What it came in on.
    pub source: PuntSource,
    /// The message: IKE without marker, L2TP from its flags on, PPP from its protocol field on (two bytes, uncompressed).
    pub bytes: Vec<u8>,
}

/// What a punted packet came in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PuntSource {
    /// UDP 500, or UDP 4500 behind a non-ESP marker.
    Ike {
        /// Our address and port.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
    },
    /// An L2TP control message inside a set (sealed, or a clear set).
    L2tp {
        /// The set.
        set: SetId,
        /// Our inner port.
        local_port: u16,
        /// The peer's inner port.
        remote_port: u16,
    },
    /// An L2TP control message in the clear from a peer that has no set; only on listeners that allow it.
    ClearL2tp {
        /// Our address and port.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
    },
    /// A PPP frame that is not forwarded.
    Ppp(SessionRow),
}

/// All that a data plane process is told when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataplaneConfig {
    /// The side where clients are.
    pub outer: Device,
    /// The side where the network is.
    pub core: CoreDevice,
    /// One packet core each.
    pub workers: Vec<WorkerConfig>,
    /// Addresses whose tunnel traffic is ours.
    pub local_addresses: Vec<IpAddr>,
    /// Our own PPP address: answers ping.
    pub gateway: Ipv4Addr,
    /// Clear L2TP to these local addresses is punted; to others it is dropped.
    pub clear_l2tp: Vec<IpAddr>,
    /// Table sizes.
    pub limits: Limits,
}

/// A network device with AF_XDP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its index in the namespace we run in.
    pub index: u32,
    /// Its own Ethernet address.
    pub mac: [u8; 6],
    /// Its MTU in bytes.
    pub mtu: u16,
}

/// The core side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CoreDevice {
    /// Our end of a veth pair; everything goes to the kernel's end.
    Veth {
        /// Our end.
        device: Device,
        /// Ethernet address of the kernel's end.
        kernel_mac: [u8; 6],
    },
    /// A NIC of its own; next hops come from the kernel's routes and neighbours.
    Nic(Device),
}

/// One packet core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerConfig {
    /// The CPU to pin to; `None` leaves it to the scheduler.
    pub cpu: Option<usize>,
    /// Queue of the outer device.
    pub outer_queue: u32,
    /// Queue of the core device.
    pub core_queue: u32,
}

/// Table sizes per core, all allocated at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// SA set rows.
    pub sets: u32,
    /// Session rows.
    pub sessions: u32,
    /// Shards of 1,024 inbound SAs over all cores: 1 to 1,024.
    pub shards: u16,
    /// UMEM frames of 4,096 bytes.
    pub frames: u32,
}
