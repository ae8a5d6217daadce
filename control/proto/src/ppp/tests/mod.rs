//! Tests of the whole session, against packets captured from pppd and against a client of the tests' own.

mod captured;
mod client;
mod hostile;
mod limits;
mod phases;
mod simulation;

use std::net::Ipv4Addr;
use std::time::Duration;

use culvert_wire::ppp::control::{Code, ControlPacket};
use culvert_wire::ppp::frame::Protocol;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::ppp::negotiation::packet;
use crate::ppp::{Config, Note, Output, Session};
use crate::time::Time;
use crate::users::{Entry, Method, Users};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 10);

/// The users of the captures.
fn users() -> Users {
    let entries = [
        r#"{"name": "alice", "secret": "wonder-Land9"}"#,
        r#"{"name": "bob", "secret": "builder-7", "address": "10.99.1.20"}"#,
    ];
    Users::new(entries.map(|json| serde_json::from_str::<Entry>(json).unwrap())).unwrap()
}

fn config(methods: &[Method]) -> Config {
    Config {
        mru: 1_280,
        methods: methods.to_vec(),
        server_name: "lablns".into(),
        gateway: Ipv4Addr::new(10, 99, 1, 1),
        dns: vec![Ipv4Addr::new(10, 99, 0, 10); 2],
        ..Config::default()
    }
}

/// A session with a clock, users, and an address for whoever asks; it is saved and restored before every fourth call.
struct Server {
    session: Session,
    users: Users,
    rng: ChaCha8Rng,
    now: Time,
    calls: usize,
}

impl Server {
    fn new(config: Config) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(42);
        Self {
            session: Session::new(Time::ZERO, &mut rng, config),
            users: users(),
            rng,
            now: Time::ZERO,
            calls: 0,
        }
    }

    fn restore(&mut self) {
        self.calls += 1;
        if self.calls.is_multiple_of(4) {
            let saved = postcard::to_stdvec(&self.session).unwrap();
            let restored: Session = postcard::from_bytes(&saved).unwrap();
            assert_eq!(restored, self.session);
            self.session = restored;
        }
    }

    /// Takes all output; jobs are done and addresses given at once.
    fn outputs(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(output) = self.session.poll_output() {
            match &output {
                Output::Job(job) => {
                    let done = job.clone().run(&mut self.rng);
                    self.session.handle_job(self.now, &done);
                }
                Output::Authenticated { address, .. } => {
                    let address = address.unwrap_or(ADDRESS);
                    self.session.assign(self.now, &mut self.rng, address);
                }
                Output::Transmit(_)
                | Output::Open { .. }
                | Output::Revoked
                | Output::Closed { .. }
                | Output::Note(_) => {}
            }
            outputs.push(output);
        }
        outputs
    }

    fn receive(&mut self, frame: &[u8]) -> Vec<Output> {
        self.restore();
        self.session
            .handle_frame(self.now, &mut self.rng, &self.users, frame);
        self.outputs()
    }

    fn wait(&mut self, duration: Duration) -> Vec<Output> {
        let end = self.now + duration;
        let mut outputs = self.outputs();
        while let Some(at) = self.session.poll_timeout().filter(|&at| at <= end) {
            self.restore();
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now, &mut self.rng);
            outputs.extend(self.outputs());
        }
        self.now = end;
        outputs
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn sent(outputs: &[Output]) -> Vec<&[u8]> {
    let mut sent = Vec::new();
    for output in outputs {
        if let Output::Transmit(frame) = output {
            sent.push(&frame[..]);
        }
    }
    sent
}

fn notes(outputs: &[Output]) -> Vec<Note> {
    let mut notes = Vec::new();
    for output in outputs {
        if let Output::Note(note) = output {
            notes.push(*note);
        }
    }
    notes
}

/// Everything but frames, notes and jobs.
fn events(outputs: &[Output]) -> Vec<&Output> {
    let is_event = |output: &&Output| {
        !matches!(
            output,
            Output::Transmit(_) | Output::Note(_) | Output::Job(_)
        )
    };
    outputs.iter().filter(is_event).collect()
}

/// Protocol and packet of a frame.
fn parsed(frame: &[u8]) -> (Protocol, ControlPacket<'_>) {
    let (protocol, payload) = frame.split_first_chunk().unwrap();
    let protocol = Protocol(u16::from_be_bytes(*protocol));
    (protocol, ControlPacket::parse(payload).unwrap())
}

/// Protocols and codes of all frames sent.
fn codes(outputs: &[Output]) -> Vec<(Protocol, u8)> {
    let frames = sent(outputs).into_iter().map(parsed);
    frames
        .map(|(protocol, packet)| (protocol, packet.code.0))
        .collect()
}

fn lcp(code: Code, identifier: u8, data: &[u8]) -> Vec<u8> {
    packet(Protocol::LCP, code, identifier, data)
}
