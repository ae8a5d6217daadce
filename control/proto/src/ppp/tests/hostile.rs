//! Peers that mean harm.

use culvert_wire::ppp::lcp::Authentication;
use rand_chacha::rand_core::Rng;

use super::client::{CHAP_MD5, Client};
use super::*;

/// A session whose peer has not proved anything, in the phase of authentication by PAP.
fn unproved() -> Server {
    let mut server = Server::new(config(&[Method::Pap]));
    let mut client = Client::new("alice", "x", &[Authentication::Pap]);
    let outputs = server.outputs();
    server.receive(&client.lcp_request());
    for frame in sent(&outputs).iter().flat_map(|frame| client.take(frame)) {
        server.receive(&frame);
    }
    server
}

#[test]
fn nothing_but_lcp_and_the_agreed_method_is_heard_before_the_proof() {
    let mut server = unproved();
    for protocol in [
        Protocol::EAP,
        Protocol::CHAP,
        Protocol::IPV4,
        Protocol::IPV6,
        Protocol::IPV6CP,
        Protocol::CCP,
        Protocol::VJ_COMPRESSED,
        Protocol::COMPRESSED,
        Protocol::MULTILINK,
    ] {
        let frame = packet(protocol, Code(2), 1, &[4; 20]);
        assert_eq!(
            server.receive(&frame),
            [Output::Note(Note::Unexpected(protocol))]
        );
    }
    server.receive(&packet(Protocol::IPCP, Code(1), 1, &[3, 6, 10, 0, 0, 1]));
    let outputs = server.receive(&packet(Protocol::IPCP, Code(1), 2, &[3, 6, 10, 0, 0, 1]));
    assert_eq!(outputs, [Output::Note(Note::Unexpected(Protocol::IPCP))]);
}

#[test]
fn wrong_lengths_are_dropped() {
    let mut server = unproved();
    for frame in [
        &[][..],
        &[0xC0],
        &[0xC0, 0x21],
        &[0xC0, 0x21, 9, 1, 0, 3],
        &[0xC0, 0x21, 9, 1, 0, 200, 0, 0, 0, 0],
        &[0xC0, 0x23, 1, 1, 0, 6, 5, b'a'],
        &[0xC0, 0x23, 1, 1, 0, 7, 1, b'a', 9],
        &[0xC0, 0x23, 1, 1, 0, 4],
    ] {
        let outputs = server.receive(frame);
        assert_eq!(outputs, [Output::Note(Note::Malformed)], "{frame:?}");
    }
    // Options of wrong length make the whole packet invalid.
    for len in [0, 1, 7, 255] {
        let frame = lcp(Code::CONFIGURE_REQUEST, 1, &[1, 4, 5, 0x78, 3, len, 0, 0]);
        assert!(server.receive(&frame).is_empty());
    }
}

#[test]
fn names_of_any_length_are_refused_alike() {
    for len in [0, 1, 254, 255] {
        let mut server = unproved();
        let name = vec![b'x'; usize::from(len)];
        let data = [&[len][..], &name, &[0]].concat();
        let outputs = server.receive(&packet(Protocol::PAP, Code(1), 1, &data));
        assert_eq!(notes(&outputs), [Note::WrongPassword]);
    }
    let mut server = Server::new(config(&[Method::ChapMd5]));
    let mut client = Client::new("alice", "x", &[CHAP_MD5]);
    let outputs = server.outputs();
    server.receive(&client.lcp_request());
    let mut challenge = 0;
    for frame in sent(&outputs).iter().flat_map(|frame| client.take(frame)) {
        let outputs = server.receive(&frame);
        challenge = parsed(sent(&outputs)[0]).1.identifier;
    }
    client.name = vec![b'y'; 900];
    let outputs = server.receive(&client.response(challenge, &[0; 16]));
    assert_eq!(notes(&outputs), [Note::WrongPassword]);
}

#[test]
fn a_clients_challenge_to_us_is_rejected_and_never_answered() {
    let mut server = Server::new(config(&[Method::ChapMd5]));
    server.outputs();
    let option = [3, 5, 0xC2, 0x23, 5];
    let outputs = server.receive(&lcp(Code::CONFIGURE_REQUEST, 1, &option));
    let reject = lcp(Code::CONFIGURE_REJECT, 1, &option);
    assert_eq!(sent(&outputs), [&reject[..]]);
    let mut server = unproved();
    let challenge = packet(Protocol::CHAP, Code(1), 1, &[4, 1, 2, 3, 4, b'x']);
    assert!(sent(&server.receive(&challenge)).is_empty());
}

#[test]
fn an_echo_does_not_grow() {
    let mut server = unproved();
    let request = lcp(Code::ECHO_REQUEST, 1, &[7; 1_400]);
    let outputs = server.receive(&request);
    assert!(sent(&outputs)[0].len() <= request.len());
    let outputs = server.receive(&lcp(Code::ECHO_REQUEST, 1, &[7; 3]));
    assert!(outputs.is_empty());
}

#[test]
fn random_frames_open_nothing_and_end_in_time() {
    for seed in 0..300 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut server = Server::new(config(&[Method::Pap, Method::MsChapV2]));
        let mut outputs = server.outputs();
        let protocols = [0xC021_u16, 0xC023, 0xC223, 0x8021, 0x80FD, 0x0021];
        for _ in 0..200 {
            let mut data = [0; 24];
            rng.fill_bytes(&mut data);
            let index = usize::try_from(rng.next_u32() % 6).unwrap();
            data[..2].copy_from_slice(&protocols[index].to_be_bytes());
            data[2] %= 14;
            data[3] %= 4;
            data[4] = 0;
            data[5] = 4 + data[5] % 19;
            outputs.extend(server.receive(&data));
            outputs.extend(server.wait(millis(u64::from(rng.next_u32() % 500))));
        }
        outputs.extend(server.wait(seconds(100)));
        let all = events(&outputs);
        assert!(
            matches!(all[..], [Output::Closed { .. }]),
            "seed {seed}: {all:?}"
        );
        assert_eq!(server.session.poll_timeout(), None);
    }
}
