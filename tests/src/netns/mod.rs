//! The executable `culvert run` between simulated clients and a LAN, in network namespaces over AF_XDP on veth.
//!
//! ```text
//! Lab ─┬─ Engine: clients on c0, the host on l0, each through a Tap that records frames
//!      ├─ Gateway: the process on g0 (and g1), its status, what it tells the service manager
//!      └─ Network: three namespaces, removed last
//! ```
//! Tests that use it hold [`serialized`] and begin with [`is_possible`].

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use culvert_bench::client::esp::Suite;
use culvert_bench::client::ike::keys::Cipher;
use culvert_bench::client::ike::proposal::IkeProposal;
use culvert_bench::client::ppp::Method;
use culvert_bench::client::{Encapsulation, L2TP_PORT, Profile};
use culvert_bench::demo::network::{
    DEVICES, FIRST_CLIENT, GATEWAY, HOST, Home, Namespace, Network,
};
use culvert_bench::load::engine::Engine;
use culvert_bench::load::link::{self, Hop, Link};
use culvert_bench::load::pace::Pace;
use culvert_bench::load::population::Population;
use culvert_dataplane::port::xdp::XdpPort;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

pub mod gateway;
pub mod raw;
pub mod tap;

use gateway::{Gateway, PASSWORD, PSK, Setup, USER};
use tap::{Recording, Tap};

/// How long anything may take that has no bound of its own.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps tests with a lab apart: they share the machine's few cores and the names of the namespaces.
pub fn serialized() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a lab can be made; says so where the harness does not catch it if not.
pub fn is_possible() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        say("SKIPPED: end-to-end tests need root (network namespaces, AF_XDP, BPF)");
    }
    is_root
}

/// Writes a line to standard error, past the test harness, which keeps what `println` says of a test that passes.
pub fn say(line: &str) {
    let said = io::stderr().write_all(format!("\n{line}\n").as_bytes());
    // Nobody hears it where standard error is closed.
    drop(said);
}

/// Does `work` with the calling thread inside `namespace`.
///
/// # Panics
/// If the thread may not move there and back.
pub fn inside<T>(namespace: &Namespace, work: impl FnOnce() -> T) -> T {
    let home = Home::here().expect("/proc is there");
    namespace.enter().expect("root may enter namespaces");
    let done = work();
    home.enter().expect("root may enter namespaces");
    done
}

/// Polls `condition` until it gives something.
///
/// # Panics
/// After [`PATIENCE`], saying `what` did not come.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    const POLL: Duration = Duration::from_millis(5);
    let begin = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(POLL);
    }
}

/// A gateway with clients and a LAN; dropping it removes everything.
pub struct Lab {
    /// Clients and host.
    pub engine: Engine<Tap<XdpPort>>,
    /// Frames on the clients' link.
    pub outer: Recording,
    /// Frames on the LAN's link.
    pub lan: Recording,
    /// The gateway.
    pub gateway: Gateway,
    /// The namespaces.
    pub network: Network,
}

impl Lab {
    /// Makes namespaces, starts a gateway and prepares `clients` clients that have not begun to log in.
    ///
    /// # Panics
    /// If anything of it fails.
    pub fn start(clients: u32, setup: &Setup) -> Self {
        let network = Network::create().expect("namespaces can be made");
        let gateway = Gateway::start(&network, setup);
        let (outer, lan) = (Recording::default(), Recording::default());
        let [c0, g0, g1, l0] = DEVICES;
        let side = link::Network {
            address: FIRST_CLIENT,
            prefix: 15,
        };
        let clients_link = open((&network.clients, c0), (&network.gateway, g0), side, &outer);
        let side = link::Network {
            address: HOST,
            prefix: 32,
        };
        let lan_link = open((&network.lan, l0), (&network.gateway, g1), side, &lan);
        let credentials = culvert_bench::client::Credentials {
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
        };
        let rng = ChaCha20Rng::seed_from_u64(u64::from(std::process::id()));
        let population =
            Population::new(clients, FIRST_CLIENT, GATEWAY, profile(), credentials, rng);
        Self {
            engine: Engine::new(clients_link, Some(lan_link), population, GATEWAY, HOST),
            outer,
            lan,
            gateway,
            network,
        }
    }

    /// Logs the next `count` clients in.
    ///
    /// # Panics
    /// If one fails or it takes too long.
    pub fn log_in(&mut self, count: u32) {
        let up = self.engine.population().census().up + count;
        for _ in 0..count {
            self.engine.connect_next().expect("there are so many");
        }
        self.hold_until("clients log in", |_, population| {
            assert_eq!(population.census().down, 0, "{:?}", population.failures());
            population.census().up == up
        });
    }

    /// Sends a few probes until both ways are open: the gateway has then found its next hops.
    ///
    /// # Panics
    /// If they do not open.
    pub fn warm_up(&mut self) {
        const SLOW: Pace = Pace::Open { per_second: 100 };
        // The first ones may be lost for want of a next hop: the wait is for what is still on its way.
        const GRACE: Duration = Duration::from_millis(100);
        let index = self.engine.run(64, SLOW, PATIENCE, GRACE, |run, _| {
            run.up.received == 0 || run.down.received == 0
        });
        let run = &self.engine.runs()[index];
        assert!(
            run.up.received > 0 && run.down.received > 0,
            "no way through"
        );
    }

    /// Sends probes both ways for `duration` and expects every one to come.
    ///
    /// # Panics
    /// If one is lost.
    pub fn lose_nothing(&mut self, size: usize, pace: Pace, duration: Duration) {
        let run = self.engine.run(size, pace, duration, PATIENCE, |_, _| true);
        let run = &self.engine.runs()[run];
        assert!(run.up.sent > 0 && run.down.sent > 0, "{run:?}");
        assert_eq!((run.up.missing(), run.down.missing()), (0, 0));
    }

    /// Answers the gateway until `condition` holds.
    ///
    /// # Panics
    /// After [`PATIENCE`], saying `what` did not come about.
    pub fn hold_until(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&mut Gateway, &Population) -> bool,
    ) {
        let begin = Instant::now();
        let gateway = &mut self.gateway;
        self.engine.hold(|population| {
            let holds = condition(gateway, population);
            assert!(
                holds || begin.elapsed() < PATIENCE,
                "{what}: not in {PATIENCE:?}; {:?}\n{}",
                population.census(),
                gateway.log()
            );
            !holds
        });
    }
}

/// Opens `device` of a namespace with the next hop at the other end, and records what passes.
fn open(
    (namespace, device): (&Namespace, &str),
    (other, next): (&Namespace, &str),
    side: link::Network,
    recording: &Recording,
) -> Link<Tap<XdpPort>> {
    let hop = Hop {
        local: namespace.mac(device).expect("the device is there"),
        next: other.mac(next).expect("the device is there"),
    };
    let bound = inside(namespace, || link::bind(device, side));
    let (port, pool, steering) = bound.expect("AF_XDP works on veth");
    Link::new(Tap::new(port, recording.clone()), pool, hop, Some(steering))
}

fn profile() -> Profile {
    const MRU: u16 = 1_400;
    Profile {
        psk: PSK.as_bytes().to_vec(),
        ike: vec![IkeProposal::default()],
        esp: Suite::Gcm(Cipher::Aes128),
        encapsulation: Encapsulation::AsNeeded,
        l2tp_port: L2TP_PORT,
        mru: MRU,
        methods: vec![Method::MsChapV2],
    }
}
