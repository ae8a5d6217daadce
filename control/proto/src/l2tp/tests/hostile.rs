//! Peers that mean harm: amplification, floods, malformed attributes.

use culvert_wire::l2tp::avp::{self, AttributeType, ErrorCode, Need};
use culvert_wire::l2tp::message::MessageType;
use rand_chacha::rand_core::Rng;

use super::client::{Client, result};
use super::*;

#[test]
fn a_peer_in_the_clear_gets_one_answer_no_longer_than_its_request() {
    let mut server = Server::new(Config {
        host_name: "a-very-long-name-for-a-server.example.net".into(),
        ..Config::default()
    });
    let request = Client::new(500, 600).message(MessageType::SCCRQ);
    for _ in 0..3 {
        let outputs = server.receive_from(clear_peer(), &request);
        let [reply] = sent(&outputs)[..] else {
            panic!("{outputs:?}");
        };
        assert!(reply.len() <= request.len());
        assert_eq!(described(reply).1, MessageType::SCCRP);
    }
    // No timer sends anything, and the tunnel is forgotten.
    let outputs = server.wait(seconds(100));
    assert!(sent(&outputs).is_empty());
    assert!(server.lns.is_empty());
}

#[test]
fn the_shortest_legal_request_in_the_clear_is_answered() {
    let mut server = Server::new(Config::default());
    let mut client = Client::new(500, 600);
    let request = client.message_with(MessageType::SCCRQ, |writer| {
        let mut put = |attribute, value: &[u8]| {
            avp::put(writer, Need::Mandatory, attribute, value).unwrap();
        };
        put(AttributeType::PROTOCOL_VERSION, &[1, 0]);
        put(AttributeType::HOST_NAME, b"x");
        put(AttributeType::FRAMING_CAPABILITIES, &[0, 0, 0, 3]);
        put(AttributeType::ASSIGNED_TUNNEL_ID, &[0, 9]);
    });
    let outputs = server.receive_from(clear_peer(), &request);
    let [reply] = sent(&outputs)[..] else {
        panic!("{outputs:?}");
    };
    assert_eq!(reply.len(), request.len());
}

#[test]
fn unproved_tunnels_are_bounded_and_leave_nothing() {
    let mut server = Server::new(Config {
        unproved_tunnels: 10,
        ..Config::default()
    });
    for port in 1..=1_000 {
        let Peer::Clear { core, mut path } = clear_peer() else {
            panic!("a clear peer");
        };
        path.remote.set_port(port);
        let request = Client::new(500, 600).message(MessageType::SCCRQ);
        server.receive_from(Peer::Clear { core, path }, &request);
        assert!(server.lns.tunnel_count() <= 10);
    }
    server.wait(seconds(11));
    assert!(server.lns.is_empty());
}

#[test]
fn nothing_is_kept_for_a_peer_that_has_not_proved_itself() {
    let mut server = Server::new(Config::default());
    let mut client = Client::new(500, 600);
    for reply in sent(&server.receive_from(clear_peer(), &client.message(MessageType::SCCRQ))) {
        client.take(reply);
    }
    let scccn = client.message(MessageType::SCCCN);
    let early = client.message(MessageType::ICRQ);
    let outputs = server.receive_from(clear_peer(), &early);
    assert_eq!(outputs, [Output::Note(Note::OutsideWindow)]);
    let outputs = server.receive_from(clear_peer(), &scccn);
    assert_eq!(kinds(&outputs), [ZLB]);
    let outputs = server.receive_from(clear_peer(), &early);
    assert_eq!(kinds(&outputs), [MessageType::ICRP]);
}

#[test]
fn hellos_before_the_first_request_are_ignored() {
    let mut server = Server::new(Config::default());
    for _ in 0..11 {
        let outputs = server.receive(&Client::new(500, 600).message(MessageType::HELLO));
        assert_eq!(notes(&outputs), [Note::Connectionless(MessageType::HELLO)]);
        assert!(sent(&outputs).is_empty());
    }
    assert!(server.lns.is_empty());
}

#[test]
fn a_request_that_lacks_something_is_refused_statelessly() {
    let whole = Client::new(500, 600).message(MessageType::SCCRQ);
    let message = ControlMessage::parse(&whole).unwrap();
    let all: Vec<_> = avp::Avps::new(message.avps).map(Result::unwrap).collect();
    let required = [
        AttributeType::PROTOCOL_VERSION,
        AttributeType::HOST_NAME,
        AttributeType::FRAMING_CAPABILITIES,
        AttributeType::ASSIGNED_TUNNEL_ID,
    ];
    for missing in required {
        let mut server = Server::new(Config::default());
        let bytes = Client::new(500, 600).message_with(MessageType::SCCRQ, |writer| {
            for avp in &all[1..] {
                if avp.attribute != missing {
                    avp::put(writer, Need::Mandatory, avp.attribute, avp.value).unwrap();
                }
            }
        });
        let outputs = server.receive(&bytes);
        // Without a tunnel id there is nowhere to send the refusal.
        let answered = missing != AttributeType::ASSIGNED_TUNNEL_ID;
        assert_eq!(sent(&outputs).len(), usize::from(answered));
        if answered {
            assert_eq!(result(sent(&outputs)[0]), (2, ErrorCode::VALUE));
        }
        assert!(server.lns.is_empty());
    }
}

#[test]
fn another_protocol_version_is_refused_with_ours() {
    let mut server = Server::new(Config::default());
    let mut bytes = Client::new(500, 600).message(MessageType::SCCRQ);
    bytes[26] = 2;
    let outputs = server.receive(&bytes);
    assert_eq!(result(sent(&outputs)[0]), (5, ErrorCode(0x0100)));
}

#[test]
fn ten_thousand_avps_are_refused_by_the_first_that_comes_twice() {
    let mut server = Server::new(Config::default());
    let mut bytes = vec![0xC8, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend([0x80, 8, 0, 0, 0, 0, 0, 1]);
    for _ in 0..10_000 {
        bytes.extend([0, 6, 0, 0, 0, 8]);
    }
    let len = u16::try_from(bytes.len()).unwrap();
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    let outputs = server.receive(&bytes);
    assert_eq!(notes(&outputs), [Note::Refused(MessageType::SCCRQ)]);
    assert!(server.lns.is_empty());
}

#[test]
fn hostile_avp_lengths_end_only_their_tunnel() {
    for first in [[0x80, 0], [0x80, 5], [0x83, 0xFF], [0x80, 9]] {
        let mut server = Server::new(Config::default());
        let mut client = Client::new(500, 600);
        for kind in [MessageType::SCCRQ, MessageType::SCCCN] {
            for reply in sent(&server.receive(&client.message(kind))) {
                client.take(reply);
            }
        }
        let bytes = client.message_with(MessageType::ICRQ, |writer| {
            avp::put_u16(
                writer,
                Need::Mandatory,
                AttributeType::ASSIGNED_SESSION_ID,
                6,
            )
            .unwrap();
            writer.put(&first).unwrap();
            writer.put(&[0, 0, 0, 15, 0, 0]).unwrap();
        });
        let outputs = server.receive(&bytes);
        assert_eq!(kinds(&outputs), [MessageType::CDN]);
        assert_eq!(result(sent(&outputs)[0]), (2, ErrorCode::LENGTH));
    }
}

#[test]
fn tunnel_ids_are_not_given_out_again_for_a_minute() {
    let mut server = Server::new(Config::default());
    let mut seen = std::collections::BTreeMap::new();
    for round in 0..2_000_u64 {
        let mut client = Client::new(500, 600);
        for reply in sent(&server.receive(&client.message(MessageType::SCCRQ))) {
            client.take(reply);
        }
        let last = seen.insert(client.server_tunnel, server.now);
        let rested = last.is_none_or(|last| server.now.since(last) >= seconds(60));
        assert!(rested, "round {round}");
        server.receive(&client.message(MessageType::STOP_CCN));
        server.wait(Duration::from_millis(500));
    }
    let bits = seen
        .keys()
        .fold((0, 0), |(ones, zeros), id| (ones | id.0, zeros | !id.0));
    assert_eq!(bits, (0xFFFF, 0xFFFF));
}

#[test]
fn random_messages_inside_a_tunnel_change_nothing_for_others() {
    let mut server = Server::new(Config::default());
    let mut client = Client::new(500, 600);
    let healthy = Peer::Set(SetId { row: 1, ..SET });
    for kind in [
        MessageType::SCCRQ,
        MessageType::SCCCN,
        MessageType::ICRQ,
        MessageType::ICCN,
    ] {
        for reply in sent(&server.receive_from(healthy, &client.message(kind))) {
            client.take(reply);
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for _ in 0..20_000 {
        let mut bytes = [0; 64];
        rng.fill_bytes(&mut bytes);
        bytes[..4].copy_from_slice(&[0xC8, 2, 0, 64]);
        bytes[12..18].copy_from_slice(&[0x80, 8, 0, 0, 0, 0]);
        bytes[18] = 0;
        bytes[19] %= 17;
        if bytes[20] < 128 {
            bytes[4..6].copy_from_slice(&[0, 0]);
        }
        server
            .lns
            .handle_message(server.now, &mut server.rng, PEER, PORTS, &bytes);
        server.outputs();
    }
    assert_eq!(server.lns.session_count(), 1);
    let outputs = server.receive_from(healthy, &client.message(MessageType::HELLO));
    assert_eq!(kinds(&outputs), [ZLB]);
}
