//! The network between clients and gateway: delay, loss, repetition, reordering, and translators of addresses.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use culvert_proto::time::Time;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

/// What the network does to packets.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// How long one takes; a range reorders.
    pub delay: Range<Duration>,
    /// Packets lost in a thousand.
    pub loss: u32,
    /// Packets that come twice in a thousand.
    pub repetition: u32,
}

impl Conditions {
    /// One that does its work and keeps the order.
    pub const ORDERLY: Self = Self {
        delay: Duration::from_millis(1)..Duration::from_millis(1),
        loss: 0,
        repetition: 0,
    };
    /// One that does its work, but packets that are close together overtake each other.
    pub const GOOD: Self = Self {
        delay: Duration::from_millis(1)..Duration::from_millis(2),
        loss: 0,
        repetition: 0,
    };
    /// One that loses a tenth, repeats a tenth and reorders nearly all.
    pub const BAD: Self = Self {
        delay: Duration::from_millis(1)..Duration::from_millis(300),
        loss: 100,
        repetition: 100,
    };
}

/// An IPv4 packet on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flight {
    /// From a client's side to the gateway.
    ToGateway(Vec<u8>),
    /// From the gateway to the client or translator that has its destination.
    ToClient(Vec<u8>),
}

/// Packets on their way, by time of arrival and order of sending.
#[derive(Debug, Default)]
pub struct Network {
    flights: BTreeMap<(Time, u64), Flight>,
    flown: u64,
}

impl Network {
    /// Puts a packet on its way, perhaps twice, perhaps not at all.
    pub fn send(
        &mut self,
        now: Time,
        conditions: &Conditions,
        flight: &Flight,
        rng: &mut ChaCha20Rng,
    ) {
        let copies = 1 + u32::from(chance(conditions.repetition, rng));
        for _ in 0..copies {
            if chance(conditions.loss, rng) {
                continue;
            }
            self.flown += 1;
            let at = now + delay(&conditions.delay, rng);
            self.flights.insert((at, self.flown), flight.clone());
        }
    }

    /// When the next packet arrives.
    pub fn next(&self) -> Option<Time> {
        self.flights.keys().next().map(|(at, _)| *at)
    }

    /// Takes a packet that has arrived by `now`.
    pub fn take(&mut self, now: Time) -> Option<Flight> {
        let first = self.flights.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

/// A time in `range`.
pub fn delay(range: &Range<Duration>, rng: &mut ChaCha20Rng) -> Duration {
    let spread = range.end.saturating_sub(range.start).as_micros();
    let spread = u32::try_from(spread).unwrap_or(u32::MAX).max(1);
    range.start + Duration::from_micros(u64::from(rng.next_u32() % spread))
}

/// Whether something happens that happens so often in a thousand.
pub fn chance(in_a_thousand: u32, rng: &mut ChaCha20Rng) -> bool {
    rng.next_u32() % 1_000 < in_a_thousand
}

/// A port of a client behind a translator.
pub type Inside = (usize, u16);

/// A translator of addresses and ports; its mappings are the same for all destinations.
#[derive(Debug)]
pub struct Nat {
    /// Its address outside.
    pub public: Ipv4Addr,
    outside: BTreeMap<Inside, u16>,
    inside: BTreeMap<u16, Inside>,
}

impl Nat {
    /// One without mappings.
    pub const fn new(public: Ipv4Addr) -> Self {
        Self {
            public,
            outside: BTreeMap::new(),
            inside: BTreeMap::new(),
        }
    }

    /// The port outside of a port inside, which is given one if it has none.
    pub fn outside(&mut self, inside: Inside, rng: &mut ChaCha20Rng) -> u16 {
        if let Some(port) = self.outside.get(&inside) {
            return *port;
        }
        loop {
            let port = 1_024 + u16::try_from(rng.next_u32() % 60_000).unwrap_or_default();
            if let std::collections::btree_map::Entry::Vacant(vacant) = self.inside.entry(port) {
                vacant.insert(inside);
                self.outside.insert(inside, port);
                return port;
            }
        }
    }

    /// Whose port outside this is.
    pub fn inside(&self, port: u16) -> Option<Inside> {
        self.inside.get(&port).copied()
    }

    /// Forgets the mappings of a client, as after a silence.
    pub fn forget(&mut self, member: usize) {
        self.outside.retain(|(owner, _), _| *owner != member);
        self.inside.retain(|_, (owner, _)| *owner != member);
    }
}
