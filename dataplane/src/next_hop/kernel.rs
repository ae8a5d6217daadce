//! The netlink side: one connection that asks, registers neighbours, and hears of changes.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's attributes are an open set of which a few matter"
)]

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
    NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use rustix::io::Errno;
use tokio::time::timeout;

use super::NextHopError;
use super::table::Route;
use crate::device::errno;

/// The kernel answers at once, or has lost the answer because our socket was full.
const PATIENCE: Duration = Duration::from_secs(2);

const GROUPS: [MulticastGroup; 4] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

type Message = NetlinkMessage<RouteNetlinkMessage>;

/// What the kernel announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A neighbour on our device has this Ethernet address, or does not answer.
    Neighbour(IpAddr, Option<[u8; 6]>),
    /// A neighbour on our device is removed, and with it our registration.
    NeighbourGone(IpAddr),
    /// The device has another MTU.
    DeviceMtu(u16),
    /// A route or the device's state changed, or announcements were lost.
    AskAgain,
}

/// The connection.
pub(super) struct Kernel {
    handle: Handle,
    announcements: Box<dyn Stream<Item = Message> + Send + Unpin>,
    device: u32,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl Kernel {
    pub(super) fn new(device: u32) -> io::Result<Self> {
        let (connection, handle, announcements) = rtnetlink::new_multicast_connection(&GROUPS)?;
        tokio::spawn(connection);
        let announcements = Box::new(announcements.map(|(message, _)| message));
        Ok(Self {
            handle,
            announcements,
            device,
        })
    }

    /// Waits for an announcement that concerns us; `None` once the connection is lost.
    pub(super) async fn event(&mut self) -> Option<Event> {
        loop {
            let message = self.announcements.next().await?;
            if let Some(event) = self.sort(&message) {
                return Some(event);
            }
        }
    }

    /// An announcement that is there already.
    pub(super) fn pending_event(&mut self) -> Option<Event> {
        loop {
            let message = self.announcements.next().now_or_never()??;
            if let Some(event) = self.sort(&message) {
                return Some(event);
            }
        }
    }

    /// The way to `destination`, if there is one through our device.
    pub(super) async fn route(&self, destination: IpAddr) -> Result<Option<Route>, NextHopError> {
        let question = question(destination);
        let mut answers = self.handle.route().get(question).execute();
        let answer = timeout(PATIENCE, answers.try_next())
            .await
            .map_err(|_| silence())?;
        match answer {
            Ok(message) => Ok(message.and_then(|message| self.read_route(&message, destination))),
            // Unreachable, prohibited, or no route at all: the kernel's answer, not its failure.
            Err(error) if errno(&error).is_some() => Ok(None),
            Err(error) => Err(NextHopError::Io(io::Error::other(error))),
        }
    }

    /// Makes the kernel resolve a neighbour and keep it alive; returns its Ethernet address if it is known now.
    pub(super) async fn keep(
        &mut self,
        neighbour: IpAddr,
    ) -> Result<Option<[u8; 6]>, NextHopError> {
        let known = self.neighbour(neighbour).await?;
        if known.as_ref().is_some_and(is_fixed_or_managed) {
            return Ok(known.as_ref().and_then(mac));
        }
        let managed = NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed);
        self.register(neighbour, Some(managed)).await?;
        let known = self.neighbour(neighbour).await?;
        Ok(known.as_ref().and_then(mac))
    }

    /// Leaves a neighbour to the kernel's own care again; one that is gone already needs none.
    pub(super) async fn release(&mut self, neighbour: IpAddr) {
        let known = self.neighbour(neighbour).await;
        if !known.is_ok_and(|known| known.as_ref().is_some_and(is_managed)) {
            return;
        }
        if let Err(error) = self.register(neighbour, None).await {
            tracing::debug!(%neighbour, %error, "the neighbour stays managed");
        }
    }

    async fn register(
        &self,
        neighbour: IpAddr,
        managed: Option<NeighbourAttribute>,
    ) -> Result<(), NextHopError> {
        let request = self
            .handle
            .neighbours()
            .add(self.device, neighbour)
            .replace();
        let mut request = request
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use);
        request.message_mut().attributes.extend(managed);
        let answer = timeout(PATIENCE, request.execute())
            .await
            .map_err(|_| silence())?;
        answer.map_err(|error| match errno(&error) {
            Some(Errno::PERM | Errno::ACCESS) => NextHopError::NoPrivilege,
            Some(code) => NextHopError::Io(code.into()),
            None => NextHopError::Io(io::Error::other(error)),
        })
    }

    /// The kernel's entry for one neighbour.
    async fn neighbour(
        &mut self,
        address: IpAddr,
    ) -> Result<Option<NeighbourMessage>, NextHopError> {
        let mut question = NeighbourMessage::default();
        question.header.family = family(address);
        question.header.ifindex = self.device;
        question
            .attributes
            .push(NeighbourAttribute::Destination(match address {
                IpAddr::V4(address) => NeighbourAddress::Inet(address),
                IpAddr::V6(address) => NeighbourAddress::Inet6(address),
            }));
        let mut request = Message::from(RouteNetlinkMessage::GetNeighbour(question));
        request.header.flags = NLM_F_REQUEST;
        let answers = self.handle.request(request);
        let mut answers = answers.map_err(|error| NextHopError::Io(io::Error::other(error)))?;
        let answer = timeout(PATIENCE, answers.next())
            .await
            .map_err(|_| silence())?;
        let Some(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(entry))) =
            answer.map(|answer| answer.payload)
        else {
            return Ok(None);
        };
        Ok(Some(entry))
    }

    fn sort(&self, message: &Message) -> Option<Event> {
        let NetlinkPayload::InnerMessage(message) = &message.payload else {
            return matches!(message.payload, NetlinkPayload::Overrun(_))
                .then_some(Event::AskAgain);
        };
        if let RouteNetlinkMessage::NewNeighbour(entry) = message {
            self.ours(entry)
                .map(|address| Event::Neighbour(address, mac(entry)))
        } else if let RouteNetlinkMessage::DelNeighbour(entry) = message {
            self.ours(entry).map(Event::NeighbourGone)
        } else if let RouteNetlinkMessage::NewLink(link) = message {
            self.sort_link(link)
        } else {
            let is_route = matches!(
                message,
                RouteNetlinkMessage::NewRoute(_) | RouteNetlinkMessage::DelRoute(_)
            );
            is_route.then_some(Event::AskAgain)
        }
    }

    fn sort_link(&self, link: &LinkMessage) -> Option<Event> {
        let mtu = |attribute: &LinkAttribute| match attribute {
            LinkAttribute::Mtu(mtu) => u16::try_from(*mtu).ok(),
            _ => None,
        };
        let mtu = link.attributes.iter().find_map(mtu).map(Event::DeviceMtu);
        (link.header.index == self.device).then(|| mtu.unwrap_or(Event::AskAgain))
    }

    /// The address of a neighbour on our device.
    fn ours(&self, entry: &NeighbourMessage) -> Option<IpAddr> {
        let address = |attribute: &NeighbourAttribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
                Some(IpAddr::V4(*address))
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
                Some(IpAddr::V6(*address))
            }
            _ => None,
        };
        (entry.header.ifindex == self.device)
            .then(|| entry.attributes.iter().find_map(address))
            .flatten()
    }

    fn read_route(&self, message: &RouteMessage, destination: IpAddr) -> Option<Route> {
        let mut route = Route {
            via: destination,
            source: None,
            mtu: None,
        };
        let mut device = None;
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(index) => device = Some(*index),
                RouteAttribute::Gateway(gateway) => route.via = read_address(gateway)?,
                RouteAttribute::Via(RouteVia::Inet(gateway)) => route.via = IpAddr::V4(*gateway),
                RouteAttribute::Via(RouteVia::Inet6(gateway)) => route.via = IpAddr::V6(*gateway),
                RouteAttribute::PrefSource(source) => route.source = read_address(source),
                RouteAttribute::Metrics(metrics) => route.mtu = metrics.iter().find_map(read_mtu),
                _ => {}
            }
        }
        (message.header.kind == RouteType::Unicast && device == Some(self.device)).then_some(route)
    }
}

fn silence() -> NextHopError {
    NextHopError::Io(io::ErrorKind::TimedOut.into())
}

fn question(destination: IpAddr) -> RouteMessage {
    let bits = if destination.is_ipv4() { 32 } else { 128 };
    let mut message = RouteMessageBuilder::<IpAddr>::new().build();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = bits;
    message
        .attributes
        .push(RouteAttribute::Destination(destination.into()));
    message
}

const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

const fn read_address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

fn read_mtu(metric: &RouteMetric) -> Option<u16> {
    let RouteMetric::Mtu(mtu) = metric else {
        return None;
    };
    u16::try_from(*mtu).ok()
}

/// The Ethernet address of a neighbour, if the kernel would send to it now.
fn mac(entry: &NeighbourMessage) -> Option<[u8; 6]> {
    use NeighbourState::{Delay, Noarp, Permanent, Probe, Reachable, Stale};
    let is_usable = matches!(
        entry.header.state,
        Reachable | Stale | Delay | Probe | Permanent | Noarp
    );
    let address = |attribute: &NeighbourAttribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(address) => address.as_slice().try_into().ok(),
        _ => None,
    };
    is_usable
        .then(|| entry.attributes.iter().find_map(address))
        .flatten()
}

fn is_managed(entry: &NeighbourMessage) -> bool {
    let managed = |attribute: &NeighbourAttribute| matches!(attribute, NeighbourAttribute::ExtFlags(flags) if flags.contains(NeighbourExtFlags::Managed));
    entry.attributes.iter().any(managed)
}

/// Entries that an administrator made stay as they are, and ours are registered already.
fn is_fixed_or_managed(entry: &NeighbourMessage) -> bool {
    is_managed(entry)
        || matches!(
            entry.header.state,
            NeighbourState::Permanent | NeighbourState::Noarp
        )
}
