//! One control protocol's negotiation: the automaton with its counters, identifiers and timer (RFC 1661 §4.6).

use std::time::Duration;

use culvert_wire::ppp::control::{self, Code, ControlPacket};
use culvert_wire::ppp::frame::Protocol;
use culvert_wire::ppp::option::Options;
use culvert_wire::writer::Writer;
use serde::{Deserialize, Serialize};

use crate::deadlines::Deadlines;
use crate::ppp::automaton::{Action, Event, State, transition};
use crate::ppp::output::Cause;
use crate::ppp::session::Timer;
use crate::time::Time;

/// Configure-Requests without an answer before the peer counts as gone.
const MAX_CONFIGURE: u32 = 10;

/// Terminate-Requests without an answer.
const MAX_TERMINATE: u32 = 2;

/// Configure-Naks in a row before what is left is rejected.
const MAX_FAILURE: u32 = 5;

/// Configure-Naks and -Rejects of the peer before there is no hope of agreement.
const MAX_ROUNDS: u32 = 10;

/// Time between two Terminate-Requests.
const TERMINATE_INTERVAL: Duration = Duration::from_secs(1);

/// Time to the second, third... Configure-Request. A client's PPP may start after its L2TP: what is sent at once is lost.
const INTERVALS_MS: [u64; 4] = [250, 500, 1_000, 2_000];

/// Time to each later one.
const LAST_INTERVAL: Duration = Duration::from_secs(3);

/// Time from our Ack to the next Configure-Request: a peer that is open by now would start anew if it came too soon.
const AFTER_ACK: Duration = Duration::from_secs(1);

/// A request of ours that is older than this when the peer's first one comes may have met nobody.
const PERHAPS_LOST_AFTER: Duration = Duration::from_millis(20);

/// What is agreed about a protocol's options.
pub(super) trait Policy {
    /// The protocol.
    const PROTOCOL: Protocol;

    /// The options that we ask for.
    fn request(&self) -> Vec<u8>;

    /// Judges a well-formed list of options that the peer asks for. `last` forbids another Nak.
    fn review(&mut self, options: Options<'_>, last: bool) -> Review;

    /// Takes in what the peer would rather have; `spare` is random.
    fn yield_to(&mut self, options: Options<'_>, spare: u32) -> Result<(), Cause>;

    /// Leaves out what the peer does not know.
    fn leave_out(&mut self, options: Options<'_>) -> Result<(), Cause>;
}

/// The judgement of a Configure-Request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Review {
    Ack,
    Nak(Vec<u8>),
    Reject(Vec<u8>),
}

/// What the session is to know of a negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// It is open.
    Up,
    /// It is no longer open; learn it before anything is sent.
    Down,
    /// It is over.
    Finished,
    /// It must end.
    Hopeless(Cause),
}

/// What comes of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    pub(super) frames: Vec<Vec<u8>>,
    pub(super) signal: Option<Signal>,
}

/// A negotiation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Negotiation<P> {
    pub(super) policy: P,
    state: State,
    timer: Timer,
    /// Identifier and options of our last Configure-Request, until it is answered.
    pending: Option<(u8, Vec<u8>)>,
    /// The last identifier we used.
    identifier: u8,
    /// Transmissions that are left.
    remaining: u32,
    /// Configure-Requests sent since the last irc.
    sent: usize,
    sent_at: Time,
    naks: u32,
    rounds: u32,
}

/// The packet that an event is about.
type About<'a> = (&'a ControlPacket<'a>, &'a [u8]);

impl<P: Policy> Negotiation<P> {
    /// Starts at once: the lower layer is up.
    pub(super) fn start(
        policy: P,
        timer: Timer,
        now: Time,
        timers: &mut Deadlines<Timer>,
    ) -> (Self, Effects) {
        let mut negotiation = Self {
            policy,
            state: State::Starting,
            timer,
            pending: None,
            identifier: 0,
            remaining: 0,
            sent: 0,
            sent_at: now,
            naks: 0,
            rounds: 0,
        };
        let effects = negotiation.event(now, timers, Event::Up, None);
        (negotiation, effects)
    }

    /// Whether both ends agree.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Opened
    }

    /// An identifier for a packet that is not part of the negotiation.
    pub(super) const fn next_identifier(&mut self) -> u8 {
        self.identifier = self.identifier.wrapping_add(1);
        self.identifier
    }

    /// Ends it with Terminate-Request.
    pub(super) fn close(&mut self, now: Time, timers: &mut Deadlines<Timer>) -> Effects {
        self.event(now, timers, Event::Close, None)
    }

    /// Handles the restart timer.
    pub(super) fn expire(&mut self, now: Time, timers: &mut Deadlines<Timer>) -> Effects {
        let event = match self.remaining {
            0 => Event::LastTimeout,
            _ => Event::Timeout,
        };
        self.event(now, timers, event, None)
    }

    /// The peer does not know the protocol at all.
    pub(super) fn refuse(&mut self, now: Time, timers: &mut Deadlines<Timer>) -> Effects {
        self.event(now, timers, Event::FatalReject, None)
    }

    /// Handles a packet with a code from 1 to 7, or one that the protocol does not have.
    pub(super) fn handle(
        &mut self,
        now: Time,
        timers: &mut Deadlines<Timer>,
        packet: &ControlPacket<'_>,
        spare: u32,
    ) -> Effects {
        match packet.code {
            Code::CONFIGURE_REQUEST => self.requested(now, timers, packet),
            Code::CONFIGURE_ACK | Code::CONFIGURE_NAK | Code::CONFIGURE_REJECT => {
                self.answered(now, timers, packet, spare)
            }
            Code::TERMINATE_REQUEST => {
                self.event(now, timers, Event::TerminateRequest, Some((packet, &[])))
            }
            Code::TERMINATE_ACK => self.event(now, timers, Event::TerminateAck, None),
            Code::CODE_REJECT => {
                let rejected = packet.data.first().copied().unwrap_or(0);
                let event = match Code(rejected) {
                    Code::CONFIGURE_REQUEST
                    | Code::CONFIGURE_ACK
                    | Code::CONFIGURE_NAK
                    | Code::CONFIGURE_REJECT
                    | Code::TERMINATE_REQUEST
                    | Code::TERMINATE_ACK => Event::FatalReject,
                    _ => Event::PermittedReject,
                };
                self.event(now, timers, event, None)
            }
            _ => self.event(now, timers, Event::UnknownCode, Some((packet, &[]))),
        }
    }

    fn requested(
        &mut self,
        now: Time,
        timers: &mut Deadlines<Timer>,
        packet: &ControlPacket<'_>,
    ) -> Effects {
        let options = Options::new(packet.data);
        if !options.is_well_formed() {
            return Effects::default();
        }
        let mut early = Vec::new();
        if self.state == State::ReqSent && now.since(self.sent_at) >= PERHAPS_LOST_AFTER {
            // Before the answer: a peer that already has our request must not get it again once it is open.
            self.send_request(now, &mut early);
        }
        let (event, answer) = match self.policy.review(options, self.naks >= MAX_FAILURE) {
            Review::Ack => {
                self.naks = 0;
                (Event::GoodRequest, packet.data.to_vec())
            }
            Review::Nak(options) => {
                self.naks += 1;
                (Event::BadRequest, nak(Code::CONFIGURE_NAK, options))
            }
            Review::Reject(options) => (Event::BadRequest, nak(Code::CONFIGURE_REJECT, options)),
        };
        let mut effects = self.event(now, timers, event, Some((packet, &answer)));
        early.append(&mut effects.frames);
        effects.frames = early;
        effects
    }

    fn answered(
        &mut self,
        now: Time,
        timers: &mut Deadlines<Timer>,
        packet: &ControlPacket<'_>,
        spare: u32,
    ) -> Effects {
        let options = Options::new(packet.data);
        let answers = |(identifier, _): &&(u8, Vec<u8>)| *identifier == packet.identifier;
        let pending = self.pending.as_ref().filter(answers);
        let Some((_, pending)) = pending.filter(|_| options.is_well_formed()) else {
            return Effects::default();
        };
        let event = match packet.code {
            // RFC 1661 §5.2: "the Configuration Options in a Configure-Ack MUST exactly match those of the last
            // transmitted Configure-Request. Invalid packets are silently discarded."
            Code::CONFIGURE_ACK if packet.data != pending => return Effects::default(),
            Code::CONFIGURE_ACK => Event::Ack,
            _ => Event::Nak,
        };
        self.pending = None;
        if event == Event::Nak {
            self.rounds += 1;
            let yielded = match packet.code {
                Code::CONFIGURE_NAK => self.policy.yield_to(options, spare),
                _ => self.policy.leave_out(options),
            };
            let hopeless = (self.rounds > MAX_ROUNDS).then_some(Cause::NoAgreement);
            if let Some(cause) = yielded.err().or(hopeless) {
                return Effects {
                    frames: Vec::new(),
                    signal: Some(Signal::Hopeless(cause)),
                };
            }
        }
        self.event(now, timers, event, None)
    }

    fn event(
        &mut self,
        now: Time,
        timers: &mut Deadlines<Timer>,
        event: Event,
        about: Option<About<'_>>,
    ) -> Effects {
        let before = self.state;
        let (actions, next) = transition(before, event);
        self.state = next;
        let mut effects = Effects::default();
        for &action in actions {
            self.act(now, action, actions, about, &mut effects);
        }
        self.rearm(now, timers, before, actions);
        effects
    }

    fn act(
        &mut self,
        now: Time,
        action: Action,
        actions: &[Action],
        about: Option<About<'_>>,
        effects: &mut Effects,
    ) {
        let frames = &mut effects.frames;
        match (action, about) {
            (Action::LayerUp, _) => effects.signal = Some(Signal::Up),
            (Action::LayerDown, _) => {
                self.rounds = 0;
                self.naks = 0;
                self.sent = 0;
                effects.signal = Some(Signal::Down);
            }
            (Action::LayerFinished, _) => effects.signal = Some(Signal::Finished),
            (Action::InitializeRestartCount, _) => {
                self.sent = 0;
                self.remaining = match actions.contains(&Action::SendTerminateRequest) {
                    true => MAX_TERMINATE,
                    false => MAX_CONFIGURE,
                };
            }
            (Action::ZeroRestartCount, _) => self.remaining = 0,
            (Action::SendConfigureRequest, _) => self.send_request(now, frames),
            (Action::SendConfigureAck, Some((packet, answer))) => {
                frames.push(frame::<P>(Code::CONFIGURE_ACK, packet.identifier, answer));
            }
            (Action::SendConfigureNak, Some((packet, [code, answer @ ..]))) => {
                frames.push(frame::<P>(Code(*code), packet.identifier, answer));
            }
            (Action::SendTerminateRequest, _) => {
                self.remaining = self.remaining.saturating_sub(1);
                let identifier = self.next_identifier();
                frames.push(frame::<P>(Code::TERMINATE_REQUEST, identifier, &[]));
            }
            (Action::SendTerminateAck, about) => {
                let identifier = about.map_or(self.identifier, |(packet, _)| packet.identifier);
                frames.push(frame::<P>(Code::TERMINATE_ACK, identifier, &[]));
            }
            (Action::SendCodeReject, Some((packet, _))) => {
                let identifier = self.next_identifier();
                let rejected = packet.bytes.get(..512).unwrap_or(packet.bytes);
                frames.push(frame::<P>(Code::CODE_REJECT, identifier, rejected));
            }
            // The session answers echoes itself; the other actions always come with a packet.
            (
                Action::LayerStarted
                | Action::SendConfigureAck
                | Action::SendConfigureNak
                | Action::SendCodeReject
                | Action::SendEchoReply,
                _,
            ) => {}
        }
    }

    fn send_request(&mut self, now: Time, frames: &mut Vec<Vec<u8>>) {
        let options = self.policy.request();
        // RFC 1661 §5.1: a new identifier for new options and after a valid answer; the same for a retransmission.
        let identifier = match &self.pending {
            Some((identifier, pending)) if *pending == options => *identifier,
            Some(_) | None => self.next_identifier(),
        };
        frames.push(frame::<P>(Code::CONFIGURE_REQUEST, identifier, &options));
        self.pending = Some((identifier, options));
        self.remaining = self.remaining.saturating_sub(1);
        self.sent += 1;
        self.sent_at = now;
    }

    fn rearm(
        &mut self,
        now: Time,
        timers: &mut Deadlines<Timer>,
        before: State,
        actions: &[Action],
    ) {
        let sends = [
            Action::SendConfigureRequest,
            Action::SendTerminateRequest,
            Action::ZeroRestartCount,
        ];
        let restarts = actions.iter().any(|action| sends.contains(action));
        if !restarts && self.state == before && timers.is_set(self.timer) {
            return;
        }
        let after = match self.state {
            State::Initial | State::Starting | State::Closed | State::Stopped | State::Opened => {
                return timers.cancel(self.timer);
            }
            State::Closing | State::Stopping => TERMINATE_INTERVAL,
            State::ReqSent => {
                let early = INTERVALS_MS.get(self.sent.saturating_sub(1)).copied();
                early.map_or(LAST_INTERVAL, Duration::from_millis)
            }
            State::AckSent if !restarts => AFTER_ACK,
            State::AckRcvd | State::AckSent => LAST_INTERVAL,
        };
        timers.set_after(self.timer, now, after);
    }
}

/// A Configure-Nak's or -Reject's code and options, kept together until the automaton sends them.
fn nak(code: Code, options: Vec<u8>) -> Vec<u8> {
    [vec![code.0], options].concat()
}

fn frame<P: Policy>(code: Code, identifier: u8, data: &[u8]) -> Vec<u8> {
    packet(P::PROTOCOL, code, identifier, data)
}

/// A frame with one control packet, from its protocol field on.
pub(super) fn packet(protocol: Protocol, code: Code, identifier: u8, data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 2 + control::HEADER_LEN + data.len()];
    let mut writer = Writer::new(&mut frame);
    let written = writer
        .u16(protocol.0)
        .and_then(|()| control::put(&mut writer, code, identifier, |writer| writer.put(data)));
    written.expect("the buffer has the length of what is written, which is below 64 KiB");
    frame
}
