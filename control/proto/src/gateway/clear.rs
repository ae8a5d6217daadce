//! Sets of peers in the clear: each such peer has one while a tunnel of its own is up, so that its sessions have something to belong to.
//!
//! To L2TP a peer in the clear stays what it is, by its place: a message that claims to come from there proves nothing, whether there is a
//! set or not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Destination, Gateway, Note, Table};
use crate::l2tp::{Peer, TunnelKey};
use crate::rows::{Change, CoreId, Encapsulation, InnerPorts, Path, SetId};
use crate::time::Time;

/// All sets of peers in the clear.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ClearSets {
    sets: BTreeMap<SetId, ClearSet>,
    by_place: BTreeMap<(CoreId, Path), SetId>,
    /// Tunnels that are up.
    tunnels: BTreeMap<TunnelKey, SetId>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ClearSet {
    core: CoreId,
    path: Path,
    /// Tunnels that are up; the set lives as long as there are any.
    tunnels: usize,
}

impl ClearSets {
    pub(super) fn has(&self, set: SetId) -> bool {
        self.sets.contains_key(&set)
    }

    fn find(&self, peer: Peer) -> Option<SetId> {
        match peer {
            Peer::Set(set) => Some(set),
            Peer::Clear { core, path } => self.by_place.get(&(core, path)).copied(),
        }
    }
}

impl Gateway {
    /// Who sends over `set`.
    pub(super) fn peer_of(&self, set: SetId) -> Peer {
        match self.clear.sets.get(&set) {
            Some(&ClearSet { core, path, .. }) => Peer::Clear { core, path },
            None => Peer::Set(set),
        }
    }

    /// The set over which a peer sends; `None` if it is in the clear and has none.
    pub(super) fn set_of(&self, peer: Peer) -> Option<SetId> {
        self.clear.find(peer)
    }

    /// Where an L2TP message to `peer` goes.
    pub(super) fn destination_of(&self, peer: Peer, ports: InnerPorts) -> Destination {
        match (self.set_of(peer), peer) {
            (Some(set), _) | (None, Peer::Set(set)) => Destination::L2tp { set, ports },
            (None, Peer::Clear { core, path }) => Destination::ClearL2tp { core, path },
        }
    }

    /// A peer in the clear has proved itself: its packets get a set to belong to, if they have none yet.
    pub(super) fn tunnel_opened(&mut self, now: Time, tunnel: TunnelKey, peer: Peer) {
        let Peer::Clear { core, path } = peer else {
            return;
        };
        let Some(set) = self.set_of(peer).or_else(|| self.open_clear(core, path)) else {
            self.note(Note::Full(Table::Sets));
            return self.lns.close_tunnel(now, tunnel);
        };
        self.clear.tunnels.insert(tunnel, set);
        if let Some(set) = self.clear.sets.get_mut(&set) {
            set.tunnels += 1;
        }
    }

    fn open_clear(&mut self, core: CoreId, path: Path) -> Option<SetId> {
        let set = self.ike.take_row(core)?;
        let tunnels = 0;
        self.clear.by_place.insert((core, path), set);
        self.clear.sets.insert(
            set,
            ClearSet {
                core,
                path,
                tunnels,
            },
        );
        self.change(Change::OpenSet {
            set,
            path,
            encapsulation: Encapsulation::Clear,
        });
        Some(set)
    }

    /// The set goes with the last tunnel; the tunnel's sessions have gone before.
    pub(super) fn tunnel_closed(&mut self, tunnel: TunnelKey) {
        let Some(set) = self.clear.tunnels.remove(&tunnel) else {
            return;
        };
        let Some(clear) = self.clear.sets.get_mut(&set) else {
            return;
        };
        clear.tunnels -= 1;
        if clear.tunnels > 0 {
            return;
        }
        let place = (clear.core, clear.path);
        self.clear.by_place.remove(&place);
        self.clear.sets.remove(&set);
        self.change(Change::CloseSet(set));
        self.ike.give_back_row(set);
    }
}
