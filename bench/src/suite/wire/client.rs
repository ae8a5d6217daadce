//! The one client of the gateway: its rows, and the configuration that holds them.

use culvert_crypto::Suite;
use culvert_dataplane::api::{
    Activation, Command, CoreDevice, DataplaneConfig, Device, Encapsulation, InboundSpec,
    KeyMaterial, Limits, OutboundSpec, Phase, PppFraming, Sequencing, SessionId, SessionRow,
    SessionSpec, SetId, SetSpec, Spi, Start, TunnelId, WorkerConfig, spi,
};
use culvert_wire::eth::MacAddress;

use super::scene::{CLIENT, FRAMES, GATEWAY, OWN, SESSION, Scene};
use super::traffic::{SEEDS, key};

/// Replay window in packets.
pub(super) const WINDOW: u16 = 1_024;
/// The largest inner IP packet that the client takes, in bytes.
const MRU: u16 = 1_400;

/// Our SPI.
pub(super) const fn inbound() -> Spi {
    spi::compose(0, 7, 0xABC)
}

/// A data plane of one worker on `queue` of both devices.
pub(super) fn config(scene: &Scene, queue: u32) -> DataplaneConfig {
    let [outer, core] = scene.indices;
    let device = |name: &str, index, mac: MacAddress| Device {
        name: name.to_owned(),
        index,
        mac: mac.0,
        mtu: 1_500,
    };
    DataplaneConfig {
        outer: device("g0", outer, scene.macs.g0),
        core: CoreDevice::Veth {
            device: device("g1", core, scene.macs.g1),
            kernel_mac: scene.macs.l0.0,
        },
        workers: vec![WorkerConfig {
            cpu: None,
            outer_queue: queue,
            core_queue: queue,
        }],
        local_addresses: vec![GATEWAY.into()],
        gateway: OWN,
        clear_l2tp: Vec::new(),
        limits: Limits {
            sets: 4,
            sessions: 4,
            shards: 1,
            frames: FRAMES,
        },
    }
}

/// What control would install for the client.
pub(super) fn commands(suite: Suite) -> [Command; 4] {
    let set = SetId(0);
    let [theirs, ours] = SEEDS.map(|seed| KeyMaterial::new(key(suite, seed).into()));
    [
        Command::OpenSet(SetSpec {
            id: set,
            local: (GATEWAY, 4_500).into(),
            remote: (CLIENT, 4_500).into(),
            encapsulation: Encapsulation::EspInUdp,
        }),
        Command::AddInbound(InboundSpec {
            spi: inbound(),
            set,
            suite,
            keys: theirs,
            replay_window: WINDOW,
            start: Start::Fresh,
        }),
        Command::AddOutbound(OutboundSpec {
            spi: Spi(0x9DE0),
            set,
            twin: inbound(),
            suite,
            keys: ours,
            activation: Activation::Now,
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
                address: SESSION,
                mru: MRU,
            },
        }),
    ]
}
