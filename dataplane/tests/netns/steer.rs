//! Ports steered to by the XDP program, and an echo behind them.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use culvert_dataplane::api::CoreId;
use culvert_dataplane::frame::{BATCH, Frames};
use culvert_dataplane::port::Port;
use culvert_dataplane::port::xdp::{Bound, XdpPort, bind};
use culvert_dataplane::ring::Endpoint;
use culvert_dataplane::xdp::{Attachment, Side, SocketMap, Steering};

use crate::harness::Pair;

/// The gateway's address, whose UDP 500 is steered.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// Frames of a worker in these tests; its one socket has rings of half as many.
pub(crate) const FRAMES: u32 = 1_024;
/// Long enough for a kernel under load, short of a test's patience.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// Programs and maps for [`GATEWAY`], attached to `gateway0`.
pub(crate) fn steer() -> (Steering, Attachment) {
    let mut steering = load();
    steering.add_address(IpAddr::V4(GATEWAY)).unwrap();
    let attachment = steering.attach(Side::Outer, "gateway0").unwrap();
    (steering, attachment)
}

/// Programs and maps, attached to nothing.
pub(crate) fn load() -> Steering {
    Steering::load().unwrap()
}

/// A worker on `queue` of `gateway0` alone.
pub(crate) fn open(steering: &Steering, queue: u32) -> Bound<1> {
    let owner = CoreId(u8::try_from(queue).unwrap());
    let at = Endpoint {
        device: "gateway0",
        queue,
    };
    let bound = bind(owner, FRAMES, [at]).unwrap();
    register(steering, Side::Outer, queue, &bound.ports[0]);
    bound
}

/// Puts a port's socket into the map, as the data plane does.
pub(crate) fn register(steering: &Steering, side: Side, queue: u32, port: &XdpPort) {
    let mut map = SocketMap::new(steering.sockets(side).unwrap()).unwrap();
    map.set(queue, port.fd().unwrap()).unwrap();
}

/// Swaps Ethernet, IPv4 and UDP source and destination; checksums stay right.
pub(crate) fn turn_around(packet: &mut [u8]) {
    let (ethernet, rest) = packet.split_at_mut(14);
    let (to, from) = ethernet[..12].split_at_mut(6);
    to.swap_with_slice(from);
    let (ip, udp) = rest.split_at_mut(20);
    let (from, to) = ip[12..20].split_at_mut(4);
    from.swap_with_slice(to);
    let (from, to) = udp[..4].split_at_mut(2);
    from.swap_with_slice(to);
}

/// Echoes until told to stop; every turn checks that no frame is lost.
fn echo(bound: &mut Bound<1>, stop: &AtomicBool) {
    let Bound {
        ports: [port],
        pool,
        ..
    } = bound;
    let mut frames = Frames::new();
    while !stop.load(Ordering::Relaxed) {
        let old = frames.len();
        port.receive(pool, &mut frames);
        frames[old..]
            .iter_mut()
            .for_each(|frame| turn_around(frame.bytes_mut()));
        port.transmit(pool, &mut frames);
        port.wake();
        assert_eq!(pool.free() + port.held() + frames.len(), pool.total());
    }
    frames.take_front(BATCH).for_each(|frame| pool.give(frame));
}

/// Runs `client` in the client's namespace while each of the gateway's workers echoes.
pub(crate) fn while_echoing<T: Send>(
    pair: &Pair,
    workers: &mut [Bound<1>],
    client: impl FnOnce() -> T + Send,
) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let echoes: Vec<_> = workers
            .iter_mut()
            .map(|bound| scope.spawn(|| echo(bound, &stop)))
            .collect();
        let stopping = Stopping(&stop);
        let result = pair.client.enter(client);
        drop(stopping);
        echoes.into_iter().for_each(|echo| echo.join().unwrap());
        result
    })
}

/// Stops the echoes on drop, so that a client that panics ends the test.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Bytes that tell where they stand.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| at.to_le_bytes()[0]).collect()
}

/// Sends a datagram of each length to UDP 500 and says of how many the same bytes came back before the first that did not.
pub(crate) fn ping(lens: impl IntoIterator<Item = usize>) -> usize {
    ping_within(PATIENCE, lens)
}

/// As [`ping`], but waits only so long for each.
pub(crate) fn ping_within(patience: Duration, lens: impl IntoIterator<Item = usize>) -> usize {
    let socket = UdpSocket::bind("10.77.0.1:0").unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    let mut buffer = [0; 9_000];
    let came_back = |len: &usize| {
        let payload = pattern(*len);
        socket.send_to(&payload, (GATEWAY, 500)).unwrap();
        socket
            .recv(&mut buffer)
            .is_ok_and(|len| buffer[..len] == payload)
    };
    lens.into_iter().take_while(came_back).count()
}
