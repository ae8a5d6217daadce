//! Tests of what joins the machines: rows, addresses and jobs over the lives of tunnels, calls and sets.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for one kind of output among many"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use culvert_wire::id::Spi;
use culvert_wire::l2tp::message::{ControlMessage, MessageType};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::{Config, Destination, Gateway, Input, Note, Output, Reserved};
use crate::ike;
use crate::job::Job;
use crate::l2tp::tests::client::Client;
use crate::pool::{Pool, Range};
use crate::ppp;
use crate::rows::{Change, CoreId, InnerPorts, Path, Phase, SessionRow, SetId};
use crate::time::Time;
use crate::users::{Entry, Method, Users};

const CORE: CoreId = CoreId(0);
const OUR_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const LCP: u16 = 0xC021;
const PAP: u16 = 0xC023;
const IPCP: u16 = 0x8021;
const PORTS: InnerPorts = InnerPorts {
    local: 1_701,
    remote: 1_701,
};

/// A set that the tests' gateway knows without IKE.
const SET: SetId = SetId { core: CORE, row: 3 };

/// A gateway under virtual time: what it wants done is kept for the tests to look at.
struct World {
    now: Time,
    rng: ChaCha8Rng,
    gateway: Gateway,
    outputs: Vec<Output>,
    /// Password checks are kept instead of done.
    holds_jobs: bool,
    jobs: Vec<Job>,
}

/// How a client's messages reach the gateway.
#[derive(Clone, Copy)]
enum Way {
    Set(SetId),
    Clear,
}

fn entry(name: &str) -> Entry {
    serde_json::from_value(serde_json::json!({ "name": name, "secret": "opensesame" })).unwrap()
}

/// `addresses`: how many the pool has.
fn config(addresses: u8) -> Config {
    Config {
        ike: ike::Config {
            psks: Vec::new(),
            gates: Vec::new(),
            cores: vec![ike::config::CoreRows {
                shards: 0..1,
                sets: 8,
            }],
            limits: ike::config::Limits::default(),
        },
        l2tp: crate::l2tp::Config::default(),
        ppp: ppp::Config {
            methods: vec![Method::Pap],
            gateway: OUR_ADDRESS,
            ..ppp::Config::default()
        },
        users: Users::new([entry("alice"), entry("bob")]).unwrap(),
        pool: pool(addresses),
        sessions: 4,
    }
}

fn pool(addresses: u8) -> Pool {
    let range = Range {
        first: Ipv4Addr::new(10, 99, 0, 2),
        last: Ipv4Addr::new(10, 99, 0, 1 + addresses),
    };
    Pool::new(&[range], OUR_ADDRESS, &[], &[]).unwrap()
}

fn path() -> Path {
    let at = |host| SocketAddr::from(([198, 51, 100, host], 1_701));
    Path {
        local: at(10),
        remote: at(60),
    }
}

impl World {
    fn new(addresses: u8) -> Self {
        Self::with(config(addresses))
    }

    fn with(config: Config) -> Self {
        Self {
            now: Time::from_micros(1_000_000),
            rng: ChaCha8Rng::seed_from_u64(7),
            gateway: Gateway::new(config),
            outputs: Vec::new(),
            holds_jobs: false,
            jobs: Vec::new(),
        }
    }

    /// Gives a message; what the gateway wants done for it.
    fn give(&mut self, way: Way, bytes: &[u8]) -> Vec<Output> {
        let input = match way {
            Way::Set(set) => Input::L2tp {
                set,
                ports: PORTS,
                bytes,
            },
            Way::Clear => Input::ClearL2tp {
                core: CORE,
                path: path(),
                bytes,
            },
        };
        self.gateway.handle(self.now, &mut self.rng, input);
        self.drain()
    }

    fn give_ppp(&mut self, session: SessionRow, frame: &[u8]) -> Vec<Output> {
        let input = Input::Ppp {
            session,
            bytes: frame,
        };
        self.gateway.handle(self.now, &mut self.rng, input);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Output> {
        let mut new = Vec::new();
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Job(job) if self.holds_jobs => self.jobs.push(job),
                Output::Job(job) => {
                    let done = job.run(&mut self.rng);
                    self.gateway.handle_done(self.now, &mut self.rng, done);
                }
                other => new.push(other),
            }
        }
        self.outputs.extend(new.clone());
        new
    }

    /// Lets time pass, timer by timer.
    fn pass(&mut self, duration: Duration) -> Vec<Output> {
        let until = self.now + duration;
        let mut new = Vec::new();
        while let Some(due) = self.gateway.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.gateway.handle_timeout(self.now, &mut self.rng);
            new.extend(self.drain());
        }
        self.now = until;
        new
    }

    /// Sends one message of a client and takes the answers; all outputs.
    fn exchange(&mut self, way: Way, client: &mut Client, kind: MessageType) -> Vec<Output> {
        let bytes = client.message(kind);
        let outputs = self.give(way, &bytes);
        take_all(client, &outputs);
        outputs
    }

    /// From SCCRQ to ICCN over `way`; the session's row.
    fn dial(&mut self, way: Way, client: &mut Client) -> SessionRow {
        self.exchange(way, client, MessageType::SCCRQ);
        self.exchange(way, client, MessageType::SCCCN);
        let way = self.settled(way);
        let opened = self.exchange(way, client, MessageType::ICRQ);
        self.exchange(way, client, MessageType::ICCN);
        opened.iter().find_map(opened_session).unwrap()
    }

    /// A peer in the clear that has a set sends over it.
    fn settled(&self, way: Way) -> Way {
        let mut sets = self.outputs.iter().filter_map(|output| match output {
            Output::Change(Change::OpenSet { set, .. }) => Some(*set),
            _ => None,
        });
        match (way, sets.next_back()) {
            (Way::Clear, Some(set)) => Way::Set(set),
            (way, _) => way,
        }
    }

    /// PPP up to the point where the user is proved.
    fn prove(&mut self, row: SessionRow, user: &str) -> Vec<Output> {
        self.lcp(row);
        self.give_ppp(row, &request(user, 9))
    }

    fn lcp(&mut self, row: SessionRow) {
        let request = self.last_frame(row, LCP, 1);
        self.give_ppp(row, &frame(LCP, 2, request[3], &request[6..]));
        self.give_ppp(row, &frame(LCP, 1, 1, &[]));
    }

    /// PPP from beginning to end; the address.
    fn log_in(&mut self, row: SessionRow, user: &str) -> Ipv4Addr {
        self.prove(row, user);
        let request = self.last_frame(row, IPCP, 1);
        self.give_ppp(row, &frame(IPCP, 2, request[3], &request[6..]));
        self.give_ppp(row, &frame(IPCP, 1, 1, &[3, 6, 0, 0, 0, 0]));
        let nak = self.last_frame(row, IPCP, 3);
        self.give_ppp(row, &frame(IPCP, 1, 2, &nak[6..]));
        match self.phase(row) {
            Some(Phase::Open { address, .. }) => address,
            other => panic!("the session is not open: {other:?}"),
        }
    }

    /// The last frame to a session of a protocol and code.
    fn last_frame(&self, row: SessionRow, protocol: u16, code: u8) -> Vec<u8> {
        let mut frames = self.outputs.iter().rev().filter_map(|output| match output {
            Output::Transmit {
                to: Destination::Ppp(to),
                bytes,
            } if *to == row => Some(bytes),
            _ => None,
        });
        let is_it = |bytes: &&Vec<u8>| bytes[..2] == protocol.to_be_bytes() && bytes[2] == code;
        frames.find(is_it).unwrap().clone()
    }

    /// What the data plane lets a session do; `None` if it has no such session.
    fn phase(&self, row: SessionRow) -> Option<Phase> {
        let mut changes = self.outputs.iter().rev().filter_map(|output| match output {
            Output::Change(Change::OpenSession(spec)) if spec.row == row => Some(Some(spec.phase)),
            Output::Change(Change::CloseSession(closed)) if *closed == row => Some(None),
            _ => None,
        });
        changes.next().flatten()
    }

    fn counts(&self) -> (usize, usize, usize) {
        let status = self.gateway.status(self.now);
        (
            status.tunnels,
            status.sessions.len(),
            status.addresses_taken,
        )
    }
}

fn opened_session(output: &Output) -> Option<SessionRow> {
    match output {
        Output::Change(Change::OpenSession(spec)) => Some(spec.row),
        _ => None,
    }
}

fn take_all(client: &mut Client, outputs: &[Output]) {
    for output in outputs {
        if let Output::Transmit {
            to: Destination::L2tp { .. } | Destination::ClearL2tp { .. },
            bytes,
        } = output
        {
            let message = ControlMessage::parse(bytes).unwrap();
            if message.header.tunnel == client.tunnel {
                client.take(bytes);
            }
        }
    }
}

fn kinds(outputs: &[Output]) -> Vec<MessageType> {
    let messages = outputs.iter().filter_map(|output| match output {
        Output::Transmit {
            to: Destination::L2tp { .. } | Destination::ClearL2tp { .. },
            bytes,
        } => ControlMessage::parse(bytes).unwrap().body().ok(),
        _ => None,
    });
    messages.map(|body| body.kind).collect()
}

fn changes(outputs: &[Output]) -> Vec<&Change> {
    let changes = outputs.iter().filter_map(|output| match output {
        Output::Change(change) => Some(change),
        _ => None,
    });
    changes.collect()
}

fn frame(protocol: u16, code: u8, identifier: u8, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + data.len()).unwrap();
    [
        &protocol.to_be_bytes()[..],
        &[code, identifier],
        &len.to_be_bytes(),
        data,
    ]
    .concat()
}

fn request(user: &str, identifier: u8) -> Vec<u8> {
    let name = user.as_bytes();
    let data = [
        &[u8::try_from(name.len()).unwrap()][..],
        name,
        &[10],
        b"opensesame",
    ]
    .concat();
    frame(PAP, 1, identifier, &data)
}

fn stranger(address: Option<Ipv4Addr>) -> Reserved {
    let row = SessionRow { core: CORE, row: 2 };
    Reserved {
        sessions: vec![(row, address)],
        inbound: vec![Spi(0x0000_7123)],
    }
}

#[test]
fn a_call_in_the_clear_has_set_row_and_address_and_gives_all_back() {
    let mut world = World::new(1);
    let mut client = Client::new(500, 600);
    let row = world.dial(Way::Clear, &mut client);
    let address = world.log_in(row, "alice");
    assert_eq!(address, Ipv4Addr::new(10, 99, 0, 2));
    assert_eq!(world.counts(), (1, 1, 1));
    let way = world.settled(Way::Clear);
    let outputs = world.exchange(way, &mut client, MessageType::STOP_CCN);
    let set = SetId { core: CORE, row: 0 };
    let closed = [&Change::CloseSession(row), &Change::CloseSet(set)];
    assert_eq!(changes(&outputs), closed);
    world.pass(Duration::from_secs(31));
    assert_eq!(world.counts(), (0, 0, 0));
}

#[test]
fn a_request_of_lcp_that_overtakes_iccn_is_answered_once_the_call_is_connected() {
    let mut world = World::new(1);
    let mut client = Client::new(500, 600);
    world.exchange(Way::Clear, &mut client, MessageType::SCCRQ);
    world.exchange(Way::Clear, &mut client, MessageType::SCCCN);
    let way = world.settled(Way::Clear);
    let opened = world.exchange(way, &mut client, MessageType::ICRQ);
    let row = opened.iter().find_map(opened_session).unwrap();
    assert_eq!(world.give_ppp(row, &frame(LCP, 1, 9, &[])), []);
    world.exchange(way, &mut client, MessageType::ICCN);
    assert_eq!(world.last_frame(row, LCP, 2)[3], 9);
}

#[test]
fn a_call_request_sent_before_the_peer_in_the_clear_had_its_set_is_accepted() {
    let mut world = World::new(1);
    let mut client = Client::new(500, 600);
    world.exchange(Way::Clear, &mut client, MessageType::SCCRQ);
    world.exchange(Way::Clear, &mut client, MessageType::SCCCN);
    // On its way to us before the data plane knew of the set.
    let outputs = world.exchange(Way::Clear, &mut client, MessageType::ICRQ);
    assert_eq!(kinds(&outputs), [MessageType::ICRP]);
}

/// THREATS L9, in the clear.
#[test]
fn a_client_in_the_clear_that_dials_again_replaces_its_tunnel_and_keeps_its_set() {
    let mut world = World::new(1);
    let mut client = Client::new(500, 600);
    let row = world.dial(Way::Clear, &mut client);
    world.log_in(row, "alice");
    let way = world.settled(Way::Clear);
    let mut again = Client::new(501, 601);
    let row = world.dial(way, &mut again);
    assert_eq!(world.counts(), (1, 1, 0));
    world.log_in(row, "alice");
    assert_eq!(world.counts(), (1, 1, 1));
    let sets = |output: &&Output| {
        matches!(
            output,
            Output::Change(Change::OpenSet { .. } | Change::CloseSet(_))
        )
    };
    assert_eq!(world.outputs.iter().filter(sets).count(), 1);
}

/// THREATS L3: that a peer in the clear has a set does not prove who sent an SCCRQ.
#[test]
fn a_forged_request_from_the_place_of_a_peer_in_the_clear_is_answered_once() {
    let mut world = World::new(1);
    let mut client = Client::new(500, 600);
    world.dial(Way::Clear, &mut client);
    let forged = Client::new(9, 9).message(MessageType::SCCRQ);
    let outputs = world.give(world.settled(Way::Clear), &forged);
    let replies: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Transmit { bytes, .. } => Some(bytes.len()),
            _ => None,
        })
        .collect();
    assert!(replies.len() == 1 && replies[0] <= forged.len());
    let later = world.pass(Duration::from_secs(40));
    assert!(!kinds(&later).contains(&MessageType::SCCRP));
    assert_eq!(world.counts().0, 1);
}

#[test]
fn a_message_of_a_set_that_is_gone_does_nothing() {
    let mut world = World::new(1);
    let request = Client::new(500, 600).message(MessageType::SCCRQ);
    assert_eq!(world.give(Way::Set(SET), &request), []);
    assert_eq!(world.counts(), (0, 0, 0));
}

#[test]
fn the_calls_of_an_unknown_set_go_with_it() {
    let mut world = World::new(1);
    world.gateway.reserve(SET, stranger(None));
    let row = world.dial(Way::Set(SET), &mut Client::new(500, 600));
    world.log_in(row, "alice");
    world.gateway.release(world.now, &mut world.rng, SET);
    let outputs = world.drain();
    assert!(changes(&outputs).contains(&&Change::CloseSession(row)));
    assert_eq!(world.counts(), (0, 0, 0));
    let later = world.pass(Duration::from_secs(300));
    assert_eq!(later, []);
}

#[test]
fn rows_and_addresses_of_an_unknown_set_are_given_out_after_its_release_only() {
    let mut world = World::new(1);
    let address = Ipv4Addr::new(10, 99, 0, 2);
    world.gateway.reserve(SET, stranger(Some(address)));
    let row = world.dial(Way::Clear, &mut Client::new(500, 600));
    assert_ne!(row.row, 2);
    let outputs = world.prove(row, "alice");
    assert!(outputs.contains(&Output::WantAddress));
    assert_eq!(world.counts(), (1, 1, 1));
    world.gateway.release(world.now, &mut world.rng, SET);
    let outputs = world.drain();
    // IPCP begins with the address that is free now.
    assert_eq!(outputs.len(), 1);
    assert_eq!(world.last_frame(row, IPCP, 1)[2], 1);
    assert_eq!(world.gateway.status(world.now).unknown_sets, 0);
}

#[test]
fn an_address_given_back_by_a_session_goes_to_a_call_that_waits_for_one() {
    let mut config = config(2);
    config.l2tp.sessions_per_tunnel = 2;
    let mut world = World::with(config);
    let address = Ipv4Addr::new(10, 99, 0, 3);
    world.gateway.reserve(SET, stranger(Some(address)));
    let mut client = Client::new(500, 600);
    let first = world.dial(Way::Clear, &mut client);
    world.log_in(first, "alice");
    let first_session = client.server_session;
    let way = world.settled(Way::Clear);
    client.session = culvert_wire::id::SessionId(601);
    let opened = world.exchange(way, &mut client, MessageType::ICRQ);
    world.exchange(way, &mut client, MessageType::ICCN);
    let second = opened.iter().find_map(opened_session).unwrap();
    assert!(world.prove(second, "bob").contains(&Output::WantAddress));
    client.server_session = first_session;
    world.exchange(way, &mut client, MessageType::CDN);
    assert_eq!(world.last_frame(second, IPCP, 1)[2], 1);
}

#[test]
fn a_renegotiation_revokes_forwarding_and_what_lcp_had_agreed() {
    let mut world = World::new(1);
    let row = world.dial(Way::Clear, &mut Client::new(500, 600));
    let asked = world.last_frame(row, LCP, 1);
    world.give_ppp(row, &frame(LCP, 2, asked[3], &asked[6..]));
    world.give_ppp(row, &frame(LCP, 1, 1, &[7, 2, 8, 2]));
    world.give_ppp(row, &request("alice", 9));
    let asked = world.last_frame(row, IPCP, 1);
    world.give_ppp(row, &frame(IPCP, 2, asked[3], &asked[6..]));
    world.give_ppp(row, &frame(IPCP, 1, 1, &[3, 6, 10, 99, 0, 2]));
    assert!(matches!(world.phase(row), Some(Phase::Open { .. })));
    let outputs = world.give_ppp(row, &frame(LCP, 1, 2, &[]));
    let Some(Output::Change(Change::OpenSession(spec))) = outputs.first() else {
        panic!("forwarding is not revoked first: {outputs:?}");
    };
    assert_eq!(spec.phase, Phase::Negotiating);
    assert_eq!(spec.framing, crate::rows::PppFraming::default());
}

#[test]
fn password_checks_under_way_are_few() {
    let mut config = config(1);
    config.sessions = 200;
    config.l2tp.sessions_per_tunnel = 200;
    let mut world = World::with(config);
    world.holds_jobs = true;
    let mut client = Client::new(500, 600);
    let mut row = world.dial(Way::Clear, &mut client);
    let way = world.settled(Way::Clear);
    for session in 601..700 {
        world.prove(row, "alice");
        client.session = culvert_wire::id::SessionId(session);
        let opened = world.exchange(way, &mut client, MessageType::ICRQ);
        world.exchange(way, &mut client, MessageType::ICCN);
        row = opened.iter().find_map(opened_session).unwrap();
    }
    assert_eq!(world.jobs.len(), super::MAX_CHECKS_OF_SET);
    assert_eq!(world.gateway.jobs.len(), super::MAX_CHECKS_OF_SET);
}

#[test]
fn a_core_without_session_rows_refuses_calls_and_recovers() {
    let mut config = config(9);
    config.sessions = 1;
    config.l2tp.sessions_per_tunnel = 2;
    let mut world = World::with(config);
    let mut client = Client::new(500, 600);
    world.dial(Way::Clear, &mut client);
    let way = world.settled(Way::Clear);
    client.session = culvert_wire::id::SessionId(601);
    let first = client.server_session;
    let refused = world.exchange(way, &mut client, MessageType::ICRQ);
    assert_eq!(kinds(&refused), [MessageType::ICRP, MessageType::CDN]);
    assert!(refused.contains(&Output::Note(Note::Full(super::Table::Sessions))));
    client.server_session = first;
    world.exchange(way, &mut client, MessageType::CDN);
    let accepted = world.exchange(way, &mut client, MessageType::ICRQ);
    assert_eq!(kinds(&accepted), [MessageType::ICRP]);
}

#[test]
fn closing_everything_tells_every_peer_and_leaves_no_row() {
    let mut world = World::new(1);
    let row = world.dial(Way::Clear, &mut Client::new(500, 600));
    world.log_in(row, "alice");
    world.gateway.close_all(world.now, &mut world.rng);
    let outputs = world.drain();
    assert_eq!(kinds(&outputs), [MessageType::CDN, MessageType::STOP_CCN]);
    let set = SetId { core: CORE, row: 0 };
    let order = changes(&outputs);
    let at = |wanted: &Change| order.iter().position(|change| *change == wanted).unwrap();
    assert!(at(&Change::CloseSession(row)) < at(&Change::CloseSet(set)));
    assert_eq!(order.last(), Some(&&Change::CloseSet(set)));
    assert_eq!(world.counts().1, 0);
    assert_eq!(world.counts().2, 0);
}

impl World {
    /// The client begins LCP anew, and it opens again.
    fn renegotiate(&mut self, row: SessionRow, identifier: u8) {
        self.give_ppp(row, &frame(LCP, 1, identifier, &[]));
        let asked = self.last_frame(row, LCP, 1);
        self.give_ppp(row, &frame(LCP, 2, asked[3], &asked[6..]));
    }

    fn acks(&self) -> usize {
        let is_ack = |output: &&Output| matches!(output, Output::Transmit { to: Destination::Ppp(_), bytes } if bytes[..3] == [0xC0, 0x23, 2]);
        self.outputs.iter().filter(is_ack).count()
    }
}

fn wrong_request(user: &str, identifier: u8) -> Vec<u8> {
    let mut request = request(user, identifier);
    *request.last_mut().unwrap() ^= 1;
    request
}

/// THREATS P5: the proof of one user is not the proof of another.
#[test]
fn a_password_check_from_before_a_renegotiation_proves_nobody() {
    let mut world = World::new(1);
    world.holds_jobs = true;
    let row = world.dial(Way::Clear, &mut Client::new(500, 600));
    world.lcp(row);
    world.give_ppp(row, &request("bob", 1));
    world.renegotiate(row, 2);
    world.give_ppp(row, &wrong_request("alice", 1));
    assert_eq!(world.jobs.len(), 2);
    let done = world.jobs.remove(0).run(&mut world.rng);
    world.gateway.handle_done(world.now, &mut world.rng, done);
    world.drain();
    assert_eq!(world.acks(), 0);
    assert_eq!(world.gateway.status(world.now).sessions[0].user, None);
}

/// THREATS P8: neither the delay after a wrong password nor the number of tries is escaped by beginning anew.
#[test]
fn a_renegotiation_does_not_spare_the_penalty_of_a_wrong_password() {
    let mut world = World::new(1);
    let row = world.dial(Way::Clear, &mut Client::new(500, 600));
    world.lcp(row);
    world.give_ppp(row, &wrong_request("alice", 1));
    world.give_ppp(row, &frame(LCP, 1, 2, &[]));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.counts().1, 0);
}

#[test]
fn wrong_passwords_are_counted_over_renegotiations() {
    let mut world = World::new(1);
    let row = world.dial(Way::Clear, &mut Client::new(500, 600));
    world.lcp(row);
    for identifier in 1..=3 {
        assert_eq!(world.counts().1, 1);
        world.give_ppp(row, &wrong_request("alice", identifier));
        world.pass(Duration::from_secs(2));
        if identifier < 3 {
            world.renegotiate(row, 10 + identifier);
        }
    }
    world.pass(Duration::from_secs(3));
    assert_eq!(world.counts().1, 0);
}

/// THREATS L11, P4: a peer that does not prove who it is has 30 seconds, whatever it negotiates meanwhile.
#[test]
fn a_renegotiation_before_authentication_gains_no_time() {
    let mut world = World::new(1);
    let row = world.dial(Way::Clear, &mut Client::new(500, 600));
    world.lcp(row);
    for identifier in 1..=3 {
        world.pass(Duration::from_secs(8));
        world.renegotiate(row, identifier);
    }
    world.pass(Duration::from_secs(10));
    assert_eq!(world.counts().1, 0);
}
