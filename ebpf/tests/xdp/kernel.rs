//! The object loaded into the kernel, its maps filled, its programs run over single frames.

use std::fs;
use std::io::{Write, stderr};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, MapData, PerCpuArray, XskMap};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use culvert_ebpf::{CLIENT_POOLS, OBJECT, OUTER_ADDRESSES, Side, VERDICTS, address_key, counter};
use culvert_wire::classify::Verdict;
use rustix::net::{AddressFamily, SocketType, socket};

use crate::data_of;
use crate::frames::{OUR_ADDRESSES, POOL, POOL_PREFIX};

/// What a program returns (linux/bpf.h, `enum xdp_action`).
pub(crate) const DROP: u32 = 1;
pub(crate) const PASS: u32 = 2;
pub(crate) const REDIRECT: u32 = 4;

/// Bytes of the shortest frame that `BPF_PROG_TEST_RUN` takes.
pub(crate) const SHORTEST: usize = 14;

/// Whether a socket waits behind queue 0, the one that test frames come from.
#[derive(PartialEq, Eq)]
pub(crate) enum Sockets {
    Present,
    Absent,
}

pub(crate) struct Kernel {
    ebpf: Ebpf,
    /// Keeps its places in the maps while it is open.
    _socket: Option<OwnedFd>,
}

impl Kernel {
    /// Loads the object; `None`, and a word about it, without root.
    pub(crate) fn load(sockets: Sockets) -> Option<Self> {
        if !is_root() {
            skip();
            return None;
        }
        let mut ebpf = Ebpf::load(OBJECT).expect("the object and its maps load");
        for side in Side::ALL {
            let program: &mut Xdp = ebpf
                .program_mut(side.program())
                .unwrap()
                .try_into()
                .unwrap();
            program.load().expect("the verifier accepts the program");
        }
        fill(&mut ebpf);
        let socket = (sockets == Sockets::Present).then(|| put_socket(&mut ebpf));
        Some(Self {
            ebpf,
            _socket: socket,
        })
    }

    /// What the program of `side` returns for `frame`.
    pub(crate) fn run(&self, side: Side, frame: &[u8]) -> u32 {
        let program: &Xdp = self
            .ebpf
            .program(side.program())
            .unwrap()
            .try_into()
            .unwrap();
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        program
            .test_run(options)
            .expect("the test run starts")
            .return_value
    }

    /// The verdict that was counted for `frame`, once, and what the program returned.
    pub(crate) fn verdict(&self, side: Side, frame: &[u8]) -> (Verdict, u32) {
        let before = Side::ALL.map(|side| self.counters(side));
        let returned = self.run(side, frame);
        let after = Side::ALL.map(|side| self.counters(side));
        let mut changed = Vec::new();
        for side in Side::ALL {
            for verdict in Verdict::ALL {
                let place = (side as usize, verdict.index());
                let count = after[place.0][place.1] - before[place.0][place.1];
                changed.extend((count != 0).then_some((side, verdict, count)));
            }
        }
        match changed[..] {
            [(counted_side, verdict, 1)] if counted_side == side => (verdict, returned),
            _ => panic!("one frame on {side:?} counted as {changed:?}"),
        }
    }

    /// The counters of one side over all CPUs, in the order of [`Verdict::ALL`].
    pub(crate) fn counters(&self, side: Side) -> [usize; Verdict::ALL.len()] {
        let map: PerCpuArray<_, u64> = self.ebpf.map(VERDICTS).unwrap().try_into().unwrap();
        Verdict::ALL.map(|verdict| {
            let counts = map.get(&counter(side, verdict), 0).unwrap();
            counts
                .iter()
                .map(|count| usize::try_from(*count).unwrap())
                .sum()
        })
    }

    /// The map called `name`.
    pub(crate) fn map(&self, name: &str) -> Option<&MapData> {
        self.ebpf.map(name).map(data_of)
    }
}

fn fill(ebpf: &mut Ebpf) {
    let map = ebpf.map_mut(OUTER_ADDRESSES).unwrap();
    let mut addresses: HashMap<_, [u8; 16], u8> = map.try_into().unwrap();
    for address in OUR_ADDRESSES {
        addresses.insert(address_key(address), 1, 0).unwrap();
    }
    let map = ebpf.map_mut(CLIENT_POOLS).unwrap();
    let mut pools: LpmTrie<_, [u8; 4], u8> = map.try_into().unwrap();
    let IpAddr::V4(pool) = POOL else {
        panic!("pools are of IPv4")
    };
    pools
        .insert(&Key::new(POOL_PREFIX, pool.octets()), 1, 0)
        .unwrap();
}

/// An AF_XDP socket needs no device to take its place in a map.
fn put_socket(ebpf: &mut Ebpf) -> OwnedFd {
    let socket = socket(AddressFamily::XDP, SocketType::RAW, None).expect("the kernel has AF_XDP");
    for side in Side::ALL {
        let map = ebpf.map_mut(side.sockets()).unwrap();
        let mut sockets: XskMap<_> = map.try_into().unwrap();
        sockets.set(0, socket.as_raw_fd(), 0).unwrap();
    }
    socket
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    effective == Some("0")
}

/// Straight to the terminal, on a line of its own: the harness would swallow `eprintln!` of a test that passes.
fn skip() {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("\nSKIPPED: {test} needs root, to load the XDP program into the kernel\n");
    stderr().write_all(line.as_bytes()).unwrap();
}
