//! `culvert check`: what a configuration would serve.

use std::fmt::Write as _;

use culvert_dataplane::device;
use culvert_proto::users::{Method, Users};

use crate::config::{AuthMethod, Config, users};
use crate::failure::Failure;
use crate::identity;

/// What was found: what would be served, and what is worth a second look.
#[derive(Debug, PartialEq, Eq)]
pub struct Findings {
    /// For people, several lines.
    pub summary: String,
    /// One line each.
    pub warnings: Vec<String>,
}

/// Reads everything that `config` names.
///
/// # Errors
/// A file it names is missing, not to be trusted, or wrong.
pub fn check(config: &Config) -> Result<Findings, Failure> {
    let text = users::read(&config.users).map_err(|error| Failure::Usage(error.to_string()))?;
    let users =
        users::parse(&config.users, &text).map_err(|error| Failure::Usage(error.to_string()))?;
    identity::look_up(&config.process.user)?;
    Ok(Findings {
        summary: summary(config, &users),
        warnings: warnings(config, &users),
    })
}

/// The method as the protocol machines name it.
pub const fn method(method: AuthMethod) -> Method {
    match method {
        AuthMethod::MsChapV2 => Method::MsChapV2,
        AuthMethod::ChapMd5 => Method::ChapMd5,
        AuthMethod::Pap => Method::Pap,
    }
}

fn summary(config: &Config, users: &Users) -> String {
    let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    let addresses = if config.addresses.is_empty() {
        "all its addresses".to_owned()
    } else {
        list(&mut config.addresses.iter().map(ToString::to_string))
    };
    let core = config
        .core
        .as_deref()
        .unwrap_or("a veth pair to the kernel");
    let clients: u64 = config
        .pools
        .iter()
        .map(|pool| {
            u64::from(pool.last.to_bits() - pool.first.to_bits()) + 1
                - u64::from(pool.contains(config.ppp.gateway))
        })
        .sum();
    let mut text = String::new();
    let lines = [
        format!(
            "clients on {} ({addresses}), network on {core}, {} packet cores",
            config.outer,
            config.workers.len()
        ),
        format!(
            "IKEv1 with pre-shared keys for {}",
            list(&mut config.psks.iter().map(|psk| psk.peer.to_string()))
        ),
        format!(
            "PPP with {}, MRU {}",
            list(&mut config.ppp.methods.iter().map(ToString::to_string)),
            config.ppp.mru
        ),
        format!(
            "{clients} addresses in {}, gateway {}",
            list(&mut config.pools.iter().map(ToString::to_string)),
            config.ppp.gateway
        ),
        format!("{} users", users.len()),
    ];
    for line in lines {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

fn warnings(config: &Config, users: &Users) -> Vec<String> {
    let mut warnings = Vec::new();
    let offered: Vec<Method> = config.ppp.methods.iter().map(|one| method(*one)).collect();
    for name in users.unserved(&offered) {
        warnings.push(format!(
            "user {name} can use none of the offered methods; store another form (culvert passwd), or offer pap in [ppp] methods"
        ));
    }
    if users.is_empty() {
        warnings.push("there are no users, so nobody can log in".to_owned());
    }
    if let Some(reason) = &config.allow_weak_psk {
        warnings.push(format!("weak pre-shared keys are accepted: {reason}"));
    }
    for listener in &config.listeners {
        let place = listener.address.map_or_else(
            || "all other addresses".to_owned(),
            |address| address.to_string(),
        );
        let gates = [
            (listener.modp1024, "MODP-1024, which strong attackers break"),
            (
                listener.modp1536,
                "MODP-1536, which is below today's strength",
            ),
            (listener.triple_des, "3DES in IKE"),
            (listener.clear_l2tp, "L2TP without IPsec"),
        ];
        for (_, what) in gates.into_iter().filter(|(is_open, _)| *is_open) {
            warnings.push(format!("{what} is allowed on {place}"));
        }
    }
    for name in [Some(&config.outer), config.core.as_ref()]
        .into_iter()
        .flatten()
    {
        if let Err(error) = device::look_up(name) {
            warnings.push(error.to_string());
        }
    }
    warnings
}
