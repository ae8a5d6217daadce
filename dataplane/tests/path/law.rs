//! The sum law: whatever comes, every packet has one end and every frame one place.

use proptest::prelude::*;

use culvert_crypto::{AesKey, Integrity, Suite};
use culvert_dataplane::api::{Command, Destination, Encapsulation, Transmit};
use culvert_wire::ipv4::Protocol;

use crate::commands::{data, inner, sealed};
use crate::gateway::{Client, Gateway, HOST, INNER, from_client, from_core, ip, udp};
use crate::round_trip::fragments;

/// One thing that happens to a gateway.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Good(u32),
    Fragmented(u32, usize, usize),
    Control(u32),
    FromCore(usize),
    Noise(Vec<u8>),
    UdpNoise(u16, Vec<u8>),
    Inner(Vec<u8>),
    Transmit(usize),
    /// Let the rings' other ends take what is there.
    Take,
    Turn,
    Wait(u32),
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        4 => (1_u32..400).prop_map(Step::Good),
        2 => (1_u32..400, 1_usize..12, 0_usize..6).prop_map(|(sequence, units, missing)| Step::Fragmented(sequence, units * 8, missing)),
        1 => (1_u32..400).prop_map(Step::Control),
        4 => (20_usize..3_000).prop_map(Step::FromCore),
        1 => bytes().prop_map(Step::Noise),
        1 => (prop_oneof![Just(500_u16), Just(4_500), Just(1_701)], bytes()).prop_map(|(port, bytes)| Step::UdpNoise(port, bytes)),
        2 => bytes().prop_map(Step::Inner),
        1 => (2_usize..3_000).prop_map(Step::Transmit),
        1 => Just(Step::Take),
        4 => Just(Step::Turn),
        1 => (0_u32..20).prop_map(Step::Wait),
    ]
}

pub(crate) fn perform(step: &Step, gateway: &mut Gateway, client: &Client, sequence: &mut u32) {
    match step {
        Step::Good(number) => {
            gateway
                .outer
                .send(&sealed(client, *number, &inner(INNER, HOST), Protocol::UDP));
        }
        Step::Fragmented(number, len, missing) => {
            let parts = fragments(
                &sealed(client, *number, &inner(INNER, HOST), Protocol::UDP),
                *len,
            );
            for part in parts.iter().skip(*missing % parts.len()) {
                gateway.outer.send(part);
            }
        }
        Step::Control(number) => {
            let message = udp(1_701, 1_701, &[0xC8, 2, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0]);
            gateway
                .outer
                .send(&sealed(client, *number, &message, Protocol::UDP));
        }
        Step::FromCore(len) => {
            gateway.core.send(&from_core(&ip(
                HOST,
                INNER,
                Protocol::UDP,
                &vec![1; len - 20],
            )));
        }
        Step::Noise(bytes) => {
            gateway.outer.send(bytes);
            gateway.core.send(bytes);
        }
        Step::UdpNoise(port, bytes) => {
            gateway
                .outer
                .send(&from_client(Protocol::UDP, &udp(31_234, *port, bytes)));
        }
        Step::Inner(bytes) => {
            *sequence += 1;
            let payload = if bytes.len() % 2 == 0 {
                data(bytes)
            } else {
                bytes.clone()
            };
            gateway
                .outer
                .send(&sealed(client, 1_000 + *sequence, &payload, Protocol::UDP));
        }
        Step::Transmit(len) => {
            let to = Destination::Ppp(client.row);
            let _ = gateway.try_command(Command::Transmit(Transmit {
                to,
                bytes: vec![0xC0; *len],
            }));
        }
        Step::Take => {
            while gateway.core.take().is_some() || gateway.outer.take().is_some() {}
            gateway.punts();
        }
        Step::Turn => gateway.turn(),
        Step::Wait(seconds) => gateway.pass(std::time::Duration::from_secs(u64::from(*seconds))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_packet_has_one_end_and_every_frame_one_place(steps in proptest::collection::vec(step(), 1..400)) {
        let client = Client::new(Suite::AesCbcHmac(AesKey::Bits128, Integrity::Sha256_128), Encapsulation::EspInUdp);
        let mut gateway = Gateway::new();
        client.install(&mut gateway);
        let mut sequence = 0;
        for step in &steps {
            perform(step, &mut gateway, &client, &mut sequence);
        }
        gateway.turn();
        gateway.assert_accounted();
        let snapshot = gateway.snapshot();
        prop_assert!(snapshot.counters.is_balanced());
        prop_assert_eq!(snapshot.outer.received, snapshot.counters.outer.received);
        prop_assert_eq!(snapshot.core.received, snapshot.counters.core.received);
        let counters = &snapshot.counters;
        let sent = counters.outer.sent + counters.core.sent + counters.control.sent;
        prop_assert_eq!(snapshot.outer.sent + snapshot.core.sent, sent);
    }
}

/// With nobody taking anything, rings and queues fill, and still nothing is lost without a count.
#[test]
fn full_rings_and_queues_lose_nothing_uncounted() {
    let client = Client::new(Suite::AesGcm(AesKey::Bits256), Encapsulation::Esp);
    let mut gateway = Gateway::new();
    client.install(&mut gateway);
    let mut sequence = 0;
    for _ in 0..40 {
        for _ in 0..64 {
            sequence += 1;
            gateway.outer.send(&sealed(
                &client,
                sequence,
                &inner(INNER, HOST),
                Protocol::UDP,
            ));
            gateway
                .core
                .send(&from_core(&ip(HOST, INNER, Protocol::UDP, &[1; 2_000])));
        }
        gateway.turn();
        gateway.assert_accounted();
    }
    assert!(gateway.counters().outer.received > 500);
    assert!(gateway.dropped(culvert_dataplane::verdict::Reason::RingFull) > 0);
}
