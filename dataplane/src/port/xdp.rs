//! The AF_XDP port: one socket of [`crate::ring`] with its counters.

use std::os::fd::BorrowedFd;

use super::{Port, PortStatistics};
use crate::api::CoreId;
use crate::frame::{FramePool, Frames};
use crate::ring::{BindError, Endpoint, Mode, Socket, bind_sockets};

/// Ports over one UMEM, and its frames.
#[derive(Debug)]
pub struct Bound<const N: usize> {
    /// In the order of the endpoints.
    pub ports: [XdpPort; N],
    /// All frames that are not in a fill ring.
    pub pool: FramePool,
    /// Whether the devices read and write chunks themselves.
    pub mode: Mode,
}

/// Binds a worker's ports: outer and core side over one UMEM of `frames` chunks.
///
/// In zero-copy mode if all devices can, else in copy mode. A queue that a killed process held is released by the kernel in its own time:
/// this blocks up to five seconds for one. The ports receive once their sockets are in the XSKMAP ([`Port::fd`]).
///
/// # Errors
/// [`BindError`], whose text says what to do.
pub fn bind<const N: usize>(
    owner: CoreId,
    frames: u32,
    endpoints: [Endpoint<'_>; N],
) -> Result<Bound<N>, BindError> {
    let ((sockets, pool), mode) = bind_sockets(owner, frames, endpoints)?;
    tracing::info!(core = owner.0, ?endpoints, ?mode, frames, "bound");
    Ok(Bound {
        ports: sockets.map(XdpPort::new),
        pool,
        mode,
    })
}

/// One queue of one device, through AF_XDP.
#[derive(Debug)]
pub struct XdpPort {
    socket: Socket,
    counted: PortStatistics,
}

impl XdpPort {
    fn new(socket: Socket) -> Self {
        Self {
            socket,
            counted: PortStatistics::default(),
        }
    }
}

impl Port for XdpPort {
    fn receive(&mut self, pool: &mut FramePool, into: &mut Frames) -> usize {
        let taken = self.socket.receive(pool, into);
        self.counted.received += taken.good as u64;
        self.counted.rx_invalid += taken.invalid as u64;
        self.socket.refill(pool);
        taken.good
    }

    fn transmit(&mut self, pool: &mut FramePool, frames: &mut Frames) -> usize {
        let completed = self.socket.complete(pool);
        self.counted.completed += completed.good as u64;
        let taken = self.socket.send(pool, frames);
        self.counted.sent += taken.good as u64;
        self.counted.tx_invalid += taken.invalid as u64;
        self.counted.tx_ring_full += u64::from(!frames.is_empty());
        taken.good
    }

    /// A wake that fails (the device is down or gone) changes nothing: the frames stay on the ring, and the ring fills up and is counted.
    fn wake(&mut self) {
        if self.socket.wake().is_err() {
            self.counted.wake_failed += 1;
        }
    }

    fn held(&self) -> usize {
        self.socket.filling() + self.socket.sending()
    }

    fn in_flight(&self) -> usize {
        self.socket.sending()
    }

    fn statistics(&self) -> PortStatistics {
        let Ok(kernel) = self.socket.statistics() else {
            return self.counted;
        };
        PortStatistics {
            rx_dropped: kernel.rx_dropped(),
            rx_ring_full: kernel.rx_ring_full(),
            fill_ring_empty: kernel.rx_fill_ring_empty_descs(),
            rx_invalid: self.counted.rx_invalid + kernel.rx_invalid_descs(),
            tx_invalid: self.counted.tx_invalid + kernel.tx_invalid_descs(),
            ..self.counted
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.fd())
    }
}
