//! The machines of [`culvert_proto`] with the configuration put into their words.

use std::net::IpAddr;
use std::path::Path;

use culvert_dataplane::api::CoreId;
use culvert_dataplane::lifeline::Blame;
use culvert_dataplane::process::StartError;
use culvert_dataplane::worker;
use culvert_proto::gateway::{self, Gateway, Input, Output, Reserved};
use culvert_proto::ike::config::{self as ike, CoreRows, CredentialId, Gate, Peers};
use culvert_proto::job::JobDone;
use culvert_proto::pool::{self, Pool};
use culvert_proto::rows::{KeyMaterial, SetId};
use culvert_proto::time::Time;
use culvert_proto::users::Users;
use culvert_proto::{crypto, l2tp, ppp};
use culvert_wire::id::Spi;
use rand_chacha::ChaCha20Rng;
use tracing::warn;
use zeroize::Zeroizing;

use super::machine::Machine;
use crate::check;
use crate::config::{Config, Peer, Secret, users};

impl Machine for Gateway {
    fn new(config: &Config, users: &str, _now: Time) -> Result<Self, StartError> {
        crypto::self_test::self_test().map_err(StartError::system)?;
        let operator = |text: String| StartError {
            blame: Blame::Operator,
            text,
        };
        let users = users::parse(Path::new(&config.users), users)
            .map_err(|error| operator(error.to_string()))?;
        let pool = pool(config, &users).map_err(|error| operator(error.to_string()))?;
        Ok(Self::new(gateway::Config {
            ike: ike(config),
            l2tp: l2tp(config),
            ppp: ppp(config),
            users,
            pool,
            sessions: config.limits.sessions,
        }))
    }

    fn handle(&mut self, now: Time, rng: &mut ChaCha20Rng, input: Input<'_>) {
        self.handle(now, rng, input);
    }

    fn handle_lost(&mut self, now: Time, rng: &mut ChaCha20Rng, inbound: Spi) {
        self.handle_lost(now, rng, inbound);
    }

    fn handle_timeout(&mut self, now: Time, rng: &mut ChaCha20Rng) {
        self.handle_timeout(now, rng);
    }

    fn close_all(&mut self, now: Time, rng: &mut ChaCha20Rng) {
        self.close_all(now, rng);
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.poll_timeout()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.poll_output()
    }

    fn handle_done(&mut self, now: Time, rng: &mut ChaCha20Rng, done: JobDone) {
        self.handle_done(now, rng, done);
    }

    fn reserve(&mut self, set: SetId, reserved: Reserved) {
        self.reserve(set, reserved);
    }

    fn release(&mut self, now: Time, rng: &mut ChaCha20Rng, set: SetId) {
        self.release(now, rng, set);
    }

    fn status(&self, now: Time) -> Vec<u8> {
        serde_json::to_vec(&self.status(now)).unwrap_or_else(|error| {
            warn!(%error, "no status");
            b"null".to_vec()
        })
    }
}

fn ike(config: &Config) -> ike::Config {
    let psks = config.psks.iter().enumerate().map(|(index, psk)| ike::Psk {
        credential: CredentialId(u32::try_from(index).unwrap_or(u32::MAX)),
        peers: peers(psk.peer),
        key: key(&psk.secret),
    });
    let gates = config.listeners.iter().map(|listener| Gate {
        local: listener.address.map(IpAddr::V4),
        modp_1024: listener.modp1024,
        modp_1536: listener.modp1536,
        triple_des: listener.triple_des,
    });
    let workers = config.workers.len();
    let cores = (0..workers).map(|core| CoreRows {
        shards: worker::shards(
            config.limits.shards,
            CoreId(u8::try_from(core).unwrap_or(u8::MAX)),
            workers,
        ),
        sets: config.limits.sets,
    });
    ike::Config {
        psks: psks.collect(),
        gates: gates.collect(),
        cores: cores.collect(),
        limits: ike_limits(config),
    }
}

/// As many IKE SAs as the rows are for, twice over: an old one lives on for a while beside its successor.
fn ike_limits(config: &Config) -> ike::Limits {
    let usual = ike::Limits::default();
    let sets = usize::try_from(config.limits.sets).unwrap_or(usize::MAX);
    let wanted = sets.saturating_mul(config.workers.len()).saturating_mul(2);
    ike::Limits {
        ike_sas: usual.ike_sas.max(wanted),
        ..usual
    }
}

const fn peers(peer: Peer) -> Peers {
    match peer {
        Peer::Any => Peers::Any,
        Peer::Network(address, bits) => Peers::Network { address, bits },
        Peer::Address(address) => Peers::Network {
            address,
            bits: if address.is_ipv4() { 32 } else { 128 },
        },
    }
}

fn key(secret: &Secret) -> KeyMaterial {
    KeyMaterial::new(Zeroizing::new(secret.expose().as_bytes().to_vec()))
}

fn l2tp(config: &Config) -> l2tp::Config {
    let authentication = config
        .l2tp
        .secret
        .as_ref()
        .map_or(l2tp::Authentication::None, |secret| {
            l2tp::Authentication::Require(key(secret))
        });
    l2tp::Config {
        hello_after: config.l2tp.hello,
        authentication,
        ..l2tp::Config::default()
    }
}

fn ppp(config: &Config) -> ppp::Config {
    ppp::Config {
        mru: config.ppp.mru,
        methods: config
            .ppp
            .methods
            .iter()
            .copied()
            .map(check::method)
            .collect(),
        gateway: config.ppp.gateway,
        dns: config.ppp.dns.clone(),
        ..ppp::Config::default()
    }
}

fn pool(config: &Config, users: &Users) -> Result<Pool, pool::PoolError> {
    let ranges: Vec<_> = config
        .pools
        .iter()
        .map(|range| pool::Range {
            first: range.first,
            last: range.last,
        })
        .collect();
    Pool::new(
        &ranges,
        config.ppp.gateway,
        &config.addresses,
        &users.addresses(),
    )
}
