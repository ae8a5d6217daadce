//! One end of a link through an AF_XDP port: frames in, frames out, and what is steered to us instead of to the kernel.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use culvert_dataplane::api::CoreId;
use culvert_dataplane::frame::{Frame, FramePool, Frames};
use culvert_dataplane::port::xdp::XdpPort;
use culvert_dataplane::port::{Port, PortStatistics, xdp};
use culvert_dataplane::ring::Endpoint;
use culvert_dataplane::xdp::{Side, SocketMap, Steering};
use culvert_wire::eth::{self, EtherType, MacAddress};

use crate::failure::Failure;

/// Frames of 4,096 bytes for one link.
const FRAMES: u32 = 8_192;

/// A network as address and prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    pub address: Ipv4Addr,
    /// 0 to 32.
    pub prefix: u8,
}

/// Our end and the next hop's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Ethernet address of our device.
    pub local: MacAddress,
    /// Ethernet address that all packets go to.
    pub next: MacAddress,
}

/// A port with its frames.
pub struct Link<P> {
    port: P,
    pool: FramePool,
    received: Option<Frames>,
    waiting: Frames,
    ethernet: [u8; eth::HEADER_LEN],
    /// Keeps the XDP program attached.
    _steering: Option<Steering>,
}

impl Link<XdpPort> {
    /// Binds queue 0 of `device`, in the network namespace of the calling thread, and takes what goes to `network` from the kernel.
    ///
    /// # Errors
    /// [`Failure::Xdp`] with what to do.
    pub fn open(device: &str, network: Network, hop: Hop) -> Result<Self, Failure> {
        let (port, pool, steering) = bind(device, network)?;
        Ok(Self::new(port, pool, hop, Some(steering)))
    }
}

/// Binds queue 0 of `device`, in the network namespace of the calling thread, and takes what goes to `network` from the kernel.
///
/// Returns the port, its frames, and what keeps the XDP program attached.
///
/// # Errors
/// [`Failure::Xdp`] with what to do.
pub fn bind(device: &str, network: Network) -> Result<(XdpPort, FramePool, Steering), Failure> {
    let xdp_failure =
        |error: &dyn std::fmt::Display| Failure::Xdp(device.to_owned(), error.to_string());
    let mut steering = Steering::load().map_err(|error| xdp_failure(&error))?;
    steering
        .add_pool(network.address, network.prefix)
        .map_err(|error| xdp_failure(&error))?;
    let bound = xdp::bind(CoreId(0), FRAMES, [Endpoint { device, queue: 0 }]);
    let bound = bound.map_err(|error| xdp_failure(&error))?;
    let [port] = bound.ports;
    let sockets = steering.sockets(Side::Core).and_then(SocketMap::new);
    let mut sockets = sockets.map_err(|error| xdp_failure(&error))?;
    if let Some(fd) = port.fd() {
        sockets.set(0, fd).map_err(|error| xdp_failure(&error))?;
    }
    steering
        .attach(Side::Core, device)
        .map_err(|error| xdp_failure(&error))?;
    Ok((port, bound.pool, steering))
}

impl<P: Port> Link<P> {
    /// Makes a link of a port that is already bound, such as an in-memory one.
    pub fn new(port: P, pool: FramePool, hop: Hop, steering: Option<Steering>) -> Self {
        let header = eth::Header {
            destination: hop.next,
            source: hop.local,
            tags: [None; eth::MAX_TAGS],
            ether_type: EtherType::IPV4,
        };
        let mut ethernet = [0; eth::HEADER_LEN];
        header
            .emit(&mut ethernet)
            .expect("a header without tags has this length");
        Self {
            port,
            pool,
            received: Some(Frames::new()),
            waiting: Frames::new(),
            ethernet,
            _steering: steering,
        }
    }

    /// Receives a batch; give each frame back with [`Link::give`].
    pub fn receive(&mut self) -> Frames {
        let mut received = self.received.take().unwrap_or_default();
        self.port.receive(&mut self.pool, &mut received);
        received
    }

    /// Takes the empty batch back for the next [`Link::receive`]; frames left in it are freed.
    pub fn recycle(&mut self, mut batch: Frames) {
        while let Some(frame) = batch.pop() {
            self.pool.give(frame);
        }
        self.received = Some(batch);
    }

    /// How many frames [`Link::send`] takes before the next [`Link::flush`].
    pub fn room(&self) -> usize {
        self.waiting.room()
    }

    /// A frame to fill behind the Ethernet header that it already has; `None` if there is no room to send one.
    pub fn frame(&mut self) -> Option<Frame> {
        if self.waiting.room() == 0 {
            return None;
        }
        let mut frame = self.pool.take()?;
        frame.set_len(self.ethernet.len());
        frame.bytes_mut().copy_from_slice(&self.ethernet);
        Some(frame)
    }

    /// Queues a frame from [`Link::frame`].
    pub fn send(&mut self, frame: Frame) {
        if let Err(frame) = self.waiting.push(frame) {
            self.pool.give(frame);
        }
    }

    /// Gives back a frame that is not sent.
    pub fn give(&mut self, frame: Frame) {
        self.pool.give(frame);
    }

    /// Hands what is queued to the kernel and wakes it; what the ring does not take stays queued.
    pub fn flush(&mut self) {
        self.port.transmit(&mut self.pool, &mut self.waiting);
        self.port.wake();
    }

    /// Whether frames wait for room on the ring.
    pub fn is_backed_up(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The port's counters.
    pub fn statistics(&self) -> PortStatistics {
        self.port.statistics()
    }

    /// What to poll when idle.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.port.fd()
    }
}
