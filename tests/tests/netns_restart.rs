//! One of the two planes is killed while packets flow: what is lost, what comes back, and what must never happen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use culvert_bench::demo::network::GATEWAY;
use culvert_bench::load::pace::Pace;
use culvert_bench::load::population::Population;
use culvert_tests::netns::gateway::{Plane, Setup, signal};
use culvert_tests::netns::raw::RawSender;
use culvert_tests::netns::tap::{Recorded, Way};
use culvert_tests::netns::{Lab, PATIENCE, is_possible, say, serialized};
use culvert_wire::ipv4::Packet;
use rustix::process::Signal;

const CLIENTS: u32 = 20;
/// The client that dials again.
const BACK: u32 = 3;
const SIZE: usize = 200;
const PACE: Pace = Pace::Open { per_second: 2_000 };
/// When the plane is killed, and how long is sent.
const KILL_AFTER: Duration = Duration::from_secs(1);
const SENDING: Duration = Duration::from_secs(3);

#[test]
fn sessions_flow_on_while_control_is_killed_and_a_new_one_serves_new_clients() {
    let _turn = serialized();
    if !is_possible() {
        return;
    }
    let mut lab = Lab::start(CLIENTS + 1, &Setup::default());
    lab.log_in(CLIENTS);
    lab.warm_up();
    let old = lab.gateway.serving(Plane::Control).expect("control serves");

    let mut is_killed = false;
    let run = lab.engine.run(SIZE, PACE, SENDING, PATIENCE, |_, elapsed| {
        if !is_killed && elapsed >= KILL_AFTER {
            signal(old, Signal::KILL);
            is_killed = true;
        }
        true
    });
    let run = &lab.engine.runs()[run];
    assert!(run.up.sent > 4_000 && run.down.sent > 4_000, "{run:?}");
    let missing = (run.up.missing(), run.down.missing());
    assert_eq!(missing, (0, 0), "{}", lab.gateway.log());

    assert_ne!(lab.gateway.wait_for(Plane::Control), old);
    assert_eq!(lab.gateway.unknown_sets(), Some(u64::from(CLIENTS)));
    let taken = addresses(lab.engine.population(), 0..CLIENTS);

    lab.log_in(1);
    let new = addresses(lab.engine.population(), CLIENTS..CLIENTS + 1);
    assert!(taken.is_disjoint(&new), "{new:?} is taken");

    let old_packet = last_esp_from(&lab, lab.engine.population().address(BACK));
    lab.engine.connect_again(BACK).expect("it was logged in");
    lab.hold_until(
        "a client of an unknown set is back",
        |gateway, population| {
            population.census().up == CLIENTS + 1
                && gateway.unknown_sets() == Some(u64::from(CLIENTS) - 1)
        },
    );
    let all = addresses(lab.engine.population(), 0..CLIENTS + 1);
    assert_eq!(all.len(), 21, "an address was given out twice");

    // Known and unknown sessions side by side.
    lab.lose_nothing(SIZE, PACE, KILL_AFTER);

    // A row that were still there would tell that it has seen the packet.
    RawSender::new(&lab.network).send(&old_packet);
    lab.hold_until("the old row is closed", |gateway, _| {
        gateway.packets().get("outer.dropped.unknown_spi") == Some(&1)
    });
    assert_eq!(refused(&lab), 0);
}

#[test]
fn traffic_resumes_within_a_second_of_the_data_planes_death_and_nothing_is_sent_or_taken_twice() {
    let _turn = serialized();
    if !is_possible() {
        return;
    }
    let mut lab = Lab::start(CLIENTS, &Setup::default());
    lab.log_in(CLIENTS);
    lab.warm_up();
    let old = lab.gateway.serving(Plane::Dataplane).expect("it serves");

    let mut outage = Outage::default();
    let run = lab.engine.run(
        SIZE,
        PACE,
        SENDING,
        Duration::from_secs(1),
        |run, elapsed| {
            if outage.killed.is_none() && elapsed >= KILL_AFTER {
                signal(old, Signal::KILL);
                outage.killed = Some(Instant::now());
            }
            outage.watch(run.up.received, run.down.received);
            true
        },
    );
    let run = &lab.engine.runs()[run];
    let killed = outage.killed.expect("the run was long enough");
    let gaps = outage.gaps();
    say(&format!(
        "from kill to the first probe through: up {:?}, down {:?}; lost {} of {} and {} of {}",
        gaps[0],
        gaps[1],
        run.up.missing(),
        run.up.sent,
        run.down.missing(),
        run.down.sent
    ));
    no_sequence_number_is_sent_twice(&lab.outer.frames(), killed);
    for gap in gaps {
        assert!(
            gap.is_some_and(|gap| gap <= Duration::from_secs(1)),
            "{gaps:?}\n{}",
            lab.gateway.log()
        );
    }
    assert_ne!(lab.gateway.wait_for(Plane::Dataplane), old);
    assert_eq!(lab.engine.population().census().up, CLIENTS);

    // All sessions are back, not only the first.
    lab.lose_nothing(SIZE, PACE, KILL_AFTER);
    no_sequence_number_is_sent_twice(&lab.outer.frames(), killed);
    nothing_recorded_is_taken_again(&mut lab, killed);
}

/// When probes came through again.
#[derive(Default)]
struct Outage {
    killed: Option<Instant>,
    seen: [u64; 2],
    resumed: [Option<Instant>; 2],
}

impl Outage {
    /// Probes that had passed the gateway when it died still come for a moment.
    const ON_THEIR_WAY: Duration = Duration::from_millis(50);

    fn watch(&mut self, up: u64, down: u64) {
        let now = Instant::now();
        for (way, count) in [up, down].into_iter().enumerate() {
            let has_come = count > self.seen[way];
            self.seen[way] = count;
            let is_late = self
                .killed
                .is_some_and(|killed| now - killed > Self::ON_THEIR_WAY);
            if has_come && is_late {
                self.resumed[way].get_or_insert(now);
            }
        }
    }

    fn gaps(&self) -> [Option<Duration>; 2] {
        self.resumed.map(|resumed| Some(resumed? - self.killed?))
    }
}

fn no_sequence_number_is_sent_twice(frames: &[Recorded], killed: Instant) {
    let mut seen = BTreeSet::new();
    let mut after = 0;
    for frame in frames.iter().filter(|frame| frame.way == Way::In) {
        if let Some(esp) = frame.esp() {
            assert!(seen.insert(esp), "SPI and sequence number {esp:x?} again");
            after += usize::from(frame.at > killed + Outage::ON_THEIR_WAY);
        }
    }
    let spis: BTreeSet<_> = seen.iter().map(|(spi, _)| spi).collect();
    assert_eq!(spis.len(), 20, "all SAs lived on, and no others came");
    assert!(after > 1_000 && seen.len() > after + 1_000, "{after}");
}

/// Sends packets anew that were taken before the death.
fn nothing_recorded_is_taken_again(lab: &mut Lab, killed: Instant) {
    const REPLAYED: usize = 300;
    const SURELY_TAKEN: Duration = Duration::from_millis(100);
    let recorded: Vec<_> = {
        let frames = lab.outer.frames();
        let taken = frames.iter().filter(|frame| {
            frame.way == Way::Out && frame.esp().is_some() && frame.at + SURELY_TAKEN < killed
        });
        let packets = taken.map(|frame| frame.packet.clone());
        packets.collect()
    };
    let recorded = &recorded[recorded.len() - REPLAYED..];
    let destination = Packet::parse(&recorded[0]).map(|packet| packet.destination());
    assert_eq!(destination, Ok(GATEWAY));

    let (before, through) = (refused(lab), lab.lan.count(Way::In));
    let sender = RawSender::new(&lab.network);
    for packet in recorded {
        sender.send(packet);
    }
    lab.hold_until("replayed packets are counted", |gateway, _| {
        let packets = gateway.packets();
        let refused: u64 = refusals(&packets).map(|(_, count)| count).sum();
        refused >= before + 300
    });
    let packets = lab.gateway.packets();
    say(&format!(
        "drops: {:?}",
        refusals(&packets).collect::<Vec<_>>()
    ));
    assert_eq!(lab.lan.count(Way::In), through, "something came out");
    assert_eq!(refused(lab), before + 300);
}

/// The newest ESP packet of the client with this outer address.
fn last_esp_from(lab: &Lab, source: Ipv4Addr) -> Vec<u8> {
    let frames = lab.outer.frames();
    let mut packets = frames
        .iter()
        .rev()
        .filter(|frame| frame.way == Way::Out && frame.esp().is_some());
    let is_its =
        |packet: &[u8]| Packet::parse(packet).is_ok_and(|packet| packet.source() == source);
    let found = packets.find(|frame| is_its(&frame.packet));
    found.expect("it has sent some").packet.clone()
}

fn refused(lab: &Lab) -> u64 {
    let packets = lab.gateway.packets();
    refusals(&packets).map(|(_, count)| count).sum()
}

/// Drops because a packet came again or is too old to tell.
fn refusals(packets: &BTreeMap<String, u64>) -> impl Iterator<Item = (&String, u64)> {
    let is_refusal = |name: &str| {
        [
            "outer.dropped.replay_duplicate",
            "outer.dropped.replay_too_old",
        ]
        .contains(&name)
    };
    packets
        .iter()
        .filter(move |(name, count)| is_refusal(name) && **count > 0)
        .map(|(name, count)| (name, *count))
}

fn addresses(population: &Population, clients: std::ops::Range<u32>) -> BTreeSet<Option<Ipv4Addr>> {
    clients
        .map(|index| population.lease(index).and_then(|lease| lease.address))
        .inspect(|address| assert!(address.is_some(), "no address"))
        .collect()
}
