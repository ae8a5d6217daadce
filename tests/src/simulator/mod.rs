//! The gateway's control plane and simulated clients in one virtual time, over a network that loses, repeats and reorders.
//!
//! ```text
//! Client ─ datagrams ─▶ Network (delay, loss, repetition) ─▶ DataPlane ─ punts ─▶ Gateway
//!        ◀──────────────────────────────────────────────────           ◀─ changes, messages
//! ```
//! Every run is a function of its seed. The gateway's machines can be saved and restored between any two steps, as when control dies.

mod data_plane;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use culvert_bench::client::{self, Client, Credentials, Event, Profile, Stage};
use culvert_proto::gateway::{Config, Gateway, Output};
use culvert_proto::time::Time;
use culvert_proto::users::Users;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

pub use data_plane::{Arrived, DataPlane, Drops, Packaged, Punted};

/// The gateway's address.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// What the network does to datagrams.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// How long one takes; a range reorders.
    pub delay: Range<Duration>,
    /// Datagrams lost in a thousand.
    pub loss: u32,
    /// Datagrams that come twice in a thousand.
    pub repetition: u32,
}

impl Conditions {
    /// A network that does its work and keeps the order.
    pub const GOOD: Self = Self {
        delay: Duration::from_millis(1)..Duration::from_millis(1),
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

/// When the gateway's machines are saved and restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restore {
    /// Never.
    Never,
    /// After one step in so many.
    OneIn(u32),
}

#[derive(Clone, Debug)]
enum Flight {
    ToGateway(Packaged),
    ToClient(Packaged),
}

/// One client and what has been heard of it.
pub struct Member {
    /// The client.
    pub client: Client,
    /// Its events so far.
    pub events: Vec<Event>,
    /// IP packets that reached it.
    pub received: Vec<Vec<u8>>,
}

impl Member {
    /// Its address, if it is up.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.events.iter().find_map(|event| match event {
            Event::Up(lease) => lease.address,
            Event::Down(_) | Event::Rekeyed => None,
        })
    }

    /// Why it went down, if it did.
    pub fn cause(&self) -> Option<client::Cause> {
        self.events.iter().find_map(|event| match event {
            Event::Down(cause) => Some(*cause),
            Event::Up(_) | Event::Rekeyed => None,
        })
    }
}

/// Everything.
pub struct Simulation {
    now: Time,
    gateway: Gateway,
    users: Users,
    data_plane: DataPlane,
    members: BTreeMap<Ipv4Addr, Member>,
    conditions: Conditions,
    restore: Restore,
    /// In flight by time of arrival and order of sending.
    flights: BTreeMap<(Time, u64), Flight>,
    flown: u64,
    /// IP packets that reached the network.
    received: Vec<Vec<u8>>,
    sent_again: BTreeMap<Stage, u32>,
    rng: ChaCha20Rng,
}

impl Simulation {
    /// Starts with a gateway and no client.
    pub fn new(config: Config, conditions: Conditions, restore: Restore, seed: u64) -> Self {
        Self {
            now: Time::from_micros(1_000_000),
            users: config.users.clone(),
            gateway: Gateway::new(config),
            data_plane: DataPlane::default(),
            members: BTreeMap::new(),
            conditions,
            restore,
            flights: BTreeMap::new(),
            flown: 0,
            received: Vec::new(),
            sent_again: BTreeMap::new(),
            rng: ChaCha20Rng::seed_from_u64(seed),
        }
    }

    /// Adds a client with an outer address of its own and lets it log in.
    pub fn connect(
        &mut self,
        address: Ipv4Addr,
        profile: &Arc<Profile>,
        credentials: &Arc<Credentials>,
    ) {
        let mut client = Client::new(profile.clone(), credentials.clone(), address, GATEWAY);
        client.connect(client_time(self.now), &mut self.rng);
        self.members.insert(
            address,
            Member {
                client,
                events: Vec::new(),
                received: Vec::new(),
            },
        );
        self.collect(address);
    }

    /// The clients by outer address.
    pub const fn members(&self) -> &BTreeMap<Ipv4Addr, Member> {
        &self.members
    }

    /// The gateway's control plane.
    pub const fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The data plane's rows.
    pub const fn data_plane(&self) -> &DataPlane {
        &self.data_plane
    }

    /// IP packets that reached the network.
    pub fn received(&self) -> &[Vec<u8>] {
        &self.received
    }

    /// Messages that clients sent again because no answer to a step came in time.
    pub fn sent_again(&self, stage: Stage) -> u32 {
        self.sent_again.get(&stage).copied().unwrap_or(0)
    }

    /// Virtual time passed since the start of the clock.
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Lets a client do something, then sends what it wants to send.
    pub fn act(
        &mut self,
        address: Ipv4Addr,
        act: impl FnOnce(&mut Client, client::Time, &mut ChaCha20Rng),
    ) {
        if let Some(member) = self.members.get_mut(&address) {
            act(&mut member.client, client_time(self.now), &mut self.rng);
        }
        self.collect(address);
    }

    /// Sends an IP packet from a client.
    pub fn send_up(&mut self, address: Ipv4Addr, packet: &[u8]) {
        let Some(member) = self.members.get_mut(&address) else {
            return;
        };
        let mut bytes = vec![0; packet.len() + 128];
        if let (Some(outer), Ok(len)) = (
            member.client.outer(),
            member.client.seal_inner(packet, &mut bytes),
        ) {
            bytes.truncate(len);
            self.fly(Flight::ToGateway(Packaged {
                client: address,
                outer,
                bytes,
            }));
        }
    }

    /// Sends an IP packet from the network.
    pub fn send_down(&mut self, packet: &[u8]) {
        if let Some(packaged) = self.data_plane.send_inner(packet) {
            self.fly(Flight::ToClient(packaged));
        }
    }

    /// Goes on until `done` says so or `limit` has passed; whether it was `done`.
    pub fn run(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if done(self) {
                return true;
            }
            match self.next_time() {
                Some(at) if at <= end => self.step(at),
                Some(_) | None => {
                    self.now = end;
                    return done(self);
                }
            }
        }
    }

    fn next_time(&self) -> Option<Time> {
        let flight = self.flights.keys().next().map(|(at, _)| *at);
        let clients = self
            .members
            .values()
            .filter_map(|member| member.client.poll_timeout());
        let clients = clients.min().map(|at| Time::from_micros(at.as_micros()));
        [flight, clients, self.gateway.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does everything that is due at `at`.
    fn step(&mut self, at: Time) {
        self.now = self.now.max(at);
        while let Some(entry) = self.flights.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let flight = entry.remove();
            self.arrive(flight);
            self.perhaps_restore();
        }
        if self.gateway.poll_timeout().is_some_and(|at| at <= self.now) {
            self.gateway.handle_timeout(self.now, &mut self.rng);
            self.drain();
            self.perhaps_restore();
        }
        let now = client_time(self.now);
        let due = |member: &Member| member.client.poll_timeout().is_some_and(|at| at <= now);
        let due: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| due(member))
            .map(|(address, _)| *address)
            .collect();
        for address in due {
            self.act(address, Client::handle_timeout);
        }
    }

    fn arrive(&mut self, flight: Flight) {
        match flight {
            Flight::ToGateway(packaged) => {
                for arrived in self.data_plane.receive(GATEWAY, packaged) {
                    match arrived {
                        Arrived::Inner(packet) => self.received.push(packet),
                        Arrived::Punt(punted) => {
                            self.gateway.handle(self.now, &mut self.rng, punted.input());
                            self.drain();
                        }
                    }
                }
            }
            Flight::ToClient(packaged) => self.deliver(packaged),
        }
    }

    fn deliver(&mut self, mut packaged: Packaged) {
        let now = client_time(self.now);
        let Some(member) = self.members.get_mut(&packaged.client) else {
            return;
        };
        let inner = match packaged.outer {
            client::Outer::Udp(port) => {
                member
                    .client
                    .handle_udp(now, port, &mut packaged.bytes, &mut self.rng)
            }
            client::Outer::Esp => member
                .client
                .handle_esp(now, &mut packaged.bytes, &mut self.rng),
        };
        member
            .received
            .extend(inner.map(|range| packaged.bytes[range].to_vec()));
        self.collect(packaged.client);
    }

    /// Takes what the gateway wants done, in its order; jobs are done at once.
    fn drain(&mut self) {
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Change(change) => self.data_plane.apply(change),
                Output::Transmit { to, bytes } => {
                    if let Some(packaged) = self.data_plane.transmit(to, &bytes) {
                        self.fly(Flight::ToClient(packaged));
                    }
                }
                Output::Job(job) => {
                    let done = job.run(&mut self.rng);
                    self.gateway.handle_done(self.now, &mut self.rng, done);
                }
                Output::WantAddress | Output::Note(_) => {}
            }
        }
    }

    /// Takes what a client wants sent and has to tell.
    fn collect(&mut self, address: Ipv4Addr) {
        let mut flights = Vec::new();
        if let Some(member) = self.members.get_mut(&address) {
            while let Some(client::Datagram { outer, bytes }) = member.client.poll_transmit() {
                flights.push(Flight::ToGateway(Packaged {
                    client: address,
                    outer,
                    bytes,
                }));
            }
            while let Some(event) = member.client.poll_event() {
                member.events.push(event);
            }
            while let Some(stage) = member.client.poll_late() {
                *self.sent_again.entry(stage).or_insert(0) += 1;
            }
        }
        flights.into_iter().for_each(|flight| self.fly(flight));
    }

    /// Puts a datagram on its way, perhaps twice, perhaps not at all.
    fn fly(&mut self, flight: Flight) {
        let copies = if self.chance(self.conditions.repetition) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            if self.chance(self.conditions.loss) {
                continue;
            }
            let Range { start, end } = self.conditions.delay;
            let spread = u32::try_from((end - start).as_micros())
                .unwrap_or(u32::MAX)
                .max(1);
            let delay = start + Duration::from_micros(u64::from(self.rng.next_u32() % spread));
            self.flown += 1;
            self.flights
                .insert((self.now + delay, self.flown), flight.clone());
        }
    }

    fn chance(&mut self, in_a_thousand: u32) -> bool {
        self.rng.next_u32() % 1_000 < in_a_thousand
    }

    /// Saves the gateway and goes on with the copy, now and then.
    fn perhaps_restore(&mut self) {
        let Restore::OneIn(steps) = self.restore else {
            return;
        };
        if self.rng.next_u32().is_multiple_of(steps) {
            let saved =
                postcard::to_allocvec(&self.gateway).expect("the gateway's state is plain data");
            self.gateway = postcard::from_bytes(&saved).expect("what was saved reads back");
            self.gateway.set_users(self.users.clone());
        }
    }
}

const fn client_time(now: Time) -> client::Time {
    client::Time::from_micros(now.as_micros())
}
