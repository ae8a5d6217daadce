//! One tunnel: from the SCCRP we answer with to its end (RFC 2661 §5.1, §7.2.1).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use culvert_wire::id::{SessionId, TunnelId};
use culvert_wire::l2tp::avp::{self, AttributeType, ErrorCode, ResultCode};
use culvert_wire::l2tp::message::{
    self, Body, ControlMessage, MessageError, MessageType, cdn, stop_ccn,
};
use culvert_wire::writer::{Overflow, Writer};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use crate::deadlines::Deadlines;
use crate::l2tp::attributes::{Attributes, Refusal, need};
use crate::l2tp::authentication;
use crate::l2tp::channel::{Arrival, Channel, Expiry};
use crate::l2tp::config::{Authentication, Config};
use crate::l2tp::output::{Cause, Note, Output, Peer, SessionKey, SessionOpened, TunnelKey};
use crate::l2tp::request::{CHALLENGE_LEN, Request, put_sccrp};
use crate::l2tp::retired::{Retired, random};
use crate::l2tp::session::{self, IncomingCall, Session};
use crate::rows::InnerPorts;
use crate::time::Time;

/// Time a closed tunnel stays to acknowledge its peer's repeats: a whole cycle of retransmission (RFC 2661 §5.7).
pub(super) const LINGER: Duration = Duration::from_secs(31);

/// Time from SCCRQ to SCCCN.
const ESTABLISH: Duration = Duration::from_secs(35);

/// The same for a peer in the clear.
const ESTABLISH_UNPROVED: Duration = Duration::from_secs(10);

/// Time from ICRP to ICCN.
const ANSWER: Duration = Duration::from_secs(35);

/// Longest message of ours in bytes.
const MAX_MESSAGE_LEN: usize = 256;

/// What the server's timer table knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Timer {
    /// Send the oldest unacknowledged message again.
    Retransmit(TunnelKey),
    /// Ask a silent peer whether it is there.
    Hello(TunnelKey),
    /// Give up waiting for SCCCN.
    Establish(TunnelKey),
    /// Close a tunnel without sessions.
    Idle(TunnelKey),
    /// Forget a closed tunnel.
    Linger(TunnelKey),
    /// Give up waiting for ICCN.
    Answer(TunnelKey, SessionId),
    /// Forget which ids a peer had.
    Forget(Peer),
}

/// What a tunnel changes outside itself.
pub(super) struct Context<'a> {
    pub(super) now: Time,
    pub(super) config: &'a Config,
    pub(super) timers: &'a mut Deadlines<Timer>,
    pub(super) output: &'a mut VecDeque<Output>,
    pub(super) sessions: &'a mut BTreeMap<SessionKey, (TunnelKey, SessionId)>,
    pub(super) next_session: &'a mut u64,
}

impl Context<'_> {
    pub(super) fn note(&mut self, note: Note) {
        self.output.push_back(Output::Note(note));
    }
}

/// What a tunnel awaits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    ExpectScccn(ExpectScccn),
    Established { since: Time },
    ExpectStopAck,
    Lingering,
    Gone,
}

/// A tunnel whose SCCRP is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExpectScccn {
    /// The SCCRQ, to know it again.
    request: Vec<u8>,
    /// Our challenge, if the peer must prove the secret.
    challenge: Option<[u8; CHALLENGE_LEN]>,
}

/// A tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tunnel {
    pub(super) key: TunnelKey,
    pub(super) peer: Peer,
    pub(super) ports: InnerPorts,
    pub(super) local: TunnelId,
    pub(super) remote: TunnelId,
    pub(super) state: State,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    host_name: Vec<u8>,
    channel: Channel,
    retired: Retired,
    proof: Proof,
}

/// Whether a peer is known to be where its packets say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Proof {
    Proved,
    /// No more than one message of so many bytes may be sent now.
    Unproved {
        allowance: usize,
    },
}

/// The end of handling one message: gone on, or the tunnel or session must end with an error.
type Handled = Result<(), Failure>;

/// Whom an error ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Tunnel(Cause, u16, ErrorCode),
    Session(SessionId, Cause, u16, ErrorCode),
}

impl Tunnel {
    /// Answers an SCCRQ with an SCCRP under the id `local`; `None` if the peer may not get so long an answer.
    pub(super) fn open(
        cx: &mut Context<'_>,
        rng: &mut dyn CryptoRng,
        (key, peer, ports): (TunnelKey, Peer, InnerPorts),
        local: TunnelId,
        request: Request<'_>,
    ) -> Option<Self> {
        let mut channel = Channel::new(request.peer_tunnel, request.ns, request.peer_window);
        let (proof, wait, limit) = match peer {
            Peer::Set(_) => {
                channel.widen(cx.config.receive_window);
                (Proof::Proved, ESTABLISH, MAX_MESSAGE_LEN)
            }
            Peer::Clear { .. } => {
                let allowance = request.bytes.len();
                let limit = allowance.min(MAX_MESSAGE_LEN);
                (Proof::Unproved { allowance }, ESTABLISH_UNPROVED, limit)
            }
        };
        let challenge = match &cx.config.authentication {
            Authentication::Require(_) => Some(random(rng)),
            Authentication::None | Authentication::Answer(_) => None,
        };
        let mut buffer = [0; MAX_MESSAGE_LEN];
        let buffer = buffer.get_mut(..limit)?;
        let header = channel.header(SessionId(0));
        let len = message::emit(buffer, header, MessageType::SCCRP, |writer| {
            put_sccrp(
                writer,
                limit,
                cx.config,
                local,
                &request,
                challenge.as_ref(),
            )
        })
        .ok()?;
        channel.push(buffer.get(..len)?.to_vec());
        cx.timers.set_after(Timer::Establish(key), cx.now, wait);
        Some(Self {
            key,
            peer,
            ports,
            local,
            remote: request.peer_tunnel,
            state: State::ExpectScccn(ExpectScccn {
                request: request.bytes.to_vec(),
                challenge,
            }),
            sessions: BTreeMap::new(),
            host_name: request.host_name,
            channel,
            retired: Retired::new((cx.config.sessions_per_tunnel * 64).clamp(256, 16_384)),
            proof,
        })
    }

    /// Whether a repeated SCCRQ with these bytes is a late copy of the one that made this tunnel.
    pub(super) fn was_made_by(&self, request: &[u8], now: Time) -> bool {
        match &self.state {
            State::ExpectScccn(state) => state.request == request,
            State::Established { since } => now.since(*since) < LINGER,
            State::ExpectStopAck | State::Lingering | State::Gone => false,
        }
    }

    /// Whether its peer in the clear has not proved itself.
    pub(super) const fn is_unproved(&self) -> bool {
        matches!(self.proof, Proof::Unproved { .. })
    }

    /// Sends SCCRP once more because SCCRQ came once more.
    pub(super) fn repeat_reply(&mut self, cx: &mut Context<'_>, request_len: usize) {
        cx.note(Note::Duplicate);
        if matches!(self.state, State::ExpectScccn(_))
            && let Some(bytes) = self.channel.repeat()
        {
            self.allow(request_len);
            self.transmit(cx, bytes);
        }
    }

    /// Handles a control message that names this tunnel and comes from its peer.
    pub(super) fn handle(
        &mut self,
        cx: &mut Context<'_>,
        rng: &mut dyn CryptoRng,
        message: ControlMessage<'_>,
        bytes: &[u8],
    ) {
        self.allow(bytes.len());
        if self.channel.acknowledge(message.header.nr) {
            cx.timers.cancel(Timer::Retransmit(self.key));
            self.end_if_acknowledged();
        }
        if matches!(self.state, State::Established { .. }) {
            let after = cx.config.hello_after;
            cx.timers.set_after(Timer::Hello(self.key), cx.now, after);
        }
        if message.is_zlb() {
            return;
        }
        match self.channel.arrive(message.header.ns, bytes) {
            Arrival::Next => self.run(cx, rng, message),
            Arrival::Early if is_stop_ccn(&message) => self.obey_stop(cx, &message),
            Arrival::Early => {}
            Arrival::Duplicate => cx.note(Note::Duplicate),
            Arrival::Outside => cx.note(Note::OutsideWindow),
        }
        while let Some(bytes) = self.channel.next_early() {
            if let Ok(message) = ControlMessage::parse(&bytes) {
                self.run(cx, rng, message);
            }
        }
    }

    fn end_if_acknowledged(&mut self) {
        if self.state == State::ExpectStopAck && self.channel.is_idle() {
            self.state = State::Gone;
        }
    }

    fn run(&mut self, cx: &mut Context<'_>, rng: &mut dyn CryptoRng, message: ControlMessage<'_>) {
        match self.state {
            State::ExpectScccn(_) | State::Established { .. } => {}
            State::ExpectStopAck | State::Lingering | State::Gone => {
                if is_stop_ccn(&message) {
                    self.obey_stop(cx, &message);
                }
                return;
            }
        }
        let handled = match message.body() {
            Ok(body) => self.dispatch(cx, rng, &message, body),
            Err(_) => Err(Failure::Tunnel(
                Cause::Misbehaved,
                stop_ccn::GENERAL_ERROR,
                ErrorCode::VALUE,
            )),
        };
        let Err(failure) = handled else { return };
        let kind = message.body().map_or(MessageType(0), |body| body.kind);
        cx.note(Note::Refused(kind));
        match failure {
            Failure::Tunnel(cause, result, error) => self.stop(cx, cause, result, error),
            Failure::Session(session, cause, result, error) => {
                self.hang_up(cx, session, cause, result, error);
            }
        }
    }

    fn dispatch(
        &mut self,
        cx: &mut Context<'_>,
        rng: &mut dyn CryptoRng,
        message: &ControlMessage<'_>,
        body: Body<'_>,
    ) -> Handled {
        let established = matches!(self.state, State::Established { .. });
        let session = message.header.session;
        match body.kind {
            MessageType::STOP_CCN => self.obey_stop(cx, message),
            MessageType::HELLO => {
                Attributes::read(body.avps, cx.config.authentication.secret())
                    .map_err(general_error)?;
            }
            MessageType::SCCCN if !established => return self.scccn(cx, body),
            MessageType::ICRQ if established => return self.icrq(cx, rng, body),
            MessageType::ICCN if established => return self.iccn(cx, session, body),
            MessageType::CDN if established => self.obey_cdn(cx, session, body),
            MessageType::OCRQ if established => self.refuse_call(cx, rng, body, cdn::PERMANENT),
            MessageType::WEN | MessageType::SLI if established => {}
            // RFC 2661 §7.2.1: these make no sense now and end the tunnel.
            MessageType::SCCRQ
            | MessageType::SCCRP
            | MessageType::SCCCN
            | MessageType::OCRQ
            | MessageType::OCRP
            | MessageType::OCCN
            | MessageType::ICRQ
            | MessageType::ICRP
            | MessageType::ICCN
            | MessageType::CDN
            | MessageType::WEN
            | MessageType::SLI => return Err(state_machine_error()),
            _ if body.mandatory => {
                return Err(general_error(Refusal(ErrorCode::UNKNOWN_MANDATORY)));
            }
            kind => cx.note(Note::Refused(kind)),
        }
        Ok(())
    }

    fn scccn(&mut self, cx: &mut Context<'_>, body: Body<'_>) -> Handled {
        let secret = cx.config.authentication.secret();
        let attributes = Attributes::read(body.avps, secret).map_err(general_error)?;
        let State::ExpectScccn(state) = &self.state else {
            return Err(state_machine_error());
        };
        if let Some(challenge) = &state.challenge {
            let received = attributes.bytes(AttributeType::CHALLENGE_RESPONSE);
            let proved = secret.zip(received).is_some_and(|(secret, received)| {
                authentication::proves(MessageType::SCCCN, secret, challenge, received)
            });
            if !proved {
                return Err(Failure::Tunnel(
                    Cause::NotAuthorized,
                    stop_ccn::NOT_AUTHORIZED,
                    ErrorCode::NONE,
                ));
            }
        }
        self.state = State::Established { since: cx.now };
        self.proof = Proof::Proved;
        self.channel.widen(cx.config.receive_window);
        cx.timers.cancel(Timer::Establish(self.key));
        let after = cx.config.hello_after;
        cx.timers.set_after(Timer::Hello(self.key), cx.now, after);
        self.watch_idle(cx);
        cx.output.push_back(Output::TunnelOpened {
            tunnel: self.key,
            peer: self.peer,
            host_name: self.host_name.clone(),
        });
        Ok(())
    }

    fn icrq(&mut self, cx: &mut Context<'_>, rng: &mut dyn CryptoRng, body: Body<'_>) -> Handled {
        let secret = cx.config.authentication.secret();
        let call = Attributes::read(body.avps, secret)
            .and_then(|attributes| IncomingCall::read(&attributes));
        let call = match call {
            Ok(call) => call,
            Err(Refusal(error)) => {
                cx.note(Note::Refused(body.kind));
                self.refuse_call_with(cx, rng, body, cdn::GENERAL_ERROR, error);
                return Ok(());
            }
        };
        // The peer gives an id out again, so it has forgotten the session that had it.
        let forgotten = self.find_peer_session(call.peer_session);
        if let Some(session) = forgotten {
            self.forget_session(cx, session, Cause::Replaced);
        }
        if self.sessions.len() >= cx.config.sessions_per_tunnel {
            cx.note(Note::Exhausted);
            self.refuse_call(cx, rng, body, cdn::TEMPORARY);
            return Ok(());
        }
        let in_use = &self.sessions;
        let drawn = self
            .retired
            .draw(cx.now, rng, |id| in_use.contains_key(&SessionId(id)));
        let Some(local) = drawn.map(SessionId) else {
            cx.note(Note::Exhausted);
            self.refuse_call(cx, rng, body, cdn::TEMPORARY);
            return Ok(());
        };
        self.accept_call(cx, local, call);
        Ok(())
    }

    fn accept_call(&mut self, cx: &mut Context<'_>, local: SessionId, call: IncomingCall) {
        *cx.next_session += 1;
        let key = SessionKey(*cx.next_session);
        let session = Session {
            key,
            peer_session: call.peer_session,
            state: session::State::ExpectIccn,
        };
        self.sessions.insert(local, session);
        cx.sessions.insert(key, (self.key, local));
        cx.timers.cancel(Timer::Idle(self.key));
        cx.timers
            .set_after(Timer::Answer(self.key, local), cx.now, ANSWER);
        cx.output.push_back(Output::SessionOpened(SessionOpened {
            session: key,
            tunnel: self.key,
            peer: self.peer,
            ports: self.ports,
            local_tunnel: self.local,
            local_session: local,
            peer_tunnel: self.remote,
            peer_session: call.peer_session,
            call_serial_number: call.serial_number,
            calling_number: call.calling_number,
            called_number: call.called_number,
        }));
        self.send(call.peer_session, MessageType::ICRP, |writer| {
            let attribute = AttributeType::ASSIGNED_SESSION_ID;
            avp::put_u16(writer, need(attribute), attribute, local.0)
        });
    }

    fn iccn(&mut self, cx: &mut Context<'_>, local: SessionId, body: Body<'_>) -> Handled {
        let Some(session) = self.sessions.get_mut(&local) else {
            cx.note(Note::UnknownSession(local));
            return Ok(());
        };
        if session.state != session::State::ExpectIccn {
            let error = ErrorCode::NONE;
            return Err(Failure::Session(
                local,
                Cause::Misbehaved,
                cdn::GENERAL_ERROR,
                error,
            ));
        }
        let secret = cx.config.authentication.secret();
        let connected = Attributes::read(body.avps, secret)
            .and_then(|attributes| session::connected(session.key, &attributes))
            .map_err(|Refusal(error)| {
                Failure::Session(local, Cause::Misbehaved, cdn::GENERAL_ERROR, error)
            })?;
        session.state = session::State::Established;
        cx.timers.cancel(Timer::Answer(self.key, local));
        cx.output.push_back(Output::SessionConnected(connected));
        Ok(())
    }

    /// Ends the session a CDN names, whatever the lengths of its AVPs say: by header, or by the peer's own id.
    fn obey_cdn(&mut self, cx: &mut Context<'_>, local: SessionId, body: Body<'_>) {
        let attributes = Attributes::salvage(body.avps, cx.config.authentication.secret());
        let cause = Cause::Peer(attributes.result_code());
        let assigned = attributes.id(AttributeType::ASSIGNED_SESSION_ID);
        let by_peer_id = || self.find_peer_session(SessionId(assigned.ok().flatten()?));
        let named = self.sessions.contains_key(&local).then_some(local);
        match named.or_else(by_peer_id) {
            Some(session) => self.forget_session(cx, session, cause),
            None => cx.note(Note::UnknownSession(local)),
        }
    }

    /// Ends the tunnel, whatever the lengths of the StopCCN's AVPs say.
    fn obey_stop(&mut self, cx: &mut Context<'_>, message: &ControlMessage<'_>) {
        let result = message.body().map_or(0, |body| {
            Attributes::salvage(body.avps, cx.config.authentication.secret()).result_code()
        });
        self.end(cx, Cause::Peer(result));
        self.channel.stop_receiving();
        self.state = State::Lingering;
        cx.timers.set_after(Timer::Linger(self.key), cx.now, LINGER);
    }

    fn refuse_call(
        &mut self,
        cx: &mut Context<'_>,
        rng: &mut dyn CryptoRng,
        body: Body<'_>,
        result: u16,
    ) {
        self.refuse_call_with(cx, rng, body, result, ErrorCode::NONE);
    }

    /// Answers a call request with CDN, if it names the session it wants.
    fn refuse_call_with(
        &mut self,
        cx: &mut Context<'_>,
        rng: &mut dyn CryptoRng,
        body: Body<'_>,
        result: u16,
        error: ErrorCode,
    ) {
        let attributes = Attributes::salvage(body.avps, cx.config.authentication.secret());
        if let Ok(Some(peer)) = attributes.id(AttributeType::ASSIGNED_SESSION_ID) {
            let unused = SessionId(u16::from_be_bytes(random(rng)) | 1);
            self.send_cdn(SessionId(peer), unused, result, error);
        }
    }

    /// Closes one session with CDN.
    pub(super) fn hang_up(
        &mut self,
        cx: &mut Context<'_>,
        local: SessionId,
        cause: Cause,
        result: u16,
        error: ErrorCode,
    ) {
        let Some(session) = self.sessions.get(&local) else {
            return;
        };
        self.send_cdn(session.peer_session, local, result, error);
        self.forget_session(cx, local, cause);
    }

    fn send_cdn(&mut self, peer: SessionId, local: SessionId, result: u16, error: ErrorCode) {
        self.send(peer, MessageType::CDN, |writer| {
            put_result(writer, result, error)?;
            let attribute = AttributeType::ASSIGNED_SESSION_ID;
            avp::put_u16(writer, need(attribute), attribute, local.0)
        });
    }

    /// Closes the tunnel with StopCCN; its sessions need no CDN of their own (RFC 2661 §5.7).
    pub(super) fn stop(
        &mut self,
        cx: &mut Context<'_>,
        cause: Cause,
        result: u16,
        error: ErrorCode,
    ) {
        self.end(cx, cause);
        let local = self.local;
        self.send(SessionId(0), MessageType::STOP_CCN, |writer| {
            let attribute = AttributeType::ASSIGNED_TUNNEL_ID;
            avp::put_u16(writer, need(attribute), attribute, local.0)?;
            put_result(writer, result, error)
        });
        self.channel.stop_receiving();
        self.state = State::ExpectStopAck;
        if self.is_unproved() {
            // No timer may send: wait once for the peer, then forget.
            cx.timers
                .set_after(Timer::Linger(self.key), cx.now, ESTABLISH_UNPROVED);
        }
    }

    /// Says CDN to every session, then StopCCN.
    pub(super) fn shut_down(&mut self, cx: &mut Context<'_>) {
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        for session in sessions {
            let result = cdn::ADMINISTRATIVE;
            self.hang_up(cx, session, Cause::Administrative, result, ErrorCode::NONE);
        }
        match self.state {
            State::ExpectScccn(_) | State::Established { .. } => {
                let result = stop_ccn::SHUTTING_DOWN;
                self.stop(cx, Cause::Administrative, result, ErrorCode::NONE);
            }
            State::ExpectStopAck | State::Lingering | State::Gone => {}
        }
    }

    /// Ends without a word.
    pub(super) fn vanish(&mut self, cx: &mut Context<'_>, cause: Cause) {
        self.end(cx, cause);
        self.state = State::Gone;
    }

    /// Tells the outside that sessions and tunnel are over, and stops their timers.
    fn end(&mut self, cx: &mut Context<'_>, cause: Cause) {
        while let Some((&local, _)) = self.sessions.first_key_value() {
            self.forget_session(cx, local, cause);
        }
        if matches!(self.state, State::Established { .. }) {
            cx.output.push_back(Output::TunnelClosed {
                tunnel: self.key,
                cause,
            });
        }
        for timer in [Timer::Hello, Timer::Establish, Timer::Idle] {
            cx.timers.cancel(timer(self.key));
        }
    }

    fn forget_session(&mut self, cx: &mut Context<'_>, local: SessionId, cause: Cause) {
        let Some(session) = self.sessions.remove(&local) else {
            return;
        };
        self.retired.push(cx.now, local.0);
        cx.sessions.remove(&session.key);
        cx.timers.cancel(Timer::Answer(self.key, local));
        cx.output.push_back(Output::SessionClosed {
            session: session.key,
            cause,
        });
        self.watch_idle(cx);
    }

    fn watch_idle(&self, cx: &mut Context<'_>) {
        if self.sessions.is_empty() {
            let after = cx.config.idle_after;
            cx.timers.set_after(Timer::Idle(self.key), cx.now, after);
        }
    }

    fn find_peer_session(&self, peer: SessionId) -> Option<SessionId> {
        let mut sessions = self.sessions.iter();
        sessions
            .find(|(_, session)| session.peer_session == peer)
            .map(|(&local, _)| local)
    }

    /// The retransmission timer has run out.
    pub(super) fn retransmit(&mut self, cx: &mut Context<'_>) {
        match self.channel.expire() {
            Expiry::Nothing => {}
            Expiry::Again(bytes) => self.transmit(cx, bytes),
            Expiry::Unreachable => self.vanish(cx, Cause::Unreachable),
        }
    }

    /// The peer has been silent.
    pub(super) fn hello(&mut self, cx: &mut Context<'_>) {
        if self.channel.is_idle() {
            self.send(SessionId(0), MessageType::HELLO, |_| Ok(()));
        }
        let after = cx.config.hello_after;
        cx.timers.set_after(Timer::Hello(self.key), cx.now, after);
    }

    fn send(
        &mut self,
        session: SessionId,
        kind: MessageType,
        avps: impl FnOnce(&mut Writer<'_>) -> Result<(), Overflow>,
    ) {
        let mut buffer = [0; MAX_MESSAGE_LEN];
        let header = self.channel.header(session);
        let emitted = message::emit(&mut buffer, header, kind, avps);
        let len =
            emitted.expect("CDN, StopCCN, ICRP and Hello have a fixed length below 256 bytes");
        self.channel
            .push(buffer.get(..len).unwrap_or_default().to_vec());
    }

    /// Sends what the windows allow, or else an acknowledgement that is owed.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) {
        if self.state == State::Gone {
            return;
        }
        while let Some(bytes) = self.channel.poll_transmit() {
            self.transmit(cx, bytes);
        }
        if let Some(bytes) = self.channel.poll_ack() {
            self.transmit(cx, bytes);
        }
        let timer = Timer::Retransmit(self.key);
        if self.is_unproved() {
            self.allow(0);
        } else if !cx.timers.is_set(timer)
            && let Some(after) = self.channel.retransmit_after()
        {
            cx.timers.set_after(timer, cx.now, after);
        }
    }

    const fn allow(&mut self, request_len: usize) {
        if let Proof::Unproved { allowance } = &mut self.proof {
            *allowance = request_len;
        }
    }

    fn transmit(&mut self, cx: &mut Context<'_>, bytes: Vec<u8>) {
        if let Proof::Unproved { allowance } = &mut self.proof {
            if bytes.len() > *allowance {
                cx.note(Note::Amplification);
                return;
            }
            *allowance = 0;
        }
        cx.output.push_back(Output::Transmit {
            peer: self.peer,
            ports: self.ports,
            bytes,
        });
    }
}

pub(super) fn put_result(
    writer: &mut Writer<'_>,
    result: u16,
    error: ErrorCode,
) -> Result<(), Overflow> {
    let message = &[];
    avp::put_result_code(
        writer,
        ResultCode {
            result,
            error,
            message,
        },
    )
}

fn is_stop_ccn(message: &ControlMessage<'_>) -> bool {
    let kind: Result<MessageType, MessageError> = message.body().map(|body| body.kind);
    kind == Ok(MessageType::STOP_CCN)
}

const fn state_machine_error() -> Failure {
    Failure::Tunnel(Cause::Misbehaved, stop_ccn::STATE_MACHINE, ErrorCode::NONE)
}

const fn general_error(Refusal(error): Refusal) -> Failure {
    Failure::Tunnel(Cause::Misbehaved, stop_ccn::GENERAL_ERROR, error)
}
