//! Network devices: looking one up, and the veth pair by which the kernel routes for clients.
//!
//! ```text
//!   data plane ── AF_XDP ── culvert1 ═══════ culvert0 ── the kernel: routes, filters, masquerades ── LAN, Internet
//!                           our end          kernel's end: NOARP, finishes checksums, routes of the client pools
//! ```
//! For the supervisor, at start and end: every function here blocks for as long as the kernel takes to answer. Each opens a netlink
//! connection on a thread of its own, in the namespace of the caller, so that it serves inside and outside of an async runtime.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::{fmt, io, thread};

use futures_util::TryStreamExt;
use rtnetlink::Handle;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rustix::io::Errno;

use crate::api::Device;
use crate::ring::ethtool;

mod veth;

pub use veth::{KERNEL_END, MAX_MTU, OUR_END, VethPair};

/// Why a device is not as it should be.
#[derive(Debug)]
pub enum DeviceError {
    /// There is no such device in this namespace.
    NoDevice(String),
    /// The process may not change devices and routes.
    NoPrivilege,
    /// A device of this name exists and is not a veth.
    NameTaken(String),
    /// A veth of this name exists and has an XDP program: another gateway is running.
    InUse(String),
    /// No device can be called so.
    BadName(String),
    /// The MTU is above [`MAX_MTU`].
    MtuTooLarge(u16),
    /// There is another route to this pool.
    RouteExists(Ipv4Addr, u8),
    /// Anything else that the system says.
    Io(io::Error),
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice(name) => write!(
                f,
                "there is no device {name}: see `ip link` in the gateway's namespace"
            ),
            Self::NoPrivilege => {
                f.write_str("no privilege for network devices: run as root, or with CAP_NET_ADMIN")
            }
            Self::NameTaken(name) => write!(
                f,
                "{name} exists and is no veth of ours: choose another name for the core pair"
            ),
            Self::InUse(name) => write!(
                f,
                "{name} is in use by another gateway: stop it, or choose another name for the core pair"
            ),
            Self::BadName(name) => write!(
                f,
                "{name:?} is no name for a device: 1 to 15 bytes, without slashes and blanks"
            ),
            Self::MtuTooLarge(mtu) => write!(
                f,
                "an MTU of {mtu} is too large for native XDP: at most {MAX_MTU}"
            ),
            Self::RouteExists(network, prefix) => write!(
                f,
                "there is a route to {network}/{prefix} already: see `ip route`"
            ),
            Self::Io(error) => write!(f, "network device: {error}"),
        }
    }
}

impl Error for DeviceError {}

impl From<rtnetlink::Error> for DeviceError {
    fn from(error: rtnetlink::Error) -> Self {
        let refused = errno(&error);
        if matches!(refused, Some(Errno::PERM | Errno::ACCESS)) {
            return Self::NoPrivilege;
        }
        Self::Io(refused.map_or_else(|| io::Error::other(error), io::Error::from))
    }
}

impl From<io::Error> for DeviceError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::PermissionDenied {
            Self::NoPrivilege
        } else {
            Self::Io(error)
        }
    }
}

/// The kernel's answer in an error of rtnetlink.
pub(crate) fn errno(error: &rtnetlink::Error) -> Option<Errno> {
    let rtnetlink::Error::NetlinkError(message) = error else {
        return None;
    };
    message
        .code
        .map(|code| Errno::from_raw_os_error(code.get().wrapping_abs()))
}

/// A device as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Name, index, Ethernet address and MTU.
    pub device: Device,
    /// Its own addresses with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Queues that can both receive and send, for one worker each.
    pub queues: u32,
    /// Whether it is set up.
    pub is_up: bool,
}

/// Looks up a device by name.
///
/// # Errors
/// [`DeviceError::NoDevice`], or what the system says.
pub fn look_up(name: &str) -> Result<Link, DeviceError> {
    check_name(name)?;
    let (message, addresses) = over_netlink(async |handle| {
        let message = find(&handle, name)
            .await?
            .ok_or_else(|| DeviceError::NoDevice(name.to_owned()))?;
        let addresses = addresses(&handle, message.header.index).await?;
        Ok((message, addresses))
    })?;
    Ok(Link {
        device: describe(name, &message),
        addresses,
        queues: ethtool::queues(name)?.unwrap_or(1).max(1),
        is_up: message.header.flags.contains(LinkFlags::Up),
    })
}

/// Runs `work` with a netlink connection of its own.
fn over_netlink<T: Send>(
    work: impl AsyncFnOnce(Handle) -> Result<T, DeviceError> + Send,
) -> Result<T, DeviceError> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            tokio::spawn(connection);
            work(handle).await
        })
    };
    thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|_| Err(io::Error::other("netlink thread").into()))
}

fn check_name(name: &str) -> Result<(), DeviceError> {
    let is_legal = (1..16).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
    is_legal
        .then_some(())
        .ok_or_else(|| DeviceError::BadName(name.to_owned()))
}

async fn find(handle: &Handle, name: &str) -> Result<Option<LinkMessage>, DeviceError> {
    let mut found = handle.link().get().match_name(name).execute();
    match found.try_next().await {
        Err(error) if errno(&error) == Some(Errno::NODEV) => Ok(None),
        result => result.map_err(DeviceError::from),
    }
}

async fn addresses(handle: &Handle, index: u32) -> Result<Vec<(IpAddr, u8)>, DeviceError> {
    let mut messages = handle
        .address()
        .get()
        .set_link_index_filter(index)
        .execute();
    let mut addresses = Vec::new();
    while let Some(message) = messages.try_next().await? {
        // IPv6 has no local attribute unless there is a peer.
        let address = message.attributes.iter().find_map(local);
        let address = address.or_else(|| message.attributes.iter().find_map(of_either_end));
        addresses.extend(address.map(|address| (address, message.header.prefix_len)));
    }
    Ok(addresses)
}

fn local(attribute: &AddressAttribute) -> Option<IpAddr> {
    let AddressAttribute::Local(address) = attribute else {
        return None;
    };
    Some(*address)
}

fn of_either_end(attribute: &AddressAttribute) -> Option<IpAddr> {
    let AddressAttribute::Address(address) = attribute else {
        return None;
    };
    Some(*address)
}

fn describe(name: &str, message: &LinkMessage) -> Device {
    let mut device = Device {
        name: name.to_owned(),
        index: message.header.index,
        mac: [0; 6],
        mtu: 0,
    };
    for attribute in &message.attributes {
        if let LinkAttribute::Address(address) = attribute {
            device.mac = address.as_slice().try_into().unwrap_or_default();
        } else if let LinkAttribute::Mtu(mtu) = attribute {
            device.mtu = u16::try_from(*mtu).unwrap_or(u16::MAX);
        }
    }
    device
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_device_can_have_is_refused() {
        for name in ["", "sixteen-bytes-xx", "a/b", "a b", ".", "..", "a:1"] {
            assert!(
                matches!(look_up(name), Err(DeviceError::BadName(_))),
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_named() {
        let error = look_up("culvert-none").unwrap_err();
        assert!(
            error.to_string().contains("no device culvert-none"),
            "{error}"
        );
    }

    #[test]
    fn loopback_is_found_with_its_address() {
        let link = look_up("lo").unwrap();
        assert_eq!((link.device.index, link.queues), (1, 1));
    }
}
