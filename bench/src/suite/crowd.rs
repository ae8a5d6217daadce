//! Clients of one kind and a real gateway of their own, each in its namespace.

use std::path::PathBuf;

use culvert_dataplane::port::xdp::XdpPort;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::client::Credentials;
use crate::client::ike::dh::Group;
use crate::client::ike::proposal::IkeProposal;
use crate::demo::gateway::{Core, Gateway, Plan};
use crate::demo::network::{DEVICES, FIRST_CLIENT, GATEWAY, HOST, Home, Network};
use crate::demo::{cpus, profile, random_text};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::load::engine::Engine;
use crate::load::link::{self, Hop, Link};
use crate::load::population::Population;
use crate::seed;
use crate::suite::process::Processes;

/// All of them; dropped in the order of the fields.
pub struct Crowd {
    /// The clients.
    pub engine: Engine<XdpPort>,
    /// The gateway.
    pub gateway: Gateway,
    /// Its processes.
    pub processes: Processes,
    _network: Network,
}

/// Prefix of the network of all clients' outer addresses.
const PREFIX: u8 = 15;

impl Crowd {
    /// Makes namespaces, starts `program` as the gateway and readies `count` clients that will dial with `group`.
    ///
    /// # Errors
    /// [`Failure`] if the system refuses something or the gateway does not get ready; what was made is removed.
    pub fn start(
        program: PathBuf,
        count: u32,
        group: Group,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        let mut rng = ChaCha20Rng::from_seed(seed::random()?);
        // Our own thread stays where the system puts it: control would inherit its core.
        let (_, gateway_cpu) = cpus();
        let network = Network::create()?;
        let plan = Plan {
            program,
            core: Core::Nic,
            cpu: gateway_cpu.map(|cpu| cpu.id),
            psk: random_text(&mut rng),
            credentials: Credentials {
                user: "bench".to_owned(),
                password: random_text(&mut rng),
            },
            clients: count,
            allows_legacy: matches!(group, Group::Modp1024 | Group::Modp1536),
        };
        let gateway = Gateway::start(&network, &plan, interrupt)?;
        let processes = Processes::of(gateway.id())?;
        let ike = IkeProposal {
            group,
            ..IkeProposal::default()
        };
        let population = Population::new(
            count,
            FIRST_CLIENT,
            GATEWAY,
            profile(&plan, ike),
            plan.credentials.clone(),
            rng,
        );
        let engine = Engine::new(link(&network)?, None, population, GATEWAY, HOST);
        Ok(Self {
            engine,
            gateway,
            processes,
            _network: network,
        })
    }
}

fn link(network: &Network) -> Result<Link<XdpPort>, Failure> {
    let home = Home::here()?;
    let [c0, g0, ..] = DEVICES;
    let hop = Hop {
        local: network.clients.mac(c0)?,
        next: network.gateway.mac(g0)?,
    };
    let clients = link::Network {
        address: FIRST_CLIENT,
        prefix: PREFIX,
    };
    network.clients.enter()?;
    let link = Link::open(c0, clients, hop);
    home.enter()?;
    link
}
