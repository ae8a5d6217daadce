//! The state tables of RFC 2661 §7.2.1 and §7.4.2, as far as they concern a server that is called.

use std::collections::VecDeque;

use culvert_wire::id::SessionId;
use culvert_wire::l2tp::avp::{self, AttributeType, ErrorCode, Need};
use culvert_wire::l2tp::message::MessageType;

use super::client::{Client, result};
use super::*;
use crate::l2tp::{Authentication, Cause, SessionKey, TunnelKey};
use crate::rows::KeyMaterial;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    ExpectScccn,
    TunnelUp,
    ExpectIccn,
    SessionUp,
}

fn at(stage: Stage) -> (Server, Client) {
    with_config(stage, Config::default())
}

fn with_config(stage: Stage, config: Config) -> (Server, Client) {
    let mut server = Server::new(config);
    let mut client = Client::new(500, 600);
    let steps = [
        (Stage::ExpectScccn, MessageType::SCCRQ),
        (Stage::TunnelUp, MessageType::SCCCN),
        (Stage::ExpectIccn, MessageType::ICRQ),
        (Stage::SessionUp, MessageType::ICCN),
    ];
    for (_, kind) in steps.into_iter().filter(|&(reached, _)| reached <= stage) {
        let bytes = client.message(kind);
        for reply in sent(&server.receive(&bytes)) {
            client.take(reply);
        }
    }
    (server, client)
}

/// The reply to `kind` at `stage`, with its result code if it has one, and how many sessions and tunnels closed.
fn reply(stage: Stage, kind: MessageType) -> (MessageType, u16, usize) {
    let (mut server, mut client) = at(stage);
    let outputs = server.receive(&client.message(kind));
    let closed = events(&outputs)
        .iter()
        .filter(|event| {
            matches!(
                event,
                Output::SessionClosed { .. } | Output::TunnelClosed { .. }
            )
        })
        .count();
    let [bytes] = sent(&outputs)[..] else {
        panic!("{stage:?} {kind:?}: {outputs:?}");
    };
    let (header, answer) = described(bytes);
    assert_eq!(header.nr, client.ns, "everything is acknowledged");
    let has_result = [MessageType::STOP_CCN, MessageType::CDN].contains(&answer);
    (answer, if has_result { result(bytes).0 } else { 0 }, closed)
}

#[test]
fn each_message_in_each_state_does_what_the_rfc_says() {
    use MessageType as M;
    let stop = |closed| (M::STOP_CCN, 7, closed);
    for (kind, expected) in [
        (M::SCCRP, [stop(0), stop(1), stop(2), stop(2)]),
        (M::SCCCN, [(ZLB, 0, 0), stop(1), stop(2), stop(2)]),
        (
            M::STOP_CCN,
            [(ZLB, 0, 0), (ZLB, 0, 1), (ZLB, 0, 2), (ZLB, 0, 2)],
        ),
        (
            M::HELLO,
            [(ZLB, 0, 0), (ZLB, 0, 0), (ZLB, 0, 0), (ZLB, 0, 0)],
        ),
        (M::OCRP, [stop(0), stop(1), stop(2), stop(2)]),
        (M::OCCN, [stop(0), stop(1), stop(2), stop(2)]),
        // A second ICRQ gives the session's id out again and so replaces it.
        (
            M::ICRQ,
            [stop(0), (M::ICRP, 0, 0), (M::ICRP, 0, 1), (M::ICRP, 0, 1)],
        ),
        (M::ICRP, [stop(0), stop(1), stop(2), stop(2)]),
        (M::ICCN, [stop(0), (ZLB, 0, 0), (ZLB, 0, 0), (M::CDN, 2, 1)]),
        (M::CDN, [stop(0), (ZLB, 0, 0), (ZLB, 0, 1), (ZLB, 0, 1)]),
        (M::WEN, [stop(0), (ZLB, 0, 0), (ZLB, 0, 0), (ZLB, 0, 0)]),
        (M::SLI, [stop(0), (ZLB, 0, 0), (ZLB, 0, 0), (ZLB, 0, 0)]),
        (MessageType(99), {
            let unknown = |closed| (M::STOP_CCN, 2, closed);
            [unknown(0), unknown(1), unknown(2), unknown(2)]
        }),
    ] {
        let stages = [
            Stage::ExpectScccn,
            Stage::TunnelUp,
            Stage::ExpectIccn,
            Stage::SessionUp,
        ];
        for (stage, expected) in stages.into_iter().zip(expected) {
            assert_eq!(reply(stage, kind), expected, "{kind:?} at {stage:?}");
        }
    }
}

#[test]
fn an_unknown_message_that_is_not_mandatory_is_acknowledged_and_ignored() {
    let (mut server, mut client) = at(Stage::SessionUp);
    let mut bytes = client.message(MessageType(99));
    bytes[12] &= 0x7F;
    let outputs = server.receive(&bytes);
    assert_eq!(kinds(&outputs), [ZLB]);
    assert!(events(&outputs).is_empty());
}

#[test]
fn an_unknown_mandatory_avp_ends_only_what_it_belongs_to() {
    for (stage, kind, answer) in [
        (
            Stage::ExpectScccn,
            MessageType::SCCCN,
            MessageType::STOP_CCN,
        ),
        (Stage::TunnelUp, MessageType::HELLO, MessageType::STOP_CCN),
        (Stage::ExpectIccn, MessageType::ICCN, MessageType::CDN),
    ] {
        let (mut server, mut client) = at(stage);
        let bytes = client.message_with(kind, |writer| {
            avp::put(writer, Need::Mandatory, AttributeType(99), &[]).unwrap();
        });
        let outputs = server.receive(&bytes);
        assert_eq!(kinds(&outputs), [answer]);
        let expected = (2, ErrorCode::UNKNOWN_MANDATORY);
        assert_eq!(result(sent(&outputs)[0]), expected);
        let tunnel_closed = events(&outputs)
            .iter()
            .any(|event| matches!(event, Output::TunnelClosed { .. }));
        assert_eq!(tunnel_closed, kind == MessageType::HELLO);
    }
}

#[test]
fn a_call_request_with_an_unknown_mandatory_avp_is_refused_alone() {
    let (mut server, mut client) = at(Stage::TunnelUp);
    let bytes = client.message_with(MessageType::ICRQ, |writer| {
        avp::put_u16(
            writer,
            Need::Mandatory,
            AttributeType::ASSIGNED_SESSION_ID,
            600,
        )
        .unwrap();
        avp::put(writer, Need::Mandatory, AttributeType(99), &[]).unwrap();
    });
    let outputs = server.receive(&bytes);
    let [(header, MessageType::CDN)] = messages(&outputs)[..] else {
        panic!("{outputs:?}");
    };
    assert_eq!(header.session, SessionId(600));
    assert!(events(&outputs).is_empty());
    for reply in sent(&outputs) {
        client.take(reply);
    }
    let outputs = server.receive(&client.message(MessageType::ICRQ));
    assert_eq!(kinds(&outputs), [MessageType::ICRP]);
}

#[test]
fn apples_overlong_result_codes_still_end_session_and_tunnel() {
    for (kind, value) in [
        (MessageType::CDN, "80140000000103000000"),
        (MessageType::STOP_CCN, "801400000001010000008008"),
    ] {
        let (mut server, mut client) = at(Stage::SessionUp);
        let bytes = client.message_with(kind, |writer| {
            writer.put(&hex::decode(value).unwrap()).unwrap();
        });
        let outputs = server.receive(&bytes);
        assert_eq!(kinds(&outputs), [ZLB]);
        assert_eq!(server.lns.session_count(), 0);
    }
}

#[test]
fn a_stop_that_overtakes_other_messages_is_obeyed() {
    let (mut server, mut client) = at(Stage::SessionUp);
    let lost = client.message(MessageType::CDN);
    let stop = client.message(MessageType::STOP_CCN);
    let outputs = server.receive(&stop);
    assert_eq!(events(&outputs).len(), 2);
    server.receive(&lost);
    let outputs = server.receive(&stop);
    assert_eq!(messages(&outputs)[0].0.nr, client.ns);
}

#[test]
fn our_close_says_cdn_then_stop() {
    let (mut server, mut client) = at(Stage::SessionUp);
    server.lns.close_all(server.now);
    let outputs = server.outputs();
    let mut heard = Vec::new();
    let mut pending: VecDeque<Vec<u8>> = sent(&outputs).iter().map(|b| b.to_vec()).collect();
    while let Some(bytes) = pending.pop_front() {
        heard.extend(client.take(&bytes));
        let outputs = server.receive(&client.zlb());
        pending.extend(sent(&outputs).iter().map(|b| b.to_vec()));
    }
    assert_eq!(heard, [MessageType::CDN, MessageType::STOP_CCN]);
    assert_eq!(server.lns.tunnel_count(), 0);
    server.wait(seconds(61));
    assert!(server.lns.is_empty());
}

#[test]
fn closing_a_session_leaves_its_tunnel_until_it_has_been_idle() {
    let (mut server, mut client) = at(Stage::SessionUp);
    server
        .lns
        .close_session(server.now, SessionKey(1), Cause::Administrative);
    let outputs = server.outputs();
    assert_eq!(kinds(&outputs), [MessageType::CDN]);
    client.take(sent(&outputs)[0]);
    server.receive(&client.zlb());
    assert_eq!(server.lns.tunnel_count(), 1);
    let outputs = server.wait(seconds(59));
    assert!(sent(&outputs).is_empty());
    let outputs = server.wait(seconds(1));
    assert!(kinds(&outputs).contains(&MessageType::STOP_CCN));
    let closed = Output::TunnelClosed {
        tunnel: TunnelKey(1),
        cause: Cause::Idle,
    };
    assert!(outputs.contains(&closed));
}

#[test]
fn a_closed_set_takes_its_tunnels_along_in_silence() {
    let (mut server, _) = at(Stage::SessionUp);
    server.lns.close_set(server.now, SET);
    let outputs = server.outputs();
    assert!(sent(&outputs).is_empty());
    assert_eq!(events(&outputs).len(), 2);
    assert!(server.lns.is_empty());
}

#[test]
fn a_silent_peer_is_asked_and_then_given_up() {
    let (mut server, _) = at(Stage::SessionUp);
    let outputs = server.wait(seconds(59));
    assert!(outputs.is_empty());
    let outputs = server.wait(seconds(32));
    assert_eq!(kinds(&outputs), [MessageType::HELLO; 6]);
    let [
        Output::SessionClosed {
            cause: Cause::Unreachable,
            ..
        },
        Output::TunnelClosed {
            cause: Cause::Unreachable,
            ..
        },
    ] = events(&outputs)[..]
    else {
        panic!("{outputs:?}");
    };
}

#[test]
fn a_hello_that_is_acknowledged_keeps_the_tunnel() {
    let (mut server, mut client) = at(Stage::SessionUp);
    for _ in 0..10 {
        let outputs = server.wait(seconds(60));
        assert_eq!(kinds(&outputs), [MessageType::HELLO]);
        client.take(sent(&outputs)[0]);
        server.receive(&client.zlb());
    }
    assert_eq!(server.lns.session_count(), 1);
}

#[test]
fn a_peer_that_stops_before_it_finishes_is_forgotten() {
    let (mut server, client) = at(Stage::ExpectScccn);
    let outputs = server.wait(seconds(40));
    assert_eq!(kinds(&outputs), [MessageType::SCCRP; 5]);
    assert_eq!(server.lns.tunnel_count(), 0);
    drop(client);
    let (mut server, _) = at(Stage::ExpectIccn);
    let outputs = server.wait(seconds(40));
    assert_eq!(server.lns.session_count(), 0);
    let closed = events(&outputs);
    assert!(matches!(closed[0], Output::SessionClosed { .. }));
}

#[test]
fn a_peer_must_prove_a_required_secret() {
    let config = || Config {
        authentication: Authentication::Require(KeyMaterial::new(b"s3cret".to_vec().into())),
        ..Config::default()
    };
    for (response, expected) in [
        (Some(&b"s3cret"[..]), ZLB),
        (Some(b"wrong"), MessageType::STOP_CCN),
        (None, MessageType::STOP_CCN),
    ] {
        let mut server = Server::new(config());
        let mut client = Client::new(500, 600);
        let outputs = server.receive(&client.message(MessageType::SCCRQ));
        let sccrp = sent(&outputs)[0];
        client.take(sccrp);
        let message = ControlMessage::parse(sccrp).unwrap();
        let mut avps = avp::Avps::new(message.avps).map(Result::unwrap);
        let challenge = avps
            .find(|avp| avp.attribute == AttributeType::CHALLENGE)
            .unwrap();
        assert_eq!(challenge.value.len(), 16);
        let bytes = client.message_with(MessageType::SCCCN, |writer| {
            if let Some(secret) = response {
                let proof = crate::l2tp::authentication::response(
                    MessageType::SCCCN,
                    secret,
                    challenge.value,
                );
                let attribute = AttributeType::CHALLENGE_RESPONSE;
                avp::put(writer, Need::Mandatory, attribute, &proof).unwrap();
            }
        });
        let outputs = server.receive(&bytes);
        assert_eq!(kinds(&outputs), [expected]);
        assert_eq!(events(&outputs).len(), usize::from(expected == ZLB));
        if expected != ZLB {
            assert_eq!(result(sent(&outputs)[0]).0, 4);
        }
    }
}

#[test]
fn proxy_attributes_of_an_access_concentrator_are_handed_on() {
    let (mut server, mut client) = at(Stage::ExpectIccn);
    let bytes = client.message_with(MessageType::ICCN, |writer| {
        let mut put = |attribute, value: &[u8]| {
            avp::put(writer, Need::Optional, attribute, value).unwrap();
        };
        put(
            AttributeType::INITIAL_RECEIVED_LCP_CONFREQ,
            &[1, 4, 5, 0xDC],
        );
        put(AttributeType::LAST_SENT_LCP_CONFREQ, &[3, 4, 0xC0, 0x23]);
        put(AttributeType::LAST_RECEIVED_LCP_CONFREQ, &[1, 4, 5, 0xD4]);
        put(AttributeType::PROXY_AUTHEN_TYPE, &[0, 3]);
        put(AttributeType::PROXY_AUTHEN_NAME, b"bob");
        put(AttributeType::PROXY_AUTHEN_ID, &[0, 9]);
        put(AttributeType::PROXY_AUTHEN_RESPONSE, b"pass");
        put(AttributeType::SEQUENCING_REQUIRED, &[]);
    });
    let outputs = server.receive(&bytes);
    let [Output::SessionConnected(connected)] = events(&outputs)[..] else {
        panic!("{outputs:?}");
    };
    assert_eq!(connected.sequencing, crate::rows::Sequencing::On);
    let lcp = connected.proxy_lcp.as_ref().unwrap();
    assert_eq!(lcp.last_received, [1, 4, 5, 0xD4]);
    let authentication = connected.proxy_authentication.as_ref().unwrap();
    assert_eq!((authentication.kind, authentication.identifier), (3, 9));
    assert!(!format!("{authentication:?}").contains("pass"));
}
