//! What a session bears, and for how long.

use culvert_wire::ppp::chap;
use culvert_wire::ppp::lcp::Authentication;

use super::client::{Client, MS_CHAP_V2};
use super::phases::connected;
use super::*;
use crate::job::{JobDone, JobId, Outcome};
use crate::ppp::Cause;

/// Brings LCP up for a client that then says nothing by itself; returns the server's output of the last step.
fn authenticating(methods: &[Method], client: &mut Client) -> (Server, Vec<Output>) {
    let mut server = Server::new(config(methods));
    let mut outputs = server.outputs();
    let answers: Vec<_> = sent(&outputs)
        .iter()
        .flat_map(|frame| client.take(frame))
        .collect();
    outputs = server.receive(&client.lcp_request());
    for frame in sent(&outputs) {
        client.take(frame);
    }
    for frame in answers {
        outputs = server.receive(&frame);
    }
    (server, outputs)
}

fn closed(cause: Cause) -> Output {
    Output::Closed { cause }
}

#[test]
fn a_peer_that_never_answers_is_given_up_after_ten_requests() {
    let mut server = Server::new(config(&[Method::MsChapV2]));
    let outputs = server.wait(seconds(60));
    assert_eq!(codes(&outputs), [(Protocol::LCP, 1); 10]);
    assert_eq!(events(&outputs), [&closed(Cause::Unreachable)]);
}

#[test]
fn a_peer_that_does_not_authenticate_is_closed_after_thirty_seconds() {
    let mut client = Client::new("alice", "x", &[MS_CHAP_V2]);
    let (mut server, _) = authenticating(&[Method::MsChapV2], &mut client);
    let outputs = server.wait(millis(29_999));
    assert!(events(&outputs).is_empty());
    assert!(
        codes(&outputs)
            .iter()
            .all(|&code| code == (Protocol::CHAP, 1))
    );
    let outputs = server.wait(seconds(3));
    assert_eq!(codes(&outputs), [(Protocol::LCP, 5); 2]);
    assert_eq!(events(&outputs), [&closed(Cause::TimedOut)]);
}

#[test]
fn three_wrong_passwords_by_pap_end_the_session() {
    let mut client = Client::new("alice", "wrong", &[Authentication::Pap]);
    let (mut server, _) = authenticating(&[Method::Pap], &mut client);
    for attempt in 1..=3 {
        let request = packet(Protocol::PAP, Code(1), attempt, b"\x05alice\x05wrong");
        assert_eq!(notes(&server.receive(&request)), [Note::WrongPassword]);
        // Asking again does not help before the answer is there.
        assert!(server.receive(&request).is_empty());
        let outputs = server.wait(seconds(1));
        assert_eq!(codes(&outputs)[0], (Protocol::PAP, 3));
        let ended = codes(&outputs).contains(&(Protocol::LCP, 5));
        assert_eq!(ended, attempt == 3);
    }
    let outputs = server.wait(seconds(5));
    assert_eq!(events(&outputs), [&closed(Cause::AuthenticationFailed)]);
}

#[test]
fn a_client_that_leaves_after_a_wrong_password_failed_to_authenticate() {
    for (password, cause) in [
        (&b"\x05alice\x05wrong"[..], Cause::AuthenticationFailed),
        (b"\x05alice\x0cwonder-Land9", Cause::Peer),
    ] {
        let mut client = Client::new("alice", "x", &[Authentication::Pap]);
        let (mut server, _) = authenticating(&[Method::Pap], &mut client);
        server.receive(&packet(Protocol::PAP, Code(1), 1, password));
        server.wait(seconds(1));
        server.receive(&lcp(
            Code::TERMINATE_REQUEST,
            2,
            b"Failed to authenticate ourselves to peer",
        ));
        let outputs = server.wait(seconds(2));
        assert_eq!(events(&outputs), [&closed(cause)]);
    }
}

#[test]
fn a_repeated_pap_request_is_answered_under_its_own_identifier() {
    let mut client = Client::new("alice", "wonder-Land9", &[Authentication::Pap]);
    let (mut server, _) = authenticating(&[Method::Pap], &mut client);
    for identifier in [1, 2, 9] {
        let request = packet(
            Protocol::PAP,
            Code(1),
            identifier,
            b"\x05alice\x0cwonder-Land9",
        );
        let outputs = server.receive(&request);
        let (protocol, ack) = parsed(sent(&outputs)[0]);
        assert_eq!(
            (protocol, ack.code, ack.identifier),
            (Protocol::PAP, Code(2), identifier)
        );
        assert_eq!(events(&outputs).len(), usize::from(identifier == 1));
    }
}

#[test]
fn mschapv2_may_be_tried_again_with_the_challenge_of_the_failure() {
    let mut client = Client::new("alice", "wrong", &[MS_CHAP_V2]);
    let (mut server, outputs) = authenticating(&[Method::MsChapV2], &mut client);
    let (_, challenge) = parsed(sent(&outputs).last().unwrap());
    assert_eq!(challenge.code, chap::CHALLENGE);
    let identifier = challenge.identifier;
    let value: [u8; 16] = chap::Packet::parse(challenge.data)
        .unwrap()
        .value
        .try_into()
        .unwrap();
    let wrong = client.response(identifier, &client.mschapv2(&value));
    server.receive(&wrong);
    let outputs = server.wait(seconds(1));
    let failure = sent(&outputs)[0].to_vec();
    let (_, parsed_failure) = parsed(&failure);
    assert_eq!(
        (parsed_failure.code, parsed_failure.identifier),
        (chap::FAILURE, identifier)
    );
    let message = std::str::from_utf8(parsed_failure.data).unwrap();
    let rest = message.strip_prefix("E=691 R=1 C=").unwrap();
    let next: [u8; 16] = hex::decode(&rest[..32]).unwrap().try_into().unwrap();
    assert_ne!(next, value);
    assert_eq!(&rest[32..], " V=3 M=Authentication failed");
    // The last Response once more means that the Failure was lost.
    assert_eq!(sent(&server.receive(&wrong)), [&failure[..]]);
    // The right password for the old challenge is not the right answer.
    client.password = "wonder-Land9".into();
    let stale = client.response(identifier.wrapping_add(1), &client.mschapv2(&value));
    assert_eq!(notes(&server.receive(&stale)), [Note::WrongPassword]);
    let outputs = server.wait(seconds(1));
    let (_, failure) = parsed(sent(&outputs)[0]);
    let message = std::str::from_utf8(failure.data).unwrap();
    let last: [u8; 16] = hex::decode(&message[12..44]).unwrap().try_into().unwrap();
    let right = client.response(identifier.wrapping_add(2), &client.mschapv2(&last));
    let outputs = server.receive(&right);
    assert!(matches!(
        events(&outputs)[..],
        [Output::Authenticated { .. }]
    ));
    // Success is repeated for a repeated Response.
    let again = server.receive(&right);
    assert_eq!(sent(&again), sent(&outputs)[..1]);
}

#[test]
fn a_third_wrong_password_by_mschapv2_is_final() {
    let mut client = Client::new("alice", "wrong", &[MS_CHAP_V2]);
    let (mut server, outputs) = authenticating(&[Method::MsChapV2], &mut client);
    let (_, challenge) = parsed(sent(&outputs).last().unwrap());
    let mut identifier = challenge.identifier;
    for attempt in 1..=3 {
        server.receive(&client.response(identifier, &[0; 49]));
        let outputs = server.wait(seconds(1));
        let (_, failure) = parsed(sent(&outputs)[0]);
        let retry: &[u8] = if attempt < 3 {
            b"E=691 R=1"
        } else {
            b"E=691 R=0"
        };
        assert!(failure.data.starts_with(retry));
        identifier = identifier.wrapping_add(1);
    }
    let outputs = server.wait(seconds(5));
    assert_eq!(events(&outputs), [&closed(Cause::AuthenticationFailed)]);
}

#[test]
fn a_response_to_another_challenge_is_ignored() {
    let mut client = Client::new("alice", "wonder-Land9", &[MS_CHAP_V2]);
    let (mut server, outputs) = authenticating(&[Method::MsChapV2], &mut client);
    let (_, challenge) = parsed(sent(&outputs).last().unwrap());
    let value: [u8; 16] = chap::Packet::parse(challenge.data)
        .unwrap()
        .value
        .try_into()
        .unwrap();
    for offset in 1..=255 {
        let identifier = challenge.identifier.wrapping_add(offset);
        let response = client.response(identifier, &client.mschapv2(&value));
        assert!(server.receive(&response).is_empty());
    }
}

#[test]
fn our_own_challenge_sent_back_is_no_proof() {
    use crate::crypto::mschapv2::{Exchange, NtHash};
    let mut client = Client::new("alice", "wonder-Land9", &[MS_CHAP_V2]);
    let (mut server, outputs) = authenticating(&[Method::MsChapV2], &mut client);
    let (_, challenge) = parsed(sent(&outputs).last().unwrap());
    let value: [u8; 16] = chap::Packet::parse(challenge.data)
        .unwrap()
        .value
        .try_into()
        .unwrap();
    let exchange = Exchange {
        authenticator_challenge: &value,
        peer_challenge: &value,
        name: b"alice",
    };
    let response = exchange.nt_response(&NtHash::of_password("wonder-Land9"));
    let reflected = [&value[..], &[0; 8], &response, &[0]].concat();
    let outputs = server.receive(&client.response(challenge.identifier, &reflected));
    assert_eq!(notes(&outputs), [Note::WrongPassword]);
}

#[test]
fn a_lost_password_check_is_given_out_again() {
    let mut client = Client::new("alice", "wonder-Land9", &[Authentication::Pap]);
    let (mut server, _) = authenticating(&[Method::Pap], &mut client);
    let request = packet(Protocol::PAP, Code(1), 1, b"\x05alice\x0cwonder-Land9");
    let mut hear = |session: &mut Session, now| {
        session.handle_frame(now, &mut server.rng, &server.users, &request);
        session.poll_output()
    };
    let session = &mut server.session;
    let Some(Output::Job(first)) = hear(session, server.now) else {
        panic!("a job");
    };
    assert_eq!(hear(session, server.now + seconds(2)), None);
    let now = server.now + seconds(4);
    let Some(Output::Job(second)) = hear(session, now) else {
        panic!("a second job");
    };
    assert!(first.id != second.id);
    // The result of the first is no longer wanted, and an invented one never was.
    for id in [first.id, JobId(77)] {
        let outcome = Outcome::CheckPassword(true);
        session.handle_job(now, &JobDone { id, outcome });
        assert_eq!(session.poll_output(), None);
    }
    let outcome = Outcome::CheckPassword(true);
    session.handle_job(
        now,
        &JobDone {
            id: second.id,
            outcome,
        },
    );
    assert!(matches!(session.poll_output(), Some(Output::Transmit(_))));
    assert!(matches!(
        session.poll_output(),
        Some(Output::Authenticated { .. })
    ));
}

#[test]
fn five_naks_are_followed_by_a_reject() {
    let mut server = Server::new(config(&[Method::MsChapV2]));
    server.outputs();
    let mut answers = Vec::new();
    for identifier in 0..7 {
        let outputs = server.receive(&lcp(Code::CONFIGURE_REQUEST, identifier, &[1, 4, 0, 100]));
        answers.push(codes(&outputs)[0].1);
    }
    assert_eq!(answers, [3, 3, 3, 3, 3, 4, 4]);
}

#[test]
fn naks_without_end_end_the_session() {
    let mut server = Server::new(config(&[Method::MsChapV2, Method::Pap]));
    let mut outputs = server.outputs();
    let mut rounds = 0;
    while let Some(frame) = sent(&outputs).first().copied() {
        let (_, request) = parsed(frame);
        if request.code != Code::CONFIGURE_REQUEST {
            break;
        }
        let nak = lcp(Code::CONFIGURE_NAK, request.identifier, &[1, 4, 5, rounds]);
        outputs = server.receive(&nak);
        rounds += 1;
    }
    assert_eq!(rounds, 11);
    let outputs = [outputs, server.wait(seconds(5))].concat();
    assert_eq!(events(&outputs), [&closed(Cause::NoAgreement)]);
}

#[test]
fn requests_without_end_end_the_session_too() {
    let mut server = Server::new(config(&[Method::MsChapV2]));
    let mut outputs = server.outputs();
    for second in 0..40_u8 {
        outputs.extend(server.receive(&lcp(Code::CONFIGURE_REQUEST, second, &[13, 3, 6])));
        outputs.extend(server.wait(seconds(1)));
    }
    let all = events(&outputs);
    assert!(matches!(all[..], [Output::Closed { .. }]), "{all:?}");
}

#[test]
fn a_silent_peer_is_asked_four_times_and_then_closed() {
    let (mut server, _) = connected();
    for _ in 0..3 {
        // Whatever the peer sends shows that it is there.
        assert!(server.wait(seconds(29)).is_empty());
        server.session.handle_activity(server.now);
    }
    let outputs = server.wait(seconds(200));
    assert_eq!(codes(&outputs)[..4], [(Protocol::LCP, 9); 4]);
    assert_eq!(
        events(&outputs),
        [&Output::Revoked, &closed(Cause::Unreachable)]
    );
}
