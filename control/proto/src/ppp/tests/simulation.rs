//! A client and the session over a network that loses, delays, reorders and repeats, under virtual time.

use std::collections::BTreeMap;

use culvert_wire::ppp::lcp::Authentication;
use rand_chacha::rand_core::Rng;

use super::client::{CHAP_MD5, Client, MS_CHAP_V2};
use super::*;

struct Simulation {
    server: Server,
    client: Client,
    rng: ChaCha8Rng,
    /// Percent lost, percent repeated, milliseconds of jitter.
    weather: (u32, u32, u32),
    /// When the client's PPP starts to listen.
    attached: Time,
    /// Frames on the way: when, in which order put in, to the server or not.
    wire: BTreeMap<(Time, u64), (bool, Vec<u8>)>,
    count: u64,
    repeat_at: Time,
    /// Whether the server lets packets pass.
    forwarding: bool,
    closed: bool,
}

impl Simulation {
    fn new(seed: u64, weather: (u32, u32, u32)) -> Self {
        println!("seed {seed}, weather {weather:?}");
        let methods = [Method::MsChapV2, Method::ChapMd5, Method::Pap];
        let theirs = [MS_CHAP_V2, CHAP_MD5, Authentication::Pap];
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let choice = usize::try_from(rng.next_u32() % 3).unwrap();
        Self {
            server: Server::new(config(&methods)),
            client: Client::new("alice", "wonder-Land9", &theirs[choice..=choice]),
            attached: Time::ZERO + millis(u64::from(rng.next_u32() % 400)),
            rng,
            weather,
            wire: BTreeMap::new(),
            count: 0,
            repeat_at: Time::ZERO,
            forwarding: false,
            closed: false,
        }
    }

    fn put(&mut self, to_server: bool, frame: &[u8]) {
        let (lost, repeated, jitter) = self.weather;
        let copies = 1 + u32::from(self.rng.next_u32() % 100 < repeated);
        for _ in 0..copies {
            if self.rng.next_u32() % 100 < lost {
                continue;
            }
            let delay = 20 + self.rng.next_u32() % (jitter + 1);
            let at = self.server.now + millis(u64::from(delay));
            self.count += 1;
            self.wire
                .insert((at, self.count), (to_server, frame.to_vec()));
        }
    }

    fn hear_server(&mut self, outputs: &[Output]) {
        for output in outputs {
            match output {
                Output::Transmit(frame) => self.put(false, frame),
                Output::Open { address, .. } => {
                    assert!(!self.forwarding);
                    assert_eq!(*address, ADDRESS);
                    self.forwarding = true;
                }
                Output::Revoked => {
                    assert!(self.forwarding);
                    self.forwarding = false;
                }
                Output::Closed { .. } => self.closed = true,
                Output::Job(_) | Output::Authenticated { .. } | Output::Note(_) => {}
            }
        }
    }

    /// Runs until `done` or `limit` has passed.
    fn run(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.server.now + limit;
        self.repeat_at = self.server.now.max(self.attached);
        let outputs = self.server.outputs();
        self.hear_server(&outputs);
        while !done(self) && self.server.now < end {
            let arrival = self.wire.first_key_value().map(|(&(at, _), _)| at);
            let timer = self.server.session.poll_timeout();
            let next = [arrival, timer, Some(self.repeat_at)]
                .into_iter()
                .flatten()
                .min();
            self.server.now = self.server.now.max(next.unwrap());
            let now = self.server.now;
            if timer.is_some_and(|at| at <= now) {
                let outputs = self.server.wait(Duration::ZERO);
                self.hear_server(&outputs);
            } else if arrival.is_some_and(|at| at <= now) {
                let (_, (to_server, frame)) = self.wire.pop_first().unwrap();
                if to_server {
                    let outputs = self.server.receive(&frame);
                    self.hear_server(&outputs);
                } else if now >= self.attached {
                    for answer in self.client.take(&frame) {
                        self.put(true, &answer);
                    }
                }
            } else {
                self.repeat_at = now + seconds(3);
                for frame in self.client.outstanding() {
                    self.put(true, &frame);
                }
            }
        }
        done(self)
    }
}

fn both_open(simulation: &Simulation) -> bool {
    simulation.forwarding && simulation.client.is_open()
}

#[test]
fn clients_get_through_in_any_weather() {
    for seed in 0..100 {
        for weather in [(0, 0, 0), (5, 5, 40), (10, 20, 100)] {
            let mut simulation = Simulation::new(seed, weather);
            let opened = simulation.run(seconds(60), both_open);
            assert!(opened, "{:?}", simulation.client);
            // And again, after the client has started anew.
            let request = simulation.client.renegotiate();
            simulation.put(true, &request);
            assert!(
                simulation.run(seconds(60), both_open),
                "{:?}",
                simulation.client
            );
        }
    }
}

#[test]
fn without_loss_no_client_waits_for_three_seconds() {
    for seed in 0..100 {
        let mut simulation = Simulation::new(seed, (0, 0, 0));
        assert!(simulation.run(seconds(60), both_open));
        let took = simulation.server.now.since(simulation.attached);
        assert!(took < millis(500), "seed {seed}: {took:?}");
    }
}

#[test]
fn a_client_that_vanishes_is_closed() {
    for seed in 0..20 {
        let mut simulation = Simulation::new(seed, (0, 0, 0));
        assert!(simulation.run(seconds(60), both_open));
        simulation.weather = (100, 0, 0);
        assert!(simulation.run(seconds(200), |simulation| simulation.closed));
        assert!(!simulation.forwarding);
        assert_eq!(simulation.server.session.poll_timeout(), None);
    }
}
