//! The bookkeeping of next hops: what is watched, what the kernel said, what was told; no waiting.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use super::kernel::Event;
use super::{NextHop, NextHopError, Update};

/// What the kernel said about the way to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) via: IpAddr,
    pub(super) source: Option<IpAddr>,
    pub(super) mtu: Option<u16>,
}

/// A destination with what is known and what was told of it.
#[derive(Debug, Default)]
struct Watched {
    route: Option<Route>,
    told: Option<NextHop>,
}

/// A neighbour with the number of destinations behind it.
#[derive(Debug, Default)]
struct Neighbour {
    mac: Option<[u8; 6]>,
    users: usize,
}

/// Whether the kernel's answers may be out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    None,
    All,
}

/// The bookkeeping: bounded by the number of destinations, without any waiting.
#[derive(Debug)]
pub(super) struct Table {
    device_mtu: u16,
    limit: usize,
    watched: BTreeMap<IpAddr, Watched>,
    neighbours: BTreeMap<IpAddr, Neighbour>,
    /// To be asked about again.
    pub(super) stale: BTreeSet<IpAddr>,
    pub(super) updates: VecDeque<Update>,
    /// Neighbours that no destination needs any more, to be left to the kernel's own care.
    pub(super) orphans: BTreeSet<IpAddr>,
}

impl Table {
    pub(super) fn new(device_mtu: u16, limit: usize) -> Self {
        Self {
            device_mtu,
            limit,
            watched: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            stale: BTreeSet::new(),
            updates: VecDeque::new(),
            orphans: BTreeSet::new(),
        }
    }

    pub(super) fn insert(&mut self, destination: IpAddr) -> Result<(), NextHopError> {
        if self.watched.len() >= self.limit && !self.watched.contains_key(&destination) {
            return Err(NextHopError::Exhausted);
        }
        self.watched.entry(destination).or_default();
        self.stale.insert(destination);
        Ok(())
    }

    /// Forgets a destination.
    pub(super) fn remove(&mut self, destination: IpAddr) {
        self.stale.remove(&destination);
        self.updates
            .retain(|update| update.destination != destination);
        if let Some(Watched {
            route: Some(route), ..
        }) = self.watched.remove(&destination)
        {
            self.leave(route.via);
        }
    }

    /// Records the kernel's answers.
    pub(super) fn set(&mut self, destination: IpAddr, route: Option<Route>, mac: Option<[u8; 6]>) {
        self.stale.remove(&destination);
        let Some(watched) = self.watched.get_mut(&destination) else {
            return;
        };
        let former = std::mem::replace(&mut watched.route, route);
        if let Some(route) = route {
            self.neighbours.entry(route.via).or_default().users += 1;
            self.orphans.remove(&route.via);
            self.learn(route.via, mac);
        }
        if let Some(former) = former {
            self.leave(former.via);
        }
        self.tell(destination);
    }

    fn leave(&mut self, via: IpAddr) {
        let Some(neighbour) = self.neighbours.get_mut(&via) else {
            return;
        };
        neighbour.users = neighbour.users.saturating_sub(1);
        if neighbour.users == 0 {
            self.neighbours.remove(&via);
            self.orphans.insert(via);
        }
    }

    /// Takes in what the kernel announces; returns which answers may be out of date now.
    pub(super) fn absorb(&mut self, event: &Event) -> Doubt {
        match event {
            Event::Neighbour(address, mac) => self.learn(*address, *mac),
            Event::NeighbourGone(address) => {
                self.learn(*address, None);
                let behind = self
                    .watched
                    .iter()
                    .filter(|(_, watched)| watched.is_via(*address));
                self.stale
                    .extend(behind.map(|(destination, _)| *destination));
            }
            Event::DeviceMtu(mtu) => {
                self.device_mtu = *mtu;
                return Doubt::All;
            }
            Event::AskAgain => return Doubt::All,
        }
        Doubt::None
    }

    pub(super) fn doubt_all(&mut self) {
        self.stale.extend(self.watched.keys());
    }

    fn learn(&mut self, address: IpAddr, mac: Option<[u8; 6]>) {
        let Some(neighbour) = self.neighbours.get_mut(&address) else {
            return;
        };
        if neighbour.mac == mac {
            return;
        }
        neighbour.mac = mac;
        let behind = self
            .watched
            .iter()
            .filter(|(_, watched)| watched.is_via(address));
        let behind: Vec<IpAddr> = behind.map(|(destination, _)| *destination).collect();
        behind
            .into_iter()
            .for_each(|destination| self.tell(destination));
    }

    /// Queues an update if the next hop is not what was told last; one that is queued already gives way.
    fn tell(&mut self, destination: IpAddr) {
        let next_hop = self.next_hop(destination);
        let Some(watched) = self.watched.get_mut(&destination) else {
            return;
        };
        if watched.told == next_hop {
            return;
        }
        watched.told = next_hop;
        self.updates
            .retain(|update| update.destination != destination);
        self.updates.push_back(Update {
            destination,
            next_hop,
        });
    }

    pub(super) fn next_hop(&self, destination: IpAddr) -> Option<NextHop> {
        let route = self.watched.get(&destination)?.route?;
        let mac = self.neighbours.get(&route.via)?.mac?;
        let mtu = route
            .mtu
            .map_or(self.device_mtu, |mtu| mtu.min(self.device_mtu));
        Some(NextHop {
            mac,
            source: route.source,
            mtu,
        })
    }
}

impl Watched {
    fn is_via(&self, neighbour: IpAddr) -> bool {
        self.route.is_some_and(|route| route.via == neighbour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn via(gateway: u8) -> Option<Route> {
        Some(Route {
            via: ip(gateway),
            source: Some(ip(100)),
            mtu: None,
        })
    }

    fn watching(destinations: &[u8], gateway: u8) -> Table {
        let mut table = Table::new(1_500, 8);
        for destination in destinations {
            table.insert(ip(*destination)).unwrap();
            table.set(ip(*destination), via(gateway), Some(MAC));
        }
        table.updates.clear();
        table
    }

    fn update(destination: u8, mac: Option<[u8; 6]>, mtu: u16) -> Update {
        let next_hop = mac.map(|mac| NextHop {
            mac,
            source: Some(ip(100)),
            mtu,
        });
        Update {
            destination: ip(destination),
            next_hop,
        }
    }

    #[test]
    fn a_new_neighbour_address_reaches_every_destination_behind_it() {
        let mut table = watching(&[1, 2], 254);
        table.absorb(&Event::Neighbour(ip(254), Some(OTHER_MAC)));
        table.absorb(&Event::Neighbour(ip(253), Some(MAC)));
        let told = Vec::from(table.updates);
        assert_eq!(
            told,
            [
                update(1, Some(OTHER_MAC), 1_500),
                update(2, Some(OTHER_MAC), 1_500)
            ]
        );
    }

    #[test]
    fn what_changes_twice_before_it_is_told_is_told_once() {
        let mut table = watching(&[1], 254);
        table.absorb(&Event::Neighbour(ip(254), None));
        table.absorb(&Event::Neighbour(ip(254), Some(OTHER_MAC)));
        assert_eq!(
            Vec::from(table.updates),
            [update(1, Some(OTHER_MAC), 1_500)]
        );
    }

    #[test]
    fn nothing_is_told_of_what_stays_the_same() {
        let mut table = watching(&[1], 254);
        table.absorb(&Event::Neighbour(ip(254), Some(MAC)));
        assert_eq!(table.absorb(&Event::AskAgain), Doubt::All);
        table.doubt_all();
        assert_eq!(table.stale.len(), 1);
        table.set(ip(1), via(254), Some(MAC));
        assert!(table.updates.is_empty() && table.stale.is_empty());
    }

    #[test]
    fn a_neighbour_is_let_go_with_its_last_destination() {
        let mut table = watching(&[1, 2], 254);
        table.remove(ip(1));
        assert!(table.orphans.is_empty());
        table.set(ip(2), via(253), None);
        assert_eq!(table.orphans, BTreeSet::from([ip(254)]));
        assert_eq!(Vec::from(table.updates.clone()), [update(2, None, 0)]);
        table.remove(ip(2));
        assert_eq!(table.orphans, BTreeSet::from([ip(253), ip(254)]));
        assert!(
            table.neighbours.is_empty() && table.watched.is_empty() && table.updates.is_empty()
        );
    }

    #[test]
    fn a_neighbour_that_is_needed_again_is_not_let_go() {
        let mut table = watching(&[1], 254);
        table.remove(ip(1));
        table.insert(ip(1)).unwrap();
        table.set(ip(1), via(254), Some(MAC));
        assert!(table.orphans.is_empty());
    }

    #[test]
    fn a_neighbour_that_the_kernel_forgot_is_asked_for_again() {
        let mut table = watching(&[1, 2], 254);
        table.absorb(&Event::NeighbourGone(ip(254)));
        assert_eq!(table.stale, BTreeSet::from([ip(1), ip(2)]));
        assert_eq!(table.updates.len(), 2);
    }

    #[test]
    fn the_smaller_mtu_counts() {
        let mut table = watching(&[1], 254);
        let narrow = via(254).map(|route| Route {
            mtu: Some(1_400),
            ..route
        });
        table.set(ip(1), narrow, Some(MAC));
        assert_eq!(table.updates.pop_front(), Some(update(1, Some(MAC), 1_400)));
        table.absorb(&Event::DeviceMtu(1_300));
        table.set(ip(1), narrow, Some(MAC));
        assert_eq!(table.updates.pop_front(), Some(update(1, Some(MAC), 1_300)));
    }

    #[test]
    fn no_more_destinations_are_watched_than_agreed() {
        let mut table = watching(&[1, 2, 3, 4, 5, 6, 7, 8], 254);
        assert!(matches!(table.insert(ip(9)), Err(NextHopError::Exhausted)));
        assert!(table.insert(ip(8)).is_ok());
    }
}
