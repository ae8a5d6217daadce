//! Binding and attaching again: after a drop, after a kill, and what happens in between.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use culvert_dataplane::api::CoreId;
use culvert_dataplane::frame::Frames;
use culvert_dataplane::port::Port;
use culvert_dataplane::port::xdp::{Bound, bind};
use culvert_dataplane::ring::{BindError, Endpoint};
use culvert_dataplane::xdp::Attachment;

use crate::harness::{Pair, can_run, enter_by_name};
use crate::steer::{FRAMES, GATEWAY, open, ping, steer, while_echoing};

#[test]
fn a_dropped_worker_is_bound_again_at_once() {
    if !can_run("a_dropped_worker_is_bound_again_at_once") {
        return;
    }
    let pair = Pair::new(1, 1_500);
    let (steering, _) = pair.gateway.enter(steer);
    for _ in 0..5 {
        let mut workers = [pair.gateway.enter(|| open(&steering, 0))];
        assert_eq!(while_echoing(&pair, &mut workers, || ping([64, 1_000])), 2);
    }
}

#[test]
fn a_frame_outlives_its_ports_and_pool() {
    if !can_run("a_frame_outlives_its_ports_and_pool") {
        return;
    }
    let pair = Pair::new(1, 1_500);
    let (steering, _) = pair.gateway.enter(steer);
    let Bound {
        ports, mut pool, ..
    } = pair.gateway.enter(|| open(&steering, 0));
    let mut frame = pool.take().unwrap();
    drop((ports, pool));
    frame.chunk_mut().0.fill(0x5A);
    frame.set_len(1_000);
    assert!(frame.bytes().iter().all(|byte| *byte == 0x5A));
}

#[test]
fn a_queue_that_stays_taken_is_reported() {
    if !can_run("a_queue_that_stays_taken_is_reported") {
        return;
    }
    let pair = Pair::new(1, 1_500);
    let (steering, _) = pair.gateway.enter(steer);
    let _holder = pair.gateway.enter(|| open(&steering, 0));
    let at = Endpoint {
        device: "gateway0",
        queue: 0,
    };
    let refused = pair
        .gateway
        .enter(|| bind(CoreId(1), FRAMES, [at]))
        .unwrap_err();
    assert!(
        matches!(&refused, BindError::QueueBusy(device, 0) if device == "gateway0"),
        "{refused:?}"
    );
}

#[test]
fn without_a_data_plane_packets_are_dropped_and_never_reach_the_kernel() {
    if !can_run("without_a_data_plane_packets_are_dropped_and_never_reach_the_kernel") {
        return;
    }
    let pair = Pair::new(1, 1_500);
    let kernel = pair
        .gateway
        .enter(|| UdpSocket::bind((GATEWAY, 500)).unwrap());
    kernel
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let (steering, _) = pair.gateway.enter(steer);
    drop(pair.gateway.enter(|| open(&steering, 0)));
    let send = || {
        UdpSocket::bind("10.77.0.1:0")
            .unwrap()
            .send_to(b"hello", (GATEWAY, 500))
            .unwrap()
    };
    pair.client.enter(send);
    let heard = kernel.recv(&mut [0; 64]).map_err(|error| error.kind());
    assert_eq!(heard, Err(ErrorKind::WouldBlock));
    drop(steering);
    pair.client.enter(send);
    assert_eq!(
        kernel.recv(&mut [0; 64]).unwrap(),
        5,
        "detached, the kernel hears again"
    );
}

/// The environment variable that makes this test binary a gateway to be killed; its value is the namespace.
const CHILD: &str = "CULVERT_TEST_GATEWAY";

/// Starts this binary as a gateway process in `pair`'s gateway namespace, and waits until its rings are bound.
fn gateway_process(pair: &Pair) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "restart::a_gateway_to_be_killed", "--nocapture"])
        .env(CHILD, pair.gateway.name())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_ready = lines
        .map_while(Result::ok)
        .any(|line| line.contains("bound"));
    assert!(is_ready, "the gateway process ended early");
    child
}

/// Not a test of its own: the process that [`gateway_process`] starts. It ends with its standard input.
#[test]
fn a_gateway_to_be_killed() {
    let Some(namespace) = std::env::var_os(CHILD) else {
        return;
    };
    enter_by_name(namespace.to_str().unwrap());
    let (steering, _) = steer();
    let Bound {
        ports: [mut port],
        mut pool,
        ..
    } = open(&steering, 0);
    port.receive(&mut pool, &mut Frames::new());
    println!("bound");
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_new_gateway_takes_over_from_a_killed_one() {
    if !can_run("a_new_gateway_takes_over_from_a_killed_one") {
        return;
    }
    let pair = Pair::new(1, 1_500);
    for _ in 0..3 {
        let mut killed = gateway_process(&pair);
        killed.kill().unwrap();
        killed.wait().unwrap();
        let (steering, attachment) = pair.gateway.enter(steer);
        assert_eq!(attachment, Attachment::Native);
        let mut workers = [pair.gateway.enter(|| open(&steering, 0))];
        assert_eq!(while_echoing(&pair, &mut workers, || ping([64, 1_000])), 2);
    }
}
