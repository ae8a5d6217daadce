//! All clients of a run: their addresses, their timers, and how far each has come.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;

use super::tally::Flow;
use crate::client::ppp::Lease;
use crate::client::{Cause, Client, Credentials, Datagram, Event, Farewells, Profile, Stage, Time};

/// Clients with consecutive outer addresses.
pub struct Population {
    members: Vec<Member>,
    first: Ipv4Addr,
    gateway: Ipv4Addr,
    profile: Arc<Profile>,
    credentials: Arc<Credentials>,
    timers: BinaryHeap<Reverse<(Time, u32)>>,
    rng: ChaCha20Rng,
    census: Census,
    failures: BTreeMap<Cause, u32>,
    log_in_times: Vec<Duration>,
    sent_again: BTreeMap<Stage, u32>,
}

/// How many clients are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Not yet begun.
    pub idle: u32,
    /// Logging in.
    pub connecting: u32,
    /// Logged in.
    pub up: u32,
    /// Failed, or logged out.
    pub down: u32,
}

/// One client and its two flows of probes.
pub struct Member {
    client: Option<Box<Client>>,
    started: Time,
    timer: Option<Time>,
    lease: Option<Lease>,
    /// Probes to the network.
    pub up: Flow,
    /// Probes from the network.
    pub down: Flow,
}

/// What a packet came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// A UDP datagram to this port.
    Udp(u16),
    /// An ESP packet.
    Esp,
}

impl Population {
    /// Makes `count` clients from the outer address `first` on.
    pub fn new(
        count: u32,
        first: Ipv4Addr,
        gateway: Ipv4Addr,
        profile: Profile,
        credentials: Credentials,
        rng: ChaCha20Rng,
    ) -> Self {
        let member = || Member {
            client: None,
            started: Time::ZERO,
            timer: None,
            lease: None,
            up: Flow::default(),
            down: Flow::default(),
        };
        Self {
            members: (0..count).map(|_| member()).collect(),
            first,
            gateway,
            profile: Arc::new(profile),
            credentials: Arc::new(credentials),
            timers: BinaryHeap::new(),
            rng,
            census: Census {
                idle: count,
                ..Census::default()
            },
            failures: BTreeMap::new(),
            log_in_times: Vec::new(),
            sent_again: BTreeMap::new(),
        }
    }

    /// How many clients are where.
    pub const fn census(&self) -> Census {
        self.census
    }

    /// How many clients went down for each cause.
    pub const fn failures(&self) -> &BTreeMap<Cause, u32> {
        &self.failures
    }

    /// How long each log-in took, in the order in which they were done.
    pub fn log_in_times(&self) -> &[Duration] {
        &self.log_in_times
    }

    /// Messages that clients had to send again, by the step that was not answered in time.
    pub const fn sent_again(&self) -> &BTreeMap<Stage, u32> {
        &self.sent_again
    }

    /// Outer address of a client.
    pub fn address(&self, index: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.first).wrapping_add(index))
    }

    /// Which client has an outer address.
    pub fn find(&self, address: Ipv4Addr) -> Option<u32> {
        let index = u32::from(address).wrapping_sub(u32::from(self.first));
        (usize::try_from(index).ok()? < self.members.len()).then_some(index)
    }

    /// The client that comes after `index` in a round of all that are up.
    pub fn next_up(&self, index: u32) -> Option<u32> {
        let count = u32::try_from(self.members.len()).ok()?;
        let after = (index + 1..count).chain(0..=index.min(count.checked_sub(1)?));
        after.into_iter().find(|index| self.lease(*index).is_some())
    }

    /// What IPCP gave to a client that is up.
    pub fn lease(&self, index: u32) -> Option<Lease> {
        self.member(index)?.lease
    }

    /// A client's flows.
    pub fn flows(&mut self, index: u32) -> Option<&mut Member> {
        self.members.get_mut(usize::try_from(index).ok()?)
    }

    /// Begins the log-in of the next client that has not begun.
    pub fn connect_next(&mut self, now: Time) -> Option<u32> {
        let begun = self.members.len() - usize::try_from(self.census.idle).ok()?;
        let index = u32::try_from(begun).ok()?;
        self.census.idle = self.census.idle.checked_sub(1)?;
        self.begin(now, index)?;
        Some(index)
    }

    /// Forgets all that a client knows, as by a power cut, and begins to log in anew from the same address.
    ///
    /// `None` if it has never begun.
    pub fn connect_again(&mut self, now: Time, index: u32) -> Option<()> {
        let member = self.members.get_mut(usize::try_from(index).ok()?)?;
        let client = member.client.take()?;
        let was_up = member.lease.take().is_some();
        let count = match (was_up, client.is_down()) {
            (true, _) => &mut self.census.up,
            (false, true) => &mut self.census.down,
            (false, false) => &mut self.census.connecting,
        };
        *count -= 1;
        self.begin(now, index)
    }

    fn begin(&mut self, now: Time, index: u32) -> Option<()> {
        let mut client = Client::new(
            self.profile.clone(),
            self.credentials.clone(),
            self.address(index),
            self.gateway,
        );
        client.connect(now, &mut self.rng);
        let member = self.members.get_mut(usize::try_from(index).ok()?)?;
        member.client = Some(Box::new(client));
        member.started = now;
        self.census.connecting += 1;
        self.follow_up(now, index);
        Some(())
    }

    /// Gives a packet to a client; returns where in it an inner IP packet now stands.
    pub fn handle(
        &mut self,
        now: Time,
        index: u32,
        via: Via,
        bytes: &mut [u8],
    ) -> Option<Range<usize>> {
        let member = self.members.get_mut(usize::try_from(index).ok()?)?;
        let client = member.client.as_mut()?;
        let inner = match via {
            Via::Udp(port) => client.handle_udp(now, port, bytes, &mut self.rng),
            Via::Esp => client.handle_esp(now, bytes, &mut self.rng),
        };
        if inner.is_none() {
            self.follow_up(now, index);
        }
        inner
    }

    /// The client itself.
    pub fn client(&mut self, index: u32) -> Option<&mut Client> {
        self.members
            .get_mut(usize::try_from(index).ok()?)?
            .client
            .as_deref_mut()
    }

    /// The next message of a client.
    pub fn poll_transmit(&mut self, index: u32) -> Option<Datagram> {
        self.client(index)?.poll_transmit()
    }

    /// When a timer of any client is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Does what is due for one client and returns which.
    pub fn handle_timeout(&mut self, now: Time) -> Option<u32> {
        while let Some(Reverse((at, index))) = self.timers.peek().copied() {
            if at > now {
                return None;
            }
            self.timers.pop();
            let Some(member) = self.members.get_mut(usize::try_from(index).ok()?) else {
                continue;
            };
            // An entry that a later one replaced is left where it was.
            if member.timer != Some(at) {
                continue;
            }
            member.timer = None;
            if let Some(client) = &mut member.client {
                client.handle_timeout(now, &mut self.rng);
            }
            self.follow_up(now, index);
            return Some(index);
        }
        None
    }

    /// Logs a client out; its last messages are then to be polled.
    pub fn disconnect(&mut self, now: Time, index: u32) {
        if let Some(member) = self
            .members
            .get_mut(usize::try_from(index).unwrap_or(usize::MAX))
            && let Some(client) = &mut member.client
        {
            client.disconnect(now, &mut self.rng);
            self.follow_up(now, index);
        }
    }

    /// How many clients there are.
    pub fn len(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many clients have heard good-byes that satisfy `heard`.
    pub fn count_farewells(&self, heard: impl Fn(Farewells) -> bool) -> usize {
        let clients = self
            .members
            .iter()
            .filter_map(|member| member.client.as_ref());
        clients.filter(|client| heard(client.farewells())).count()
    }

    /// Packets that clients did not take, all reasons and clients together.
    pub fn discards(&self) -> u64 {
        let clients = self
            .members
            .iter()
            .filter_map(|member| member.client.as_ref());
        clients.map(|client| client.discards().total()).sum()
    }

    fn member(&self, index: u32) -> Option<&Member> {
        self.members.get(usize::try_from(index).ok()?)
    }

    /// Takes a client's events and sets its timer.
    fn follow_up(&mut self, now: Time, index: u32) {
        let Some(member) = self
            .members
            .get_mut(usize::try_from(index).unwrap_or(usize::MAX))
        else {
            return;
        };
        let Some(client) = &mut member.client else {
            return;
        };
        while let Some(event) = client.poll_event() {
            match event {
                Event::Up(lease) => {
                    member.lease = Some(lease);
                    self.census.connecting -= 1;
                    self.census.up += 1;
                    self.log_in_times.push(now.since(member.started));
                }
                Event::Down(cause) => {
                    let was_up = member.lease.take().is_some();
                    self.census.up -= u32::from(was_up);
                    self.census.connecting -= u32::from(!was_up);
                    self.census.down += 1;
                    *self.failures.entry(cause).or_insert(0) += 1;
                }
                Event::SentAgain(stage) => *self.sent_again.entry(stage).or_insert(0) += 1,
                Event::Rekeyed => {}
            }
        }
        let at = client.poll_timeout();
        if at != member.timer {
            member.timer = at;
            self.timers.extend(at.map(|at| Reverse((at, index))));
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;
    use crate::client::Encapsulation;
    use crate::client::esp::Suite;
    use crate::client::ike::keys::Cipher;
    use crate::client::ike::proposal::IkeProposal;
    use crate::client::ppp::Method;

    fn population(count: u32) -> Population {
        let profile = Profile {
            psk: b"key".to_vec(),
            ike: vec![IkeProposal::default()],
            esp: Suite::Gcm(Cipher::Aes128),
            encapsulation: Encapsulation::AsNeeded,
            l2tp_port: 1701,
            mru: 1_400,
            methods: vec![Method::MsChapV2],
        };
        let credentials = Credentials {
            user: "user".into(),
            password: "password".into(),
        };
        let (first, gateway) = (
            Ipv4Addr::new(198, 18, 0, 254),
            Ipv4Addr::new(203, 0, 113, 1),
        );
        Population::new(
            count,
            first,
            gateway,
            profile,
            credentials,
            ChaCha20Rng::seed_from_u64(1),
        )
    }

    #[test]
    fn addresses_go_on_over_the_end_of_a_byte() {
        let population = population(3);
        assert_eq!(population.address(2), Ipv4Addr::new(198, 18, 1, 0));
        assert_eq!(population.find(Ipv4Addr::new(198, 18, 1, 0)), Some(2));
        assert_eq!(population.find(Ipv4Addr::new(198, 18, 1, 1)), None);
        assert_eq!(population.find(Ipv4Addr::new(198, 18, 0, 253)), None);
    }

    #[test]
    fn clients_that_get_no_answer_try_again_and_then_fail_with_the_step_they_were_at() {
        let mut population = population(2);
        while population.connect_next(Time::ZERO).is_some() {}
        assert_eq!(
            population.census(),
            Census {
                connecting: 2,
                ..Census::default()
            }
        );
        let mut sent = 0;
        loop {
            for index in 0..2 {
                while population.poll_transmit(index).is_some() {
                    sent += 1;
                }
            }
            let Some(at) = population.poll_timeout() else {
                break;
            };
            population.handle_timeout(at);
        }
        assert_eq!(sent, 14);
        assert_eq!(
            population.sent_again(),
            &BTreeMap::from([(Stage::Proposal, 12)])
        );
        assert_eq!(
            population.census(),
            Census {
                down: 2,
                ..Census::default()
            }
        );
        let silent = Cause::Silent(Stage::Proposal);
        assert_eq!(population.failures(), &BTreeMap::from([(silent, 2)]));
        assert_eq!(population.next_up(0), None);
    }

    #[test]
    fn a_client_that_begins_anew_is_counted_once() {
        let mut population = population(2);
        assert_eq!(population.connect_again(Time::ZERO, 0), None);
        population.connect_next(Time::ZERO);
        population.connect_again(Time::ZERO, 0).unwrap();
        population.disconnect(Time::ZERO, 0);
        let mut census = Census {
            idle: 1,
            down: 1,
            ..Census::default()
        };
        assert_eq!(population.census(), census);
        population.connect_again(Time::ZERO, 0).unwrap();
        (census.down, census.connecting) = (0, 1);
        assert_eq!(population.census(), census);
    }
}
