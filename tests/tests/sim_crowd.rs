//! Two hundred clients at once over a network that loses, repeats and reorders.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use culvert_bench::client::Cause;
use culvert_dataplane::verdict::Reason;
use culvert_tests::sim::frame::{self, Cut, Ends};
use culvert_tests::sim::lan::HOST;
use culvert_tests::sim::network::Conditions;
use culvert_tests::sim::plane::Held;
use culvert_tests::sim::setting::{Setting, credentials, profile};
use culvert_tests::sim::{MemberId, Restore, World};
use culvert_wire::ipv4::{Packet, Protocol};

const CLIENTS: usize = 200;

/// Longer than a tunnel without a session and then a set without a tunnel live.
const UNUSED: Duration = Duration::from_secs(300);
/// Longer than an IKE SA lives. DELETE is not acknowledged: where it is lost, it lives to its end.
const FORGOTTEN: Duration = Duration::from_secs(9 * 3_600);

fn outer(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 1, u8::try_from(number + 1).unwrap())
}

fn crowd(clients: usize, setting: Setting) -> World {
    let mut world = World::new(setting);
    let profile = Arc::new(profile());
    for number in 0..clients {
        world.connect(outer(number), &profile, &credentials(number));
        world.pass(Duration::from_millis(10));
    }
    world
}

fn ids(world: &World) -> Vec<MemberId> {
    world.members().map(|(id, _)| id).collect()
}

/// Waits until all are up, each with an address of its own.
fn assert_all_up(world: &mut World, seed: u64) {
    let all_told = world.run(Duration::from_secs(240), |world| {
        world.members().all(|(_, member)| !member.events.is_empty())
    });
    let causes: Vec<_> = world
        .members()
        .filter_map(|(_, member)| member.cause())
        .collect();
    assert!(all_told && causes.is_empty(), "seed {seed}: {causes:?}");
    let addresses: BTreeSet<_> = world
        .members()
        .map(|(_, member)| member.address())
        .collect();
    assert_eq!(
        addresses.len(),
        world.members().len(),
        "seed {seed}: an address given out twice"
    );
    // What acknowledges the last configuration may have to be sent again.
    world.pass(Duration::from_secs(20));
}

/// Sends every client three probes and has each send three: what arrives, arrives at the right one.
fn assert_probes(world: &mut World, seed: u64) {
    world.clear_received();
    let mut up = BTreeSet::new();
    for id in ids(world) {
        let ends = Ends {
            source: world.member(id).address().unwrap(),
            destination: HOST,
        };
        for number in 0..3_u16 {
            let data = [&id.0.to_be_bytes()[..], &[0x5A; 90]].concat();
            let payload = frame::udp(number, 9, &data);
            let packet = frame::ip(ends, Protocol::UDP, Cut::Allowed, 0, &payload);
            assert!(world.send_up(id, &packet), "seed {seed}");
            up.insert(frame::routed(&packet));
            let packet = frame::ip(ends.swapped(), Protocol::UDP, Cut::Allowed, 0, &payload);
            world.send_down(&packet);
        }
    }
    world.pass(Duration::from_secs(2));
    let mut arrived = 0;
    for (id, member) in world.members() {
        let distinct: BTreeSet<_> = member.received.iter().collect();
        assert_eq!(
            distinct.len(),
            member.received.len(),
            "seed {seed}: a packet came twice"
        );
        arrived += distinct.len();
        for packet in distinct {
            let packet = Packet::parse(packet).unwrap();
            assert_eq!(Some(packet.destination()), member.address(), "seed {seed}");
            assert_eq!(packet.payload()[8..16], id.0.to_be_bytes(), "seed {seed}");
        }
    }
    let at_lan: BTreeSet<_> = world.lan().received().iter().cloned().collect();
    assert_eq!(
        at_lan.len(),
        world.lan().received().len(),
        "seed {seed}: a packet came twice"
    );
    assert!(
        at_lan.is_subset(&up),
        "seed {seed}: a packet came that nobody sent"
    );
    // A tenth is lost: of as many packets never a quarter.
    assert!(
        at_lan.len() * 4 > up.len() * 3,
        "seed {seed}: {} of {}",
        at_lan.len(),
        up.len()
    );
    assert!(
        arrived * 4 > up.len() * 3,
        "seed {seed}: {arrived} of {}",
        up.len()
    );
}

/// Lets all log out.
fn assert_all_leave(world: &mut World, seed: u64) {
    for id in ids(world) {
        world.act(id, |client, now, rng| client.disconnect(now, rng));
    }
    world.pass(UNUSED);
    assert_eq!(
        world.held(),
        Held::default(),
        "seed {seed}: sets without a tunnel go soon"
    );
    world.pass(FORGOTTEN);
    for (_, member) in world.members() {
        assert_eq!(member.cause(), Some(Cause::LoggedOut), "seed {seed}");
    }
    world.assert_empty();
    world.assert_accounted();
    let no_excuse = [
        Reason::NoFrame,
        Reason::Forged,
        Reason::WrongEncapsulation,
        Reason::InnerSource,
        Reason::PuntQueue,
        Reason::PuntRate,
        Reason::RingFull,
        Reason::NoNextHop,
    ];
    for reason in no_excuse {
        assert_eq!(world.plane().dropped(reason), 0, "seed {seed}: {reason:?}");
    }
}

fn assert_lives(clients: usize, setting: Setting) {
    let seed = setting.seed;
    let mut world = crowd(clients, setting);
    assert_all_up(&mut world, seed);
    assert_probes(&mut world, seed);
    assert_all_leave(&mut world, seed);
}

#[test]
fn two_hundred_clients_log_in_and_out_in_spite_of_loss_repetition_and_reordering() {
    for seed in 1..4 {
        assert_lives(CLIENTS, Setting::new(seed).over(Conditions::BAD));
    }
}

#[test]
fn nobody_notices_when_the_control_plane_is_saved_and_restored_at_random_steps() {
    for seed in 11..13 {
        let restore = Restore::OneIn(40);
        assert_lives(
            CLIENTS,
            Setting {
                restore,
                ..Setting::new(seed).over(Conditions::BAD)
            },
        );
    }
    for seed in 21..24 {
        let restore = Restore::OneIn(2);
        assert_lives(
            10,
            Setting {
                restore,
                ..Setting::new(seed).over(Conditions::BAD)
            },
        );
    }
}
