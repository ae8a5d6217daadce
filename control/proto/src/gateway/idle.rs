//! SA sets that carry no tunnel: after a while they are closed, so that a client that went without an IKE DELETE holds no rows until its SAs
//! end (RFC 3193 §4.3 lets either side do so).

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use super::Gateway;
use crate::deadlines::Deadlines;
use crate::l2tp::{Peer, TunnelKey};
use crate::rows::SetId;
use crate::time::Time;

/// How long a set may be without a tunnel: a client that dials again within that time needs no new key exchange.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which sets are idle, and since when.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct IdleSets {
    deadlines: Deadlines<SetId>,
    /// Tunnels that are up, by the set they are in.
    tunnels: BTreeMap<TunnelKey, SetId>,
}

impl IdleSets {
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.deadlines.next()
    }

    /// A set is there, and has no tunnel yet.
    pub(super) fn set_opened(&mut self, now: Time, set: SetId) {
        self.deadlines.set_after(set, now, PATIENCE);
    }

    /// A set is gone.
    pub(super) fn set_closed(&mut self, set: SetId) {
        self.deadlines.cancel(set);
    }

    pub(super) fn tunnel_opened(&mut self, tunnel: TunnelKey, peer: Peer) {
        if let Peer::Set(set) = peer {
            self.tunnels.insert(tunnel, set);
            self.deadlines.cancel(set);
        }
    }

    pub(super) fn tunnel_closed(&mut self, now: Time, tunnel: TunnelKey) {
        if let Some(set) = self.tunnels.remove(&tunnel) {
            self.deadlines.set_after(set, now, PATIENCE);
        }
    }
}

impl Gateway {
    /// Closes sets that have been idle for long enough; one whose tunnel is being set up gets as long again.
    pub(super) fn idle_timeouts(&mut self, now: Time, rng: &mut dyn CryptoRng) {
        while let Some(set) = self.idle.deadlines.pop_due(now) {
            if self.lns.has_tunnel(Peer::Set(set)) {
                self.idle.set_opened(now, set);
            } else {
                self.ike.close_set(now, rng, set);
            }
        }
    }
}
