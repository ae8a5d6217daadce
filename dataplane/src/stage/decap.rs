//! From an opened datagram to the inner packet: L2TP, PPP, and whether the packet may be here.
//!
//! The three steps look at the same few bytes, so each packet takes them in one go, while the next ones' bytes are fetched.

use super::l2tp_decap::l2tp_decap;
use super::ppp_decap::ppp_decap;
use super::to_network::admit;
use crate::batch::Batch;
use crate::table::Rows;

/// Takes each datagram as far as it goes.
///
/// Verdicts: those of [`l2tp_decap`], [`ppp_decap`] and [`admit`].
pub fn decap(batch: &mut Batch, rows: &mut Rows) {
    batch.each_foreseen(
        |packet| packet.prefetch_front(),
        |packet| {
            l2tp_decap(packet, rows);
            ppp_decap(packet, rows);
            admit(packet, rows);
        },
    );
}
