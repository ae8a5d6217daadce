//! A client and the server over a network that loses, delays, reorders and repeats, under virtual time.

use std::collections::BTreeMap;

use culvert_wire::id::{SessionId, TunnelId};
use culvert_wire::l2tp::message::MessageType;
use rand_chacha::rand_core::Rng;

use super::client::Client;
use super::*;

/// What the network does, in percent of datagrams.
#[derive(Clone, Copy, Debug)]
struct Weather {
    lost: u32,
    repeated: u32,
    jitter_ms: u32,
}

struct Simulation {
    server: Server,
    client: Client,
    rng: ChaCha8Rng,
    weather: Weather,
    /// Datagrams on the way: when, in which order put in, to the server or not.
    wire: BTreeMap<(Time, u64), (bool, Vec<u8>)>,
    count: u64,
    repeat_at: Time,
    connected: bool,
}

impl Simulation {
    fn new(seed: u64, weather: Weather, window: u16) -> Self {
        println!("seed {seed}, {weather:?}, window {window}");
        let mut client = Client::new(500, 600);
        client.window = window;
        Self {
            server: Server::new(Config::default()),
            client,
            rng: ChaCha8Rng::seed_from_u64(seed),
            weather,
            wire: BTreeMap::new(),
            count: 0,
            repeat_at: Time::ZERO,
            connected: false,
        }
    }

    fn percent(&mut self, chance: u32) -> bool {
        self.rng.next_u32() % 100 < chance
    }

    fn put(&mut self, to_server: bool, bytes: &[u8]) {
        let copies = 1 + u32::from(self.percent(self.weather.repeated));
        for _ in 0..copies {
            if self.percent(self.weather.lost) {
                continue;
            }
            let jitter = self.rng.next_u32() % (self.weather.jitter_ms + 1);
            let at = self.server.now + Duration::from_millis(u64::from(20 + jitter));
            self.count += 1;
            self.wire
                .insert((at, self.count), (to_server, bytes.to_vec()));
        }
    }

    fn say(&mut self, kind: MessageType) {
        let bytes = self.client.message(kind);
        self.put(true, &bytes);
        self.repeat_at = self.server.now + seconds(2);
    }

    fn hear_server(&mut self, outputs: &[Output]) {
        for output in outputs {
            if let Output::Transmit { bytes, .. } = output {
                self.put(false, bytes);
            }
            self.connected |= matches!(output, Output::SessionConnected(_));
        }
    }

    /// What a client does once all it has said is acknowledged: one message at a time, as mtpd does.
    fn go_on(&mut self) {
        if !self.client.unacknowledged.is_empty() || self.connected {
            return;
        }
        match (
            self.client.ns,
            self.client.server_tunnel,
            self.client.server_session,
        ) {
            (1, TunnelId(1..), _) => self.say(MessageType::SCCCN),
            (2, ..) => self.say(MessageType::ICRQ),
            (3, _, SessionId(1..)) => self.say(MessageType::ICCN),
            _ => {}
        }
    }

    /// Runs until `done` or 120 s have passed.
    fn run(&mut self, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.server.now + seconds(120);
        while !done(self) && self.server.now < end {
            let arrival = self.wire.first_key_value().map(|(&(at, _), _)| at);
            let timer = self.server.lns.poll_timeout();
            let next = [arrival, timer, Some(self.repeat_at)]
                .into_iter()
                .flatten()
                .min();
            self.server.now = self.server.now.max(next.unwrap());
            if timer.is_some_and(|at| at <= self.server.now) {
                self.server.restore();
                self.server
                    .lns
                    .handle_timeout(self.server.now, &mut self.server.rng);
                let outputs = self.server.outputs();
                self.hear_server(&outputs);
            } else if arrival.is_some_and(|at| at <= self.server.now) {
                let ((..), (to_server, bytes)) = self.wire.pop_first().unwrap();
                if to_server {
                    let outputs = self.server.receive(&bytes);
                    self.hear_server(&outputs);
                } else {
                    let unseen = self.client.take(&bytes).is_some();
                    let numbered = described(&bytes).1 != ZLB;
                    if unseen || numbered {
                        let zlb = self.client.zlb();
                        self.put(true, &zlb);
                    }
                    self.go_on();
                }
            } else {
                self.repeat_at = self.server.now + seconds(2);
                if let Some((_, bytes)) = self.client.unacknowledged.front().cloned() {
                    self.put(true, &bytes);
                }
            }
        }
        done(self)
    }
}

#[test]
fn clients_connect_and_leave_in_any_weather() {
    let weathers = [(0, 0, 0), (10, 10, 50), (30, 20, 500), (20, 50, 3_000)];
    for seed in 0..60 {
        for (lost, repeated, jitter_ms) in weathers {
            let weather = Weather {
                lost,
                repeated,
                jitter_ms,
            };
            let window = [1, 4, 1_024][usize::try_from(seed % 3).unwrap()];
            let mut simulation = Simulation::new(seed, weather, window);
            simulation.say(MessageType::SCCRQ);
            assert!(simulation.run(|simulation| simulation.connected));
            assert_eq!(simulation.server.lns.session_count(), 1);
            simulation.say(MessageType::STOP_CCN);
            let gone = |simulation: &Simulation| {
                simulation.server.lns.session_count() == 0
                    && simulation.client.unacknowledged.is_empty()
            };
            assert!(simulation.run(gone));
            simulation.server.wait(seconds(200));
            assert!(simulation.server.lns.is_empty());
        }
    }
}

#[test]
fn a_client_hears_our_goodbye_in_any_weather() {
    for seed in 0..60 {
        let weather = Weather {
            lost: 20,
            repeated: 20,
            jitter_ms: 300,
        };
        let mut simulation = Simulation::new(seed, weather, 1);
        simulation.say(MessageType::SCCRQ);
        assert!(simulation.run(|simulation| simulation.connected));
        simulation.server.lns.close_all(simulation.server.now);
        let outputs = simulation.server.outputs();
        simulation.hear_server(&outputs);
        assert!(simulation.run(|simulation| simulation.client.finished));
        simulation.server.wait(seconds(200));
        assert!(simulation.server.lns.is_empty());
    }
}

#[test]
fn without_loss_a_client_is_connected_after_four_round_trips() {
    let weather = Weather {
        lost: 0,
        repeated: 0,
        jitter_ms: 0,
    };
    let mut simulation = Simulation::new(1, weather, 1);
    simulation.say(MessageType::SCCRQ);
    assert!(simulation.run(|simulation| simulation.connected));
    assert!(simulation.server.now <= Time::ZERO + Duration::from_millis(4 * 40));
}
