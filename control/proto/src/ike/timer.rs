//! The responder's timers: one enum, one table.

use std::collections::{BTreeMap, BTreeSet};

use culvert_wire::id::Spi;
use culvert_wire::ike::{Cookie, MessageId};
use serde::{Deserialize, Serialize};

use crate::time::Time;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Timer {
    /// The end of an IKE SA: half-open too long, or at the end of its life.
    IkeSa(Cookie),
    /// Quick mode's second message was not answered: send it again, or give up.
    QuickMode(Cookie, MessageId),
    /// The end of an ESP SA, by our SPI.
    Sa(Spi),
}

/// When what is due.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Timers {
    at: BTreeMap<Timer, Time>,
    due: BTreeSet<(Time, Timer)>,
}

impl Timers {
    /// Sets a timer, or sets it anew.
    pub(super) fn set(&mut self, timer: Timer, at: Time) {
        self.cancel(timer);
        self.at.insert(timer, at);
        self.due.insert((at, timer));
    }

    /// Forgets a timer.
    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.due.remove(&(at, timer));
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes one that is due.
    pub(super) fn take_due(&mut self, now: Time) -> Option<Timer> {
        let &(at, timer) = self.due.first()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }

    /// Number of timers set.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_due_in_order_and_once() {
        let mut timers = Timers::default();
        timers.set(Timer::Sa(Spi(1)), Time::from_micros(30));
        timers.set(Timer::Sa(Spi(2)), Time::from_micros(10));
        timers.set(Timer::Sa(Spi(1)), Time::from_micros(20));
        timers.set(Timer::Sa(Spi(3)), Time::from_micros(15));
        timers.cancel(Timer::Sa(Spi(3)));
        assert_eq!(timers.next(), Some(Time::from_micros(10)));
        assert_eq!(timers.take_due(Time::from_micros(9)), None);
        let now = Time::from_micros(40);
        assert_eq!(timers.take_due(now), Some(Timer::Sa(Spi(2))));
        assert_eq!(timers.take_due(now), Some(Timer::Sa(Spi(1))));
        assert_eq!(timers.take_due(now), None);
        assert_eq!(timers.len(), 0);
    }
}
