//! What the data plane ought to hold: every set, SA and session with its keys, so that a new data plane can be given all of it.
//!
//! SAs come back with `Start::Continued`: sequence numbers and windows go on from the continuity memory, and where that holds another
//! SA the data plane refuses and the SA dies ([`Mirror::forget_inbound`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use culvert_dataplane::api;
use culvert_proto::rows::{
    Change, Encapsulation, EspSuite, KeyMaterial, Path, SessionRow, SessionSpec, SetId,
};
use culvert_wire::id::Spi;

use super::translate::{self, Addressed, Sas};

/// The rows that the machines want.
#[derive(Debug, Default)]
pub struct Mirror {
    sets: BTreeMap<SetId, Set>,
    /// The set of each pair, by our SPI.
    owners: BTreeMap<Spi, SetId>,
    sessions: BTreeMap<SessionRow, SessionSpec>,
}

#[derive(Debug)]
struct Set {
    path: Path,
    encapsulation: Encapsulation,
    /// In the order they were made.
    pairs: Vec<Pair>,
}

#[derive(Debug)]
struct Pair {
    inbound: Spi,
    outbound: Spi,
    suite: EspSuite,
    /// `None` once the SA is removed.
    inbound_keys: Option<KeyMaterial>,
    outbound_keys: Option<KeyMaterial>,
    /// The peer is known to have it.
    is_in_use: bool,
}

impl Mirror {
    /// Follows a change that goes to the data plane.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::OpenSet {
                set,
                path,
                encapsulation,
            } => {
                self.close_set(*set);
                let (path, encapsulation) = (*path, *encapsulation);
                self.sets.insert(
                    *set,
                    Set {
                        path,
                        encapsulation,
                        pairs: Vec::new(),
                    },
                );
            }
            Change::CloseSet(set) => self.close_set(*set),
            Change::AddSas {
                set,
                inbound,
                outbound,
                suite,
                inbound_keys,
                outbound_keys,
            } => {
                let Some(pairs) = self.sets.get_mut(set).map(|set| &mut set.pairs) else {
                    return;
                };
                self.owners.insert(*inbound, *set);
                pairs.push(Pair {
                    inbound: *inbound,
                    outbound: *outbound,
                    suite: *suite,
                    inbound_keys: Some(inbound_keys.clone()),
                    outbound_keys: Some(outbound_keys.clone()),
                    is_in_use: false,
                });
            }
            Change::UseOutbound { set, outbound } => {
                self.change_pair(
                    *set,
                    |pair| pair.outbound == *outbound,
                    |pair| pair.is_in_use = true,
                );
            }
            Change::RemoveInbound { set, inbound } => {
                self.change_pair(
                    *set,
                    |pair| pair.inbound == *inbound,
                    |pair| pair.inbound_keys = None,
                );
            }
            Change::RemoveOutbound { set, outbound } => {
                self.change_pair(
                    *set,
                    |pair| pair.outbound == *outbound,
                    |pair| pair.outbound_keys = None,
                );
            }
            Change::OpenSession(session) => {
                self.sessions.insert(session.row, session.clone());
            }
            Change::CloseSession(row) => {
                self.sessions.remove(row);
            }
        }
    }

    fn close_set(&mut self, set: SetId) {
        for pair in self.sets.remove(&set).into_iter().flat_map(|set| set.pairs) {
            self.owners.remove(&pair.inbound);
        }
        self.sessions.retain(|_, session| session.set != set);
    }

    fn change_pair(
        &mut self,
        set: SetId,
        is_meant: impl Fn(&Pair) -> bool,
        change: impl FnOnce(&mut Pair),
    ) {
        let Some(set) = self.sets.get_mut(&set) else {
            return;
        };
        // A peer may choose an SPI again: the newest is meant.
        if let Some(pair) = set.pairs.iter_mut().rev().find(|pair| is_meant(pair)) {
            change(pair);
        }
        let owners = &mut self.owners;
        set.pairs.retain(|pair| {
            let is_kept = pair.inbound_keys.is_some() || pair.outbound_keys.is_some();
            if !is_kept {
                owners.remove(&pair.inbound);
            }
            is_kept
        });
    }

    /// The first valid packet came in on an SA, so the data plane seals with its twin.
    pub fn note_inbound_used(&mut self, inbound: Spi) {
        if let Some(set) = self.owners.get(&inbound).copied() {
            self.change_pair(
                set,
                |pair| pair.inbound == inbound,
                |pair| pair.is_in_use = true,
            );
        }
    }

    /// The data plane answers a set to another place now.
    pub fn note_endpoint(&mut self, set: SetId, remote: SocketAddr) {
        if let Some(set) = self.sets.get_mut(&set) {
            set.path.remote = remote;
        }
    }

    /// Drops a pair that could not be continued; returns its set.
    pub fn forget_inbound(&mut self, inbound: Spi) -> Option<SetId> {
        let set = self.owners.remove(&inbound)?;
        self.sets
            .get_mut(&set)?
            .pairs
            .retain(|pair| pair.inbound != inbound);
        Some(set)
    }

    /// Our SPI of the pair whose outbound SPI this is.
    pub fn inbound_of(&self, set: SetId, outbound: Spi) -> Option<Spi> {
        let pairs = &self.sets.get(&set)?.pairs;
        pairs
            .iter()
            .rev()
            .find(|pair| pair.outbound == outbound)
            .map(|pair| pair.inbound)
    }

    /// Everything, as commands for a data plane that holds nothing: sets, then SAs, then sessions.
    pub fn install(&self) -> Vec<Addressed> {
        let sets = self
            .sets
            .iter()
            .map(|(id, set)| translate::open_set(*id, set.path, set.encapsulation));
        let sas = self
            .sets
            .iter()
            .flat_map(|(id, set)| install_pairs(*id, &set.pairs));
        let sessions = self.sessions.values().map(translate::open_session);
        sets.chain(sas).chain(sessions).collect()
    }

    /// Sets and sessions held.
    pub fn len(&self) -> (usize, usize) {
        (self.sets.len(), self.sessions.len())
    }
}

fn install_pairs(set: SetId, pairs: &[Pair]) -> impl Iterator<Item = Addressed> {
    let newest_in_use = pairs.iter().rposition(|pair| pair.is_in_use);
    pairs.iter().enumerate().flat_map(move |(at, pair)| {
        let sas = Sas {
            set,
            inbound: pair.inbound,
            outbound: pair.outbound,
            suite: pair.suite,
        };
        // One alone seals; an older one that was in use waits to take over should the newer go.
        let activation = if Some(at) == newest_in_use {
            api::Activation::Now
        } else {
            api::Activation::WhenPeerHasIt
        };
        let start = api::Start::Continued;
        let inbound = pair
            .inbound_keys
            .as_ref()
            .map(|keys| translate::add_inbound(&sas, keys, start));
        let outbound = pair
            .outbound_keys
            .as_ref()
            .map(|keys| translate::add_outbound(&sas, keys, activation, start));
        inbound.into_iter().chain(outbound)
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use culvert_proto::rows::{AesKeyLen, CoreId, InnerPorts, Phase, PppFraming, Sequencing};
    use culvert_wire::id::{SessionId, TunnelId};
    use zeroize::Zeroizing;

    use super::*;

    const SET: SetId = SetId {
        core: CoreId(0),
        row: 4,
    };
    const ROW: SessionRow = SessionRow {
        core: CoreId(0),
        row: 2,
    };

    fn open_set() -> Change {
        let path = Path {
            local: (Ipv4Addr::new(192, 0, 2, 1), 4500).into(),
            remote: (Ipv4Addr::new(198, 51, 100, 7), 4500).into(),
        };
        Change::OpenSet {
            set: SET,
            path,
            encapsulation: Encapsulation::EspInUdp,
        }
    }

    fn add_sas(inbound: u32, outbound: u32) -> Change {
        let keys = || KeyMaterial::new(Zeroizing::new(vec![7; 20]));
        Change::AddSas {
            set: SET,
            inbound: Spi(inbound),
            outbound: Spi(outbound),
            suite: EspSuite::AesGcm(AesKeyLen::Bits128),
            inbound_keys: keys(),
            outbound_keys: keys(),
        }
    }

    fn open_session(phase: Phase) -> Change {
        Change::OpenSession(SessionSpec {
            row: ROW,
            set: SET,
            ports: InnerPorts {
                local: 1701,
                remote: 1701,
            },
            local_tunnel: TunnelId(1),
            local_session: SessionId(2),
            peer_tunnel: TunnelId(3),
            peer_session: SessionId(4),
            sequencing: Sequencing::Off,
            framing: PppFraming::default(),
            phase,
        })
    }

    fn mirror(changes: &[Change]) -> Mirror {
        let mut mirror = Mirror::default();
        for change in changes {
            mirror.apply(change);
        }
        mirror
    }

    /// One word for each command of the installation.
    fn installation(mirror: &Mirror) -> Vec<String> {
        let word = |(_, command): Addressed| {
            if let api::Command::OpenSet(spec) = command {
                format!("set {} at {}", spec.id.0, spec.remote)
            } else if let api::Command::AddInbound(spec) = command {
                assert_eq!(spec.start, api::Start::Continued);
                format!("in {}", spec.spi.0)
            } else if let api::Command::AddOutbound(spec) = command {
                assert_eq!(spec.start, api::Start::Continued);
                let now = spec.activation == api::Activation::Now;
                format!(
                    "out {} twin {}{}",
                    spec.spi.0,
                    spec.twin.0,
                    if now { " now" } else { "" }
                )
            } else if let api::Command::OpenSession(spec) = command {
                format!("session {} {:?}", spec.row.0, spec.phase)
            } else {
                panic!("{command:?}")
            }
        };
        mirror.install().into_iter().map(word).collect()
    }

    #[test]
    fn all_that_was_made_comes_back_in_order() {
        let mirror = mirror(&[
            open_set(),
            add_sas(10, 20),
            Change::UseOutbound {
                set: SET,
                outbound: Spi(20),
            },
            open_session(Phase::Negotiating),
            open_session(Phase::Open {
                address: Ipv4Addr::new(10, 0, 0, 9),
                mru: 1_400,
            }),
            add_sas(11, 21),
        ]);
        assert_eq!(
            installation(&mirror),
            [
                "set 4 at 198.51.100.7:4500",
                "in 10",
                "out 20 twin 10 now",
                "in 11",
                "out 21 twin 11",
                "session 2 Open { address: 10.0.0.9, mru: 1400 }",
            ]
        );
    }

    #[test]
    fn the_newest_pair_in_use_seals() {
        let mut mirror = mirror(&[
            open_set(),
            add_sas(10, 20),
            Change::UseOutbound {
                set: SET,
                outbound: Spi(20),
            },
            add_sas(11, 21),
        ]);
        mirror.note_inbound_used(Spi(11));
        let lines = installation(&mirror);
        assert!(
            lines.contains(&"out 20 twin 10".to_owned())
                && lines.contains(&"out 21 twin 11 now".to_owned())
        );
    }

    #[test]
    fn what_was_removed_stays_away() {
        let mut all = mirror(&[
            open_set(),
            add_sas(10, 20),
            add_sas(11, 21),
            open_session(Phase::Negotiating),
        ]);
        all.apply(&Change::RemoveOutbound {
            set: SET,
            outbound: Spi(20),
        });
        assert!(installation(&all).contains(&"in 10".to_owned()));
        all.apply(&Change::RemoveInbound {
            set: SET,
            inbound: Spi(10),
        });
        all.apply(&Change::CloseSession(ROW));
        assert_eq!(
            installation(&all),
            ["set 4 at 198.51.100.7:4500", "in 11", "out 21 twin 11"]
        );
        all.apply(&Change::CloseSet(SET));
        assert_eq!(all.len(), (0, 0));
    }

    #[test]
    fn a_set_takes_its_sessions_along() {
        let closed = mirror(&[
            open_set(),
            open_session(Phase::Negotiating),
            Change::CloseSet(SET),
        ]);
        assert_eq!(closed.len(), (0, 0));
    }

    #[test]
    fn a_moved_peer_is_found_where_it_is() {
        let mut mirror = mirror(&[open_set()]);
        mirror.note_endpoint(SET, (Ipv4Addr::new(203, 0, 113, 5), 1_024).into());
        assert_eq!(installation(&mirror), ["set 4 at 203.0.113.5:1024"]);
    }

    #[test]
    fn an_sa_that_was_not_continued_is_gone_with_its_twin() {
        let mut mirror = mirror(&[open_set(), add_sas(10, 20), add_sas(11, 21)]);
        assert_eq!(mirror.forget_inbound(Spi(10)), Some(SET));
        assert_eq!(mirror.forget_inbound(Spi(10)), None);
        assert_eq!(
            installation(&mirror),
            ["set 4 at 198.51.100.7:4500", "in 11", "out 21 twin 11"]
        );
    }
}
