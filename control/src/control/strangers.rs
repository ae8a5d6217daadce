//! Rows that a control process finds in the data plane when it starts: sessions of a control before it, whose keys it does not have.
//!
//! Their traffic flows on untouched. What they occupy (addresses, rows, SPIs) is given to nobody, until a set of theirs is closed:
//! because its peer has come back from the same address and port, because an address is wanted and the pool has no other, because
//! they have been unknown for the configured time, or because the data plane died, whom nobody can tell about them again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use culvert_dataplane::api::{self, Held};
use culvert_proto::gateway::Reserved;
use culvert_proto::rows::SetId;
use culvert_proto::time::Time;

use super::translate;

/// The sets that nobody knows, with what is in them.
#[derive(Debug)]
pub struct Strangers {
    sets: BTreeMap<SetId, Stranger>,
    found: Time,
    patience: Duration,
}

/// One unknown set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stranger {
    /// Where its peer is.
    remote: Option<SocketAddr>,
    /// What it occupies.
    reserved: Reserved,
}

impl Strangers {
    /// None yet; those that are noted live `patience` from `now` on.
    pub const fn new(now: Time, patience: Duration) -> Self {
        Self {
            sets: BTreeMap::new(),
            found: now,
            patience,
        }
    }

    /// Notes one row of an inventory.
    pub fn note(&mut self, core: api::CoreId, held: &Held) {
        let set = |id: &api::SetId| translate::from_set(core, *id);
        match held {
            Held::Set { id, remote } => {
                self.sets.entry(set(id)).or_default().remote = Some(*remote);
            }
            Held::Session {
                row,
                set: id,
                address,
            } => {
                let row = translate::from_session(core, *row);
                self.sets
                    .entry(set(id))
                    .or_default()
                    .reserved
                    .sessions
                    .push((row, *address));
            }
            Held::Inbound { spi, set: id } => {
                self.sets
                    .entry(set(id))
                    .or_default()
                    .reserved
                    .inbound
                    .push(*spi);
            }
        }
    }

    /// The sets, and what the machines must not give out, in order.
    pub fn iter(&self) -> impl Iterator<Item = (SetId, &Reserved)> {
        self.sets
            .iter()
            .map(|(set, stranger)| (*set, &stranger.reserved))
    }

    /// How many sets are unknown.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// A peer has made a set from `remote`: the sets it had from there before, which are now to be closed.
    pub fn take_from(&mut self, remote: SocketAddr) -> Vec<SetId> {
        self.take_if(|stranger| stranger.remote == Some(remote))
    }

    /// An address is wanted and there is no other: one set that holds one, now to be closed.
    pub fn take_for_address(&mut self) -> Option<SetId> {
        let holds = |stranger: &Stranger| {
            stranger
                .reserved
                .sessions
                .iter()
                .any(|(_, address)| address.is_some())
        };
        let set = self
            .sets
            .iter()
            .find(|(_, stranger)| holds(stranger))
            .map(|(set, _)| *set)?;
        self.sets.remove(&set).map(|_| set)
    }

    /// All of them once their time is over, now to be closed.
    pub fn take_expired(&mut self, now: Time) -> Vec<SetId> {
        if now < self.expiry() {
            return Vec::new();
        }
        self.take_all()
    }

    /// All of them: the data plane that held them is gone.
    pub fn take_all(&mut self) -> Vec<SetId> {
        std::mem::take(&mut self.sets).into_keys().collect()
    }

    /// When their time is over; `None` if there are none.
    pub fn poll_timeout(&self) -> Option<Time> {
        (!self.sets.is_empty()).then(|| self.expiry())
    }

    fn expiry(&self) -> Time {
        self.found + self.patience
    }

    fn take_if(&mut self, is_meant: impl Fn(&Stranger) -> bool) -> Vec<SetId> {
        let (taken, kept) = std::mem::take(&mut self.sets)
            .into_iter()
            .partition(|(_, stranger)| is_meant(stranger));
        self.sets = kept;
        BTreeMap::into_keys(taken).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use culvert_dataplane::api::CoreId;
    use culvert_wire::id::Spi;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(300);

    fn remote(port: u16) -> SocketAddr {
        (Ipv4Addr::new(198, 51, 100, 7), port).into()
    }

    fn two_sets() -> Strangers {
        let mut strangers = Strangers::new(Time::ZERO, PATIENCE);
        for (row, address) in [(1, None), (2, Some(Ipv4Addr::new(10, 0, 0, 2)))] {
            let set = api::SetId(u32::from(row));
            // Rows of a set may be told before the set itself.
            strangers.note(
                CoreId(0),
                &Held::Inbound {
                    spi: Spi(u32::from(row) << 22),
                    set,
                },
            );
            strangers.note(
                CoreId(0),
                &Held::Set {
                    id: set,
                    remote: remote(row),
                },
            );
            let held = Held::Session {
                row: api::SessionRow(u32::from(row)),
                set,
                address,
            };
            strangers.note(CoreId(0), &held);
        }
        strangers
    }

    #[test]
    fn a_peer_that_comes_back_from_the_same_port_replaces_its_old_set_alone() {
        let mut strangers = two_sets();
        assert!(strangers.take_from(remote(9)).is_empty());
        let taken = strangers.take_from(remote(2));
        assert_eq!(taken.iter().map(|set| set.row).collect::<Vec<_>>(), [2]);
        assert_eq!(strangers.len(), 1);
    }

    #[test]
    fn the_last_addresses_are_taken_from_those_that_hold_one() {
        let mut strangers = two_sets();
        assert_eq!(strangers.take_for_address().map(|set| set.row), Some(2));
        assert_eq!(strangers.take_for_address(), None);
        assert_eq!(strangers.len(), 1);
    }

    #[test]
    fn their_time_ends() {
        let mut strangers = two_sets();
        let end = Time::ZERO + PATIENCE;
        assert_eq!(strangers.poll_timeout(), Some(end));
        assert!(
            strangers
                .take_expired(Time::from_micros(end.as_micros() - 1))
                .is_empty()
        );
        assert_eq!(strangers.take_expired(end).len(), 2);
        assert_eq!(strangers.poll_timeout(), None);
    }
}
