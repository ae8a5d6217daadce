//! One core of a data plane in memory, and control's commands to it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use culvert_crypto::{AesKey, Suite};
use culvert_dataplane::api::{
    Activation, Answer, Command, CoreDevice, CoreId, DataplaneConfig, Device, Encapsulation,
    InboundSpec, KeyMaterial, Limits, OutboundSpec, Phase, PppFraming, Refusal, Sequencing,
    SessionId, SessionRow, SessionSpec, SetId, SetSpec, Spi, Start, Ticket, TunnelId, WorkerConfig,
    spi,
};
use culvert_dataplane::frame::FramePool;
use culvert_dataplane::link::{self, Link, Report};
use culvert_dataplane::mem::continuity::{self, Continuity};
use culvert_dataplane::moment::Moment;
use culvert_dataplane::port::memory::{self, MemoryPort};
use culvert_dataplane::worker::Worker;
use culvert_wire::eth::MacAddress;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// The core with the ends of its ports and of its link.
pub(super) struct Core {
    worker: Worker<MemoryPort>,
    link: Link,
    _peers: [memory::Peer; 2],
    submitted: u64,
    done: u64,
}

const LOCAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const FIRST_REMOTE: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);
const FIRST_INNER: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 2);
const NEXT_HOP: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);
const NAT_T: u16 = 4_500;
const L2TP: u16 = 1_701;
const SUITE: Suite = Suite::AesGcm(AesKey::Bits128);
const FRAMES: u32 = 1_024;
const RING: usize = 256;
/// Tag of every inbound SPI: RFC 4303 §2.1 reserves the values below 256, which row 0 of shard 0 would else give.
const TAG: u32 = 0x800;
/// Commands between two turns of the core.
const BURST: u64 = 512;

impl Core {
    /// A core with empty rows for `count` sets and sessions.
    pub(super) fn new(count: u32) -> io::Result<Self> {
        let config = config(count);
        let shards = config.limits.shards;
        let memory = continuity::create(shards, continuity::WINDOW_BITS)?;
        let continuity = Continuity::open(&memory).map_err(io::Error::other)?;
        let (outer, outer_peer) = memory::pair(RING);
        let (core, core_peer) = memory::pair(RING);
        let (near, link) = link::pair(CoreId(0))?;
        let frames = usize::try_from(FRAMES).unwrap_or(0);
        let pool = FramePool::in_memory(CoreId(0), frames);
        let worker = Worker::new(&config, (outer, core), pool, 0..shards, continuity, near);
        Ok(Self {
            worker,
            link,
            _peers: [outer_peer, core_peer],
            submitted: 0,
            done: 0,
        })
    }

    /// Gives the commands for the tunnel with this number: set, both SAs, session.
    pub(super) fn install(&mut self, number: u32) -> Result<(), Failure> {
        for command in commands(number) {
            self.link
                .submit(Ticket(self.submitted), command, Some(NEXT_HOP))
                .map_err(refused)?;
            self.submitted += 1;
            if self.submitted - self.done >= BURST {
                self.turn()?;
            }
        }
        Ok(())
    }

    /// Has the core take what it was given.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        while self.done < self.submitted {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Failure> {
        self.worker.turn(Moment::START);
        while let Some(report) = self.link.poll() {
            match report {
                Report::Answer(Answer::Done(_)) => self.done += 1,
                Report::Answer(Answer::Refused(_, refusal)) => return Err(refused(refusal)),
                Report::Answer(Answer::Event(..))
                | Report::WantNeighbour(_)
                | Report::Counted(_) => {}
            }
        }
        Ok(())
    }
}

fn refused(refusal: Refusal) -> Failure {
    Failure::Gateway(format!("a command was refused: {refusal:?}"))
}

fn config(count: u32) -> DataplaneConfig {
    let device = |name: &str, last: u8| Device {
        name: name.to_owned(),
        index: 1,
        mac: [2, 0, 0, 0, 0, last],
        mtu: 1_500,
    };
    DataplaneConfig {
        outer: device("outer", 1),
        core: CoreDevice::Nic(device("core", 2)),
        workers: vec![WorkerConfig {
            cpu: None,
            outer_queue: 0,
            core_queue: 0,
        }],
        local_addresses: vec![LOCAL.into()],
        gateway: Ipv4Addr::new(10, 64, 0, 1),
        clear_l2tp: Vec::new(),
        limits: Limits {
            sets: count,
            sessions: count,
            shards: u16::try_from(count.div_ceil(spi::ROWS)).unwrap_or(u16::MAX),
            frames: FRAMES,
        },
    }
}

fn commands(number: u32) -> [Command; 4] {
    let set = SetId(number);
    let inbound = spi::compose(number / spi::ROWS, number, TAG);
    let outbound = Spi(inbound.0 ^ 0xFFFF_0000);
    let keys = |seed: u8| {
        let mut bytes = Zeroizing::new(vec![seed; SUITE.key_len()]);
        for (place, byte) in bytes.iter_mut().zip(number.to_be_bytes()) {
            *place = byte;
        }
        KeyMaterial::new(bytes)
    };
    let remote = Ipv4Addr::from(u32::from(FIRST_REMOTE).wrapping_add(number));
    let address = Ipv4Addr::from(u32::from(FIRST_INNER).wrapping_add(number));
    [
        Command::OpenSet(SetSpec {
            id: set,
            local: SocketAddr::from((LOCAL, NAT_T)),
            remote: SocketAddr::from((remote, NAT_T)),
            encapsulation: Encapsulation::EspInUdp,
        }),
        Command::AddInbound(InboundSpec {
            spi: inbound,
            set,
            suite: SUITE,
            keys: keys(1),
            replay_window: continuity::WINDOW_BITS,
            start: Start::Fresh,
        }),
        Command::AddOutbound(OutboundSpec {
            spi: outbound,
            set,
            twin: inbound,
            suite: SUITE,
            keys: keys(2),
            activation: Activation::Now,
            start: Start::Fresh,
        }),
        Command::OpenSession(SessionSpec {
            row: SessionRow(number),
            set,
            local_port: L2TP,
            remote_port: L2TP,
            local_tunnel: TunnelId(1),
            local_session: SessionId(1),
            peer_tunnel: TunnelId(1),
            peer_session: SessionId(1),
            sequencing: Sequencing::Off,
            framing: PppFraming::default(),
            phase: Phase::Open {
                address,
                mru: 1_400,
            },
        }),
    ]
}
