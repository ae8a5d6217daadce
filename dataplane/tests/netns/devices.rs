//! The veth pair and what is looked up of devices.

use std::net::Ipv4Addr;
use std::path::Path;

use culvert_dataplane::device::{DeviceError, VethPair, look_up};
use culvert_dataplane::xdp::{Side, Steering};

use crate::harness::{Namespace, can_run};

#[test]
fn a_pair_is_made_routed_and_removed() {
    if !can_run("a_pair_is_made_routed_and_removed") {
        return;
    }
    let gateway = Namespace::new();
    let pair = gateway.enter(|| {
        let pair = VethPair::create("core0", "core1", 2, 1_500).unwrap();
        pair.add_route(Ipv4Addr::new(10, 66, 0, 0), 16).unwrap();
        pair
    });
    let kernel = gateway.enter(|| look_up("core0")).unwrap();
    assert_eq!(
        (&kernel.device, kernel.queues, kernel.is_up),
        (pair.kernel(), 2, true)
    );
    assert_eq!(kernel.device.mtu, 1_500);
    let link = gateway.ip("-d link show core0");
    assert!(
        link.contains("NOARP") && link.contains("core0@core1"),
        "{link}"
    );
    let features = gateway.exec("ethtool -k core0");
    for feature in [
        "tx-checksumming",
        "tx-tcp-segmentation",
        "tx-tcp6-segmentation",
        "tx-udp-segmentation",
        "generic-segmentation-offload",
    ] {
        assert!(features.contains(&format!("{feature}: off")), "{features}");
    }
    let route = gateway.ip("route get 10.66.1.2");
    assert!(route.contains("dev core0"), "{route}");
    assert_eq!(gateway.enter(|| look_up("core1")).unwrap().addresses, []);
    gateway.enter(move || drop(pair));
    assert!(matches!(
        gateway.enter(|| look_up("core0")),
        Err(DeviceError::NoDevice(_))
    ));
    assert!(matches!(
        gateway.enter(|| look_up("core1")),
        Err(DeviceError::NoDevice(_))
    ));
}

#[test]
fn a_pair_that_a_killed_gateway_left_is_replaced() {
    if !can_run("a_pair_that_a_killed_gateway_left_is_replaced") {
        return;
    }
    let gateway = Namespace::new();
    gateway.enter(|| {
        let killed = VethPair::create("core0", "core1", 1, 1_500).unwrap();
        let old = killed.kernel().index;
        std::mem::forget(killed);
        let new = VethPair::create("core0", "core1", 1, 1_400).unwrap();
        assert_ne!(new.kernel().index, old);
        assert_eq!(new.ours().mtu, 1_400);
    });
}

#[test]
fn what_is_not_a_leftover_of_ours_is_left_alone() {
    if !can_run("what_is_not_a_leftover_of_ours_is_left_alone") {
        return;
    }
    let gateway = Namespace::new();
    let create = || gateway.enter(|| VethPair::create("core0", "core1", 1, 1_500));
    gateway.ip("link add core0 type bridge");
    assert!(matches!(create(), Err(DeviceError::NameTaken(name)) if name == "core0"));
    gateway.ip("link del core0");
    gateway.ip("link add core1 type veth peer name elsewhere");
    assert!(matches!(create(), Err(DeviceError::NameTaken(name)) if name == "core1"));
    gateway.ip("link del core1");
    gateway.ip("link add core0 type veth peer name elsewhere");
    assert!(matches!(create(), Err(DeviceError::NameTaken(name)) if name == "core0"));
    assert!(gateway.ip("link show core0").contains("core0"));
}

#[test]
fn the_pair_of_a_running_gateway_is_left_alone() {
    if !can_run("the_pair_of_a_running_gateway_is_left_alone") {
        return;
    }
    let gateway = Namespace::new();
    gateway.enter(|| {
        let running = VethPair::create("core0", "core1", 1, 1_500).unwrap();
        let mut steering = Steering::load().unwrap();
        steering.attach(Side::Core, "core1").unwrap();
        let refused = VethPair::create("core0", "core1", 1, 1_500);
        assert!(matches!(refused, Err(DeviceError::InUse(name)) if name == "core1"));
        assert_eq!(look_up("core1").unwrap().device, *running.ours());
    });
}

#[test]
fn a_second_route_to_a_pool_is_refused() {
    if !can_run("a_second_route_to_a_pool_is_refused") {
        return;
    }
    let gateway = Namespace::new();
    gateway.enter(|| {
        let pair = VethPair::create("core0", "core1", 1, 1_500).unwrap();
        let pool = Ipv4Addr::new(10, 66, 0, 0);
        pair.add_route(pool, 16).unwrap();
        assert!(matches!(
            pair.add_route(pool, 16),
            Err(DeviceError::RouteExists(_, 16))
        ));
    });
}

#[test]
fn a_device_is_described_as_it_is() {
    if !can_run("a_device_is_described_as_it_is") {
        return;
    }
    let gateway = Namespace::new();
    gateway.ip("link add wan0 address 02:00:00:00:00:07 numrxqueues 3 numtxqueues 2 type veth peer name far0");
    gateway.ip("link set wan0 mtu 1400");
    gateway.ip("addr add 192.0.2.1/24 dev wan0");
    gateway.ip("addr add 2001:db8::1/64 dev wan0 nodad");
    let link = gateway.enter(|| look_up("wan0")).unwrap();
    assert_eq!(
        (link.device.mac, link.device.mtu),
        ([2, 0, 0, 0, 0, 7], 1_400)
    );
    assert_eq!((link.queues, link.is_up), (2, false));
    let expected = [
        ("192.0.2.1".parse().unwrap(), 24),
        ("2001:db8::1".parse().unwrap(), 64),
    ];
    assert_eq!(link.addresses, expected);
    assert!(Path::new("/run/netns").join(gateway.name()).exists());
}
