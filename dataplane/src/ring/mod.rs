//! AF_XDP: the rings through which a worker and the kernel pass chunks of packet memory to each other without copying descriptors twice.
//!
//! ```text
//!                      one UMEM per worker: chunks of 4,096 bytes, registered with the kernel once
//!   worker                                                                                    kernel
//!   FramePool ── fill ────► "these chunks are yours to receive into" ───────────────────────► driver or veth writes a packet
//!   a stage   ◄── rx ────── "this chunk has a packet of so many bytes" ◄── XSKMAP redirect ──  XDP program
//!   a stage   ── tx ──────► "send these bytes of this chunk" ── wake ───────────────────────► driver or veth reads it
//!   FramePool ◄─ completion  "this chunk is yours again" ◄────────────────────────────────────
//! ```
//! A chunk is in one of five places, and a socket counts each:
//!
//! | place | owner | enters by | leaves by |
//! |---|---|---|---|
//! | free or in a stage | a `Frame` | `receive`, `complete`, creation | `fill`, `send` |
//! | fill ring or being written | kernel | `fill` | the kernel |
//! | rx ring | kernel, until taken | the kernel | `receive` |
//! | tx ring or being read | kernel | `send` | the kernel |
//! | completion ring | kernel, until taken | the kernel | `complete` |
//!
//! Each ring has one producer and one consumer, on two sides of a shared page: no lock, no system call. A system call is needed only to wake
//! the kernel, and only when the ring's need-wakeup flag says so: always for sending in copy mode, where one call sends 32 frames.
//!
//! Two sockets share the UMEM, one for the outer and one for the core side; each has all four rings of its own. The first socket's mode, zero
//! copy or copy, is the second one's too. After the first socket is closed the UMEM serves no other: to bind again, make a new one.
//!
//! Invariants, beside those of [`crate::frame`]:
//! - **R5** A socket keeps a bit for each chunk that it lent to the kernel by its fill ring, and one by its tx ring. A descriptor that comes
//!   back is believed only if its bit is set; the bit is then cleared. So no descriptor makes a second `Frame` of one chunk, whatever it says: the
//!   cleared bit yields a `Returned`, the one thing of which a chunk can be made. A new UMEM's chunks all begin with their bit set, once.
//! - **R6** The registered region is `total` chunks long, starts at `base`, which is page aligned, and does not move. xsk-rs passes its
//!   address to libxdp, which turns it into an integer for the kernel: its provenance is exposed.
//! - **R7** The kernel touches a chunk only between `fill` or `send` and the descriptor's return. The rings' release and acquire order that.
//! - **R8** Descriptors (`FrameDesc`, which is `Copy`) never leave this module, and those put on rings are those of the UMEM's creation.
#![expect(
    unsafe_code,
    reason = "AF_XDP shares memory with the kernel; R1 to R8 say why each block holds"
)]

mod bind;
pub(crate) mod ethtool;
mod lent;
mod mapping;
mod socket;

pub(crate) use bind::bind_sockets;
pub use bind::{BindError, Endpoint, FEWEST_FRAMES, Mode};
pub(crate) use mapping::Mapping;
pub(crate) use socket::Socket;
