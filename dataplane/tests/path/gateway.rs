//! A worker with in-memory ports, and what control and the network would do around it.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use culvert_crypto::Suite;
use culvert_dataplane::api::{
    Activation, Answer, Command, CoreDevice, CoreId, DataplaneConfig, Device, Encapsulation, Event,
    InboundSpec, KeyMaterial, Limits, OutboundSpec, Phase, PppFraming, PuntSource, Refusal,
    Sequencing, SessionId, SessionRow, SessionSpec, SetId, SetSpec, Spi, Start, Ticket, TunnelId,
    WorkerConfig,
};
use culvert_dataplane::frame::FramePool;
use culvert_dataplane::handoff::{self, Exchange};
use culvert_dataplane::link::{self, Link, Report, Snapshot};
use culvert_dataplane::mem::continuity::{self, Continuity};
use culvert_dataplane::moment::Moment;
use culvert_dataplane::port::memory::{self, MemoryPort, Peer};
use culvert_dataplane::verdict::{Counters, PuntKind, Reason};
use culvert_dataplane::worker::{self, Worker};
use culvert_wire::eth::{self, EtherType, MacAddress};
use culvert_wire::ipv4;
use culvert_wire::udp;
use std::os::fd::OwnedFd;

pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 101);
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);
pub(crate) const INNER: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 10);
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 10);
pub(crate) const OUTER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
pub(crate) const CORE_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
pub(crate) const KERNEL_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 3]);
pub(crate) const ROUTER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 4]);

pub(crate) const FRAMES: usize = 1_024;
const DEPTH: usize = 256;

/// A punted packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Punted {
    pub(crate) kind: PuntKind,
    pub(crate) source: PuntSource,
    pub(crate) bytes: Vec<u8>,
}

/// One core with everything around it.
pub(crate) struct Gateway {
    worker: Worker<MemoryPort>,
    pub(crate) outer: Peer,
    pub(crate) core: Peer,
    pub(crate) link: Link,
    pub(crate) now: Moment,
    tickets: u64,
    pub(crate) reports: Vec<Report>,
}

pub(crate) fn config() -> DataplaneConfig {
    let device = |name: &str, mac: MacAddress| Device {
        name: name.to_owned(),
        index: 1,
        mac: mac.0,
        mtu: 1_500,
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
        local_addresses: vec![SERVER.into()],
        gateway: GATEWAY,
        clear_l2tp: Vec::new(),
        limits: Limits {
            sets: 64,
            sessions: 64,
            shards: 1_024,
            frames: FRAMES as u32,
        },
    }
}

impl Gateway {
    pub(crate) fn new() -> Self {
        Self::with(&config(), 1)
    }

    /// A gateway that owns the shard of `spi`.
    pub(crate) fn for_spi(spi: Spi) -> Self {
        let shard = culvert_dataplane::api::spi::shard(spi) as u16;
        let memory = continuity::create(1_024, 1_024).unwrap();
        Self::on(&config(), &memory, shard..shard + 1, FRAMES)
    }

    pub(crate) fn with(config: &DataplaneConfig, shards: u16) -> Self {
        let memory = continuity::create(shards, 1_024).unwrap();
        Self::on(config, &memory, 0..shards, FRAMES)
    }

    pub(crate) fn on(
        config: &DataplaneConfig,
        memory: &OwnedFd,
        shards: std::ops::Range<u16>,
        frames: usize,
    ) -> Self {
        let mut all = Continuity::open(memory).unwrap();
        let continuity = all.split_off(shards.clone());
        Self::assemble(config, CoreId(0), shards, continuity, frames, None)
    }

    /// As many cores as `workers`, connected with each other; the n-th owns shard n.
    pub(crate) fn cores(workers: u16) -> Vec<Self> {
        Self::sharing(workers, workers)
    }

    /// As many cores as `workers`, connected with each other, that share `shards`.
    pub(crate) fn sharing(workers: u16, shards: u16) -> Vec<Self> {
        let mut config = config();
        config.limits.shards = shards;
        let mut all = Continuity::open(&continuity::create(shards, 1_024).unwrap()).unwrap();
        let mesh = handoff::mesh(usize::from(workers), shards, config.limits.sessions).unwrap();
        let core = |(core, exchange): (u16, Exchange)| {
            let shards = worker::shards(shards, CoreId(core as u8), usize::from(workers));
            let continuity = all.split_off(shards.clone());
            Self::assemble(
                &config,
                CoreId(core as u8),
                shards,
                continuity,
                FRAMES,
                Some(exchange),
            )
        };
        (0..workers).zip(mesh).map(core).collect()
    }

    fn assemble(
        config: &DataplaneConfig,
        core: CoreId,
        shards: std::ops::Range<u16>,
        continuity: Continuity,
        frames: usize,
        exchange: Option<Exchange>,
    ) -> Self {
        let (outer_port, outer) = memory::pair(DEPTH);
        let (core_port, inner) = memory::pair(DEPTH);
        let (near, link) = link::pair(core).unwrap();
        let pool = FramePool::in_memory(core, frames);
        let ports = (outer_port, core_port);
        let mut worker = Worker::new(config, ports, pool, shards, continuity, near);
        if let Some(exchange) = exchange {
            worker = worker.joined_by(exchange);
        }
        let mut gateway = Self {
            worker,
            outer,
            core: inner,
            link,
            now: Moment::from_micros(1_000_000),
            tickets: 0,
            reports: Vec::new(),
        };
        gateway.turn();
        gateway
    }

    /// The worker, to be run elsewhere, and the ends that stay: outer, core, link.
    pub(crate) fn into_parts(self) -> (Worker<MemoryPort>, Peer, Peer, Link) {
        (self.worker, self.outer, self.core, self.link)
    }

    /// Frames that are here: free or in rings of the ports.
    pub(crate) fn frames(&self) -> usize {
        self.worker.rows().pool.free() + self.worker.held_by_ports()
    }

    /// Frames that are here on their way: held for reassembly, handed over by another core, or waiting to go home.
    pub(crate) fn frames_passing(&self) -> usize {
        let rows = self.worker.rows();
        let held = rows.counters.outer.in_flight as usize;
        held + rows.pool.strays() + self.worker.handed_waiting()
    }

    pub(crate) fn turn(&mut self) {
        self.worker.turn(self.now);
        while let Some(report) = self.link.poll() {
            self.reports.push(report);
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Carries out one command.
    pub(crate) fn try_command(&mut self, command: Command) -> Result<(), Refusal> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.link.submit(ticket, command, Some(ROUTER_MAC))?;
        self.turn();
        let answer = self.reports.iter().position(|report| match report {
            Report::Answer(Answer::Done(done)) => *done == ticket,
            Report::Answer(Answer::Refused(refused, _)) => *refused == ticket,
            _ => false,
        });
        match self
            .reports
            .remove(answer.expect("every command is answered"))
        {
            Report::Answer(Answer::Done(_)) => Ok(()),
            Report::Answer(Answer::Refused(_, refusal)) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn command(&mut self, command: Command) {
        let shown = format!("{command:?}");
        assert_eq!(self.try_command(command), Ok(()), "{shown}");
    }

    /// Hands in frames from outside, in bursts that the ring holds, and returns what came out on the core side.
    pub(crate) fn up(&mut self, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for burst in frames.chunks(64) {
            for frame in burst {
                assert!(self.outer.send(frame));
            }
            self.turn();
            sent.extend(std::iter::from_fn(|| self.core.take()));
        }
        sent
    }

    /// Hands in frames from the core side, and returns what came out outside.
    pub(crate) fn down(&mut self, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for burst in frames.chunks(64) {
            for frame in burst {
                assert!(self.core.send(frame));
            }
            self.turn();
            sent.extend(std::iter::from_fn(|| self.outer.take()));
        }
        sent
    }

    pub(crate) fn punts(&mut self) -> Vec<Punted> {
        let mut punted = Vec::new();
        while let Some((kind, buffer)) = self.link.take_punt() {
            punted.push(Punted {
                kind,
                source: buffer.source(),
                bytes: buffer.bytes().to_vec(),
            });
            self.link.give_back(kind, buffer);
        }
        punted
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.reports.retain(|report| match report {
            Report::Answer(Answer::Event(_, event)) => {
                events.push(event.clone());
                false
            }
            _ => true,
        });
        events
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.worker.rows().counters
    }

    pub(crate) fn dropped(&self, reason: Reason) -> u64 {
        self.counters().dropped_for(reason)
    }

    pub(crate) fn snapshot(&mut self) -> Snapshot {
        self.link.count().unwrap();
        self.turn();
        let counted = |report: &Report| matches!(report, Report::Counted(_));
        let place = self.reports.iter().position(counted).unwrap();
        match self.reports.remove(place) {
            Report::Counted(snapshot) => *snapshot,
            other => panic!("{other:?}"),
        }
    }

    /// Where the SA's last packet had its inner header.
    pub(crate) fn place(&self, inbound: Spi) -> u8 {
        let sas = &self.worker.rows().sas;
        sas.inbound(sas.find(inbound).unwrap()).unwrap().place
    }

    /// Every packet has an end, and every frame a place.
    pub(crate) fn assert_accounted(&self) {
        let rows = self.worker.rows();
        assert!(rows.counters.is_balanced(), "{:#?}", rows.counters);
        let held = rows.counters.outer.in_flight as usize;
        let found = rows.pool.free() + self.worker.held_by_ports() + held;
        assert_eq!(found, rows.pool.total(), "frames are conserved");
    }
}

/// Names of one client's rows and ids in both directions.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) set: SetId,
    pub(crate) row: SessionRow,
    pub(crate) encapsulation: Encapsulation,
    pub(crate) suite: Suite,
    pub(crate) remote: SocketAddrV4,
    pub(crate) inbound: Spi,
    pub(crate) outbound: Spi,
    pub(crate) inbound_key: Vec<u8>,
    pub(crate) outbound_key: Vec<u8>,
    pub(crate) address: Ipv4Addr,
    pub(crate) mru: u16,
    pub(crate) framing: PppFraming,
    pub(crate) sequencing: Sequencing,
}

impl Client {
    pub(crate) fn new(suite: Suite, encapsulation: Encapsulation) -> Self {
        let key = |seed: u8| (0..suite.key_len()).map(|byte| byte as u8 ^ seed).collect();
        let port = match encapsulation {
            Encapsulation::Esp => 500,
            Encapsulation::EspInUdp => 31_234,
            Encapsulation::Clear => 1_701,
        };
        Self {
            set: SetId(3),
            row: SessionRow(5),
            encapsulation,
            suite,
            remote: SocketAddrV4::new(CLIENT, port),
            inbound: Spi(0x0000_7ABC),
            outbound: Spi(0x0000_9DEF),
            inbound_key: key(0x5A),
            outbound_key: key(0xC3),
            address: INNER,
            mru: 1_400,
            framing: PppFraming::default(),
            sequencing: Sequencing::Off,
        }
    }

    pub(crate) fn local_port(&self) -> u16 {
        match self.encapsulation {
            Encapsulation::Esp => 500,
            Encapsulation::EspInUdp => 4_500,
            Encapsulation::Clear => 1_701,
        }
    }

    pub(crate) fn set_spec(&self) -> SetSpec {
        SetSpec {
            id: self.set,
            local: SocketAddr::from((SERVER, self.local_port())),
            remote: self.remote.into(),
            encapsulation: self.encapsulation,
        }
    }

    pub(crate) fn inbound_spec(&self) -> InboundSpec {
        InboundSpec {
            spi: self.inbound,
            set: self.set,
            suite: self.suite,
            keys: KeyMaterial::new(self.inbound_key.clone().into()),
            replay_window: 1_024,
            start: Start::Fresh,
        }
    }

    pub(crate) fn outbound_spec(&self) -> OutboundSpec {
        OutboundSpec {
            spi: self.outbound,
            set: self.set,
            twin: self.inbound,
            suite: self.suite,
            keys: KeyMaterial::new(self.outbound_key.clone().into()),
            activation: Activation::Now,
            start: Start::Fresh,
        }
    }

    pub(crate) fn session_spec(&self) -> SessionSpec {
        SessionSpec {
            row: self.row,
            set: self.set,
            local_port: 1_701,
            remote_port: 1_701,
            local_tunnel: TunnelId(0x1111),
            local_session: SessionId(0x2222),
            peer_tunnel: TunnelId(0x3333),
            peer_session: SessionId(0x4444),
            sequencing: self.sequencing,
            framing: self.framing,
            phase: Phase::Open {
                address: self.address,
                mru: self.mru,
            },
        }
    }

    /// Everything that control installs for it.
    pub(crate) fn install(&self, gateway: &mut Gateway) {
        gateway.command(Command::OpenSet(self.set_spec()));
        if self.encapsulation != Encapsulation::Clear {
            gateway.command(Command::AddInbound(self.inbound_spec()));
            gateway.command(Command::AddOutbound(self.outbound_spec()));
        }
        gateway.command(Command::OpenSession(self.session_spec()));
    }

    /// The same client seen from the other side: a gateway with these rows opens what the other one sealed.
    pub(crate) fn mirrored(&self) -> Self {
        let mut mirror = self.clone();
        std::mem::swap(&mut mirror.inbound_key, &mut mirror.outbound_key);
        mirror.inbound = self.outbound;
        mirror.outbound = self.inbound;
        mirror
    }
}

/// An Ethernet frame with an IPv4 packet.
pub(crate) fn frame(source: MacAddress, destination: MacAddress, packet: &[u8]) -> Vec<u8> {
    let header = eth::Header {
        destination,
        source,
        tags: [None; 2],
        ether_type: EtherType::IPV4,
    };
    let mut frame = vec![0; 14];
    header.emit(&mut frame).unwrap();
    frame.extend(packet);
    frame
}

/// An IPv4 packet.
pub(crate) fn ip(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: ipv4::Protocol,
    payload: &[u8],
) -> Vec<u8> {
    let header = ipv4::Header {
        traffic_class: 0,
        total_len: (20 + payload.len()) as u16,
        identification: 0x0102,
        dont_fragment: false,
        fragment: ipv4::Fragment::default(),
        ttl: 64,
        protocol,
        source,
        destination,
    };
    let mut packet = header.to_bytes().to_vec();
    packet.extend(payload);
    packet
}

/// A UDP datagram without checksum.
pub(crate) fn udp(source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let header = udp::Header {
        source_port: udp::Port(source_port),
        destination_port: udp::Port(destination_port),
        total_len: (8 + payload.len()) as u16,
        checksum: 0,
    };
    let mut datagram = header.to_bytes().to_vec();
    datagram.extend(payload);
    datagram
}

/// A frame from a client to us.
pub(crate) fn from_client(protocol: ipv4::Protocol, payload: &[u8]) -> Vec<u8> {
    frame(
        ROUTER_MAC,
        OUTER_MAC,
        &ip(CLIENT, SERVER, protocol, payload),
    )
}

/// A frame from the network behind us.
pub(crate) fn from_core(packet: &[u8]) -> Vec<u8> {
    frame(KERNEL_MAC, CORE_MAC, packet)
}

/// The IPv4 packet in a frame.
pub(crate) fn packet_of(frame: &[u8]) -> ipv4::Packet<'_> {
    let packet = ipv4::Packet::parse(&frame[14..]).unwrap();
    assert!(packet.checksum_ok());
    packet
}

impl Gateway {
    /// What was dropped, by name.
    pub(crate) fn drops(&self) -> Vec<(&'static str, u64)> {
        let named = |reason: Reason| (reason.name(), self.dropped(reason));
        Reason::ALL
            .into_iter()
            .map(named)
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}
