//! `make demo`: a gateway, a thousand clients and a LAN on one machine, and an honest report.
//!
//! The rate is found first: for a second as many probes as the gateway lets through are on their way, then for five seconds
//! [`SHARE`] of what came through is offered at a constant rate, whatever comes out. Both with 64 and with 1,400 bytes.

pub mod gateway;
pub mod network;
pub mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use culvert_dataplane::port::xdp::XdpPort;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::client::esp::Suite;
use crate::client::ike::keys::Cipher;
use crate::client::ike::proposal::IkeProposal;
use crate::client::ppp::Method;
use crate::client::{Credentials, Encapsulation, L2TP_PORT, Profile};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::load::engine::{Engine, LogIns, Run};
use crate::load::link::{self, Hop, Link};
use crate::load::pace::Pace;
use crate::load::population::Population;
use crate::progress::Progress;
use crate::seed;
use gateway::{Core, Counters, Gateway, Plan};
use network::{DEVICES, FIRST_CLIENT, GATEWAY, HOST, Home, Network};
use report::{Report, RunReport};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Demo {
    /// The gateway's executable.
    pub program: PathBuf,
    /// Clients: 1 to 65,000.
    pub clients: u32,
    /// The gateway's core side.
    pub core: Core,
    /// How log-ins are spread.
    pub log_ins: LogIns,
    /// How long each size is sent at a constant rate.
    pub duration: Duration,
}

/// Sizes of inner IP packets.
const SIZES: [usize; 2] = [64, 1_400];
/// How long the rate is looked for.
const SEARCH: Duration = Duration::from_secs(1);
/// Probes on their way each way during the search.
const WINDOW: u64 = 256;
/// Percent of the rate found that is offered.
const SHARE: u64 = 70;
/// How long the last probes may take.
const GRACE: Duration = Duration::from_secs(2);
/// Log-outs between two looks at what has come.
const LOG_OUTS_AT_ONCE: u32 = 16;
const MRU: u16 = 1_400;

impl Demo {
    /// Runs it from making namespaces to removing them.
    ///
    /// # Errors
    /// [`Failure`] if it could not be run to its end; everything made is removed all the same.
    pub fn run(&self, interrupt: &Interrupt) -> Result<Report, Failure> {
        let mut rng = ChaCha20Rng::from_seed(seed::random()?);
        let (generator_cpu, gateway_cpu) = cpus();
        if let Some(cpu) = generator_cpu {
            core_affinity::set_for_current(cpu);
        }
        let mut progress = Progress::new();
        progress.update(|| "making namespaces".to_owned());
        let network = Network::create()?;
        let plan = Plan {
            program: self.program.clone(),
            core: self.core,
            cpu: gateway_cpu.map(|cpu| cpu.id),
            psk: random_text(&mut rng),
            credentials: Credentials {
                user: "demo".to_owned(),
                password: random_text(&mut rng),
            },
            clients: self.clients,
            allows_legacy: false,
        };
        let mut gateway = Gateway::start(&network, &plan, interrupt)?;
        progress.finish("gateway ready in its namespace, clients and LAN in theirs");
        let mut engine = self.engine(&network, &plan, rng)?;
        let report = self.measure(
            &mut engine,
            &mut gateway,
            &network,
            &mut progress,
            interrupt,
        )?;
        engine.log_out(LOG_OUTS_AT_ONCE);
        gateway.stop()?;
        Ok(report)
    }

    fn engine(
        &self,
        network: &Network,
        plan: &Plan,
        rng: ChaCha20Rng,
    ) -> Result<Engine<XdpPort>, Failure> {
        let home = Home::here()?;
        let [c0, g0, g1, l0] = DEVICES;
        let hop = Hop {
            local: network.clients.mac(c0)?,
            next: network.gateway.mac(g0)?,
        };
        network.clients.enter()?;
        let clients = Link::open(
            c0,
            link::Network {
                address: FIRST_CLIENT,
                prefix: 15,
            },
            hop,
        )?;
        let hop = Hop {
            local: network.lan.mac(l0)?,
            next: network.gateway.mac(g1)?,
        };
        network.lan.enter()?;
        let lan = Link::open(
            l0,
            link::Network {
                address: HOST,
                prefix: 32,
            },
            hop,
        )?;
        home.enter()?;
        let population = Population::new(
            self.clients,
            FIRST_CLIENT,
            GATEWAY,
            profile(plan, IkeProposal::default()),
            plan.credentials.clone(),
            rng,
        );
        Ok(Engine::new(clients, Some(lan), population, GATEWAY, HOST))
    }

    fn measure(
        &self,
        engine: &mut Engine<XdpPort>,
        gateway: &mut Gateway,
        network: &Network,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<Report, Failure> {
        let start = Drops::read(gateway, network)?;
        let mut log_ins = self.log_in(engine, progress, interrupt);
        interrupt.check()?;
        gateway.check()?;
        let before = Drops::read(gateway, network)?;
        log_ins.drops = before.gateway.drops_since(&start.gateway);
        log_ins.drops.extend(before.kernel_since(&start));
        warm_up(engine, interrupt);
        let mut runs = Vec::new();
        if engine.population().census().up > 0 {
            for size in SIZES {
                runs.push(self.run_size(engine, size, progress, interrupt)?);
                gateway.check()?;
            }
        }
        let after = Drops::read(gateway, network)?;
        let gateway_drops = after.gateway.drops_since(&before.gateway);
        let kernel_drops = after.kernel_since(&before);
        let client_discards = engine.population().discards();
        let lost = engine
            .runs()
            .iter()
            .map(|run| run.up.missing() + run.down.missing())
            .sum::<u64>();
        let explained = gateway_drops
            .values()
            .chain(kernel_drops.values())
            .sum::<u64>()
            + client_discards;
        Ok(Report {
            version: env!("CARGO_PKG_VERSION"),
            algorithms: "main mode ECP-256, SHA2-256, AES-CBC-256; ESP AES-GCM-128; MS-CHAPv2"
                .to_owned(),
            log_ins,
            runs,
            gateway_drops,
            kernel_drops,
            not_given: after.gateway.not_given_since(&before.gateway),
            client_discards,
            lost,
            unaccounted: lost.saturating_sub(explained),
        })
    }

    fn log_in(
        &self,
        engine: &mut Engine<XdpPort>,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> report::LogIns {
        let begin = Instant::now();
        let total = self.clients;
        engine.log_in(self.log_ins, |population| {
            let census = population.census();
            progress.update(|| {
                let rate = f64::from(census.up) / begin.elapsed().as_secs_f64();
                format!(
                    "log-ins: {} of {total} up, {} under way, {} failed, {rate:.0} per second",
                    census.up, census.connecting, census.down
                )
            });
            !interrupt.is_set()
        });
        let log_ins = report::LogIns::of(engine.population(), begin.elapsed());
        progress.finish(&format!(
            "log-ins: {} of {total} up in {:.1} s",
            log_ins.succeeded, log_ins.seconds
        ));
        log_ins
    }

    /// Finds the rate and sends at a share of it.
    fn run_size(
        &self,
        engine: &mut Engine<XdpPort>,
        size: usize,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<RunReport, Failure> {
        let mut watch = |run: &Run, elapsed: Duration| {
            progress.update(|| line(run, elapsed));
            !interrupt.is_set()
        };
        let search = engine.run(
            size,
            Pace::Closed { window: WINDOW },
            SEARCH,
            GRACE,
            &mut watch,
        );
        interrupt.check()?;
        let capacity = capacity(&engine.runs()[search]);
        let offered = (capacity * SHARE / 100).max(1);
        let run = engine.run(
            size,
            Pace::Open {
                per_second: offered,
            },
            self.duration,
            GRACE,
            &mut watch,
        );
        interrupt.check()?;
        let run = &engine.runs()[run];
        progress.finish(&line(run, run.sending));
        Ok(RunReport::of(run, capacity, offered))
    }
}

/// Sends one probe at a time until both ways are open: the gateway has then found its next hops.
fn warm_up(engine: &mut Engine<XdpPort>, interrupt: &Interrupt) {
    engine.run(
        SIZES[0],
        Pace::Open { per_second: 100 },
        SEARCH,
        GRACE,
        |run, _| {
            let open = run.up.received > 0 && run.down.received > 0;
            !open && !interrupt.is_set()
        },
    );
}

fn line(run: &Run, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate =
        |count: u64| u32::try_from(count).map_or(f64::INFINITY, f64::from) / seconds / 1_000.0;
    format!(
        "{} bytes: {:.1} s, up {:.0} kpps ({} missing), down {:.0} kpps ({} missing)",
        run.size,
        elapsed.as_secs_f64(),
        rate(run.up.received),
        run.up.missing(),
        rate(run.down.received),
        run.down.missing()
    )
}

/// Probes per second that came through each way, of the slower way.
fn capacity(run: &Run) -> u64 {
    let micros = u64::try_from(run.sending.as_micros())
        .unwrap_or(u64::MAX)
        .max(1);
    run.up
        .received
        .min(run.down.received)
        .saturating_mul(1_000_000)
        / micros
}

/// Counters of gateway and kernel at one time.
struct Drops {
    gateway: Counters,
    kernel: Vec<(String, u64)>,
}

impl Drops {
    fn read(gateway: &Gateway, network: &Network) -> Result<Self, Failure> {
        Ok(Self {
            gateway: gateway.counters()?,
            kernel: network.drops()?,
        })
    }

    fn kernel_since(&self, earlier: &Self) -> BTreeMap<String, u64> {
        let earlier: BTreeMap<_, _> = earlier.kernel.iter().cloned().collect();
        let since = self.kernel.iter().map(|(device, count)| {
            (
                device.clone(),
                count.saturating_sub(earlier.get(device).copied().unwrap_or(0)),
            )
        });
        since.filter(|(_, count)| *count > 0).collect()
    }
}

/// How clients of the gateway that `plan` makes dial.
pub(crate) fn profile(plan: &Plan, ike: IkeProposal) -> Profile {
    Profile {
        psk: plan.psk.clone().into_bytes(),
        ike: vec![ike],
        esp: Suite::Gcm(Cipher::Aes128),
        encapsulation: Encapsulation::AsNeeded,
        l2tp_port: L2TP_PORT,
        mru: MRU,
        methods: vec![Method::MsChapV2],
    }
}

/// A CPU for the generator and another one for the gateway's worker, if there are two.
pub(crate) fn cpus() -> (Option<core_affinity::CoreId>, Option<core_affinity::CoreId>) {
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    match cpus[..] {
        [first, .., last] => (Some(first), Some(last)),
        _ => (None, None),
    }
}

/// 32 letters and digits.
pub(crate) fn random_text(rng: &mut ChaCha20Rng) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect()
}
