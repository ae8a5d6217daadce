//! Messages of xl2tpd 1.3.18 drive the server through a whole connection.

use culvert_wire::id::{SessionId, TunnelId};
use culvert_wire::l2tp::avp::AttributeType;
use culvert_wire::l2tp::message::MessageType;

use super::*;
use crate::l2tp::attributes::Attributes;
use crate::l2tp::{Authentication, Cause};
use crate::rows::{KeyMaterial, Sequencing};

/// Captured in `direct-ss-gcm`, frames 10, 12, 14, 17 and 55.
const PLAIN: [&str; 5] = [
    "c8020063000000000000000080080000000000018008000000020100800a0000000300000003800a00000004\
     000000000008000000060690800800000007633100130000000878656c6572616e63652e636f6d8008000000\
     09329580080000000a0004",
    "c802001428750000000100018008000000000003",
    "c80200302875000000020001800800000000000a80080000000e9da6800a0000000f00000001800a0000001200000000",
    "c80200322875e0d500030002800800000000000c800a0000001800000000800a0000001300000001000a0000002600000000",
    "c802002e28750000000400028008000000000004800800000009329580120000000100010000476f6f6462796521",
];

/// Captured in `l2tp-challenge-hidden`, frames 10, 13, 15, 18 and 56: with challenges and random vectors.
const CHALLENGED: [&str; 5] = [
    "c802008f000000000000000080080000000000018016000000249a88efbd2d81dc29c6ec44e199053a9e8008\
     000000020100800a0000000300000003800a0000000400000000000800000006069080080000000763310013\
     0000000878656c6572616e63652e636f6d8008000000091ec580080000000a000480160000000bd85bb34ffa\
     a5dbf8f7443d0d650540b4",
    "c802002a53bf00000001000180080000000000038016000000246607db0f9b422f441d7eac2adad3c80c",
    "c802004653bf000000020001800800000000000a801600000024231cdc83bd0d37f94870d4197698956f8008\
     0000000eb3c5800a0000000f00000001800a0000001200000000",
    "c802004853bfa5e000030002800800000000000c801600000024cd7a851bec4ab4ee0f7c59285c39c00c800a\
     0000001800000000800a0000001300000001000a0000002600000000",
    "c802004453bf00000004000280080000000000048016000000240145ae3b23b5729973088f77e647d39d8008\
     000000091ec580120000000100010000476f6f6462796521",
];

/// A captured message with our ids in its header.
fn to(hex: &str, tunnel: TunnelId, session: SessionId) -> Vec<u8> {
    let mut bytes = hex::decode(hex).unwrap();
    bytes[4..6].copy_from_slice(&tunnel.0.to_be_bytes());
    if bytes[6..8] != [0, 0] {
        bytes[6..8].copy_from_slice(&session.0.to_be_bytes());
    }
    bytes
}

fn attribute(bytes: &[u8], wanted: AttributeType) -> Option<Vec<u8>> {
    let body = ControlMessage::parse(bytes).unwrap().body().unwrap();
    let attributes = Attributes::read(body.avps, None).unwrap();
    attributes.bytes(wanted).map(<[u8]>::to_vec)
}

fn walk_through(config: Config, messages: [&str; 5]) -> Vec<u8> {
    let mut server = Server::new(config);
    let [sccrq, scccn, icrq, iccn, stop] = messages;

    let outputs = server.receive(&hex::decode(sccrq).unwrap());
    assert_eq!(kinds(&outputs), [MessageType::SCCRP]);
    let sccrp = sent(&outputs)[0].to_vec();
    let id = attribute(&sccrp, AttributeType::ASSIGNED_TUNNEL_ID).unwrap();
    let tunnel = TunnelId(u16::from_be_bytes(id.try_into().unwrap()));
    assert_eq!(described(&sccrp).0.nr, 1);

    let outputs = server.receive(&to(scccn, tunnel, SessionId(0)));
    assert_eq!(kinds(&outputs), [ZLB]);
    let [Output::TunnelOpened { host_name, .. }] = events(&outputs)[..] else {
        panic!("{outputs:?}");
    };
    assert_eq!(host_name, b"c1");

    let outputs = server.receive(&to(icrq, tunnel, SessionId(0)));
    // The session is there before the peer hears of it.
    let [
        Output::SessionOpened(opened),
        Output::Transmit { bytes, .. },
    ] = &outputs[..]
    else {
        panic!("{outputs:?}");
    };
    assert_eq!(described(bytes).1, MessageType::ICRP);
    assert_eq!(opened.local_tunnel, tunnel);
    assert_eq!(opened.call_serial_number, 1);
    assert_eq!(described(bytes).0.session, opened.peer_session);
    let (session, key) = (opened.local_session, opened.session);

    let outputs = server.receive(&to(iccn, tunnel, session));
    assert_eq!(kinds(&outputs), [ZLB]);
    let [Output::SessionConnected(connected)] = events(&outputs)[..] else {
        panic!("{outputs:?}");
    };
    assert_eq!(connected.session, key);
    assert_eq!(connected.sequencing, Sequencing::Off);
    assert_eq!(connected.proxy_lcp, None);

    let outputs = server.receive(&to(stop, tunnel, SessionId(0)));
    assert_eq!(kinds(&outputs), [ZLB]);
    let [
        Output::SessionClosed {
            session,
            cause: Cause::Peer(1),
        },
        Output::TunnelClosed {
            cause: Cause::Peer(1),
            ..
        },
    ] = events(&outputs)[..]
    else {
        panic!("{outputs:?}");
    };
    assert_eq!(*session, key);

    // The peer's repeats are acknowledged for a whole cycle of retransmission, then nothing is left.
    server.wait(seconds(30));
    assert_eq!(
        kinds(&server.receive(&to(stop, tunnel, SessionId(0)))),
        [ZLB]
    );
    server.wait(seconds(92));
    assert!(server.lns.is_empty());
    sccrp
}

#[test]
fn xl2tpd_connects_and_leaves() {
    let sccrp = walk_through(Config::default(), PLAIN);
    assert_eq!(
        attribute(&sccrp, AttributeType::HOST_NAME).unwrap(),
        b"culvert"
    );
    assert_eq!(
        attribute(&sccrp, AttributeType::RECEIVE_WINDOW_SIZE).unwrap(),
        [0, 8]
    );
    assert_eq!(attribute(&sccrp, AttributeType::CHALLENGE), None);
}

#[test]
fn xl2tpd_gets_the_proof_it_asks_for() {
    let secret = KeyMaterial::new(b"tunnelsecret".to_vec().into());
    let config = Config {
        authentication: Authentication::Answer(secret),
        ..Config::default()
    };
    let sccrp = walk_through(config, CHALLENGED);
    // The same response that xl2tpd's own server sent in frame 12.
    let response = attribute(&sccrp, AttributeType::CHALLENGE_RESPONSE).unwrap();
    assert_eq!(hex::encode(response), "c93833fc35d5509beaac8c499ae6ebd6");
}

#[test]
fn a_challenge_without_a_secret_is_refused_statelessly() {
    let mut server = Server::new(Config::default());
    let outputs = server.receive(&hex::decode(CHALLENGED[0]).unwrap());
    assert_eq!(kinds(&outputs), [MessageType::STOP_CCN]);
    assert_eq!(client::result(sent(&outputs)[0]).0, 4);
    assert!(server.lns.is_empty());
}

#[test]
fn every_truncation_and_bit_flip_of_a_captured_message_is_survived() {
    for hex in PLAIN.into_iter().chain(CHALLENGED) {
        let bytes = hex::decode(hex).unwrap();
        let mut server = Server::new(Config::default());
        let mut hear = |bytes: &[u8]| {
            let outputs = server.receive_from(clear_peer(), bytes);
            assert!(sent(&outputs).len() <= 1);
            assert!(sent(&outputs).iter().all(|sent| sent.len() <= bytes.len()));
            assert!(events(&outputs).is_empty());
            server.wait(seconds(11));
            assert!(server.lns.is_empty(), "{}", hex::encode(bytes));
        };
        (0..bytes.len()).for_each(|len| hear(&bytes[..len]));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            hear(&flipped);
        }
    }
}

/// The id that an SCCRP or ICRP assigns.
fn assigned(outputs: &[Output], wanted: AttributeType) -> Option<u16> {
    let bytes = attribute(sent(outputs)[0], wanted)?;
    Some(u16::from_be_bytes(bytes.try_into().unwrap()))
}

#[test]
fn changed_bits_of_any_message_of_a_connection_leave_others_and_nothing_behind() {
    let healthy = Peer::Set(SetId { row: 1, ..SET });
    let [sccrq, ..] = PLAIN;
    let mut server = Server::new(Config::default());
    server.receive_from(healthy, &hex::decode(sccrq).unwrap());
    let (mut tunnel, mut session) = (TunnelId(0), SessionId(0));
    for hex in PLAIN {
        let bytes = to(hex, tunnel, session);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut lns = server.lns.clone();
            let before = lns.session_count();
            let mut rng = ChaCha8Rng::seed_from_u64(7);
            lns.handle_message(server.now, &mut rng, PEER, PORTS, &flipped);
            assert!(lns.session_count() <= before + 1);
            lns.close_set(server.now, SET);
            // The healthy peer's tunnel is all that is left.
            assert_eq!(
                (lns.tunnel_count(), lns.session_count()),
                (1, 0),
                "bit {bit} of {hex}"
            );
        }
        let outputs = server.receive(&bytes);
        if tunnel == TunnelId(0) {
            tunnel = TunnelId(assigned(&outputs, AttributeType::ASSIGNED_TUNNEL_ID).unwrap());
        } else if kinds(&outputs) == [MessageType::ICRP] {
            session = SessionId(assigned(&outputs, AttributeType::ASSIGNED_SESSION_ID).unwrap());
        }
    }
    assert_eq!(server.lns.session_count(), 0);
}
