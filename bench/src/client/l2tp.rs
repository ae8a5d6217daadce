//! The LAC's side of an L2TP tunnel with one call (RFC 2661 §5.1, §5.2, §5.8, §7.2–§7.4).
//!
//! ```text
//! SCCRQ ─▶ ExpectTunnel ─ SCCRP ◀─ SCCCN ICRQ ─▶ ExpectCall ─ ICRP ◀─ ICCN ─▶ Connected
//! ```

use std::collections::VecDeque;

use culvert_wire::id::{SessionId, TunnelId};
use culvert_wire::l2tp::avp::{self, AttributeType, AvpError, Avps, Need, ResultCode};
use culvert_wire::l2tp::message::{
    self, ControlHeader, ControlMessage, MessageType, cdn, stop_ccn,
};
use culvert_wire::writer::{Overflow, Writer};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::Time;
use super::cause::{Cause, Stage};
use super::retransmit::{Due, Retransmit};

/// What has come of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The call is connected: PPP may begin.
    Connected,
    /// The answer to this step was late.
    SentAgain(Stage),
    /// It is over.
    Down(Cause),
}

/// Ids of tunnel and call, and whose they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ids {
    /// In messages to us.
    pub(super) local_tunnel: TunnelId,
    /// In messages to us.
    pub(super) local_session: SessionId,
    /// In messages to the LNS.
    pub(super) peer_tunnel: TunnelId,
    /// In messages to the LNS.
    pub(super) peer_session: SessionId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    ExpectTunnel,
    ExpectCall,
    Connected,
    Closed,
}

/// The LAC.
#[derive(Debug)]
pub(super) struct Lac {
    state: State,
    ids: Ids,
    delivery: Delivery,
}

/// Our receive window (RFC 2661 §4.4.3).
const RECEIVE_WINDOW: u16 = 4;
const HOST_NAME: &[u8] = b"culvert-bench";
const FRAMING_SYNC_AND_ASYNC: u32 = 3;
const FRAMING_SYNC: u32 = 1;
const CONNECT_SPEED_BPS: u32 = 100_000_000;

impl Lac {
    pub(super) fn new() -> Self {
        Self {
            state: State::Idle,
            ids: Ids::default(),
            delivery: Delivery::default(),
        }
    }

    pub(super) const fn ids(&self) -> Ids {
        self.ids
    }

    /// Sends SCCRQ.
    pub(super) fn start(&mut self, now: Time, rng: &mut ChaCha20Rng) -> Option<Event> {
        self.ids.local_tunnel = TunnelId(nonzero(rng));
        self.ids.local_session = SessionId(nonzero(rng));
        self.state = State::ExpectTunnel;
        let id = self.ids.local_tunnel.0;
        let sent = self
            .delivery
            .send(now, MessageType::SCCRQ, SessionId(0), |writer| {
                avp::put(
                    writer,
                    Need::Mandatory,
                    AttributeType::PROTOCOL_VERSION,
                    &[1, 0],
                )?;
                avp::put(writer, Need::Mandatory, AttributeType::HOST_NAME, HOST_NAME)?;
                put_u32(
                    writer,
                    AttributeType::FRAMING_CAPABILITIES,
                    FRAMING_SYNC_AND_ASYNC,
                )?;
                put_u16(writer, AttributeType::ASSIGNED_TUNNEL_ID, id)?;
                put_u16(writer, AttributeType::RECEIVE_WINDOW_SIZE, RECEIVE_WINDOW)
            });
        self.went(sent)
    }

    /// Takes a control message.
    pub(super) fn handle(
        &mut self,
        now: Time,
        bytes: &[u8],
        rng: &mut ChaCha20Rng,
    ) -> Option<Event> {
        let message = ControlMessage::parse(bytes).ok()?;
        if message.header.tunnel != self.ids.local_tunnel || self.state == State::Idle {
            return None;
        }
        self.delivery.acknowledged(now, message.header.nr);
        if message.is_zlb() {
            return None;
        }
        let event = match self.delivery.receive(message.header.ns) {
            Order::Next => message
                .body()
                .ok()
                .and_then(|body| self.act(now, body.kind, body.avps, rng)),
            Order::Other => None,
        };
        self.delivery.acknowledge();
        event
    }

    fn act(
        &mut self,
        now: Time,
        kind: MessageType,
        avps: Avps<'_>,
        rng: &mut ChaCha20Rng,
    ) -> Option<Event> {
        match (kind, self.state) {
            (MessageType::SCCRP, State::ExpectTunnel) => {
                let tunnel = number(avps, AttributeType::ASSIGNED_TUNNEL_ID)?;
                let window = number(avps, AttributeType::RECEIVE_WINDOW_SIZE);
                self.ids.peer_tunnel = TunnelId(tunnel);
                self.delivery.open(self.ids.peer_tunnel, window);
                let sent = self.call(now, rng);
                self.went(sent)
            }
            (MessageType::ICRP, State::ExpectCall) => {
                self.ids.peer_session =
                    SessionId(number(avps, AttributeType::ASSIGNED_SESSION_ID)?);
                let session = self.ids.peer_session;
                let sent = self
                    .delivery
                    .send(now, MessageType::ICCN, session, |writer| {
                        put_u32(writer, AttributeType::TX_CONNECT_SPEED, CONNECT_SPEED_BPS)?;
                        put_u32(writer, AttributeType::FRAMING_TYPE, FRAMING_SYNC)
                    });
                self.state = State::Connected;
                self.went(sent).or(Some(Event::Connected))
            }
            (MessageType::STOP_CCN, _) => self.end(Cause::TunnelClosed(result(avps))),
            (MessageType::CDN, _) => self.end(Cause::CallClosed(result(avps))),
            _ => None,
        }
    }

    /// Sends SCCCN and ICRQ.
    fn call(&mut self, now: Time, rng: &mut ChaCha20Rng) -> Result<(), Overflow> {
        let (serial, id) = (rng.next_u32(), self.ids.local_session.0);
        self.delivery
            .send(now, MessageType::SCCCN, SessionId(0), |_| Ok(()))?;
        self.delivery
            .send(now, MessageType::ICRQ, SessionId(0), |writer| {
                put_u16(writer, AttributeType::ASSIGNED_SESSION_ID, id)?;
                put_u32(writer, AttributeType::CALL_SERIAL_NUMBER, serial)
            })?;
        self.state = State::ExpectCall;
        Ok(())
    }

    /// Sends CDN and StopCCN, as far as there are a call and a tunnel, once and without waiting.
    pub(super) fn close(&mut self, now: Time) {
        let reason = |result| ResultCode {
            result,
            error: avp::ErrorCode::NONE,
            message: &[],
        };
        let (tunnel, session) = (self.ids.local_tunnel.0, self.ids.local_session.0);
        let connected = self.state == State::Connected;
        let open = connected || self.state == State::ExpectCall;
        self.state = State::Closed;
        // Both fit their buffers: they carry numbers only.
        if connected {
            let _ = self
                .delivery
                .send(now, MessageType::CDN, self.ids.peer_session, |writer| {
                    avp::put_result_code(writer, reason(cdn::ADMINISTRATIVE))?;
                    put_u16(writer, AttributeType::ASSIGNED_SESSION_ID, session)
                });
        }
        if open {
            let _ = self
                .delivery
                .send(now, MessageType::STOP_CCN, SessionId(0), |writer| {
                    put_u16(writer, AttributeType::ASSIGNED_TUNNEL_ID, tunnel)?;
                    avp::put_result_code(writer, reason(stop_ccn::GENERAL_REQUEST))
                });
        }
        self.delivery.timer = None;
    }

    pub(super) fn timeout(&self) -> Option<Time> {
        self.delivery.timer.as_ref().map(Retransmit::at)
    }

    pub(super) fn handle_timeout(&mut self, now: Time) -> Option<Event> {
        let stage = match self.state {
            State::ExpectTunnel => Stage::Tunnel,
            State::ExpectCall => Stage::Call,
            State::Idle | State::Connected | State::Closed => Stage::Delivery,
        };
        match self.delivery.timer.as_mut()?.due(now) {
            Due::Later => None,
            Due::Again => {
                self.delivery.send_again();
                Some(Event::SentAgain(stage))
            }
            Due::Never => self.end(Cause::Silent(stage)),
        }
    }

    pub(super) fn poll(&mut self) -> Option<Vec<u8>> {
        self.delivery.outgoing.pop_front()
    }

    fn end(&mut self, cause: Cause) -> Option<Event> {
        self.state = State::Closed;
        self.delivery.timer = None;
        Some(Event::Down(cause))
    }

    /// Our messages fit their buffers; the host name is a constant.
    fn went(&mut self, sent: Result<(), Overflow>) -> Option<Event> {
        sent.err().and_then(|Overflow| self.end(Cause::LoggedOut))
    }
}

fn nonzero(rng: &mut ChaCha20Rng) -> u16 {
    let [low, high, ..] = rng.next_u32().to_le_bytes();
    u16::from_le_bytes([low, high]).max(1)
}

fn put_u16(writer: &mut Writer<'_>, attribute: AttributeType, value: u16) -> Result<(), Overflow> {
    avp::put_u16(writer, Need::Mandatory, attribute, value)
}

fn put_u32(writer: &mut Writer<'_>, attribute: AttributeType, value: u32) -> Result<(), Overflow> {
    avp::put_u32(writer, Need::Mandatory, attribute, value)
}

fn number(avps: Avps<'_>, attribute: AttributeType) -> Option<u16> {
    let mut known = avps.filter_map(Result::ok).filter(|avp| avp.vendor == 0);
    known.find(|avp| avp.attribute == attribute)?.u16().ok()
}

fn result(mut avps: Avps<'_>) -> u16 {
    let code = avps.find_map(|avp| {
        let avp = avp.ok()?;
        let code: Result<_, AvpError> = avp.result_code();
        code.ok()
            .filter(|_| avp.attribute == AttributeType::RESULT_CODE)
    });
    code.map_or(0, |code| code.result)
}

/// Whether a message is the one that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Next,
    Other,
}

/// Reliable delivery (RFC 2661 §5.8).
#[derive(Debug, Default)]
struct Delivery {
    peer_tunnel: TunnelId,
    /// Ns of the next new message.
    ns: u16,
    /// Ns expected from the peer.
    nr: u16,
    /// Not yet acknowledged, oldest first; the first `window` of them have been sent.
    unacknowledged: VecDeque<Vec<u8>>,
    window: usize,
    timer: Option<Retransmit<()>>,
    /// Whether nothing has been sent that carries the present Nr.
    owes_acknowledgement: bool,
    outgoing: VecDeque<Vec<u8>>,
}

/// Longest message we send.
const MAX_MESSAGE: usize = 256;

impl Delivery {
    /// What the peer told of its tunnel; without a window it has 4 (RFC 2661 §4.4.3).
    fn open(&mut self, tunnel: TunnelId, window: Option<u16>) {
        self.peer_tunnel = tunnel;
        self.window = usize::from(window.unwrap_or(4)).max(1);
    }

    fn send(
        &mut self,
        now: Time,
        kind: MessageType,
        session: SessionId,
        avps: impl FnOnce(&mut Writer<'_>) -> Result<(), Overflow>,
    ) -> Result<(), Overflow> {
        let header = ControlHeader {
            tunnel: self.peer_tunnel,
            session,
            ns: self.ns,
            nr: self.nr,
        };
        let mut bytes = vec![0; MAX_MESSAGE];
        let len = message::emit(&mut bytes, header, kind, avps)?;
        bytes.truncate(len);
        self.ns = self.ns.wrapping_add(1);
        if self.unacknowledged.len() < self.window.max(1) {
            self.outgoing.push_back(bytes.clone());
            self.owes_acknowledgement = false;
        }
        self.unacknowledged.push_back(bytes);
        self.timer.get_or_insert_with(|| Retransmit::new(now, ()));
        Ok(())
    }

    /// Drops all messages before `nr` and sends those that the window now lets through.
    fn acknowledged(&mut self, now: Time, nr: u16) {
        let window = self.window.max(1);
        let oldest = self
            .ns
            .wrapping_sub(u16::try_from(self.unacknowledged.len()).unwrap_or(u16::MAX));
        let count = usize::from(nr.wrapping_sub(oldest));
        if count == 0 || count > self.unacknowledged.len() {
            return;
        }
        let sent = self.unacknowledged.len().min(window);
        self.unacknowledged.drain(..count);
        for bytes in self
            .unacknowledged
            .iter()
            .take(window)
            .skip(sent.saturating_sub(count))
        {
            self.outgoing.push_back(bytes.clone());
        }
        self.timer = (!self.unacknowledged.is_empty()).then(|| Retransmit::new(now, ()));
    }

    fn receive(&mut self, ns: u16) -> Order {
        self.owes_acknowledgement = true;
        if ns != self.nr {
            return Order::Other;
        }
        self.nr = self.nr.wrapping_add(1);
        Order::Next
    }

    /// Sends a ZLB unless a message has carried the acknowledgement already.
    fn acknowledge(&mut self) {
        if std::mem::take(&mut self.owes_acknowledgement) {
            let header = ControlHeader {
                tunnel: self.peer_tunnel,
                session: SessionId(0),
                ns: self.ns,
                nr: self.nr,
            };
            self.outgoing.push_back(message::zlb(header).to_vec());
        }
    }

    fn send_again(&mut self) {
        if let Some(bytes) = self.unacknowledged.front_mut() {
            // A whole message was built by `send`.
            let _ = message::patch_nr(bytes, self.nr);
            self.outgoing.push_back(bytes.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    fn started() -> (Lac, ChaCha20Rng) {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut lac = Lac::new();
        assert_eq!(lac.start(Time::ZERO, &mut rng), None);
        (lac, rng)
    }

    /// A message from an LNS whose tunnel is 7 and whose session is 9.
    fn from_lns(lac: &Lac, kind: MessageType, ns: u16, nr: u16, window: u16) -> Vec<u8> {
        let header = ControlHeader {
            tunnel: lac.ids.local_tunnel,
            session: SessionId(0),
            ns,
            nr,
        };
        let mut bytes = vec![0; MAX_MESSAGE];
        let len = message::emit(&mut bytes, header, kind, |writer| {
            put_u16(writer, AttributeType::ASSIGNED_TUNNEL_ID, 7)?;
            put_u16(writer, AttributeType::RECEIVE_WINDOW_SIZE, window)?;
            put_u16(writer, AttributeType::ASSIGNED_SESSION_ID, 9)
        });
        bytes.truncate(len.unwrap());
        bytes
    }

    fn sent(lac: &mut Lac) -> Vec<(Option<MessageType>, ControlHeader)> {
        let messages = std::iter::from_fn(|| lac.poll());
        messages
            .map(|bytes| {
                let message = ControlMessage::parse(&bytes).unwrap();
                (message.body().ok().map(|body| body.kind), message.header)
            })
            .collect()
    }

    #[test]
    fn a_window_of_one_is_respected() {
        let (mut lac, mut rng) = started();
        assert_eq!(sent(&mut lac)[0].0, Some(MessageType::SCCRQ));
        let sccrp = from_lns(&lac, MessageType::SCCRP, 0, 1, 1);
        lac.handle(Time::ZERO, &sccrp, &mut rng);
        let messages = sent(&mut lac);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].0, Some(MessageType::SCCCN));
        lac.delivery.acknowledged(Time::ZERO, 2);
        assert_eq!(sent(&mut lac)[0].0, Some(MessageType::ICRQ));
    }

    #[test]
    fn the_call_connects_with_the_ids_of_the_lns() {
        let (mut lac, mut rng) = started();
        let sccrp = from_lns(&lac, MessageType::SCCRP, 0, 1, 4);
        lac.handle(Time::ZERO, &sccrp, &mut rng);
        let icrp = from_lns(&lac, MessageType::ICRP, 1, 3, 4);
        assert_eq!(
            lac.handle(Time::ZERO, &icrp, &mut rng),
            Some(Event::Connected)
        );
        assert_eq!(
            (lac.ids().peer_tunnel, lac.ids().peer_session),
            (TunnelId(7), SessionId(9))
        );
        let last = sent(&mut lac).pop().unwrap();
        assert_eq!(last.0, Some(MessageType::ICCN));
        assert_eq!((last.1.session, last.1.ns, last.1.nr), (SessionId(9), 3, 2));
    }

    #[test]
    fn a_duplicate_is_acknowledged_and_changes_nothing() {
        let (mut lac, mut rng) = started();
        let sccrp = from_lns(&lac, MessageType::SCCRP, 0, 1, 4);
        lac.handle(Time::ZERO, &sccrp, &mut rng);
        sent(&mut lac);
        assert_eq!(lac.handle(Time::ZERO, &sccrp, &mut rng), None);
        let messages = sent(&mut lac);
        assert_eq!(messages.len(), 1);
        assert_eq!((messages[0].0, messages[0].1.nr), (None, 1));
    }

    #[test]
    fn an_unanswered_request_is_sent_again_and_then_given_up() {
        let (mut lac, _) = started();
        sent(&mut lac);
        let mut again = 0;
        let cause = loop {
            let at = lac.timeout().unwrap();
            match lac.handle_timeout(at) {
                Some(Event::SentAgain(Stage::Tunnel)) => again += sent(&mut lac).len(),
                event => break event,
            }
        };
        assert_eq!(
            (again, cause),
            (6, Some(Event::Down(Cause::Silent(Stage::Tunnel))))
        );
    }
}
