//! The data plane: what a core does with packets.
//!
//! ```text
//! UP    outer rx ─ classify ─ reassemble ─ esp_open ─ l2tp_decap ─ ppp_decap ─ to_network ─ core tx
//!                     │ IKE, clear L2TP                  │ L2TP control  │ PPP control  │ echo to the gateway
//!                     ▼                                  ▼               ▼              ▼
//!                   punt ─────────────────────────────────────────►   control        answered, goes down
//!
//! DOWN  core rx ─ to_session ─ fragment ─ ppp_encap ─ l2tp_encap ─ esp_seal ─ fragment ─ outer tx
//!                                             ▲ PPP        ▲ L2TP                  ▲ IKE
//!                                             └────────────┴──── order ────────────┘ control's own packets
//! ```
//! A [`worker::Worker`] owns two [`port`]s, the [`table::Rows`] of its core and nothing that another thread touches. It takes frames from
//! a port into a [`batch::Batch`], passes that through the [`stage`]s, each of which sets [`verdict::Verdict`]s, and gives every packet its
//! end: the other port, control ([`punt`]), or a counted drop. Between batches it carries out the [`order`]s of the process's IPC thread,
//! which holds the other ends of its queues ([`link`]). A packet that arrived on another core than its rows' is handed on once ([`handoff`]).

pub mod api;
pub mod batch;
pub mod confine;
pub mod cores;
pub mod device;
pub mod frame;
pub mod handoff;
mod inventory;
pub mod ipc;
pub mod lifeline;
pub mod link;
pub mod mem;
pub mod moment;
pub mod next_hop;
pub mod order;
mod outbox;
pub mod port;
pub mod process;
pub mod punt;
pub mod ring;
pub mod stage;
pub mod table;
pub mod verdict;
pub mod worker;
pub mod xdp;
