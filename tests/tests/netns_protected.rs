//! What the gateway keeps from the kernel, what it leaves to it, and L2TP without IPsec.

use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

use culvert_bench::demo::network::{GATEWAY, Network};
use culvert_tests::netns::gateway::{Gateway, Plane, Setup, signal};
use culvert_tests::netns::raw::{STRANGER, Stranger};
use culvert_tests::netns::{PATIENCE, inside, is_possible, say, serialized, until};
use culvert_wire::id::{SessionId, TunnelId};
use culvert_wire::l2tp::avp::{self, AttributeType, Need};
use culvert_wire::l2tp::message::{self, ControlHeader, ControlMessage, MessageType};
use rustix::process::Signal;

#[test]
fn the_kernel_never_answers_for_a_plane_that_is_down_and_other_traffic_is_left_alone() {
    const DEATHS: usize = 3;
    let _turn = serialized();
    if !is_possible() {
        return;
    }
    let network = Network::create().expect("namespaces can be made");
    // Otherwise the kernel tells only one in a second that a port is not reached.
    let unbounded = inside(&network.gateway, || {
        fs::write("/proc/sys/net/ipv4/icmp_ratelimit", "0")
    });
    unbounded.expect("root may set it");
    let mut gateway = Gateway::start(&network, &Setup::default());
    let mut stranger = Stranger::new(&network);
    stranger.turn();

    for plane in [Plane::Control, Plane::Dataplane] {
        let mut turns_down = 0;
        for _ in 0..DEATHS {
            signal(gateway.wait_for(plane), Signal::KILL);
            until("plane is back", || {
                stranger.turn();
                let is_serving = gateway.serving(plane).is_some();
                turns_down += usize::from(!is_serving);
                (is_serving && turns_down > 0).then_some(())
            });
        }
        say(&format!("{plane:?}: {turns_down} turns while it was down"));
        assert!(turns_down >= DEATHS, "{turns_down} turns while it was down");
        assert_eq!(stranger.unreachables(), [0; 0], "while {plane:?} was down");
    }
    assert_eq!(gateway.ended(), None);

    gateway.terminate();
    let status = until("end after SIGTERM", || {
        stranger.turn();
        gateway.ended()
    });
    assert!(status.success(), "{status}\n{}", gateway.log());
    // Now the kernel does answer, which shows that it would have been heard before.
    stranger.turn();
    stranger.turn();
    assert!(!stranger.unreachables().is_empty());
}

#[test]
fn l2tp_in_the_clear_is_counted_and_gets_nothing_back() {
    const REQUESTS: u64 = 3;
    let _turn = serialized();
    if !is_possible() {
        return;
    }
    let network = Network::create().expect("namespaces can be made");
    let gateway = Gateway::start(&network, &Setup::default());
    let socket = clear_socket(&network);

    for _ in 0..REQUESTS {
        socket.send(&start_request()).expect("it is sent");
    }

    until("requests are counted", || {
        let packets = gateway.packets();
        (packets.get("outer.dropped.clear_refused") == Some(&REQUESTS)).then_some(())
    });
    let answer = socket.recv(&mut [0; 2_000]);
    assert_eq!(
        answer.map_err(|error| error.kind()),
        Err(std::io::ErrorKind::WouldBlock)
    );
    let packets = gateway.packets();
    assert_eq!(
        packets.get("outer.punted.clear_l2tp").copied().unwrap_or(0),
        0
    );
}

#[test]
fn l2tp_in_the_clear_is_answered_where_it_is_allowed() {
    let _turn = serialized();
    if !is_possible() {
        return;
    }
    let network = Network::create().expect("namespaces can be made");
    let setup = Setup {
        tables: "[[listen]]\nallow_clear_l2tp = true\n",
        ..Setup::default()
    };
    let _gateway = Gateway::start(&network, &setup);
    let socket = clear_socket(&network);

    let mut answer = [0; 2_000];
    let len = until("answer", || {
        socket.send(&start_request()).ok()?;
        socket.recv(&mut answer).ok()
    });

    let message = ControlMessage::parse(&answer[..len]).expect("it parses");
    assert_eq!(message.header.tunnel, TunnelId(TUNNEL));
    let body = message.body().expect("it is no ZLB");
    assert_eq!(body.kind, MessageType::SCCRP);
}

/// The id that we assign to the tunnel.
const TUNNEL: u16 = 0x4D2A;

fn clear_socket(network: &Network) -> UdpSocket {
    const PORT: u16 = 1701;
    let socket = inside(&network.clients, || UdpSocket::bind((STRANGER, PORT)));
    let socket = socket.expect("the port is free");
    socket.connect((GATEWAY, PORT)).expect("there is a route");
    let wait = PATIENCE.min(Duration::from_millis(200));
    socket.set_read_timeout(Some(wait)).expect("a time is set");
    socket
}

fn start_request() -> Vec<u8> {
    let header = ControlHeader {
        tunnel: TunnelId(0),
        session: SessionId(0),
        ns: 0,
        nr: 0,
    };
    let mut bytes = vec![0; 200];
    let len = message::emit(&mut bytes, header, MessageType::SCCRQ, |writer| {
        let need = Need::Mandatory;
        avp::put(writer, need, AttributeType::PROTOCOL_VERSION, &[1, 0])?;
        avp::put(writer, need, AttributeType::HOST_NAME, b"stranger")?;
        avp::put_u32(writer, need, AttributeType::FRAMING_CAPABILITIES, 3)?;
        avp::put_u16(writer, need, AttributeType::ASSIGNED_TUNNEL_ID, TUNNEL)
    });
    bytes.truncate(len.expect("it fits"));
    bytes
}
