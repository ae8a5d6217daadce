//! `culvert-bench clients`: logs clients in against any gateway, holds them, and logs them out.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use culvert_wire::eth::MacAddress;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::client::esp::{Integrity, Suite};
use crate::client::ike::dh::Group;
use crate::client::ike::hash::Hash;
use crate::client::ike::keys::Cipher;
use crate::client::ike::proposal::IkeProposal;
use crate::client::ppp::Method;
use crate::client::{Credentials, Encapsulation, L2TP_PORT, Profile};
use crate::demo::report::LogIns as LogInReport;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::load::engine::{Engine, LogIns};
use crate::load::link::{Hop, Link, Network};
use crate::load::population::Population;
use crate::progress::Progress;
use crate::seed;

/// Phase 1 of the command line: group, hash and cipher.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Ike {
    /// ECP-256, SHA2-256, AES-256.
    Ecp256,
    /// ECP-384, SHA2-384, AES-256.
    Ecp384,
    /// MODP-2048, SHA2-256, AES-256.
    Modp2048,
    /// MODP-2048, SHA-1, AES-128.
    Modp2048Sha1,
}

/// Phase 2 of the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Esp {
    /// AES-GCM-128.
    Gcm128,
    /// AES-GCM-256.
    Gcm256,
    /// AES-CBC-128 and HMAC-SHA1-96.
    Cbc128Sha1,
    /// AES-CBC-256 and HMAC-SHA1-96.
    Cbc256Sha1,
    /// AES-CBC-128 and HMAC-SHA2-256-128.
    Cbc128Sha256,
    /// AES-CBC-256 and HMAC-SHA2-256-128.
    Cbc256Sha256,
}

/// Password proof of the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Auth {
    /// PAP.
    Pap,
    /// CHAP with MD5.
    ChapMd5,
    /// MS-CHAPv2.
    Mschapv2,
}

/// What is asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct Clients {
    /// Device towards the gateway; the gateway must route the clients' addresses to it.
    #[arg(long)]
    interface: String,
    /// Address that clients dial.
    #[arg(long)]
    gateway: Ipv4Addr,
    /// Ethernet address of the gateway or of the router before it.
    #[arg(long, value_parser = mac)]
    next_hop: MacAddress,
    /// Ethernet address of our device.
    #[arg(long, value_parser = mac)]
    own_mac: MacAddress,
    /// Outer address of the first client; the others follow.
    #[arg(long, default_value_t = Ipv4Addr::new(198, 18, 0, 1))]
    first: Ipv4Addr,
    /// Prefix length of the network of all clients' outer addresses.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u8).range(1..=32))]
    prefix: u8,
    /// Clients.
    #[arg(long, default_value_t = 1_000)]
    count: u32,
    /// File with the pre-shared key.
    #[arg(long)]
    psk_file: PathBuf,
    /// Name of the user.
    #[arg(long)]
    user: String,
    /// File with the password.
    #[arg(long)]
    password_file: PathBuf,
    /// Phase 1 algorithms.
    #[arg(long, value_enum, default_value_t = Ike::Ecp256)]
    ike: Ike,
    /// Phase 2 algorithms.
    #[arg(long, value_enum, default_value_t = Esp::Gcm128)]
    esp: Esp,
    /// How the password is proved.
    #[arg(long, value_enum, default_value_t = Auth::Mschapv2)]
    auth: Auth,
    /// Sends ESP in UDP 4500 as if behind a NAT.
    #[arg(long)]
    nat: bool,
    /// Clients that log in at the same time.
    #[arg(long, default_value_t = 64)]
    at_once: u32,
    /// Log-ins begun per second.
    #[arg(long, default_value_t = 10_000)]
    per_second: u64,
    /// Seconds to stay logged in.
    #[arg(long, default_value_t = 0)]
    hold: u64,
}

impl Clients {
    /// Runs it in the namespace of the calling thread.
    ///
    /// # Errors
    /// [`Failure`] if the device cannot be opened, a file cannot be read, or the user asks to stop.
    pub fn run(&self, interrupt: &Interrupt) -> Result<LogInReport, Failure> {
        let hop = Hop {
            local: self.own_mac,
            next: self.next_hop,
        };
        let network = Network {
            address: self.first,
            prefix: self.prefix,
        };
        let link = Link::open(&self.interface, network, hop)?;
        let credentials = Credentials {
            user: self.user.clone(),
            password: secret(&self.password_file)?,
        };
        let rng = ChaCha20Rng::from_seed(seed::random()?);
        let population = Population::new(
            self.count,
            self.first,
            self.gateway,
            self.profile()?,
            credentials,
            rng,
        );
        let mut engine = Engine::new(link, None, population, self.gateway, Ipv4Addr::UNSPECIFIED);
        let mut progress = Progress::new();
        let begin = Instant::now();
        let spread = LogIns {
            at_once: self.at_once,
            per_second: self.per_second,
        };
        engine.log_in(spread, |population| {
            progress.update(|| format!("{:?}", population.census()));
            !interrupt.is_set()
        });
        let report = LogInReport::of(engine.population(), begin.elapsed());
        let begin = Instant::now();
        engine.hold(|population| {
            progress.update(|| format!("{:?}", population.census()));
            begin.elapsed() < Duration::from_secs(self.hold) && !interrupt.is_set()
        });
        progress.finish(&format!("{:?}", engine.population().census()));
        engine.log_out(self.at_once);
        interrupt.check()?;
        Ok(report)
    }

    fn profile(&self) -> Result<Profile, Failure> {
        const MRU: u16 = 1_400;
        Ok(Profile {
            psk: secret(&self.psk_file)?.into_bytes(),
            ike: vec![self.ike.into()],
            esp: self.esp.into(),
            encapsulation: if self.nat {
                Encapsulation::ForcedUdp
            } else {
                Encapsulation::AsNeeded
            },
            l2tp_port: L2TP_PORT,
            mru: MRU,
            methods: vec![self.auth.into()],
        })
    }
}

impl From<Ike> for IkeProposal {
    fn from(ike: Ike) -> Self {
        let (group, hash, cipher) = match ike {
            Ike::Ecp256 => (Group::Ecp256, Hash::Sha256, Cipher::Aes256),
            Ike::Ecp384 => (Group::Ecp384, Hash::Sha384, Cipher::Aes256),
            Ike::Modp2048 => (Group::Modp2048, Hash::Sha256, Cipher::Aes256),
            Ike::Modp2048Sha1 => (Group::Modp2048, Hash::Sha1, Cipher::Aes128),
        };
        Self {
            group,
            hash,
            cipher,
        }
    }
}

impl From<Esp> for Suite {
    fn from(esp: Esp) -> Self {
        match esp {
            Esp::Gcm128 => Self::Gcm(Cipher::Aes128),
            Esp::Gcm256 => Self::Gcm(Cipher::Aes256),
            Esp::Cbc128Sha1 => Self::Cbc(Cipher::Aes128, Integrity::Sha1),
            Esp::Cbc256Sha1 => Self::Cbc(Cipher::Aes256, Integrity::Sha1),
            Esp::Cbc128Sha256 => Self::Cbc(Cipher::Aes128, Integrity::Sha256),
            Esp::Cbc256Sha256 => Self::Cbc(Cipher::Aes256, Integrity::Sha256),
        }
    }
}

impl From<Auth> for Method {
    fn from(auth: Auth) -> Self {
        match auth {
            Auth::Pap => Self::Pap,
            Auth::ChapMd5 => Self::ChapMd5,
            Auth::Mschapv2 => Self::MsChapV2,
        }
    }
}

/// The first line of a file.
fn secret(path: &PathBuf) -> Result<String, Failure> {
    let text = fs::read_to_string(path).map_err(Failure::io(path.display().to_string()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn mac(text: &str) -> Result<MacAddress, String> {
    crate::demo::network::parse_mac(text)
        .ok_or_else(|| format!("`{text}` is not like 02:00:00:00:00:01"))
}
