//! A responder under virtual time: what it wants done is done at once and kept for the tests to look at.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

use super::client::{Client, Pair, Phase2};
use crate::ike::config::{Config, CoreRows, CredentialId, Gate, Limits, Peers, Psk};
use crate::ike::{Event, Output, Responder};
use crate::job::Job;
use crate::rows::{Change, CoreId, KeyMaterial, Path, SetId};
use crate::time::Time;

pub(super) const CORE: CoreId = CoreId(1);
pub(super) const PSK: &[u8] = b"correct horse battery staple";

/// The responder and everything around it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Time,
    pub(super) rng: ChaCha8Rng,
    pub(super) responder: Responder,
    /// Messages sent, oldest first.
    pub(super) sent: Vec<(Path, Vec<u8>)>,
    pub(super) changes: Vec<Change>,
    pub(super) events: Vec<Event>,
    pub(super) opened: Vec<SetId>,
    pub(super) closed: Vec<SetId>,
    /// Jobs not run, if they are held back.
    pub(super) held: Option<Vec<Job>>,
    /// Save and restore before every input.
    pub(super) restarts: bool,
}

pub(super) fn config() -> Config {
    Config {
        psks: vec![Psk {
            credential: CredentialId(7),
            peers: Peers::Any,
            key: KeyMaterial::new(Zeroizing::new(PSK.to_vec())),
        }],
        gates: Vec::new(),
        cores: vec![
            CoreRows {
                shards: 0..1,
                sets: 64,
            },
            CoreRows {
                shards: 1..3,
                sets: 64,
            },
        ],
        limits: Limits::default(),
    }
}

/// Every gate open.
pub(super) fn legacy() -> Config {
    let gate = Gate {
        local: None,
        modp_1024: true,
        modp_1536: true,
        triple_des: true,
    };
    Config {
        gates: vec![gate],
        ..config()
    }
}

impl World {
    pub(super) fn new(config: Config, seed: u64) -> Self {
        Self {
            now: Time::from_micros(1_000_000),
            rng: ChaCha8Rng::seed_from_u64(seed),
            responder: Responder::new(config),
            sent: Vec::new(),
            changes: Vec::new(),
            events: Vec::new(),
            opened: Vec::new(),
            closed: Vec::new(),
            held: None,
            restarts: false,
        }
    }

    /// Saves the responder and goes on with what is restored.
    pub(super) fn restart(&mut self) {
        let saved = postcard::to_stdvec(&self.responder).unwrap();
        self.responder = postcard::from_bytes(&saved).unwrap();
    }

    /// Another world in the same state.
    pub(super) fn twin(&self) -> Self {
        let saved = postcard::to_stdvec(&self.responder).unwrap();
        Self {
            now: self.now,
            rng: self.rng.clone(),
            responder: postcard::from_bytes(&saved).unwrap(),
            sent: Vec::new(),
            changes: Vec::new(),
            events: Vec::new(),
            opened: Vec::new(),
            closed: Vec::new(),
            held: None,
            restarts: self.restarts,
        }
    }

    /// Gives a message to the responder; what it sends back.
    pub(super) fn deliver(&mut self, path: Path, bytes: &[u8]) -> Vec<Vec<u8>> {
        if self.restarts {
            self.restart();
        }
        let before = self.sent.len();
        self.responder
            .handle_message(self.now, &mut self.rng, CORE, path, bytes);
        if self.restarts {
            self.restart();
        }
        self.drain();
        self.sent[before..]
            .iter()
            .map(|(_, bytes)| bytes.clone())
            .collect()
    }

    /// Gives a message; the one reply.
    pub(super) fn ask(&mut self, path: Path, bytes: &[u8]) -> Vec<u8> {
        let mut replies = self.deliver(path, bytes);
        assert_eq!(replies.len(), 1, "{:?}", self.events);
        replies.remove(0)
    }

    /// Does what the responder wants done.
    pub(super) fn drain(&mut self) {
        while let Some(output) = self.responder.poll_output() {
            match output {
                Output::Transmit { core, path, bytes } => {
                    assert_eq!(core, CORE);
                    self.sent.push((path, bytes));
                }
                Output::Change(change) => self.changes.push(change),
                Output::Job(job) => match &mut self.held {
                    Some(held) => held.push(job),
                    None => {
                        let done = job.run(&mut self.rng);
                        self.responder.handle_done(self.now, &mut self.rng, done);
                    }
                },
                Output::SetOpened { set, .. } => self.opened.push(set),
                Output::SetClosed { set } => self.closed.push(set),
                Output::Note(note) => self.events.push(note.event),
            }
        }
    }

    /// Lets time pass, timer by timer.
    pub(super) fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(due) = self.responder.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.responder.handle_timeout(self.now, &mut self.rng);
            self.drain();
        }
        self.now = until;
    }

    /// Main mode from beginning to end.
    pub(super) fn log_in(&mut self, client: &mut Client) {
        let message = client.message_1();
        let reply = self.ask(client.path, &message);
        client.read_message_2(&reply);
        let reply = self.ask(client.path, &client.message_3());
        client.read_message_4(&reply);
        let message = client.message_5();
        let reply = self.ask(client.path, &message);
        client.read_message_6(&reply);
    }

    /// Quick mode from beginning to end.
    pub(super) fn quick(&mut self, client: &mut Client, spec: Phase2) -> Pair {
        let (message, quick) = client.quick_1(spec);
        let reply = self.ask(client.path, &message);
        let (message, pair) = client.quick_3(&quick, &reply);
        assert!(self.deliver(client.path, &message).is_empty());
        pair
    }

    /// Everything that must not change by what is dropped, in a form to compare.
    pub(super) fn state(&self) -> Vec<u8> {
        let sets: Vec<_> = self.responder.sets().collect();
        let ike_sas: Vec<_> = self.responder.ike_sas().collect();
        postcard::to_stdvec(&(sets, ike_sas, self.responder.poll_timeout())).unwrap()
    }
}
