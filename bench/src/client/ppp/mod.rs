//! The client's side of PPP over a call: LCP, authentication, IPCP (RFC 1661, RFC 1332).
//!
//! ```text
//! Link ─ LCP open both ways ─▶ Authentication ─ success ─▶ Address ─ IPCP open both ways ─▶ Open
//! ```

mod authentication;
mod ipcp;
mod lcp;
mod negotiation;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;

use culvert_wire::ppp::control::{self, Code, ControlPacket};
use culvert_wire::ppp::frame::Protocol;
use culvert_wire::writer::{Overflow, Writer};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::cause::{Cause, Stage};
use super::retransmit::{Due, Retransmit};
use super::{Credentials, Profile, Time};
use authentication::{Login, Verdict};
use ipcp::Ipcp;
use lcp::Lcp;

/// How a client may prove its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// PAP (RFC 1334).
    Pap,
    /// CHAP with MD5 (RFC 1994).
    ChapMd5,
    /// MS-CHAPv2 (RFC 2759).
    MsChapV2,
}

/// What IPCP gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Our address.
    pub address: Option<Ipv4Addr>,
    /// The gateway's.
    pub gateway: Option<Ipv4Addr>,
    /// First name server.
    pub primary_dns: Option<Ipv4Addr>,
    /// Second name server.
    pub secondary_dns: Option<Ipv4Addr>,
}

/// What has come of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// IP may flow.
    Up(Lease),
    /// The answer to this step was late.
    SentAgain(Stage),
    /// It is over.
    Down(Cause),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Dead,
    Link,
    Authentication,
    Address,
    Open,
}

/// One end of a PPP link.
#[derive(Debug)]
pub(super) struct Link {
    profile: Arc<Profile>,
    credentials: Arc<Credentials>,
    phase: Phase,
    lcp: Lcp,
    login: Login,
    ipcp: Ipcp,
    /// The request that waits for its answer; without one we wait for the gateway to speak.
    timer: Option<Retransmit<Option<Vec<u8>>>>,
    outgoing: VecDeque<Vec<u8>>,
}

/// Longest frame we send.
const MAX_FRAME: usize = 1_024;

impl Link {
    pub(super) fn new(profile: Arc<Profile>, credentials: Arc<Credentials>) -> Self {
        Self {
            profile,
            credentials,
            phase: Phase::Dead,
            lcp: Lcp::default(),
            login: Login::default(),
            ipcp: Ipcp::default(),
            timer: None,
            outgoing: VecDeque::new(),
        }
    }

    /// Sends LCP's Configure-Request.
    pub(super) fn start(&mut self, now: Time, rng: &mut ChaCha20Rng) {
        self.phase = Phase::Link;
        self.lcp = self.lcp.again(self.profile.mru, rng.next_u32());
        self.ipcp = self.ipcp.again();
        self.ask(now, Protocol::LCP, |link, writer| link.lcp.request(writer));
    }

    /// Takes a frame's protocol and what follows it.
    pub(super) fn handle(
        &mut self,
        now: Time,
        protocol: Protocol,
        bytes: &[u8],
        rng: &mut ChaCha20Rng,
    ) -> Option<Event> {
        let packet = ControlPacket::parse(bytes).ok()?;
        match (protocol, self.phase) {
            (_, Phase::Dead) => None,
            (Protocol::LCP, _) => self.handle_lcp(now, &packet, rng),
            (_, Phase::Link) => None,
            (Protocol::PAP | Protocol::CHAP, _) => self.handle_login(now, protocol, &packet, rng),
            (_, Phase::Authentication) => None,
            (Protocol::IPCP, _) => self.handle_ipcp(now, &packet),
            (protocol, Phase::Address | Phase::Open) => {
                self.reject(protocol, bytes);
                None
            }
        }
    }

    fn handle_lcp(
        &mut self,
        now: Time,
        packet: &ControlPacket<'_>,
        rng: &mut ChaCha20Rng,
    ) -> Option<Event> {
        match packet.code {
            Code::CONFIGURE_REQUEST => {
                // RFC 1661 §4.1: a request in the Opened state begins anew; one whose answer was lost only wants it again.
                if self.phase != Phase::Link && !self.lcp.has_accepted(packet) {
                    self.start(now, rng);
                }
                let (lcp, methods) = (&mut self.lcp, &self.profile.methods);
                let reply = lcp.answer(packet, methods);
                self.put(Protocol::LCP, reply);
            }
            Code::CONFIGURE_ACK | Code::CONFIGURE_NAK | Code::CONFIGURE_REJECT => {
                self.lcp_answered(now, packet);
            }
            Code::ECHO_REQUEST => {
                let reply = self.lcp.echo(packet);
                self.put(Protocol::LCP, reply);
            }
            Code::TERMINATE_REQUEST => {
                let reply = frame(|writer| {
                    control::put(writer, Code::TERMINATE_ACK, packet.identifier, |_| Ok(()))
                });
                self.put(Protocol::LCP, reply);
                return self.end(Cause::LinkClosed);
            }
            _ => {}
        }
        if self.phase == Phase::Link && self.lcp.is_open() {
            self.authenticate(now);
        }
        None
    }

    /// Asks again if the gateway did not acknowledge all of our LCP request.
    fn lcp_answered(&mut self, now: Time, packet: &ControlPacket<'_>) {
        if self.phase == Phase::Link && self.lcp.answered(packet) {
            self.ask(now, Protocol::LCP, |link, writer| link.lcp.request(writer));
        }
    }

    fn authenticate(&mut self, now: Time) {
        let Some(method) = self.lcp.method() else {
            return self.negotiate_address(now);
        };
        self.phase = Phase::Authentication;
        self.login = Login::new(method);
        match method {
            Method::Pap => {
                let credentials = self.credentials.clone();
                self.ask(now, Protocol::PAP, |link, writer| {
                    link.login.request(&credentials, writer)
                });
            }
            Method::ChapMd5 | Method::MsChapV2 => self.timer = Some(Retransmit::new(now, None)),
        }
    }

    fn handle_login(
        &mut self,
        now: Time,
        protocol: Protocol,
        packet: &ControlPacket<'_>,
        rng: &mut ChaCha20Rng,
    ) -> Option<Event> {
        match self.login.handle(protocol, packet, &self.credentials, rng) {
            Verdict::Ignored => None,
            Verdict::Reply(reply) if self.phase == Phase::Authentication => {
                // RFC 1994 §4.1: the gateway answers a Response that comes again as it did before, so that a lost Success is no end.
                self.ask(now, protocol, |_, writer| writer.put(&reply));
                None
            }
            Verdict::Reply(reply) => {
                self.put(protocol, Ok(reply));
                // RFC 1994 §4.2: the answer may be lost, and a repeated response is allowed.
                if self.phase == Phase::Authentication {
                    self.timer = Some(Retransmit::new(now, self.outgoing.back().cloned()));
                }
                None
            }
            Verdict::Success => {
                if self.phase == Phase::Authentication {
                    self.negotiate_address(now);
                }
                None
            }
            Verdict::Failure(cause) => self.end(cause),
        }
    }

    fn negotiate_address(&mut self, now: Time) {
        self.phase = Phase::Address;
        self.ask(now, Protocol::IPCP, |link, writer| {
            link.ipcp.request(writer)
        });
    }

    fn handle_ipcp(&mut self, now: Time, packet: &ControlPacket<'_>) -> Option<Event> {
        match packet.code {
            Code::CONFIGURE_REQUEST => {
                let reply = self.ipcp.answer(packet);
                self.put(Protocol::IPCP, reply);
            }
            Code::CONFIGURE_ACK | Code::CONFIGURE_NAK | Code::CONFIGURE_REJECT => {
                self.ipcp_answered(now, packet);
            }
            Code::TERMINATE_REQUEST => return self.end(Cause::LinkClosed),
            _ => {}
        }
        let lease = self.ipcp.lease().filter(|_| self.phase == Phase::Address)?;
        self.phase = Phase::Open;
        self.timer = None;
        Some(Event::Up(lease))
    }

    /// Asks again if the gateway did not acknowledge all of our IPCP request.
    fn ipcp_answered(&mut self, now: Time, packet: &ControlPacket<'_>) {
        if self.phase == Phase::Address && self.ipcp.answered(packet) {
            self.ask(now, Protocol::IPCP, |link, writer| {
                link.ipcp.request(writer)
            });
        }
    }

    /// Ends the link with a Terminate-Request that nobody waits for.
    pub(super) fn close(&mut self) {
        if self.phase != Phase::Dead {
            let request =
                frame(|writer| control::put(writer, Code::TERMINATE_REQUEST, 0, |_| Ok(())));
            self.put(Protocol::LCP, request);
        }
        self.phase = Phase::Dead;
        self.timer = None;
    }

    pub(super) fn timeout(&self) -> Option<Time> {
        self.timer.as_ref().map(Retransmit::at)
    }

    pub(super) fn handle_timeout(&mut self, now: Time) -> Option<Event> {
        let stage = match self.phase {
            Phase::Dead | Phase::Link => Stage::Link,
            Phase::Authentication => Stage::Authentication,
            Phase::Address | Phase::Open => Stage::Address,
        };
        let timer = self.timer.as_mut()?;
        match timer.due(now) {
            Due::Later => None,
            Due::Again => {
                self.outgoing.extend(timer.message.clone());
                Some(Event::SentAgain(stage))
            }
            Due::Never => self.end(Cause::Silent(stage)),
        }
    }

    /// The next frame, from its two-byte protocol field on.
    pub(super) fn poll(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    /// Sends a request until it is answered.
    fn ask(
        &mut self,
        now: Time,
        protocol: Protocol,
        write: impl FnOnce(&mut Self, &mut Writer<'_>) -> Result<(), Overflow>,
    ) {
        let request = frame(|writer| write(self, writer));
        self.put(protocol, request);
        self.timer = Some(Retransmit::new(now, self.outgoing.back().cloned()));
    }

    /// Queues a frame; one that does not fit its buffer is left out, as if lost.
    fn put(&mut self, protocol: Protocol, packet: Result<Vec<u8>, Overflow>) {
        if let Ok(packet) = packet {
            self.outgoing
                .push_back([&protocol.0.to_be_bytes()[..], &packet].concat());
        }
    }

    /// Sends a Protocol-Reject (RFC 1661 §5.7).
    fn reject(&mut self, protocol: Protocol, bytes: &[u8]) {
        let identifier = self.lcp.next_identifier();
        let reject = frame(|writer| {
            control::put(writer, Code::PROTOCOL_REJECT, identifier, |writer| {
                writer.u16(protocol.0)?;
                writer.put(bytes.get(..MAX_FRAME / 2).unwrap_or(bytes))
            })
        });
        self.put(Protocol::LCP, reject);
    }

    fn end(&mut self, cause: Cause) -> Option<Event> {
        self.phase = Phase::Dead;
        self.timer = None;
        Some(Event::Down(cause))
    }
}

fn frame(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Overflow>) -> Result<Vec<u8>, Overflow> {
    let mut buffer = [0; MAX_FRAME];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer)?;
    Ok(writer.written().to_vec())
}
