//! How the control plane is, for `culvert status`.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Gateway;
use super::call::Call;
use crate::ike;
use crate::rows::{SessionRow, SetId};
use crate::time::Time;

/// How the control plane is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// SA sets with their SAs.
    pub sets: Vec<ike::SetStatus>,
    /// IKE SAs, half-open ones too.
    pub ike_sas: usize,
    /// What IKE has counted.
    pub ike: ike::Counters,
    /// L2TP tunnels.
    pub tunnels: usize,
    /// Sessions.
    pub sessions: Vec<SessionStatus>,
    /// Addresses given out.
    pub addresses_taken: usize,
    /// Addresses left.
    pub addresses_free: u64,
    /// Sets of an earlier control process that are still served.
    pub unknown_sets: usize,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Its row.
    pub row: SessionRow,
    /// Its set.
    pub set: SetId,
    /// Who it is, once that is known.
    pub user: Option<String>,
    /// Its address, once it forwards.
    pub address: Option<Ipv4Addr>,
    /// How long it has been there.
    pub age: Duration,
}

impl Gateway {
    /// How it is at `now`.
    pub fn status(&self, now: Time) -> Status {
        Status {
            sets: self.ike.sets().collect(),
            ike_sas: self.ike.ike_sas().count(),
            ike: self.ike.counters().clone(),
            tunnels: self.lns.tunnel_count(),
            sessions: self
                .calls
                .values()
                .map(|call| self.session_status(now, call))
                .collect(),
            addresses_taken: self.pool.taken_count(),
            addresses_free: self.pool.free_count(),
            unknown_sets: self.reserved.len(),
        }
    }

    fn session_status(&self, now: Time, call: &Call) -> SessionStatus {
        SessionStatus {
            row: call.spec.row,
            set: call.spec.set,
            user: call.user.clone(),
            address: call.address,
            age: now.since(call.since),
        }
    }
}
