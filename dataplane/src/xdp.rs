//! The XDP program in the kernel: loading, attaching, telling it what is ours, and handing its socket maps to the data plane.
//!
//! ```text
//! supervisor   Steering: programs, maps, links ── OwnedFd over the socket ──► data plane   SocketMap: queue → socket
//!              outer: our addresses ──► OUTER_SOCKETS[rx queue]                             Verdicts: counters
//!              core:  client pools  ──► CORE_SOCKETS[rx queue]
//! ```
//! The supervisor holds the links, so the programs stay attached while a data plane dies and another starts. The kernel takes a dead
//! process's sockets out of the maps; with no socket behind it the program drops what it would have steered.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::{fmt, io};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::{ProgramError, Xdp, XdpMode};
use aya::{Ebpf, EbpfError};
use culvert_ebpf::{
    CLIENT_POOLS, COUNTERS, OBJECT, OUTER_ADDRESSES, VERDICTS, address_key, counter,
};
use culvert_wire::classify::Verdict;
use rustix::io::Errno;

pub use culvert_ebpf::Side;

/// How a program hangs on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// In the driver, before a socket buffer is made.
    Native,
    /// In the kernel's common receive path: works everywhere, and is slow.
    Generic,
}

/// Why the program is not in place.
#[derive(Debug)]
pub enum XdpError {
    /// The process may not load or attach.
    NoPrivilege,
    /// The kernel does not know AF_XDP's map.
    NoAfXdp,
    /// There is no such device in this namespace.
    NoDevice(String),
    /// Another XDP program is on the device.
    DeviceBusy(String),
    /// The device takes XDP neither natively nor generically.
    NotOnDevice(String, io::Error),
    /// The queue is beyond the map's size.
    NoQueue(u32),
    /// The object is not the one that this build goes with.
    WrongObject(&'static str),
    /// Anything else: the kernel's own words.
    Kernel(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for XdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPrivilege => f.write_str(
                "no privilege for XDP: run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON",
            ),
            Self::NoAfXdp => f.write_str(
                "this kernel has no AF_XDP: it needs CONFIG_XDP_SOCKETS and CONFIG_BPF_SYSCALL",
            ),
            Self::NoDevice(device) => write!(
                f,
                "there is no device {device}: see `ip link` in the gateway's namespace"
            ),
            Self::DeviceBusy(device) => write!(
                f,
                "{device} has another XDP program: see `ip link show {device}`, and remove it with `ip link set {device} xdp off`"
            ),
            Self::NotOnDevice(device, error) => write!(
                f,
                "{device} takes no XDP program ({error}): use another device or driver"
            ),
            Self::NoQueue(queue) => write!(
                f,
                "queue {queue} is beyond the socket map: use fewer workers"
            ),
            Self::WrongObject(what) => write!(
                f,
                "the XDP object has no {what}: build the gateway and its object together"
            ),
            Self::Kernel(error) => {
                write!(f, "the kernel refuses the XDP program: {error}")?;
                innermost(error.as_ref()).map_or(Ok(()), |cause| write!(f, ": {cause}"))
            }
        }
    }
}

impl Error for XdpError {}

impl XdpError {
    /// Sorts what aya says; `None` for the device where none is concerned.
    fn from_aya(error: impl Error + Send + Sync + 'static, device: Option<&str>) -> Self {
        let errno = innermost(&error).and_then(Errno::from_io_error);
        match (errno, device) {
            (Some(Errno::PERM | Errno::ACCESS), _) => Self::NoPrivilege,
            (Some(Errno::BUSY | Errno::EXIST), Some(device)) => Self::DeviceBusy(device.to_owned()),
            (Some(Errno::NODEV), Some(device)) => Self::NoDevice(device.to_owned()),
            _ => Self::Kernel(Box::new(error)),
        }
    }

    fn from_load(error: EbpfError) -> Self {
        let no_socket_map = matches!(
            &error,
            EbpfError::MapError(MapError::CreateError { name, io_error })
                if name.ends_with("_SOCKETS") && Errno::from_io_error(io_error) == Some(Errno::INVAL)
        );
        if no_socket_map {
            Self::NoAfXdp
        } else {
            Self::from_aya(error, None)
        }
    }

    fn from_map(error: MapError) -> Self {
        Self::from_aya(error, None)
    }
}

/// The system's error at the bottom of aya's.
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(cause) = error.downcast_ref() {
            return Some(cause);
        }
        next = error.source();
    }
    None
}

/// Both programs loaded, with their maps and links; dropping it detaches them.
#[derive(Debug)]
pub struct Steering {
    ebpf: Ebpf,
}

impl Steering {
    /// Loads the programs and maps of [`culvert_ebpf::OBJECT`] into the kernel.
    ///
    /// # Errors
    /// [`XdpError`], whose text says what to do.
    pub fn load() -> Result<Self, XdpError> {
        let ebpf = Ebpf::load(OBJECT).map_err(XdpError::from_load)?;
        let mut steering = Self { ebpf };
        for side in Side::ALL {
            let loaded = steering.program(side)?.load();
            loaded.map_err(|error| XdpError::from_aya(error, None))?;
        }
        Ok(steering)
    }

    /// Makes `address` ours: tunnel traffic to it is steered on the outer side.
    ///
    /// # Errors
    /// [`XdpError::Kernel`] if the map is full.
    pub fn add_address(&mut self, address: IpAddr) -> Result<(), XdpError> {
        let map = self
            .ebpf
            .map_mut(OUTER_ADDRESSES)
            .ok_or(XdpError::WrongObject(OUTER_ADDRESSES))?;
        let mut addresses: HashMap<_, [u8; 16], u8> = map.try_into().map_err(XdpError::from_map)?;
        addresses
            .insert(address_key(address), 1, 0)
            .map_err(XdpError::from_map)
    }

    /// Makes `network`/`prefix` a client pool: packets to it are steered on the core side.
    ///
    /// `prefix`: 0 to 32; more counts as 32.
    ///
    /// # Errors
    /// [`XdpError::Kernel`] if the map is full.
    pub fn add_pool(&mut self, network: Ipv4Addr, prefix: u8) -> Result<(), XdpError> {
        let map = self
            .ebpf
            .map_mut(CLIENT_POOLS)
            .ok_or(XdpError::WrongObject(CLIENT_POOLS))?;
        let mut pools: LpmTrie<_, [u8; 4], u8> = map.try_into().map_err(XdpError::from_map)?;
        let key = Key::new(u32::from(prefix.min(32)), network.octets());
        pools.insert(&key, 1, 0).map_err(XdpError::from_map)
    }

    /// Attaches the program of `side` to a device: natively if its driver can, else generically, with a warning.
    ///
    /// # Errors
    /// [`XdpError`], whose text says what to do.
    pub fn attach(&mut self, side: Side, device: &str) -> Result<Attachment, XdpError> {
        let program = self.program(side)?;
        let refusal = match program.attach(device, XdpMode::Driver) {
            Ok(_) => return Ok(Attachment::Native),
            Err(ProgramError::UnknownInterface { name }) => return Err(XdpError::NoDevice(name)),
            Err(error) => XdpError::from_aya(error, Some(device)),
        };
        if !matches!(refusal, XdpError::Kernel(_)) {
            return Err(refusal);
        }
        tracing::warn!(device, %refusal, "no native XDP on this device: the slow generic mode is used");
        match program.attach(device, XdpMode::Skb) {
            Ok(_) => Ok(Attachment::Generic),
            Err(error) => Err(not_on_device(error, device)),
        }
    }

    /// The socket map of `side`, for [`SocketMap::new`] in the data plane.
    ///
    /// # Errors
    /// [`XdpError`] if the descriptor cannot be duplicated.
    pub fn sockets(&self, side: Side) -> Result<OwnedFd, XdpError> {
        let name = side.sockets();
        match self.ebpf.map(name) {
            Some(Map::XskMap(data)) => duplicate(data),
            _ => Err(XdpError::WrongObject(name)),
        }
    }

    /// The counters, for [`Verdicts::new`] in the data plane.
    ///
    /// # Errors
    /// [`XdpError`] if the descriptor cannot be duplicated.
    pub fn verdicts(&self) -> Result<OwnedFd, XdpError> {
        match self.ebpf.map(VERDICTS) {
            Some(Map::PerCpuArray(data)) => duplicate(data),
            _ => Err(XdpError::WrongObject(VERDICTS)),
        }
    }

    fn program(&mut self, side: Side) -> Result<&mut Xdp, XdpError> {
        let name = side.program();
        let program = self
            .ebpf
            .program_mut(name)
            .ok_or(XdpError::WrongObject(name))?;
        program.try_into().map_err(|_| XdpError::WrongObject(name))
    }
}

fn duplicate(data: &MapData) -> Result<OwnedFd, XdpError> {
    let fd = data.fd().as_fd().try_clone_to_owned();
    fd.map_err(|error| XdpError::Kernel(Box::new(error)))
}

fn not_on_device(error: ProgramError, device: &str) -> XdpError {
    let cause = innermost(&error).and_then(io::Error::raw_os_error);
    let refusal = XdpError::from_aya(error, Some(device));
    match cause {
        Some(cause) if matches!(refusal, XdpError::Kernel(_)) => {
            XdpError::NotOnDevice(device.to_owned(), io::Error::from_raw_os_error(cause))
        }
        _ => refusal,
    }
}

/// The socket map of one side: which AF_XDP socket gets the packets of which RX queue.
pub struct SocketMap(XskMap<MapData>);

impl SocketMap {
    /// Takes over a map that [`Steering::sockets`] gave out, perhaps in another process.
    ///
    /// # Errors
    /// [`XdpError::WrongObject`] if it is no socket map.
    pub fn new(fd: OwnedFd) -> Result<Self, XdpError> {
        let data = MapData::from_fd(fd).map_err(XdpError::from_map)?;
        let map = Map::from_map_data(data).map_err(XdpError::from_map)?;
        map.try_into()
            .map(Self)
            .map_err(|_| XdpError::WrongObject("socket map"))
    }

    /// Steers the packets of `queue` to `socket`, until it is closed.
    ///
    /// # Errors
    /// [`XdpError::NoQueue`] if the map is too small.
    pub fn set(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), XdpError> {
        match self.0.set(queue, socket.as_raw_fd(), 0) {
            Err(MapError::OutOfBounds { .. }) => Err(XdpError::NoQueue(queue)),
            result => result.map_err(XdpError::from_map),
        }
    }
}

/// How often the programs came to each verdict.
pub struct Verdicts(PerCpuArray<MapData, u64>);

impl Verdicts {
    /// Takes over a map that [`Steering::verdicts`] gave out, perhaps in another process.
    ///
    /// # Errors
    /// [`XdpError::WrongObject`] if it is no counter map.
    pub fn new(fd: OwnedFd) -> Result<Self, XdpError> {
        let data = MapData::from_fd(fd).map_err(XdpError::from_map)?;
        let map = Map::from_map_data(data).map_err(XdpError::from_map)?;
        let counters: PerCpuArray<_, u64> = map
            .try_into()
            .map_err(|_| XdpError::WrongObject(VERDICTS))?;
        let fits = counters.len() == COUNTERS;
        fits.then_some(Self(counters))
            .ok_or(XdpError::WrongObject(VERDICTS))
    }

    /// How many frames of `side` got this verdict, over all CPUs.
    ///
    /// # Errors
    /// [`XdpError::WrongObject`] if the map is of another build.
    pub fn read(&self, side: Side, verdict: Verdict) -> Result<u64, XdpError> {
        match self.0.get(&counter(side, verdict), 0) {
            Err(MapError::OutOfBounds { .. }) => Err(XdpError::WrongObject(VERDICTS)),
            per_cpu => per_cpu
                .map(|per_cpu| per_cpu.iter().sum())
                .map_err(XdpError::from_map),
        }
    }
}

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;

    fn refused(errno: Errno) -> ProgramError {
        let io_error = errno.into();
        ProgramError::SyscallError(SyscallError {
            call: "bpf",
            io_error,
        })
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let explain = |errno, device| XdpError::from_aya(refused(errno), device).to_string();
        assert!(explain(Errno::PERM, None).contains("CAP_BPF"));
        assert!(explain(Errno::PERM, Some("wan0")).contains("CAP_NET_ADMIN"));
        assert!(explain(Errno::BUSY, Some("wan0")).contains("ip link set wan0 xdp off"));
        assert!(explain(Errno::NODEV, Some("wan0")).contains("no device wan0"));
        let odd = explain(Errno::NOSPC, None);
        assert!(odd.contains("No space left"), "{odd}");
        let neither = not_on_device(refused(Errno::OPNOTSUPP), "ppp0").to_string();
        assert!(neither.contains("ppp0 takes no XDP program"), "{neither}");
    }

    #[test]
    fn a_kernel_without_socket_maps_is_named() {
        let create = |name: &str| {
            let io_error = Errno::INVAL.into();
            EbpfError::MapError(MapError::CreateError {
                name: name.to_owned(),
                io_error,
            })
        };
        let explained = XdpError::from_load(create("OUTER_SOCKETS")).to_string();
        assert!(explained.contains("CONFIG_XDP_SOCKETS"), "{explained}");
        assert!(matches!(
            XdpError::from_load(create("VERDICTS")),
            XdpError::Kernel(_)
        ));
    }
}
