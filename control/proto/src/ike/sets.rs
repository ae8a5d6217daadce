//! SA sets: all ESP SAs of one peer, over rekeys and reauthentication.
//!
//! A new SA joins a set when credential, outer address and port, identity, quick mode ports and encapsulation all match, or when the
//! set has an SA of the same IKE SA with the same ports (its NAT has moved in between); otherwise it starts a set of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use culvert_wire::id::Spi;
use culvert_wire::ike::Cookie;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use super::config::{CoreRows, CredentialId};
use super::error::Exhausted;
use super::output::Identity;
use super::phase2_proposal::Life;
use super::responder::GRACE;
use crate::rows::{CoreId, Encapsulation, EspSuite, InnerPorts, Path, SetId};
use crate::spi::{Rows, Spis};
use crate::time::Time;

/// Inbound SAs of one set alive at once.
pub(super) const MAX_SAS: usize = 4;

/// Sets of one peer at one address and port: each has ports of its own.
const MAX_SETS_OF_PEER: usize = 8;

/// Longest life of an SA, whatever was proposed: nothing that a peer leaves behind stays for good.
const MAX_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// Who a set or IKE SA belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Peer {
    pub(super) credential: CredentialId,
    pub(super) identity: Identity,
}

/// A pair of ESP SAs from one quick mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SaPair {
    pub(super) inbound: Spi,
    pub(super) outbound: Spi,
    pub(super) suite: EspSuite,
    pub(super) life: Life,
    /// Our cookie of the IKE SA that made it.
    pub(super) ike_sa: Cookie,
    /// When message 2 went out.
    pub(super) since: Time,
    pub(super) state: PairState,
}

impl SaPair {
    /// When it ends, once the peer is known to have it.
    pub(super) fn end(&self) -> Time {
        self.since + self.life.time.min(MAX_LIFE) + GRACE
    }
}

/// Where a pair stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PairState {
    /// The peer may not have it yet: nothing is sealed with it.
    Unconfirmed,
    /// The peer has it.
    Confirmed,
    /// The peer has deleted it: what is still on the way is let in for a while.
    Leaving,
}

/// One SA set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Set {
    pub(super) id: SetId,
    pub(super) path: Path,
    pub(super) encapsulation: Encapsulation,
    pub(super) ports: InnerPorts,
    pub(super) peer: Peer,
    /// Oldest first.
    pub(super) pairs: Vec<SaPair>,
}

/// What a new set is made of.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) core: CoreId,
    pub(super) path: Path,
    pub(super) encapsulation: Encapsulation,
    pub(super) ports: InnerPorts,
    pub(super) peer: &'a Peer,
    pub(super) ike_sa: Cookie,
}

/// All sets, their rows and SPIs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sets {
    sets: BTreeMap<SetId, Set>,
    by_remote: BTreeMap<SocketAddr, BTreeSet<SetId>>,
    by_ike_sa: BTreeMap<Cookie, BTreeSet<SetId>>,
    by_inbound: BTreeMap<Spi, SetId>,
    cores: Vec<Core>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Core {
    rows: Rows,
    spis: Spis,
}

impl Sets {
    /// No sets yet.
    pub(super) fn new(cores: &[CoreRows]) -> Self {
        let cores = cores
            .iter()
            .map(|core| Core {
                rows: Rows::new(0..core.sets),
                spis: Spis::new(core.shards.clone()),
            })
            .collect();
        Self {
            sets: BTreeMap::new(),
            by_remote: BTreeMap::new(),
            by_ike_sa: BTreeMap::new(),
            by_inbound: BTreeMap::new(),
            cores,
        }
    }

    /// The set that a new SA joins.
    pub(super) fn joined(&self, wanted: &Wanted<'_>) -> Option<SetId> {
        let fits = |set: &&Set| {
            set.peer == *wanted.peer
                && set.ports == wanted.ports
                && set.encapsulation == wanted.encapsulation
        };
        let at_remote = self
            .at(wanted.path.remote)
            .find(|set| fits(set) && set.path.local == wanted.path.local);
        at_remote
            .or_else(|| self.of_ike_sa(wanted.ike_sa).find(fits))
            .map(|set| set.id)
    }

    /// Makes an empty set on the core where the peer's packets arrive.
    pub(super) fn open(&mut self, wanted: &Wanted<'_>) -> Result<SetId, Exhausted> {
        let own = self
            .at(wanted.path.remote)
            .filter(|set| set.peer == *wanted.peer)
            .count();
        if own >= MAX_SETS_OF_PEER {
            return Err(Exhausted::Rows);
        }
        let id = self.take_row(wanted.core).ok_or(Exhausted::Rows)?;
        let set = Set {
            id,
            path: wanted.path,
            encapsulation: wanted.encapsulation,
            ports: wanted.ports,
            peer: wanted.peer.clone(),
            pairs: Vec::with_capacity(MAX_SAS),
        };
        self.by_remote
            .entry(set.path.remote)
            .or_default()
            .insert(id);
        self.sets.insert(id, set);
        Ok(id)
    }

    /// Whether a set has a pair with this outbound SPI.
    pub(super) fn has_outbound(&self, id: SetId, outbound: Spi) -> bool {
        let pairs = self.sets.get(&id).map(|set| set.pairs.as_slice());
        pairs
            .unwrap_or_default()
            .iter()
            .any(|pair| pair.outbound == outbound)
    }

    /// Takes a new inbound SPI for a set on `core`.
    pub(super) fn take_spi(
        &mut self,
        core: CoreId,
        rng: &mut dyn CryptoRng,
    ) -> Result<Spi, Exhausted> {
        let core = self.core(core).ok_or(Exhausted::Rows)?;
        core.spis.take(rng).ok_or(Exhausted::Rows)
    }

    /// Gives back an SPI that no pair has.
    pub(super) fn give_back_spi(&mut self, core: CoreId, spi: Spi) {
        if let Some(core) = self.core(core) {
            core.spis.give_back(spi);
        }
    }

    /// Adds a pair to a set.
    pub(super) fn add(&mut self, id: SetId, pair: SaPair) {
        let Some(set) = self.sets.get_mut(&id) else {
            return;
        };
        self.by_inbound.insert(pair.inbound, id);
        self.by_ike_sa.entry(pair.ike_sa).or_default().insert(id);
        set.pairs.push(pair);
    }

    /// Removes a pair and gives its SPI back.
    pub(super) fn remove_pair(&mut self, inbound: Spi) -> Option<(SetId, SaPair)> {
        let id = self.by_inbound.remove(&inbound)?;
        let set = self.sets.get_mut(&id)?;
        let index = set.pairs.iter().position(|pair| pair.inbound == inbound)?;
        let pair = set.pairs.remove(index);
        if !set.pairs.iter().any(|other| other.ike_sa == pair.ike_sa) {
            leave(&mut self.by_ike_sa, pair.ike_sa, id);
        }
        self.give_back_spi(id.core, inbound);
        Some((id, pair))
    }

    /// Removes a set; its pairs are removed before.
    pub(super) fn remove(&mut self, id: SetId) -> Option<Set> {
        let set = self.sets.remove(&id)?;
        leave(&mut self.by_remote, set.path.remote, id);
        self.give_back_row(id);
        Some(set)
    }

    /// Takes a row; `None` if the core has none left.
    pub(super) fn take_row(&mut self, core: CoreId) -> Option<SetId> {
        let row = self.core(core)?.rows.take()?;
        Some(SetId { core, row })
    }

    /// Gives a row back.
    pub(super) fn give_back_row(&mut self, id: SetId) {
        if let Some(core) = self.core(id.core) {
            core.rows.give_back(id.row);
        }
    }

    /// Keeps a row and SPIs from being given out.
    pub(super) fn reserve(&mut self, id: SetId, inbound: &[Spi]) {
        if let Some(core) = self.core(id.core) {
            core.rows.reserve(id.row);
            inbound.iter().for_each(|spi| core.spis.reserve(*spi));
        }
    }

    /// The peer of a set is somewhere else now.
    pub(super) fn moved(&mut self, id: SetId, remote: SocketAddr) -> Option<SocketAddr> {
        let set = self.sets.get_mut(&id)?;
        let before = std::mem::replace(&mut set.path.remote, remote);
        leave(&mut self.by_remote, before, id);
        self.by_remote.entry(remote).or_default().insert(id);
        Some(before)
    }

    /// One set.
    pub(super) fn set(&self, id: SetId) -> Option<&Set> {
        self.sets.get(&id)
    }

    /// The set that an inbound SPI belongs to.
    pub(super) fn by_inbound(&self, inbound: Spi) -> Option<&Set> {
        self.sets.get(self.by_inbound.get(&inbound)?)
    }

    /// A pair, to change its state.
    pub(super) fn pair_mut(&mut self, inbound: Spi) -> Option<&mut SaPair> {
        let id = self.by_inbound.get(&inbound)?;
        let set = self.sets.get_mut(id)?;
        set.pairs.iter_mut().find(|pair| pair.inbound == inbound)
    }

    /// Sets whose peer is at `remote`.
    pub(super) fn at(&self, remote: SocketAddr) -> impl Iterator<Item = &Set> {
        let ids = self.by_remote.get(&remote).into_iter().flatten();
        ids.filter_map(|id| self.sets.get(id))
    }

    /// Sets that have a pair of this IKE SA.
    pub(super) fn of_ike_sa(&self, ike_sa: Cookie) -> impl Iterator<Item = &Set> {
        let ids = self.by_ike_sa.get(&ike_sa).into_iter().flatten();
        ids.filter_map(|id| self.sets.get(id))
    }

    /// All sets by core and row.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Set> {
        self.sets.values()
    }

    fn core(&mut self, core: CoreId) -> Option<&mut Core> {
        self.cores.get_mut(usize::from(core.0))
    }
}

/// Strikes a set off an index and keeps the index free of empty entries.
fn leave<K: Ord>(index: &mut BTreeMap<K, BTreeSet<SetId>>, key: K, id: SetId) {
    if let Some(ids) = index.get_mut(&key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(&key);
        }
    }
}
