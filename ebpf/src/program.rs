//! The two programs and their maps.
#![expect(
    unsafe_code,
    reason = "exported symbols, map counters and the panic handler of a program without std"
)]

use core::net::IpAddr;
use core::panic::PanicInfo;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::{HashMap, LpmTrie, PerCpuArray, XskMap};
use aya_ebpf::programs::XdpContext;
use culvert_ebpf::{COUNTERS, MAX_ADDRESSES, MAX_POOLS, MAX_QUEUES, Side, address_key, counter};
use culvert_wire::classify::{self, Action, Verdict};

use crate::frame::Frame;

#[map]
static OUTER_ADDRESSES: HashMap<[u8; 16], u8> = HashMap::with_max_entries(MAX_ADDRESSES, 0);
#[map]
static CLIENT_POOLS: LpmTrie<[u8; 4], u8> = LpmTrie::with_max_entries(MAX_POOLS, 0);
#[map]
static OUTER_SOCKETS: XskMap = XskMap::with_max_entries(MAX_QUEUES, 0);
#[map]
static CORE_SOCKETS: XskMap = XskMap::with_max_entries(MAX_QUEUES, 0);
#[map]
static VERDICTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// Steers tunnel traffic to our own addresses.
#[xdp]
pub(crate) fn culvert_outer(context: XdpContext) -> u32 {
    let is_ours = |address| OUTER_ADDRESSES.get_ptr(address_key(address)).is_some();
    let verdict = classify::outer(&Frame::new(&context), is_ours);
    carry_out(&context, Side::Outer, &OUTER_SOCKETS, verdict)
}

/// Steers packets to clients.
#[xdp]
pub(crate) fn culvert_core(context: XdpContext) -> u32 {
    let is_client = |address| match address {
        IpAddr::V4(address) => CLIENT_POOLS.get(Key::new(32, address.octets())).is_some(),
        IpAddr::V6(_) => false,
    };
    let verdict = classify::core(&Frame::new(&context), is_client);
    carry_out(&context, Side::Core, &CORE_SOCKETS, verdict)
}

#[inline(always)]
fn carry_out(context: &XdpContext, side: Side, sockets: &XskMap, verdict: Verdict) -> u32 {
    let (verdict, action) = match verdict.action() {
        Action::Pass => (verdict, XDP_PASS),
        Action::Drop => (verdict, XDP_DROP),
        Action::Steer => match sockets.redirect(context.rx_queue_index(), u64::from(XDP_DROP)) {
            Ok(redirected) => (verdict, redirected),
            Err(_) => (Verdict::NoSocket, XDP_DROP),
        },
    };
    count(side, verdict);
    action
}

#[inline(always)]
fn count(side: Side, verdict: Verdict) {
    if let Some(count) = VERDICTS.get_ptr_mut(counter(side, verdict)) {
        // SAFETY: the map gives a valid, aligned value of this CPU, which no other program writes while this one runs.
        unsafe { *count += 1 };
    }
}

/// Never called: nothing in the programs can panic, and the verifier refuses the loop.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel asks for it; no helper that is used wants a GPL-compatible one.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"MIT\0";
