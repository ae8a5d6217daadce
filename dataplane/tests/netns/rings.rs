//! AF_XDP over veth: echo in both modes and on several queues, the kernel's statistics, one UMEM over two devices.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Instant;

use culvert_dataplane::api::CoreId;
use culvert_dataplane::device::VethPair;
use culvert_dataplane::frame::{BATCH, FramePool, Frames};
use culvert_dataplane::port::xdp::{Bound, XdpPort, bind};
use culvert_dataplane::port::{Port, PortStatistics};
use culvert_dataplane::ring::{BindError, Endpoint, Mode};
use culvert_dataplane::xdp::{Attachment, Side, Steering, Verdicts, XdpError};
use culvert_wire::classify::Verdict;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use crate::harness::{Pair, can_run};
use crate::steer::{
    FRAMES, GATEWAY, PATIENCE, open, pattern, ping, ping_within, register, steer, turn_around,
    while_echoing,
};

/// Nothing went wrong that the kernel or `ring` counts.
fn is_clean(statistics: PortStatistics) -> bool {
    let PortStatistics {
        rx_dropped,
        rx_ring_full,
        fill_ring_empty,
        rx_invalid,
        tx_invalid,
        wake_failed,
        ..
    } = statistics;
    rx_dropped + rx_ring_full + fill_ring_empty + rx_invalid + tx_invalid + wake_failed == 0
}

#[test]
fn datagrams_of_every_size_come_back_in_native_mode() {
    if !can_run("datagrams_of_every_size_come_back_in_native_mode") {
        return;
    }
    let pair = Pair::new(1, 1_500);
    let (steering, attachment) = pair.gateway.enter(steer);
    assert_eq!(attachment, Attachment::Native);
    let mut workers = [pair.gateway.enter(|| open(&steering, 0))];
    assert_eq!(workers[0].mode, Mode::Copy, "veth has no zero copy");
    assert_eq!(
        while_echoing(&pair, &mut workers, || ping((0..=1_472).step_by(46))),
        33
    );
    let statistics = workers[0].ports[0].statistics();
    assert_eq!((statistics.received, statistics.sent), (33, 33));
    assert!(is_clean(statistics), "{statistics:?}");
    let verdicts = Verdicts::new(steering.verdicts().unwrap()).unwrap();
    assert_eq!(verdicts.read(Side::Outer, Verdict::Ike).unwrap(), 33);
}

#[test]
fn a_device_that_refuses_native_mode_is_served_in_generic_mode() {
    if !can_run("a_device_that_refuses_native_mode_is_served_in_generic_mode") {
        return;
    }
    let pair = Pair::new(1, 9_000);
    let (steering, attachment) = pair.gateway.enter(steer);
    assert_eq!(attachment, Attachment::Generic);
    let mut workers = [pair.gateway.enter(|| open(&steering, 0))];
    assert_eq!(
        while_echoing(&pair, &mut workers, || ping([0, 100, 1_472, 3_700])),
        4
    );
    let statistics = workers[0].ports[0].statistics();
    assert_eq!((statistics.received, statistics.sent), (4, 4));
    assert!(is_clean(statistics), "{statistics:?}");
}

#[test]
fn a_packet_longer_than_a_frame_is_dropped_and_counted() {
    if !can_run("a_packet_longer_than_a_frame_is_dropped_and_counted") {
        return;
    }
    let pair = Pair::new(1, 9_000);
    let (steering, _) = pair.gateway.enter(steer);
    let mut workers = [pair.gateway.enter(|| open(&steering, 0))];
    let came_back = while_echoing(&pair, &mut workers, || {
        let socket = UdpSocket::bind("10.77.0.1:0").unwrap();
        socket.send_to(&pattern(8_000), (GATEWAY, 500)).unwrap();
        ping([64])
    });
    assert_eq!(came_back, 1);
    let statistics = workers[0].ports[0].statistics();
    assert_eq!((statistics.received, statistics.rx_dropped), (1, 1));
}

#[test]
fn two_workers_share_the_flows_of_two_queues() {
    if !can_run("two_workers_share_the_flows_of_two_queues") {
        return;
    }
    let pair = Pair::new(2, 1_500);
    let (steering, _) = pair.gateway.enter(steer);
    let mut workers = pair
        .gateway
        .enter(|| [open(&steering, 0), open(&steering, 1)]);
    let came_back = while_echoing(&pair, &mut workers, || {
        (0..64).map(|_| ping([100])).sum::<usize>()
    });
    assert_eq!(came_back, 64);
    let received = workers
        .each_ref()
        .map(|worker| worker.ports[0].statistics().received);
    assert_eq!(received.iter().sum::<u64>(), 64);
    assert!(
        received.iter().all(|count| *count > 0),
        "flows are spread: {received:?}"
    );
}

#[test]
fn of_a_flood_every_packet_is_accounted_for() {
    if !can_run("of_a_flood_every_packet_is_accounted_for") {
        return;
    }
    let pair = Pair::new(1, 1_500);
    let (steering, _) = pair.gateway.enter(steer);
    let Bound {
        ports: [mut port],
        mut pool,
        ..
    } = pair.gateway.enter(|| open(&steering, 0));
    let ring = u64::from(FRAMES / 2);
    pair.client.enter(|| {
        let socket = UdpSocket::bind("10.77.0.1:0").unwrap();
        for _ in 0..ring + 100 {
            socket.send_to(&[0; 64], (GATEWAY, 500)).unwrap();
        }
    });
    let since = Instant::now();
    while port.statistics().lost() < 100 {
        assert!(since.elapsed() < PATIENCE, "{:?}", port.statistics());
    }
    let mut frames = Frames::new();
    while port.receive(&mut pool, &mut frames) > 0 {
        frames.take_front(BATCH).for_each(|frame| pool.give(frame));
    }
    let PortStatistics {
        received,
        fill_ring_empty,
        ..
    } = port.statistics();
    assert_eq!(
        (received, fill_ring_empty, port.statistics().lost()),
        (ring, 100, 100)
    );
    assert_eq!(pool.free() + port.held(), pool.total());
}

#[test]
fn an_echo_under_a_flood_loses_no_frame() {
    if !can_run("an_echo_under_a_flood_loses_no_frame") {
        return;
    }
    let pair = Pair::new(1, 1_500);
    let (steering, _) = pair.gateway.enter(steer);
    let mut workers = [pair.gateway.enter(|| open(&steering, 0))];
    let verdicts = Verdicts::new(steering.verdicts().unwrap()).unwrap();
    let steered = || verdicts.read(Side::Outer, Verdict::Ike).unwrap();
    while_echoing(&pair, &mut workers, || {
        let socket = UdpSocket::bind("10.77.0.1:0").unwrap();
        for _ in 0..20_000 {
            socket.send_to(&[0; 1_000], (GATEWAY, 500)).unwrap();
        }
        // The first ones may meet full rings and be lost.
        let answers = |_| ping_within(PATIENCE / 30, [64]) == 1;
        assert!((0..30).any(answers), "the echo answers after it all");
    });
    let [
        Bound {
            ports: [port],
            pool,
            ..
        },
    ] = &mut workers;
    let statistics = port.statistics();
    assert_eq!(
        statistics.received + statistics.lost(),
        steered(),
        "{statistics:?}"
    );
    assert!(
        statistics.sent > 1_000 && statistics.tx_invalid == 0,
        "{statistics:?}"
    );
    let since = Instant::now();
    while port.in_flight() > 0 {
        port.transmit(pool, &mut Frames::new());
        port.wake();
        assert!(
            since.elapsed() < PATIENCE,
            "{} frames never come back",
            port.in_flight()
        );
    }
    assert_eq!(pool.free() + port.held(), pool.total());
}

#[test]
fn outer_and_core_side_share_their_frames() {
    if !can_run("outer_and_core_side_share_their_frames") {
        return;
    }
    let pair = Pair::new(1, 1_500);
    let client = Ipv4Addr::new(10, 66, 0, 1);
    let (mut steering, _) = pair.gateway.enter(steer);
    let (veth, bound, kernel) = pair.gateway.enter(|| {
        let veth = VethPair::create("core0", "core1", 1, 1_500).unwrap();
        veth.add_route(Ipv4Addr::new(10, 66, 0, 0), 16).unwrap();
        steering.add_pool(Ipv4Addr::new(10, 66, 0, 0), 16).unwrap();
        assert_eq!(
            steering.attach(Side::Core, "core1").unwrap(),
            Attachment::Native
        );
        let ends = ["gateway0", "core1"].map(|device| Endpoint { device, queue: 0 });
        let bound = bind(CoreId(0), FRAMES, ends).unwrap();
        register(&steering, Side::Outer, 0, &bound.ports[0]);
        register(&steering, Side::Core, 0, &bound.ports[1]);
        (veth, bound, UdpSocket::bind((GATEWAY, 500)).unwrap())
    });
    pair.gateway
        .exec("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.core0.rp_filter=0");
    let Bound {
        ports: [mut outer, mut core],
        mut pool,
        ..
    } = bound;
    kernel.set_read_timeout(Some(PATIENCE)).unwrap();

    // Up: what the outer side receives goes to the kernel through the core side.
    pair.client.enter(|| {
        UdpSocket::bind("10.77.0.1:0")
            .unwrap()
            .send_to(b"up", (GATEWAY, 500))
            .unwrap()
    });
    let mut frames = received(&mut outer, &mut pool);
    frames[0].bytes_mut()[..6].copy_from_slice(&veth.kernel().mac);
    assert_eq!(core.transmit(&mut pool, &mut frames), 1);
    core.wake();
    let mut buffer = [0; 64];
    assert_eq!(
        kernel.recv(&mut buffer).map(|len| &buffer[..len]).unwrap(),
        b"up"
    );

    // Down: what the kernel routes to a client arrives on the core side, with a finished checksum.
    kernel.send_to(b"down", (client, 7)).unwrap();
    let frames = received(&mut core, &mut pool);
    let packet = frames[0].bytes();
    assert_eq!(&packet[42..], b"down");
    assert_eq!(udp_checksum(packet), 0, "{packet:02x?}");

    while core.statistics().completed == 0 {
        core.transmit(&mut pool, &mut Frames::new());
    }
    assert_eq!(
        pool.free() + outer.held() + core.held() + frames.len(),
        pool.total()
    );
    pair.gateway.enter(move || drop(veth));
}

#[test]
fn one_wake_sends_a_full_batch() {
    if !can_run("one_wake_sends_a_full_batch") {
        return;
    }
    let pair = Pair::new(1, 1_500);
    let (steering, _) = pair.gateway.enter(steer);
    let Bound {
        ports: [mut port],
        mut pool,
        ..
    } = pair.gateway.enter(|| open(&steering, 0));
    let client = pair.client.enter(|| {
        let client = UdpSocket::bind("10.77.0.1:0").unwrap();
        client
            .send_to(b"to be sent back in many copies", (GATEWAY, 500))
            .unwrap();
        client
    });
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut model = received(&mut port, &mut pool);
    turn_around(model[0].bytes_mut());
    let mut frames = Frames::new();
    while frames.room() > 0 {
        let mut copy = pool.take().unwrap();
        copy.set_len(model[0].len());
        copy.bytes_mut().copy_from_slice(model[0].bytes());
        frames.push(copy).unwrap();
    }
    model.take_front(1).for_each(|frame| pool.give(frame));
    assert_eq!(
        (port.transmit(&mut pool, &mut frames), port.in_flight()),
        (BATCH, BATCH)
    );
    port.wake();
    let arrived = (0..BATCH)
        .take_while(|_| client.recv(&mut [0; 64]).is_ok())
        .count();
    assert_eq!(arrived, BATCH);
    while port.in_flight() > 0 {
        port.transmit(&mut pool, &mut frames);
    }
    assert_eq!(port.statistics().completed, 64);
}

/// The frames of the first receipt that brings any, after sleeping until there are some.
fn received(port: &mut XdpPort, pool: &mut FramePool) -> Frames {
    let mut frames = Frames::new();
    let seconds = Timespec::try_from(PATIENCE).unwrap();
    while port.receive(pool, &mut frames) == 0 {
        let fd = port.fd().unwrap();
        let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&seconds)).unwrap();
        assert_eq!(ready, 1, "nothing was received");
    }
    frames
}

/// Ones' complement sum over pseudo-header and datagram, inverted: 0 if the checksum is right.
fn udp_checksum(packet: &[u8]) -> u16 {
    let (addresses, udp) = (&packet[26..34], &packet[34..]);
    let len = u32::try_from(udp.len()).unwrap();
    let words = addresses.chunks(2).chain(udp.chunks(2));
    let sum = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)))
        .sum::<u32>()
        + 17
        + len;
    let folded = (sum & 0xFFFF) + (sum >> 16);
    !u16::try_from((folded & 0xFFFF) + (folded >> 16)).unwrap()
}

/// Runs `work` on a thread of the gateway's that has no other capabilities than these.
fn with_capabilities<T: Send>(
    pair: &Pair,
    left: CapabilitySet,
    work: impl FnOnce() -> T + Send,
) -> T {
    pair.gateway.enter(|| {
        let sets = CapabilitySets {
            effective: left,
            permitted: left,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets).unwrap();
        work()
    })
}

#[test]
fn a_worker_binds_with_cap_net_raw_alone() {
    if !can_run("a_worker_binds_with_cap_net_raw_alone") {
        return;
    }
    let pair = Pair::new(1, 1_500);
    let (steering, _) = pair.gateway.enter(steer);
    let none = with_capabilities(&pair, CapabilitySet::empty(), || {
        let at = Endpoint {
            device: "gateway0",
            queue: 0,
        };
        bind(CoreId(0), FRAMES, [at]).map(|_| ()).unwrap_err()
    });
    assert!(matches!(none, BindError::NoPrivilege), "{none:?}");
    let mut workers = [with_capabilities(&pair, CapabilitySet::NET_RAW, || {
        open(&steering, 0)
    })];
    assert_eq!(while_echoing(&pair, &mut workers, || ping([64, 1_000])), 2);
    let refused = with_capabilities(&pair, CapabilitySet::NET_RAW, || {
        Steering::load().unwrap_err()
    });
    assert!(matches!(refused, XdpError::NoPrivilege), "{refused:?}");
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    if !can_run("what_cannot_be_is_refused_with_its_reason") {
        return;
    }
    let pair = Pair::new(1, 1_500);
    let (mut steering, _) = pair.gateway.enter(steer);
    let refused = pair.gateway.enter(|| {
        let at = |device, queue| bind(CoreId(0), FRAMES, [Endpoint { device, queue }]).unwrap_err();
        [at("none0", 0), at("gateway0", 7)]
    });
    assert!(
        matches!(&refused[0], BindError::NoDevice(device) if device == "none0"),
        "{refused:?}"
    );
    assert!(
        matches!(&refused[1], BindError::NoQueue(device, 7) if device == "gateway0"),
        "{refused:?}"
    );
    let again = pair.gateway.enter(|| {
        let mut second = crate::steer::load();
        [
            second.attach(Side::Outer, "gateway0").unwrap_err(),
            steering.attach(Side::Core, "none0").unwrap_err(),
        ]
    });
    assert!(
        matches!(&again[0], XdpError::DeviceBusy(device) if device == "gateway0"),
        "{again:?}"
    );
    assert!(
        matches!(&again[1], XdpError::NoDevice(device) if device == "none0"),
        "{again:?}"
    );
    assert!(
        steering.add_address(IpAddr::V4(GATEWAY)).is_ok(),
        "once more does no harm"
    );
}
