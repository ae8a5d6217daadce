//! Proving our password, and with MS-CHAPv2 having the gateway prove that it knows it too.

use culvert_wire::ppp::chap::{self, MsChapV2Response};
use culvert_wire::ppp::control::{self, ControlPacket};
use culvert_wire::ppp::frame::Protocol;
use culvert_wire::ppp::pap;
use culvert_wire::writer::{Overflow, Writer};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::{Method, frame};
use crate::client::Credentials;
use crate::client::cause::Cause;
use crate::client::mschap::{self, Exchange};

/// A login in progress.
#[derive(Debug, Default)]
pub(super) struct Login {
    method: Option<Method>,
    /// Both challenges of MS-CHAPv2, the gateway's first.
    challenges: Option<([u8; 16], [u8; 16])>,
}

/// What has come of a packet.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is not for us.
    Ignored,
    /// Send this.
    Reply(Vec<u8>),
    /// We are in.
    Success,
    /// We are not.
    Failure(Cause),
}

const PAP_IDENTIFIER: u8 = 1;

impl Login {
    pub(super) const fn new(method: Method) -> Self {
        Self {
            method: Some(method),
            challenges: None,
        }
    }

    /// Writes PAP's Authenticate-Request.
    pub(super) fn request(
        &self,
        credentials: &Credentials,
        writer: &mut Writer<'_>,
    ) -> Result<(), Overflow> {
        let request = pap::Request {
            peer_id: credentials.user.as_bytes(),
            password: credentials.password.as_bytes(),
        };
        control::put(writer, pap::REQUEST, PAP_IDENTIFIER, |writer| {
            request.put(writer)
        })
    }

    /// Takes a packet of PAP or CHAP.
    pub(super) fn handle(
        &mut self,
        protocol: Protocol,
        packet: &ControlPacket<'_>,
        credentials: &Credentials,
        rng: &mut ChaCha20Rng,
    ) -> Verdict {
        match (self.method, protocol, packet.code) {
            (Some(Method::Pap), Protocol::PAP, pap::ACK) => Verdict::Success,
            (Some(Method::Pap), Protocol::PAP, pap::NAK) => {
                Verdict::Failure(Cause::PasswordRefused)
            }
            (Some(Method::ChapMd5 | Method::MsChapV2), Protocol::CHAP, chap::FAILURE) => {
                Verdict::Failure(Cause::PasswordRefused)
            }
            (Some(Method::ChapMd5), Protocol::CHAP, chap::CHALLENGE) => {
                respond(packet, credentials)
            }
            (Some(Method::ChapMd5), Protocol::CHAP, chap::SUCCESS) => Verdict::Success,
            (Some(Method::MsChapV2), Protocol::CHAP, chap::CHALLENGE) => {
                self.respond_v2(packet, credentials, rng)
            }
            (Some(Method::MsChapV2), Protocol::CHAP, chap::SUCCESS) => {
                self.verify_v2(packet, credentials)
            }
            _ => Verdict::Ignored,
        }
    }

    fn respond_v2(
        &mut self,
        packet: &ControlPacket<'_>,
        credentials: &Credentials,
        rng: &mut ChaCha20Rng,
    ) -> Verdict {
        let challenge = chap::Packet::parse(packet.data)
            .ok()
            .and_then(|packet| packet.value.try_into().ok());
        let Some(authenticator_challenge) = challenge else {
            return Verdict::Ignored;
        };
        let mut peer_challenge = [0; 16];
        rng.fill_bytes(&mut peer_challenge);
        // A repeated challenge gets the answer it got before.
        if let Some((last, ours)) = self.challenges
            && last == authenticator_challenge
        {
            peer_challenge = ours;
        }
        self.challenges = Some((authenticator_challenge, peer_challenge));
        let exchange = exchange(credentials, authenticator_challenge, peer_challenge);
        let nt_response = exchange.nt_response();
        let response = MsChapV2Response {
            peer_challenge: &peer_challenge,
            nt_response: &nt_response,
        };
        match frame(|writer| response.put(writer)) {
            Ok(value) => reply(packet.identifier, &value, credentials),
            Err(Overflow) => Verdict::Ignored,
        }
    }

    fn verify_v2(&self, packet: &ControlPacket<'_>, credentials: &Credentials) -> Verdict {
        let Some((authenticator, peer)) = self.challenges else {
            return Verdict::Ignored;
        };
        if exchange(credentials, authenticator, peer).authenticates(packet.data) {
            Verdict::Success
        } else {
            Verdict::Failure(Cause::ServerUnproven)
        }
    }
}

fn exchange(
    credentials: &Credentials,
    authenticator_challenge: [u8; 16],
    peer_challenge: [u8; 16],
) -> Exchange<'_> {
    Exchange {
        user: &credentials.user,
        password: &credentials.password,
        authenticator_challenge,
        peer_challenge,
    }
}

fn respond(packet: &ControlPacket<'_>, credentials: &Credentials) -> Verdict {
    let Ok(challenge) = chap::Packet::parse(packet.data) else {
        return Verdict::Ignored;
    };
    let value = mschap::chap_md5(
        packet.identifier,
        credentials.password.as_bytes(),
        challenge.value,
    );
    reply(packet.identifier, &value, credentials)
}

fn reply(identifier: u8, value: &[u8], credentials: &Credentials) -> Verdict {
    let response = chap::Packet {
        value,
        name: credentials.user.as_bytes(),
    };
    frame(|writer| {
        control::put(writer, chap::RESPONSE, identifier, |writer| {
            response.put(writer)
        })
    })
    .map_or(Verdict::Ignored, Verdict::Reply)
}
