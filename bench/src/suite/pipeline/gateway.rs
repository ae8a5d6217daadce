//! One worker with as many clients as wanted, and the packets that they and the network would send.

use std::net::SocketAddrV4;

use culvert_crypto::Suite;
use culvert_dataplane::api::{
    Activation, Answer, Command, CoreDevice, CoreId, DataplaneConfig, Device, Encapsulation,
    InboundSpec, KeyMaterial, Limits, OutboundSpec, Phase, PppFraming, Sequencing, SessionId,
    SessionRow, SessionSpec, SetId, SetSpec, Spi, Start, Ticket, TunnelId, spi,
};
use culvert_dataplane::frame::FramePool;
use culvert_dataplane::link::{self, Link, Report};
use culvert_dataplane::mem::continuity::{self, Continuity};
use culvert_dataplane::moment::Moment;
use culvert_dataplane::worker::Worker;
use culvert_wire::eth::MacAddress;

use super::packet;
use super::rotation::{self, IN_FLIGHT, Loader, RotationPort};
use crate::failure::Failure;

/// Packets of one rotation.
pub(super) const ROTATION: usize = 2_048;

/// Where everything is.
pub(super) mod address {
    use std::net::Ipv4Addr;

    pub(in super::super) const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
    pub(in super::super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
    pub(in super::super) const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 7);

    /// Outer address of client `number`.
    pub(in super::super) fn outer(number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(Ipv4Addr::new(100, 64, 0, 0).to_bits() + number)
    }

    /// Inner address of client `number`.
    pub(in super::super) fn inner(number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 2).to_bits() + number)
    }
}

/// A worker between two ports, and its clients.
#[derive(Debug)]
pub(super) struct Gateway {
    worker: Worker<RotationPort>,
    link: Link,
    /// What comes from the clients.
    pub(super) outer: Loader,
    /// What comes from the network.
    pub(super) core: Loader,
    batch: usize,
    suite: Suite,
    encapsulation: Encapsulation,
    /// Next sequence number of each client.
    sequences: Vec<u32>,
    now: Moment,
}

impl Gateway {
    /// Installs `clients` clients, each with a set, two SAs and a session of its own.
    ///
    /// # Errors
    /// If the worker refuses one.
    pub(super) fn new(
        suite: Suite,
        encapsulation: Encapsulation,
        clients: u32,
    ) -> Result<Self, Failure> {
        let shards = clients.div_ceil(spi::ROWS);
        let shards =
            u16::try_from(shards).map_err(|_| Failure::Gateway("too many clients".into()))?;
        let memory = continuity::create(shards, 1_024)
            .and_then(|fd| Continuity::open(&fd).map_err(std::io::Error::other))
            .map_err(Failure::io("continuity memory"))?;
        let frames = 2 * (ROTATION + IN_FLIGHT) + 1_024;
        let config = config(clients, shards, frames);
        let (near, link) = link::pair(CoreId(0)).map_err(Failure::io("link"))?;
        let (outer_port, outer) = rotation::pair(ROTATION);
        let (core_port, core) = rotation::pair(ROTATION);
        let pool = FramePool::on_pages(CoreId(0), frames).map_err(Failure::io("packet memory"))?;
        let ports = (outer_port, core_port);
        let worker = Worker::new(&config, ports, pool, 0..shards, memory, near);
        let mut gateway = Self {
            worker,
            link,
            outer,
            core,
            batch: 1,
            suite,
            encapsulation,
            sequences: vec![1; clients as usize],
            now: Moment::from_micros(1_000_000),
        };
        for number in 0..clients {
            gateway.install(number)?;
        }
        Ok(gateway)
    }

    /// One turn of the worker.
    #[inline]
    pub(super) fn turn(&mut self) {
        self.worker.turn(self.now);
    }

    /// Packets sent on either port so far, and packets dropped.
    pub(super) fn sent_and_dropped(&self) -> (u64, u64) {
        let counters = &self.worker.rows().counters;
        let dropped = counters.outer.dropped.iter().chain(&counters.core.dropped);
        (
            counters.outer.sent + counters.core.sent,
            dropped.sum::<u64>(),
        )
    }

    /// Loads the port that `path` begins at with a packet of `len` bytes, inner header included, of client `number`.
    ///
    /// Returns false if no frame is left.
    pub(super) fn load_up(&mut self, number: u32, len: usize) -> bool {
        let sequence = self.sequences[number as usize];
        self.sequences[number as usize] += 1;
        let (suite, encapsulation) = (self.suite, self.encapsulation);
        self.outer
            .load(|frame| packet::sealed(frame, suite, encapsulation, number, sequence, len))
    }

    /// As [`Self::load_up`], from the network.
    pub(super) fn load_down(&mut self, number: u32, len: usize) -> bool {
        self.core
            .load(|frame| packet::from_core(frame, number, len))
    }

    fn install(&mut self, number: u32) -> Result<(), Failure> {
        let (suite, set) = (self.suite, SetId(number));
        let keys = || KeyMaterial::new(packet::keys(suite, number).into());
        let port = match self.encapsulation {
            Encapsulation::EspInUdp => 4_500,
            Encapsulation::Esp | Encapsulation::Clear => 500,
        };
        self.command(Command::OpenSet(SetSpec {
            id: set,
            local: (address::SERVER, port).into(),
            remote: SocketAddrV4::new(address::outer(number), port).into(),
            encapsulation: self.encapsulation,
        }))?;
        self.command(Command::AddInbound(InboundSpec {
            spi: packet::inbound_spi(number),
            set,
            suite,
            keys: keys(),
            replay_window: 1_024,
            start: Start::Fresh,
        }))?;
        self.command(Command::AddOutbound(OutboundSpec {
            spi: Spi(0x1_0000 + number),
            set,
            twin: packet::inbound_spi(number),
            suite,
            keys: keys(),
            activation: Activation::Now,
            start: Start::Fresh,
        }))?;
        self.command(Command::OpenSession(SessionSpec {
            row: SessionRow(number),
            set,
            local_port: 1_701,
            remote_port: 1_701,
            local_tunnel: TunnelId(7),
            local_session: SessionId(9),
            peer_tunnel: TunnelId(1),
            peer_session: SessionId(2),
            sequencing: Sequencing::Off,
            framing: PppFraming::default(),
            phase: Phase::Open {
                address: address::inner(number),
                mru: 1_460,
            },
        }))
    }

    fn command(&mut self, command: Command) -> Result<(), Failure> {
        let refused =
            |refusal| Failure::Gateway(format!("the worker refused a command: {refusal:?}"));
        self.link
            .submit(Ticket(1), command, Some(MacAddress([4; 6])))
            .map_err(refused)?;
        self.turn();
        loop {
            match self.link.poll() {
                Some(Report::Answer(Answer::Done(_))) => return Ok(()),
                Some(Report::Answer(Answer::Refused(_, refusal))) => return Err(refused(refusal)),
                Some(_) => {}
                None => return Err(Failure::Gateway("the worker gave no answer".into())),
            }
        }
    }

    /// From now on the ports give `batch` packets at once.
    pub(super) fn set_batch(&mut self, batch: usize) {
        self.outer.set_batch(batch);
        self.core.set_batch(batch);
        self.batch = batch;
    }

    /// Packets that the ports give at once.
    pub(super) const fn batch(&self) -> usize {
        self.batch
    }

    /// The crypto engine's name.
    pub(super) fn engine(&self) -> &'static str {
        self.worker.rows().engine.name()
    }

    /// Takes in what the worker told meanwhile.
    pub(super) fn listen(&mut self) {
        while self.link.poll().is_some() {}
    }
}

fn config(clients: u32, shards: u16, frames: usize) -> DataplaneConfig {
    let device = |index, mac| Device {
        name: String::new(),
        index,
        mac,
        mtu: 1_600,
    };
    DataplaneConfig {
        outer: device(1, [2, 0, 0, 0, 0, 1]),
        core: CoreDevice::Veth {
            device: device(2, [2, 0, 0, 0, 0, 2]),
            kernel_mac: [2, 0, 0, 0, 0, 3],
        },
        workers: Vec::new(),
        local_addresses: vec![address::SERVER.into()],
        gateway: address::GATEWAY,
        clear_l2tp: Vec::new(),
        limits: Limits {
            sets: clients,
            sessions: clients,
            shards,
            frames: u32::try_from(frames).unwrap_or(u32::MAX),
        },
    }
}
