//! What the supervisor makes before there are children, and what disappears with it: devices, XDP programs, continuity memory.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use culvert_dataplane::api::{self, CoreDevice, DataplaneConfig, WorkerConfig};
use culvert_dataplane::device::{self, DeviceError, Link, VethPair};
use culvert_dataplane::lifeline;
use culvert_dataplane::mem::continuity;
use culvert_dataplane::xdp::{Attachment, Side, Steering, XdpError};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::CapabilitySet;
use tracing::{info, warn};

use crate::config::{Config, users};
use crate::control::{Begin, translate};
use crate::failure::Failure;
use crate::identity;
use crate::supervisor::{Plan, Start};

/// MTU of the veth pair: an Ethernet's, so that clients' packets go on as they are.
const VETH_MTU: u16 = 1_500;

/// What the supervisor holds while it serves; dropping it detaches the programs and removes the veth pair.
#[derive(Debug)]
pub struct Held {
    // In the order in which they go: programs before the devices they hang on.
    _steering: Steering,
    _pair: Option<VethPair>,
}

/// Checks privilege and machine, makes devices, and attaches the programs.
///
/// # Errors
/// `Usage` for what the operator can mend; what was made is removed again.
pub fn prepare(config: &Config) -> Result<(Plan, Held), Failure> {
    check_privilege()?;
    if let Some(reason) = &config.allow_weak_psk {
        warn!(reason, "weak pre-shared keys are accepted");
    }
    check_af_xdp(rustix::net::socket_with(
        AddressFamily::XDP,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    ))?;
    let users = users::read(&config.users).map_err(usage)?;
    users::parse(&config.users, &users).map_err(usage)?;
    let identity = identity::look_up(&config.process.user)?;
    let outer = look_up(&config.outer)?;
    let local_addresses = local_addresses(config, &outer)?;
    check_queues(config, &outer)?;
    let (core, pair) = core_side(config)?;
    let mut steering = Steering::load().map_err(xdp)?;
    steer(&mut steering, config, &local_addresses, &core)?;
    let dataplane = DataplaneConfig {
        outer: outer.device,
        core,
        workers: config.workers.iter().map(worker).collect(),
        clear_l2tp: clear_addresses(config, &local_addresses),
        local_addresses: local_addresses.into_iter().map(IpAddr::V4).collect(),
        gateway: config.ppp.gateway,
        limits: api::Limits {
            sets: config.limits.sets,
            sessions: config.limits.sessions,
            shards: config.limits.shards,
            frames: config.limits.frames,
        },
    };
    let begin = Begin {
        config: config.clone(),
        users,
        identity: Some(identity),
    };
    let plan = Plan {
        program: PathBuf::from("/proc/self/exe"),
        dataplane: Start {
            arguments: vec!["dataplane".to_owned(), identity.to_string()],
            fds: vec![
                seal(&dataplane)?,
                continuity::create(config.limits.shards, translate::REPLAY_WINDOW)?,
                steering.sockets(Side::Outer).map_err(xdp)?,
                steering.sockets(Side::Core).map_err(xdp)?,
                steering.verdicts().map_err(xdp)?,
            ],
        },
        control: Start {
            arguments: vec!["control".to_owned()],
            fds: vec![seal(&begin)?],
        },
        status_socket: config.process.status_socket.clone(),
    };
    Ok((
        plan,
        Held {
            _steering: steering,
            _pair: pair,
        },
    ))
}

fn seal(value: &impl serde::Serialize) -> Result<OwnedFd, Failure> {
    let bytes =
        postcard::to_allocvec(value).map_err(|error| Failure::Internal(error.to_string()))?;
    Ok(lifeline::seal(&zeroize::Zeroizing::new(bytes))?)
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::Usage(error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn xdp(error: XdpError) -> Failure {
    match error {
        XdpError::WrongObject(_) | XdpError::Kernel(_) => Failure::Internal(error.to_string()),
        XdpError::NoPrivilege
        | XdpError::NoAfXdp
        | XdpError::NoDevice(_)
        | XdpError::DeviceBusy(_)
        | XdpError::NotOnDevice(..)
        | XdpError::NoQueue(_) => Failure::Usage(error.to_string()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn device(error: DeviceError) -> Failure {
    match error {
        DeviceError::Io(_) => Failure::Internal(error.to_string()),
        DeviceError::NoDevice(_)
        | DeviceError::NoPrivilege
        | DeviceError::NameTaken(_)
        | DeviceError::InUse(_)
        | DeviceError::BadName(_)
        | DeviceError::MtuTooLarge(_)
        | DeviceError::RouteExists(..) => Failure::Usage(error.to_string()),
    }
}

/// What every process together needs; control keeps none of it.
const NEEDED: [(CapabilitySet, &str); 5] = [
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    (CapabilitySet::NET_RAW, "CAP_NET_RAW"),
    (CapabilitySet::BPF, "CAP_BPF"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
];

fn check_privilege() -> Result<(), Failure> {
    let held = rustix::thread::capabilities(None)?.effective;
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(one, _)| !held.contains(*one))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "no privilege: {} missing; run culvert as root, or from a service with these capabilities",
        missing.join(", ")
    )))
}

fn check_af_xdp(opened: Result<OwnedFd, Errno>) -> Result<(), Failure> {
    match opened {
        Ok(_) => Ok(()),
        Err(Errno::AFNOSUPPORT) => Err(Failure::Usage(
            "this kernel has no AF_XDP; culvert needs Linux 5.11 or later with CONFIG_XDP_SOCKETS=y".to_owned(),
        )),
        Err(Errno::PERM | Errno::ACCESS) => Err(Failure::Usage(
            "AF_XDP sockets are not permitted here; run culvert as root and outside of sandboxes that forbid them".to_owned(),
        )),
        Err(error) => Err(error.into()),
    }
}

fn look_up(name: &str) -> Result<Link, Failure> {
    let link = device::look_up(name).map_err(device)?;
    if !link.is_up {
        warn!(
            device = name,
            "is down: nothing will arrive (ip link set {name} up)"
        );
    }
    Ok(link)
}

fn local_addresses(config: &Config, outer: &Link) -> Result<Vec<Ipv4Addr>, Failure> {
    let present: Vec<Ipv4Addr> = outer
        .addresses
        .iter()
        .filter_map(|(address, _)| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })
        .collect();
    if config.addresses.is_empty() {
        if present.is_empty() {
            let device = &config.outer;
            return Err(Failure::Usage(format!(
                "{device} has no IPv4 address that clients could dial (ip addr add … dev {device})"
            )));
        }
        return Ok(present);
    }
    match config
        .addresses
        .iter()
        .find(|address| !present.contains(address))
    {
        Some(address) => Err(Failure::Usage(format!(
            "[outer] addresses: {address} is not an address of {}; it has {present:?}",
            config.outer
        ))),
        None => Ok(config.addresses.clone()),
    }
}

fn check_queues(config: &Config, link: &Link) -> Result<(), Failure> {
    match config
        .workers
        .iter()
        .find(|worker| worker.queue >= link.queues)
    {
        Some(worker) => Err(Failure::Usage(format!(
            "[workers]: {} has {} queues, so there is no queue {}; name fewer workers, or give the device more queues (ethtool -L)",
            link.device.name, link.queues, worker.queue
        ))),
        None => Ok(()),
    }
}

fn core_side(config: &Config) -> Result<(CoreDevice, Option<VethPair>), Failure> {
    if let Some(name) = &config.core {
        let link = look_up(name)?;
        check_queues(config, &link)?;
        return Ok((CoreDevice::Nic(link.device), None));
    }
    let queues = config
        .workers
        .iter()
        .map(|worker| worker.queue + 1)
        .max()
        .unwrap_or(1);
    let pair =
        VethPair::create(device::KERNEL_END, device::OUR_END, queues, VETH_MTU).map_err(device)?;
    for (network, prefix) in config.pools.iter().flat_map(|pool| pool.prefixes()) {
        pair.add_route(network, prefix).map_err(device)?;
    }
    warn_unless_forwarding();
    let core = CoreDevice::Veth {
        device: pair.ours().clone(),
        kernel_mac: pair.kernel().mac,
    };
    Ok((core, Some(pair)))
}

fn warn_unless_forwarding() {
    let forwards = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
    if forwards.trim() == "0" {
        warn!(
            "the kernel does not forward IPv4, so clients reach nothing beyond it (sysctl -w net.ipv4.ip_forward=1)"
        );
    }
}

fn steer(
    steering: &mut Steering,
    config: &Config,
    addresses: &[Ipv4Addr],
    core: &CoreDevice,
) -> Result<(), Failure> {
    for address in addresses {
        steering.add_address(IpAddr::V4(*address)).map_err(xdp)?;
    }
    for (network, prefix) in config.pools.iter().flat_map(|pool| pool.prefixes()) {
        steering.add_pool(network, prefix).map_err(xdp)?;
    }
    let (CoreDevice::Veth { device: inner, .. } | CoreDevice::Nic(inner)) = core;
    for (side, name) in [(Side::Core, &inner.name), (Side::Outer, &config.outer)] {
        match steering.attach(side, name).map_err(xdp)? {
            Attachment::Native => info!(device = name, "XDP attached in the driver"),
            Attachment::Generic => warn!(device = name, "XDP attached in the slow generic mode"),
        }
    }
    Ok(())
}

const fn worker(worker: &crate::config::Worker) -> WorkerConfig {
    WorkerConfig {
        cpu: worker.cpu,
        outer_queue: worker.queue,
        core_queue: worker.queue,
    }
}

fn clear_addresses(config: &Config, addresses: &[Ipv4Addr]) -> Vec<IpAddr> {
    let allowed = addresses
        .iter()
        .filter(|address| config.listener(**address).clear_l2tp);
    allowed.copied().map(IpAddr::V4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_af_xdp_is_told_from_a_sandbox() {
        let refused = |errno| match check_af_xdp(Err(errno)) {
            Err(Failure::Usage(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(refused(Errno::AFNOSUPPORT).contains("this kernel has no AF_XDP"));
        assert!(refused(Errno::PERM).contains("not permitted"));
    }
}
