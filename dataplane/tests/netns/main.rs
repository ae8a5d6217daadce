//! What needs a kernel: AF_XDP, veth pairs, routes and neighbours, each test in network namespaces of its own.
//!
//! Needs root. Without it each test says loudly that it is skipped, and passes.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "the whole crate is tests: what fails is told, what is skipped too"
)]

mod devices;
mod harness;
mod next_hops;
mod restart;
mod rings;
mod steer;
mod whole_path;
