//! Next hops as the kernel's routes and neighbours give them, and change.

use std::net::IpAddr;
use std::time::Duration;

use culvert_dataplane::device::look_up;
use culvert_dataplane::next_hop::{NextHop, NextHopError, NextHops, Update};
use tokio::time::timeout;

use crate::harness::{Namespace, can_run};

/// `wan0` (192.0.2.1/24) faces `far0` (192.0.2.254 and 192.0.2.253, 2001:db8::fe).
struct Link {
    gateway: Namespace,
    far: Namespace,
}

const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xFE];
const NEW_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xAA];

impl Link {
    fn new() -> Self {
        let (gateway, far) = (Namespace::new(), Namespace::new());
        gateway.ip(&format!(
            "link add wan0 type veth peer netns {} name far0 address 02:00:00:00:00:fe",
            far.name()
        ));
        gateway.ip("addr add 192.0.2.1/24 dev wan0");
        gateway.ip("addr add 2001:db8::1/64 dev wan0 nodad");
        far.ip("addr add 192.0.2.254/24 dev far0");
        far.ip("addr add 192.0.2.253/24 dev far0");
        far.ip("addr add 2001:db8::fe/64 dev far0 nodad");
        gateway.ip("link set wan0 up");
        far.ip("link set far0 up");
        gateway.ip("route add default via 192.0.2.254");
        Self { gateway, far }
    }

    /// Runs `work` with a watcher of `wan0` in the gateway's namespace.
    fn watch<T: Send>(&self, limit: usize, work: impl AsyncFnOnce(&mut NextHops) -> T + Send) -> T {
        self.gateway.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let wan0 = look_up("wan0").unwrap().device;
                work(&mut NextHops::new(&wan0, limit).unwrap()).await
            })
        })
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The next hop of `destination` once it satisfies `wanted`.
async fn until(
    hops: &mut NextHops,
    destination: IpAddr,
    wanted: impl Fn(Option<NextHop>) -> bool,
) -> Option<NextHop> {
    let waiting = async {
        loop {
            let Update {
                destination: of,
                next_hop,
            } = hops.changed().await.unwrap();
            if of == destination && wanted(next_hop) {
                return next_hop;
            }
        }
    };
    timeout(Duration::from_secs(10), waiting)
        .await
        .expect("the change never came")
}

async fn resolve(hops: &mut NextHops, destination: IpAddr) -> NextHop {
    match hops.watch(destination).await.unwrap() {
        Some(next_hop) => next_hop,
        None => until(hops, destination, |next_hop| next_hop.is_some())
            .await
            .unwrap(),
    }
}

#[test]
fn an_unknown_neighbour_is_resolved_and_kept_alive() {
    if !can_run("an_unknown_neighbour_is_resolved_and_kept_alive") {
        return;
    }
    let link = Link::new();
    let expected = NextHop {
        mac: FAR_MAC,
        source: Some(ip("192.0.2.1")),
        mtu: 1_500,
    };
    let (on_link, beyond) = link.watch(4, async |hops| {
        (
            resolve(hops, ip("192.0.2.253")).await,
            resolve(hops, ip("198.51.100.7")).await,
        )
    });
    assert_eq!((on_link, beyond), (expected, expected));
    for neighbour in ["192.0.2.253", "192.0.2.254"] {
        let entry = link.gateway.ip(&format!("neigh show {neighbour}"));
        assert!(entry.contains("managed"), "{entry}");
    }
}

#[test]
fn ipv6_neighbours_are_resolved_too() {
    if !can_run("ipv6_neighbours_are_resolved_too") {
        return;
    }
    let link = Link::new();
    let next_hop = link.watch(4, async |hops| resolve(hops, ip("2001:db8::fe")).await);
    assert_eq!(
        (next_hop.mac, next_hop.source),
        (FAR_MAC, Some(ip("2001:db8::1")))
    );
}

#[test]
fn a_changed_route_neighbour_or_mtu_is_told() {
    if !can_run("a_changed_route_neighbour_or_mtu_is_told") {
        return;
    }
    let link = Link::new();
    let peer = ip("198.51.100.7");
    link.watch(4, async |hops| {
        resolve(hops, peer).await;
        link.gateway
            .ip("neigh replace 192.0.2.254 lladdr 02:00:00:00:00:aa dev wan0 nud permanent");
        until(hops, peer, |hop| hop.is_some_and(|hop| hop.mac == NEW_MAC)).await;
        link.gateway
            .ip("route replace 198.51.100.0/24 via 192.0.2.253 mtu 1300");
        until(hops, peer, |hop| {
            hop.is_some_and(|hop| hop.mac == FAR_MAC && hop.mtu == 1_300)
        })
        .await;
        link.gateway
            .ip("route replace 198.51.100.0/24 via 192.0.2.253");
        until(hops, peer, |hop| hop.is_some_and(|hop| hop.mtu == 1_500)).await;
        link.gateway.ip("link set wan0 mtu 1400");
        until(hops, peer, |hop| hop.is_some_and(|hop| hop.mtu == 1_400)).await;
        link.gateway.ip("route replace unreachable 198.51.100.0/24");
        until(hops, peer, |hop| hop.is_none()).await;
        link.gateway.ip("route del unreachable 198.51.100.0/24");
        until(hops, peer, |hop| hop.is_some_and(|hop| hop.mac == NEW_MAC)).await;
    });
}

#[test]
fn a_neighbour_that_moves_to_another_port_is_followed() {
    if !can_run("a_neighbour_that_moves_to_another_port_is_followed") {
        return;
    }
    let link = Link::new();
    let peer = ip("192.0.2.253");
    link.watch(4, async |hops| {
        resolve(hops, peer).await;
        link.far.ip("link set far0 address 02:00:00:00:00:aa");
        link.gateway.ip("neigh del 192.0.2.253 dev wan0");
        until(hops, peer, |hop| hop.is_some_and(|hop| hop.mac == NEW_MAC)).await;
    });
    let entry = link.gateway.ip("neigh show 192.0.2.253");
    assert!(entry.contains("managed"), "it is registered again: {entry}");
}

#[test]
fn what_is_not_reached_through_the_device_has_no_next_hop() {
    if !can_run("what_is_not_reached_through_the_device_has_no_next_hop") {
        return;
    }
    let link = Link::new();
    link.watch(2, async |hops| {
        assert_eq!(hops.watch(ip("127.0.0.1")).await.unwrap(), None);
        assert_eq!(hops.watch(ip("2001:db9::1")).await.unwrap(), None);
        assert!(matches!(
            hops.watch(ip("192.0.2.254")).await,
            Err(NextHopError::Exhausted)
        ));
    });
}

#[test]
fn a_destination_that_is_no_longer_watched_leaves_its_neighbour_to_the_kernel() {
    if !can_run("a_destination_that_is_no_longer_watched_leaves_its_neighbour_to_the_kernel") {
        return;
    }
    let link = Link::new();
    let peer = ip("192.0.2.253");
    link.watch(2, async |hops| {
        resolve(hops, peer).await;
        hops.unwatch(peer);
        // Nothing is watched: this lets the neighbour go and then waits in vain.
        let change = timeout(Duration::from_millis(300), hops.changed()).await;
        assert!(change.is_err(), "{change:?}");
    });
    let entry = link.gateway.ip("neigh show 192.0.2.253");
    assert!(
        entry.contains("lladdr 02:00:00:00:00:fe") && !entry.contains("managed"),
        "{entry}"
    );
}

#[test]
fn an_administrators_neighbour_stays_permanent() {
    if !can_run("an_administrators_neighbour_stays_permanent") {
        return;
    }
    let link = Link::new();
    link.gateway
        .ip("neigh add 192.0.2.9 lladdr 02:00:00:00:00:aa dev wan0 nud permanent");
    let next_hop = link.watch(2, async |hops| hops.watch(ip("192.0.2.9")).await.unwrap());
    assert_eq!(next_hop.map(|hop| hop.mac), Some(NEW_MAC));
    let entry = link.gateway.ip("neigh show 192.0.2.9");
    assert!(
        entry.contains("PERMANENT") && !entry.contains("managed"),
        "{entry}"
    );
}
