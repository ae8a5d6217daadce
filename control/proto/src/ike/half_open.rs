//! IKE SAs whose peers have not proved themselves: found by first message, counted by source, the oldest given up first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use culvert_wire::ike::Cookie;
use serde::{Deserialize, Serialize};

/// The half-open table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct HalfOpen {
    next: u64,
    by_first_message: BTreeMap<(SocketAddr, Cookie), Cookie>,
    by_age: BTreeMap<u64, (SocketAddr, Cookie)>,
    by_source: BTreeMap<IpAddr, BTreeSet<u64>>,
    ages: BTreeMap<Cookie, u64>,
}

impl HalfOpen {
    /// Enters an IKE SA, by our cookie.
    pub(super) fn insert(&mut self, remote: SocketAddr, initiator: Cookie, responder: Cookie) {
        let age = self.next;
        self.next += 1;
        self.by_first_message.insert((remote, initiator), responder);
        self.by_age.insert(age, (remote, initiator));
        self.by_source.entry(remote.ip()).or_default().insert(age);
        self.ages.insert(responder, age);
    }

    /// Strikes an IKE SA off, if it is there.
    pub(super) fn remove(&mut self, responder: Cookie) {
        let Some(age) = self.ages.remove(&responder) else {
            return;
        };
        let Some((remote, initiator)) = self.by_age.remove(&age) else {
            return;
        };
        self.by_first_message.remove(&(remote, initiator));
        if let Some(ages) = self.by_source.get_mut(&remote.ip()) {
            ages.remove(&age);
            if ages.is_empty() {
                self.by_source.remove(&remote.ip());
            }
        }
    }

    /// The IKE SA that a first message from `remote` has already made.
    pub(super) fn find(&self, remote: SocketAddr, initiator: Cookie) -> Option<Cookie> {
        self.by_first_message.get(&(remote, initiator)).copied()
    }

    /// The one to give up before another from `source` is entered: the oldest of that source if the source or the table is full, or the
    /// oldest of all if the table is full of others.
    pub(super) fn victim(
        &self,
        source: IpAddr,
        per_source: usize,
        in_all: usize,
    ) -> Option<Cookie> {
        let own = self.by_source.get(&source);
        let source_full = own.is_some_and(|ages| ages.len() >= per_source);
        if !source_full && self.by_age.len() < in_all {
            return None;
        }
        let age = own
            .and_then(BTreeSet::first)
            .or_else(|| self.by_age.keys().next())?;
        let key = self.by_age.get(age)?;
        self.by_first_message.get(key).copied()
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], port))
    }

    fn cookie(number: u8) -> Cookie {
        Cookie([number; 8])
    }

    #[test]
    fn the_oldest_of_a_full_source_goes_first() {
        let mut table = HalfOpen::default();
        table.insert(remote(9, 500), cookie(9), cookie(90));
        table.insert(remote(1, 500), cookie(1), cookie(10));
        table.insert(remote(1, 501), cookie(2), cookie(20));
        let source = remote(1, 0).ip();
        assert_eq!(table.victim(source, 3, 9), None);
        assert_eq!(table.victim(source, 2, 9), Some(cookie(10)));
        assert_eq!(table.victim(source, 9, 3), Some(cookie(10)));
        assert_eq!(table.victim(remote(7, 0).ip(), 9, 3), Some(cookie(90)));
    }

    #[test]
    fn nothing_is_left_of_what_was_removed() {
        let mut table = HalfOpen::default();
        table.insert(remote(1, 500), cookie(1), cookie(10));
        assert_eq!(table.find(remote(1, 500), cookie(1)), Some(cookie(10)));
        assert_eq!(table.find(remote(1, 501), cookie(1)), None);
        table.remove(cookie(10));
        table.remove(cookie(10));
        assert_eq!(table.find(remote(1, 500), cookie(1)), None);
        assert_eq!(table.len(), 0);
        assert!(table.by_source.is_empty() && table.ages.is_empty());
    }
}
