//! Where to send a packet for an address: the kernel's routes and neighbours, watched by netlink.
//!
//! ```text
//! destination ── route ──► gateway, or itself if on the link ── neighbour ──► Ethernet address
//!                 └► our source address, MTU of the path
//! ```
//! The kernel decides, and we ask it: once per destination, and again whenever a route, a neighbour or the device changes. Neighbours that
//! nobody but AF_XDP uses would grow stale and be forgotten: each is registered as managed (NTF_EXT_MANAGED, Linux 5.16), so that the kernel
//! probes it for as long as we watch. Doing so takes CAP_NET_ADMIN.
//!
//! For the data plane's one ordinary thread: [`NextHops::watch`] and [`NextHops::changed`] are driven there, and workers get the results.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;
use std::{fmt, io};

use tokio::time::{Instant, timeout_at};

use crate::api::Device;

mod kernel;
mod table;

use kernel::{Event, Kernel};
use table::{Doubt, Table};

/// All that a frame to a destination needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Ethernet address of the gateway, or of the destination itself.
    pub mac: [u8; 6],
    /// The address that the kernel would send from.
    pub source: Option<IpAddr>,
    /// The largest IP packet in bytes: the route's own limit, or the device's.
    pub mtu: u16,
}

/// A destination whose next hop is another one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// The destination.
    pub destination: IpAddr,
    /// Its next hop; `None` while there is no route, the route leaves by another device, or the neighbour does not answer.
    pub next_hop: Option<NextHop>,
}

/// Why a destination is not watched.
#[derive(Debug)]
pub enum NextHopError {
    /// As many destinations as were agreed are watched.
    Exhausted,
    /// The process may not register neighbours.
    NoPrivilege,
    /// The kernel does not answer, or what it says.
    Io(io::Error),
}

impl fmt::Display for NextHopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted => f.write_str("too many destinations are watched"),
            Self::NoPrivilege => f.write_str(
                "no privilege to keep neighbours alive: the data plane needs CAP_NET_ADMIN",
            ),
            Self::Io(error) => write!(f, "routes and neighbours: {error}"),
        }
    }
}

impl Error for NextHopError {}

/// The next hops of the destinations that are reached through one device.
#[derive(Debug)]
pub struct NextHops {
    kernel: Kernel,
    table: Table,
    /// When all destinations are asked about next, if they are to be.
    recheck: Option<Instant>,
    rechecked: Option<Instant>,
}

/// Routes may change hundreds of times a second, and each change may concern any destination: all are asked about at once, but at
/// most once in this time.
const RECHECK_PAUSE: Duration = Duration::from_secs(1);

impl NextHops {
    /// Watches `device` for up to `limit` destinations. Must be called within a runtime, whose tasks then carry the netlink connection.
    ///
    /// # Errors
    /// What the system says about the socket.
    pub fn new(device: &Device, limit: usize) -> io::Result<Self> {
        Ok(Self {
            kernel: Kernel::new(device.index)?,
            table: Table::new(device.mtu, limit),
            recheck: None,
            rechecked: None,
        })
    }

    /// Begins to watch a destination, and returns its next hop as far as the kernel knows it now; what it learns later comes as an [`Update`].
    ///
    /// Watching a destination again does no harm.
    ///
    /// # Errors
    /// [`NextHopError::Exhausted`] at the limit; otherwise the kernel's refusal, and the destination is not watched.
    pub async fn watch(&mut self, destination: IpAddr) -> Result<Option<NextHop>, NextHopError> {
        self.table.insert(destination)?;
        if let Err(error) = self.refresh(destination).await {
            self.unwatch(destination);
            return Err(error);
        }
        self.table
            .updates
            .retain(|update| update.destination != destination);
        Ok(self.table.next_hop(destination))
    }

    /// Ceases to watch a destination.
    pub fn unwatch(&mut self, destination: IpAddr) {
        self.table.remove(destination);
    }

    /// Waits for the next change; `None` once the kernel's connection is lost.
    ///
    /// May be cancelled at any time without losing a change.
    pub async fn changed(&mut self) -> Option<Update> {
        loop {
            while let Some(event) = self.kernel.pending_event() {
                self.absorb(&event);
            }
            if let Some(update) = self.table.updates.pop_front() {
                return Some(update);
            }
            if self.recheck.is_some_and(|due| due <= Instant::now()) {
                (self.recheck, self.rechecked) = (None, Some(Instant::now()));
                self.table.doubt_all();
            }
            if let Some(destination) = self.table.stale.first().copied() {
                if let Err(error) = self.refresh(destination).await {
                    tracing::debug!(%destination, %error, "no next hop");
                }
            } else if let Some(orphan) = self.table.orphans.first().copied() {
                self.kernel.release(orphan).await;
                self.table.orphans.remove(&orphan);
            } else if let Some(event) = self.event_or_recheck().await? {
                self.absorb(&event);
            }
        }
    }

    /// The next event, or `None` when it is time to ask about all; the outer `None` is the connection's end.
    async fn event_or_recheck(&mut self) -> Option<Option<Event>> {
        match self.recheck {
            Some(due) => timeout_at(due, self.kernel.event())
                .await
                .map_or(Some(None), |event| event.map(Some)),
            None => self.kernel.event().await.map(Some),
        }
    }

    fn absorb(&mut self, event: &Event) {
        if self.table.absorb(event) == Doubt::All && self.recheck.is_none() {
            let now = Instant::now();
            self.recheck = Some(
                self.rechecked
                    .map_or(now, |last| now.max(last + RECHECK_PAUSE)),
            );
        }
    }

    /// Asks the kernel about one destination; its entry is fresh afterwards, whatever comes of it.
    async fn refresh(&mut self, destination: IpAddr) -> Result<(), NextHopError> {
        let route = self.kernel.route(destination).await;
        let via = route
            .as_ref()
            .ok()
            .and_then(|route| route.as_ref())
            .map(|route| route.via);
        let neighbour = match via {
            Some(via) => self.kernel.keep(via).await,
            None => Ok(None),
        };
        let mac = *neighbour.as_ref().unwrap_or(&None);
        let known = route.as_ref().ok().copied().flatten();
        self.table.set(destination, known, mac);
        route.and(neighbour).map(|_| ())
    }
}
