//! Workers on in-memory ports with one client each, for what watches them at work: the allocation counter and the instruction counter.
#![allow(dead_code, reason = "each of its users needs a part of it")]

use std::net::{Ipv4Addr, SocketAddrV4};

use culvert_crypto::{Engine, SealContext, SealOp, Suite};
use culvert_dataplane::api::{
    Activation, Answer, Command, CoreDevice, CoreId, DataplaneConfig, Device, Encapsulation,
    InboundSpec, KeyMaterial, Limits, OutboundSpec, Phase, PppFraming, Sequencing, SessionId,
    SessionRow, SessionSpec, SetId, SetSpec, Spi, Start, Ticket, TunnelId, spi,
};
use culvert_dataplane::frame::FramePool;
use culvert_dataplane::handoff::{self, Exchange};
use culvert_dataplane::link::{self, Link, Report};
use culvert_dataplane::mem::continuity::{self, Continuity};
use culvert_dataplane::moment::Moment;
use culvert_dataplane::port::memory::{self, MemoryPort, Peer};
use culvert_dataplane::worker::{self, Worker};
use culvert_wire::eth::{self, EtherType, MacAddress};
use culvert_wire::ipv4::{self, Protocol};
use culvert_wire::{esp, udp};

pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 101);
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 10);
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);

const FRAMES: u32 = 2_048;
const PORT: u16 = 31_234;

/// What a client uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) suite: Suite,
    pub(crate) encapsulation: Encapsulation,
    pub(crate) engine: Engine,
    /// Of both devices.
    pub(crate) mtu: u16,
}

/// A worker with a client.
pub(crate) struct Bench {
    pub(crate) worker: Worker<MemoryPort>,
    pub(crate) outer: Peer,
    pub(crate) core: Peer,
    pub(crate) link: Link,
    setting: Setting,
    number: u8,
    tickets: u64,
}

fn device(index: u32, mtu: u16) -> Device {
    Device {
        name: String::new(),
        index,
        mac: [2, 0, 0, 0, 0, index as u8],
        mtu,
    }
}

fn config(setting: Setting, cores: u16) -> DataplaneConfig {
    DataplaneConfig {
        outer: device(1, setting.mtu),
        core: CoreDevice::Veth {
            device: device(2, setting.mtu),
            kernel_mac: [2; 6],
        },
        workers: Vec::new(),
        local_addresses: vec![SERVER.into()],
        gateway: GATEWAY,
        clear_l2tp: Vec::new(),
        limits: Limits {
            sets: 4,
            sessions: 4,
            shards: cores,
            frames: FRAMES,
        },
    }
}

/// As many workers, connected with each other.
pub(crate) fn benches(setting: Setting, cores: u8) -> Vec<Bench> {
    let shards = u16::from(cores);
    let config = config(setting, shards);
    let mut all = Continuity::open(&continuity::create(shards, 1_024).unwrap()).unwrap();
    let mesh = handoff::mesh(cores.into(), shards, config.limits.sessions).unwrap();
    let bench = |(number, exchange): (u8, Exchange)| {
        let shards = worker::shards(shards, CoreId(number), cores.into());
        let continuity = all.split_off(shards.clone());
        let (outer_port, outer) = memory::pair(512);
        let (core_port, core) = memory::pair(512);
        let (near, link) = link::pair(CoreId(number)).unwrap();
        let link = link.with_engine(setting.engine);
        let pool = FramePool::in_memory(CoreId(number), FRAMES as usize);
        let ports = (outer_port, core_port);
        let worker = Worker::new(&config, ports, pool, shards, continuity, near)
            .with_engine(setting.engine)
            .joined_by(exchange);
        let mut bench = Bench {
            worker,
            outer,
            core,
            link,
            setting,
            number,
            tickets: 0,
        };
        bench.install();
        bench
    };
    (0..cores).zip(mesh).map(bench).collect()
}

impl Bench {
    fn inbound(&self) -> Spi {
        spi::compose(self.number.into(), 7, 0xABC)
    }

    /// The client's own address.
    pub(crate) fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 1, 10 + self.number)
    }

    fn key(&self) -> Vec<u8> {
        (0..96).take(self.setting.suite.key_len()).collect()
    }

    fn install(&mut self) {
        let (set, suite) = (SetId(0), self.setting.suite);
        let port = match self.setting.encapsulation {
            Encapsulation::EspInUdp => (4_500, PORT),
            Encapsulation::Esp | Encapsulation::Clear => (500, 500),
        };
        self.command(Command::OpenSet(SetSpec {
            id: set,
            local: (SERVER, port.0).into(),
            remote: SocketAddrV4::new(CLIENT, port.1).into(),
            encapsulation: self.setting.encapsulation,
        }));
        self.command(Command::AddInbound(InboundSpec {
            spi: self.inbound(),
            set,
            suite,
            keys: KeyMaterial::new(self.key().into()),
            replay_window: 1_024,
            start: Start::Fresh,
        }));
        self.command(Command::AddOutbound(OutboundSpec {
            spi: Spi(0x9999),
            set,
            twin: self.inbound(),
            suite,
            keys: KeyMaterial::new(self.key().into()),
            activation: Activation::Now,
            start: Start::Fresh,
        }));
        self.command(Command::OpenSession(SessionSpec {
            row: SessionRow(0),
            set,
            local_port: 1_701,
            remote_port: 1_701,
            local_tunnel: TunnelId(1),
            local_session: SessionId(2),
            peer_tunnel: TunnelId(3),
            peer_session: SessionId(4),
            sequencing: Sequencing::Off,
            framing: PppFraming::default(),
            phase: Phase::Open {
                address: self.address(),
                mru: 1_450,
            },
        }));
    }

    fn command(&mut self, command: Command) {
        self.tickets += 1;
        self.link
            .submit(Ticket(self.tickets), command, Some(MacAddress([4; 6])))
            .unwrap();
        self.worker.turn(Moment::START);
        let report = self.link.poll().unwrap();
        assert!(
            matches!(report, Report::Answer(Answer::Done(_))),
            "{report:?}"
        );
    }

    /// Lets frames arrive on both sides.
    pub(crate) fn arrive(&self, outer: &[Vec<u8>], core: &[Vec<u8>]) {
        let arrive = |peer: &Peer, frame: &Vec<u8>| assert!(peer.send(frame));
        outer.iter().for_each(|frame| arrive(&self.outer, frame));
        core.iter().for_each(|frame| arrive(&self.core, frame));
    }

    /// Takes everything that the worker gave; returns how many frames on each side.
    pub(crate) fn take_all(&mut self) -> (usize, usize) {
        let count =
            |peer: &Peer| std::iter::from_fn(|| peer.take_with(|_| ()).then_some(())).count();
        while let Some((kind, buffer)) = self.link.take_punt() {
            self.link.give_back(kind, buffer);
        }
        while self.link.poll().is_some() {}
        (count(&self.outer), count(&self.core))
    }

    /// A sealed packet from the client around `l2tp`.
    pub(crate) fn sealed(&self, sequence: u32, l2tp: &[u8]) -> Vec<u8> {
        let suite = self.setting.suite;
        let plaintext = plaintext(suite, &udp_datagram(1_701, 1_701, l2tp));
        let context = SealContext::new(Engine::PORTABLE, suite, &self.key()).unwrap();
        let header = esp::header(self.inbound(), sequence);
        let mut body = vec![0; suite.sealed_len(plaintext.len())];
        let iv = context.iv(sequence.into());
        let op = SealOp::new(&context, &header, iv, &plaintext, &mut body).unwrap();
        Engine::PORTABLE.seal_burst(&mut [op]);
        self.outer_frame(&[&header[..], &body].concat())
    }

    /// An ESP packet from the client, wrapped as its set is.
    pub(crate) fn outer_frame(&self, esp: &[u8]) -> Vec<u8> {
        match self.setting.encapsulation {
            Encapsulation::EspInUdp => {
                let datagram = udp_datagram(PORT, 4_500, esp);
                frame(&ip(CLIENT, SERVER, Protocol::UDP, &datagram))
            }
            Encapsulation::Esp | Encapsulation::Clear => {
                frame(&ip(CLIENT, SERVER, Protocol::ESP, esp))
            }
        }
    }
}

/// An ESP plaintext with padding and trailer.
fn plaintext(suite: Suite, payload: &[u8]) -> Vec<u8> {
    let mut plaintext = payload.to_vec();
    let trailer = esp::Trailer::aligning(payload.len(), suite.alignment(), Protocol::UDP);
    plaintext.resize(trailer.plaintext_len(), 0);
    trailer.emit(&mut plaintext[payload.len()..]).unwrap();
    plaintext
}

/// An L2TP data message of the client's session around an inner packet.
pub(crate) fn data(inner: &[u8]) -> Vec<u8> {
    [&[0, 2, 0, 1, 0, 2, 0xFF, 3, 0, 0x21][..], inner].concat()
}

fn udp_datagram(source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let header = udp::Header {
        source_port: udp::Port(source_port),
        destination_port: udp::Port(destination_port),
        total_len: 8 + payload.len() as u16,
        checksum: 0,
    };
    [&header.to_bytes()[..], payload].concat()
}

/// An Ethernet frame with an IPv4 packet.
pub(crate) fn frame(packet: &[u8]) -> Vec<u8> {
    let header = eth::Header {
        destination: MacAddress([2; 6]),
        source: MacAddress([4; 6]),
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
    protocol: Protocol,
    payload: &[u8],
) -> Vec<u8> {
    let header = ipv4::Header {
        traffic_class: 0,
        total_len: 20 + payload.len() as u16,
        identification: 7,
        dont_fragment: false,
        fragment: ipv4::Fragment::default(),
        ttl: 64,
        protocol,
        source,
        destination,
    };
    [&header.to_bytes()[..], payload].concat()
}
