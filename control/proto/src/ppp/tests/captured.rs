//! Frames of pppd 2.4.9 drive a session from LCP to its end, with the server's random numbers of the capture.

use std::convert::Infallible;

use culvert_wire::ppp::lcp::LcpOption;
use culvert_wire::ppp::option::Options;
use rand_core::{TryCryptoRng, TryRng};

use super::*;
use crate::ppp::Cause;
use crate::rows::PppFraming;

/// Gives out the numbers that pppd's server drew.
struct Scripted(Vec<u8>);

impl TryRng for Scripted {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0xC838_4ECB)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0xC838_4ECB)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.0.split_off(bytes.len());
        bytes.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Scripted {}

/// What the client sent in `direct-ss-gcm`, without ff03: frames 20, 24, 29, 32, 33, 35 and 58.
const REQUEST: &str = "c02101010014010405000206000000000506da44e7dc";
const ECHO: &str = "c02109000008da44e7dc";
const RESPONSE: &str = "c22302cc003b31a536514814afbba1fa6077daa4600630000000000000000055803045e988b6eaf8a14a7f\
                        24ea2cab59fdd80b28c7588e00616c696365";
const IPCP_REQUEST: &str = "802101010016030600000000810600000000830600000000";
const IPCP_ACK: &str = "80210201000a03060a630101";
const IPCP_AGAIN: &str = "80210102001603060a63010a81060a63000a83060a63000a";
const TERMINATE: &str = "c02105020010557365722072657175657374";

/// What its server sent: frames 21, 26, 28, 30, 31, 34 and 36.
const ACK: &str = "c02102010014010405000206000000000506da44e7dc";
const CHALLENGE: &str = "c22301cc001b10f76233b79d8cccf02e60f6bd640fc6de6c61626c6e73";
const ECHO_REPLY: &str = "c0210a000008c8384ecb";
const SUCCESS: &str =
    "533d43324635423646443336373532423541423330303641313945453545463430413331464433324233";
const OUR_IPCP_REQUEST: &str = "80210101000a03060a630101";
const IPCP_NAK: &str = "80210301001603060a63010a81060a63000a83060a63000a";
const IPCP_OK: &str = "80210202001603060a63010a81060a63000a83060a63000a";

fn hex(bytes: &[&[u8]]) -> Vec<String> {
    bytes.iter().map(hex::encode).collect()
}

#[test]
fn pppd_gets_the_answers_that_its_own_server_gave() {
    let challenge = "ccf76233b79d8cccf02e60f6bd640fc6de";
    let mut rng = Scripted(hex::decode(challenge).unwrap());
    let users = users();
    let mut now = Time::ZERO;
    let mut session = Session::new(now, &mut rng, config(&[Method::MsChapV2]));
    let mut hear = |session: &mut Session, frame: &str| {
        now = now + millis(10);
        session.handle_frame(now, &mut rng, &users, &hex::decode(frame).unwrap());
        let mut outputs = Vec::new();
        while let Some(output) = session.poll_output() {
            if matches!(output, Output::Authenticated { .. }) {
                session.assign(now, &mut rng, ADDRESS);
            }
            outputs.push(output);
        }
        outputs
    };
    let first: Vec<_> = std::iter::from_fn(|| session.poll_output()).collect();
    let (protocol, request) = parsed(sent(&first)[0]);
    assert_eq!(
        (protocol, request.code),
        (Protocol::LCP, Code::CONFIGURE_REQUEST)
    );
    let options: Vec<LcpOption<'_>> = Options::new(request.data)
        .map(|option| option.unwrap().into())
        .collect();
    assert_eq!(options[0], LcpOption::Mru(1_280));
    assert_eq!(options[2], LcpOption::MagicNumber(0xC838_4ECB));

    assert_eq!(hex(&sent(&hear(&mut session, REQUEST))), [ACK]);
    let ack = hex::encode(lcp(Code::CONFIGURE_ACK, request.identifier, request.data));
    assert_eq!(hex(&sent(&hear(&mut session, &ack))), [CHALLENGE]);
    assert_eq!(hex(&sent(&hear(&mut session, ECHO))), [ECHO_REPLY]);

    let outputs = hear(&mut session, RESPONSE);
    let frames = hex(&sent(&outputs));
    assert!(frames[0].starts_with("c22303cc") && frames[0][12..].starts_with(SUCCESS));
    assert_eq!(frames[1..], [OUR_IPCP_REQUEST]);
    let [
        Output::Authenticated {
            user,
            address: None,
        },
    ] = events(&outputs)[..]
    else {
        panic!("{outputs:?}");
    };
    assert_eq!(user, "alice");

    assert_eq!(hex(&sent(&hear(&mut session, IPCP_REQUEST))), [IPCP_NAK]);
    assert!(hear(&mut session, IPCP_ACK).is_empty());
    let outputs = hear(&mut session, IPCP_AGAIN);
    assert_eq!(hex(&sent(&outputs)), [IPCP_OK]);
    let open = Output::Open {
        address: ADDRESS,
        mru: 1_280,
        framing: PppFraming::default(),
    };
    assert_eq!(events(&outputs), [&open]);

    let outputs = hear(&mut session, TERMINATE);
    assert_eq!(events(&outputs), [&Output::Revoked]);
    assert_eq!(hex(&sent(&outputs)), ["c02106020004"]);
    session.handle_timeout(now + seconds(2), &mut ChaCha8Rng::seed_from_u64(1));
    let closed = Output::Closed { cause: Cause::Peer };
    assert_eq!(session.poll_output(), Some(closed));
    assert_eq!(session.poll_timeout(), None);
}

#[test]
fn every_truncation_and_bit_flip_of_a_captured_frame_opens_nothing() {
    let frames = [
        REQUEST,
        ECHO,
        RESPONSE,
        IPCP_REQUEST,
        IPCP_ACK,
        IPCP_AGAIN,
        TERMINATE,
    ];
    for frame in frames {
        let bytes = hex::decode(frame).unwrap();
        let mut server = Server::new(config(&[Method::MsChapV2]));
        server.outputs();
        let mut hear = |bytes: &[u8]| {
            for output in server.receive(bytes) {
                let opens = matches!(output, Output::Authenticated { .. } | Output::Open { .. });
                assert!(!opens, "{}", hex::encode(bytes));
            }
        };
        (0..bytes.len()).for_each(|len| hear(&bytes[..len]));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            hear(&flipped);
        }
    }
}

/// The session of the capture, its challenge sent.
fn challenged() -> (Session, Scripted) {
    let challenge = "ccf76233b79d8cccf02e60f6bd640fc6de";
    let mut rng = Scripted(hex::decode(challenge).unwrap());
    let (now, users) = (Time::ZERO, users());
    let mut session = Session::new(now, &mut rng, config(&[Method::MsChapV2]));
    let Some(Output::Transmit(request)) = session.poll_output() else {
        panic!("a request");
    };
    let (_, request) = parsed(&request);
    let ack = lcp(Code::CONFIGURE_ACK, request.identifier, request.data);
    session.handle_frame(now, &mut rng, &users, &ack);
    session.handle_frame(now, &mut rng, &users, &hex::decode(REQUEST).unwrap());
    while session.poll_output().is_some() {}
    (session, rng)
}

#[test]
fn no_bit_of_a_captured_response_that_means_something_can_be_changed() {
    let response = hex::decode(RESPONSE).unwrap();
    let (challenged, _) = challenged();
    // RFC 2759 §4: eight reserved bytes after the peer's challenge, and the flags, are for nobody.
    let meaningless = |byte: usize| (23..31).contains(&byte) || byte == 55;
    for bit in 0..response.len() * 8 {
        let mut flipped = response.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let mut session = challenged.clone();
        let mut rng = Scripted(vec![0; 64]);
        session.handle_frame(Time::ZERO, &mut rng, &users(), &flipped);
        let accepted = std::iter::from_fn(|| session.poll_output())
            .any(|output| matches!(output, Output::Authenticated { .. }));
        assert_eq!(accepted, meaningless(bit / 8), "bit {bit}");
    }
}
