//! Two namespaces, two links, and on each device a queue for each system.
//!
//! ```text
//! clients      gateway                          clients
//! c0 ─ queue 0 ─ g0 ═ worker, free ═ g1 ─ queue 0 ─ l0
//! c0 ─ queue 1 ─ g0 ═ forwarder ════ g1 ─ queue 1 ─ l0
//! c0 ─ queue 2 ─ g0 ═ worker, held ═ g1 ─ queue 2 ─ l0
//! ```
//! What is sent on a queue of one end of a veth pair arrives on the same queue of the other.

use std::net::Ipv4Addr;

use culvert_dataplane::api::CoreId;
use culvert_dataplane::frame::FramePool;
use culvert_dataplane::port::Port;
use culvert_dataplane::port::xdp::{self, Bound, XdpPort};
use culvert_dataplane::ring::Endpoint;
use culvert_dataplane::xdp::{Side, SocketMap, Steering};
use culvert_wire::eth::MacAddress;

use crate::demo::network::{Home, Namespace};
use crate::failure::Failure;
use crate::load::probe::Direction;

/// Our outer address.
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The client's outer address.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// The client's address inside its tunnel.
pub(super) const SESSION: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 10);
/// The gateway's own address inside tunnels.
pub(super) const OWN: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);
/// The host on the core side.
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 10);

/// UMEM frames of a worker or forwarder: its rings then have 1,024 entries.
pub(super) const FRAMES: u32 = 4_096;
/// UMEM frames of sender and sink, for rings of 2,048 entries on each of six sockets.
const END_FRAMES: u32 = 24_576;
/// Systems, and so queues.
const SYSTEMS: usize = 3;

/// What is measured, each on a queue of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    /// Culvert's worker in its own loop, which sleeps when idle.
    Gateway,
    /// The loop that only moves frames.
    Forwarder,
    /// Culvert's worker, whose turns the bench begins and times.
    Held,
}

impl System {
    /// All, in the order of their queues.
    const ALL: [Self; SYSTEMS] = [Self::Gateway, Self::Forwarder, Self::Held];

    /// Its name in rows.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gateway | Self::Held => "culvert",
            Self::Forwarder => "forwarder",
        }
    }

    /// Its queue on every device.
    pub(super) const fn queue(self) -> u32 {
        self as u32
    }
}

/// The devices, and what keeps the XDP programs on them; all of it goes when dropped.
pub(super) struct Scene {
    _clients: Namespace,
    _gateway: Namespace,
    _steerings: [Steering; 3],
    /// Ethernet addresses.
    pub(super) macs: Macs,
    /// Indices of g0 and g1.
    pub(super) indices: [u32; 2],
}

/// Ethernet addresses of the four devices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Macs {
    /// Sender on the outer side.
    pub(super) c0: MacAddress,
    /// Outer device.
    pub(super) g0: MacAddress,
    /// Core device.
    pub(super) g1: MacAddress,
    /// Sender on the core side.
    pub(super) l0: MacAddress,
}

/// Ports of one system: outer and core.
pub(super) struct Pair {
    /// Towards the client.
    pub(super) outer: XdpPort,
    /// Towards the host.
    pub(super) core: XdpPort,
    /// Their frames.
    pub(super) pool: FramePool,
}

/// Ports of sender and sink.
pub(super) struct Ends {
    /// c0 and l0 for each system, in the order of their queues.
    ports: [[XdpPort; 2]; SYSTEMS],
    /// Their frames.
    pool: FramePool,
}

impl Ends {
    /// Where to send what goes through `system` in `direction`, where it comes out, and the frames of both.
    pub(super) fn of(
        &mut self,
        system: System,
        direction: Direction,
    ) -> (&mut XdpPort, &mut XdpPort, &mut FramePool) {
        let [free, forwarder, held] = &mut self.ports;
        let [c0, l0] = match system {
            System::Gateway => free,
            System::Forwarder => forwarder,
            System::Held => held,
        };
        match direction {
            Direction::Up => (c0, l0, &mut self.pool),
            Direction::Down => (l0, c0, &mut self.pool),
        }
    }
}

impl Scene {
    /// Makes namespaces, devices and sockets.
    ///
    /// # Errors
    /// [`Failure`] in the words of `ip` or of the kernel; what was made until then is removed.
    pub(super) fn create() -> Result<(Self, [Pair; SYSTEMS], Ends), Failure> {
        let create =
            |role| Namespace::create(format!("culvert-wire-{}-{role}", std::process::id()));
        let (clients, gateway) = (create("clients")?, create("gateway")?);
        connect(&clients, &gateway, "c0", "g0")?;
        connect(&clients, &gateway, "l0", "g1")?;
        let macs = Macs {
            c0: clients.mac("c0")?,
            l0: clients.mac("l0")?,
            g0: gateway.mac("g0")?,
            g1: gateway.mac("g1")?,
        };
        let home = Home::here()?;
        gateway.enter()?;
        let made = gateway_side();
        home.enter()?;
        let (middle, pairs) = made?;
        clients.enter()?;
        let made = client_side();
        home.enter()?;
        let (outer, core, ends) = made?;
        let scene = Self {
            indices: [gateway.index("g0")?, gateway.index("g1")?],
            _clients: clients,
            _gateway: gateway,
            _steerings: [middle, outer, core],
            macs,
        };
        Ok((scene, pairs, ends))
    }
}

/// A veth pair with a queue for each system.
fn connect(
    clients: &Namespace,
    gateway: &Namespace,
    theirs: &str,
    ours: &str,
) -> Result<(), Failure> {
    const QUEUES: &str = "numrxqueues 3 numtxqueues 3";
    let name = gateway.name();
    clients.ip(&format!(
        "link add {theirs} {QUEUES} type veth peer netns {name} name {ours} {QUEUES}"
    ))?;
    for (namespace, device) in [(clients, theirs), (gateway, ours)] {
        // Neither router solicitations nor duplicate address detection among the frames that are counted.
        namespace.ip(&format!("link set {device} addrgenmode none"))?;
        namespace.ip(&format!("link set {device} up"))?;
    }
    Ok(())
}

fn xdp_failure(device: &str) -> impl Fn(&dyn std::fmt::Display) -> Failure {
    move |error| Failure::Xdp(device.to_owned(), error.to_string())
}

/// In the gateway's namespace: the product's steering, and a pair of ports for each system.
fn gateway_side() -> Result<(Steering, [Pair; SYSTEMS]), Failure> {
    let failure = xdp_failure("g0, g1");
    let mut steering = Steering::load().map_err(|error| failure(&error))?;
    steering
        .add_address(GATEWAY.into())
        .and_then(|()| steering.add_pool(SESSION, 16))
        .map_err(|error| failure(&error))?;
    let mut pairs = Vec::new();
    for (system, core) in System::ALL.into_iter().zip(0..) {
        let queue = system.queue();
        let ends = ["g0", "g1"].map(|device| Endpoint { device, queue });
        let bound = xdp::bind(CoreId(core), FRAMES, ends).map_err(|error| failure(&error))?;
        let Bound {
            ports: [outer, inner],
            pool,
            ..
        } = bound;
        register(&steering, Side::Outer, queue, &outer)?;
        register(&steering, Side::Core, queue, &inner)?;
        pairs.push(Pair {
            outer,
            core: inner,
            pool,
        });
    }
    for (side, device) in [(Side::Outer, "g0"), (Side::Core, "g1")] {
        steering
            .attach(side, device)
            .map_err(|error| failure(&error))?;
    }
    let pairs = <[Pair; SYSTEMS]>::try_from(pairs).map_err(|_| failure(&"not all systems"))?;
    Ok((steering, pairs))
}

/// In the clients' namespace: everything that either system sends goes to the sink, not to the kernel.
fn client_side() -> Result<(Steering, Steering, Ends), Failure> {
    let failure = xdp_failure("c0, l0");
    let ends = [
        ("c0", 0),
        ("l0", 0),
        ("c0", 1),
        ("l0", 1),
        ("c0", 2),
        ("l0", 2),
    ]
    .map(|(device, queue)| Endpoint { device, queue });
    let bound = xdp::bind(CoreId(9), END_FRAMES, ends).map_err(|error| failure(&error))?;
    let [c0, l0, c1, l1, c2, l2] = bound.ports;
    let mut sinks = Vec::new();
    for (device, ports) in [("c0", [&c0, &c1, &c2]), ("l0", [&l0, &l1, &l2])] {
        let mut steering = Steering::load().map_err(|error| failure(&error))?;
        for network in [CLIENT, SESSION, HOST] {
            steering
                .add_pool(network, 16)
                .map_err(|error| failure(&error))?;
        }
        for (port, queue) in ports.into_iter().zip(0..) {
            register(&steering, Side::Core, queue, port)?;
        }
        steering
            .attach(Side::Core, device)
            .map_err(|error| failure(&error))?;
        sinks.push(steering);
    }
    let [outer, core] =
        <[Steering; 2]>::try_from(sinks).map_err(|_| failure(&"not two devices"))?;
    let ends = Ends {
        ports: [[c0, l0], [c1, l1], [c2, l2]],
        pool: bound.pool,
    };
    Ok((outer, core, ends))
}

fn register(steering: &Steering, side: Side, queue: u32, port: &XdpPort) -> Result<(), Failure> {
    let failure = xdp_failure("socket map");
    let mut map = steering
        .sockets(side)
        .and_then(SocketMap::new)
        .map_err(|error| failure(&error))?;
    match port.fd() {
        Some(fd) => map.set(queue, fd).map_err(|error| failure(&error)),
        None => Err(failure(&"a port without socket")),
    }
}
