//! A worker on AF_XDP between a client's link and a veth pair to the kernel: sealed pings go up, the kernel answers, and the answers come
//! down sealed.
//!
//! ```text
//! client0 10.77.0.1 ── gateway0 10.77.0.2 ═ worker ═ core0 ── kernel0 10.99.0.10
//! UDP 4500, ESP        AF_XDP                         AF_XDP    the kernel, with a route to 10.99.1.10
//! ```

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use culvert_crypto::{AesKey, Engine, Integrity, OpenContext, OpenOp, SealContext, SealOp, Suite};
use culvert_dataplane::api::{
    Activation, Answer, Command, CoreDevice, CoreId, DataplaneConfig, Device, Encapsulation,
    InboundSpec, KeyMaterial, Limits, OutboundSpec, Phase, PppFraming, Sequencing, SessionId,
    SessionRow, SessionSpec, SetId, SetSpec, Spi, Start, Ticket, TunnelId, spi,
};
use culvert_dataplane::handoff;
use culvert_dataplane::link::{self, Link, Report, Snapshot};
use culvert_dataplane::mem::continuity::{self, Continuity};
use culvert_dataplane::port::xdp::{Bound, bind};
use culvert_dataplane::ring::Endpoint;
use culvert_dataplane::worker::{self, Worker};
use culvert_dataplane::xdp::{Side, Steering};
use culvert_wire::esp::{self, Trailer};
use culvert_wire::eth::MacAddress;
use culvert_wire::icmp::{Echo, EchoKind};
use culvert_wire::ipv4::{self, Protocol};
use culvert_wire::udp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

use crate::harness::{Namespace, Pair, can_run};
use crate::steer::{GATEWAY, PATIENCE, load, register};

const SUITE: Suite = Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha256_128);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 10);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);

/// Cores that a scene may have.
const MAX_CORES: u8 = 2;

/// Our SPI of the client on `core`.
fn inbound(core: u8) -> Spi {
    spi::compose(core.into(), 7, 0xABC)
}

/// The SPI of that client.
fn outbound(core: u8) -> Spi {
    Spi(0x9DE0 + u32::from(core))
}

/// Its own address.
const fn inner_address(core: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 1, 10 + core)
}

fn key(seed: u8) -> Vec<u8> {
    (0..64)
        .take(SUITE.key_len())
        .map(|byte| byte ^ seed)
        .collect()
}

fn mac(namespace: &Namespace, device: &str) -> [u8; 6] {
    let text = namespace.exec(&format!("cat /sys/class/net/{device}/address"));
    let bytes: Vec<u8> = text
        .trim()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    bytes.try_into().unwrap()
}

/// The kernel's side of the core veth: an address, and a way to the client through our end.
fn make_core(gateway: &Namespace, queues: usize) {
    let queues = format!("numrxqueues {queues} numtxqueues {queues}");
    gateway.ip(&format!(
        "link add core0 {queues} type veth peer name kernel0 {queues}"
    ));
    gateway.exec("ethtool -K kernel0 tx off tso off gso off");
    for device in ["core0", "kernel0"] {
        gateway.ip(&format!("link set {device} up mtu 1500"));
    }
    gateway.ip("addr add 10.99.0.10/16 dev kernel0");
    let text = gateway.exec("cat /sys/class/net/core0/address");
    for core in 0..MAX_CORES {
        let address = inner_address(core);
        gateway.ip(&format!(
            "neigh add {address} lladdr {} dev kernel0",
            text.trim()
        ));
    }
}

fn config(gateway: &Namespace) -> DataplaneConfig {
    let device = |name: &str| Device {
        name: name.to_owned(),
        index: 0,
        mac: mac(gateway, name),
        mtu: 1_500,
    };
    DataplaneConfig {
        outer: device("gateway0"),
        core: CoreDevice::Veth {
            device: device("core0"),
            kernel_mac: mac(gateway, "kernel0"),
        },
        workers: Vec::new(),
        local_addresses: vec![GATEWAY.into()],
        gateway: OWN,
        clear_l2tp: Vec::new(),
        limits: Limits {
            sets: 4,
            sessions: 4,
            shards: 2,
            frames: 2_048,
        },
    }
}

fn steering() -> Steering {
    let mut steering = load();
    steering.add_address(GATEWAY.into()).unwrap();
    steering.add_pool(Ipv4Addr::new(10, 99, 1, 0), 24).unwrap();
    steering.attach(Side::Outer, "gateway0").unwrap();
    steering.attach(Side::Core, "core0").unwrap();
    steering
}

fn endpoint(device: &str, core: u8) -> Endpoint<'_> {
    Endpoint {
        device,
        queue: core.into(),
    }
}

/// What control installs for a client behind `remote`.
fn commands(core: u8, remote: SocketAddr) -> [Command; 4] {
    let set = SetId(0);
    let keys = |seed| KeyMaterial::new(key(seed).into());
    [
        Command::OpenSet(SetSpec {
            id: set,
            local: (GATEWAY, 4_500).into(),
            remote,
            encapsulation: Encapsulation::EspInUdp,
        }),
        Command::AddInbound(InboundSpec {
            spi: inbound(core),
            set,
            suite: SUITE,
            keys: keys(1),
            replay_window: 1_024,
            start: Start::Fresh,
        }),
        Command::AddOutbound(OutboundSpec {
            spi: outbound(core),
            set,
            twin: inbound(core),
            suite: SUITE,
            keys: keys(2),
            activation: Activation::WhenPeerHasIt,
            start: Start::Fresh,
        }),
        Command::OpenSession(SessionSpec {
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
                address: inner_address(core),
                mru: 1_400,
            },
        }),
    ]
}

/// The next thing that the worker says.
fn next(link: &mut Link) -> Report {
    loop {
        link.acknowledge();
        if let Some(report) = link.poll() {
            return report;
        }
        let mut fds = [PollFd::from_borrowed_fd(link.ready(), PollFlags::IN)];
        let patience = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        assert_eq!(
            poll(&mut fds, Some(&patience)).unwrap(),
            1,
            "the worker is silent"
        );
    }
}

fn carry_out(link: &mut Link, command: Command, next_hop: MacAddress) {
    link.submit(Ticket(1), command, Some(next_hop)).unwrap();
    let report = next(link);
    assert!(
        matches!(report, Report::Answer(Answer::Done(_))),
        "{report:?}"
    );
}

fn counted(link: &mut Link) -> Box<Snapshot> {
    link.count().unwrap();
    loop {
        if let Report::Counted(snapshot) = next(link) {
            return snapshot;
        }
    }
}

/// A client whose rows are on one core: UDP socket, keys, and the number of the next packet.
struct Client {
    core: u8,
    socket: UdpSocket,
    sequence: u32,
    seal: SealContext,
    open: OpenContext,
}

impl Client {
    fn new(core: u8, socket: UdpSocket) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect((GATEWAY, 4_500)).unwrap();
        let seal = SealContext::new(Engine::choose(), SUITE, &key(1)).unwrap();
        let open = OpenContext::new(Engine::choose(), SUITE, &key(2)).unwrap();
        Self {
            core,
            socket,
            sequence: 0,
            seal,
            open,
        }
    }

    /// Sends an inner packet.
    fn send(&mut self, inner: &[u8]) {
        self.sequence += 1;
        let l2tp = [&[0, 2, 0, 1, 0, 2, 0xFF, 0x03, 0x00, 0x21][..], inner].concat();
        let header = udp::Header {
            source_port: udp::Port::L2TP,
            destination_port: udp::Port::L2TP,
            total_len: u16::try_from(l2tp.len() + 8).unwrap(),
            checksum: 0,
        };
        let mut plaintext = [&header.to_bytes()[..], &l2tp].concat();
        let payload_len = plaintext.len();
        let trailer = Trailer::aligning(payload_len, SUITE.alignment(), Protocol::UDP);
        plaintext.resize(trailer.plaintext_len(), 0);
        trailer.emit(&mut plaintext[payload_len..]).unwrap();
        let header = esp::header(inbound(self.core), self.sequence);
        let mut body = vec![0; SUITE.sealed_len(plaintext.len())];
        let iv = self.seal.iv(self.sequence.into());
        let op = SealOp::new(&self.seal, &header, iv, &plaintext, &mut body).unwrap();
        Engine::PORTABLE.seal_burst(&mut [op]);
        self.socket.send(&[&header[..], &body].concat()).unwrap();
    }

    /// Receives an inner packet.
    fn receive(&self) -> Vec<u8> {
        let mut datagram = [0; 4_000];
        let len = self.socket.recv(&mut datagram).unwrap();
        let (header, body) = datagram[..len].split_at(esp::HEADER_LEN);
        assert_eq!(header[..4], outbound(self.core).0.to_be_bytes());
        let mut plaintext = vec![0; SUITE.opened_len(body.len()).unwrap()];
        let op = OpenOp::new(&self.open, header, body, &mut plaintext).unwrap();
        assert_eq!(
            Engine::PORTABLE.open_burst(&mut [op]).count(),
            1,
            "the ICV is right"
        );
        let trailer = Trailer::parse(&plaintext).unwrap();
        // UDP, L2TP with length, PPP with address and control.
        let inner = &plaintext[8 + 8 + 4..trailer.payload_len];
        assert_eq!(plaintext[8..20][..2], [0x40, 2]);
        inner.to_vec()
    }

    /// Takes what is still in the socket until it is quiet for a moment.
    fn drain(&self) {
        self.socket
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        while self.socket.recv(&mut [0; 4_000]).is_ok() {}
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    /// Sends an echo request with `len` bytes of data, and checks the reply.
    fn ping(&mut self, to: Ipv4Addr, len: usize) {
        let data: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0]).collect();
        let mut message = vec![0; 8 + len];
        let request = Echo {
            kind: EchoKind::Request,
            identifier: 7,
            sequence: 9,
            data: &data,
        };
        request.emit(&mut message).unwrap();
        let header = ipv4::Header {
            traffic_class: 0,
            total_len: u16::try_from(20 + message.len()).unwrap(),
            identification: 0,
            dont_fragment: false,
            fragment: ipv4::Fragment::default(),
            ttl: 64,
            protocol: Protocol::ICMP,
            source: inner_address(self.core),
            destination: to,
        };
        self.send(&[&header.to_bytes()[..], &message].concat());
        let reply = self.receive_whole();
        let echo = Echo::parse(&reply).unwrap();
        assert_eq!(
            (echo.kind, echo.identifier, echo.sequence, echo.data),
            (EchoKind::Reply, 7, 9, &data[..])
        );
    }

    /// The payload of an inner packet, put together if it comes in fragments.
    fn receive_whole(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        loop {
            let bytes = self.receive();
            let packet = ipv4::Packet::parse(&bytes).unwrap();
            assert!(packet.checksum_ok());
            assert_eq!(
                (packet.destination(), packet.fragment_offset()),
                (inner_address(self.core), payload.len())
            );
            payload.extend(packet.payload());
            if !packet.more_fragments() {
                return payload;
            }
        }
    }
}

/// Running workers, one for each queue, with a client on each; all clients are behind one address and port.
struct Scene {
    pair: Pair,
    clients: Vec<Client>,
    links: Vec<Link>,
    threads: Vec<thread::JoinHandle<io::Result<()>>>,
    /// The threads as the kernel numbers them.
    tids: Vec<Pid>,
    _steering: Steering,
}

impl Scene {
    fn new(cores: u8) -> Self {
        let pair = Pair::new(cores.into(), 1_500);
        make_core(&pair.gateway, cores.into());
        let config = config(&pair.gateway);
        let next_hop = MacAddress(mac(&pair.client, "client0"));
        let steering = pair.gateway.enter(steering);
        let mut all = Continuity::open(&continuity::create(2, 1_024).unwrap()).unwrap();
        let mesh = handoff::mesh(cores.into(), 2, config.limits.sessions).unwrap();
        let socket = pair
            .client
            .enter(|| UdpSocket::bind("10.77.0.1:4500").unwrap());
        let (mut clients, mut links, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        let (told, tids) = mpsc::channel();
        for (core, exchange) in (0..cores).zip(mesh) {
            let ends = [endpoint("gateway0", core), endpoint("core0", core)];
            let bound = pair
                .gateway
                .enter(|| bind(CoreId(core), config.limits.frames, ends).unwrap());
            let Bound {
                ports: [outer, inner],
                pool,
                ..
            } = bound;
            register(&steering, Side::Outer, core.into(), &outer);
            register(&steering, Side::Core, core.into(), &inner);
            let shards = || worker::shards(2, CoreId(core), cores.into());
            let continuity = all.split_off(shards());
            let (near, link) = link::pair(CoreId(core)).unwrap();
            let worker = Worker::new(&config, (outer, inner), pool, shards(), continuity, near);
            let worker = worker.joined_by(exchange);
            let told = told.clone();
            threads.push(thread::spawn(move || {
                told.send(rustix::thread::gettid()).unwrap();
                worker.run()
            }));
            links.push(link);
            clients.push(Client::new(core, socket.try_clone().unwrap()));
        }
        for (core, link) in (0..cores).zip(&mut links) {
            for command in commands(core, socket.local_addr().unwrap()) {
                carry_out(link, command, next_hop);
            }
        }
        Self {
            pair,
            clients,
            links,
            threads,
            tids: tids.iter().take(cores.into()).collect(),
            _steering: steering,
        }
    }

    /// Processor time of the workers so far.
    fn processor_time(&self) -> Duration {
        let of_thread = |tid: &Pid| {
            let text = fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).unwrap();
            text.split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        Duration::from_nanos(self.tids.iter().map(of_thread).sum())
    }

    fn end(self) {
        self.links.iter().for_each(Link::stop);
        self.threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap().unwrap());
    }
}

/// All packets of one address and port arrive on one queue, so one of the two clients' cores gets its packets from the other.
#[test]
fn a_client_whose_packets_arrive_on_another_queue_is_served() {
    if !can_run("a_client_whose_packets_arrive_on_another_queue_is_served") {
        return;
    }
    let mut scene = Scene::new(2);
    for len in [0, 56, 1_000, 1_372, 1_400] {
        for client in &mut scene.clients {
            client.ping(HOST, len);
            client.ping(OWN, len.min(1_000));
        }
    }
    let ledgers: Vec<_> = scene
        .links
        .iter_mut()
        .map(|link| counted(link).counters)
        .collect();
    assert!(
        ledgers
            .iter()
            .all(culvert_dataplane::verdict::Counters::is_balanced)
    );
    let given: u64 = ledgers.iter().map(|counters| counters.outer.given).sum();
    let taken: u64 = ledgers.iter().map(|counters| counters.outer.taken).sum();
    assert_eq!((given, taken), (10, 10), "{ledgers:#?}");
    scene.end();
}

/// A busy loop would take two seconds of two processors; asleep, each looks around once a second.
#[test]
fn idle_cores_take_no_processor_time_and_wake_for_a_packet_and_for_each_other() {
    if !can_run("idle_cores_take_no_processor_time_and_wake_for_a_packet_and_for_each_other") {
        return;
    }
    let mut scene = Scene::new(2);
    for _ in 0..3 {
        for client in &mut scene.clients {
            client.ping(HOST, 56);
        }
        let (began, before) = (Instant::now(), scene.processor_time());
        let socket = &scene.clients[0].socket;
        socket
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        let nothing = socket.recv(&mut [0; 100]).map_err(|error| error.kind());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(
            nothing,
            Err(io::ErrorKind::WouldBlock),
            "nothing is to come"
        );
        let (passed, taken) = (began.elapsed(), scene.processor_time() - before);
        assert!(
            taken < passed / 50,
            "{taken:?} of processor time in {passed:?}"
        );
    }
    scene.end();
}

#[test]
fn sealed_pings_reach_the_kernel_and_its_answers_come_back_sealed() {
    if !can_run("sealed_pings_reach_the_kernel_and_its_answers_come_back_sealed") {
        return;
    }
    let mut scene = Scene::new(1);
    scene.clients[0].ping(OWN, 56);
    // The last ones are longer than the client's MRU: the kernel's answer is cut inside the tunnel.
    for len in [0, 56, 500, 1_000, 1_300, 1_372, 1_373, 1_400] {
        scene.clients[0].ping(HOST, len);
    }
    let snapshot = counted(&mut scene.links[0]);
    assert!(snapshot.counters.is_balanced());
    let (up, down) = (&snapshot.counters.outer, &snapshot.counters.core);
    // The longest request came in two outer fragments.
    assert_eq!(
        (up.received, up.merged, up.sent),
        (10, 1, 9),
        "{snapshot:#?}"
    );
    assert_eq!(
        (down.received, down.split, down.sent),
        (8, 2, 10),
        "{snapshot:#?}"
    );
    scene.end();
}

/// A flood both ways fills every ring; afterwards everything is accounted for, and pings pass as before.
#[test]
fn a_flood_both_ways_stalls_nothing() {
    if !can_run("a_flood_both_ways_stalls_nothing") {
        return;
    }
    const PACKETS: u64 = 20_000;
    let mut scene = Scene::new(1);
    scene.clients[0].ping(HOST, 56);
    let network = scene
        .pair
        .gateway
        .enter(|| UdpSocket::bind((HOST, 0)).unwrap());
    let inner = {
        let header = ipv4::Header {
            traffic_class: 0,
            total_len: 520,
            identification: 0,
            dont_fragment: false,
            fragment: ipv4::Fragment::default(),
            ttl: 64,
            protocol: Protocol::UDP,
            source: inner_address(0),
            destination: HOST,
        };
        let port = network.local_addr().unwrap().port();
        let udp = udp::Header {
            source_port: udp::Port(9),
            destination_port: udp::Port(port),
            total_len: 500,
            checksum: 0,
        };
        [&header.to_bytes()[..], &udp.to_bytes(), &[0x5A; 492]].concat()
    };
    thread::scope(|scope| {
        // The kernel's own sends may be refused while its queue is full: those never existed.
        scope.spawn(|| {
            (0..PACKETS)
                .filter(|_| network.send_to(&[0xA5; 900], (inner_address(0), 9)).is_ok())
                .count()
        });
        for _ in 0..PACKETS {
            scene.clients[0].send(&inner);
        }
    });
    let snapshot = counted(&mut scene.links[0]);
    assert!(snapshot.counters.is_balanced());
    assert!(snapshot.counters.outer.sent > 0 && snapshot.counters.core.sent > 0);
    scene.clients[0].drain();
    for _ in 0..20 {
        scene.clients[0].ping(HOST, 1_000);
    }
    scene.end();
}
