//! The way to each peer: a bounded cache from outer address to Ethernet address, and the sets that depend on it.
//!
//! An address is asked for once; what the kernel says later comes of itself. Addresses that a set uses stay, the others make room in
//! the order they came: anybody may send a first IKE message from any address.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use culvert_wire::eth::MacAddress;

use crate::api::{CoreId, SetId};

/// How long a message waits for its next hop; the kernel asks a neighbour once in this time.
const PATIENCE: Duration = Duration::from_millis(1_000);

/// What is known of the way to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Through this next hop.
    Through(MacAddress),
    /// Not known yet.
    Asked,
    /// There is none.
    Closed,
}

/// What the resolver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Find the next hop and tell its changes.
    Watch(IpAddr),
    /// No longer needed.
    Unwatch(IpAddr),
}

/// The cache.
#[derive(Debug)]
pub(super) struct Hops {
    entries: BTreeMap<IpAddr, Entry>,
    /// Addresses in the order they came.
    order: VecDeque<IpAddr>,
    sets: BTreeMap<(CoreId, SetId), IpAddr>,
    limit: usize,
    questions: VecDeque<Question>,
}

#[derive(Debug)]
struct Entry {
    next_hop: Option<MacAddress>,
    asked: Instant,
    sets: BTreeSet<(CoreId, SetId)>,
}

impl Hops {
    /// `limit`: addresses at once that no set uses.
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            order: VecDeque::new(),
            sets: BTreeMap::new(),
            limit,
            questions: VecDeque::new(),
        }
    }

    /// The way to `address`; asks for it if it is new.
    pub(super) fn find(&mut self, address: IpAddr, now: Instant) -> Way {
        let entry = match self.entries.get(&address) {
            Some(entry) => entry,
            None => self.insert(address, now),
        };
        match entry.next_hop {
            Some(next_hop) => Way::Through(next_hop),
            None if now.duration_since(entry.asked) < PATIENCE => Way::Asked,
            None => Way::Closed,
        }
    }

    fn insert(&mut self, address: IpAddr, now: Instant) -> &Entry {
        self.make_room();
        self.order.push_back(address);
        self.questions.push_back(Question::Watch(address));
        self.entries.entry(address).or_insert_with(|| Entry {
            next_hop: None,
            asked: now,
            sets: BTreeSet::new(),
        })
    }

    fn make_room(&mut self) {
        // Those in use go to the back of the line, so the loop ends after all have been seen once.
        for _ in 0..self.order.len() {
            if self.entries.len() < self.limit + self.sets.len() {
                return;
            }
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            if self
                .entries
                .get(&oldest)
                .is_some_and(|entry| !entry.sets.is_empty())
            {
                self.order.push_back(oldest);
                continue;
            }
            self.entries.remove(&oldest);
            self.questions.push_back(Question::Unwatch(oldest));
        }
    }

    /// A set's packets go to `address`. Returns the way as it is known.
    pub(super) fn place_set(
        &mut self,
        core: CoreId,
        set: SetId,
        address: IpAddr,
        now: Instant,
    ) -> Way {
        self.remove_set(core, set);
        let way = self.find(address, now);
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.sets.insert((core, set));
            self.sets.insert((core, set), address);
        }
        way
    }

    /// A set is gone.
    pub(super) fn remove_set(&mut self, core: CoreId, set: SetId) {
        let Some(address) = self.sets.remove(&(core, set)) else {
            return;
        };
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.sets.remove(&(core, set));
        }
    }

    /// The way to `address` is known or is another now. Returns the sets that use it.
    pub(super) fn absorb(
        &mut self,
        address: IpAddr,
        next_hop: Option<MacAddress>,
    ) -> impl Iterator<Item = (CoreId, SetId)> {
        let entry = self.entries.get_mut(&address);
        let is_new = entry.is_some_and(|entry| {
            let is_new = entry.next_hop != next_hop && next_hop.is_some();
            // A neighbour that is silent for a moment is still tried where it was.
            entry.next_hop = next_hop.or(entry.next_hop);
            is_new
        });
        let users = self.entries.get(&address).map(|entry| entry.sets.clone());
        users.filter(|_| is_new).into_iter().flatten()
    }

    /// What the resolver is to do next.
    pub(super) fn poll_question(&mut self) -> Option<Question> {
        self.questions.pop_front()
    }

    /// The resolver had no room for this one.
    pub(super) fn return_question(&mut self, question: Question) {
        self.questions.push_front(question);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const OTHER: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

    fn address(n: u8) -> IpAddr {
        Ipv4Addr::new(198, 51, 100, n).into()
    }

    fn questions(hops: &mut Hops) -> Vec<Question> {
        std::iter::from_fn(|| hops.poll_question()).collect()
    }

    #[test]
    fn an_address_is_asked_for_once_and_waited_for_a_while() {
        let (mut hops, now) = (Hops::new(8), Instant::now());
        assert_eq!(hops.find(address(1), now), Way::Asked);
        assert_eq!(hops.find(address(1), now), Way::Asked);
        assert_eq!(questions(&mut hops), [Question::Watch(address(1))]);
        assert_eq!(hops.find(address(1), now + PATIENCE), Way::Closed);
        assert_eq!(hops.absorb(address(1), Some(MAC)).count(), 0);
        assert_eq!(hops.find(address(1), now + PATIENCE), Way::Through(MAC));
    }

    #[test]
    fn sets_follow_the_changes_of_their_way_and_of_their_place() {
        let (mut hops, now) = (Hops::new(8), Instant::now());
        let user = (CoreId(1), SetId(7));
        hops.place_set(user.0, user.1, address(1), now);
        assert_eq!(
            hops.absorb(address(1), Some(MAC)).collect::<Vec<_>>(),
            [user]
        );
        assert_eq!(hops.absorb(address(1), Some(MAC)).count(), 0);
        assert_eq!(hops.absorb(address(1), None).count(), 0);
        assert_eq!(hops.find(address(1), now), Way::Through(MAC));
        hops.place_set(user.0, user.1, address(2), now);
        assert_eq!(hops.absorb(address(1), Some(OTHER)).count(), 0);
        assert_eq!(
            hops.absorb(address(2), Some(OTHER)).collect::<Vec<_>>(),
            [user]
        );
        hops.remove_set(user.0, user.1);
        assert_eq!(hops.absorb(address(2), Some(MAC)).count(), 0);
    }

    #[test]
    fn a_flood_of_addresses_makes_room_among_those_that_no_set_uses() {
        let (mut hops, now) = (Hops::new(4), Instant::now());
        hops.place_set(CoreId(0), SetId(1), address(0), now);
        assert_eq!(hops.absorb(address(0), Some(MAC)).count(), 1);
        for n in 1..100 {
            hops.find(address(n), now);
            assert!(hops.entries.len() <= 5);
        }
        assert_eq!(hops.find(address(0), now), Way::Through(MAC));
        let questions = questions(&mut hops);
        assert!(questions.contains(&Question::Unwatch(address(1))));
        assert!(!questions.contains(&Question::Unwatch(address(0))));
    }
}
