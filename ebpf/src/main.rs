//! The XDP programs: tunnel traffic and packets for clients into AF_XDP rings, everything else on to the kernel.
//!
//! The decisions are [`culvert_wire::classify`]; this file gives them the frame and the maps, and carries out the verdict:
//!
//! ```text
//! Steer   bpf_redirect_map to the socket of the RX queue; without one: drop, counted as NoSocket
//! Pass    XDP_PASS
//! ```
//! Compiled for anything but BPF it is empty, so that the workspace builds as a whole.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod frame;
#[cfg(target_arch = "bpf")]
mod program;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
