//! A network that loses, doubles and reorders messages, and a client that repeats until it is answered.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use culvert_wire::ike::{ExchangeType, Header, MessageId};

use super::client::{Client, GCM, Pair, Phase2};
use super::world::{World, config};
use crate::crypto::dh::Group;
use crate::rows::{Change, Path};

/// One log-in with two quick modes over a bad network.
pub(super) struct Network {
    seed: u64,
    rng: ChaCha8Rng,
    world: World,
    client: Client,
    /// Messages on the way to the responder.
    up: Vec<(Path, Vec<u8>)>,
    /// Messages on the way to the client.
    down: Vec<Vec<u8>>,
    taken: usize,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        let mut world = World::new(config(), seed);
        world.restarts = true;
        Self {
            seed,
            rng: ChaCha8Rng::seed_from_u64(seed),
            world,
            client: Client::new(seed, "198.51.100.60:1024").behind_nat("192.168.7.101:500"),
            up: Vec::new(),
            down: Vec::new(),
            taken: 0,
        }
    }

    pub(super) fn run(&mut self) {
        let message = self.client.message_1();
        let cookie = self.client.cookies.0;
        let reply = self.until_answered(&message, |header| {
            header.initiator == cookie && header.exchange == ExchangeType::MAIN_MODE
        });
        self.client.read_message_2(&reply);
        let message = self.client.message_3();
        let seen = reply;
        let reply = self.until_answered_not(&message, MessageId::PHASE_1, &[&seen]);
        self.client.read_message_4(&reply);
        let message = self.client.message_5();
        let older = seen;
        let seen = reply;
        let reply = self.until_answered_not(&message, MessageId::PHASE_1, &[&older, &seen]);
        self.client.read_message_6(&reply);
        let first = self.quick(Phase2 { mode: 4, ..GCM });
        let second = self.quick(Phase2 {
            mode: 4,
            group: Some(Group::Ecp256),
            ..GCM
        });
        self.check(&[first, second]);
    }

    fn quick(&mut self, spec: Phase2) -> Pair {
        let (message, quick) = self.client.quick_1(spec);
        let reply = self.until_answered_not(&message, quick.id, &[]);
        let (message, pair) = self.client.quick_3(&quick, &reply);
        // Message 3 is sent again whenever message 2 comes again; in the end the responder has it.
        let path = self.client.path;
        for _ in 0..4 {
            self.up.push((path, message.clone()));
        }
        for _ in 0..8 {
            self.step();
        }
        pair
    }

    fn until_answered_not(&mut self, message: &[u8], id: MessageId, seen: &[&Vec<u8>]) -> Vec<u8> {
        let seen: Vec<_> = seen.iter().map(|bytes| (*bytes).clone()).collect();
        for _ in 0..200 {
            let path = self.client.path;
            self.up.push((path, message.to_vec()));
            self.step();
            for bytes in std::mem::take(&mut self.down) {
                let (header, _) = Header::split(&bytes).unwrap();
                if header.message_id == id && !seen.contains(&bytes) {
                    return bytes;
                }
            }
        }
        panic!("seed {}: no answer", self.seed);
    }

    fn until_answered(&mut self, message: &[u8], fits: impl Fn(&Header) -> bool) -> Vec<u8> {
        for _ in 0..200 {
            let path = self.client.path;
            self.up.push((path, message.to_vec()));
            self.step();
            for bytes in std::mem::take(&mut self.down) {
                if fits(&Header::split(&bytes).unwrap().0) {
                    return bytes;
                }
            }
        }
        panic!("seed {}: no answer", self.seed);
    }

    /// Half a second: some of what is on the way arrives, in any order, some twice, some never.
    fn step(&mut self) {
        let count = self.up.len();
        for _ in 0..count {
            let index = self.below(self.up.len());
            let (path, bytes) = self.up.swap_remove(index);
            match self.below(10) {
                0..=2 => {}
                3 => self.up.push((path, bytes)),
                4 => {
                    self.world.deliver(path, &bytes);
                    self.world.deliver(path, &bytes);
                }
                _ => drop(self.world.deliver(path, &bytes)),
            }
        }
        self.world.pass(Duration::from_millis(500));
        for index in self.taken..self.world.sent.len() {
            if self.below(10) > 2 {
                self.down.push(self.world.sent[index].1.clone());
            }
        }
        self.taken = self.world.sent.len();
    }

    /// The responder has exactly the client's set with both pairs and the same keys.
    fn check(&self, pairs: &[Pair]) {
        let sets: Vec<_> = self.world.responder.sets().collect();
        assert_eq!(sets.len(), 1, "seed {}", self.seed);
        for pair in pairs {
            let found = sets[0]
                .pairs
                .iter()
                .find(|known| known.inbound == pair.theirs);
            assert_eq!(
                found.map(|known| known.outbound),
                Some(pair.ours),
                "seed {}",
                self.seed
            );
            let keys = self.world.changes.iter().find_map(|change| {
                let Change::AddSas {
                    inbound,
                    inbound_keys,
                    ..
                } = change
                else {
                    return None;
                };
                (*inbound == pair.theirs).then(|| inbound_keys.expose().to_vec())
            });
            assert_eq!(keys.as_ref(), Some(&pair.to_them), "seed {}", self.seed);
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.next_u32() as usize % bound.max(1)
    }
}
