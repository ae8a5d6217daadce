//! Tests of the whole server, against packets captured from clients and against a client of the tests' own.

mod captured;
pub(crate) mod client;
mod hostile;
mod interleavings;
mod limits;
mod simulation;
mod table;

use std::time::Duration;

use culvert_wire::l2tp::message::{ControlHeader, ControlMessage, MessageType};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::l2tp::{Config, Lns, Note, Output, Peer};
use crate::rows::{CoreId, InnerPorts, Path, SetId};
use crate::time::Time;

const SET: SetId = SetId {
    core: CoreId(0),
    row: 7,
};

const PEER: Peer = Peer::Set(SET);

const PORTS: InnerPorts = InnerPorts {
    local: 1701,
    remote: 56_322,
};

fn clear_peer() -> Peer {
    Peer::Clear {
        core: CoreId(1),
        path: Path {
            local: "198.51.100.10:1701".parse().unwrap(),
            remote: "198.51.100.101:1701".parse().unwrap(),
        },
    }
}

/// A server with a clock; it is saved and restored before every fourth call.
struct Server {
    lns: Lns,
    rng: ChaCha8Rng,
    now: Time,
    calls: usize,
}

impl Server {
    fn new(config: Config) -> Self {
        Self {
            lns: Lns::new(config),
            rng: ChaCha8Rng::seed_from_u64(42),
            now: Time::ZERO,
            calls: 0,
        }
    }

    fn restore(&mut self) {
        self.calls += 1;
        if !self.calls.is_multiple_of(4) {
            return;
        }
        let saved = postcard::to_stdvec(&self.lns).unwrap();
        let restored: Lns = postcard::from_bytes(&saved).unwrap();
        assert_eq!(restored, self.lns);
        self.lns = restored;
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.lns.poll_output()).collect()
    }

    fn receive_from(&mut self, peer: Peer, bytes: &[u8]) -> Vec<Output> {
        self.restore();
        self.lns
            .handle_message(self.now, &mut self.rng, peer, PORTS, bytes);
        self.outputs()
    }

    fn receive(&mut self, bytes: &[u8]) -> Vec<Output> {
        self.receive_from(PEER, bytes)
    }

    fn wait(&mut self, duration: Duration) -> Vec<Output> {
        let end = self.now + duration;
        let mut outputs = Vec::new();
        while let Some(at) = self.lns.poll_timeout().filter(|&at| at <= end) {
            self.restore();
            self.now = self.now.max(at);
            self.lns.handle_timeout(self.now, &mut self.rng);
            outputs.extend(self.outputs());
        }
        self.now = end;
        outputs
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Headers and types of the messages in `outputs`; type 0 is a ZLB.
fn messages(outputs: &[Output]) -> Vec<(ControlHeader, MessageType)> {
    sent(outputs).iter().map(|bytes| described(bytes)).collect()
}

fn kinds(outputs: &[Output]) -> Vec<MessageType> {
    messages(outputs).iter().map(|&(_, kind)| kind).collect()
}

const ZLB: MessageType = MessageType(0);

fn described(bytes: &[u8]) -> (ControlHeader, MessageType) {
    let message = ControlMessage::parse(bytes).unwrap();
    let kind = message.body().map_or(ZLB, |body| body.kind);
    (message.header, kind)
}

fn sent(outputs: &[Output]) -> Vec<&[u8]> {
    let mut sent = Vec::new();
    for output in outputs {
        if let Output::Transmit { bytes, .. } = output {
            sent.push(&bytes[..]);
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

/// Everything but messages and notes.
fn events(outputs: &[Output]) -> Vec<&Output> {
    let is_event = |output: &&Output| !matches!(output, Output::Transmit { .. } | Output::Note(_));
    outputs.iter().filter(is_event).collect()
}
