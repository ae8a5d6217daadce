//! The packet path allocates nothing: a counting allocator watches a worker at work in both directions, in every suite.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a global allocator is unsafe to write; a test that is wrong may panic"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddrV4};

use culvert_crypto::{Engine, SealContext, SealOp, Suite};
use culvert_dataplane::api::{
    Activation, Answer, Command, CoreDevice, CoreId, DataplaneConfig, Device, Encapsulation,
    InboundSpec, KeyMaterial, Limits, OutboundSpec, Phase, PppFraming, Sequencing, SessionId,
    SessionRow, SessionSpec, SetId, SetSpec, Spi, Start, Ticket, TunnelId,
};
use culvert_dataplane::frame::FramePool;
use culvert_dataplane::link::{self, Link, Report};
use culvert_dataplane::mem::continuity::{self, Continuity};
use culvert_dataplane::moment::Moment;
use culvert_dataplane::port::memory::{self, MemoryPort, Peer};
use culvert_dataplane::verdict::Reason;
use culvert_dataplane::worker::Worker;
use culvert_wire::eth::{self, EtherType, MacAddress};
use culvert_wire::ipv4::{self, Protocol};
use culvert_wire::{esp, udp};

/// Counts what this thread allocates and frees, and passes everything on.
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches only a thread-local cell that needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller keeps the contract of `dealloc`, and `alloc` came from the same allocator.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for `dealloc`.
        unsafe { System.realloc(at, layout, size) }
    }
}

fn count() {
    CALLS.with(|calls| calls.set(calls.get() + 1));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 101);
const INNER: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 10);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 10);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);
const INBOUND: Spi = Spi(0x7ABC);
const BURSTS: u32 = 6;

struct Bench {
    worker: Worker<MemoryPort>,
    outer: Peer,
    core: Peer,
    link: Link,
    tickets: u64,
}

fn device(index: u32) -> Device {
    Device {
        name: String::new(),
        index,
        mac: [2, 0, 0, 0, 0, index as u8],
        mtu: 1_500,
    }
}

impl Bench {
    fn new(suite: Suite) -> Self {
        let config = DataplaneConfig {
            outer: device(1),
            core: CoreDevice::Veth {
                device: device(2),
                kernel_mac: [2; 6],
            },
            workers: Vec::new(),
            local_addresses: vec![SERVER.into()],
            gateway: GATEWAY,
            clear_l2tp: Vec::new(),
            limits: Limits {
                sets: 4,
                sessions: 4,
                shards: 1,
                frames: 2_048,
            },
        };
        let continuity = Continuity::open(&continuity::create(1, 1_024).unwrap()).unwrap();
        let (outer_port, outer) = memory::pair(512);
        let (core_port, core) = memory::pair(512);
        let (near, link) = link::pair(CoreId(0)).unwrap();
        let pool = FramePool::in_memory(CoreId(0), 2_048);
        let worker = Worker::new(
            &config,
            (outer_port, core_port),
            pool,
            0..1,
            continuity,
            near,
        );
        let mut bench = Self {
            worker,
            outer,
            core,
            link,
            tickets: 0,
        };
        bench.install(suite);
        bench
    }

    fn install(&mut self, suite: Suite) {
        let set = SetId(0);
        let keys = || {
            KeyMaterial::new(
                (0..suite.key_len())
                    .map(|byte| byte as u8)
                    .collect::<Vec<_>>()
                    .into(),
            )
        };
        self.command(Command::OpenSet(SetSpec {
            id: set,
            local: (SERVER, 500).into(),
            remote: SocketAddrV4::new(CLIENT, 500).into(),
            encapsulation: Encapsulation::Esp,
        }));
        self.command(Command::AddInbound(InboundSpec {
            spi: INBOUND,
            set,
            suite,
            keys: keys(),
            replay_window: 1_024,
            start: Start::Fresh,
        }));
        self.command(Command::AddOutbound(OutboundSpec {
            spi: Spi(0x9999),
            set,
            twin: INBOUND,
            suite,
            keys: keys(),
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
                address: INNER,
                mru: 1_400,
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

    /// Hands in both directions' bursts and counts the allocator's calls within the worker's turn.
    fn turn(&mut self, now: Moment, outer: &[Vec<u8>], core: &[Vec<u8>]) -> u64 {
        outer
            .iter()
            .for_each(|frame| assert!(self.outer.send(frame)));
        core.iter().for_each(|frame| assert!(self.core.send(frame)));
        let before = CALLS.with(Cell::get);
        self.worker.turn(now);
        let calls = CALLS.with(Cell::get) - before;
        while self.outer.take().is_some() || self.core.take().is_some() {}
        while let Some((kind, buffer)) = self.link.take_punt() {
            self.link.give_back(kind, buffer);
        }
        while self.link.poll().is_some() {}
        calls
    }
}

fn frame(packet: &[u8]) -> Vec<u8> {
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

fn ip(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol, payload: &[u8]) -> Vec<u8> {
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

/// A sealed packet from the client around `l2tp`.
fn sealed(suite: Suite, sequence: u32, l2tp: &[u8]) -> Vec<u8> {
    let udp = udp::Header {
        source_port: udp::Port(1_701),
        destination_port: udp::Port(1_701),
        total_len: 8 + l2tp.len() as u16,
        checksum: 0,
    };
    let mut plaintext = [&udp.to_bytes()[..], l2tp].concat();
    let trailer = esp::Trailer::aligning(plaintext.len(), suite.alignment(), Protocol::UDP);
    let payload_len = plaintext.len();
    plaintext.resize(trailer.plaintext_len(), 0);
    trailer.emit(&mut plaintext[payload_len..]).unwrap();
    let key: Vec<u8> = (0..suite.key_len()).map(|byte| byte as u8).collect();
    let context = SealContext::new(Engine::PORTABLE, suite, &key).unwrap();
    let header = esp::header(INBOUND, sequence);
    let mut body = vec![0; suite.sealed_len(plaintext.len())];
    let op = SealOp::new(
        &context,
        &header,
        context.iv(sequence.into()),
        &plaintext,
        &mut body,
    )
    .unwrap();
    Engine::PORTABLE.seal_burst(&mut [op]);
    frame(&ip(
        CLIENT,
        SERVER,
        Protocol::ESP,
        &[&header[..], &body].concat(),
    ))
}

/// Every kind of packet that a busy core sees: forwarded, fragmented, answered, punted, forged, replayed, unknown.
fn outer_burst(suite: Suite, burst: u32) -> Vec<Vec<u8>> {
    let data = |inner: &[u8]| [&[0, 2, 0, 1, 0, 2, 0xFF, 3, 0, 0x21][..], inner].concat();
    let first = burst * 64 + 1;
    let forward = data(&ip(INNER, HOST, Protocol::UDP, &[5; 600]));
    let mut frames: Vec<_> = (0..40)
        .map(|number| sealed(suite, first + number, &forward))
        .collect();
    let mut echo = [0; 16];
    echo[0] = 8;
    let checksum = culvert_wire::checksum::of(&echo);
    echo[2..4].copy_from_slice(&checksum.to_be_bytes());
    frames.push(sealed(
        suite,
        first + 40,
        &data(&ip(INNER, GATEWAY, Protocol::ICMP, &echo)),
    ));
    frames.push(sealed(
        suite,
        first + 41,
        &[0xC8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0],
    ));
    frames.push(sealed(
        suite,
        first + 42,
        &[0, 2, 0, 1, 0, 2, 0xFF, 3, 0xC0, 0x21, 9, 1, 0, 4],
    ));
    frames.push(frames[0].clone());
    let mut forged = sealed(suite, first + 43, &forward);
    *forged.last_mut().unwrap() ^= 1;
    frames.push(forged);
    frames.push(frame(&ip(CLIENT, SERVER, Protocol::ESP, &[9; 80])));
    let whole = sealed(suite, first + 44, &forward);
    let (front, back) = whole[34..].split_at(320);
    for (part, offset, more) in [(back, 320, false), (front, 0, true)] {
        let mut fragment = [&whole[..34], part].concat();
        ipv4::set_fragment(
            &mut fragment[14..],
            20 + part.len() as u16,
            ipv4::Fragment { offset, more },
        );
        frames.push(fragment);
    }
    frames
}

fn core_burst() -> Vec<Vec<u8>> {
    let packet = |len: usize| frame(&ip(HOST, INNER, Protocol::UDP, &vec![3; len]));
    let mut frames: Vec<_> = (0..40).map(|_| packet(700)).collect();
    frames.push(packet(3_000));
    frames.push(frame(&ip(HOST, GATEWAY, Protocol::UDP, &[0; 30])));
    let mut forbidden = ip(HOST, INNER, Protocol::UDP, &[0; 1_450]);
    forbidden[6] = 0x40;
    forbidden[10..12].fill(0);
    let checksum = culvert_wire::checksum::of(&forbidden[..20]);
    forbidden[10..12].copy_from_slice(&checksum.to_be_bytes());
    frames.push(frame(&forbidden));
    frames
}

#[test]
fn the_counter_counts() {
    let before = CALLS.with(Cell::get);
    drop(std::hint::black_box(vec![0_u8; 100]));
    assert_eq!(CALLS.with(Cell::get) - before, 2);
}

#[test]
fn a_busy_worker_allocates_nothing() {
    for suite in Suite::ALL {
        let mut bench = Bench::new(suite);
        let core = core_burst();
        for burst in 0..BURSTS {
            let outer = outer_burst(suite, burst);
            let now = Moment::from_micros(1_000_000 * u64::from(burst + 1));
            assert_eq!(
                bench.turn(now, &outer, &core),
                0,
                "{suite:?}, burst {burst}"
            );
        }
        let counters = &bench.worker.rows().counters;
        assert!(counters.is_balanced());
        let bursts = u64::from(BURSTS);
        // Forwarded, reassembled and answered; then cut, and whole.
        assert_eq!(
            (counters.outer.sent, counters.outer.punted),
            (42 * bursts, 2 * bursts),
            "{suite:?}"
        );
        assert_eq!(
            (counters.core.sent, counters.core.split),
            (44 * bursts, 2 * bursts)
        );
        for reason in [
            Reason::Forged,
            Reason::ReplayDuplicate,
            Reason::UnknownSpi,
            Reason::NoRoute,
            Reason::TooBig,
        ] {
            assert_eq!(counters.dropped_for(reason), bursts, "{}", reason.name());
        }
    }
}
