//! Next hops of the core side, when that is a NIC of its own: a bounded cache from destination to Ethernet address.
//!
//! The kernel's routes and neighbours are known to the IPC thread. A miss asks it, and the packet is dropped; the answer fills the place.

use std::net::Ipv4Addr;
use std::time::Duration;

use culvert_wire::eth::MacAddress;

use crate::moment::Moment;

/// Destinations that are remembered; two that share a place displace each other.
const PLACES: usize = 4_096;
/// How long a question waits for its answer before it is asked again.
const PATIENCE: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug)]
struct Place {
    destination: Ipv4Addr,
    next_hop: Option<MacAddress>,
    asked: Moment,
}

/// What is known of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Frames for it go here.
    NextHop(MacAddress),
    /// Nothing; the question must be asked now.
    Ask,
    /// Nothing; the question has been asked.
    Wait,
}

/// The cache.
#[derive(Debug)]
pub struct Neighbours(Box<[Option<Place>]>);

impl Neighbours {
    /// An empty cache.
    pub fn new() -> Self {
        Self(vec![None; PLACES].into_boxed_slice())
    }

    /// Looks `destination` up, and remembers that it is asked for if it is not known.
    pub fn find(&mut self, destination: Ipv4Addr, now: Moment) -> Found {
        let Some(slot) = self.0.get_mut(place_of(destination)) else {
            return Found::Wait;
        };
        if let Some(place) = slot.filter(|place| place.destination == destination) {
            match place.next_hop {
                Some(next_hop) => return Found::NextHop(next_hop),
                None if now.since(place.asked) < PATIENCE => return Found::Wait,
                None => {}
            }
        }
        *slot = Some(Place {
            destination,
            next_hop: None,
            asked: now,
        });
        Found::Ask
    }

    /// Sets the next hop of `destination`, or forgets it.
    pub fn set(&mut self, destination: Ipv4Addr, next_hop: Option<MacAddress>, now: Moment) {
        if let Some(slot) = self.0.get_mut(place_of(destination)) {
            *slot = Some(Place {
                destination,
                next_hop,
                asked: now,
            });
        }
    }

    /// Forgets that `destination` was asked for: the question did not get through.
    pub fn unask(&mut self, destination: Ipv4Addr) {
        if let Some(slot) = self.0.get_mut(place_of(destination)) {
            *slot = None;
        }
    }
}

impl Default for Neighbours {
    fn default() -> Self {
        Self::new()
    }
}

fn place_of(destination: Ipv4Addr) -> usize {
    (destination.to_bits().wrapping_mul(0x9E37_79B1) >> 20) as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_is_asked_once_and_again_after_a_while() {
        let mut neighbours = Neighbours::new();
        let there = Ipv4Addr::new(10, 99, 0, 10);
        let mut now = Moment::START;
        assert_eq!(neighbours.find(there, now), Found::Ask);
        assert_eq!(neighbours.find(there, now), Found::Wait);
        now = now + PATIENCE;
        assert_eq!(neighbours.find(there, now), Found::Ask);
        neighbours.set(there, Some(MacAddress([6; 6])), now);
        assert_eq!(
            neighbours.find(there, now),
            Found::NextHop(MacAddress([6; 6]))
        );
        neighbours.set(there, None, now);
        assert_eq!(neighbours.find(there, now), Found::Wait);
    }
}
