//! The whole system in one virtual time: simulated clients, a network, the gateway's machines and its real packet path.
//!
//! ```text
//! Client ─ Nat ─ Network (delay, loss, repetition) ─▶ Worker ─ punts ──▶ Gateway        clients ◄─ the same way ─ network
//!                                                     │    ▲                │
//!                                            Lan ◄────┘    └── commands ────┘  through translation and mirror, as in control
//! ```
//! No socket, thread or clock takes part: every run is a function of its seed. The gateway's machines can be saved and restored, and the
//! worker be killed and made anew, between any two steps.

pub mod frame;
pub mod lan;
pub mod network;
pub mod plane;
pub mod setting;
pub mod wire;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use culvert::control::mirror::Mirror;
use culvert::control::translate;
use culvert_bench::client::{self, Cause, Client, Credentials, Event, Outer, Profile};
use culvert_dataplane::api;
use culvert_proto::gateway::{Gateway, Input, Note, Output, Status};
use culvert_proto::job::JobDone;
use culvert_proto::rows::SetId;
use culvert_proto::time::Time;
use culvert_wire::eth;
use culvert_wire::ipv4::{Packet, Protocol};
use culvert_wire::udp::{self, Datagram};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use frame::{Cut, Ends};
use lan::Lan;
use network::{Flight, Nat, Network};
use plane::{Held, MTU, OUTER_MAC, Plane, ROUTER_MAC, Told};
use setting::Setting;
use wire::Tap;

/// The gateway's outer address.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The gateway's address in every session.
pub const PPP_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);

/// Packets given to a port before the worker turns.
const BURST: usize = 32;
/// The longest packet that a client may make of an inner one, over that one's length.
const OVERHEAD: usize = 128;

/// When the gateway's machines are saved and restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restore {
    /// Never.
    Never,
    /// After one input in so many.
    OneIn(u32),
}

/// What clients do not hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deaf {
    /// They hear all.
    No,
    /// No ESP.
    ToEsp,
    /// No IKE.
    ToIke,
}

/// A client by the order in which it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub usize);

/// A translator by the order in which it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NatId(pub usize);

/// One client and what has been heard of it.
#[derive(Debug)]
pub struct Member {
    client: Client,
    outer: Ipv4Addr,
    nat: Option<NatId>,
    /// Its events so far, but for messages sent again.
    pub events: Vec<Event>,
    /// IP packets that reached it.
    pub received: Vec<Vec<u8>>,
}

impl Member {
    /// Its address, if it ever was up.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.events.iter().find_map(|event| match event {
            Event::Up(lease) => lease.address,
            Event::Down(_) | Event::Rekeyed | Event::SentAgain(_) => None,
        })
    }

    /// Why it went down, if it did.
    pub fn cause(&self) -> Option<Cause> {
        self.events.iter().find_map(|event| match event {
            Event::Down(cause) => Some(*cause),
            Event::Up(_) | Event::Rekeyed | Event::SentAgain(_) => None,
        })
    }

    /// Whether IP may flow.
    pub fn is_up(&self) -> bool {
        self.client.is_up()
    }

    /// Packets that it did not take.
    pub fn discards(&self) -> client::Discards {
        self.client.discards()
    }
}

/// Everything.
pub struct World {
    now: Time,
    setting: Setting,
    gateway: Gateway,
    mirror: Mirror,
    plane: Plane,
    /// Outlives the worker.
    memory: OwnedFd,
    members: Vec<Member>,
    nats: Vec<Nat>,
    network: Network,
    lan: Lan,
    tap: Tap,
    jobs: BTreeMap<(Time, u64), JobDone>,
    jobs_given: u64,
    notes: Vec<Note>,
    refusals: Vec<String>,
    /// Where the data plane says that peers have moved.
    moves: Vec<SocketAddr>,
    deaf: Deaf,
    identification: u16,
    rng: ChaCha20Rng,
}

impl World {
    /// A gateway without clients.
    pub fn new(setting: Setting) -> Self {
        let now = Time::from_micros(1_000_000);
        let memory = plane::continuity();
        Self {
            now,
            gateway: Gateway::new(setting.config()),
            mirror: Mirror::default(),
            plane: Plane::new(&memory, now),
            memory,
            members: Vec::new(),
            nats: Vec::new(),
            network: Network::default(),
            lan: Lan::default(),
            tap: Tap::default(),
            jobs: BTreeMap::new(),
            jobs_given: 0,
            notes: Vec::new(),
            refusals: Vec::new(),
            moves: Vec::new(),
            deaf: Deaf::No,
            identification: 0,
            rng: ChaCha20Rng::seed_from_u64(setting.seed),
            setting,
        }
    }

    /// Adds a client with an outer address of its own and lets it log in.
    pub fn connect(
        &mut self,
        outer: Ipv4Addr,
        profile: &Arc<Profile>,
        credentials: &Arc<Credentials>,
    ) -> MemberId {
        self.join(outer, None, profile, credentials)
    }

    /// Adds a translator.
    pub fn add_nat(&mut self, public: Ipv4Addr) -> NatId {
        self.nats.push(Nat::new(public));
        NatId(self.nats.len() - 1)
    }

    /// Adds a client with the address `inside` behind a translator and lets it log in.
    pub fn connect_behind(
        &mut self,
        nat: NatId,
        inside: Ipv4Addr,
        profile: &Arc<Profile>,
        credentials: &Arc<Credentials>,
    ) -> MemberId {
        self.join(inside, Some(nat), profile, credentials)
    }

    fn join(
        &mut self,
        outer: Ipv4Addr,
        nat: Option<NatId>,
        profile: &Arc<Profile>,
        credentials: &Arc<Credentials>,
    ) -> MemberId {
        let mut client = Client::new(profile.clone(), credentials.clone(), outer, GATEWAY);
        client.connect(client_time(self.now), &mut self.rng);
        self.members.push(Member {
            client,
            outer,
            nat,
            events: Vec::new(),
            received: Vec::new(),
        });
        let id = MemberId(self.members.len() - 1);
        self.collect(id);
        id
    }

    /// Lets a translator forget a client's ports: its next packets come from others.
    pub fn rebind(&mut self, member: MemberId) {
        if let Some(nat) = self.members[member.0].nat {
            self.nats[nat.0].forget(member.0);
        }
    }

    /// Moves a client behind another translator.
    pub fn roam(&mut self, member: MemberId, nat: NatId) {
        self.members[member.0].nat = Some(nat);
    }

    /// A client.
    pub fn member(&self, id: MemberId) -> &Member {
        &self.members[id.0]
    }

    /// All clients.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (MemberId, &Member)> {
        self.members
            .iter()
            .enumerate()
            .map(|(index, member)| (MemberId(index), member))
    }

    /// The host behind the gateway.
    pub const fn lan(&self) -> &Lan {
        &self.lan
    }

    /// The listener on the gateway's outer wire.
    pub const fn tap(&mut self) -> &mut Tap {
        &mut self.tap
    }

    /// The packet path.
    pub const fn plane(&self) -> &Plane {
        &self.plane
    }

    /// How the control plane is.
    pub fn status(&self) -> Status {
        self.gateway.status(self.now)
    }

    /// What the control plane had to say.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Where the data plane says that peers have moved, in order.
    pub fn moves(&self) -> &[SocketAddr] {
        &self.moves
    }

    /// Commands that the data plane refused although it should not have.
    pub fn refusals(&self) -> &[String] {
        &self.refusals
    }

    /// Virtual time.
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Changes the network; packets on their way are not concerned.
    pub fn set_conditions(&mut self, conditions: network::Conditions) {
        self.setting.conditions = conditions;
    }

    /// Makes all clients deaf to what the gateway says in one way.
    pub const fn deafen(&mut self, deaf: Deaf) {
        self.deaf = deaf;
    }

    /// Waits until all clients are up, and a little longer.
    ///
    /// # Panics
    /// If one is not.
    pub fn assert_all_up(&mut self) {
        let all_told = self.run(Duration::from_secs(240), |world| {
            world.members.iter().all(|member| !member.events.is_empty())
        });
        let causes: Vec<_> = self.members.iter().filter_map(Member::cause).collect();
        let seed = self.setting.seed;
        assert!(all_told && causes.is_empty(), "seed {seed}: {causes:?}");
        // The gateway may still wait for the acknowledgement of its last request.
        self.pass(Duration::from_secs(5));
    }

    /// From a client's own address to the host behind the gateway.
    ///
    /// # Panics
    /// If it never was up.
    pub fn ends(&self, id: MemberId) -> Ends {
        let source = self.member(id).address();
        Ends {
            source: source.expect("a client that is up"),
            destination: lan::HOST,
        }
    }

    /// Numbers that follow from the seed.
    pub const fn rng(&mut self) -> &mut ChaCha20Rng {
        &mut self.rng
    }

    /// Forgets the packets that have reached clients and network.
    pub fn clear_received(&mut self) {
        self.lan.clear();
        for member in &mut self.members {
            member.received.clear();
        }
    }

    /// Lets a client do something, then sends what it wants to send.
    pub fn act(
        &mut self,
        id: MemberId,
        act: impl FnOnce(&mut Client, client::Time, &mut ChaCha20Rng),
    ) {
        let member = &mut self.members[id.0];
        act(&mut member.client, client_time(self.now), &mut self.rng);
        self.collect(id);
    }

    /// Sends an IP packet from a client through its tunnel; false if it has none.
    pub fn send_up(&mut self, id: MemberId, packet: &[u8]) -> bool {
        let mut bytes = vec![0; packet.len() + OVERHEAD];
        let member = &mut self.members[id.0];
        let (Some(outer), Ok(len)) = (
            member.client.outer(),
            member.client.seal_inner(packet, &mut bytes),
        ) else {
            return false;
        };
        bytes.truncate(len);
        self.send_outer(id, outer, &bytes);
        true
    }

    /// Sends an IP packet from the network behind the gateway.
    pub fn send_down(&mut self, packet: &[u8]) {
        self.plane.core().send(&lan::outgoing(packet));
        self.pump();
    }

    /// Puts frames on the gateway's outer wire, whoever sends them.
    pub fn inject(&mut self, frames: &[Vec<u8>]) {
        for burst in frames.chunks(BURST) {
            for frame in burst {
                self.plane.outer().send(frame);
            }
            self.pump();
        }
    }

    /// Tells all peers that the gateway goes.
    pub fn close_all(&mut self) {
        self.gateway.close_all(self.now, &mut self.rng);
        self.settle();
        self.pump();
    }

    /// Kills the worker and makes another over the same memory, with everything that the mirror holds.
    pub fn restart_data_plane(&mut self) {
        // The old one goes first: the memory is mapped once.
        let blank = plane::continuity();
        self.plane = Plane::new(&blank, self.now);
        self.plane = Plane::new(&self.memory, self.now);
        for (_, command) in self.mirror.install() {
            self.command(command);
        }
        self.pump();
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
                    self.pump();
                    return done(self);
                }
            }
        }
    }

    /// Lets `time` pass.
    pub fn pass(&mut self, time: Duration) {
        self.run(time, |_| false);
    }

    fn next_time(&self) -> Option<Time> {
        let clients = self
            .members
            .iter()
            .filter_map(|member| member.client.poll_timeout());
        let clients = clients.min().map(|at| Time::from_micros(at.as_micros()));
        let job = self.jobs.keys().next().map(|(at, _)| *at);
        [
            self.network.next(),
            clients,
            job,
            self.gateway.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does everything that is due at `at`.
    fn step(&mut self, at: Time) {
        self.now = self.now.max(at);
        let mut waiting = 0;
        while let Some(flight) = self.network.take(self.now) {
            match flight {
                Flight::ToGateway(packet) => {
                    self.arrive(&packet);
                    waiting += 1;
                }
                Flight::ToClient(packet) => self.deliver(&packet),
            }
            if waiting == BURST {
                waiting = 0;
                self.pump();
            }
        }
        self.pump();
        while let Some(entry) = self
            .jobs
            .first_entry()
            .filter(|entry| entry.key().0 <= self.now)
        {
            let done = entry.remove();
            self.gateway.handle_done(self.now, &mut self.rng, done);
            self.settle();
        }
        if self.gateway.poll_timeout().is_some_and(|at| at <= self.now) {
            self.gateway.handle_timeout(self.now, &mut self.rng);
            self.settle();
        }
        self.client_timeouts();
        self.pump();
    }

    fn client_timeouts(&mut self) {
        let now = client_time(self.now);
        for index in 0..self.members.len() {
            let timeout = self.members[index].client.poll_timeout();
            if timeout.is_some_and(|at| at <= now) {
                self.act(MemberId(index), Client::handle_timeout);
            }
        }
    }

    fn arrive(&mut self, packet: &[u8]) {
        let frame = frame::ethernet(ROUTER_MAC, OUTER_MAC, packet);
        self.tap.incoming(&frame);
        let taken = self.plane.outer().send(&frame);
        assert!(taken, "a worker that turns after every burst has room");
    }

    /// Lets the worker turn until nothing moves any more, and carries what it gives to where it belongs.
    fn pump(&mut self) {
        loop {
            let worked = self.plane.turn(self.now);
            let told = self.plane.poll();
            let is_quiet = told.is_empty();
            for told in told {
                self.handle_told(told);
            }
            let moved = self.take_outer() + self.take_core();
            if !worked && is_quiet && moved == 0 {
                return;
            }
        }
    }

    fn handle_told(&mut self, told: Told) {
        match told {
            Told::Punt(punt) => self.handle(translate::input(&punt)),
            Told::Event(event) => self.handle_event(event),
            Told::Refused(command, refusal) => self.handle_refusal(&command, refusal),
        }
    }

    fn handle_event(&mut self, event: api::Event) {
        match event {
            api::Event::InboundUsed(inbound) => {
                self.mirror.note_inbound_used(inbound);
                self.handle(Input::InboundUsed { inbound });
            }
            api::Event::EndpointMoved { set, remote } => {
                let set = translate::from_set(api::CoreId(0), set);
                self.mirror.note_endpoint(set, remote);
                self.moves.push(remote);
                self.handle(Input::EndpointMoved { set, remote });
            }
            api::Event::SequenceLow { .. } | api::Event::Held(_) | api::Event::InventoryEnd => {
                panic!("{event:?} is neither asked for nor due")
            }
        }
    }

    fn handle_refusal(&mut self, command: &api::Command, refusal: api::Refusal) {
        if plane::is_harmless(command, refusal) {
            return;
        }
        self.refusals.push(format!("{refusal:?}: {command:?}"));
        if let Some(inbound) = plane::refused_pair(command)
            && self.mirror.forget_inbound(inbound).is_some()
        {
            self.gateway.handle_lost(self.now, &mut self.rng, inbound);
            self.settle();
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.gateway.handle(self.now, &mut self.rng, input);
        self.settle();
    }

    /// Carries out what the gateway wants, and lets the worker take it up.
    fn settle(&mut self) {
        self.perhaps_restore();
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Change(change) => {
                    self.mirror.apply(&change);
                    for (_, command) in translate::commands(&change, api::Start::Fresh) {
                        self.command(command);
                    }
                }
                Output::Transmit { to, bytes } => self.command(translate::transmit(to, bytes).1),
                Output::Job(job) => {
                    let at = self.now + network::delay(&self.setting.work, &mut self.rng);
                    self.jobs_given += 1;
                    let done = job.run(&mut self.rng);
                    self.jobs.insert((at, self.jobs_given), done);
                }
                Output::Note(note) => self.notes.push(note),
                Output::WantAddress => panic!("no set is reserved"),
            }
        }
        self.plane.turn(self.now);
    }

    fn command(&mut self, command: api::Command) {
        self.plane.command(command);
    }

    /// Saves the gateway and goes on with the copy, now and then.
    fn perhaps_restore(&mut self) {
        let Restore::OneIn(steps) = self.setting.restore else {
            return;
        };
        if self.rng.next_u32().is_multiple_of(steps) {
            let saved = postcard::to_allocvec(&self.gateway).expect("plain data");
            self.gateway = postcard::from_bytes(&saved).expect("what was saved reads back");
            self.gateway.set_users(self.setting.users());
        }
    }

    /// Takes frames off the outer wire; returns how many.
    fn take_outer(&mut self) -> usize {
        let mut count = 0;
        while let Some(frame) = self.plane.outer().take() {
            count += 1;
            let header = eth::Header::parse(&frame).expect("the gateway sends Ethernet");
            assert_eq!((header.destination, header.source), (ROUTER_MAC, OUTER_MAC));
            let packet = Packet::parse(&frame[eth::HEADER_LEN..]).expect("the gateway sends IPv4");
            assert!(
                packet.checksum_ok() && packet.source() == GATEWAY,
                "{packet:?}"
            );
            assert!(packet.total_len() <= usize::from(MTU), "{packet:?}");
            assert!(
                !packet.is_fragment(),
                "the gateway cuts inside the tunnel: {packet:?}"
            );
            self.tap.outgoing(&packet);
            self.fly(&Flight::ToClient(packet.bytes().to_vec()));
        }
        count
    }

    /// Takes frames off the core wire, and puts answers on it; returns how many.
    fn take_core(&mut self) -> usize {
        let mut count = 0;
        while let Some(frame) = self.plane.core().take() {
            count += 1;
            if let Some(answer) = self.lan.receive(&frame) {
                self.plane.core().send(&answer);
            }
        }
        count
    }

    fn fly(&mut self, flight: &Flight) {
        self.network
            .send(self.now, &self.setting.conditions, flight, &mut self.rng);
    }

    /// Takes what a client wants sent and has to tell.
    fn collect(&mut self, id: MemberId) {
        while let Some(datagram) = self.members[id.0].client.poll_transmit() {
            self.send_outer(id, datagram.outer, &datagram.bytes);
        }
        let member = &mut self.members[id.0];
        let events = std::iter::from_fn(|| member.client.poll_event());
        let told = events.filter(|event| !matches!(event, Event::SentAgain(_)));
        member.events.extend(told);
    }

    /// Sends a client's datagram through its translator, cut for the path.
    fn send_outer(&mut self, id: MemberId, outer: Outer, bytes: &[u8]) {
        let member = &self.members[id.0];
        let (mut source, nat) = (member.outer, member.nat);
        let (protocol, payload) = match outer {
            Outer::Esp if nat.is_some() => return,
            Outer::Esp => (Protocol::ESP, bytes.to_vec()),
            Outer::Udp(port) => {
                let mut source_port = port;
                if let Some(nat) = nat {
                    let nat = &mut self.nats[nat.0];
                    source = nat.public;
                    source_port = nat.outside((id.0, port), &mut self.rng);
                }
                (Protocol::UDP, frame::udp(source_port, port, bytes))
            }
        };
        let ends = Ends {
            source,
            destination: GATEWAY,
        };
        self.identification = self.identification.wrapping_add(1);
        let packet = frame::ip(ends, protocol, Cut::Allowed, self.identification, &payload);
        for piece in frame::fragments(&packet, usize::from(MTU)) {
            self.fly(&Flight::ToGateway(piece));
        }
    }

    /// Brings a packet of the gateway's to the client that it is for, through its translator; what nobody expects is lost.
    fn deliver(&mut self, packet: &[u8]) {
        let packet = Packet::parse(packet).expect("looked at when it was sent");
        let deaf = match wire::esp(&packet) {
            Some(_) => Deaf::ToEsp,
            None => Deaf::ToIke,
        };
        if deaf == self.deaf {
            return;
        }
        let mut payload = packet.payload().to_vec();
        if packet.protocol() == Protocol::ESP {
            let Some(id) = self.member_at(packet.destination()) else {
                return;
            };
            let member = &mut self.members[id.0];
            let inner =
                member
                    .client
                    .handle_esp(client_time(self.now), &mut payload, &mut self.rng);
            member
                .received
                .extend(inner.map(|range| payload[range].to_vec()));
            return self.collect(id);
        }
        let datagram = Datagram::parse(&payload).expect("the gateway sends ESP and UDP");
        let (port, len) = (datagram.destination_port().0, datagram.payload().len());
        let Some((id, port)) = self.inside(packet.destination(), port) else {
            return;
        };
        let bytes = &mut payload[udp::HEADER_LEN..udp::HEADER_LEN + len];
        let member = &mut self.members[id.0];
        let inner = member
            .client
            .handle_udp(client_time(self.now), port, bytes, &mut self.rng);
        member
            .received
            .extend(inner.map(|range| bytes[range].to_vec()));
        self.collect(id);
    }

    /// The client with an address of its own.
    fn member_at(&self, address: Ipv4Addr) -> Option<MemberId> {
        let is_meant = |member: &Member| member.nat.is_none() && member.outer == address;
        self.members.iter().position(is_meant).map(MemberId)
    }

    /// The client and its port that a datagram reaches.
    fn inside(&self, address: Ipv4Addr, port: u16) -> Option<(MemberId, u16)> {
        if let Some(member) = self.member_at(address) {
            return Some((member, port));
        }
        let nat = self.nats.iter().position(|nat| nat.public == address)?;
        let (member, port) = self.nats[nat].inside(port)?;
        (self.members[member].nat == Some(NatId(nat))).then_some((MemberId(member), port))
    }

    /// Rows that the data plane holds.
    pub fn held(&self) -> Held {
        self.plane.held()
    }

    /// Checks that nobody is left anywhere: no set, SA, tunnel, session or address is taken.
    ///
    /// # Panics
    /// If something is.
    pub fn assert_empty(&self) {
        let status = self.status();
        assert_eq!(
            (status.sets.len(), status.tunnels, status.sessions.len()),
            (0, 0, 0),
            "{status:?}"
        );
        assert_eq!(
            (status.ike_sas, status.addresses_taken),
            (0, 0),
            "{status:?}"
        );
        assert_eq!(self.held(), Held::default());
        assert_eq!(self.mirror.len(), (0, 0));
    }

    /// Checks that every packet has had one end and every frame is in one place, and that no command was refused.
    ///
    /// # Panics
    /// If not.
    pub fn assert_accounted(&mut self) {
        self.plane.assert_accounted(self.now);
        assert_eq!(self.refusals, Vec::<String>::new());
    }
}

const fn client_time(now: Time) -> client::Time {
    client::Time::from_micros(now.as_micros())
}

/// The set of a client by its address, as the control plane has it.
pub fn set_of(status: &Status, address: Ipv4Addr) -> Option<SetId> {
    let mut sessions = status.sessions.iter();
    sessions
        .find(|session| session.address == Some(address))
        .map(|session| session.set)
}
