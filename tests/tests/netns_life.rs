//! Beginning and end of `culvert run`: what the service manager hears, what clients hear, and what is left.

use std::fs;
use std::time::{Duration, Instant};

use culvert_bench::demo::gateway::Core;
use culvert_bench::demo::network::Network;
use culvert_tests::netns::gateway::{Gateway, Plane, Setup, is_alive, signal};
use culvert_tests::netns::{Lab, is_possible, say, serialized, until};
use rustix::process::Signal;

const CLIENTS: u32 = 20;

#[test]
fn sigterm_tells_every_client_and_leaves_nothing_behind() {
    const WITHIN: Duration = Duration::from_secs(3);
    let _turn = serialized();
    if !is_possible() {
        return;
    }
    let setup = Setup {
        core: Core::Veth,
        ..Setup::default()
    };
    let mut lab = Lab::start(CLIENTS, &setup);
    lab.log_in(CLIENTS);
    let planes = [Plane::Control, Plane::Dataplane].map(|plane| lab.gateway.wait_for(plane));
    let socket = lab.gateway.directory().join("status.sock");
    assert!(socket.exists());
    for device in ["culvert0", "culvert1"] {
        assert!(has_device(&lab.network, device), "{device}");
    }
    assert!(has_program(&lab.network));

    let begin = Instant::now();
    lab.gateway.terminate();
    let mut end = None;
    lab.hold_until("end after SIGTERM", |gateway, _| {
        end = gateway.ended().map(|status| (status, begin.elapsed()));
        end.is_some()
    });
    let (status, took) = end.expect("it has ended");
    say(&format!("ended {took:?} after SIGTERM"));
    assert_eq!(status.code(), Some(0), "{}", lab.gateway.log());
    assert!(took <= WITHIN, "{took:?}");

    // What was sent before the end lies on our ring.
    let all = usize::try_from(CLIENTS).expect("it is small");
    lab.hold_until("clients are down", |_, population| {
        population.census().down == CLIENTS
    });
    let heard = |what: &str, count: usize| assert_eq!(count, all, "{what}");
    let population = lab.engine.population();
    heard(
        "CDN, StopCCN",
        population.count_farewells(|heard| heard.l2tp),
    );
    heard(
        "DELETE of ESP",
        population.count_farewells(|heard| heard.esp),
    );
    heard(
        "DELETE of IKE",
        population.count_farewells(|heard| heard.ike),
    );

    assert!(!planes.into_iter().any(is_alive), "a process is left");
    assert!(!socket.exists(), "the socket is left");
    for device in ["culvert0", "culvert1"] {
        assert!(!has_device(&lab.network, device), "{device} is left");
    }
    assert!(!has_program(&lab.network), "the XDP program is left");
    let notices = lab.gateway.notices();
    assert!(notices.iter().any(|notice| notice == "STOPPING=1"));
    let watchdogs = notices.iter().filter(|notice| *notice == "WATCHDOG=1");
    assert_eq!(watchdogs.count(), 0, "nobody had asked for it");
}

#[test]
fn ready_is_told_only_once_both_planes_answer_and_the_watchdog_is_fed_from_then_on() {
    let _turn = serialized();
    if !is_possible() {
        return;
    }
    for plane in [Plane::Control, Plane::Dataplane] {
        let network = Network::create().expect("namespaces can be made");
        let setup = Setup {
            environment: vec![("WATCHDOG_USEC", "2000000")],
            ..Setup::default()
        };
        let mut gateway = Gateway::spawn(&network, &setup);
        // It is held before it can have begun.
        let held = until("plane is started", || started(gateway.pid(), plane));
        signal(held, Signal::STOP);
        let other = match plane {
            Plane::Control => Plane::Dataplane,
            Plane::Dataplane => Plane::Control,
        };
        until_other_answers(&gateway, other);
        assert!(gateway.notices().is_empty(), "{:?}", gateway.notices());

        signal(held, Signal::CONT);
        gateway.wait_for_notice("READY=1");
        for plane in [Plane::Control, Plane::Dataplane] {
            assert!(gateway.serving(plane).is_some(), "{plane:?}");
        }
        assert_eq!(
            gateway.notices().first().map(String::as_str),
            Some("READY=1")
        );
        until("two feedings", || {
            let fed = gateway
                .notices()
                .iter()
                .filter(|line| *line == "WATCHDOG=1");
            (fed.count() >= 2).then_some(())
        });
    }
}

/// Process id of a plane that the supervisor has just started.
fn started(supervisor: i32, plane: Plane) -> Option<i32> {
    let name = match plane {
        Plane::Control => "control",
        Plane::Dataplane => "dataplane",
    };
    let children = format!("/proc/{supervisor}/task/{supervisor}/children");
    let children = fs::read_to_string(children).ok()?;
    let mut pids = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    pids.find(|pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0)
            .any(|word| word == name.as_bytes())
    })
}

/// Waits until a plane has told how it is, which takes the supervisor's patience with the one that is held.
fn until_other_answers(gateway: &Gateway, plane: Plane) {
    let place = match plane {
        Plane::Control => "/control/status",
        Plane::Dataplane => "/dataplane/status",
    };
    until("the other plane answers", || {
        let status = gateway.try_status()?;
        status
            .pointer(place)
            .filter(|told| !told.is_null())
            .map(drop)
    });
}

fn has_device(network: &Network, device: &str) -> bool {
    network
        .gateway
        .ip(&format!("link show dev {device}"))
        .is_ok()
}

fn has_program(network: &Network) -> bool {
    let link = network.gateway.ip("-d link show dev g0");
    link.expect("the device is there").contains("prog/xdp")
}
