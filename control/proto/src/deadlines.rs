//! The one timer table of a machine: what is due when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// At most one deadline for each `K`, in order of time, then of `K`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlines<K: Ord> {
    at: BTreeMap<K, Time>,
    order: BTreeSet<(Time, K)>,
}

impl<K: Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self {
            at: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Makes `key` due at `at`, and at no other time.
    pub fn set(&mut self, key: K, at: Time) {
        self.cancel(key);
        self.at.insert(key, at);
        self.order.insert((at, key));
    }

    /// Makes `key` due `after` from `now`.
    pub fn set_after(&mut self, key: K, now: Time, after: Duration) {
        self.set(key, now + after);
    }

    /// Forgets `key`.
    pub fn cancel(&mut self, key: K) {
        if let Some(at) = self.at.remove(&key) {
            self.order.remove(&(at, key));
        }
    }

    /// Whether `key` has a deadline.
    pub fn is_set(&self, key: K) -> bool {
        self.at.contains_key(&key)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Time> {
        self.order.first().map(|&(at, _)| at)
    }

    /// Takes the earliest key that is due at `now`.
    pub fn pop_due(&mut self, now: Time) -> Option<K> {
        let &(at, key) = self.order.first().filter(|&&(at, _)| at <= now)?;
        self.order.remove(&(at, key));
        self.at.remove(&key);
        Some(key)
    }

    /// Whether nothing is due ever.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn keys_come_due_in_order_and_once() {
        let mut deadlines = Deadlines::default();
        deadlines.set_after('b', Time::ZERO, SECOND * 2);
        deadlines.set_after('a', Time::ZERO, SECOND);
        deadlines.set_after('c', Time::ZERO, SECOND * 3);
        deadlines.set_after('b', Time::ZERO, SECOND * 5);
        deadlines.cancel('c');
        assert_eq!(deadlines.next(), Some(Time::ZERO + SECOND));
        assert_eq!(deadlines.pop_due(Time::ZERO), None);
        let late = Time::ZERO + SECOND * 9;
        assert_eq!(deadlines.pop_due(late), Some('a'));
        assert!(!deadlines.is_set('a') && deadlines.is_set('b'));
        assert_eq!(deadlines.pop_due(late), Some('b'));
        assert_eq!(deadlines.pop_due(late), None);
        assert!(deadlines.is_empty());
    }
}
