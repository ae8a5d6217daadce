//! One core and two: whichever queue a packet arrives on and whichever core turns first, the same comes out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use culvert_crypto::{AesKey, Engine, OpenContext, OpenOp, Suite};
use culvert_dataplane::api::{Encapsulation, SessionRow, SetId, Spi, spi};
use culvert_dataplane::verdict::Reason;
use culvert_wire::esp;
use culvert_wire::ipv4::Protocol;

use crate::commands::{data, sealed};
use crate::gateway::{Client, FRAMES, Gateway, HOST, Punted, from_core, ip, packet_of, udp};
use crate::law;

/// Clients; the shards, and so the cores, have every second of them.
const CLIENTS: u8 = 6;
const SHARDS: u16 = 2;

/// One packet, or a turn of one core.
#[derive(Clone, Copy, Debug)]
enum Step {
    Up { client: u8, queue: u8 },
    Again { client: u8, back: u8, queue: u8 },
    Control { client: u8, queue: u8 },
    Down { client: u8, len: u16, queue: u8 },
    Turn(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let (client, queue) = (|| 0..CLIENTS, || 0..2_u8);
    prop_oneof![
        6 => (client(), queue()).prop_map(|(client, queue)| Step::Up { client, queue }),
        2 => (client(), 0..4_u8, queue()).prop_map(|(client, back, queue)| Step::Again { client, back, queue }),
        1 => (client(), queue()).prop_map(|(client, queue)| Step::Control { client, queue }),
        4 => (client(), 20..1_300_u16, queue()).prop_map(|(client, len, queue)| Step::Down { client, len, queue }),
        4 => queue().prop_map(Step::Turn),
    ]
}

fn clients() -> Vec<Client> {
    // One of each family and several of its hashes.
    let suites = Suite::ALL.into_iter().step_by(4);
    (0..CLIENTS)
        .zip(suites)
        .map(|(number, suite)| {
            let encapsulation = if number < CLIENTS / 2 {
                Encapsulation::Esp
            } else {
                Encapsulation::EspInUdp
            };
            let mut client = Client::new(suite, encapsulation);
            (client.set, client.row) = (SetId(number.into()), SessionRow(number.into()));
            client.inbound = spi::compose(
                u32::from(number) % u32::from(SHARDS),
                8 + u32::from(number),
                0xABC,
            );
            client.outbound = Spi(0xA000 + u32::from(number));
            client.address = Ipv4Addr::new(10, 99, 1, 10 + number);
            client
        })
        .collect()
}

/// What came out of all cores.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Inner packets to the network, by client, in order.
    up: BTreeMap<Ipv4Addr, Vec<Vec<u8>>>,
    /// Sequence numbers and plaintexts to the peers, by SPI, in order.
    down: BTreeMap<u32, Vec<(u32, Vec<u8>)>>,
    /// What went to control, by content: its queue keeps no order over cores.
    punts: Vec<String>,
    /// Drops by reason.
    drops: Vec<(&'static str, u64)>,
}

struct Scene {
    clients: Vec<Client>,
    cores: Vec<Gateway>,
    /// What each client has sent, by sequence number.
    sent: Vec<Vec<Vec<u8>>>,
    outcome: Outcome,
}

impl Scene {
    fn new(workers: u16) -> Self {
        let (clients, mut cores) = (clients(), Gateway::sharing(workers, SHARDS));
        for client in &clients {
            let owner = spi::shard(client.inbound) as usize % cores.len();
            client.install(&mut cores[owner]);
        }
        Self {
            sent: vec![Vec::new(); clients.len()],
            clients,
            cores,
            outcome: Outcome::default(),
        }
    }

    /// The core on whose queue a packet arrives: there may be only one.
    fn at(&mut self, queue: u8) -> &mut Gateway {
        let count = self.cores.len();
        &mut self.cores[usize::from(queue) % count]
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Up { client, queue } => {
                let address = self.clients[usize::from(client)].address;
                let number = self.sent[usize::from(client)].len().to_be_bytes();
                let packet = ip(address, HOST, Protocol(253), &number);
                self.send_up(
                    client,
                    &data(&[&[0xFF, 0x03, 0x00, 0x21][..], &packet].concat()),
                    queue,
                );
            }
            Step::Again {
                client,
                back,
                queue,
            } => {
                let frame = self.sent[usize::from(client)]
                    .iter()
                    .nth_back(back.into())
                    .cloned();
                if let Some(frame) = frame {
                    assert!(self.at(queue).outer.send(&frame));
                }
            }
            Step::Control { client, queue } => {
                let message = [0xC8, 2, 0, 12, 0, client, 0, 0, 0, 0, 0, 0];
                self.send_up(client, &udp(1_701, 1_701, &message), queue);
            }
            Step::Down { client, len, queue } => {
                let address = self.clients[usize::from(client)].address;
                let packet = ip(
                    HOST,
                    address,
                    Protocol(253),
                    &vec![client; usize::from(len) - 20],
                );
                assert!(self.at(queue).core.send(&from_core(&packet)));
            }
            Step::Turn(core) => self.at(core).turn(),
        }
        self.collect();
        assert_conserved(&self.cores);
    }

    /// Seals the client's next packet and lets it arrive.
    fn send_up(&mut self, client: u8, datagram: &[u8], queue: u8) {
        let number = usize::from(client);
        let sequence = self.sent[number].len() as u32 + 1;
        let frame = sealed(&self.clients[number], sequence, datagram, Protocol::UDP);
        assert!(self.at(queue).outer.send(&frame));
        self.sent[number].push(frame);
    }

    fn collect(&mut self) {
        let Self {
            clients,
            cores,
            outcome,
            ..
        } = self;
        for core in cores {
            while let Some(frame) = core.core.take() {
                let packet = packet_of(&frame);
                outcome
                    .up
                    .entry(packet.source())
                    .or_default()
                    .push(frame[14..].to_vec());
            }
            while let Some(frame) = core.outer.take() {
                let (spi, sequence, plaintext) = opened(clients, &frame);
                outcome
                    .down
                    .entry(spi)
                    .or_default()
                    .push((sequence, plaintext));
            }
            let shown = |Punted { kind, bytes, .. }: Punted| format!("{kind:?} {bytes:?}");
            outcome.punts.extend(core.punts().into_iter().map(shown));
        }
    }

    /// Turns until everything has arrived and gone home.
    fn end(mut self) -> Outcome {
        for _ in 0..8 {
            self.cores.iter_mut().for_each(Gateway::turn);
            self.collect();
            assert_conserved(&self.cores);
        }
        for core in &self.cores {
            core.assert_accounted();
            assert_eq!(core.frames(), FRAMES, "every frame is at home");
        }
        self.outcome.punts.sort();
        for reason in Reason::ALL {
            let count: u64 = self.cores.iter().map(|core| core.dropped(reason)).sum();
            if count > 0 {
                self.outcome.drops.push((reason.name(), count));
            }
        }
        self.outcome
    }
}

/// SPI, sequence number and plaintext of a packet to a client.
fn opened(clients: &[Client], frame: &[u8]) -> (u32, u32, Vec<u8>) {
    let packet = packet_of(frame);
    let is_udp = packet.protocol() == Protocol::UDP;
    let esp = &packet.payload()[if is_udp { 8 } else { 0 }..];
    let (header, body) = esp.split_at(esp::HEADER_LEN);
    let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
    let client = clients
        .iter()
        .find(|client| client.outbound.0 == number(0))
        .unwrap();
    assert_eq!(is_udp, client.encapsulation == Encapsulation::EspInUdp);
    let context = OpenContext::new(Engine::PORTABLE, client.suite, &client.outbound_key).unwrap();
    let mut plaintext = vec![0; client.suite.opened_len(body.len()).unwrap()];
    let op = OpenOp::new(&context, header, body, &mut plaintext).unwrap();
    assert_eq!(Engine::PORTABLE.open_burst(&mut [op]).count(), 1);
    (number(0), number(4), plaintext)
}

/// Every frame is somewhere: at home, in a port, on its way, or among the strays of the core that is done with it.
fn assert_conserved(cores: &[Gateway]) {
    let found: usize = cores
        .iter()
        .map(|core| core.frames() + core.frames_passing())
        .sum();
    assert_eq!(found, cores.len() * FRAMES);
}

fn outcome_of(workers: u16, steps: &[Step]) -> Outcome {
    let mut scene = Scene::new(workers);
    steps.iter().for_each(|step| scene.perform(*step));
    scene.end()
}

/// The same steps, each session's packets arriving on one queue, as a device that hashes addresses has it.
fn by_flow(steps: &[Step], queues: u8) -> Vec<Step> {
    let queue = |client: u8| (queues >> client) & 1;
    let assign = |step: &Step| match *step {
        Step::Up { client, .. } => Step::Up {
            client,
            queue: queue(client),
        },
        Step::Again { client, back, .. } => Step::Again {
            client,
            back,
            queue: queue(client),
        },
        Step::Control { client, .. } => Step::Control {
            client,
            queue: queue(client),
        },
        Step::Down { client, len, .. } => Step::Down {
            client,
            len,
            queue: queue(client),
        },
        Step::Turn(core) => Step::Turn(core),
    };
    steps.iter().map(assign).collect()
}

/// What is left of an outcome when order does not count.
fn sorted(mut outcome: Outcome) -> Outcome {
    outcome.up.values_mut().for_each(|packets| packets.sort());
    for packets in outcome.down.values_mut() {
        // Numbers are given in the order of arrival: as many, and none twice.
        let mut numbers: Vec<u32> = packets.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        packets.sort_by(|one, other| one.1.cmp(&other.1));
        packets
            .iter_mut()
            .zip(numbers)
            .for_each(|(packet, number)| packet.0 = number);
    }
    outcome
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn two_cores_give_what_one_gives_and_keep_the_order_of_each_session(
        steps in proptest::collection::vec(step(), 1..200),
        queues: u8,
    ) {
        let steps = by_flow(&steps, queues);
        prop_assert_eq!(outcome_of(1, &steps), outcome_of(2, &steps));
    }

    /// Packets of one session on both queues: nothing is lost or taken twice, only the order may differ.
    #[test]
    fn a_shuffled_arrival_gives_the_same_packets_and_replay_verdicts(steps in proptest::collection::vec(step(), 1..200)) {
        let outcome = sorted(outcome_of(2, &steps));
        let sent = |wanted: fn(&Step) -> bool| steps.iter().filter(|step| wanted(step)).count();
        let (up, down) = (outcome.up.values().map(Vec::len).sum(), outcome.down.values().map(Vec::len).sum());
        prop_assert_eq!(sent(|step| matches!(step, Step::Up { .. })), up);
        prop_assert_eq!(sent(|step| matches!(step, Step::Down { .. })), down);
        prop_assert_eq!(sent(|step| matches!(step, Step::Control { .. })), outcome.punts.len());
        prop_assert_eq!(sorted(outcome_of(1, &steps)), outcome);
    }

    /// Whatever comes, on either queue of two cores, and however they turn, in every moment.
    #[test]
    fn frames_of_two_cores_are_conserved(steps in proptest::collection::vec((0..2_usize, law::step()), 1..300)) {
        let mut cores = Gateway::cores(2);
        let mut client = Client::new(Suite::AesGcm(AesKey::Bits128), Encapsulation::EspInUdp);
        client.inbound = spi::compose(1, 7, 0xABC);
        client.install(&mut cores[1]);
        let mut sequence = 0;
        for (core, step) in &steps {
            law::perform(step, &mut cores[*core], &client, &mut sequence);
            assert_conserved(&cores);
        }
        for _ in 0..8 {
            cores.iter_mut().for_each(Gateway::turn);
            assert_conserved(&cores);
        }
        for core in &cores {
            core.assert_accounted();
        }
    }
}
