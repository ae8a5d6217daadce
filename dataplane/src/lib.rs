//! The data plane: what a core does with packets.
//!
//! ```text
//! UP    outer rx ─ classify ─ esp::open ─ l2tp::decap ─ ppp::decap ─ route::to_network ─ core tx
//! DOWN  core rx  ─ route::to_session ─ ppp::encap ─ l2tp::encap ─ esp::seal ─ outer tx
//! ```

pub mod api;
pub mod confine;
pub mod frame;
pub mod ipc;
pub mod lifeline;
pub mod mem;
pub mod port;
pub mod process;
pub mod ring;
