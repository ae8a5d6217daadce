//! What `culvert status` shows of IKE.

use std::collections::BTreeMap;

use culvert_wire::id::Spi;
use culvert_wire::ike::Cookie;
use serde::{Deserialize, Serialize};

use super::ike_sa::State;
use super::output::{Identity, Legacy};
use super::phase1_proposal::IkeSuite;
use super::phase2_proposal::Life;
use super::responder::Responder;
use super::sets::PairState;
use crate::rows::{Encapsulation, EspSuite, InnerPorts, Path, SetId};
use crate::time::Time;

/// Counts since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// IKE SAs established.
    pub established: u64,
    /// Half-open IKE SAs whose peer turned out not to know the key.
    pub authentication_failed: u64,
    /// Messages refused or dropped.
    pub refused: u64,
    /// Repeated requests that got their reply again.
    pub repeated: u64,
    /// Half-open IKE SAs given up for others.
    pub evicted: u64,
    /// Times that a legacy algorithm was chosen.
    pub legacy: BTreeMap<Legacy, u64>,
}

/// An SA set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetStatus {
    /// The set.
    pub set: SetId,
    /// Where the peer is.
    pub path: Path,
    /// How its packets travel.
    pub encapsulation: Encapsulation,
    /// Who it says it is.
    pub identity: Identity,
    /// The UDP ports inside.
    pub ports: InnerPorts,
    /// Its SAs, oldest first.
    pub pairs: Vec<PairStatus>,
}

/// A pair of ESP SAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairStatus {
    /// Our SPI.
    pub inbound: Spi,
    /// The peer's SPI.
    pub outbound: Spi,
    /// Algorithms.
    pub suite: EspSuite,
    /// How long it lives.
    pub life: Life,
    /// Whether the peer is known to have it.
    pub confirmed: bool,
}

/// An IKE SA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IkeStatus {
    /// The peer's cookie.
    pub initiator: Cookie,
    /// Our cookie.
    pub responder: Cookie,
    /// Where answers go.
    pub path: Path,
    /// When its first message came.
    pub since: Time,
    /// Algorithms.
    pub suite: IkeSuite,
    /// Who the peer is; `None` while half open.
    pub identity: Option<Identity>,
}

impl Responder {
    /// All SA sets by core and row.
    pub fn sets(&self) -> impl Iterator<Item = SetStatus> {
        self.sets.iter().map(|set| SetStatus {
            set: set.id,
            path: set.path,
            encapsulation: set.encapsulation,
            identity: set.peer.identity.clone(),
            ports: set.ports,
            pairs: set
                .pairs
                .iter()
                .map(|pair| PairStatus {
                    inbound: pair.inbound,
                    outbound: pair.outbound,
                    suite: pair.suite,
                    life: pair.life,
                    confirmed: pair.state != PairState::Unconfirmed,
                })
                .collect(),
        })
    }

    /// All IKE SAs by our cookie.
    pub fn ike_sas(&self) -> impl Iterator<Item = IkeStatus> {
        self.ike_sas.values().map(|sa| IkeStatus {
            initiator: sa.cookies.initiator,
            responder: sa.cookies.responder,
            path: sa.path,
            since: sa.since,
            suite: sa.suite,
            identity: sa.peer().map(|peer| peer.identity.clone()),
        })
    }

    /// Counts since the start.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// IKE SAs whose peers have not proved themselves.
    pub fn half_open(&self) -> usize {
        self.ike_sas
            .values()
            .filter(|sa| !matches!(sa.state, State::Established(_)))
            .count()
    }
}
