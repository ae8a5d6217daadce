//! The data plane: what a core does with packets.
//!
//! ```text
//! UP    outer rx ─ classify ─ esp::open ─ l2tp::decap ─ ppp::decap ─ route::to_network ─ core tx
//! DOWN  core rx  ─ route::to_session ─ ppp::encap ─ l2tp::encap ─ esp::seal ─ outer tx
//! ```

pub mod api;
pub mod batch;
pub mod frame;
pub mod mem;
pub mod moment;
pub mod port;
pub mod punt;
pub mod stage;
pub mod table;
pub mod verdict;
