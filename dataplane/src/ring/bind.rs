//! Binding: a UMEM and its sockets, made together and, if that fails for a passing reason, made again.

use std::error::Error;
use std::ffi::CString;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io, thread};

use rustix::io::Errno;
use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, QueueSize, SocketConfig};
use xsk_rs::socket;

use super::lent::Lent;
use super::mapping::Mapping;
use super::socket::{Queues, Socket, take_back};
use crate::api::CoreId;
use crate::frame::{BATCH, FramePool, Ledger, Memory};

/// One queue of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// The device's name in the namespace we run in.
    pub device: &'a str,
    /// The queue, counted from 0.
    pub queue: u32,
}

/// Whether the device reads and writes our chunks itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    ZeroCopy,
    /// The kernel copies between chunks and the device's buffers.
    Copy,
}

/// Why no socket could be bound.
#[derive(Debug)]
pub enum BindError {
    /// There is no such device in this namespace.
    NoDevice(String),
    /// The device has no such queue.
    NoQueue(String, u32),
    /// Another process has the queue, and kept it for as long as we waited.
    QueueBusy(String, u32),
    /// The process may not open AF_XDP sockets.
    NoPrivilege,
    /// The kernel does not know AF_XDP.
    NoAfXdp,
    /// The kernel does not let the process lock so much memory, or has not so much.
    NoMemory {
        /// Frames asked for.
        frames: u32,
    },
    /// Fewer frames than the rings of one worker need.
    TooFewFrames {
        /// Frames asked for.
        frames: u32,
    },
    /// Anything else that the system says.
    Io(io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice(device) => write!(
                f,
                "there is no device {device}: see `ip link` in the gateway's namespace"
            ),
            Self::NoQueue(device, queue) => write!(
                f,
                "{device} has no queue {queue}: use fewer workers, or give it more queues with `ethtool -L {device} combined N`"
            ),
            Self::QueueBusy(device, queue) => write!(
                f,
                "queue {queue} of {device} is taken: another process has an AF_XDP socket on it, see `ss --xdp -p`"
            ),
            Self::NoPrivilege => f.write_str(
                "no privilege for AF_XDP: run with CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF",
            ),
            Self::NoAfXdp => f.write_str(
                "this kernel has no AF_XDP: it needs CONFIG_XDP_SOCKETS, in Linux 5.10 or later",
            ),
            Self::NoMemory { frames } => write!(
                f,
                "no memory for {frames} frames of 4 KiB: raise the memlock limit (LimitMEMLOCK=infinity), or ask for fewer frames"
            ),
            Self::TooFewFrames { frames } => write!(
                f,
                "{frames} frames are too few: a worker needs at least {FEWEST_FRAMES}"
            ),
            Self::Io(error) => write!(f, "AF_XDP: {error}"),
        }
    }
}

impl Error for BindError {}

/// Frames below which rings of one batch each would hold them all.
pub const FEWEST_FRAMES: u32 = 4 * WHOLE_BATCH;

#[expect(clippy::cast_possible_truncation, reason = "64 fits")]
const WHOLE_BATCH: u32 = BATCH as u32;

/// The longest ring: beyond this a packet would wait for milliseconds.
const LONGEST_RING: u32 = 2_048;

/// How long to wait for a queue that the kernel has not released yet.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sockets and frames made together.
pub(crate) type Bound<const N: usize> = ([Socket; N], FramePool);

/// Binds one socket to each endpoint over one new UMEM of `frames` chunks, in zero-copy mode if all can, else in copy mode.
///
/// A queue that was closed a moment ago is released by the kernel in its own time, so this waits up to five seconds for one.
/// Returns the sockets in the order of `endpoints` with full fill rings, the pool with all other frames, and the mode.
///
/// # Errors
/// [`BindError`], whose text says what to do.
pub(crate) fn bind_sockets<const N: usize>(
    owner: CoreId,
    frames: u32,
    endpoints: [Endpoint<'_>; N],
) -> Result<(Bound<N>, Mode), BindError> {
    let total = NonZeroU32::new(frames)
        .filter(|frames| frames.get() >= FEWEST_FRAMES)
        .ok_or(BindError::TooFewFrames { frames })?;
    let bound = match bind_patiently(owner, total, endpoints, Mode::ZeroCopy) {
        Err(failure) if failure.speaks_against_zero_copy() => {
            bind_patiently(owner, total, endpoints, Mode::Copy).map(|bound| (bound, Mode::Copy))
        }
        bound => bound.map(|bound| (bound, Mode::ZeroCopy)),
    };
    bound.map_err(|failure| failure.explain(frames))
}

/// What failed, and for which endpoint if it was not the UMEM.
#[derive(Debug)]
struct Failure<'a> {
    endpoint: Option<Endpoint<'a>>,
    cause: io::Error,
}

impl Failure<'_> {
    fn errno(&self) -> Option<Errno> {
        Errno::from_io_error(&self.cause)
    }

    fn is_busy(&self) -> bool {
        self.errno() == Some(Errno::BUSY)
    }

    fn speaks_against_zero_copy(&self) -> bool {
        self.endpoint.is_some() && matches!(self.errno(), Some(Errno::OPNOTSUPP | Errno::INVAL))
    }

    fn explain(self, frames: u32) -> BindError {
        match (self.errno(), self.endpoint) {
            (Some(Errno::PERM | Errno::ACCESS), _) => BindError::NoPrivilege,
            (Some(Errno::AFNOSUPPORT), _) => BindError::NoAfXdp,
            (Some(Errno::NOBUFS | Errno::NOMEM), _) => BindError::NoMemory { frames },
            (Some(Errno::NODEV), Some(at)) => BindError::NoDevice(at.device.to_owned()),
            (Some(Errno::INVAL), Some(at)) => BindError::NoQueue(at.device.to_owned(), at.queue),
            (Some(Errno::BUSY), Some(at)) => BindError::QueueBusy(at.device.to_owned(), at.queue),
            _ => BindError::Io(self.cause),
        }
    }
}

fn bind_patiently<const N: usize>(
    owner: CoreId,
    total: NonZeroU32,
    endpoints: [Endpoint<'_>; N],
    mode: Mode,
) -> Result<Bound<N>, Failure<'_>> {
    let mut waited = Duration::ZERO;
    let mut pause = Duration::from_millis(1);
    loop {
        match bind_once(owner, total, endpoints, mode) {
            Err(failure) if failure.is_busy() && waited < PATIENCE => {
                thread::sleep(pause);
                waited += pause;
                pause = (pause * 2).min(Duration::from_millis(100));
            }
            result => return result,
        }
    }
}

fn bind_once<const N: usize>(
    owner: CoreId,
    total: NonZeroU32,
    endpoints: [Endpoint<'_>; N],
    mode: Mode,
) -> Result<Bound<N>, Failure<'_>> {
    let size = ring_size(total.get(), N);
    let in_umem = |cause| Failure {
        endpoint: None,
        cause,
    };
    let mapping = Mapping::new(total, size).map_err(in_umem)?;
    let ledger = Arc::new(Ledger::new(
        owner,
        total.get() as usize,
        Some(Memory::Umem(mapping)),
    ));
    let mut pool = all_frames(&ledger);
    let mut sockets = Vec::with_capacity(N);
    for at in endpoints {
        let queues = open(&ledger, at, mode, size).map_err(|cause| Failure {
            endpoint: Some(at),
            cause,
        })?;
        let mut socket = Socket::new(queues, size.get() as usize, Arc::clone(&ledger));
        socket.refill(&mut pool);
        sockets.push(socket);
    }
    let sockets = sockets
        .try_into()
        .expect("one socket was made for each endpoint");
    Ok((sockets, pool))
}

/// Half the frames are for receiving, shared by the sockets evenly; rings are a power of two.
fn ring_size(frames: u32, sockets: usize) -> QueueSize {
    let share = frames / 2 / u32::try_from(sockets).unwrap_or(u32::MAX).max(1);
    let size = 1 << share.clamp(1, LONGEST_RING).ilog2();
    QueueSize::new(size).expect("a power of two")
}

/// The first frames of a new UMEM: the one time that chunks become frames without the kernel's having had them (R2).
fn all_frames(ledger: &Arc<Ledger>) -> FramePool {
    let mut pool = FramePool::empty(Arc::clone(ledger));
    ledger.taken_back(ledger.total());
    let mut unborn = Lent::of_new_umem(ledger.total());
    let frames = (0..ledger.total()).filter_map(|number| take_back(&mut unborn, ledger, number));
    frames.for_each(|frame| pool.give(frame));
    pool
}

fn open(ledger: &Ledger, at: Endpoint<'_>, mode: Mode, size: QueueSize) -> io::Result<Queues> {
    let mapping = ledger.mapping().ok_or(io::ErrorKind::NotFound)?;
    let device = Interface::new(CString::new(at.device)?);
    let copying = match mode {
        Mode::ZeroCopy => BindFlags::XDP_ZEROCOPY,
        Mode::Copy => BindFlags::XDP_COPY,
    };
    let config = SocketConfig::builder()
        .rx_queue_size(size)
        .tx_queue_size(size)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(copying | BindFlags::XDP_USE_NEED_WAKEUP)
        .build();
    // SAFETY: xsk-rs asks that libxdp load no program of its own where a queue is bound twice; it never does here.
    let made = unsafe { socket::Socket::new(config, mapping.umem(), &device, at.queue) };
    let (tx, rx, rings) = made.map_err(io_cause)?;
    let (fill, completion) = rings.ok_or(Errno::BUSY)?;
    Ok(Queues {
        fill,
        completion,
        rx,
        tx,
        size: size.get(),
    })
}

/// The system's error inside one of xsk-rs's, which are texts.
pub(super) fn io_cause(error: impl Error + Send + Sync + 'static) -> io::Error {
    let errno = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    match errno.and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_take_half_the_frames_at_most() {
        assert_eq!(ring_size(4_096, 2).get(), 1_024);
        assert_eq!(ring_size(5_000, 2).get(), 1_024);
        assert_eq!(ring_size(1 << 20, 2).get(), LONGEST_RING);
        assert_eq!(ring_size(FEWEST_FRAMES, 2).get(), 64);
        assert_eq!(ring_size(FEWEST_FRAMES, 1).get(), 128);
    }

    #[test]
    fn every_failure_says_what_to_do() {
        let at = Endpoint {
            device: "wan0",
            queue: 3,
        };
        let explain = |errno: Errno| {
            let failure = Failure {
                endpoint: Some(at),
                cause: errno.into(),
            };
            failure.explain(4_096).to_string()
        };
        assert!(explain(Errno::PERM).contains("CAP_NET_RAW"));
        assert!(explain(Errno::AFNOSUPPORT).contains("CONFIG_XDP_SOCKETS"));
        assert!(explain(Errno::NODEV).contains("no device wan0"));
        assert!(explain(Errno::INVAL).contains("no queue 3"));
        assert!(explain(Errno::BUSY).contains("is taken"));
        assert!(explain(Errno::NOBUFS).contains("memlock"));
    }

    #[test]
    fn too_few_frames_are_refused_before_anything_is_opened() {
        let at = Endpoint {
            device: "none",
            queue: 0,
        };
        let refused = bind_sockets(CoreId(0), FEWEST_FRAMES - 1, [at]);
        assert!(matches!(
            refused,
            Err(BindError::TooFewFrames { frames: 255 })
        ));
    }
}
