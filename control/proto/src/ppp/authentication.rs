//! The peer proves who it is: PAP (RFC 1334), CHAP with MD5 (RFC 1994), MS-CHAPv2 (RFC 2759).

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use culvert_wire::ppp::chap::{self, MsChapV2Response};
use culvert_wire::ppp::control::{Code, ControlPacket};
use culvert_wire::ppp::frame::Protocol;
use culvert_wire::ppp::pap;
use culvert_wire::writer::Writer;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use crate::crypto;
use crate::crypto::mschapv2::{Exchange, NtHash};
use crate::job::{Job, JobId, Work};
use crate::ppp::negotiation::packet;
use crate::time::Time;
use crate::users::{Method, Password, Users};

/// Length of our challenges in bytes.
const CHALLENGE_LEN: usize = 16;

/// Time between two transmissions of a challenge, and after which a password check counts as lost.
pub(super) const REPEAT: Duration = Duration::from_secs(3);

/// A user of the table, as found by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) address: Option<Ipv4Addr>,
}

/// How far a peer has come in proving who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Authentication {
    method: Method,
    state: State,
    past: Past,
}

/// What a new authentication in the same session must know of those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Past {
    /// Wrong passwords since the last right one.
    failures: u32,
    /// The last job, which may not be done yet: its number must not come again.
    last_job: u64,
}

/// What is awaited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    ExpectPapRequest,
    ExpectCheck(ExpectCheck),
    ExpectChapResponse(ExpectChapResponse),
    /// The time of punishment must pass before the refusal goes out.
    ExpectPenalty(ExpectPenalty),
    /// The verdict, to be repeated if the peer asks again.
    Proved(Verdict),
}

/// A password is being compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ExpectCheck {
    identifier: u8,
    job: JobId,
    since: Time,
    user: Option<Found>,
}

/// A challenge is out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ExpectChapResponse {
    identifier: u8,
    challenge: [u8; CHALLENGE_LEN],
    /// The Failure it went out in, if it did.
    failure: Option<Vec<u8>>,
}

/// A refusal that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ExpectPenalty {
    frame: Vec<u8>,
    /// The challenge in it; none ends the session.
    again: Again,
}

/// What may come after a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Again {
    Nothing,
    PapRequest,
    ChapResponse(ExpectChapResponse),
}

/// The last answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Verdict {
    identifier: u8,
    frame: Vec<u8>,
}

/// What comes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Ignored,
    /// It does not parse.
    Malformed,
    /// Send this.
    Reply(Vec<u8>),
    /// Do this.
    Job(Job),
    /// Send this: the peer is this user.
    Proved(Vec<u8>, Found),
    /// Wait for the time of punishment.
    Failed,
}

impl Authentication {
    /// Starts with a method; CHAP's first challenge is in [`Self::challenge`].
    pub(super) fn new(method: Method, rng: &mut dyn CryptoRng, past: Past) -> Self {
        let state = match method {
            Method::Pap => State::ExpectPapRequest,
            Method::ChapMd5 | Method::MsChapV2 => {
                let [identifier] = random(rng);
                State::ExpectChapResponse(ExpectChapResponse {
                    identifier,
                    challenge: random(rng),
                    failure: None,
                })
            }
        };
        Self {
            method,
            state,
            past,
        }
    }

    /// What the next authentication must know.
    pub(super) const fn past(&self) -> Past {
        self.past
    }

    /// Whether a wrong password is not answered yet.
    pub(super) const fn is_punished(&self) -> bool {
        matches!(self.state, State::ExpectPenalty(_))
    }

    /// The protocol that the method speaks.
    pub(super) const fn protocol(&self) -> Protocol {
        match self.method {
            Method::Pap => Protocol::PAP,
            Method::ChapMd5 | Method::MsChapV2 => Protocol::CHAP,
        }
    }

    /// Whether the peer gave a wrong proof.
    pub(super) const fn has_failed(&self) -> bool {
        self.past.failures != 0
    }

    /// The challenge to send, and to send again until it is answered.
    pub(super) fn challenge(&self, server_name: &str) -> Option<Vec<u8>> {
        match &self.state {
            State::ExpectChapResponse(state) if state.failure.is_none() => {
                let name = server_name.as_bytes();
                let name = name.get(..64).unwrap_or(name);
                let value = &state.challenge;
                let data = with_writer(|writer| chap::Packet { value, name }.put(writer));
                Some(packet(
                    Protocol::CHAP,
                    chap::CHALLENGE,
                    state.identifier,
                    &data,
                ))
            }
            State::ExpectPapRequest
            | State::ExpectCheck(_)
            | State::ExpectChapResponse(_)
            | State::ExpectPenalty(_)
            | State::Proved(_) => None,
        }
    }

    /// Handles a packet of the method's protocol.
    pub(super) fn handle(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        users: &Users,
        tries: u32,
        received: &ControlPacket<'_>,
    ) -> Step {
        let awaited = match self.method {
            Method::Pap => pap::REQUEST,
            Method::ChapMd5 | Method::MsChapV2 => chap::RESPONSE,
        };
        if received.code != awaited {
            return Step::Ignored;
        }
        match &mut self.state {
            State::ExpectPapRequest => self.check(now, users, received),
            State::ExpectCheck(state) if now.since(state.since) >= REPEAT => {
                self.check(now, users, received)
            }
            State::ExpectChapResponse(state) => {
                let state = state.clone();
                self.response(rng, users, tries, &state, received)
            }
            // RFC 1334 §2.2.1: the identifier changes with each request, and each gets a reply.
            State::Proved(_) if self.method == Method::Pap => {
                Step::Reply(pap_message(pap::ACK, received.identifier, b""))
            }
            State::Proved(verdict) if verdict.identifier == received.identifier => {
                Step::Reply(verdict.frame.clone())
            }
            State::ExpectCheck(state) => {
                // The verdict answers the latest request.
                state.identifier = received.identifier;
                Step::Ignored
            }
            State::ExpectPenalty(_) | State::Proved(_) => Step::Ignored,
        }
    }

    /// Handles the end of a password check.
    pub(super) fn checked(&mut self, id: JobId, right: bool, tries: u32) -> Step {
        let State::ExpectCheck(state) = &self.state else {
            return Step::Ignored;
        };
        if state.job != id {
            return Step::Ignored;
        }
        let identifier = state.identifier;
        match state.user.clone().filter(|_| right) {
            Some(user) => self.prove(identifier, pap_message(pap::ACK, identifier, b""), user),
            None => {
                let again = match self.fails_for_good(tries) {
                    true => Again::Nothing,
                    false => Again::PapRequest,
                };
                let frame = pap_message(pap::NAK, identifier, b"Authentication failed");
                self.punish(frame, again)
            }
        }
    }

    /// The time of punishment has passed: the refusal to send, and whether the peer may try again.
    pub(super) fn penalty_passed(&mut self) -> Option<(Vec<u8>, bool)> {
        let State::ExpectPenalty(state) = &self.state else {
            return None;
        };
        let frame = state.frame.clone();
        let next = match &state.again {
            Again::Nothing => return Some((frame, false)),
            Again::PapRequest => State::ExpectPapRequest,
            Again::ChapResponse(state) => State::ExpectChapResponse(state.clone()),
        };
        self.state = next;
        Some((frame, true))
    }

    fn check(&mut self, now: Time, users: &Users, received: &ControlPacket<'_>) -> Step {
        let Ok(request) = pap::Request::parse(received.data) else {
            return Step::Malformed;
        };
        self.past.last_job += 1;
        let job = JobId(self.past.last_job);
        self.state = State::ExpectCheck(ExpectCheck {
            identifier: received.identifier,
            job,
            since: now,
            user: find(users, request.peer_id),
        });
        let check = users.check(request.peer_id, Password::from(request.password));
        Step::Job(Job {
            id: job,
            work: Work::CheckPassword(check),
        })
    }

    fn response(
        &mut self,
        rng: &mut dyn CryptoRng,
        users: &Users,
        tries: u32,
        state: &ExpectChapResponse,
        received: &ControlPacket<'_>,
    ) -> Step {
        let identifier = received.identifier;
        if identifier != state.identifier {
            // The peer has not heard the Failure that answers its last Response.
            let last = state.identifier.wrapping_sub(1);
            let failure = state.failure.clone().filter(|_| identifier == last);
            return failure.map_or(Step::Ignored, Step::Reply);
        }
        let Ok(response) = chap::Packet::parse(received.data) else {
            return Step::Malformed;
        };
        let user = find(users, response.name);
        let credential = users.find(response.name).map(|(_, user)| &user.credential);
        let proof = match self.method {
            Method::MsChapV2 => {
                let hash = credential.and_then(|credential| credential.nt_hash());
                mschapv2(&state.challenge, hash, response)
            }
            Method::Pap | Method::ChapMd5 => {
                let secret = credential.and_then(|credential| credential.secret());
                chap_md5(identifier, &state.challenge, secret, response)
            }
        };
        match user.zip(proof) {
            Some((user, message)) => {
                let frame = packet(
                    Protocol::CHAP,
                    chap::SUCCESS,
                    identifier,
                    message.as_bytes(),
                );
                self.prove(identifier, frame, user)
            }
            None => self.refuse(rng, tries, identifier),
        }
    }

    fn refuse(&mut self, rng: &mut dyn CryptoRng, tries: u32, identifier: u8) -> Step {
        let for_good = self.fails_for_good(tries);
        let challenge = random(rng);
        let message = match self.method {
            Method::MsChapV2 => failure_message(!for_good, &challenge),
            Method::Pap | Method::ChapMd5 => "Authentication failed".into(),
        };
        let frame = packet(
            Protocol::CHAP,
            chap::FAILURE,
            identifier,
            message.as_bytes(),
        );
        let again = match (for_good, self.method) {
            // RFC 2759 §6: the next Response answers the challenge in the Failure and bears the next identifier.
            (false, Method::MsChapV2) => Again::ChapResponse(ExpectChapResponse {
                identifier: identifier.wrapping_add(1),
                challenge,
                failure: Some(frame.clone()),
            }),
            // RFC 1994 §4.2: after a Failure the link is to be terminated.
            (_, Method::Pap | Method::ChapMd5) | (true, Method::MsChapV2) => Again::Nothing,
        };
        self.punish(frame, again)
    }

    const fn fails_for_good(&mut self, tries: u32) -> bool {
        self.past.failures += 1;
        self.past.failures >= tries
    }

    fn punish(&mut self, frame: Vec<u8>, again: Again) -> Step {
        self.state = State::ExpectPenalty(ExpectPenalty { frame, again });
        Step::Failed
    }

    fn prove(&mut self, identifier: u8, frame: Vec<u8>, user: Found) -> Step {
        self.past.failures = 0;
        self.state = State::Proved(Verdict {
            identifier,
            frame: frame.clone(),
        });
        Step::Proved(frame, user)
    }
}

/// The Success message if the response is right; unknown users are compared with a hash nobody has.
fn mschapv2(
    challenge: &[u8; CHALLENGE_LEN],
    hash: Option<NtHash>,
    response: chap::Packet<'_>,
) -> Option<String> {
    let value = MsChapV2Response::parse(response.value).ok()?;
    let exchange = Exchange {
        authenticator_challenge: challenge,
        peer_challenge: value.peer_challenge,
        name: response.name,
    };
    let known = hash.is_some();
    let hash = hash.unwrap_or(NtHash::new([0; 16]));
    let right = exchange.verify(&hash, value.nt_response);
    let reflected = value.peer_challenge == challenge;
    if !right || !known || reflected {
        return None;
    }
    let digest = exchange.authenticator_response(&hash, value.nt_response);
    let proof = crypto::mschapv2::success_message(&digest);
    Some(format!("{} M=Welcome", std::str::from_utf8(&proof).ok()?))
}

fn chap_md5(
    identifier: u8,
    challenge: &[u8],
    secret: Option<&[u8]>,
    response: chap::Packet<'_>,
) -> Option<String> {
    let known = secret.is_some();
    let secret = secret.unwrap_or(b"nobody's");
    let right = crypto::chap::verify(identifier, secret, challenge, response.value);
    (right && known).then(|| "Welcome".into())
}

/// RFC 2759 §6: error 691 is a wrong name or password; R says whether the peer may answer the new challenge C.
fn failure_message(retry: bool, challenge: &[u8; CHALLENGE_LEN]) -> String {
    let mut message = format!("E=691 R={} C=", u8::from(retry));
    for byte in challenge {
        let written = write!(message, "{byte:02X}");
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
    message + " V=3 M=Authentication failed"
}

fn pap_message(code: Code, identifier: u8, message: &[u8]) -> Vec<u8> {
    let data = with_writer(|writer| pap::put_message(writer, message));
    packet(Protocol::PAP, code, identifier, &data)
}

fn with_writer(
    put: impl FnOnce(&mut Writer<'_>) -> Result<(), culvert_wire::writer::Overflow>,
) -> Vec<u8> {
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    put(&mut writer).expect("a challenge of 16 bytes and a name of 64 fit in 256");
    writer.written().to_vec()
}

fn find(users: &Users, name: &[u8]) -> Option<Found> {
    let (name, user) = users.find(name)?;
    Some(Found {
        name: name.to_owned(),
        address: user.address,
    })
}

fn random<const N: usize>(rng: &mut dyn CryptoRng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}
