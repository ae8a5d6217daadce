//! Rows and addresses of peers that this gateway does not know: an earlier one made them, and the data plane still serves them.
//!
//! They are given to nobody until the caller, who closes such sets one by one, releases them. When an address is wanted and only such peers
//! have any, [`Output::WantAddress`] asks for one of them.

use std::net::Ipv4Addr;

use culvert_wire::id::Spi;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use super::{Gateway, Output};
use crate::rows::{SessionRow, SetId};
use crate::time::Time;

/// What an unknown set occupies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// Its sessions and their addresses.
    pub sessions: Vec<(SessionRow, Option<Ipv4Addr>)>,
    /// Its inbound SAs.
    pub inbound: Vec<Spi>,
}

impl Reserved {
    fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.sessions.iter().filter_map(|(_, address)| *address)
    }
}

impl Gateway {
    /// Keeps the rows, SPIs and addresses of an unknown set from being given out. To be called before anything else.
    pub fn reserve(&mut self, set: SetId, reserved: Reserved) {
        self.ike.reserve(set, &reserved.inbound);
        for (row, _) in &reserved.sessions {
            if let Some(rows) = self.rows.get_mut(usize::from(row.core.0)) {
                rows.reserve(row.row);
            }
        }
        for address in reserved.addresses() {
            self.pool.reserve(address);
        }
        self.reserved.insert(set, reserved);
    }

    /// An unknown set is closed: what it occupied is free again, and whoever waits for an address gets it.
    pub fn release(&mut self, now: Time, rng: &mut dyn CryptoRng, set: SetId) {
        let Some(reserved) = self.reserved.remove(&set) else {
            return;
        };
        // Its peer may have dialled anew over the old SAs: its tunnel must not be the next owner's of the row.
        self.empty_set(now, rng, set);
        self.ike.release(set, &reserved.inbound);
        for (row, _) in &reserved.sessions {
            self.give_back_row(*row);
        }
        for address in reserved.addresses() {
            self.pool.release(address);
        }
        for session in std::mem::take(&mut self.waiting) {
            self.lease(now, rng, session);
        }
        self.settle(now, rng);
    }

    /// Asks for an address of an unknown peer; false if none has one.
    pub(super) fn want_address(&mut self) -> bool {
        let any = self
            .reserved
            .values()
            .any(|reserved| reserved.addresses().next().is_some());
        if any {
            self.outputs.push_back(Output::WantAddress);
        }
        any
    }
}
