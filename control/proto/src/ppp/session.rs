//! One PPP session: phases, timers, and who hears which frame (RFC 1661 §3).

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use culvert_wire::ppp::control::{Code, ControlPacket};
use culvert_wire::ppp::frame::Protocol;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use crate::deadlines::Deadlines;
use crate::job::{JobDone, Outcome};
use crate::ppp::authentication::{Authentication, Past, REPEAT, Step};
use crate::ppp::config::Config;
use crate::ppp::ipcp::Ipcp;
use crate::ppp::lcp::Lcp;
use crate::ppp::negotiation::{Effects, Negotiation, Signal, packet};
use crate::ppp::output::{Cause, Note, Output};
use crate::time::Time;
use crate::users::Users;

/// The longest IPCP packet that is kept until its time comes, in bytes.
const MAX_PARKED: usize = 256;

/// The longest part of a frame that a Protocol-Reject or Echo-Reply sends back: what fits every MRU.
const MAX_RETURNED: usize = 512;

/// What a session's timer table knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Timer {
    /// The peer must be authenticated. What ends a session comes before what goes on with it.
    Authentication,
    /// The session must be open.
    Negotiation,
    /// LCP's restart timer.
    Lcp,
    /// IPCP's restart timer.
    Ipcp,
    /// Send the challenge again.
    Challenge,
    /// Answer a wrong password.
    Penalty,
    /// Ask a silent peer whether it is there.
    Echo,
}

impl Timer {
    const ALL: [Self; 7] = [
        Self::Lcp,
        Self::Ipcp,
        Self::Challenge,
        Self::Penalty,
        Self::Echo,
        Self::Authentication,
        Self::Negotiation,
    ];
}

/// A phase (RFC 1661 §3.2); closing is LCP's own matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    Establish,
    Authenticate(Authentication),
    AwaitAddress(Authentication),
    Network(Authentication, Negotiation<Ipcp>),
    Terminate,
    Dead,
}

/// A PPP session, seen from the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    config: Config,
    lcp: Option<Negotiation<Lcp>>,
    phase: Phase,
    past: Past,
    /// Whether the peer's packets are let through.
    forwarding: bool,
    /// An IPCP request that came before the peer was authenticated.
    parked: Option<Vec<u8>>,
    /// Echo-Requests without an answer.
    echoes: u32,
    /// Why the session is being closed.
    cause: Option<Cause>,
    timers: Deadlines<Timer>,
    output: VecDeque<Output>,
}

impl Session {
    /// Starts LCP at once.
    pub fn new(now: Time, rng: &mut dyn CryptoRng, config: Config) -> Self {
        let mut timers = Deadlines::default();
        let lcp = Lcp::new(config.mru, &config.methods, rng.next_u32())
            .map(|policy| Negotiation::start(policy, Timer::Lcp, now, &mut timers));
        let mut session = Self {
            config,
            lcp: None,
            phase: Phase::Establish,
            past: Past::default(),
            forwarding: false,
            parked: None,
            echoes: 0,
            cause: None,
            timers,
            output: VecDeque::new(),
        };
        match lcp {
            None => session.die(Cause::NoMethod),
            Some((lcp, effects)) => {
                session.lcp = Some(lcp);
                session.limit(now);
                session.apply_lcp(now, rng, effects);
            }
        }
        session
    }

    /// Handles a frame, from its two-byte protocol field on.
    pub fn handle_frame(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        users: &Users,
        bytes: &[u8],
    ) {
        let Some((protocol, payload)) = bytes.split_first_chunk() else {
            return self.note(Note::Malformed);
        };
        self.handle_activity(now);
        let protocol = Protocol(u16::from_be_bytes(*protocol));
        if protocol == Protocol::IPCP {
            return self.ipcp_frame(now, rng, payload);
        }
        if ![Protocol::LCP, Protocol::PAP, Protocol::CHAP].contains(&protocol) {
            return self.unknown_protocol(protocol, payload);
        }
        match ControlPacket::parse(payload) {
            Err(_) => self.note(Note::Malformed),
            Ok(packet) if protocol == Protocol::LCP => self.lcp_packet(now, rng, &packet),
            Ok(packet) => self.authentication_packet(now, rng, users, protocol, &packet),
        }
    }

    /// Handles the result of a job of ours.
    pub fn handle_job(&mut self, now: Time, done: &JobDone) {
        let tries = self.config.tries;
        if let (Phase::Authenticate(authentication), Outcome::CheckPassword(right)) =
            (&mut self.phase, &done.outcome)
        {
            let step = authentication.checked(done.id, *right, tries);
            self.step(now, step);
        }
    }

    /// Handles everything that is due.
    pub fn handle_timeout(&mut self, now: Time, rng: &mut dyn CryptoRng) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Lcp => {
                    let timers = &mut self.timers;
                    let expired = self.lcp.as_mut().map(|lcp| lcp.expire(now, timers));
                    self.apply_lcp(now, rng, expired.unwrap_or_default());
                }
                Timer::Ipcp => {
                    if let Phase::Network(_, ipcp) = &mut self.phase {
                        let effects = ipcp.expire(now, &mut self.timers);
                        self.apply_ipcp(now, effects);
                    }
                }
                Timer::Challenge => self.send_challenge(now),
                Timer::Penalty => self.penalty_passed(now),
                Timer::Echo => self.echo(now),
                Timer::Authentication | Timer::Negotiation => self.close(now, Cause::TimedOut),
            }
        }
    }

    /// Says that the peer is alive: a packet of its session came in.
    pub fn handle_activity(&mut self, now: Time) {
        self.echoes = 0;
        if self.timers.is_set(Timer::Echo) {
            self.timers
                .set_after(Timer::Echo, now, self.config.echo_after);
        }
    }

    /// Gives the authenticated peer its address: IPCP begins.
    pub fn assign(&mut self, now: Time, rng: &mut dyn CryptoRng, address: Ipv4Addr) {
        let Phase::AwaitAddress(authentication) = &self.phase else {
            return;
        };
        let policy = Ipcp::new(self.config.gateway, address, &self.config.dns);
        let (ipcp, effects) = Negotiation::start(policy, Timer::Ipcp, now, &mut self.timers);
        self.phase = Phase::Network(authentication.clone(), ipcp);
        self.apply_ipcp(now, effects);
        if let Some(payload) = self.parked.take() {
            self.ipcp_frame(now, rng, &payload);
        }
    }

    /// Ends the session with Terminate-Request. [`Output::Closed`] follows when the peer agrees, or in two seconds.
    pub fn close(&mut self, now: Time, cause: Cause) {
        self.cause.get_or_insert(cause);
        self.revoke();
        if self.phase == Phase::Dead {
            return;
        }
        self.phase = Phase::Terminate;
        for timer in Timer::ALL.into_iter().filter(|&timer| timer != Timer::Lcp) {
            self.timers.cancel(timer);
        }
        let timers = &mut self.timers;
        let effects = self
            .lcp
            .as_mut()
            .map(|lcp| lcp.close(now, timers))
            .unwrap_or_default();
        self.transmit_all(effects.frames);
        if effects.signal == Some(Signal::Finished) {
            self.die(cause);
        }
    }

    /// When [`Self::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Takes the next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Dead
    }

    fn lcp_packet(&mut self, now: Time, rng: &mut dyn CryptoRng, packet: &ControlPacket<'_>) {
        let Some(lcp) = &mut self.lcp else { return };
        if self.phase == Phase::Dead {
            return;
        }
        match packet.code {
            Code::ECHO_REQUEST => self.answer_echo(packet),
            Code::PROTOCOL_REJECT => self.protocol_rejected(now, rng, packet.data),
            // Any frame shows that the peer is there; the other codes ask for nothing (RFC 1661 §5.9, RFC 1570).
            Code::ECHO_REPLY
            | Code::DISCARD_REQUEST
            | Code::IDENTIFICATION
            | Code::TIME_REMAINING => {}
            _ => {
                if packet.code == Code::TERMINATE_REQUEST && lcp.is_open() {
                    // Most clients do not try again but leave, and ask their user.
                    let refused =
                        matches!(&self.phase, Phase::Authenticate(state) if state.has_failed());
                    let cause = match refused {
                        true => Cause::AuthenticationFailed,
                        false => Cause::Peer,
                    };
                    self.cause.get_or_insert(cause);
                }
                let effects = lcp.handle(now, &mut self.timers, packet, rng.next_u32());
                self.apply_lcp(now, rng, effects);
            }
        }
    }

    fn apply_lcp(&mut self, now: Time, rng: &mut dyn CryptoRng, effects: Effects) {
        let mut is_escape = false;
        if effects.signal == Some(Signal::Down) {
            is_escape = self.is_punished();
            self.lower_down(now);
        }
        self.transmit_all(effects.frames);
        match effects.signal {
            Some(Signal::Up) => self.authenticate(now, rng),
            Some(Signal::Finished) => self.die(Cause::Unreachable),
            Some(Signal::Hopeless(cause)) => self.close(now, cause),
            // Who begins anew does not wait for the answer to a wrong password.
            Some(Signal::Down) if is_escape => self.close(now, Cause::AuthenticationFailed),
            Some(Signal::Down) | None => {}
        }
    }

    const fn is_punished(&self) -> bool {
        matches!(&self.phase, Phase::Authenticate(authentication) if authentication.is_punished())
    }

    /// LCP is no longer open: whatever stood on it falls, forwarding first. A peer that has not proved itself gains no time by it.
    fn lower_down(&mut self, now: Time) {
        self.revoke();
        self.parked = None;
        let proved = matches!(self.phase, Phase::AwaitAddress(_) | Phase::Network(..));
        if let Phase::Authenticate(authentication)
        | Phase::AwaitAddress(authentication)
        | Phase::Network(authentication, _) = &self.phase
        {
            self.past = authentication.past();
        }
        let goes_on = |timer| match timer {
            Timer::Lcp => true,
            Timer::Authentication | Timer::Negotiation => !proved && self.cause.is_none(),
            Timer::Ipcp | Timer::Challenge | Timer::Penalty | Timer::Echo => false,
        };
        for timer in Timer::ALL.into_iter().filter(|timer| !goes_on(*timer)) {
            self.timers.cancel(timer);
        }
        match self.cause {
            Some(_) => self.phase = Phase::Terminate,
            None => {
                self.phase = Phase::Establish;
                if proved {
                    self.limit(now);
                }
            }
        }
    }

    fn limit(&mut self, now: Time) {
        let (authentication, negotiation) = (
            self.config.authentication_limit,
            self.config.negotiation_limit,
        );
        self.timers
            .set_after(Timer::Authentication, now, authentication);
        self.timers.set_after(Timer::Negotiation, now, negotiation);
    }

    fn authenticate(&mut self, now: Time, rng: &mut dyn CryptoRng) {
        let Some(lcp) = &self.lcp else { return };
        self.phase = Phase::Authenticate(Authentication::new(lcp.policy.method, rng, self.past));
        self.timers
            .set_after(Timer::Echo, now, self.config.echo_after);
        self.send_challenge(now);
    }

    fn send_challenge(&mut self, now: Time) {
        if let Phase::Authenticate(authentication) = &self.phase
            && let Some(frame) = authentication.challenge(&self.config.server_name)
        {
            self.transmit(frame);
            self.timers.set_after(Timer::Challenge, now, REPEAT);
        }
    }

    fn authentication_packet(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        users: &Users,
        protocol: Protocol,
        packet: &ControlPacket<'_>,
    ) {
        let (Phase::Authenticate(authentication)
        | Phase::AwaitAddress(authentication)
        | Phase::Network(authentication, _)) = &mut self.phase
        else {
            return self.note(Note::Unexpected(protocol));
        };
        if authentication.protocol() != protocol {
            return self.note(Note::Unexpected(protocol));
        }
        let step = authentication.handle(now, rng, users, self.config.tries, packet);
        self.step(now, step);
    }

    fn step(&mut self, now: Time, step: Step) {
        match step {
            Step::Ignored => {}
            Step::Malformed => self.note(Note::Malformed),
            Step::Reply(frame) => self.transmit(frame),
            Step::Job(job) => self.output.push_back(Output::Job(job)),
            Step::Failed => {
                self.timers.cancel(Timer::Challenge);
                self.timers
                    .set_after(Timer::Penalty, now, self.config.penalty);
                self.note(Note::WrongPassword);
            }
            Step::Proved(frame, user) => {
                self.transmit(frame);
                self.timers.cancel(Timer::Challenge);
                self.timers.cancel(Timer::Authentication);
                if let Phase::Authenticate(authentication) = &self.phase {
                    self.phase = Phase::AwaitAddress(authentication.clone());
                }
                self.output.push_back(Output::Authenticated {
                    user: user.name,
                    address: user.address,
                });
            }
        }
    }

    fn penalty_passed(&mut self, now: Time) {
        let Phase::Authenticate(authentication) = &mut self.phase else {
            return;
        };
        if let Some((frame, again)) = authentication.penalty_passed() {
            self.transmit(frame);
            if !again {
                self.close(now, Cause::AuthenticationFailed);
            }
        }
    }

    fn ipcp_frame(&mut self, now: Time, rng: &mut dyn CryptoRng, payload: &[u8]) {
        match &mut self.phase {
            Phase::Network(_, ipcp) => match ControlPacket::parse(payload) {
                Err(_) => self.note(Note::Malformed),
                Ok(packet) => {
                    let ends = packet.code == Code::TERMINATE_REQUEST && ipcp.is_open();
                    let effects = ipcp.handle(now, &mut self.timers, &packet, rng.next_u32());
                    self.apply_ipcp(now, effects);
                    if ends {
                        // A session without IP has no use.
                        self.close(now, Cause::Peer);
                    }
                }
            },
            // MikroTik sends its first request along with its proof.
            Phase::Authenticate(_) | Phase::AwaitAddress(_)
                if self.parked.is_none() && payload.len() <= MAX_PARKED =>
            {
                self.parked = Some(payload.to_vec());
            }
            Phase::Establish
            | Phase::Authenticate(_)
            | Phase::AwaitAddress(_)
            | Phase::Terminate
            | Phase::Dead => self.note(Note::Unexpected(Protocol::IPCP)),
        }
    }

    fn apply_ipcp(&mut self, now: Time, effects: Effects) {
        if effects.signal == Some(Signal::Down) {
            self.revoke();
            self.timers
                .set_after(Timer::Negotiation, now, self.config.negotiation_limit);
        }
        self.transmit_all(effects.frames);
        match effects.signal {
            Some(Signal::Up) => self.open(),
            Some(Signal::Finished) => self.close(now, Cause::NoAgreement),
            Some(Signal::Hopeless(cause)) => self.close(now, cause),
            Some(Signal::Down) | None => {}
        }
    }

    fn open(&mut self) {
        let (Phase::Network(_, ipcp), Some(lcp)) = (&self.phase, &self.lcp) else {
            return;
        };
        self.timers.cancel(Timer::Negotiation);
        self.forwarding = true;
        let peer = lcp.policy.peer;
        self.output.push_back(Output::Open {
            address: ipcp.policy.address,
            mru: peer.mru.min(self.config.mru),
            framing: peer.framing,
        });
    }

    fn revoke(&mut self) {
        if self.forwarding {
            self.forwarding = false;
            self.output.push_back(Output::Revoked);
        }
    }

    /// Tells the peer that we do not speak a control protocol, once it may speak any (RFC 1661 §5.7).
    fn unknown_protocol(&mut self, protocol: Protocol, payload: &[u8]) {
        let is_control = protocol.0 >= 0x8000;
        let (Phase::AwaitAddress(_) | Phase::Network(..), Some(lcp), true) =
            (&self.phase, &mut self.lcp, is_control)
        else {
            return self.note(Note::Unexpected(protocol));
        };
        let returned = payload.get(..MAX_RETURNED).unwrap_or(payload);
        let data = [&protocol.0.to_be_bytes(), returned].concat();
        let frame = packet(
            Protocol::LCP,
            Code::PROTOCOL_REJECT,
            lcp.next_identifier(),
            &data,
        );
        self.transmit(frame);
        self.note(Note::Rejected(protocol));
    }

    fn protocol_rejected(&mut self, now: Time, rng: &mut dyn CryptoRng, data: &[u8]) {
        let Some(lcp) = self.lcp.as_mut().filter(|lcp| lcp.is_open()) else {
            return;
        };
        let Some((rejected, _)) = data.split_first_chunk() else {
            return self.note(Note::Malformed);
        };
        match Protocol(u16::from_be_bytes(*rejected)) {
            Protocol::LCP => {
                self.cause.get_or_insert(Cause::NoAgreement);
                let effects = lcp.refuse(now, &mut self.timers);
                self.apply_lcp(now, rng, effects);
            }
            Protocol::IPCP => self.close(now, Cause::NoAgreement),
            Protocol::PAP | Protocol::CHAP if !self.forwarding => self.close(now, Cause::NoMethod),
            _ => {}
        }
    }

    fn answer_echo(&mut self, request: &ControlPacket<'_>) {
        let (Some(lcp), Some((_magic, rest))) = (
            self.lcp.as_ref().filter(|lcp| lcp.is_open()),
            request.data.split_first_chunk::<4>(),
        ) else {
            return;
        };
        let rest = rest.get(..MAX_RETURNED).unwrap_or(rest);
        let data = [&lcp.policy.magic().to_be_bytes(), rest].concat();
        let frame = packet(Protocol::LCP, Code::ECHO_REPLY, request.identifier, &data);
        self.transmit(frame);
    }

    fn echo(&mut self, now: Time) {
        if self.echoes >= self.config.echo_failures {
            return self.close(now, Cause::Unreachable);
        }
        self.echoes += 1;
        if let Some(lcp) = &mut self.lcp {
            let magic = lcp.policy.magic().to_be_bytes();
            let identifier = lcp.next_identifier();
            self.transmit(packet(
                Protocol::LCP,
                Code::ECHO_REQUEST,
                identifier,
                &magic,
            ));
        }
        self.timers
            .set_after(Timer::Echo, now, self.config.echo_after);
    }

    fn die(&mut self, cause: Cause) {
        self.revoke();
        self.phase = Phase::Dead;
        for timer in Timer::ALL {
            self.timers.cancel(timer);
        }
        let cause = self.cause.unwrap_or(cause);
        self.output.push_back(Output::Closed { cause });
    }

    fn transmit_all(&mut self, frames: Vec<Vec<u8>>) {
        frames.into_iter().for_each(|frame| self.transmit(frame));
    }

    fn transmit(&mut self, frame: Vec<u8>) {
        self.output.push_back(Output::Transmit(frame));
    }

    fn note(&mut self, note: Note) {
        self.output.push_back(Output::Note(note));
    }
}
