//! The way of a session through its phases, method by method, and back.

use culvert_wire::ppp::lcp::Authentication;

use super::client::{CHAP_MD5, Client, MS_CHAP_V2};
use super::*;
use crate::ppp::Cause;

/// Lets server and client talk until both are silent; returns the server's output.
fn talk(server: &mut Server, client: &mut Client, first: Vec<Output>) -> Vec<Output> {
    let mut all = first.clone();
    let mut pending: std::collections::VecDeque<Vec<u8>> = Default::default();
    pending.extend(sent(&first).iter().flat_map(|frame| client.take(frame)));
    while let Some(frame) = pending.pop_front() {
        let outputs = server.receive(&frame);
        pending.extend(sent(&outputs).iter().flat_map(|frame| client.take(frame)));
        all.extend(outputs);
    }
    all
}

/// Connects; both ends start at once.
fn connect(server: &mut Server, client: &mut Client) -> Vec<Output> {
    let mut first = server.outputs();
    for frame in client.outstanding() {
        first.extend(server.receive(&frame));
    }
    talk(server, client, first)
}

pub(super) fn connected() -> (Server, Client) {
    let mut server = Server::new(config(&[Method::MsChapV2]));
    let mut client = Client::new("alice", "wonder-Land9", &[MS_CHAP_V2]);
    connect(&mut server, &mut client);
    assert!(client.is_open());
    (server, client)
}

#[test]
fn each_method_lets_the_right_password_in() {
    for (ours, theirs) in [
        (Method::Pap, Authentication::Pap),
        (Method::ChapMd5, CHAP_MD5),
        (Method::MsChapV2, MS_CHAP_V2),
    ] {
        let mut server = Server::new(config(&[ours]));
        let mut client = Client::new("bob", "builder-7", &[theirs]);
        let outputs = connect(&mut server, &mut client);
        let address = Ipv4Addr::new(10, 99, 1, 20);
        let [
            Output::Authenticated {
                user,
                address: Some(fixed),
            },
            Output::Open { address: given, .. },
        ] = events(&outputs)[..]
        else {
            panic!("{ours:?}: {outputs:?}");
        };
        assert_eq!((user.as_str(), *fixed, *given), ("bob", address, address));
        assert!(client.is_open());
        assert_eq!(
            (client.address, client.dns),
            (address, Ipv4Addr::new(10, 99, 0, 10))
        );
        server.wait(seconds(20));
        assert!(!server.session.is_closed());
    }
}

#[test]
fn each_method_keeps_wrong_passwords_and_unknown_users_out_alike() {
    for (ours, theirs) in [
        (Method::Pap, Authentication::Pap),
        (Method::ChapMd5, CHAP_MD5),
        (Method::MsChapV2, MS_CHAP_V2),
    ] {
        let mut answers = Vec::new();
        for (name, password) in [("bob", "wrong"), ("mallory", "builder-7"), ("", "")] {
            let mut server = Server::new(config(&[ours]));
            let mut client = Client::new(name, password, &[theirs]);
            let outputs = connect(&mut server, &mut client);
            assert!(notes(&outputs).contains(&Note::WrongPassword));
            assert!(events(&outputs).is_empty());
            // The answer takes a second whoever asks.
            assert!(sent(&server.wait(millis(999))).is_empty());
            let outputs = server.wait(millis(1));
            answers.push(hex::encode(sent(&outputs)[0]));
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0], answers[2]);
    }
}

#[test]
fn a_nak_that_names_another_enabled_method_gets_it() {
    let mut server = Server::new(config(&[Method::MsChapV2, Method::ChapMd5, Method::Pap]));
    let mut client = Client::new("alice", "wonder-Land9", &[Authentication::Pap]);
    connect(&mut server, &mut client);
    assert!(client.is_open());
}

#[test]
fn a_nak_that_names_a_method_we_lack_gets_our_next_one() {
    let eap = Authentication::Other(Protocol::EAP, &[]);
    let mut server = Server::new(config(&[Method::MsChapV2, Method::ChapMd5]));
    let mut client = Client::new("alice", "wonder-Land9", &[eap, CHAP_MD5]);
    connect(&mut server, &mut client);
    assert!(client.is_open());
}

#[test]
fn a_peer_that_refuses_to_authenticate_is_refused() {
    for methods in [vec![], vec![Authentication::Pap]] {
        let mut server = Server::new(config(&[Method::MsChapV2, Method::ChapMd5]));
        let mut client = Client::new("alice", "wonder-Land9", &methods);
        let outputs = connect(&mut server, &mut client);
        assert!(client.closed);
        let closed = Output::Closed {
            cause: Cause::NoMethod,
        };
        assert_eq!(events(&outputs), [&closed]);
    }
}

#[test]
fn lcp_negotiated_again_revokes_forwarding_first_and_authenticates_again() {
    let (mut server, mut client) = connected();
    let request = client.renegotiate();
    let outputs = server.receive(&request);
    assert_eq!(outputs[0], Output::Revoked);
    // Until the proof, IPCP is not heard.
    let ipcp = packet(
        Protocol::IPCP,
        Code::CONFIGURE_REQUEST,
        9,
        &[3, 6, 10, 99, 1, 10],
    );
    assert!(sent(&server.receive(&ipcp)).is_empty());
    let outputs = talk(&mut server, &mut client, outputs);
    assert!(client.is_open());
    let names: Vec<_> = events(&outputs)
        .into_iter()
        .map(|event| {
            format!("{event:?}")
                .split([' ', '('])
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(names, ["Revoked", "Authenticated", "Open"]);
}

#[test]
fn ipcp_negotiated_again_revokes_forwarding_until_it_is_open() {
    let (mut server, _) = connected();
    let ask = |last| [3, 6, 10, 99, 1, last];
    let request = |identifier, last| {
        packet(
            Protocol::IPCP,
            Code::CONFIGURE_REQUEST,
            identifier,
            &ask(last),
        )
    };
    let outputs = server.receive(&request(9, 11));
    assert_eq!(events(&outputs), [&Output::Revoked]);
    let nak = packet(Protocol::IPCP, Code::CONFIGURE_NAK, 9, &ask(10));
    assert_eq!(sent(&outputs).last(), Some(&&nak[..]));
    let ours = sent(&outputs)[0].to_vec();
    server.receive(&request(10, 10));
    let (_, ours) = parsed(&ours);
    let ack = packet(
        Protocol::IPCP,
        Code::CONFIGURE_ACK,
        ours.identifier,
        ours.data,
    );
    let outputs = server.receive(&ack);
    assert!(matches!(events(&outputs)[..], [Output::Open { .. }]));
}

#[test]
fn one_early_ipcp_request_is_kept_until_its_time() {
    let mut server = Server::new(config(&[Method::Pap]));
    let mut client = Client::new("alice", "wonder-Land9", &[Authentication::Pap]);
    let mut outputs = server.outputs();
    outputs.extend(server.receive(&client.lcp_request()));
    let answers: Vec<_> = sent(&outputs)
        .iter()
        .flat_map(|frame| client.take(frame))
        .collect();
    // The client's proof is on the way when its IPCP request arrives.
    let (proof, lcp_answers) = answers.split_last().unwrap();
    for frame in lcp_answers {
        server.receive(frame);
    }
    let early = packet(
        Protocol::IPCP,
        Code::CONFIGURE_REQUEST,
        1,
        &[3, 6, 0, 0, 0, 0],
    );
    assert!(server.receive(&early).is_empty());
    let again = server.receive(&early);
    assert_eq!(notes(&again), [Note::Unexpected(Protocol::IPCP)]);
    let outputs = server.receive(proof);
    let expected = [(Protocol::PAP, 2), (Protocol::IPCP, 1), (Protocol::IPCP, 3)];
    assert_eq!(codes(&outputs), expected);
}

#[test]
fn a_client_without_an_address_option_is_given_one() {
    let (mut server, _) = connected();
    let outputs = server.receive(&packet(Protocol::IPCP, Code::CONFIGURE_REQUEST, 9, &[]));
    let nak = packet(
        Protocol::IPCP,
        Code::CONFIGURE_NAK,
        9,
        &[3, 6, 10, 99, 1, 10],
    );
    assert_eq!(sent(&outputs).last(), Some(&&nak[..]));
}

#[test]
fn what_windows_asks_for_and_we_lack_is_rejected_alone() {
    let mut server = Server::new(config(&[Method::MsChapV2]));
    server.outputs();
    let rejects = [0x0D, 3, 6, 0x11, 4, 6, 0x4E, 0x13, 3, 1];
    let options = [&[1, 4, 5, 0x78, 5, 6, 1, 2, 3, 4, 7, 2, 8, 2][..], &rejects].concat();
    let outputs = server.receive(&lcp(Code::CONFIGURE_REQUEST, 3, &options));
    let rejected = lcp(Code::CONFIGURE_REJECT, 3, &rejects);
    assert_eq!(sent(&outputs), [&rejected[..]]);
    // NBNS and VJ compression in IPCP.
    let (mut server, _) = connected();
    let rejects = [2, 6, 0, 0x2D, 15, 1, 130, 6, 0, 0, 0, 0, 132, 6, 0, 0, 0, 0];
    let options = [&[3, 6, 10, 99, 1, 10][..], &rejects].concat();
    let outputs = server.receive(&packet(
        Protocol::IPCP,
        Code::CONFIGURE_REQUEST,
        3,
        &options,
    ));
    let rejected = packet(Protocol::IPCP, Code::CONFIGURE_REJECT, 3, &rejects);
    assert_eq!(sent(&outputs).last(), Some(&&rejected[..]));
}

#[test]
fn control_protocols_we_lack_are_rejected_once_the_peer_is_known() {
    let (mut server, _) = connected();
    for protocol in [
        Protocol::CCP,
        Protocol::IPV6CP,
        Protocol::EAP,
        Protocol(0x8235),
    ] {
        let outputs = server.receive(&packet(protocol, Code(1), 5, &[1, 2, 3]));
        let (sent_protocol, reject) = parsed(sent(&outputs)[0]);
        assert_eq!(
            (sent_protocol, reject.code),
            (Protocol::LCP, Code::PROTOCOL_REJECT)
        );
        assert_eq!(reject.data[..2], protocol.0.to_be_bytes());
        assert_eq!(notes(&outputs), [Note::Rejected(protocol)]);
    }
    let outputs = server.receive(&[0, 0x57, 0x60, 0, 0, 0]);
    assert_eq!(notes(&outputs), [Note::Unexpected(Protocol::IPV6)]);
}

#[test]
fn identification_and_time_remaining_are_ignored_and_other_codes_rejected() {
    let (mut server, _) = connected();
    for code in [
        Code::IDENTIFICATION,
        Code::TIME_REMAINING,
        Code::DISCARD_REQUEST,
    ] {
        assert!(
            server
                .receive(&lcp(code, 1, b"\0\0\0\0MSRASV5.20"))
                .is_empty()
        );
    }
    let outputs = server.receive(&lcp(Code(99), 1, b"x"));
    let (_, reject) = parsed(sent(&outputs)[0]);
    assert_eq!(reject.code, Code::CODE_REJECT);
    assert_eq!(reject.data, [99, 1, 0, 5, b'x']);
}

#[test]
fn compression_and_mru_of_the_peer_are_reported() {
    for (mru, expected) in [(1_500, 1_280), (1_000, 1_000), (576, 576)] {
        let mut server = Server::new(config(&[Method::MsChapV2]));
        let mut client = Client::new("alice", "wonder-Land9", &[MS_CHAP_V2]);
        client.mru = mru;
        let outputs = connect(&mut server, &mut client);
        let Some(Output::Open { mru, framing, .. }) = events(&outputs).last().copied() else {
            panic!("{outputs:?}");
        };
        assert_eq!(*mru, expected);
        assert!(framing.address_control_compressed && framing.protocol_compressed);
    }
}

#[test]
fn too_small_an_mru_is_naked() {
    let mut server = Server::new(config(&[Method::MsChapV2]));
    server.outputs();
    let outputs = server.receive(&lcp(Code::CONFIGURE_REQUEST, 3, &[1, 4, 0x02, 0x3F]));
    let nak = lcp(Code::CONFIGURE_NAK, 3, &[1, 4, 0x02, 0x40]);
    assert_eq!(sent(&outputs), [&nak[..]]);
}

#[test]
fn our_close_is_a_terminate_request_and_ends_with_the_ack() {
    let (mut server, mut client) = connected();
    server.session.close(server.now, Cause::Administrative);
    let outputs = server.outputs();
    assert_eq!(outputs[0], Output::Revoked);
    let outputs = talk(&mut server, &mut client, outputs);
    assert!(client.closed);
    let closed = Output::Closed {
        cause: Cause::Administrative,
    };
    assert_eq!(outputs.last(), Some(&closed));
    assert_eq!(server.session.poll_timeout(), None);
}

#[test]
fn a_request_lost_before_the_clients_ppp_starts_costs_no_three_seconds() {
    // pppd attaches 140 ms after ICCN; its request is answered, and ours comes again with the answer.
    let mut server = Server::new(config(&[Method::MsChapV2]));
    let mut client = Client::new("alice", "wonder-Land9", &[MS_CHAP_V2]);
    server.outputs();
    assert!(sent(&server.wait(millis(140))).is_empty());
    let outputs = server.receive(&client.lcp_request());
    assert_eq!(codes(&outputs), [(Protocol::LCP, 1), (Protocol::LCP, 2)]);
    talk(&mut server, &mut client, outputs);
    assert!(client.is_open());
    // A client that waits for us hears us soon enough, too.
    let mut server = Server::new(config(&[Method::MsChapV2]));
    let times: Vec<_> = [250, 500, 1_000, 2_000, 3_000, 3_000]
        .into_iter()
        .map(|wait| codes(&server.wait(millis(wait))).len())
        .collect();
    assert_eq!(times, [2, 1, 1, 1, 1, 1]);
}
