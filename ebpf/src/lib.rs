//! The XDP program as an object file, and what user space must know to load it and to fill and read its maps.
//!
//! ```text
//! culvert_outer   OUTER_ADDRESSES  address as 16 bytes → 1      CLIENT_POOLS  prefix of IPv4 → 1    culvert_core
//!                 OUTER_SOCKETS    RX queue → AF_XDP socket     CORE_SOCKETS  RX queue → socket
//!                              VERDICTS  [side][verdict] → frames, one count per CPU
//! ```
//! Keys and values are plain arrays and integers, so that user space needs no `unsafe` to write them. The verdicts are those of
//! [`culvert_wire::classify`].
#![no_std]

use core::net::IpAddr;

use culvert_wire::classify::Verdict;

/// The compiled programs: an ELF file for the kernel's verifier, built by `build.sh` and committed, with the alignment that
/// ELF readers ask for.
#[cfg(not(target_arch = "bpf"))]
pub const OBJECT: &[u8] = {
    #[repr(C, align(8))]
    struct Aligned<T: ?Sized>(T);
    const ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!("../culvert-xdp.o"));
    &ALIGNED.0
};

/// Which of the two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    /// Where clients are: tunnel traffic to our addresses.
    Outer,
    /// Where the network is: packets to client pools.
    Core,
}

impl Side {
    /// Both, in the order of their counters.
    pub const ALL: [Self; 2] = [Self::Outer, Self::Core];

    /// Name of the program.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Outer => "culvert_outer",
            Self::Core => "culvert_core",
        }
    }

    /// Name of the map from RX queue to AF_XDP socket.
    pub const fn sockets(self) -> &'static str {
        match self {
            Self::Outer => "OUTER_SOCKETS",
            Self::Core => "CORE_SOCKETS",
        }
    }
}

/// Name of the map of our own addresses: [`address_key`] → 1.
pub const OUTER_ADDRESSES: &str = "OUTER_ADDRESSES";
/// Name of the map of client pools: a longest-prefix trie, IPv4 network → 1.
pub const CLIENT_POOLS: &str = "CLIENT_POOLS";
/// Name of the array of counters: [`counter`] → number of frames, one per CPU.
pub const VERDICTS: &str = "VERDICTS";

/// Our own addresses at most.
pub const MAX_ADDRESSES: u32 = 1_024;
/// Client pools at most.
pub const MAX_POOLS: u32 = 1_024;
/// RX queues at most; a frame from a higher one counts as without a socket.
pub const MAX_QUEUES: u32 = 64;

/// Number of counters.
#[expect(
    clippy::cast_possible_truncation,
    reason = "two sides of eleven verdicts"
)]
pub const COUNTERS: u32 = (Side::ALL.len() * Verdict::ALL.len()) as u32;

/// Place of a counter in [`VERDICTS`]: 0 to [`COUNTERS`] − 1.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "an index below COUNTERS")]
pub const fn counter(side: Side, verdict: Verdict) -> u32 {
    (side as usize * Verdict::ALL.len() + verdict.index()) as u32
}

/// Key of an address in [`OUTER_ADDRESSES`]: IPv4 as ::ffff:a.b.c.d, so that one map serves both.
#[inline(always)]
pub const fn address_key(address: IpAddr) -> [u8; 16] {
    let bits = match address {
        IpAddr::V4(address) => 0xFFFF << 32 | address.to_bits() as u128,
        IpAddr::V6(address) => address.to_bits(),
    };
    bits.to_be_bytes()
}
